//! The last failures of a component, for a person who asks a running process what went wrong. What fails is in the log too; this
//! is there when nobody kept the log. Never a payload, and not more than a few lines of text for each component.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use spinredis_crds::report::shorten;

use crate::{call::Failure, dead_letters::entry::milliseconds, queue::Message};

/// So many failures are remembered for each component.
const KEPT: usize = 8;
/// Bytes of an error or a channel that are remembered.
const MAX_TEXT_BYTES: usize = 512;

/// One attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedAttempt {
    /// When, in seconds since 1970-01-01T00:00:00Z.
    pub at: u64,
    /// Which message of the component in this process, as in log lines.
    pub sequence: u64,
    /// The channel it was published on.
    pub channel: String,
    /// Which attempt, 1 for the first.
    pub attempt: u32,
    /// How it failed, as in `spinredis_messages_failed_total`.
    pub reason: String,
    /// The words of the failure; of a guest that returned an error, its own.
    pub error: String,
    /// Whether it is tried again.
    pub retrying: bool,
}

/// The last failures of a component.
#[derive(Default)]
pub struct RecentFailures(Mutex<VecDeque<FailedAttempt>>);

impl RecentFailures {
    /// Remembers a failure, and forgets the oldest of too many.
    pub fn add(&self, message: &Message, attempt: u32, failure: &Failure, retrying: bool) {
        let failed = FailedAttempt {
            at: milliseconds(SystemTime::now()) / 1_000,
            sequence: message.sequence,
            channel: shorten(&message.channel, MAX_TEXT_BYTES),
            attempt,
            reason: failure.kind.as_str().to_owned(),
            error: shorten(&failure.message, MAX_TEXT_BYTES),
            retrying,
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(failed);
    }

    /// Those that are remembered, the newest first.
    pub fn newest_first(&self) -> Vec<FailedAttempt> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;
    use crate::call::FailureKind;

    #[test]
    fn the_newest_failures_are_kept_without_their_payloads_and_without_end() {
        let recent = RecentFailures::default();
        let failure = Failure { kind: FailureKind::Trap, message: "unreachable ".repeat(1_000) };
        for sequence in 1..=20 {
            let payload = Bytes::from_static(b"of the payload");
            let mut message = Message::new("orders".into(), payload, 0, "redis://r".into(), Instant::now(), SystemTime::now());
            message.sequence = sequence;
            recent.add(&message, 2, &failure, false);
        }
        let kept = recent.newest_first();
        assert_eq!(kept.iter().map(|failed| failed.sequence).collect::<Vec<_>>(), (13..=20).rev().collect::<Vec<_>>());
        assert_eq!((kept[0].reason.as_str(), kept[0].attempt, kept[0].retrying), ("trap", 2, false));
        assert!(kept[0].error.len() <= MAX_TEXT_BYTES);
        assert!(!serde_json::to_string(&kept).unwrap().contains("payload"));
    }
}
