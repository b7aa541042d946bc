//! What the receiver and the beats both work on, one at a time: the present stay, those before it, and what happened so far.

use std::{collections::VecDeque, time::Instant};

use spinredis_sharing::{
    group::{Counts, Stage, Taken},
    script::Operation,
};

use super::{
    parcel::Parcel,
    stay::{Ours, Stay},
};

/// What both sides work on.
#[derive(Default)]
pub struct Desk {
    pub(super) current: Option<Stay>,
    pub(super) former: VecDeque<Stay>,
    pub(super) is_leaving: bool,
    /// What happened in stays that are over.
    pub(super) past: Counts,
    pub(super) past_overflowed: u64,
    pub(super) expulsions: u64,
    pub(super) cuts: u64,
    pub(super) forged: u64,
    pub(super) beats: u64,
    pub(super) failed_beats: u64,
    /// Whether the last round of beats failed.
    pub(super) is_unanswered: bool,
    /// When a message on the control channel that is no marker was named in the log last.
    pub(super) told_forged: Option<Instant>,
}

impl Desk {
    /// A message was received. Gives it back when this replica handles it, now.
    pub fn message(&mut self, subscription: usize, channel: &[u8], payload: &[u8], make: impl FnOnce() -> Parcel) -> Option<Ours> {
        let stay = self.current.as_mut()?;
        match stay.group.message(subscription, channel, payload, make) {
            Taken::Ours(delivery) => Some(Stay::ours(delivery)),
            Taken::Kept => None,
        }
    }

    /// A message that is too large was received. Whether this replica counts it.
    pub fn too_large(&mut self, subscription: usize, channel: &[u8]) -> bool {
        self.current.as_mut().is_some_and(|stay| stay.group.too_large(subscription, channel))
    }

    pub(super) fn retire(&mut self, stay: Stay) {
        self.past += stay.group.counts();
        self.past_overflowed += stay.group.ring().overflowed();
    }

    /// The present stay has lost its place.
    pub(super) fn cut(&mut self) {
        let Some(mut stay) = self.current.take() else { return };
        self.cuts += u64::from(stay.group.stage() != Stage::Outside);
        stay.group.cut();
        stay.has_been_cut = true;
        // One that the group has never answered owns nothing; if the group knows it all the same, it is removed after the expiry time.
        if !stay.has_joined || (stay.birth.is_empty() && stay.group.epoch() == 0) {
            return self.retire(stay);
        }
        stay.wanted.push_back(Operation::Cut);
        self.former.push_back(stay);
    }

    /// Whether the group has never named this replica and does not answer it: there is nobody to wait for.
    pub(super) fn is_stranger(&self) -> bool {
        self.is_unanswered && self.stays().all(|stay| stay.group.epoch() == 0)
    }

    /// Whether everything of all stays is finished.
    pub(super) fn is_finished(&self) -> bool {
        self.stays().all(|stay| stay.group.is_finished())
    }

    pub(super) fn stays(&self) -> impl Iterator<Item = &Stay> {
        self.current.iter().chain(&self.former)
    }

    pub(super) fn stay_mut(&mut self, id: &str) -> Option<&mut Stay> {
        self.current.iter_mut().chain(&mut self.former).find(|stay| &**stay.group.id() == id)
    }
}
