//! What of its own a replica has finished. Messages end in any order and on any thread; what is told to others is what it has received,
//! and which of that is not finished.
//!
//! A message goes with a [`Claim`] from the moment it is received to its end: handled, failed for good and its dead letter written,
//! or dropped. The end is when the last copy of the claim is dropped, so that no way out can be forgotten.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    Id,
    epoch::Members,
    line::{Line, Mark},
    wire::{Lane, Place, Positions, Report, SEEN_ALL, Unfinished},
};

/// What a replica owns and has finished, in one stay in the group.
#[derive(Default)]
pub struct Progress {
    inner: Mutex<Inner>,
    is_given_up: AtomicBool,
    /// Whether somebody waits for the last message.
    is_watched: AtomicBool,
    /// Called when the last of all is finished, once that is of interest.
    wake: Option<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Inner {
    /// The present epoch last, before it those in which something is unfinished.
    epochs: VecDeque<Epoch>,
    /// Messages taken over that are unfinished.
    replays: BTreeMap<Place, Lane>,
    /// Once it is given up: who is there to do what is left.
    heirs: Option<BTreeSet<Id>>,
    /// Whether everything that it will ever own was received.
    left: bool,
}

struct Epoch {
    number: u64,
    members: Arc<Members>,
    /// By class, in their order: messages received, and those of them that are owned and not known to be finished.
    classes: Vec<(u64, Line)>,
}

fn line(classes: &mut Vec<(u64, Line)>, class: u64) -> &mut Line {
    let place = classes.binary_search_by_key(&class, |(known, _)| *known).unwrap_or_else(|place| {
        classes.insert(place, (class, Line::default()));
        place
    });
    &mut classes[place].1
}

impl Epoch {
    fn is_finished(&self) -> bool {
        self.classes.iter().all(|(_, line)| line.is_finished())
    }

    /// What is owned and not finished, in the order of the places.
    fn unfinished(&self) -> impl Iterator<Item = (Place, Lane)> {
        let epoch = self.number;
        self.classes.iter().flat_map(move |(class, line)| {
            line.each_unfinished().map(move |(position, lane)| (Place { epoch, class: *class, position }, lane))
        })
    }
}

/// A message that a replica owns: dropped when it is finished. `H` holds the [`Progress`] it belongs to, and whatever else of one stay goes
/// with each message.
pub struct Claim<H: AsRef<Progress>> {
    holder: H,
    kind: Kind,
}

enum Kind {
    /// Received as its owner.
    Own(Mark),
    /// Taken over.
    Replay(Box<Replay>),
}

struct Replay {
    place: Place,
    /// Who received it.
    members: Arc<Members>,
    /// This replica.
    heir: Id,
}

impl<H: AsRef<Progress>> Claim<H> {
    /// A message that was received by its owner.
    pub(crate) fn own(holder: H, mark: Mark) -> Self {
        Self { holder, kind: Kind::Own(mark) }
    }

    /// A message of this place and lane that somebody else had owned, when these were the members, and that `heir` has now.
    pub(crate) fn take_over(holder: H, place: Place, lane: Lane, members: Arc<Members>, heir: Id) -> Self {
        holder.as_ref().inner().replays.insert(place, lane);
        Self { holder, kind: Kind::Replay(Box::new(Replay { place, members, heir })) }
    }

    /// What it holds.
    pub fn holder(&self) -> &H {
        &self.holder
    }

    /// Whether this replica was given up and somebody is there who has the message too.
    pub fn is_handed_over(&self) -> bool {
        let progress = self.holder.as_ref();
        // Asked for each message, and nearly always no.
        if !progress.is_given_up.load(Ordering::Acquire) {
            return false;
        }
        let inner = progress.inner();
        let Some(heirs) = &inner.heirs else { return false };
        let has_heir = |members: &Members, class| members.of_class(class).iter().any(|member| heirs.contains(&member.id));
        match &self.kind {
            Kind::Own(mark) => {
                let (members, class) = mark.members();
                has_heir(members, class)
            }
            Kind::Replay(replay) => has_heir(&replay.members, replay.place.class),
        }
    }

    /// Whether somebody else had owned the message before.
    pub fn is_replay(&self) -> bool {
        matches!(self.kind, Kind::Replay(_))
    }

    /// Whether the message was taken over and nobody but this replica has it any more, as of the last marker.
    pub fn is_last(&self) -> bool {
        let Kind::Replay(replay) = &self.kind else { return false };
        let inner = self.holder.as_ref().inner();
        let Some(now) = inner.epochs.back().map(|epoch| epoch.members.ids()) else { return false };
        let others = replay.members.of_class(replay.place.class).iter().filter(|member| member.id != replay.heir);
        !others.into_iter().any(|member| now.contains(&member.id))
    }
}

impl<H: AsRef<Progress>> Drop for Claim<H> {
    fn drop(&mut self) {
        self.holder.as_ref().finish(&self.kind);
    }
}

impl Progress {
    /// Nothing owned yet. `wake` is called when the replica has something to tell at once.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { wake: Some(Box::new(wake)), ..Self::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A marker was received: positions begin anew.
    pub(crate) fn begin(&self, number: u64, members: Arc<Members>) {
        let mut inner = self.inner();
        inner.epochs.push_back(Epoch { number, members, classes: Vec::new() });
        inner.forget_finished();
    }

    /// Counts a message of the present epoch. Gives its place and, when it is owned, where its end is to be marked. `lane` says of which it
    /// is.
    pub(crate) fn receive(&self, class: u64, is_owned: bool, lane: impl FnOnce(Place) -> Lane) -> (Place, Option<Mark>) {
        let mut inner = self.inner();
        let Some(epoch) = inner.epochs.back_mut() else { return (Place { epoch: 0, class, position: 0 }, None) };
        let line = line(&mut epoch.classes, class);
        let place = Place { epoch: epoch.number, class, position: line.receive() };
        (place, is_owned.then(|| line.own(lane(place), &epoch.members, class)))
    }

    fn finish(&self, kind: &Kind) {
        if self.is_given_up.load(Ordering::Acquire) {
            return;
        }
        match kind {
            Kind::Own(mark) => mark.set(),
            Kind::Replay(replay) => {
                self.inner().replays.remove(&replay.place);
            }
        }
        if self.is_watched.load(Ordering::SeqCst)
            && let Some(wake) = self.wake.as_ref().filter(|_| self.is_finished())
        {
            wake();
        }
    }

    /// From now on nothing counts as finished any more: what is dropped is left to these, as far as they have it.
    pub fn leave_to(&self, heirs: BTreeSet<Id>) {
        self.inner().heirs = Some(heirs);
        self.is_given_up.store(true, Ordering::Release);
    }

    /// The same, to whoever has taken it over.
    pub fn freeze(&self) {
        self.inner().heirs.get_or_insert_default();
        self.is_given_up.store(true, Ordering::Release);
    }

    /// From now on the end of the last message is told at once.
    pub fn watch(&self) {
        self.is_watched.store(true, Ordering::SeqCst);
    }

    /// From now on nothing is received any more that could be owned; the end of the last message is told at once.
    pub(crate) fn leave(&self) {
        self.inner().left = true;
        self.watch();
    }

    /// Messages that are owned and not finished.
    pub fn unfinished(&self) -> usize {
        let inner = self.inner();
        let own: usize = inner.epochs.iter().flat_map(|epoch| &epoch.classes).map(|(_, line)| line.unfinished()).sum();
        own + inner.replays.len()
    }

    /// Whether there are none.
    pub fn is_finished(&self) -> bool {
        let inner = self.inner();
        inner.replays.is_empty() && inner.epochs.iter().all(Epoch::is_finished)
    }

    /// What to tell the others; it names so many lanes of its own with something unfinished, and as many that it took over.
    pub fn report(&self, most: usize) -> Report {
        let mut inner = self.inner();
        inner.forget_finished();
        let Some(last) = inner.epochs.back() else { return Report::default() };
        Report {
            seen_epoch: if inner.left { SEEN_ALL } else { last.number },
            seen: last.classes.iter().map(|(class, line)| (*class, line.seen())).collect::<Positions>(),
            own: Unfinished::of(inner.epochs.iter().flat_map(Epoch::unfinished), most),
            replays: Unfinished::of(inner.replays.iter().map(|(place, lane)| (*place, *lane)), most),
        }
    }
}

impl Inner {
    fn forget_finished(&mut self) {
        let present = self.epochs.back().map(|epoch| epoch.number);
        self.epochs.retain(|epoch| Some(epoch.number) == present || !epoch.is_finished());
        self.epochs.iter_mut().flat_map(|epoch| &mut epoch.classes).for_each(|(_, line)| line.forget_finished());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        share::{Print, Subscriptions},
        wire::Named,
    };

    /// Two subscriptions, of the classes 1 and 3.
    fn members() -> Arc<Members> {
        let print = |name: &str| Print::of(name, false);
        let set = |names: &[&str]| Subscriptions::new(names.iter().map(|name| (print(name), false)));
        let (own, other) = (set(&["a", "b"]), set(&["b"]));
        let mut sets = [(own.name(), own.clone()), (other.name(), other)];
        sets.sort_by_key(|(name, _)| *name != own.name());
        let named = [Named { id: "x".into(), set: own.name() }, Named { id: "y".into(), set: sets[1].0.clone() }];
        Arc::new(Members::new(&named, &sets.into(), &own, &[print("a"), print("b")]))
    }

    fn lane(channel: u64) -> Lane {
        Lane::of_channel(Print::of("a", false), channel)
    }

    /// Of this channel.
    fn receive(progress: &Arc<Progress>, subscription: usize, channel: u64, is_owned: bool) -> Option<Claim<Arc<Progress>>> {
        let (_, mark) = progress.receive(members().class(subscription).mask, is_owned, |_| lane(channel));
        mark.map(|mark| Claim::own(progress.clone(), mark))
    }

    fn own(progress: &Arc<Progress>, channel: u64) -> Claim<Arc<Progress>> {
        receive(progress, 0, channel, true).unwrap()
    }

    /// The classes of the two.
    fn classes() -> (u64, u64) {
        (members().class(0).mask, members().class(1).mask)
    }

    fn at(epoch: u64, position: u64) -> Place {
        Place { epoch, class: classes().0, position }
    }

    /// Whether a message of a channel is told to be finished.
    fn is_told(progress: &Progress, place: Place, channel: u64) -> bool {
        let report = progress.report(2);
        assert_eq!(Report::parse(&report.text()), Some(report.clone()));
        report.has_finished(place, lane(channel))
    }

    #[test]
    fn a_channel_is_finished_up_to_its_slowest_message_and_others_do_not_wait_for_it() {
        let progress = Arc::new(Progress::default());
        progress.begin(5, members());
        let (slow, behind, other) = (own(&progress, 1), own(&progress, 1), own(&progress, 2));
        receive(&progress, 0, 3, false);
        drop((behind, other));
        progress.begin(6, members());
        let still = own(&progress, 2);
        let told =
            || [(at(5, 1), 1), (at(5, 2), 1), (at(5, 3), 2), (at(6, 1), 2)].map(|(place, channel)| is_told(&progress, place, channel));
        assert_eq!(told(), [false, false, true, false]);
        drop(slow);
        assert_eq!(told(), [true, true, true, false]);
        drop(still);
        assert_eq!((told(), progress.unfinished()), ([true; 4], 0));
    }

    #[test]
    fn of_more_channels_than_are_named_nothing_is_told_from_the_first_of_the_rest_on() {
        let progress = Arc::new(Progress::default());
        progress.begin(5, members());
        let held: Vec<_> = (0..3).map(|channel| own(&progress, channel)).collect();
        drop(own(&progress, 9));
        assert!(!is_told(&progress, at(5, 4), 9));
        // All are told by one that hands over.
        assert!(progress.report(3).has_finished(at(5, 4), lane(9)));
        drop(held);
        assert!(is_told(&progress, at(5, 4), 9));
    }

    #[test]
    fn epochs_are_forgotten_when_their_last_message_is_finished_whichever_is_older() {
        let progress = Arc::new(Progress::default());
        progress.begin(1, members());
        let old = own(&progress, 1);
        for epoch in 2..50 {
            progress.begin(epoch, members());
            drop(own(&progress, 2));
        }
        assert!(progress.inner().epochs.len() <= 3 && is_told(&progress, at(30, 1), 2) && is_told(&progress, at(49, 1), 2));
        let report = progress.report(2);
        assert!(!report.is_settled_before(2, None) && report.is_settled_before(49, Some(lane(2))));
        drop(old);
        assert!(progress.report(2).is_settled_before(49, None) && !progress.report(2).is_settled_before(50, None));
    }

    #[test]
    fn what_is_taken_over_counts_where_it_was_published() {
        let progress = Arc::new(Progress::default());
        progress.begin(7, members());
        let take_over = |epoch| {
            let place = Place { epoch, class: 1, position: 1 };
            Claim::take_over(progress.clone(), place, lane(epoch), members(), "x".into())
        };
        let (late, early) = (take_over(6), take_over(4));
        let told = |progress: &Progress| progress.report(2).replays.oldest().map(|place| place.epoch);
        assert_eq!(told(&progress), Some(4));
        drop(early);
        assert_eq!(told(&progress), Some(6));
        drop(late);
        assert_eq!((told(&progress), progress.unfinished()), (None, 0));
    }

    #[test]
    fn what_is_dropped_by_one_that_gives_up_is_not_finished() {
        let progress = Arc::new(Progress::default());
        progress.begin(1, members());
        let claim = own(&progress, 1);
        progress.leave_to(["y".into()].into());
        // The other one has the second subscription only.
        assert!(!claim.is_handed_over() && receive(&progress, 1, 1, true).unwrap().is_handed_over());
        drop(claim);
        assert!(!is_told(&progress, at(1, 1), 1));
    }

    #[test]
    fn classes_count_by_themselves() {
        let progress = Arc::new(Progress::default());
        progress.begin(1, members());
        let slow = own(&progress, 1);
        receive(&progress, 1, 2, false);
        drop(receive(&progress, 1, 3, true));
        assert_eq!(progress.report(2).seen, [(classes().0, 1), (classes().1, 2)].into());
        let of_other = Place { class: classes().1, ..at(1, 2) };
        assert!(is_told(&progress, of_other, 3) && !is_told(&progress, at(1, 1), 1));
        drop(slow);
    }
}
