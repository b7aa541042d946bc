//! How often a status is written while an app makes ordinary progress: a rollout moves in many small steps, and each write is
//! work for the API server and for everyone who watches. Whatever a person waits for is written at once.

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

/// When the status of each app, by `namespace/name`, was last left at ordinary progress.
#[derive(Default)]
pub struct Pace(Mutex<HashMap<String, Instant>>);

impl Pace {
    /// How long this status may wait to be written; `None` when it may not, or there is nothing to write.
    pub fn wait(&self, subject: &Subject, status: &SpinRedisAppStatus) -> Option<Duration> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *status == subject.status {
            return None;
        }
        if !is_progress(status) {
            last.remove(&subject.full_name());
            return None;
        }
        let now = Instant::now();
        let left =
            last.get(&subject.full_name()).and_then(|last| INTERVAL.checked_sub(now.duration_since(*last))).filter(|left| !left.is_zero());
        if left.is_some() && is_same_but_for_progress(&subject.status, status) {
            return left;
        }
        last.insert(subject.full_name(), now);
        None
    }

    /// Forgets an app that is gone, by `namespace/name`.
    pub fn forget(&self, app: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(app);
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
        let pace = Pace::default();
        let first = status("Progressing", "no pod yet");
        assert_eq!(pace.wait(&subject(&SpinRedisAppStatus::default()), &first), None, "the first says that work has begun");
        let second = status("Progressing", "pod shop-1 is starting");
        assert!(pace.wait(&subject(&first), &second).is_some_and(|wait| wait <= INTERVAL));
        for reason in ["Subscribed", "RedisUnreachable", "PrepareFailed"] {
            assert_eq!(pace.wait(&subject(&first), &status(reason, "news")), None, "{reason}");
        }
    }

    #[test]
    fn a_status_that_did_not_change_is_not_waited_for() {
        let same = status("Progressing", "no pod yet");
        assert_eq!(Pace::default().wait(&subject(&same), &same), None);
    }
}
