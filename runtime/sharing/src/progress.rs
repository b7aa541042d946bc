//! What of its own a replica has finished. Messages end in any order and on any thread; what is told to others is the position
//! up to which all are.
//!
//! A message goes with a [`Claim`] from the moment it is received to its end: handled, failed for good and its dead letter written,
//! or dropped. The end is when the last copy of the claim is dropped, so that no way out can be forgotten.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    Id,
    epoch::Members,
    wire::{Place, Positions, Report, SEEN_ALL},
};

/// What a replica owns and has finished, in one stay in the group.
#[derive(Default)]
pub struct Progress {
    inner: Mutex<Inner>,
    is_given_up: AtomicBool,
    /// Called when a message that was to be tried carefully is finished, and, once that is of interest, when the last of all is.
    wake: Option<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Inner {
    /// The present epoch last, before it those in which something is unfinished.
    epochs: VecDeque<Epoch>,
    /// Messages taken over that are unfinished, by the epoch they were published in.
    replays: BTreeMap<u64, usize>,
    /// Messages that are owned and not finished.
    unfinished: usize,
    trying: Option<Place>,
    /// Once it is given up: who is there to do what is left.
    heirs: Option<BTreeSet<Id>>,
    /// Whether somebody waits for the last message.
    watched: bool,
    /// Whether everything that it will ever own was received.
    left: bool,
}

#[derive(Default)]
struct Epoch {
    number: u64,
    /// By class: messages received, and those of them that are owned and unfinished or behind one that is.
    classes: Vec<(u64, Line)>,
}

#[derive(Default)]
struct Line {
    seen: u64,
    /// Owned messages: position, and whether it is finished. The first is never finished.
    owned: VecDeque<(u64, bool)>,
}

impl Epoch {
    fn line(&mut self, class: u64) -> &mut Line {
        let place = self.classes.iter().position(|(known, _)| *known == class).unwrap_or_else(|| {
            self.classes.push((class, Line::default()));
            self.classes.len() - 1
        });
        &mut self.classes[place].1
    }

    fn is_finished(&self) -> bool {
        self.classes.iter().all(|(_, line)| line.owned.is_empty())
    }
}

/// A message that a replica owns: dropped when it is finished.
pub struct Claim {
    progress: Arc<Progress>,
    kind: Kind,
    /// Who received the message, and by which of this replica's subscriptions.
    epoch: Arc<Members>,
    subscription: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Received as its owner.
    Own(Place),
    /// Taken over, of this epoch.
    Replay { epoch: u64, careful: bool, is_last: bool },
}

impl Claim {
    /// Whether this replica was given up and somebody is there who has the message too.
    pub fn is_handed_over(&self) -> bool {
        // Asked for each message, and nearly always no.
        if !self.progress.is_given_up.load(Ordering::Acquire) {
            return false;
        }
        let inner = self.progress.inner();
        let Some(heirs) = &inner.heirs else { return false };
        self.epoch.class(self.subscription).members.iter().any(|member| heirs.contains(&member.id))
    }

    /// Whether somebody else had owned the message before.
    pub fn is_replay(&self) -> bool {
        matches!(self.kind, Kind::Replay { .. })
    }

    /// Whether an owner died with the message and nobody but this replica has it any more.
    pub fn is_last(&self) -> bool {
        matches!(self.kind, Kind::Replay { is_last: true, .. })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.progress.finish(self.kind);
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
    pub(crate) fn begin(&self, number: u64) {
        let mut inner = self.inner();
        inner.epochs.push_back(Epoch { number, ..Epoch::default() });
        inner.forget_finished();
    }

    /// Counts a message of the present epoch. Gives its place, and a claim when it is owned.
    pub(crate) fn receive(self: &Arc<Self>, members: &Arc<Members>, subscription: usize, is_owned: bool) -> (Place, Option<Claim>) {
        let class = members.class(subscription).mask;
        let mut inner = self.inner();
        let Some(epoch) = inner.epochs.back_mut() else { return (Place { epoch: 0, class, position: 0 }, None) };
        let number = epoch.number;
        let line = epoch.line(class);
        line.seen += 1;
        let place = Place { epoch: number, class, position: line.seen };
        if !is_owned {
            return (place, None);
        }
        line.owned.push_back((place.position, false));
        inner.unfinished += 1;
        drop(inner);
        (place, Some(Claim { progress: self.clone(), kind: Kind::Own(place), epoch: members.clone(), subscription }))
    }

    /// Takes a message of this epoch over that somebody else had owned.
    pub(crate) fn take_over(
        self: &Arc<Self>,
        (epoch, members): (u64, &Arc<Members>),
        subscription: usize,
        careful: bool,
        is_last: bool,
    ) -> Claim {
        let mut inner = self.inner();
        *inner.replays.entry(epoch).or_default() += 1;
        inner.unfinished += 1;
        drop(inner);
        Claim { progress: self.clone(), kind: Kind::Replay { epoch, careful, is_last }, epoch: members.clone(), subscription }
    }

    /// From now on the report says that this message is about to be tried; `None`: that none is.
    pub(crate) fn set_trying(&self, place: Option<Place>) {
        self.inner().trying = place;
    }

    fn finish(&self, kind: Kind) {
        let mut inner = self.inner();
        if inner.heirs.is_some() {
            return;
        }
        inner.unfinished = inner.unfinished.saturating_sub(1);
        match kind {
            Kind::Own(place) => inner.finish(place),
            Kind::Replay { epoch, careful, .. } => {
                if let Entry::Occupied(mut left) = inner.replays.entry(epoch) {
                    *left.get_mut() -= 1;
                    if *left.get() == 0 {
                        left.remove();
                    }
                }
                if careful {
                    inner.trying = None;
                }
            }
        }
        inner.forget_finished();
        let is_news = (inner.watched && inner.unfinished == 0) || matches!(kind, Kind::Replay { careful: true, .. });
        drop(inner);
        if let Some(wake) = self.wake.as_ref().filter(|_| is_news) {
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
    }

    /// From now on the end of the last message is told at once.
    pub fn watch(&self) {
        self.inner().watched = true;
    }

    /// From now on nothing is received any more that could be owned; the end of the last message is told at once.
    pub(crate) fn leave(&self) {
        let mut inner = self.inner();
        (inner.left, inner.watched) = (true, true);
    }

    /// Messages that are owned and not finished.
    pub fn unfinished(&self) -> usize {
        self.inner().unfinished
    }

    /// What to tell the others.
    pub fn report(&self) -> Report {
        let inner = self.inner();
        let (Some(first), Some(last)) = (inner.epochs.front(), inner.epochs.back()) else { return Report::default() };
        let finished =
            first.classes.iter().map(|(class, line)| (*class, line.owned.front().map_or(line.seen, |(position, _)| position - 1)));
        Report {
            epoch: first.number,
            finished: finished.collect(),
            replaying: inner.replays.keys().next().copied(),
            seen_epoch: if inner.left { SEEN_ALL } else { last.number },
            seen: last.classes.iter().map(|(class, line)| (*class, line.seen)).collect::<Positions>(),
            trying: inner.trying,
        }
    }
}

impl Inner {
    fn finish(&mut self, place: Place) {
        let Some(epoch) = self.epochs.iter_mut().find(|known| known.number == place.epoch) else { return };
        let line = epoch.line(place.class);
        if let Ok(found) = line.owned.binary_search_by_key(&place.position, |(position, _)| *position) {
            line.owned[found].1 = true;
        }
        while line.owned.pop_front_if(|(_, finished)| *finished).is_some() {}
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

    fn receive(progress: &Arc<Progress>, subscription: usize, is_owned: bool) -> Option<Claim> {
        progress.receive(&members(), subscription, is_owned).1
    }

    fn own(progress: &Arc<Progress>) -> Claim {
        receive(progress, 0, true).unwrap()
    }

    /// The classes of the two.
    fn classes() -> (u64, u64) {
        (members().class(0).mask, members().class(1).mask)
    }

    #[test]
    fn the_finished_position_waits_for_the_slowest_and_counts_what_others_own() {
        let progress = Arc::new(Progress::default());
        progress.begin(5);
        let (first, second) = (own(&progress), own(&progress));
        receive(&progress, 0, false);
        drop(second);
        assert_eq!(progress.report().finished, [(classes().0, 0)].into());
        drop(first);
        assert_eq!((progress.report().finished, progress.unfinished()), ([(classes().0, 3)].into(), 0));
    }

    #[test]
    fn an_epoch_is_settled_when_its_last_message_is_finished() {
        let progress = Arc::new(Progress::default());
        progress.begin(1);
        let old = own(&progress);
        progress.begin(2);
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
        progress.begin(7);
        let take_over = |epoch| progress.take_over((epoch, &members()), 0, false, false);
        let (late, early) = (take_over(6), take_over(4));
        let told = |progress: &Progress| (progress.report().epoch, progress.report().replaying);
        assert_eq!(told(&progress), (7, Some(4)));
        drop(early);
        assert_eq!(told(&progress), (7, Some(6)));
        drop(late);
        assert_eq!((told(&progress), progress.unfinished()), ((7, None), 0));
    }

    #[test]
    fn what_is_dropped_by_one_that_gives_up_is_not_finished() {
        let progress = Arc::new(Progress::default());
        progress.begin(1);
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
        progress.begin(1);
        let slow = own(&progress);
        receive(&progress, 1, false);
        drop(receive(&progress, 1, true));
        assert_eq!(progress.report().finished, [(classes().0, 0), (classes().1, 2)].into());
        drop(slow);
    }
}
