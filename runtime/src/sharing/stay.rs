//! One stay of this replica in its group, from the moment it may ask to be a member to the moment it has nothing left to finish.

use std::{collections::VecDeque, time::Instant};

use spinredis_sharing::{
    group::{Delivery, Group, Stage},
    script::Operation,
    wire::Report,
};

use super::parcel::{Owned, Parcel};

/// One stay in the group.
pub(super) struct Stay {
    pub(super) group: Group<Parcel>,
    /// What it is to tell the group beside that it lives, in this order.
    pub(super) wanted: VecDeque<Operation>,
    /// Whether it has asked to be a member.
    pub(super) has_joined: bool,
    /// Whether its connection broke.
    pub(super) has_been_cut: bool,
    /// Whether the group has forgotten everything and was not told yet who there was.
    pub(super) is_reborn: bool,
    /// The name and the text of what it subscribes to.
    pub(super) set: (String, String),
    /// The group's birth, as it last heard of it.
    pub(super) birth: String,
    /// When the group answered it last.
    pub(super) answered: Option<Instant>,
    /// Since when it knows of a marker that has not come.
    pub(super) behind: Option<Instant>,
}

/// A message for the queues, with what goes with it to its end.
pub type Ours = (Parcel, Owned);

impl Stay {
    /// What it tells the group now.
    pub(super) fn operation(&self, is_leaving: bool) -> Operation {
        let has_left = self.group.stage() == Stage::Left || is_leaving;
        match self.wanted.front() {
            Some(operation) => *operation,
            None if has_left && self.group.is_finished() => Operation::Final,
            None => Operation::Beat,
        }
    }

    /// Whether there is something to tell that need not wait for the next beat.
    pub(super) fn has_news(&self, is_leaving: bool) -> bool {
        self.operation(is_leaving) != Operation::Beat
    }

    pub(super) fn ours(delivery: Delivery<Parcel>) -> Ours {
        let Delivery { parcel, claim, crashes, trial } = delivery;
        (parcel, Owned::new(claim, crashes, trial))
    }

    /// What was taken over or has waited for others: it was kept until now, so it comes into queues that are full as well.
    pub(super) fn take_ready(&mut self) -> Vec<Ours> {
        let (ready, beyond) = (self.group.take_ready(), self.group.ring().max_bytes());
        let kept = |(parcel, owned): Ours| (Parcel { beyond, ..parcel }, owned);
        ready.into_iter().map(Self::ours).map(kept).collect()
    }

    pub(super) fn revoke(&mut self) {
        self.group.expelled();
        self.group.holder().lease.revoke();
    }
}

/// What one stay tells.
pub(super) struct Told {
    pub(super) id: String,
    pub(super) operation: Operation,
    pub(super) set: (String, String),
    pub(super) birth: String,
    pub(super) epoch: u64,
    pub(super) report: Report,
    pub(super) known: String,
}
