//! Events: what a person finds in `kubectl describe` of an app. One for each transition; repetitions are merged.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use spinredis_crds::report::{Reason, shorten};

use crate::names::OPERATOR;

/// The API server refuses a longer note.
const MAX_NOTE_BYTES: usize = 1_000;

/// Where events are sent.
#[derive(Clone)]
pub struct Events(Recorder);

impl Events {
    /// Reports as the operator, and as the pod it runs in.
    pub fn new(client: Client, pod_name: Option<String>) -> Self {
        Self(Recorder::new(client, Reporter { controller: OPERATOR.to_owned(), instance: pod_name }))
    }

    /// Says that an app came to be ready, or why it is not. An event that cannot be sent is only logged: the same is in the
    /// app's status.
    pub async fn transition(&self, app: &ObjectReference, reason: Reason, message: &str) {
        let ready = matches!(reason, Reason::Subscribed | Reason::ScaledToZero);
        let event = Event {
            type_: if ready { EventType::Normal } else { EventType::Warning },
            reason: reason.to_string(),
            note: Some(shorten(message, MAX_NOTE_BYTES)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.0.publish(&event, app).await {
            tracing::warn!("an event could not be recorded: {error}");
        }
    }
}
