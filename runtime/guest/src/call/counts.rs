//! Counts of a component's instances, written by calls and read by metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why an instance was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// It has handled as many messages as one instance may.
    Used,
    /// The guest trapped or returned in a way that leaves it in no known state.
    Trap,
    /// It missed a deadline.
    Timeout,
    /// It reached the memory limit.
    OutOfMemory,
    /// It was ready and is not needed: its environment has changed, or the process stops.
    Unused,
}

impl Retired {
    /// All reasons.
    pub const ALL: [Retired; 5] = [Retired::Used, Retired::Trap, Retired::Timeout, Retired::OutOfMemory, Retired::Unused];

    /// Label value in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Retired::Used => "used",
            Retired::Trap => "trap",
            Retired::Timeout => "timeout",
            Retired::OutOfMemory => "out_of_memory",
            Retired::Unused => "unused",
        }
    }
}

/// Counts of a component's instances.
#[derive(Debug, Default)]
pub struct InstanceCounts {
    created: AtomicU64,
    retired: [AtomicU64; Retired::ALL.len()],
    warm: AtomicU64,
}

impl InstanceCounts {
    /// An instance was made.
    pub fn create(&self) {
        self.created.fetch_add(1, Relaxed);
    }

    /// An instance was ended.
    pub fn retire(&self, reason: Retired) {
        self.retired[reason as usize].fetch_add(1, Relaxed);
    }

    /// So many instances are ready for a message now.
    pub fn set_warm(&self, count: u64) {
        self.warm.store(count, Relaxed);
    }

    /// Instances made so far.
    pub fn created(&self) -> u64 {
        self.created.load(Relaxed)
    }

    /// Instances ended so far for a reason.
    pub fn retired(&self, reason: Retired) -> u64 {
        self.retired[reason as usize].load(Relaxed)
    }

    /// Instances that are ready for a message.
    pub fn warm(&self) -> u64 {
        self.warm.load(Relaxed)
    }

    /// Instances that are there, ready or in use.
    pub fn live(&self) -> u64 {
        // Ended ones are read first: an instance that is made and ended in between can only make this too high.
        let retired: u64 = Retired::ALL.iter().map(|reason| self.retired(*reason)).sum();
        self.created().saturating_sub(retired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_and_not_ended_is_live() {
        let counts = InstanceCounts::default();
        (0..3).for_each(|_| counts.create());
        counts.retire(Retired::Trap);
        counts.set_warm(1);
        assert_eq!((counts.created(), counts.live(), counts.warm(), counts.retired(Retired::Trap)), (3, 2, 1, 1));
    }
}
