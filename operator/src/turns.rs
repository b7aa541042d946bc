//! How soon an app is reconciled again. What is made for an app is shown by several watches in many small steps, most of which come
//! within a moment; looking once at all of them is enough. A new app and an edit never wait.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Between two reconciles of an app that was not edited meanwhile.
const INTERVAL: Duration = Duration::from_millis(100);

/// The last reconcile of each app, by `namespace/name`.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<String, Turn>>);

struct Turn {
    generation: Option<i64>,
    uid: Option<String>,
    at: Instant,
}

impl Turns {
    /// How long an app has to wait until it is reconciled; `None` when it is its turn, which is noted.
    pub fn wait(&self, app: &str, uid: Option<&str>, generation: Option<i64>, now: Instant) -> Option<Duration> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = turns.get(app).filter(|last| last.generation == generation && last.uid.as_deref() == uid);
        let left = last.and_then(|last| INTERVAL.checked_sub(now.saturating_duration_since(last.at))).filter(|left| !left.is_zero());
        if left.is_none() {
            turns.insert(app.to_owned(), Turn { generation, uid: uid.map(str::to_owned), at: now });
        }
        left
    }

    /// Forgets an app that is gone.
    pub fn forget(&self, app: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(app);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_come_together_are_looked_at_once() {
        let (turns, start) = (Turns::default(), Instant::now());
        let wait = |generation, after| turns.wait("n/shop", Some("u"), Some(generation), start + after);
        assert_eq!(wait(1, Duration::ZERO), None);
        assert_eq!(wait(1, Duration::from_millis(30)), Some(Duration::from_millis(70)));
        assert_eq!(wait(1, INTERVAL), None);
        assert_eq!(wait(1, INTERVAL + Duration::from_millis(1)), Some(Duration::from_millis(99)));
    }

    #[test]
    fn an_edit_another_app_of_the_name_and_another_app_do_not_wait() {
        let (turns, now) = (Turns::default(), Instant::now());
        let wait = |app, uid, generation| turns.wait(app, Some(uid), Some(generation), now);
        assert_eq!(wait("n/shop", "u", 1), None);
        assert_eq!(wait("n/shop", "u", 2), None);
        assert_eq!(wait("n/shop", "v", 2), None);
        assert_eq!(wait("n/cart", "w", 2), None);
        assert!(wait("n/shop", "v", 2).is_some());
        turns.forget("n/shop");
        assert_eq!(wait("n/shop", "v", 2), None);
    }
}
