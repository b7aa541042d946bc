//! A message as it is kept while it is undecided who handles it, and what goes with one that this replica handles.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use spinredis_crds::defaults::QUEUE_ENTRY_OVERHEAD;
use spinredis_sharing::{
    progress::{Claim, Progress},
    ring,
};

use super::lease::Lease;

/// A message that was received by a subscription, before it is put into queues.
#[derive(Debug)]
pub struct Parcel {
    /// The subscription, as [`Routes`](crate::redis::routes::Routes) number theirs.
    pub subscription: usize,
    /// The channel.
    pub channel: Arc<str>,
    /// What was published.
    pub payload: Bytes,
    /// When it was received.
    pub received: Instant,
    /// The same by the clock on the wall.
    pub first_received: SystemTime,
    /// After so many crashes the most impatient of its components gives it up.
    pub most_crashes: u32,
}

impl ring::Parcel for Parcel {
    fn bytes(&self) -> u64 {
        (self.payload.len() + self.channel.len()) as u64 + QUEUE_ENTRY_OVERHEAD
    }

    fn most_crashes(&self) -> u32 {
        self.most_crashes
    }
}

/// Goes with a message that this replica owns, to its end.
pub struct Owned {
    lease: Arc<Lease>,
    progress: Arc<Progress>,
    claim: Claim,
}

impl Owned {
    /// For a message of this stay in the group.
    pub(super) fn new(lease: Arc<Lease>, progress: Arc<Progress>, claim: Claim) -> Self {
        Self { lease, progress, claim }
    }

    /// Waits until the group certainly counts on us, and says whether the message may be begun; if not, others handle it.
    pub async fn may_begin(&self) -> bool {
        self.lease.holds() || self.lease.granted().await
    }

    /// Whether it was left to others because this process stops.
    pub fn is_handed_over(&self) -> bool {
        self.progress.is_frozen()
    }

    /// Whether a replica died with it and no other has it any more: if this one dies too, it is gone.
    pub fn is_last(&self) -> bool {
        self.claim.is_last()
    }

    /// Whether somebody else owned it before.
    pub fn is_replay(&self) -> bool {
        self.claim.is_replay()
    }
}

impl std::fmt::Debug for Owned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owned").field("is_replay", &self.is_replay()).finish_non_exhaustive()
    }
}
