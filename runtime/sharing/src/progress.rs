//! What of its own a replica has finished. Messages end in any order and on any thread; what is told to others is the position
//! up to which all are.
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
    wire::{Done, Place, Positions, Replays, Report, SEEN_ALL},
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
    replays: BTreeSet<Place>,
    /// Once it is given up: who is there to do what is left.
    heirs: Option<BTreeSet<Id>>,
    /// Whether everything that it will ever own was received.
    left: bool,
}

struct Epoch {
    number: u64,
    members: Arc<Members>,
    /// By class: messages received, and those of them that are owned and unfinished or behind one that is.
    classes: Vec<(u64, Line)>,
}

fn line(classes: &mut Vec<(u64, Line)>, class: u64) -> &mut Line {
    let place = classes.iter().position(|(known, _)| *known == class).unwrap_or_else(|| {
        classes.push((class, Line::default()));
        classes.len() - 1
    });
    &mut classes[place].1
}

impl Epoch {
    fn is_finished(&self) -> bool {
        self.classes.iter().all(|(_, line)| line.is_finished())
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

    /// A message of this place that somebody else had owned, when these were the members, and that `heir` has now.
    pub(crate) fn take_over(holder: H, place: Place, members: Arc<Members>, heir: Id) -> Self {
        holder.as_ref().inner().replays.insert(place);
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

    /// Counts a message of the present epoch. Gives its place and, when it is owned, where its end is to be marked.
    pub(crate) fn receive(&self, class: u64, is_owned: bool) -> (Place, Option<Mark>) {
        let mut inner = self.inner();
        let Some(epoch) = inner.epochs.back_mut() else { return (Place { epoch: 0, class, position: 0 }, None) };
        let line = line(&mut epoch.classes, class);
        let place = Place { epoch: epoch.number, class, position: line.receive() };
        (place, is_owned.then(|| line.own(&epoch.members, class)))
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

    /// What to tell the others.
    pub fn report(&self) -> Report {
        let mut inner = self.inner();
        inner.forget_finished();
        let Some(first) = inner.epochs.front_mut() else { return Report::default() };
        let epoch = first.number;
        let finished = first.classes.iter_mut().map(|(class, line)| (*class, line.finished())).collect();
        let Some(last) = inner.epochs.back() else { return Report::default() };
        Report {
            epoch,
            finished,
            beyond: inner.beyond(),
            replays: Replays {
                unfinished: inner.replays.iter().take(MOST_EXCEPTIONS).copied().collect(),
                from: inner.replays.iter().nth(MOST_EXCEPTIONS).copied(),
            },
            seen_epoch: if inner.left { SEEN_ALL } else { last.number },
            seen: last.classes.iter().map(|(class, line)| (*class, line.seen())).collect::<Positions>(),
        }
    }
}

/// Epochs and classes of which a report tells what is finished behind something that is not.
const MOST_BEYOND: usize = 8;
/// Unfinished messages that it names, of all of them together: some 300 bytes.
const MOST_EXCEPTIONS: usize = 32;

impl Inner {
    fn beyond(&self) -> BTreeMap<(u64, u64), Done> {
        let mut left = MOST_EXCEPTIONS;
        let lines = self.epochs.iter().flat_map(|epoch| epoch.classes.iter().map(move |(class, line)| ((epoch.number, *class), line)));
        // Of the first epoch what has no gap is told already.
        let first = self.epochs.front().map_or(0, |epoch| epoch.number);
        let with_gaps = lines.filter(|((epoch, _), line)| *epoch != first || !line.is_finished());
        let told = with_gaps.take(MOST_BEYOND).map(|(of, line)| {
            let done = line.done(left);
            left -= done.except.len();
            (of, done)
        });
        told.filter(|(_, done)| done.up_to > 0).collect()
    }

    fn forget_finished(&mut self) {
        while self.epochs.len() > 1 && self.epochs.front().is_some_and(Epoch::is_finished) {
            self.epochs.pop_front();
        }
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

    fn receive(progress: &Arc<Progress>, subscription: usize, is_owned: bool) -> Option<Claim<Arc<Progress>>> {
        let (_, mark) = progress.receive(members().class(subscription).mask, is_owned);
        mark.map(|mark| Claim::own(progress.clone(), mark))
    }

    fn own(progress: &Arc<Progress>) -> Claim<Arc<Progress>> {
        receive(progress, 0, true).unwrap()
    }

    /// The classes of the two.
    fn classes() -> (u64, u64) {
        (members().class(0).mask, members().class(1).mask)
    }

    #[test]
    fn the_finished_position_waits_for_the_slowest_and_counts_what_others_own() {
        let progress = Arc::new(Progress::default());
        progress.begin(5, members());
        let (first, second) = (own(&progress), own(&progress));
        receive(&progress, 0, false);
        drop(second);
        assert_eq!(progress.report().finished, [(classes().0, 0)].into());
        drop(first);
        assert_eq!((progress.report().finished, progress.unfinished()), ([(classes().0, 3)].into(), 0));
    }

    #[test]
    fn one_slow_message_hides_nothing_that_is_finished_behind_it() {
        let progress = Arc::new(Progress::default());
        progress.begin(5, members());
        let slow = own(&progress);
        drop(own(&progress));
        progress.begin(6, members());
        drop(own(&progress));
        let still = own(&progress);
        let (report, class) = (progress.report(), classes().0);
        let at = |epoch, position| Place { epoch, class, position };
        assert_eq!([at(5, 1), at(5, 2), at(6, 1), at(6, 2)].map(|place| report.has_finished(place)), [false, true, true, false]);
        assert!(!report.is_settled_before(6) && Report::parse(&report.text()) == Some(report));
        drop((slow, still));
        assert_eq!(progress.report().beyond, BTreeMap::new());
    }

    #[test]
    fn an_epoch_is_settled_when_its_last_message_is_finished() {
        let progress = Arc::new(Progress::default());
        progress.begin(1, members());
        let old = own(&progress);
        progress.begin(2, members());
        let new = own(&progress);
        let told = |progress: &Progress| (progress.report().epoch, progress.report().seen_epoch);
        assert_eq!(told(&progress), (1, 2));
        drop(new);
        drop(old);
        assert_eq!(told(&progress), (2, 2));
    }

    #[test]
    fn what_is_taken_over_counts_where_it_was_published() {
        let progress = Arc::new(Progress::default());
        progress.begin(7, members());
        let take_over = |epoch| Claim::take_over(progress.clone(), Place { epoch, class: 1, position: 1 }, members(), "x".into());
        let (late, early) = (take_over(6), take_over(4));
        let told = |progress: &Progress| (progress.report().epoch, progress.report().replays.oldest());
        assert_eq!(told(&progress), (7, Some(4)));
        drop(early);
        assert_eq!(told(&progress), (7, Some(6)));
        drop(late);
        assert_eq!((told(&progress), progress.unfinished()), ((7, None), 0));
    }

    #[test]
    fn what_is_dropped_by_one_that_gives_up_is_not_finished() {
        let progress = Arc::new(Progress::default());
        progress.begin(1, members());
        let claim = own(&progress);
        progress.leave_to(["y".into()].into());
        // The other one has the second subscription only.
        assert!(!claim.is_handed_over() && receive(&progress, 1, true).unwrap().is_handed_over());
        drop(claim);
        assert_eq!(progress.report().finished[&classes().0], 0);
    }

    #[test]
    fn classes_count_by_themselves() {
        let progress = Arc::new(Progress::default());
        progress.begin(1, members());
        let slow = own(&progress);
        receive(&progress, 1, false);
        drop(receive(&progress, 1, true));
        assert_eq!(progress.report().finished, [(classes().0, 0), (classes().1, 2)].into());
        drop(slow);
    }
}
