//! How many entries are asked for at once: one at first, more while they are small. A payload may have many megabytes, and
//! what reads a stream shares a container's memory with the guests.

/// Bytes in one answer up to which the next one may hold twice as many entries.
const SMALL: usize = 256 << 10;

/// How many entries to ask for next.
#[derive(Debug)]
pub struct Stride {
    next: usize,
    most: usize,
}

impl Stride {
    /// Begins with one, and never asks for more than `most`.
    pub fn new(most: usize) -> Self {
        Self { next: 1, most }
    }

    /// How many to ask for.
    pub fn count(&self) -> usize {
        self.next
    }

    /// Learns from an answer: how many bytes it had.
    pub fn answered(&mut self, bytes: usize) {
        self.next = if bytes <= SMALL { (self.next * 2).min(self.most) } else { 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_entries_are_read_many_at_once_and_large_ones_alone() {
        let mut stride = Stride::new(100);
        let counts: Vec<usize> = (0..9)
            .map(|_| {
                let count = stride.count();
                stride.answered(count * 100);
                count
            })
            .collect();
        assert_eq!(counts, [1, 2, 4, 8, 16, 32, 64, 100, 100]);
        stride.answered(8 << 20);
        assert_eq!(stride.count(), 1);
    }
}
