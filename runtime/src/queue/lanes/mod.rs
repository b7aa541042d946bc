//! The lanes of a queue: which message goes next, which waits for its retry (in `retries`), and which goes when
//! there are too many (in `shed`). Pure: no lock, no clock, no counts.
//!
//! A lane holds the messages of one concrete channel and lives while something of it is queued, retrying or in flight. Ready
//! lanes take turns: one message, then to the end of the line, so that a flooded channel delays another by one message.
//! With [`Ordering::Channel`] a lane is ready when it has a queued message and none in flight or retrying; with
//! [`Ordering::None`] whenever it has a queued message.

mod retries;
mod shed;
mod slab;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use spinredis_crds::dispatch::Ordering;

use super::Message;
use shed::Weight;
use slab::{KEEP, List, NOWHERE, Slab};

/// Where a message stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for its turn.
    #[default]
    Queued,
    /// With a worker.
    InFlight,
    /// Waiting for the time of its next attempt.
    Retrying(Instant),
}

/// A message in flight. Places are reused; the sequence tells this message from a later one at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    place: u32,
    sequence: u64,
}

/// A message from push to its end.
#[derive(Default)]
struct Entry {
    /// `None` where the place is free.
    message: Option<Arc<Message>>,
    sequence: u64,
    cost: u64,
    /// What of that does not count against the bound.
    beyond: u64,
    phase: Phase,
    lane: u32,
    /// The one behind it in its lane.
    behind: u32,
    /// Attempts begun in this life.
    attempts: u32,
}

/// The messages of one channel.
#[derive(Default)]
struct Lane {
    head: u32,
    tail: u32,
    queued: usize,
    /// Bytes of those that are queued.
    bytes: u64,
    in_flight: usize,
    retrying: usize,
    /// Whether it stands in line for its turn.
    ready: bool,
}

/// All lanes of a component.
pub struct Lanes {
    ordering: Ordering,
    max_bytes: u64,
    entries: Slab<Entry>,
    /// Every entry, in the order they came.
    arrivals: List,
    lanes: Slab<Lane>,
    /// The lanes that are ready, in the order of their turns.
    ready: List,
    by_channel: HashMap<Arc<str>, u32>,
    /// Messages that wait for their retry: when it is due, sequence, place.
    due: BTreeSet<(Instant, u64, u32)>,
    /// Lanes by what they weigh, while that is of use.
    weights: Option<BTreeSet<Weight>>,
    bytes: u64,
    /// What of those does not count against the bound.
    beyond: u64,
    /// What messages that were shed had of that, until the others are down to the bound.
    inherited: u64,
    queued: usize,
}

impl Lanes {
    /// No lanes yet. Up to `max_bytes` may wait.
    pub fn new(ordering: Ordering, max_bytes: u64) -> Self {
        Self {
            ordering,
            max_bytes,
            entries: Slab::default(),
            arrivals: List::default(),
            lanes: Slab::default(),
            ready: List::default(),
            by_channel: HashMap::new(),
            due: BTreeSet::new(),
            weights: None,
            bytes: 0,
            beyond: 0,
            inherited: 0,
            queued: 0,
        }
    }

    /// Bytes that wait, for their turn or for their retry.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lanes that exist.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether nothing is queued, retrying or in flight.
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// How many messages could be taken one after the other.
    pub fn takeable(&self) -> usize {
        match self.ordering {
            Ordering::Channel => self.ready.len(),
            Ordering::None => self.queued,
        }
    }

    /// When the oldest message that waits was received.
    pub fn oldest(&self) -> Option<Instant> {
        // Only messages in flight are passed over, and there are no more of them than workers.
        let mut entries = self.arrivals.places(&self.entries).map(|place| &self.entries[place]);
        entries.find(|entry| entry.phase != Phase::InFlight)?.message.as_ref().map(|message| message.received)
    }

    /// Puts a message at the end of its lane, whether or not there is room.
    pub fn push(&mut self, message: Arc<Message>) {
        let lane = match self.by_channel.get(&message.channel) {
            Some(&lane) => lane,
            None => {
                let lane = self.lanes.insert(Lane { head: NOWHERE, tail: NOWHERE, ..Lane::default() });
                self.by_channel.insert(message.channel.clone(), lane);
                lane
            }
        };
        let (sequence, cost) = (message.sequence, message.cost());
        let beyond = self.beyond_for(&message);
        let entry = Entry { message: Some(message), sequence, cost, beyond, phase: Phase::Queued, lane, behind: NOWHERE, attempts: 0 };
        let place = self.entries.insert(entry);
        self.arrivals.push_back(&mut self.entries, place);
        self.bytes += cost;
        self.beyond += beyond;
        self.enqueue(lane, place, |lanes| match lanes.lanes[lane].tail {
            NOWHERE => (lanes.lanes[lane].head, lanes.lanes[lane].tail) = (place, place),
            tail => {
                lanes.entries[tail].behind = place;
                lanes.lanes[lane].tail = place;
            }
        });
    }

    /// The next message, now in flight, and which attempt of this life that is.
    pub fn take(&mut self) -> Option<(Slot, Arc<Message>, u32)> {
        let lane = self.ready.first()?;
        self.ready.remove(&mut self.lanes, lane);
        self.lanes[lane].ready = false;
        let place = self.dequeue(lane);
        self.give_back();
        self.lanes[lane].in_flight += 1;
        self.line_up(lane);
        self.forget_weights();
        let entry = &mut self.entries[place];
        entry.phase = Phase::InFlight;
        entry.attempts += 1;
        let message = entry.message.clone()?;
        Some((Slot { place, sequence: entry.sequence }, message, entry.attempts))
    }

    /// Attempts of a message that is in flight; `None` when it was abandoned.
    pub fn attempts(&self, slot: Slot) -> Option<u32> {
        self.entries.get(slot.place).filter(|entry| entry.sequence == slot.sequence).map(|entry| entry.attempts)
    }

    /// Takes a message in flight out for good.
    pub fn end(&mut self, slot: Slot) -> Option<Arc<Message>> {
        let lane = self.entries[slot.place].lane;
        self.lanes[lane].in_flight -= 1;
        self.leave(slot.place, lane)
    }

    /// Takes everything out, in the order it came, with the attempts that were made of each.
    pub fn abandon(&mut self) -> Vec<(Arc<Message>, Phase, u32)> {
        let mut left = std::mem::replace(self, Self::new(self.ordering, self.max_bytes));
        let places: Vec<u32> = left.arrivals.places(&left.entries).collect();
        let entries = places.into_iter().map(|place| std::mem::take(&mut left.entries[place]));
        entries.filter_map(|entry| Some((entry.message?, entry.phase, entry.attempts))).collect()
    }

    fn enqueue(&mut self, lane: u32, place: u32, link: impl FnOnce(&mut Self)) {
        let cost = self.entries[place].cost;
        self.reweigh(lane, |lanes| {
            link(lanes);
            lanes.lanes[lane].bytes += cost;
        });
        self.lanes[lane].queued += 1;
        self.queued += 1;
        self.line_up(lane);
    }

    /// Takes the first message out of a lane that has one queued; its entry stays.
    fn dequeue(&mut self, lane: u32) -> u32 {
        let place = self.lanes[lane].head;
        let Entry { behind, cost, beyond, .. } = self.entries[place];
        self.reweigh(lane, |lanes| {
            let lane = &mut lanes.lanes[lane];
            lane.head = behind;
            if behind == NOWHERE {
                lane.tail = NOWHERE;
            }
            lane.bytes -= cost;
        });
        self.lanes[lane].queued -= 1;
        self.queued -= 1;
        self.bytes -= cost;
        self.beyond -= beyond;
        place
    }

    /// Removes an entry that no longer stands in its lane, and the lane with its last.
    fn leave(&mut self, place: u32, lane: u32) -> Option<Arc<Message>> {
        self.arrivals.remove(&mut self.entries, place);
        let message = self.entries.remove(place).message?;
        self.line_up(lane);
        let Lane { queued, in_flight, retrying, .. } = self.lanes[lane];
        if queued + in_flight + retrying == 0 {
            self.lanes.remove(lane);
            self.by_channel.remove(&message.channel);
            if self.by_channel.is_empty() && self.by_channel.capacity() > KEEP * 2 {
                self.by_channel = HashMap::new();
            }
        }
        Some(message)
    }

    /// Puts a lane in line, at the end, or out of it, after something of it has changed.
    fn line_up(&mut self, lane: u32) {
        let Lane { queued, in_flight, retrying, ready, .. } = self.lanes[lane];
        let is_free = self.ordering == Ordering::None || in_flight + retrying == 0;
        let is_ready = queued > 0 && is_free;
        if is_ready != ready {
            self.lanes[lane].ready = is_ready;
            match is_ready {
                true => self.ready.push_back(&mut self.lanes, lane),
                false => self.ready.remove(&mut self.lanes, lane),
            }
        }
    }
}
