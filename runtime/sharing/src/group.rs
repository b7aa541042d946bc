//! One replica's part in its group, for one stay. Events come in from two sides: what Redis sends on the subscription connection, in its
//! order ([`message`](Group::message), [`marker`](Group::marker)), and what the script answers ([`reply`](Group::reply)). What is to be
//! handled comes out: at once, or with [`take_ready`](Group::take_ready).
//!
//! The owner of every message is known from the message itself and the last marker. What is ours goes on with a claim; what is
//! another's is kept until that one tells that it has finished it.

use std::{
    collections::{BTreeSet, HashMap},
    ops::AddAssign,
    sync::Arc,
};

use crate::{
    Id,
    epoch::Epoch,
    held::{Held, Item},
    line::Mark,
    progress::{Claim, Progress},
    ring::{After, Entry, Parcel, Ring},
    script::Operation,
    share::{Print, Subscriptions, channel_key, content_key},
    trial::Trial,
    wire::{Departed, Departure, Lane, Marker, Named, Place, Record, Reply, Report, Standing},
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
pub struct Delivery<T: Parcel> {
    /// The message.
    pub parcel: T,
    /// To be dropped at its end.
    pub claim: Claim<T::Holder>,
    /// How many owners died with it before.
    pub crashes: u32,
    /// How it is to be tried, if any did.
    pub trial: Option<Trial>,
}

/// What became of a message that was received.
pub enum Taken<T: Parcel> {
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

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let Self { owned, others, replayed, hurried } = other;
        self.owned += owned;
        self.others += others;
        self.replayed += replayed;
        self.hurried += hurried;
    }
}

/// Lanes with something unfinished that a beat names: some 600 bytes of each kind.
const MOST_LANES: usize = 32;
/// Those that a last report names of each kind. An entry has up to 40 bytes, so both take a third of the megabyte that a marker may have.
const MOST_LANES_AT_LAST: usize = 4 << 10;

/// So many epochs are told apart before which something may be unfinished: each is asked for at each message that may have to wait. Behind one
/// message that takes hours there may be thousands.
const MOST_UNSETTLED: usize = 64;

/// Whose messages are kept that nobody can take over yet. No replica has this name.
const NOBODY: &str = "";

/// Who owns a message, and what decides that.
struct Whose<'e> {
    epoch: &'e Arc<Epoch>,
    key: u64,
    owner: Option<&'e Id>,
}

/// Whose a message is in the present epoch, if this replica is a member. Borrows the epoch and nothing else: this is asked for each message.
fn whose<'e>(current: Option<&'e Arc<Epoch>>, stage: Stage, subscription: usize, channel: &[u8], payload: &[u8]) -> Option<Whose<'e>> {
    let epoch = current.filter(|_| stage == Stage::Member)?;
    let key = match epoch.members.is_ordered(subscription) {
        true => channel_key(channel),
        false => content_key(channel, payload),
    };
    Some(Whose { epoch, key, owner: epoch.members.class(subscription).owner(key) })
}

/// One replica's part.
pub struct Group<T: Parcel> {
    id: Id,
    own: Subscriptions,
    prints: Vec<Print>,
    holder: T::Holder,
    stage: Stage,
    /// The last marker's number, while this replica is or was a member.
    number: u64,
    current: Option<Arc<Epoch>>,
    /// The epoch this stay began with.
    first: u64,
    /// Epochs before which somebody may have something unfinished.
    unsettled: Vec<Arc<Epoch>>,
    /// The newest of those that were not kept: what is older than that has to be finished by all, whoever had it.
    unkept: Option<u64>,
    most_unsettled: usize,
    /// Who departed since the oldest of those, and whether others took something over.
    gone: HashMap<Id, bool>,
    /// The last marker at which others took something over.
    orphaned: u64,
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
    ready: Vec<Delivery<T>>,
    counts: Counts,
}

impl<T: Parcel> Group<T> {
    /// A replica that has subscribed and is not named by a marker yet. `prints` are its subscriptions by the numbers it gives
    /// them. Messages of others are kept up to `ring_bytes`.
    pub fn new(id: Id, own: Subscriptions, prints: Vec<Print>, ring_bytes: u64, holder: T::Holder) -> Self {
        Self {
            id,
            own,
            prints,
            holder,
            stage: Stage::Outside,
            number: 0,
            current: None,
            first: 0,
            unsettled: Vec::new(),
            unkept: None,
            most_unsettled: MOST_UNSETTLED,
            gone: HashMap::new(),
            orphaned: 0,
            reports: HashMap::new(),
            records: Vec::new(),
            replied: 0,
            calm: false,
            ring: Ring::new(ring_bytes),
            held: Held::default(),
            ready: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// The same with fewer epochs that are told apart, for tests, in which few come together.
    pub fn with_most_unsettled(self, most_unsettled: usize) -> Self {
        Self { most_unsettled, ..self }
    }

    fn progress(&self) -> &Progress {
        self.holder.as_ref()
    }

    /// What goes with its messages.
    pub fn holder(&self) -> &T::Holder {
        &self.holder
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

    /// All who beat, as Redis last said.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Who else was known, with what they last told: for a group that has forgotten them ([`Call::known`](crate::script::Call)).
    pub fn known(&self) -> String {
        let told = self.records.iter().map(|record| (&record.id, record.report.text()));
        // Of a member that no answer named yet nothing is finished, as far as is known.
        let is_told = |id: &Id| self.records.iter().any(|record| record.id == *id);
        let members = self.current.iter().flat_map(|epoch| epoch.members.ids()).filter(|id| !is_told(id));
        let all = told.chain(members.map(|id| (id, Report::default().text()))).filter(|(id, _)| **id != self.id);
        all.map(|(id, report)| format!("{id} {report}")).collect::<Vec<_>>().join(" ")
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
        self.held.len()
    }

    /// Whether it waits for what others tell.
    pub fn is_waiting(&self) -> bool {
        self.held() > 0
    }

    /// Whether everything that it owned is finished.
    pub fn is_finished(&self) -> bool {
        self.progress().is_finished()
    }

    /// What to tell the others with this operation.
    pub fn report(&self, operation: Operation) -> Report {
        self.progress().report(match operation {
            // Told once, to those who take over: whatever it leaves out is done twice.
            Operation::Gave => MOST_LANES_AT_LAST,
            _ => MOST_LANES,
        })
    }

    /// A message was received by a subscription. `make` makes a parcel of it when it is to be kept or handled.
    pub fn message(&mut self, subscription: usize, channel: &[u8], payload: &[u8], make: impl FnOnce() -> T) -> Taken<T> {
        let of = whose(self.current.as_ref(), self.stage, subscription, channel, payload);
        let Some(Whose { epoch, key, owner }) = of else { return Taken::Kept };
        let (place, mark) = self.receive(epoch, subscription, key, owner == Some(&self.id));
        let Some(mark) = mark else {
            self.counts.others += 1;
            if let Some(owner) = owner {
                let parcel = make();
                let epoch = epoch.clone();
                let entry = Entry { place, epoch, subscription, key, crashes: 0, is_alone: false, taken_over: None, after: None, parcel };
                self.ring.push(owner, entry);
            }
            return Taken::Kept;
        };
        let claim = Claim::own(self.holder.clone(), mark);
        self.counts.owned += 1;
        let parcel = make();
        if !self.calm && epoch.members.is_ordered(subscription) {
            let bytes = parcel.bytes();
            let delivery = Delivery { parcel, claim, crashes: 0, trial: None };
            let item = Item { channel: key, place, subscription, after: None, delivery, bytes };
            let mut asked = HashMap::new();
            let waits = self.held.has(key) || !self.may_go(&item, &mut asked);
            if waits && self.held.bytes() + bytes <= self.ring.max_bytes() {
                self.held.push(item);
                return Taken::Kept;
            }
            self.counts.hurried += u64::from(waits);
            return Taken::Ours(item.delivery);
        }
        Taken::Ours(Delivery { parcel, claim, crashes: 0, trial: None })
    }

    /// A message was received that is too large to be taken. Whether it is this replica's to count; it has its position all the same.
    pub fn too_large(&mut self, subscription: usize, channel: &[u8]) -> bool {
        // Its payload is unknown, so its channel decides, for all alike.
        let of = whose(self.current.as_ref(), self.stage, subscription, channel, &[]);
        let Some(Whose { epoch, key, owner }) = of else { return false };
        let is_ours = owner == Some(&self.id);
        let (_, mark) = self.receive(epoch, subscription, key, is_ours);
        // Finished as soon as it is counted.
        drop(mark.map(|mark| Claim::own(self.holder.clone(), mark)));
        is_ours
    }

    fn receive(&self, epoch: &Epoch, subscription: usize, key: u64, is_ours: bool) -> (Place, Option<Mark>) {
        let lane = |place| epoch.members.lane(subscription, key, place);
        self.progress().receive(epoch.members.class(subscription).mask, is_ours, lane)
    }

    /// A marker was received. Returns whether it changes anything for this replica.
    pub fn marker(&mut self, marker: &Marker) -> bool {
        let names = |named: &[Named]| named.iter().any(|member| member.id == self.id);
        let (is_named, was_named) = (names(&marker.members), names(&marker.before));
        // An old one that a stranger repeats counts for nothing.
        if marker.epoch <= self.number {
            return false;
        }
        let mut departed = marker.departed.iter().filter(|departed| departed.id == self.id);
        let is_removed = match self.stage {
            Stage::Left => departed.any(|departed| departed.how == Departure::Died),
            Stage::Outside | Stage::Member => !is_named && departed.next().is_some(),
            Stage::Expelled => false,
        };
        if is_removed {
            self.expelled();
            return true;
        }
        let was_member = self.stage == Stage::Member;
        let is_new = self.current.is_none();
        if matches!(self.stage, Stage::Left | Stage::Expelled) || (is_new && !is_named) {
            return false;
        }
        if is_named && !was_member {
            self.first = marker.epoch;
        }
        self.number = marker.epoch;
        let before = self.current.as_ref().filter(|_| was_member).map(|epoch| epoch.members.clone());
        let epoch = Arc::new(Epoch::new(marker, before, &self.own, &self.prints));
        self.progress().begin(marker.epoch, epoch.members.clone());
        self.current = Some(epoch.clone());
        self.calm = false;
        if epoch.members.any_ordered() || self.unsettled.iter().any(|epoch| epoch.members.any_ordered()) {
            self.keep_unsettled(epoch.clone());
        }
        self.stage = match (is_named, was_named) {
            (true, _) => Stage::Member,
            (false, true) => Stage::Left,
            // A group that has forgotten everything has begun anew. What it does not know goes on: the ring is needed still.
            (false, false) => Stage::Outside,
        };
        marker.departed.iter().for_each(|departed| self.gone_with(departed, marker.epoch));
        if self.stage == Stage::Left {
            self.ring.clear();
            self.progress().leave();
        } else if !is_new {
            let waiting = self.ring.orphans(&NOBODY.into(), Departure::Gave, &Report::default(), &BTreeSet::new(), epoch.number);
            self.pass_on(waiting, &epoch);
            marker.departed.iter().for_each(|departed| self.depart(departed, &epoch));
        }
        self.release();
        true
    }

    fn keep_unsettled(&mut self, epoch: Arc<Epoch>) {
        self.unsettled.push(epoch);
        if self.unsettled.len() <= self.most_unsettled {
            return;
        }
        self.unkept = Some(self.unsettled.remove(0).number);
        let unsettled = &self.unsettled;
        self.gone.retain(|id, _| unsettled.iter().any(|epoch| epoch.before.ids().contains(id)));
    }

    /// Remembers who departed, for those who wait for it.
    fn gone_with(&mut self, departed: &Departed, epoch: u64) {
        let is_orphaning = departed.how != Departure::Final;
        if is_orphaning {
            self.orphaned = epoch;
        }
        *self.gone.entry(departed.id.clone()).or_default() |= is_orphaning;
    }

    /// Sees to what a member leaves behind.
    fn depart(&mut self, departed: &Departed, now: &Arc<Epoch>) {
        let Departed { id, how, report, trying } = departed;
        match how {
            Departure::Cut => drop(self.reports.insert(id.clone(), report.clone())),
            _ => drop(self.reports.remove(id)),
        }
        let orphans = self.ring.orphans(id, *how, report, trying, now.number);
        self.pass_on(orphans, now);
    }

    /// Gives messages to those of their time who are members now.
    fn pass_on(&mut self, orphans: Vec<Entry<T>>, now: &Arc<Epoch>) {
        for mut entry in orphans {
            let class = entry.epoch.members.class(entry.subscription);
            let have_it = |id: &Id| now.members.ids().contains(id);
            let heir = class.owner_among(entry.key, have_it).cloned();
            match heir {
                Some(heir) if heir == self.id => self.replay(entry),
                Some(heir) => {
                    entry.taken_over = Some(now.number);
                    self.ring.push(&heir, entry);
                }
                // Those who have it are members no more, as this one: after a FLUSHALL, and soon they are again.
                None => self.ring.push(&NOBODY.into(), entry),
            }
        }
    }

    fn replay(&mut self, entry: Entry<T>) {
        self.counts.replayed += 1;
        let (trial, lane) = (entry.trial(), entry.lane());
        let claim = Claim::take_over(self.holder.clone(), entry.place, lane, entry.epoch.members.clone(), self.id.clone());
        let Entry { place, epoch, subscription, key, crashes, after, parcel, .. } = entry;
        let bytes = parcel.bytes();
        let delivery = Delivery { parcel, claim, crashes, trial };
        if epoch.members.is_ordered(subscription) {
            // Whose order counts has its channel for a key.
            self.held.push(Item { channel: key, place, subscription, after, delivery, bytes });
        } else {
            self.ready.push(delivery);
        }
    }

    /// The script answered a call.
    pub fn reply(&mut self, reply: &Reply) {
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
        let unsettled = std::mem::take(&mut self.unsettled);
        self.unsettled = unsettled.into_iter().filter(|epoch| !self.all_settled_before(epoch.number, None)).collect();
        self.unkept = self.unkept.filter(|epoch| !self.all_settled_before(*epoch, None));
        let is_settled = self.unsettled.is_empty() && self.unkept.is_none();
        if is_settled {
            self.gone.clear();
        }
        self.release();
        self.calm = is_settled && self.held.len() == 0 && self.stage == Stage::Member;
    }

    fn release(&mut self) {
        if self.held.len() == 0 {
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        let mut asked = HashMap::new();
        let released = held.release(|item| self.may_go(item, &mut asked));
        self.held = held;
        self.ready.extend(released.into_iter().map(|item| item.delivery));
    }

    /// Whether no earlier message of the same channel can be unfinished elsewhere. `asked` remembers what depends on the lane and the
    /// epoch only.
    ///
    /// Nothing waits for what was published in a later epoch, so no two replicas wait for each other.
    fn may_go(&self, item: &Item<T>, asked: &mut HashMap<(u64, Lane), bool>) -> bool {
        let lane = Lane::of_channel(self.prints[item.subscription], item.channel);
        if let Some(After { id, marker }) = &item.after {
            // One that was cut off has received nothing since, and has told what it had: with the cut, not before it.
            let has_told = self.replied >= *marker;
            let is_finished = |report: &Report| report.is_finished_before(item.place.epoch + 1, Some(lane));
            if !has_told || self.reports.get(id).is_some_and(|report| !is_finished(report)) {
                return false;
            }
        }
        let mut all_settled_before = |epoch| *asked.entry((epoch, lane)).or_insert_with(|| self.all_settled_before(epoch, Some(lane)));
        if self.unkept.is_some_and(|epoch| !all_settled_before(epoch.min(item.place.epoch))) {
            return false;
        }
        self.unsettled.iter().filter(|epoch| epoch.number <= item.place.epoch).all(|epoch| {
            if self.replied < epoch.number {
                return false;
            }
            // What was before this stay began is not known here, so everybody has to have settled it.
            if epoch.number == self.first && !all_settled_before(epoch.number - 1) {
                return false;
            }
            match epoch.before.class(item.subscription).owner(item.channel) {
                Some(id) if *id != self.id => match (self.gone.get(id), self.reports.get(id)) {
                    (None, Some(report)) => report.is_settled_before(epoch.number, Some(lane)),
                    (Some(false), _) => true,
                    // Others took over what it had, or a marker on its way says who does.
                    _ => all_settled_before(epoch.number),
                },
                _ => true,
            }
        })
    }

    /// Whether everything published before this epoch is finished, by whoever had it at last: of one lane, or of all.
    fn all_settled_before(&self, epoch: u64, lane: Option<Lane>) -> bool {
        // Who has seen this marker counts all that it has taken over. One that has left sees no more markers.
        let (is_current, seen) = match self.stage {
            Stage::Left => (true, self.replied),
            _ => (self.replied <= self.number, self.orphaned.max(self.first)),
        };
        let settled = |Record { report, is_cut, .. }: &Record| match is_cut {
            // It receives nothing more; what it had not received was taken over.
            true => report.is_finished_before(epoch, lane),
            false => report.is_settled_before(epoch, lane) && report.seen_epoch >= seen,
        };
        self.replied >= epoch && is_current && self.records.iter().all(|record| record.id == self.id || settled(record))
    }

    /// What is to be handled now, in the order it is to be.
    pub fn take_ready(&mut self) -> Vec<Delivery<T>> {
        std::mem::take(&mut self.ready)
    }

    /// The connection has lost its place in the order: nothing new is owned, and what was received goes on.
    pub fn cut(&mut self) {
        if matches!(self.stage, Stage::Outside | Stage::Member) {
            // What it has seen stays in its report as it is: others need it.
            self.stage = Stage::Left;
            self.ring.clear();
            self.progress().watch();
        }
    }

    /// Others do what is unfinished: nothing that was not begun is begun any more.
    pub fn expelled(&mut self) {
        self.stage = Stage::Expelled;
        self.progress().freeze();
        self.ring.clear();
        self.abandon();
    }

    /// Lets go what was not handed out.
    fn abandon(&mut self) {
        self.held.clear();
        self.ready.clear();
    }

    /// This replica stops before everything is finished: these are there to do what is left, as far as they have it. What nobody
    /// else has is handed out now, since there is nobody to wait for.
    pub fn give_up(&mut self, heirs: BTreeSet<Id>) {
        if !heirs.is_empty() {
            self.progress().leave_to(heirs);
        }
        self.ready.extend(self.held.clear().into_iter().map(|item| item.delivery));
        self.ready.retain(|delivery| !delivery.claim.is_handed_over());
    }
}
