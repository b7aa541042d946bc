//! What became of every message: the terms of the equation that holds in every snapshot of a queue.
//!
//! **received = handled + failed + dropped + queued + retrying + in flight**, for each subscription. Each term is counted where
//! it happens; none is computed from the others, so that the equation can fail if something is forgotten.

use std::time::Instant;

use super::Source;
use crate::call::FailureKind;

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The queue was full.
    QueueFull,
    /// The payload is larger than a message may be.
    TooLarge,
    /// The time to drain was up.
    Drain,
    /// Other replicas handle it.
    Moved,
}

impl DropReason {
    /// All reasons, in the order of their places in [`Counts::dropped`].
    pub const ALL: [DropReason; 4] = [DropReason::QueueFull, DropReason::TooLarge, DropReason::Drain, DropReason::Moved];

    /// Label value in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue_full",
            DropReason::TooLarge => "too_large",
            DropReason::Drain => "drain",
            DropReason::Moved => "moved",
        }
    }
}

/// What became of the messages of one subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Deliveries received, from wherever.
    pub received: u64,
    /// Those of `received` that came back from the dead letters.
    pub redriven: u64,
    /// Handled without error.
    pub handled: u64,
    /// Failed for good, by [`FailureKind::index`].
    pub failed: [u64; FailureKind::ALL.len()],
    /// Dropped, in the order of [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Waiting for their turn.
    pub queued: u64,
    /// Waiting for their next attempt.
    pub retrying: u64,
    /// Being handled.
    pub in_flight: u64,
    /// Attempts begun after the first of a message; no term of the equation.
    pub retries: u64,
}

impl Counts {
    pub(super) fn receive(&mut self, source: Source) {
        self.received += 1;
        self.redriven += u64::from(source == Source::Redrive);
    }

    pub(super) fn drop_one(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    /// Whether every received message is accounted for.
    pub fn balances(&self) -> bool {
        let failed: u64 = self.failed.iter().sum();
        let dropped: u64 = self.dropped.iter().sum();
        self.received == self.handled + failed + dropped + self.queued + self.retrying + self.in_flight
    }
}

/// One consistent look at a queue.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Counts of each subscription.
    pub counts: Vec<Counts>,
    /// Bytes that wait, for their turn or for their next attempt.
    pub queued_bytes: u64,
    /// When the oldest message that waits, for its turn or for its next attempt, was received.
    pub oldest: Option<Instant>,
    /// Channels of which something waits or is in flight.
    pub lanes: usize,
    /// Workers that were started and have not ended.
    pub workers: usize,
}
