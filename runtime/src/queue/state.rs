//! What the lock of a queue guards: the lanes, the counts and how many workers there are. Pure: clock and chance are passed in.
//!
//! A worker either holds a message or is about to take one. As long as there are fewer workers than may be, there are at least
//! as many about to take as there are messages that can be taken; whoever makes one more takeable starts one more worker. A
//! worker ends only when there is nothing to take. So no message waits for a worker that never comes.

use std::{sync::Arc, time::Instant};

use spinredis_crds::{
    defaults::{Limits, RetryLimits},
    dispatch::WhenFull,
};

use super::{
    Counts, DropReason, Finished, Message, Outcome, Snapshot, Taken,
    backoff::backoff,
    lanes::{Lanes, Phase, Slot},
};
use crate::call::FailureKind;

/// Everything a queue knows.
pub struct State {
    lanes: Lanes,
    counts: Vec<Counts>,
    concurrency: usize,
    when_full: WhenFull,
    retry: RetryLimits,
    sequence: u64,
    workers: usize,
    /// Workers that hold a message, also an abandoned one.
    holding: usize,
    closed: bool,
}

impl State {
    /// Nothing received yet.
    pub fn new(subscriptions: usize, limits: &Limits) -> Self {
        Self {
            lanes: Lanes::new(limits.ordering, limits.queue_bytes),
            counts: vec![Counts::default(); subscriptions],
            concurrency: limits.concurrency.max(1),
            when_full: limits.when_full,
            retry: limits.retry,
            sequence: 0,
            workers: 0,
            holding: 0,
            closed: false,
        }
    }

    /// Takes a message in, counts it, and says whether it stays. What has to go is put into `dropped`, for the caller to free
    /// outside the lock.
    pub fn push(&mut self, mut message: Message, dropped: &mut Vec<Arc<Message>>) -> bool {
        self.sequence += 1;
        message.sequence = self.sequence;
        let counts = &mut self.counts[message.subscription];
        counts.receive(message.source);
        let refused = match self.when_full {
            _ if self.closed => Some(DropReason::Drain),
            WhenFull::DropNewest if !self.lanes.has_room_for(&message) => Some(DropReason::QueueFull),
            _ => None,
        };
        if let Some(reason) = refused {
            counts.drop_one(reason);
            dropped.push(Arc::new(message));
            return false;
        }
        counts.queued += 1;
        let makes_room = self.when_full == WhenFull::DropOldest && self.lanes.counts(&message);
        self.lanes.push(Arc::new(message));
        let mut stays = true;
        while makes_room && let Some((victim, phase)) = self.lanes.shed() {
            stays &= victim.sequence != self.sequence;
            self.drop_from(&victim, phase, DropReason::QueueFull);
            dropped.push(victim);
        }
        stays
    }

    fn drop_from(&mut self, message: &Message, phase: Phase, reason: DropReason) {
        let counts = &mut self.counts[message.subscription];
        match phase {
            Phase::Queued => counts.queued -= 1,
            Phase::InFlight => counts.in_flight -= 1,
            Phase::Retrying(_) => counts.retrying -= 1,
        }
        counts.drop_one(reason);
    }

    /// Counts a message that was too large to be taken in.
    pub fn count_too_large(&mut self, subscription: usize) {
        self.counts[subscription].received += 1;
        self.counts[subscription].drop_one(DropReason::TooLarge);
    }

    /// How many workers to start now. They count as running from here on.
    pub fn start_workers(&mut self) -> usize {
        let about_to_take = self.workers.saturating_sub(self.holding);
        let wanted = self.lanes.takeable().saturating_sub(about_to_take).min(self.concurrency.saturating_sub(self.workers));
        self.workers += wanted;
        wanted
    }

    /// A message for a worker, or the end of that worker.
    pub fn take(&mut self) -> Option<Taken> {
        let Some((slot, message, attempts)) = self.lanes.take() else {
            self.workers = self.workers.saturating_sub(1);
            return None;
        };
        self.holding += 1;
        let counts = &mut self.counts[message.subscription];
        counts.queued -= 1;
        counts.in_flight += 1;
        let attempt = message.attempt.saturating_add(attempts);
        Some(Taken { message, attempt, slot })
    }

    /// Decides what becomes of a message. `chance` gives the time and a number from 0.0 to 1.0, for when it is tried again.
    pub fn finish(&mut self, slot: Slot, outcome: Outcome, chance: impl FnOnce() -> (Instant, f64)) -> Finished {
        self.holding = self.holding.saturating_sub(1);
        let Some(attempts) = self.lanes.attempts(slot) else { return Finished::Abandoned };
        let again = match outcome {
            Outcome::Failed { kind, retry } => retry && kind != FailureKind::Rejected && attempts < self.retry.max_attempts,
            Outcome::Handled | Outcome::Moved | Outcome::PutOff(_) => false,
        };
        if let Outcome::PutOff(after) = outcome {
            self.lanes.forget_attempt(slot);
            self.wait(slot, chance().0 + after);
            return Finished::PutOff;
        }
        if let Some(subscription) = self.lanes.subscription_of(slot) {
            self.counts[subscription].retries += u64::from(attempts > 1);
        }
        if again {
            let (now, jitter) = chance();
            let after = backoff(&self.retry, attempts, jitter);
            self.wait(slot, now + after);
            return Finished::Retrying { after };
        }
        let Some(message) = self.lanes.end(slot) else { return Finished::Abandoned };
        let counts = &mut self.counts[message.subscription];
        counts.in_flight -= 1;
        match outcome {
            Outcome::Handled => {
                counts.handled += 1;
                Finished::Handled
            }
            Outcome::Failed { kind, .. } => {
                counts.failed[kind.index()] += 1;
                Finished::Failed
            }
            // One that is put off has returned above.
            Outcome::Moved | Outcome::PutOff(_) => {
                counts.drop_one(DropReason::Moved);
                Finished::Moved
            }
        }
    }

    fn wait(&mut self, slot: Slot, due: Instant) {
        if let Some(subscription) = self.lanes.retry(slot, due) {
            self.counts[subscription].in_flight -= 1;
            self.counts[subscription].retrying += 1;
        }
    }

    /// Makes the retries that are due ready to be taken.
    pub fn wake_due(&mut self, now: Instant) {
        while let Some(subscription) = self.lanes.wake_due(now) {
            self.counts[subscription].retrying -= 1;
            self.counts[subscription].queued += 1;
        }
    }

    /// When the next retry is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.lanes.next_due()
    }

    /// Lets nothing more in.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Drops all that is left, and lets nothing more in. Gives each message with the attempts that were made of it, over all its
    /// lives.
    pub fn abandon(&mut self) -> Vec<(Arc<Message>, u32)> {
        self.closed = true;
        let left = self.lanes.abandon();
        for (message, phase, _) in &left {
            let is_moved = message.owned.as_ref().is_some_and(|owned| owned.is_handed_over());
            self.drop_from(message, *phase, if is_moved { DropReason::Moved } else { DropReason::Drain });
        }
        let with_attempts = left.into_iter().map(|(message, _, attempts)| {
            let attempts = message.attempt.saturating_add(attempts);
            (message, attempts)
        });
        with_attempts.collect()
    }

    /// Whether nothing is queued, retrying or in flight.
    pub fn is_idle(&self) -> bool {
        self.lanes.is_empty()
    }

    /// One consistent look.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            counts: self.counts.clone(),
            queued_bytes: self.lanes.bytes(),
            oldest: self.lanes.oldest(),
            lanes: self.lanes.len(),
            workers: self.workers,
        }
    }
}
