//! Messages that wait for their next attempt. They stand in no lane's line; with [`Ordering::Channel`](super::Ordering) their
//! lane waits with them.

use std::time::Instant;

use super::{Lanes, NOWHERE, Phase, Slot};

impl Lanes {
    /// When the next retry is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|&(due, ..)| due)
    }

    /// Lets a message in flight wait for its next attempt. It goes back to waiting even when that exceeds the bound: it was in
    /// memory before, so the bound is exceeded by no more than what was in flight, and the next push looks after it. Gives the
    /// message's subscription.
    pub fn retry(&mut self, slot: Slot, due: Instant) -> Option<usize> {
        let entry = &mut self.entries[slot.place];
        entry.phase = Phase::Retrying(due);
        self.bytes += entry.cost;
        self.beyond += entry.beyond;
        self.due.insert((due, slot.sequence, slot.place));
        let lane = entry.lane;
        self.lanes[lane].in_flight -= 1;
        self.lanes[lane].retrying += 1;
        self.line_up(lane);
        self.subscription(slot.place)
    }

    /// A message in flight was taken and not begun: that was no attempt.
    pub fn forget_attempt(&mut self, slot: Slot) {
        let entry = &mut self.entries[slot.place];
        entry.attempts = entry.attempts.saturating_sub(1);
    }

    /// Puts one message whose retry is due first in its lane, and gives its subscription.
    pub fn wake_due(&mut self, now: Instant) -> Option<usize> {
        let (.., place) = self.due.first().copied().filter(|&(due, ..)| due <= now)?;
        self.due.pop_first();
        let lane = self.entries[place].lane;
        self.entries[place].phase = Phase::Queued;
        self.lanes[lane].retrying -= 1;
        self.enqueue(lane, place, |lanes| {
            let head = std::mem::replace(&mut lanes.lanes[lane].head, place);
            lanes.entries[place].behind = head;
            if head == NOWHERE {
                lanes.lanes[lane].tail = place;
            }
        });
        self.subscription(place)
    }

    /// The subscription of a message in flight.
    pub fn subscription_of(&self, slot: Slot) -> Option<usize> {
        self.subscription(slot.place)
    }

    fn subscription(&self, place: u32) -> Option<usize> {
        self.entries[place].message.as_ref().map(|message| message.subscription)
    }
}
