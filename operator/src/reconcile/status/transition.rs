//! What of a change of status is worth an event: an app came to be ready, is so no longer, or has another reason for not being
//! so; a component's digest is another. Never one for each reconcile, and none for the steps of an ordinary start.

use spinredis_crds::{Reason, SpinRedisAppStatus, status::condition};

use super::conditions::{self, find};
use crate::events::{Notice, Severity};

/// What to tell when a status takes the place of the one before.
pub fn notices(before: &SpinRedisAppStatus, after: &SpinRedisAppStatus) -> Vec<Notice> {
    readiness(before, after).into_iter().chain(digests(before, after)).collect()
}

fn readiness(before: &SpinRedisAppStatus, after: &SpinRedisAppStatus) -> Option<Notice> {
    let ready = find(after, condition::READY)?;
    let reason = conditions::reason(ready)?;
    let before_ready = find(before, condition::READY);
    let was_ready = before_ready.is_some_and(|ready| ready.status == "True");
    let is_ready = ready.status == "True";
    let is_another = before_ready.is_none_or(|before| before.reason != ready.reason);
    let worth = match reason {
        // An edit, a scaling or a lost pod begins; what comes of it is told when it is there.
        Reason::Progressing => was_ready,
        // Another edit that fails for the same reason is news, another that changes nothing is none.
        _ => is_another || !is_ready && before.observed_generation != after.observed_generation,
    };
    worth.then(|| Notice {
        severity: if is_ready || reason == Reason::Progressing { Severity::Normal } else { Severity::Warning },
        reason: reason.to_string(),
        note: ready.message.clone(),
    })
}

fn digests(before: &SpinRedisAppStatus, after: &SpinRedisAppStatus) -> Vec<Notice> {
    let changed = after.components.iter().filter_map(|component| {
        let known = before.components.iter().find(|known| known.id == component.id && known.digest != component.digest)?;
        Some(Notice {
            severity: Severity::Normal,
            reason: "ComponentChanged".to_owned(),
            note: format!("component {} is {} now; it was {}", component.id, component.digest, known.digest),
        })
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        apimachinery::pkg::apis::meta::v1::{Condition, Time},
        jiff::Timestamp,
    };
    use spinredis_crds::ComponentStatus;

    use super::*;

    fn status(generation: i64, reason: Reason) -> SpinRedisAppStatus {
        let is_ready = matches!(reason, Reason::Subscribed | Reason::ScaledToZero);
        let ready = Condition {
            type_: condition::READY.to_owned(),
            status: if is_ready { "True" } else { "False" }.to_owned(),
            reason: reason.to_string(),
            message: "words".to_owned(),
            observed_generation: Some(generation),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        };
        SpinRedisAppStatus { observed_generation: generation, conditions: vec![ready], ..SpinRedisAppStatus::default() }
    }

    fn told(before: &SpinRedisAppStatus, after: &SpinRedisAppStatus) -> Vec<(Severity, String)> {
        notices(before, after).into_iter().map(|notice| (notice.severity, notice.reason)).collect()
    }

    #[test]
    fn an_ordinary_start_is_one_event_and_a_reconcile_none() {
        let new = SpinRedisAppStatus::default();
        let (starting, ready) = (status(1, Reason::Progressing), status(1, Reason::Subscribed));
        assert_eq!(told(&new, &starting), []);
        assert_eq!(told(&starting, &ready), [(Severity::Normal, "Subscribed".to_owned())]);
        assert_eq!(told(&ready, &ready), []);
        assert_eq!(told(&ready, &status(2, Reason::Subscribed)), [], "an edit that changes nothing");
    }

    #[test]
    fn a_rollout_is_told_when_it_begins_and_when_it_is_done() {
        let (ready, rolling, done) = (status(1, Reason::Subscribed), status(2, Reason::Progressing), status(2, Reason::Subscribed));
        assert_eq!(told(&ready, &rolling), [(Severity::Normal, "Progressing".to_owned())]);
        assert_eq!(told(&rolling, &done), [(Severity::Normal, "Subscribed".to_owned())]);
    }

    #[test]
    fn a_cause_is_told_once_and_again_for_another_edit_that_meets_it() {
        let (starting, failed) = (status(1, Reason::Progressing), status(1, Reason::RegistryError));
        assert_eq!(told(&starting, &failed), [(Severity::Warning, "RegistryError".to_owned())]);
        let mut in_other_words = failed.clone();
        in_other_words.conditions[0].message = "other words".to_owned();
        assert_eq!(told(&failed, &in_other_words), []);
        assert_eq!(told(&failed, &status(2, Reason::RegistryError)), [(Severity::Warning, "RegistryError".to_owned())]);
    }

    #[test]
    fn another_digest_of_a_component_is_told_and_a_new_component_is_not() {
        let with = |components: &[(&str, &str)]| {
            let component = |(id, digest): &(&str, &str)| ComponentStatus {
                id: (*id).to_owned(),
                digest: (*digest).to_owned(),
                handler: "h".to_owned(),
            };
            SpinRedisAppStatus { components: components.iter().map(component).collect(), ..status(1, Reason::Subscribed) }
        };
        let notices = notices(&with(&[("a", "sha256:1")]), &with(&[("a", "sha256:2"), ("b", "sha256:3")]));
        assert_eq!(notices.len(), 1);
        assert_eq!(notices[0].note, "component a is sha256:2 now; it was sha256:1");
    }
}
