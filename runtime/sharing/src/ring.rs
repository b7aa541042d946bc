//! Messages that others own, kept until they are finished: what survivors replay when an owner dies. Bounded in bytes; what has to
//! go first is the oldest, and is counted, since nobody could replay it any more.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use crate::{
    Id,
    epoch::Epoch,
    progress::Progress,
    trial::{Trial, company, verdict},
    wire::{Departure, Lane, Place, Report},
};

/// What a replica keeps of a message.
pub trait Parcel {
    /// What goes with each message that is to be handled: what one stay in the group has, its [`Progress`] above all.
    type Holder: AsRef<Progress> + Clone;

    /// What it counts against the bound, in bytes.
    fn bytes(&self) -> u64;

    /// A message whose owners died so often while they may have had it in hand is not tried again.
    fn most_crashes(&self) -> u32;
}

/// A member that was cut off before it received a message, and finishes what came before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// Its id.
    pub id: Id,
    /// Number of the marker that tells of it. What it had received is known with that.
    pub marker: u64,
}

/// A message of somebody else.
#[derive(Debug)]
pub struct Entry<T> {
    /// Where it came.
    pub place: Place,
    /// The members of that time.
    pub epoch: Arc<Epoch>,
    /// The subscription it came by, as this replica counts its own.
    pub subscription: usize,
    /// What decides whose it is.
    pub key: u64,
    /// How many owners died with it.
    pub crashes: u32,
    /// Whether one died with it and others that were tried: the next try is strictly without company.
    pub is_alone: bool,
    /// Its owner took it over at this epoch's marker.
    pub taken_over: Option<u64>,
    /// Who finishes what came before it.
    pub after: Option<After>,
    /// The message.
    pub parcel: T,
}

impl<T: Parcel> Entry<T> {
    /// How its next owner is to try it, when one has died with it.
    pub fn trial(&self) -> Option<Trial> {
        let company = || company(self.crashes, self.is_alone, self.parcel.most_crashes());
        (self.crashes > 0).then(|| Trial { place: self.place, company: company() })
    }

    /// Its lane, as its owner tells it.
    pub fn lane(&self) -> Lane {
        self.epoch.members.lane(self.subscription, self.key, self.place)
    }

    fn is_finished(&self, report: &Report) -> bool {
        match self.taken_over {
            Some(at) => report.has_replayed(self.place, self.lane(), at),
            None => report.has_finished(self.place, self.lane()),
        }
    }

    /// Whether an owner that was cut off has it all the same.
    fn is_seen(&self, report: &Report) -> bool {
        match self.taken_over {
            Some(epoch) => report.seen_epoch >= epoch,
            None => report.has_seen(self.place),
        }
    }
}

/// Everything that is kept.
pub struct Ring<T> {
    by_owner: BTreeMap<Id, Line<T>>,
    bytes: u64,
    max_bytes: u64,
    overflowed: u64,
    /// Numbers entries in the order they came here.
    next: u64,
}

struct Line<T> {
    entries: VecDeque<(u64, Entry<T>)>,
    /// Whether the first unfinished one may have finished ones behind it: with more than one class, or after a takeover.
    is_mixed: bool,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), is_mixed: false }
    }
}

impl<T: Parcel> Ring<T> {
    /// An empty one.
    pub fn new(max_bytes: u64) -> Self {
        Self { by_owner: BTreeMap::new(), bytes: 0, max_bytes, overflowed: 0, next: 0 }
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bound of those.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Messages that are kept.
    pub fn len(&self) -> usize {
        self.by_owner.values().map(|line| line.entries.len()).sum()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.by_owner.values().all(|line| line.entries.is_empty())
    }

    /// Messages that had to go before their owner had finished them.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Keeps a message of an owner, the newest.
    pub fn push(&mut self, owner: &Id, entry: Entry<T>) {
        self.bytes += entry.parcel.bytes();
        let line = match self.by_owner.get_mut(owner) {
            Some(line) => line,
            None => self.by_owner.entry(owner.clone()).or_default(),
        };
        let same_class = line.entries.back().is_none_or(|(_, last)| last.place.class == entry.place.class);
        line.is_mixed |= entry.taken_over.is_some() || !same_class;
        line.entries.push_back((self.next, entry));
        self.next += 1;
        while self.bytes > self.max_bytes && self.shed() {}
    }

    /// Lets the oldest go; `false` when there is none.
    fn shed(&mut self) -> bool {
        let lines = self.by_owner.values_mut().filter(|line| !line.entries.is_empty());
        let oldest = lines.min_by_key(|line| line.entries.front().map(|(number, _)| *number));
        let Some((_, entry)) = oldest.and_then(|line| line.entries.pop_front()) else { return false };
        self.bytes -= entry.parcel.bytes();
        self.overflowed += 1;
        true
    }

    /// Lets go what an owner has finished.
    pub fn finished(&mut self, owner: &Id, report: &Report) {
        let Some(line) = self.by_owner.get_mut(owner) else { return };
        let bytes = &mut self.bytes;
        // Few are unfinished among many that are.
        let mut unfinished = Vec::new();
        while let Some(one) = line.entries.pop_front_if(|(_, entry)| entry.taken_over.is_none() && report.reaches(entry.place)) {
            if one.1.is_finished(report) {
                *bytes -= one.1.parcel.bytes();
            } else {
                unfinished.push(one);
            }
        }
        unfinished.into_iter().rev().for_each(|one| line.entries.push_front(one));
        if line.is_mixed {
            line.entries.retain(|(_, entry)| {
                let stays = !entry.is_finished(report);
                if !stays {
                    *bytes -= entry.parcel.bytes();
                }
                stays
            });
        }
        if line.entries.is_empty() {
            line.is_mixed = false;
        }
    }

    /// Takes out what a member leaves behind that departs so, with this as its last report and these in hand of those that were tried, at
    /// the marker of this number.
    pub fn orphans(&mut self, owner: &Id, how: Departure, report: &Report, trying: &BTreeSet<Place>, marker: u64) -> Vec<Entry<T>> {
        self.finished(owner, report);
        let Some(mut line) = self.by_owner.remove(owner) else { return Vec::new() };
        let mut stay = Line { entries: VecDeque::new(), is_mixed: line.is_mixed };
        let mut orphans = Vec::new();
        for (number, mut entry) in line.entries.drain(..) {
            match how {
                Departure::Cut if entry.is_seen(report) => {
                    stay.entries.push_back((number, entry));
                    continue;
                }
                Departure::Cut if entry.after.is_none() => entry.after = Some(After { id: owner.clone(), marker }),
                Departure::Died => {
                    let most_crashes = entry.parcel.most_crashes();
                    (entry.crashes, entry.is_alone) = verdict(entry.place, entry.crashes, entry.is_alone, trying, most_crashes);
                }
                _ => {}
            }
            self.bytes -= entry.parcel.bytes();
            if how != Departure::Final {
                orphans.push(entry);
            }
        }
        if !stay.entries.is_empty() {
            self.by_owner.insert(owner.clone(), stay);
        }
        orphans
    }

    /// Lets everything go.
    pub fn clear(&mut self) {
        self.by_owner.clear();
        self.bytes = 0;
    }
}
