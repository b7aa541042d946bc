//! Letters that wait to be written, bounded in bytes. Pure: no lock, no Redis.
//!
//! When the bound is reached the oldest goes: Redis would trim the stream in the same order. A letter larger than the bound is
//! taken when nothing else waits, as the component's queue does with a message.

use std::{collections::VecDeque, sync::Arc};

use super::{entry::Entry, redrive::Receipt};
use crate::queue::Message;

/// A letter, and the stream entry to acknowledge once it is written.
#[derive(Clone, Debug)]
pub struct Letter {
    /// What is written.
    pub entry: Arc<Entry>,
    /// Of a message that had been a dead letter before.
    pub receipt: Option<Arc<Receipt>>,
    /// Of a message that this replica owns among others: it is finished when nobody has it any more.
    pub _owned: Option<Arc<Message>>,
}

/// The letters of one component. Those that are being written count until [`written`](Waiting::written) or
/// [`put_back`](Waiting::put_back).
#[derive(Debug)]
pub struct Waiting {
    letters: VecDeque<Letter>,
    max_bytes: u64,
    count: usize,
    bytes: u64,
}

impl Waiting {
    /// Nothing waits yet.
    pub fn new(max_bytes: u64) -> Self {
        Self { letters: VecDeque::new(), max_bytes, count: 0, bytes: 0 }
    }

    /// From here on nothing has to go: the process ends, and what comes now was in its memory all along.
    pub fn lift_bound(&mut self) {
        self.max_bytes = u64::MAX;
    }

    /// Adds a letter and gives those that had to go for it.
    pub fn push(&mut self, letter: Letter) -> Vec<Letter> {
        self.bytes += letter.entry.cost();
        self.count += 1;
        self.letters.push_back(letter);
        let mut lost = Vec::new();
        while self.bytes > self.max_bytes && self.count > 1 {
            // What is being written cannot be taken back, so the new one itself may have to go.
            let Some(oldest) = self.letters.pop_front() else { break };
            self.forget(&oldest);
            lost.push(oldest);
        }
        lost
    }

    /// Takes the oldest letters to write them: at least one, and no more than this many or this many bytes.
    pub fn take(&mut self, count: usize, bytes: u64) -> Vec<Letter> {
        let mut taken = Vec::new();
        let mut sum = 0;
        while let Some(letter) = self.letters.front() {
            sum += letter.entry.cost();
            if taken.len() == count || (sum > bytes && !taken.is_empty()) {
                break;
            }
            taken.extend(self.letters.pop_front());
        }
        taken
    }

    /// A letter that was taken is written.
    pub fn written(&mut self, letter: &Letter) {
        self.forget(letter);
    }

    /// Letters that were taken could not be written and are the oldest again.
    pub fn put_back(&mut self, letters: Vec<Letter>) {
        for letter in letters.into_iter().rev() {
            self.letters.push_front(letter);
        }
    }

    /// Gives up all that wait; what is being written still counts.
    pub fn give_up(&mut self) -> Vec<Letter> {
        let all: Vec<Letter> = std::mem::take(&mut self.letters).into();
        all.iter().for_each(|letter| self.forget(letter));
        all
    }

    /// How many wait or are being written.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of those.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn forget(&mut self, letter: &Letter) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(letter.entry.cost());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::entry::tests::example;
    use bytes::Bytes;

    fn letter(name: &str, payload: usize) -> Letter {
        Letter {
            entry: Arc::new(Entry { channel: name.into(), payload: vec![0; payload].into(), ..example() }),
            receipt: None,
            _owned: None,
        }
    }

    fn names(letters: &[Letter]) -> Vec<&str> {
        letters.iter().map(|letter| &*letter.entry.channel).collect()
    }

    fn waiting(letters: u64) -> Waiting {
        Waiting::new(letter("a", 1000).entry.cost() * letters)
    }

    #[test]
    fn the_oldest_letter_goes_when_the_bound_is_reached() {
        let mut waiting = waiting(2);
        assert!(waiting.push(letter("a", 1000)).is_empty());
        assert!(waiting.push(letter("b", 1000)).is_empty());
        assert_eq!(names(&waiting.push(letter("c", 1000))), ["a"]);
        assert_eq!(names(&waiting.push(letter("d", 2000))), ["b", "c"]);
        assert_eq!((waiting.count(), waiting.bytes()), (1, letter("d", 2000).entry.cost()));
    }

    #[test]
    fn a_letter_larger_than_the_bound_is_taken_alone() {
        let mut waiting = waiting(2);
        assert!(waiting.push(letter("a", 100_000)).is_empty());
        assert_eq!(names(&waiting.push(letter("b", 1000))), ["a"]);
        assert_eq!(names(&waiting.push(letter("c", 100_000))), ["b"]);
    }

    #[test]
    fn what_is_being_written_counts_and_is_not_lost() {
        let mut waiting = waiting(2);
        waiting.push(letter("a", 1000));
        waiting.push(letter("b", 1000));
        let taken = waiting.take(10, u64::MAX);
        assert_eq!(names(&taken), ["a", "b"]);
        assert_eq!(names(&waiting.push(letter("c", 1000))), ["c"]);
        waiting.put_back(taken);
        assert_eq!(names(&waiting.push(letter("d", 1000))), ["a"]);
        let taken = waiting.take(1, u64::MAX);
        waiting.written(&taken[0]);
        assert_eq!((names(&taken), waiting.count()), (vec!["b"], 1));
        assert_eq!(names(&waiting.give_up()), ["d"]);
        assert_eq!((waiting.count(), waiting.bytes()), (0, 0));
    }

    #[test]
    fn a_batch_is_bounded_in_number_and_in_bytes_and_never_empty() {
        let mut waiting = waiting(100);
        (0..5).for_each(|_| drop(waiting.push(letter("a", 1000))));
        assert_eq!(waiting.take(2, u64::MAX).len(), 2);
        assert_eq!(waiting.take(10, letter("a", 1000).entry.cost() * 2).len(), 2);
        assert_eq!(waiting.take(10, 1).len(), 1);
        assert!(waiting.take(10, 1).is_empty());
        assert_eq!(Bytes::new(), waiting.letters.pop_front().map_or_else(Bytes::new, |letter| letter.entry.payload.clone()));
    }
}
