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

use crate::{epoch::Members, wire::Done};

/// Messages whose bits are together.
const TOGETHER: usize = 64;

/// The messages of a class.
#[derive(Default)]
pub(crate) struct Line {
    seen: u64,
    owned: VecDeque<Bundle>,
}

/// Up to [`TOGETHER`] owned messages.
struct Bundle {
    marks: Arc<Marks>,
    positions: Vec<u64>,
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
        self.positions.len() == TOGETHER
    }

    /// Position of the first that is not finished.
    fn first_unfinished(&self) -> Option<u64> {
        self.positions.get(self.finished().trailing_ones() as usize).copied()
    }
}

impl Line {
    /// Counts a message and gives its position: 1, 2, 3 …
    pub fn receive(&mut self) -> u64 {
        self.seen += 1;
        self.seen
    }

    /// The message that was counted last is owned. `members` received it, and `class` is the line's.
    pub fn own(&mut self, members: &Arc<Members>, class: u64) -> Mark {
        let bundle = match self.owned.back_mut().filter(|bundle| !bundle.is_full()) {
            Some(bundle) => bundle,
            None => {
                self.forget_finished();
                let marks = Arc::new(Marks { finished: AtomicU64::new(0), members: members.clone(), class });
                self.owned.push_back(Bundle { marks, positions: Vec::with_capacity(TOGETHER) });
                let last = self.owned.len() - 1;
                &mut self.owned[last]
            }
        };
        bundle.positions.push(self.seen);
        Mark { marks: bundle.marks.clone(), bit: 1 << (bundle.positions.len() - 1) }
    }

    fn forget_finished(&mut self) {
        while self.owned.pop_front_if(|bundle| bundle.is_full() && bundle.first_unfinished().is_none()).is_some() {}
    }

    /// Messages received.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Everything that is owned is finished up to this position.
    pub fn finished(&mut self) -> u64 {
        self.forget_finished();
        self.finished_so_far()
    }

    fn finished_so_far(&self) -> u64 {
        // Bits are set meanwhile, so the first bundle may have become finished since it was looked at.
        self.owned.iter().find_map(Bundle::first_unfinished).map_or(self.seen, |position| position - 1)
    }

    /// How far they are finished with no more than `most` exceptions.
    pub fn done(&self, most: usize) -> Done {
        let unfinished = self.owned.iter().flat_map(|bundle| {
            let finished = bundle.finished();
            (0..).zip(&bundle.positions).filter(move |(bit, _)| finished & (1 << bit) == 0).map(|(_, position)| *position)
        });
        let mut except: Vec<u64> = unfinished.take(most + 1).collect();
        let next = if except.len() > most { except.pop() } else { None };
        Done { up_to: next.map_or(self.seen, |position| position - 1), except }
    }

    /// Messages that are owned and not finished.
    pub fn unfinished(&self) -> usize {
        self.owned.iter().map(|bundle| bundle.positions.len() - bundle.finished().count_ones() as usize).sum()
    }

    /// Whether there are none.
    pub fn is_finished(&self) -> bool {
        self.owned.iter().all(|bundle| bundle.first_unfinished().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_finished_in_any_order_counts_once_everything_before_it_is() {
        let (mut line, members) = (Line::default(), Arc::new(Members::nobody(1)));
        let mut marks: Vec<(u64, Mark)> = Vec::new();
        for number in 0..500 {
            let position = line.receive();
            if number % 3 != 0 {
                marks.push((position, line.own(&members, 1)));
            }
        }
        assert_eq!((line.seen(), line.finished(), line.unfinished()), (500, 1, 333));
        // Every seventh, and then the others from the end.
        let (early, mut late): (Vec<_>, Vec<_>) = marks.into_iter().partition(|(position, _)| position % 7 == 0);
        early.iter().for_each(|(_, mark)| mark.set());
        assert_eq!((line.finished(), line.unfinished()), (1, late.len()));
        assert_eq!(line.done(3), Done { up_to: 5, except: vec![2, 3, 5] });
        assert_eq!(line.done(0), Done { up_to: 1, except: vec![] });
        while late.len() > 1 {
            late.pop().unwrap().1.set();
        }
        assert_eq!((line.finished(), line.unfinished(), line.is_finished()), (1, 1, false));
        assert_eq!(line.done(3), Done { up_to: 500, except: vec![2] });
        late.pop().unwrap().1.set();
        assert_eq!((line.finished(), line.unfinished(), line.is_finished()), (500, 0, true));
        // A full bundle that ends between the two looks of `finished`: here by leaving out the first.
        let bundle = Bundle {
            marks: Arc::new(Marks { finished: AtomicU64::new(u64::MAX), members: members.clone(), class: 1 }),
            positions: (1..=64).collect(),
        };
        let open =
            Bundle { marks: Arc::new(Marks { finished: AtomicU64::new(0), members: members.clone(), class: 1 }), positions: vec![70] };
        let mut two = Line { seen: 99, owned: [bundle, open].into() };
        assert_eq!(two.finished_so_far(), 69);
        assert_eq!((two.finished(), two.owned.len()), (69, 1));
        let position = line.receive();
        let mark = line.own(&members, 1);
        assert_eq!((position, line.finished()), (501, 500));
        mark.set();
        assert_eq!((line.finished(), line.owned.len()), (501, 1));
    }
}
