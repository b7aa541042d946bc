//! A message as it is kept while it is undecided who handles it, and what goes with one that this replica handles.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use spinredis_crds::defaults::QUEUE_ENTRY_OVERHEAD;
use spinredis_sharing::{progress::Claim, ring};

use super::lease::Lease;
use crate::dead_letters::advance::Advance;

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
    claim: Claim,
    advances: Mutex<BTreeMap<String, Advance>>,
}

impl Owned {
    /// For a message of this stay in the group.
    pub(super) fn new(lease: Arc<Lease>, claim: Claim) -> Self {
        Self { lease, claim, advances: Mutex::default() }
    }

    /// Waits until the group certainly counts on us, and says whether the message may be begun; if not, others handle it.
    pub async fn may_begin(&self) -> bool {
        (self.lease.holds() || self.lease.granted().await) && !self.claim.is_handed_over()
    }

    /// The dead letters that were left in advance of it, each with the component that left it.
    pub fn advances(&self) -> MutexGuard<'_, BTreeMap<String, Advance>> {
        self.advances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is left to others: they have taken over, or this replica has given up and somebody is there who has the message too.
    pub fn is_handed_over(&self) -> bool {
        self.lease.is_revoked() || self.claim.is_handed_over()
    }

    /// Whether a replica died with it and no other has it any more: if this one dies too, it is gone.
    pub fn is_last(&self) -> bool {
        self.claim.is_last()
    }
}

impl std::fmt::Debug for Owned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owned").field("is_last", &self.is_last()).finish_non_exhaustive()
    }
}
