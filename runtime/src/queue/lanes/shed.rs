//! What goes when more bytes wait than may. Messages that were taken over from another replica come in beyond the bound: the bytes of
//! theirs that wait do not count against it, as far as they were granted.
//!
//! Lanes are kept sorted by weight only while that is of use: from the first time there is too much until less than half of the
//! bound waits. A queue that never overflows pays one comparison.

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

use super::{Entry, Lanes, Message, NOWHERE, Phase};

/// Bytes that a lane has queued, how old its first message is, and its place: the last in this order is the heaviest, and of
/// lanes that weigh the same the one whose first message is older.
pub type Weight = (u64, Reverse<u64>, u32);

impl Lanes {
    /// Whether a message may wait without any other having to go. When nothing waits, any message may.
    pub fn has_room_for(&self, message: &Message) -> bool {
        !self.counts(message) || self.bounded() + message.cost() - self.beyond_for(message) <= self.max_bytes || self.waiting() == 0
    }

    /// Whether any of a message's bytes count against the bound. For one of which none do, nothing has to go.
    pub fn counts(&self, message: &Message) -> bool {
        self.beyond_for(message) < message.cost()
    }

    /// What of a message's bytes does not count against the bound.
    pub(super) fn beyond_for(&self, message: &Message) -> u64 {
        message.cost().min(message.beyond.saturating_sub(self.beyond + self.inherited))
    }

    /// Bytes that wait and count against the bound.
    fn bounded(&self) -> u64 {
        (self.bytes - self.beyond).saturating_sub(self.inherited)
    }

    /// What was inherited is given back as the queue works it off.
    pub(super) fn give_back(&mut self) {
        self.inherited = self.inherited.min((self.bytes - self.beyond).saturating_sub(self.max_bytes));
    }

    /// Takes one message out if more bytes wait than may, and says where it stood.
    ///
    /// It is the oldest of the lane that has most bytes queued. The message that came last is no exception: where it alone
    /// outweighs every other lane it goes itself, so that a channel of large messages cannot push out all others. When one
    /// queued message is left, the oldest of those that retry goes. The last message that waits stays, however large, so that
    /// the largest payload a connection lets through can be handled: the bound is that of the queue or of one message.
    pub fn shed(&mut self) -> Option<(Arc<Message>, Phase)> {
        if self.bounded() <= self.max_bytes || self.waiting() <= 1 {
            return None;
        }
        let place = match self.queued > 1 {
            true => self.shed_queued(),
            false => self.shed_retrying(),
        }?;
        let Entry { lane, phase, beyond, .. } = self.entries[place];
        // Those that wait inherit what it was granted beyond the bound. Or else it would make no room, and all like it had to go for one.
        self.inherited += beyond;
        Some((self.leave(place, lane)?, phase))
    }

    fn waiting(&self) -> usize {
        self.queued + self.due.len()
    }

    fn shed_queued(&mut self) -> Option<u32> {
        if self.weights.is_none() {
            self.weights = Some(self.by_channel.values().filter_map(|&lane| self.weight(lane)).collect());
        }
        let &(.., lane) = self.weights.as_ref().and_then(BTreeSet::last)?;
        Some(self.dequeue(lane))
    }

    fn shed_retrying(&mut self) -> Option<u32> {
        // Beside those in flight, at most one is passed over.
        let is_retrying = |&place: &u32| matches!(self.entries[place].phase, Phase::Retrying(_));
        let place = self.arrivals.places(&self.entries).find(is_retrying)?;
        let Entry { lane, sequence, cost, beyond, phase, .. } = self.entries[place];
        if let Phase::Retrying(due) = phase {
            self.due.remove(&(due, sequence, place));
        }
        self.bytes -= cost;
        self.beyond -= beyond;
        self.lanes[lane].retrying -= 1;
        Some(place)
    }

    fn weight(&self, lane: u32) -> Option<Weight> {
        let head = self.lanes[lane].head;
        (head != NOWHERE).then(|| (self.lanes[lane].bytes, Reverse(self.entries[head].sequence), lane))
    }

    /// Does something that changes what a lane weighs.
    pub(super) fn reweigh(&mut self, lane: u32, change: impl FnOnce(&mut Self)) {
        if self.weights.is_none() {
            return change(self);
        }
        let before = self.weight(lane);
        change(self);
        let after = self.weight(lane);
        if let Some(weights) = &mut self.weights {
            before.map(|weight| weights.remove(&weight));
            after.map(|weight| weights.insert(weight));
        }
    }

    /// Lets go of the weights once there is plenty of room.
    pub(super) fn forget_weights(&mut self) {
        if self.weights.is_some() && self.bounded() < self.max_bytes / 2 {
            self.weights = None;
        }
    }
}
