//! Messages that are ours and wait for somebody else to finish an earlier one of the same channel: order across replicas.

use std::collections::{HashSet, VecDeque};

use crate::{
    group::Delivery,
    ring::{After, Parcel},
    wire::Place,
};

/// A message that waits.
pub struct Item<T: Parcel> {
    /// The key of its channel, which decides whose it is: nothing of one channel overtakes.
    pub channel: u64,
    /// Where it came.
    pub place: Place,
    /// The subscription it came by.
    pub subscription: usize,
    /// Who finishes what came before it.
    pub after: Option<After>,
    /// The message.
    pub delivery: Delivery<T>,
    /// Its bytes.
    pub bytes: u64,
}

/// Those that wait, in the order they were published: what is taken over is older than what was received since.
pub struct Held<T: Parcel> {
    items: VecDeque<Item<T>>,
    channels: HashSet<u64>,
    bytes: u64,
}

impl<T: Parcel> Default for Held<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), channels: HashSet::new(), bytes: 0 }
    }
}

impl<T: Parcel> Held<T> {
    /// Lets one wait.
    pub fn push(&mut self, item: Item<T>) {
        self.channels.insert(item.channel);
        self.bytes += item.bytes;
        // Of one channel they come in turn only if one owner had them all: after a crash somebody may have had the later ones already.
        let before = self.items.partition_point(|other| other.place <= item.place);
        self.items.insert(before, item);
    }

    /// Whether something of a channel waits.
    pub fn has(&self, channel: u64) -> bool {
        self.channels.contains(&channel)
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Takes out those that `may_go`, unless an earlier one of their channel stays.
    pub fn release(&mut self, mut may_go: impl FnMut(&Item<T>) -> bool) -> Vec<Item<T>> {
        let mut released = Vec::new();
        self.channels.clear();
        for item in std::mem::take(&mut self.items) {
            if self.channels.contains(&item.channel) || !may_go(&item) {
                self.channels.insert(item.channel);
                self.items.push_back(item);
            } else {
                self.bytes -= item.bytes;
                released.push(item);
            }
        }
        released
    }

    /// Takes out everything.
    pub fn clear(&mut self) -> Vec<Item<T>> {
        self.channels.clear();
        self.bytes = 0;
        std::mem::take(&mut self.items).into()
    }
}
