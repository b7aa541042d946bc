//! One replica's part in its group, for one stay. Events come in from two sides: what Redis sends on the subscription connection, in its
//! order ([`message`](Group::message), [`marker`](Group::marker)), and what the script answers ([`reply`](Group::reply)). What is to be
//! handled comes out: at once, or with [`take_ready`](Group::take_ready).
//!
//! The owner of every message is known from the message itself and the last marker. What is ours goes on with a claim; what is
//! another's is kept until that one tells that it has finished it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    Id,
    epoch::Epoch,
    held::{Held, Item},
    progress::{Claim, Progress},
    ring::{Entry, Parcel, Ring},
    share::{Print, Subscriptions, channel_key, content_key},
    wire::{Departed, Departure, Marker, Place, Record, Reply, Report, Standing},
};

/// Where a replica stands in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No marker has named it yet: it handles nothing.
    Outside,
    /// It owns its share.
    Member,
    /// It owns nothing new and finishes what it has.
    Left,
    /// It was removed: others do what it had not finished.
    Expelled,
}

/// A message to be handled by this replica.
pub struct Delivery<T> {
    /// The message.
    pub parcel: T,
    /// To be dropped at its end.
    pub claim: Claim,
    /// How many owners died with it before.
    pub crashes: u32,
}

/// What became of a message that was received.
pub enum Taken<T> {
    /// It is ours, and its turn is now.
    Ours(Delivery<T>),
    /// It is kept, waits, or is none of our business.
    Kept,
}

/// What happened so far in one stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages received as their owner.
    pub owned: u64,
    /// Messages received that others own.
    pub others: u64,
    /// Messages taken over from members that departed.
    pub replayed: u64,
    /// Messages that were delivered before their turn, since too many waited.
    pub hurried: u64,
}

/// One replica's part.
pub struct Group<T> {
    id: Id,
    own: Subscriptions,
    prints: Vec<Print>,
    progress: Arc<Progress>,
    stage: Stage,
    /// The last marker's number, while this replica is or was a member.
    number: u64,
    current: Option<Arc<Epoch>>,
    /// The epoch this stay began with.
    first: u64,
    /// Epochs before which somebody may have something unfinished.
    unsettled: Vec<Arc<Epoch>>,
    /// What others told last.
    reports: HashMap<Id, Report>,
    /// Who is a member and who only finishes, as Redis last said.
    records: Vec<Record>,
    /// The epoch of the last answer.
    replied: u64,
    /// Whether no message can have an unfinished predecessor elsewhere.
    calm: bool,
    ring: Ring<T>,
    held: Held<T>,
    careful: Careful<T>,
    ready: Vec<Delivery<T>>,
    counts: Counts,
}

/// Messages that are tried one after the other, each named in the report before it is.
struct Careful<T> {
    waiting: VecDeque<(Place, u64, Delivery<T>)>,
    /// The one that is named or tried.
    trying: Option<(Place, u64)>,
    /// Whether it was handed out.
    handed_out: bool,
}

impl<T> Careful<T> {
    fn has(&self, channel: u64) -> bool {
        self.trying.is_some_and(|(_, trying)| trying == channel) || self.waiting.iter().any(|(_, waiting, _)| *waiting == channel)
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.trying.is_none()
    }
}

impl<T: Parcel> Group<T> {
    /// A replica that has subscribed and is not named by a marker yet. `prints` are its subscriptions by the numbers it gives
    /// them. Messages of others are kept up to `ring_bytes`.
    pub fn new(id: Id, own: Subscriptions, prints: Vec<Print>, ring_bytes: u64, progress: Arc<Progress>) -> Self {
        Self {
            id,
            own,
            prints,
            progress,
            stage: Stage::Outside,
            number: 0,
            current: None,
            first: 0,
            unsettled: Vec::new(),
            reports: HashMap::new(),
            records: Vec::new(),
            replied: 0,
            calm: false,
            ring: Ring::new(ring_bytes),
            held: Held::default(),
            careful: Careful { waiting: VecDeque::new(), trying: None, handed_out: false },
            ready: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Its name.
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// What it subscribes to, and the same by its numbers.
    pub fn subscriptions(&self) -> (&Subscriptions, &[Print]) {
        (&self.own, &self.prints)
    }

    /// Where it stands.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The number of the last marker it went by.
    pub fn epoch(&self) -> u64 {
        self.number
    }

    /// The members, as of that marker.
    pub fn members(&self) -> usize {
        self.current.as_ref().map_or(0, |epoch| epoch.members.ids().len())
    }

    /// Whether somebody else is a member.
    pub fn has_others(&self) -> bool {
        self.current.as_ref().is_some_and(|epoch| epoch.members.ids().iter().any(|id| *id != self.id))
    }

    /// All who beat, as Redis last said.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Messages of others.
    pub fn ring(&self) -> &Ring<T> {
        &self.ring
    }

    /// Messages of its own that wait for others.
    pub fn held(&self) -> usize {
        self.held.len() + self.careful.waiting.len()
    }

    /// Whether it waits for what others tell.
    pub fn is_waiting(&self) -> bool {
        self.held() > 0 || self.careful.trying.is_some()
    }

    /// Whether the next beat should not wait for its time: a message is to be tried that has to be named first.
    pub fn wants_beat(&self) -> bool {
        match self.careful.trying {
            Some(_) => !self.careful.handed_out || self.progress.report().trying.is_none(),
            None => !self.careful.waiting.is_empty(),
        }
    }

    /// Whether everything that it owned is finished.
    pub fn is_finished(&self) -> bool {
        self.progress.unfinished() == 0
    }

    /// What to tell the others.
    pub fn report(&self) -> Report {
        self.progress.report()
    }

    /// A message was received by a subscription. `make` makes a parcel of it when it is to be kept or handled.
    pub fn message(&mut self, subscription: usize, channel: &[u8], payload: &[u8], make: impl FnOnce() -> T) -> Taken<T> {
        let Some((epoch, key, is_ours)) = self.whose(subscription, channel, payload) else { return Taken::Kept };
        let (place, claim) = self.progress.receive(epoch.members.class(subscription).mask, is_ours);
        let Some(claim) = claim else {
            self.counts.others += 1;
            if let Some(owner) = epoch.members.class(subscription).owner(key) {
                let parcel = make();
                self.ring.push(owner, Entry { place, epoch: epoch.clone(), subscription, key, crashes: 0, taken_over: None, parcel });
            }
            return Taken::Kept;
        };
        self.counts.owned += 1;
        let parcel = make();
        if !self.calm && epoch.members.is_ordered(subscription) {
            let channel = channel_key(channel);
            let bytes = parcel.bytes();
            let item = Item { channel, epoch: epoch.number, subscription, key, after: None, parcel, claim, crashes: 0, bytes };
            let mut asked = HashMap::new();
            let waits = self.held.has(channel) || !self.may_go(&item, &mut asked);
            if waits && self.held.bytes() + bytes <= self.ring.max_bytes() {
                self.held.push(item);
                return Taken::Kept;
            }
            self.counts.hurried += u64::from(waits);
            return Taken::Ours(Delivery { parcel: item.parcel, claim: item.claim, crashes: 0 });
        }
        Taken::Ours(Delivery { parcel, claim, crashes: 0 })
    }

    /// A message was received that is too large to be taken. Whether it is this replica's to count; it has its position all the same.
    pub fn too_large(&mut self, subscription: usize, channel: &[u8]) -> bool {
        // Its payload is unknown, so its channel decides, for all alike.
        let Some((epoch, _, is_ours)) = self.whose(subscription, channel, &[]) else { return false };
        // Finished as soon as it is counted: the claim is dropped.
        let _ = self.progress.receive(epoch.members.class(subscription).mask, is_ours);
        is_ours
    }

    fn whose(&self, subscription: usize, channel: &[u8], payload: &[u8]) -> Option<(Arc<Epoch>, u64, bool)> {
        let epoch = self.current.as_ref().filter(|_| self.stage == Stage::Member)?;
        let key = match epoch.members.is_ordered(subscription) {
            true => channel_key(channel),
            false => content_key(channel, payload),
        };
        let is_ours = epoch.members.class(subscription).owner(key) == Some(&self.id);
        Some((epoch.clone(), key, is_ours))
    }

    /// A marker was received. Returns whether it changes anything for this replica.
    pub fn marker(&mut self, marker: &Marker) -> bool {
        let is_named = marker.members.iter().any(|member| member.id == self.id);
        // An old one that a stranger repeats counts for nothing.
        if marker.epoch <= self.number {
            return false;
        }
        match self.stage {
            // Also one that a marker has left out, and that has joined again since: a FLUSHALL brings members back one by one.
            Stage::Outside | Stage::Left if is_named => self.first = marker.epoch,
            Stage::Member => {}
            Stage::Left if marker.departed.iter().any(|departed| departed.id == self.id && departed.how == Departure::Died) => {
                self.expelled();
                return true;
            }
            Stage::Outside | Stage::Left | Stage::Expelled => return false,
        }
        if !is_named && marker.departed.iter().any(|departed| departed.id == self.id) {
            self.expelled();
            return true;
        }
        self.number = marker.epoch;
        self.progress.begin(marker.epoch);
        let epoch = Arc::new(Epoch::new(marker, &self.own, &self.prints));
        self.current = Some(epoch.clone());
        self.calm = false;
        if epoch.members.any_ordered() || self.unsettled.iter().any(|epoch| epoch.members.any_ordered()) {
            self.unsettled.push(epoch.clone());
        }
        let was_member = std::mem::replace(&mut self.stage, if is_named { Stage::Member } else { Stage::Left }) == Stage::Member;
        if !is_named {
            self.ring.clear();
            self.progress.watch();
        } else if was_member {
            marker.departed.iter().for_each(|departed| self.depart(departed, &epoch));
        }
        true
    }

    /// Sees to what a member leaves behind.
    fn depart(&mut self, departed: &Departed, now: &Arc<Epoch>) {
        let Departed { id, how, report } = departed;
        match how {
            Departure::Cut => drop(self.reports.insert(id.clone(), report.clone())),
            _ => drop(self.reports.remove(id)),
        }
        for mut entry in self.ring.orphans(id, *how, report) {
            let class = entry.epoch.members.class(entry.subscription);
            let heir = class.owner_among(entry.key, |id| now.members.ids().contains(id)).cloned();
            match heir {
                Some(heir) if heir == self.id => self.replay(entry, now, (*how == Departure::Cut).then_some(id)),
                Some(heir) => {
                    entry.taken_over = Some(now.number);
                    self.ring.push(&heir, entry);
                }
                // Cannot be: whoever has the entry is one that may inherit it.
                None => {}
            }
        }
    }

    fn replay(&mut self, entry: Entry<T>, now: &Arc<Epoch>, cut: Option<&Id>) {
        self.counts.replayed += 1;
        let is_careful = entry.is_careful();
        let claim = self.progress.take_over(is_careful);
        let Entry { place, epoch, subscription, key, crashes, parcel, .. } = entry;
        // Whose order counts has its channel for a key.
        let is_ordered = epoch.members.is_ordered(subscription);
        if is_careful {
            self.careful.waiting.push_back((place, key, Delivery { parcel, claim, crashes }));
        } else if is_ordered {
            let after = cut.map(|id| (id.clone(), now.number));
            let bytes = parcel.bytes();
            self.held.push(Item { channel: key, epoch: place.epoch, subscription, key, after, parcel, claim, crashes, bytes });
            self.release();
        } else {
            self.ready.push(Delivery { parcel, claim, crashes });
        }
    }

    /// The script answered a call that told `sent`.
    pub fn reply(&mut self, reply: &Reply, sent: &Report) {
        if reply.standing == Standing::Unknown {
            return self.expelled();
        }
        if reply.standing == Standing::Reborn {
            return;
        }
        self.records.clone_from(&reply.records);
        let others = reply.records.iter().filter(|record| record.id != self.id);
        self.reports = others.map(|record| (record.id.clone(), record.report.clone())).collect();
        self.replied = self.replied.max(reply.epoch);
        for (id, report) in &self.reports {
            self.ring.finished(id, report);
        }
        let (reports, replied) = (&self.reports, self.replied);
        self.unsettled.retain(|epoch| replied < epoch.number || reports.values().any(|report| !report.has_replayed(epoch.number)));
        self.go_on_carefully(sent);
        self.release();
        self.calm = self.unsettled.is_empty() && self.held.len() == 0 && self.careful.is_empty() && self.stage == Stage::Member;
    }

    /// The next of those that are tried one after the other, when the last has ended and this one was named.
    fn go_on_carefully(&mut self, sent: &Report) {
        if self.careful.handed_out && self.progress.report().trying.is_none() {
            (self.careful.trying, self.careful.handed_out) = (None, false);
        }
        if self.careful.trying.is_none()
            && let Some((place, channel, _)) = self.careful.waiting.front()
        {
            self.careful.trying = Some((*place, *channel));
            self.progress.set_trying(Some(*place));
        }
        if let Some((place, _)) = self.careful.trying
            && !self.careful.handed_out
            && sent.trying == Some(place)
            && let Some((_, _, delivery)) = self.careful.waiting.pop_front()
        {
            self.careful.handed_out = true;
            self.ready.push(delivery);
        }
    }

    fn release(&mut self) {
        if self.held.len() == 0 {
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        let mut asked = HashMap::new();
        let released = held.release(|item| self.may_go(item, &mut asked));
        self.held = held;
        self.ready.extend(released.into_iter().map(|Item { parcel, claim, crashes, .. }| Delivery { parcel, claim, crashes }));
    }

    /// Whether no earlier message of the same channel can be unfinished elsewhere. `asked` remembers what does not depend on
    /// the message, by epoch.
    fn may_go(&self, item: &Item<T>, asked: &mut HashMap<u64, (bool, bool)>) -> bool {
        if self.careful.has(item.channel) {
            return false;
        }
        if let Some((id, epoch)) = &item.after
            && self.reports.get(id).is_some_and(|report| !report.is_settled_before(*epoch))
        {
            return false;
        }
        self.unsettled.iter().filter(|epoch| epoch.number <= item.epoch).all(|epoch| {
            if self.replied < epoch.number {
                return false;
            }
            let (prior, replayed) = *asked.entry(epoch.number).or_insert_with(|| {
                let all = |is: &dyn Fn(&Report) -> bool| self.reports.values().all(is);
                let prior = epoch.number - 1;
                (all(&|report| report.is_settled_before(prior)), all(&|report| report.has_replayed(epoch.number)))
            });
            // What was before this stay began is not known here, so everybody has to have settled it.
            if epoch.number == self.first && !prior {
                return false;
            }
            match epoch.before.class(item.subscription).owner(item.key) {
                Some(id) if epoch.orphaning.contains(id) => replayed,
                Some(id) if *id != self.id => self.reports.get(id).is_none_or(|report| report.is_settled_before(epoch.number)),
                _ => true,
            }
        })
    }

    /// What is to be handled now, in the order it is to be.
    pub fn take_ready(&mut self) -> Vec<Delivery<T>> {
        std::mem::take(&mut self.ready)
    }

    /// The connection has lost its place in the order: nothing new is owned, and what was received goes on.
    pub fn cut(&mut self) {
        if matches!(self.stage, Stage::Outside | Stage::Member) {
            self.stage = Stage::Left;
            self.ring.clear();
            self.progress.watch();
        }
    }

    /// Others do what is unfinished: nothing that was not begun is begun any more.
    pub fn expelled(&mut self) {
        self.stage = Stage::Expelled;
        self.progress.freeze();
        self.ring.clear();
        self.abandon();
    }

    /// Lets go what was not handed out. Returns how many messages that were.
    pub fn abandon(&mut self) -> usize {
        let held = self.held.clear().len() + self.careful.waiting.len() + self.ready.len();
        self.careful.waiting.clear();
        self.ready.clear();
        held
    }

    /// Everything that was not handed out, to be handled at once: there is nobody to wait for.
    pub fn hurry(&mut self) {
        let held = self.held.clear();
        self.ready.extend(held.into_iter().map(|Item { parcel, claim, crashes, .. }| Delivery { parcel, claim, crashes }));
    }
}
