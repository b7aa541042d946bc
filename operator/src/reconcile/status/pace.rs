//! How often a status is written while an app makes ordinary progress: a rollout moves in many small steps, and each write is
//! work for the API server and for everyone who watches. Whatever a person waits for is written at once.
//!
//! While many apps come at once, those that have no Deployment yet go first: that work has begun on the others is told when all of
//! them have one.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use spinredis_crds::{Reason, SpinRedisAppStatus, status::condition};

use super::conditions;
use crate::reconcile::subject::Subject;

/// Between two writes that tell of nothing but progress.
const INTERVAL: Duration = Duration::from_secs(2);
/// After the children of a new app were made, until the first word of an app that is under way: an app that starts fast is told to
/// be ready and nothing else, and more apps may come.
const QUIET: Duration = Duration::from_millis(500);
/// A first word does not wait longer, however many apps come.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// What was told of apps that are under way, by `namespace/name`.
#[derive(Default)]
pub struct Pace(Mutex<State>);

#[derive(Default)]
struct State {
    last: HashMap<String, Last>,
    /// When the children of a new app were made last.
    made: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Last {
    /// Nothing was told yet, since then.
    SilentSince(Instant),
    /// Ordinary progress was told then.
    Told(Instant),
}

impl Pace {
    /// Notes that the children of a new app were made.
    pub fn made(&self, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).made = Some(now);
    }

    /// How long this status may wait to be written; `None` when it may not, or there is nothing to write.
    pub fn wait(&self, subject: &Subject, status: &SpinRedisAppStatus, now: Instant) -> Option<Duration> {
        let state = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *status == subject.status {
            return None;
        }
        let app = subject.full_name();
        if !is_progress(status) {
            state.last.remove(&app);
            return None;
        }
        let until = |since: Instant, wait: Duration| wait.checked_sub(now.saturating_duration_since(since)).filter(|left| !left.is_zero());
        let is_first = subject.status.conditions.is_empty();
        let left = match state.last.get(&app) {
            Some(Last::Told(at)) if is_same_but_for_progress(&subject.status, status) => until(*at, INTERVAL),
            Some(Last::SilentSince(at)) if is_first => {
                let quiet = state.made.and_then(|made| until(made, QUIET));
                until(*at, LONGEST_SILENCE).zip(quiet).map(|(longest, quiet)| longest.min(quiet))
            }
            None if is_first => {
                state.last.insert(app.clone(), Last::SilentSince(now));
                state.made.and_then(|made| until(made, QUIET))
            }
            _ => None,
        };
        if left.is_none() {
            state.last.insert(app, Last::Told(now));
        }
        left
    }

    /// Forgets an app that is gone, by `namespace/name`.
    pub fn forget(&self, app: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last.remove(app);
    }
}

fn is_progress(status: &SpinRedisAppStatus) -> bool {
    let ready = conditions::find(status, condition::READY);
    ready.is_some_and(|ready| ready.status == "False" && conditions::reason(ready) == Some(Reason::Progressing))
}

/// The same generation, the same components, and conditions that differ in their words at most.
fn is_same_but_for_progress(before: &SpinRedisAppStatus, now: &SpinRedisAppStatus) -> bool {
    let states = |status: &SpinRedisAppStatus| -> Vec<(String, String, String)> {
        status.conditions.iter().map(|found| (found.type_.clone(), found.status.clone(), found.reason.clone())).collect()
    };
    before.observed_generation == now.observed_generation && before.components == now.components && states(before) == states(now)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    fn status(reason: &str, message: &str) -> SpinRedisAppStatus {
        let ready = if reason == "Subscribed" { "True" } else { "False" };
        let condition =
            json!({"type": "Ready", "status": ready, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        SpinRedisAppStatus::deserialize(json!({"observedGeneration": 1, "selector": "a=b", "conditions": [condition]})).unwrap()
    }

    fn subject(status: &SpinRedisAppStatus) -> Subject {
        let object: Value = json!({
            "apiVersion": "spinredis.dev/v1alpha1", "kind": "SpinRedisApp",
            "metadata": {"name": "shop", "namespace": "n", "uid": "u", "generation": 1}, "spec": {}, "status": status,
        });
        Subject::of(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn small_steps_of_progress_wait_and_what_a_person_waits_for_does_not() {
        let (pace, now) = (Pace::default(), Instant::now());
        let first = status("Progressing", "no pod yet");
        assert_eq!(pace.wait(&subject(&SpinRedisAppStatus::default()), &first, now), None, "the first says that work has begun");
        let second = status("Progressing", "pod shop-1 is starting");
        assert_eq!(pace.wait(&subject(&first), &second, now), Some(INTERVAL));
        for reason in ["Subscribed", "RedisUnreachable", "PrepareFailed"] {
            assert_eq!(pace.wait(&subject(&first), &status(reason, "news"), now), None, "{reason}");
        }
    }

    #[test]
    fn while_children_of_new_apps_are_made_a_first_word_waits_but_not_forever() {
        let (pace, start) = (Pace::default(), Instant::now());
        let (new, first) = (subject(&SpinRedisAppStatus::default()), status("Progressing", "no pod yet"));
        pace.made(start);
        assert_eq!(pace.wait(&new, &first, start), Some(QUIET));
        assert_eq!(pace.wait(&new, &status("Subscribed", "ready"), start), None, "an app that is ready says so");
        assert_eq!(pace.wait(&new, &first, start), Some(QUIET));
        let late = start + LONGEST_SILENCE - Duration::from_millis(1);
        pace.made(late);
        assert_eq!(pace.wait(&new, &first, late), Some(Duration::from_millis(1)));
        assert_eq!(pace.wait(&new, &first, start + LONGEST_SILENCE), None);
        let quiet = Pace::default();
        quiet.made(start);
        assert_eq!(quiet.wait(&new, &first, start + QUIET), None, "nothing comes any more");
    }

    #[test]
    fn a_status_that_did_not_change_is_not_waited_for() {
        let same = status("Progressing", "no pod yet");
        assert_eq!(Pace::default().wait(&subject(&same), &same, Instant::now()), None);
    }
}
