//! Every default of the API in one place. They are not in the schema, with the exception of `replicas`, which the scale
//! subresource needs: a default inside a list makes GitOps tools report drift for ever, and one that changed would roll
//! every app.

use std::time::Duration;

use crate::{component::Component, duration, quantity};

/// Pods of an app.
pub const REPLICAS: i32 = 1;
/// Deadline of one call.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// Linear memory of one instance, in bytes. A Python guest needs more than 64 MiB.
pub const MEMORY_LIMIT: u64 = 128 << 20;
/// Bytes that may wait in a component's queue: payload, channel and [`QUEUE_ENTRY_OVERHEAD`] for each message.
pub const QUEUE_BYTES: u64 = 8 << 20;
/// What one queued message is counted beside its payload and channel, in bytes.
pub const QUEUE_ENTRY_OVERHEAD: u64 = 128;
/// Largest payload that is handed to a component, in bytes.
pub const MAX_MESSAGE_BYTES: u64 = 8 << 20;
/// How long a stopping pod may finish what it has queued.
pub const DRAIN: Duration = Duration::from_secs(30);

/// What the keys of a key-value store begin with in Redis, so that apps and stores on one server stay apart.
pub fn prefix(namespace: &str, app: &str, store: &str) -> String {
    format!("{namespace}/{app}/{store}/")
}

/// A component's limits with the defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Deadline of one call.
    pub timeout: Duration,
    /// Linear memory of one instance, in bytes.
    pub memory: u64,
}

impl Component {
    /// The limits this component runs within. A value that cannot be read counts as absent: the API server and
    /// [`check`](crate::check) refuse it before.
    pub fn limits(&self) -> Limits {
        Limits {
            timeout: self.timeout.as_deref().and_then(|text| duration::parse(text).ok()).unwrap_or(TIMEOUT),
            memory: self.memory_limit.as_deref().and_then(|text| quantity::bytes(text).ok()).unwrap_or(MEMORY_LIMIT),
        }
    }
}
