//! The messages of one class in one epoch: how many were received, and which of those that this replica owns are finished.
//!
//! Messages are counted by one thread and end on others. So the end of one is a bit that is set, without a lock and without a search;
//! whoever wants to know how far all are finished looks at the bits.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{epoch::Members, wire::Lane};

/// Messages whose bits are together.
const TOGETHER: usize = 64;
/// With fewer bundles only those at the front are looked at.
const LOOKED_AT_FROM: usize = 16;

/// The messages of a class.
#[derive(Default)]
pub(crate) struct Line {
    seen: u64,
    /// Without those bundles of which everything is finished, once somebody has looked.
    owned: VecDeque<Bundle>,
    /// How many bundles stayed when somebody looked at all of them last.
    stayed: usize,
}

/// Up to [`TOGETHER`] owned messages.
struct Bundle {
    marks: Arc<Marks>,
    /// Position and lane of each.
    messages: Vec<(u64, Lane)>,
}

/// What those have in common that end them.
pub(crate) struct Marks {
    /// One bit for each that is finished.
    finished: AtomicU64,
    /// Who received them, and their class.
    members: Arc<Members>,
    class: u64,
}

/// Where the end of one message is marked.
pub(crate) struct Mark {
    marks: Arc<Marks>,
    bit: u64,
}

impl Mark {
    /// The message is finished. What was done before is seen by whoever sees this.
    pub fn set(&self) {
        // In one order with the wish to hear of the last one (`Progress::watch`): one of the two sees the other.
        self.marks.finished.fetch_or(self.bit, Ordering::SeqCst);
    }

    /// Who received the message, and its class.
    pub fn members(&self) -> (&Members, u64) {
        (&self.marks.members, self.marks.class)
    }
}

impl Bundle {
    fn finished(&self) -> u64 {
        self.marks.finished.load(Ordering::SeqCst)
    }

    fn is_full(&self) -> bool {
        self.messages.len() == TOGETHER
    }

    fn is_finished(&self) -> bool {
        self.finished().trailing_ones() as usize >= self.messages.len()
    }
}

impl Line {
    /// Counts a message and gives its position: 1, 2, 3 …
    pub fn receive(&mut self) -> u64 {
        self.seen += 1;
        self.seen
    }

    /// The message that was counted last is owned. `members` received it, and `class` is the line's.
    pub fn own(&mut self, lane: Lane, members: &Arc<Members>, class: u64) -> Mark {
        let bundle = match self.owned.back_mut().filter(|bundle| !bundle.is_full()) {
            Some(bundle) => bundle,
            None => {
                self.forget_finished();
                let marks = Arc::new(Marks { finished: AtomicU64::new(0), members: members.clone(), class });
                self.owned.push_back(Bundle { marks, messages: Vec::with_capacity(TOGETHER) });
                let last = self.owned.len() - 1;
                &mut self.owned[last]
            }
        };
        bundle.messages.push((self.seen, lane));
        Mark { marks: bundle.marks.clone(), bit: 1 << (bundle.messages.len() - 1) }
    }

    /// One that does not end must not keep all that come behind it. So the whole line is looked at whenever it has doubled.
    pub fn forget_finished(&mut self) {
        while self.owned.pop_front_if(|bundle| bundle.is_full() && bundle.is_finished()).is_some() {}
        if self.owned.len() > LOOKED_AT_FROM.max(2 * self.stayed) {
            self.owned.retain(|bundle| !bundle.is_full() || !bundle.is_finished());
            self.stayed = self.owned.len();
        }
    }

    /// Messages received.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Those that are owned and not finished, in their order.
    pub fn each_unfinished(&self) -> impl Iterator<Item = (u64, Lane)> {
        self.owned.iter().flat_map(|bundle| {
            let finished = bundle.finished();
            (0..).zip(&bundle.messages).filter(move |(bit, _)| finished & (1 << bit) == 0).map(|(_, message)| *message)
        })
    }

    /// Messages that are owned and not finished.
    pub fn unfinished(&self) -> usize {
        self.owned.iter().map(|bundle| bundle.messages.len() - bundle.finished().count_ones() as usize).sum()
    }

    /// Whether there are none.
    pub fn is_finished(&self) -> bool {
        self.owned.iter().all(Bundle::is_finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(number: u64) -> Lane {
        Lane(u32::try_from(number).unwrap())
    }

    #[test]
    fn what_ends_in_any_order_is_finished_and_nothing_else_is() {
        let (mut line, members) = (Line::default(), Arc::new(Members::default()));
        let mut marks: Vec<(u64, Mark)> = Vec::new();
        for number in 0..500 {
            let position = line.receive();
            if number % 3 != 0 {
                marks.push((position, line.own(lane(number), &members, 1)));
            }
        }
        assert_eq!((line.seen(), line.unfinished()), (500, 333));
        // Every seventh, and then the others from the end.
        let (early, mut late): (Vec<_>, Vec<_>) = marks.into_iter().partition(|(position, _)| position % 7 == 0);
        early.iter().for_each(|(_, mark)| mark.set());
        while let Some((_, mark)) = late.pop() {
            let left: Vec<(u64, Lane)> = line.each_unfinished().collect();
            let expected = late.iter().map(|(position, _)| *position).chain([left.last().unwrap().0]);
            assert!(left.iter().map(|(position, _)| *position).eq(expected));
            assert!(left.iter().all(|(position, of)| *of == lane(position - 1)));
            mark.set();
            assert_eq!(line.unfinished(), late.len());
        }
        assert!(line.is_finished() && line.each_unfinished().next().is_none());
    }

    #[test]
    fn one_that_does_not_end_keeps_nothing_that_comes_behind_it() {
        let (mut line, members) = (Line::default(), Arc::new(Members::default()));
        let mut own = || {
            line.receive();
            line.own(lane(1), &members, 1)
        };
        let slow = own();
        (0..100_000).for_each(|_| own().set());
        assert!(line.owned.len() <= LOOKED_AT_FROM + 1, "{}", line.owned.len());
        assert_eq!((line.each_unfinished().count(), line.seen()), (1, 100_001));
        slow.set();
        assert!(line.is_finished());
    }
}
