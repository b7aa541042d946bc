//! Events: what a person finds in `kubectl describe` of an app. The same told again within minutes becomes a count on the event
//! that is there, so that an app which comes and goes fills nobody's etcd; another note is another event.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use spinredis_crds::report::shorten;

use crate::names::OPERATOR;

/// The API server refuses a longer note: 1 KiB (NoteLengthLimit of k8s.io/kubernetes/pkg/apis/core/validation/events.go).
const MAX_NOTE_BYTES: usize = 1_000;
/// How long an event is counted on after it was seen last: as long as client-go's and kube's recorders do.
const SERIES: SignedDuration = SignedDuration::from_mins(6);

/// Whether a person should be worried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// No.
    Normal,
    /// Something has to be done, or waited for.
    Warning,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notice {
    /// Whether a person should be worried.
    pub severity: Severity,
    /// In one word: one of [`Reason`](spinredis_crds::Reason), or `ComponentChanged`.
    pub reason: String,
    /// What happened, to what, and what to do.
    pub note: String,
}

/// Where events are sent.
#[derive(Clone)]
pub struct Events {
    client: Client,
    instance: String,
    recent: Arc<Mutex<Recent>>,
}

impl Events {
    /// Reports as the operator, and as the pod it runs in.
    pub fn new(client: Client, pod_name: Option<String>) -> Self {
        Self { client, instance: pod_name.unwrap_or_else(|| OPERATOR.to_owned()), recent: Arc::default() }
    }

    /// Tells something of an app. An event that cannot be sent is only logged: the same is in the app's status.
    pub async fn tell(&self, app: &ObjectReference, notice: &Notice) {
        if let Err(error) = self.send(app, notice, Timestamp::now()).await {
            tracing::warn!("an event could not be recorded: {error}");
        }
    }

    async fn send(&self, app: &ObjectReference, notice: &Notice, now: Timestamp) -> Result<(), kube::Error> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), app.namespace.as_deref().unwrap_or("default"));
        let key = (app.uid.clone().unwrap_or_default(), notice.clone());
        let again = self.recent().again(&key, now);
        if let Some((name, count)) = again {
            let series = EventSeries { count, last_observed_time: MicroTime(now) };
            match events.patch(&name, &PatchParams::default(), &Patch::Merge(json!({"series": series}))).await {
                // It was deleted, or its time was up.
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                other => return other.map(drop),
            }
        }
        let created = events.create(&PostParams::default(), &event(app, notice, &self.instance, now)).await?;
        self.recent().first(key, created.metadata.name.unwrap_or_default(), now);
        Ok(())
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn event(app: &ObjectReference, notice: &Notice, instance: &str, now: Timestamp) -> Event {
    Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", app.name.as_deref().unwrap_or(OPERATOR))),
            namespace: app.namespace.clone(),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        action: Some("Reconcile".to_owned()),
        type_: Some(if notice.severity == Severity::Normal { "Normal" } else { "Warning" }.to_owned()),
        reason: Some(notice.reason.clone()),
        note: Some(shorten(&notice.note, MAX_NOTE_BYTES)),
        regarding: Some(app.clone()),
        reporting_controller: Some(OPERATOR.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    }
}

/// Of which app, and what.
type Key = (String, Notice);

/// Events that may be counted on: their names, how often each was seen, and when last.
#[derive(Default)]
struct Recent(HashMap<Key, (String, i32, Timestamp)>);

impl Recent {
    /// The event that said so before, and how often it was seen with now.
    fn again(&mut self, key: &Key, now: Timestamp) -> Option<(String, i32)> {
        self.0.retain(|_, (_, _, last)| now.duration_since(*last) < SERIES);
        let (name, count, last) = self.0.get_mut(key)?;
        *count = count.saturating_add(1);
        *last = now;
        Some((name.clone(), *count))
    }

    fn first(&mut self, key: Key, name: String, now: Timestamp) {
        self.0.insert(key, (name, 1, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(note: &str) -> Key {
        ("uid".to_owned(), Notice { severity: Severity::Warning, reason: "RegistryError".to_owned(), note: note.to_owned() })
    }

    #[test]
    fn the_same_is_counted_and_another_note_is_another_event() {
        let mut recent = Recent::default();
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        assert_eq!(recent.again(&key("no image a"), at(0)), None);
        recent.first(key("no image a"), "greeter-1".to_owned(), at(0));
        assert_eq!(recent.again(&key("no image a"), at(300)), Some(("greeter-1".to_owned(), 2)));
        assert_eq!(recent.again(&key("no image b"), at(300)), None);
        assert_eq!(recent.again(&key("no image a"), at(600)), Some(("greeter-1".to_owned(), 3)), "counted from when it was seen last");
        assert_eq!(recent.again(&key("no image a"), at(1_000)), None);
        assert!(recent.0.is_empty(), "what is old is forgotten");
    }
}
