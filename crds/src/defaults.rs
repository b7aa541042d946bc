//! Every default of the API in one place. They are not in the schema, with the exception of `replicas`, which the scale
//! subresource needs: a default inside a list makes GitOps tools report drift for ever, and one that changed would roll
//! every app.

use std::time::Duration;

use crate::{
    component::Component,
    dispatch::{Ordering, WhenFull},
    duration, quantity,
};

/// Pods of an app.
pub const REPLICAS: i32 = 1;
/// Deadline of one call.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// Linear memory of one instance, in bytes. A Python guest needs more than 64 MiB.
pub const MEMORY_LIMIT: u64 = 128 << 20;
/// Bytes that may wait in a component's queue: payload, channel and [`QUEUE_ENTRY_OVERHEAD`] for each message.
pub const QUEUE_BYTES: u64 = 8 << 20;
/// What one queued message is counted beside its payload and channel, in bytes.
pub const QUEUE_ENTRY_OVERHEAD: u64 = 384;
/// Largest payload that is handed to a component, in bytes.
pub const MAX_MESSAGE_BYTES: u64 = 8 << 20;
/// How long a stopping pod may finish what it has queued.
pub const DRAIN: Duration = Duration::from_secs(30);

/// Messages that a component handles at once.
pub const CONCURRENCY: usize = 8;
/// Instances kept ready.
pub const WARM: usize = 0;
/// Messages that one instance handles.
pub const MAX_REUSE: u32 = 1;
/// Attempts of one message in all.
pub const MAX_ATTEMPTS: u32 = 1;
/// Wait before the second attempt.
pub const INITIAL_BACKOFF: Duration = Duration::from_secs(1);
/// Longest wait between two attempts.
pub const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// Entries of a dead-letter stream.
pub const DEAD_LETTER_LENGTH: u64 = 10_000;

/// How often a replica that shares messages tells the others that it is there.
pub const SHARING_BEAT: Duration = Duration::from_millis(200);
/// After how long without a word it is taken for lost.
pub const SHARING_EXPIRY: Duration = Duration::from_secs(1);
/// Beats in an expiry, where only one of the two is given.
pub const BEATS_UNTIL_EXPIRY: u32 = 5;
/// Bytes of others' messages that a replica keeps for each Redis server.
pub const SHARING_RING_BYTES: u64 = 16 << 20;

/// What the keys of a key-value store begin with in Redis, so that apps and stores on one server stay apart.
pub fn prefix(namespace: &str, app: &str, store: &str) -> String {
    format!("{namespace}/{app}/{store}/")
}

/// How long a stopping pod may finish, as a manifest says it; what cannot be read counts as absent.
pub fn drain(text: Option<&str>) -> Duration {
    text.and_then(|text| duration::parse(text).ok()).unwrap_or(DRAIN)
}

/// A component's limits with the defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Deadline of one attempt.
    pub timeout: Duration,
    /// Linear memory of one instance, in bytes.
    pub memory: u64,
    /// Messages handled at once.
    pub concurrency: usize,
    /// In which order.
    pub ordering: Ordering,
    /// Instances kept ready.
    pub warm: usize,
    /// Messages that one instance handles.
    pub max_reuse: u32,
    /// Bytes that may wait.
    pub queue_bytes: u64,
    /// What is dropped when more arrives.
    pub when_full: WhenFull,
    /// What happens when a message fails.
    pub retry: RetryLimits,
}

/// When a failed message is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryLimits {
    /// Attempts in all.
    pub max_attempts: u32,
    /// Wait before the second attempt.
    pub initial_backoff: Duration,
    /// Longest wait between two attempts.
    pub max_backoff: Duration,
}

impl Component {
    /// The limits this component runs within. A value that cannot be read counts as absent: the API server and
    /// [`check`](crate::check) refuse it before.
    pub fn limits(&self) -> Limits {
        let time = |text: Option<&String>| text.and_then(|text| duration::parse(text).ok());
        let bytes = |text: Option<&String>| text.and_then(|text| quantity::bytes(text).ok());
        let (instances, queue, retry) = (self.instances.as_ref(), self.queue.as_ref(), self.retry.as_ref());
        let initial_backoff = time(retry.and_then(|retry| retry.initial_backoff.as_ref()));
        let max_backoff = time(retry.and_then(|retry| retry.max_backoff.as_ref()));
        Limits {
            timeout: time(self.timeout.as_ref()).unwrap_or(TIMEOUT),
            memory: bytes(self.memory_limit.as_ref()).unwrap_or(MEMORY_LIMIT),
            concurrency: self.concurrency.and_then(|number| usize::try_from(number).ok()).unwrap_or(CONCURRENCY).max(1),
            ordering: self.ordering.unwrap_or_default(),
            warm: instances.and_then(|instances| usize::try_from(instances.warm?).ok()).unwrap_or(WARM),
            max_reuse: instances.and_then(|instances| u32::try_from(instances.max_reuse?).ok()).unwrap_or(MAX_REUSE).max(1),
            queue_bytes: bytes(queue.and_then(|queue| queue.max_bytes.as_ref())).unwrap_or(QUEUE_BYTES),
            when_full: queue.and_then(|queue| queue.when_full).unwrap_or_default(),
            retry: RetryLimits {
                max_attempts: retry.and_then(|retry| u32::try_from(retry.max_attempts?).ok()).unwrap_or(MAX_ATTEMPTS).max(1),
                // The one that is given moves the default of the other, so that the first wait is never the longer one.
                initial_backoff: initial_backoff.unwrap_or(max_backoff.map_or(INITIAL_BACKOFF, |most| INITIAL_BACKOFF.min(most))),
                max_backoff: max_backoff.unwrap_or(initial_backoff.map_or(MAX_BACKOFF, |least| MAX_BACKOFF.max(least))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::Retry;

    fn backoffs(initial: Option<&str>, max: Option<&str>) -> (Duration, Duration) {
        let retry = Retry { initial_backoff: initial.map(str::to_owned), max_backoff: max.map(str::to_owned), ..Retry::default() };
        let limits = Component { retry: Some(retry), ..Component::default() }.limits().retry;
        (limits.initial_backoff, limits.max_backoff)
    }

    #[test]
    fn the_first_wait_is_never_longer_than_the_longest_whichever_is_left_to_its_default() {
        assert_eq!(backoffs(None, None), (INITIAL_BACKOFF, MAX_BACKOFF));
        assert_eq!(backoffs(Some("5m"), None), (Duration::from_secs(300), Duration::from_secs(300)));
        assert_eq!(backoffs(None, Some("20ms")), (Duration::from_millis(20), Duration::from_millis(20)));
        assert_eq!(backoffs(Some("2s"), Some("3s")), (Duration::from_secs(2), Duration::from_secs(3)));
    }

    #[test]
    fn an_absent_setting_has_its_default() {
        let limits = Component::default().limits();
        assert_eq!((limits.concurrency, limits.ordering), (CONCURRENCY, Ordering::Channel));
        assert_eq!((limits.warm, limits.max_reuse, limits.retry.max_attempts), (WARM, MAX_REUSE, MAX_ATTEMPTS));
        assert_eq!((limits.queue_bytes, limits.when_full), (QUEUE_BYTES, WhenFull::DropOldest));
        assert_eq!((limits.timeout, limits.memory), (TIMEOUT, MEMORY_LIMIT));
    }
}
