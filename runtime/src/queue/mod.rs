//! One component's queue: lanes bounded in bytes, and the place where every message is counted.
//!
//! The unit of counting is one delivery to one component. Under one lock, and so in every snapshot,
//! **received = handled + failed + dropped + queued + retrying + in flight**, for each subscription.
//!
//! The queue starts no task and holds no timer. It tells its callers how many workers to start; a worker calls [`Queue::take`],
//! handles what it gets, calls [`Queue::finish`], and so on until `take` gives nothing. One timer for a component sleeps until
//! [`Queue::next_due`] and calls [`Queue::wake_due`].

mod backoff;
mod counts;
mod inbox;
mod lanes;
mod message;
mod state;

#[cfg(test)]
mod cost_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use spinredis_crds::{defaults::Limits, dispatch::Ordering};
use tokio::sync::Notify;

use crate::call::FailureKind;
pub use counts::{Counts, DropReason, Snapshot};
pub use inbox::Inbox;
pub use message::{Message, Receipt, Source};
use state::State;

/// A replica may die of anything; a message is blamed for it no sooner than at the second time.
const FEWEST_CRASHES: u32 = 2;

/// What a subscription of a component is called in the manifest: the `subscription` label of metrics.
pub type SubscriptionName = String;

/// What became of a message that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a worker that is to be started counts as running"]
pub struct Push {
    /// Whether the caller must start one more worker.
    pub start_worker: bool,
    /// Whether the message waits; otherwise it was dropped and counted.
    pub kept: bool,
}

/// A message that a worker holds. It goes back with [`Queue::finish`], whatever happened.
#[derive(Debug)]
#[must_use = "a message that is not finished stays in flight"]
pub struct Taken {
    /// The message.
    pub message: Arc<Message>,
    /// Which attempt this is, 1 for the first; attempts of an earlier life count.
    pub attempt: u32,
    slot: lanes::Slot,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Without error.
    Handled,
    /// With an error.
    Failed {
        /// Of which kind. [`FailureKind::Rejected`] is never tried again.
        kind: FailureKind,
        /// Whether another attempt may help.
        retry: bool,
    },
    /// It was not begun: another replica handles it.
    Moved,
    /// It was not begun, and may be after this time. It counts as waiting for its next attempt and as none that was made.
    PutOff(Duration),
}

/// What the queue made of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Counted as handled.
    Handled,
    /// It waits for another attempt.
    Retrying {
        /// How long.
        after: Duration,
    },
    /// Counted as failed: there is no other attempt.
    Failed,
    /// Counted as dropped: another replica handles it.
    Moved,
    /// It waits until it may be begun.
    PutOff,
    /// [`Queue::abandon`] had counted it.
    Abandoned,
}

/// The queue of one component.
pub struct Queue {
    component: String,
    subscriptions: Vec<SubscriptionName>,
    is_ordered: bool,
    most_crashes: u32,
    state: Mutex<Guarded>,
    due: Notify,
    idle: Notify,
}

struct Guarded {
    state: State,
    /// Whether someone waits in [`Queue::idle`].
    watched: bool,
}

impl Queue {
    /// An empty queue for a component and its subscriptions.
    pub fn new(component: &str, subscriptions: Vec<SubscriptionName>, limits: &Limits) -> Self {
        let state = State::new(subscriptions.len(), limits);
        Self {
            component: component.to_owned(),
            subscriptions,
            is_ordered: limits.ordering == Ordering::Channel,
            most_crashes: limits.retry.max_attempts.max(FEWEST_CRASHES),
            state: Mutex::new(Guarded { state, watched: false }),
            due: Notify::new(),
            idle: Notify::new(),
        }
    }

    /// Id of the component.
    pub fn component(&self) -> &str {
        &self.component
    }

    /// The component's subscriptions as they stand in the manifest.
    pub fn subscriptions(&self) -> &[SubscriptionName] {
        &self.subscriptions
    }

    /// Whether each channel's messages keep their order.
    pub fn is_ordered(&self) -> bool {
        self.is_ordered
    }

    /// A message with which so many replicas died is not tried again.
    pub fn most_crashes(&self) -> u32 {
        self.most_crashes
    }

    fn lock(&self) -> MutexGuard<'_, Guarded> {
        // A panic while the lock is held is impossible short of running out of memory; the counts stay usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message in. Never waits: what does not fit is dropped as the component's `whenFull` says.
    pub fn push(&self, message: Message) -> Push {
        let mut dropped = Vec::new();
        let mut guard = self.lock();
        let kept = guard.state.push(message, &mut dropped);
        let start_worker = guard.state.start_workers() > 0;
        self.unlock(guard);
        Push { start_worker, kept }
    }

    /// Takes a batch of messages in under one lock. Returns how many workers the caller must start. The messages should be at
    /// hand: the lock is held while they are asked for.
    #[must_use = "a worker that is to be started counts as running"]
    pub fn push_all(&self, messages: impl Iterator<Item = Message>) -> usize {
        let mut dropped = Vec::new();
        let mut guard = self.lock();
        for message in messages {
            guard.state.push(message, &mut dropped);
        }
        let workers = guard.state.start_workers();
        self.unlock(guard);
        workers
    }

    /// Counts a message whose payload was too large to be taken in.
    pub fn count_too_large(&self, subscription: usize) {
        self.lock().state.count_too_large(subscription);
    }

    /// The next message, now in flight. `None`: there is nothing to take and the worker must end; it no longer counts.
    pub fn take(&self) -> Option<Taken> {
        self.lock().state.take()
    }

    /// Hands a message back with its outcome. The worker is expected to [`take`](Self::take) again without waiting for anything
    /// in between, since no other worker is started for what this one can take.
    pub fn finish(&self, taken: Taken, outcome: Outcome) -> Finished {
        let mut guard = self.lock();
        let finished = self.decide(&mut guard.state, &taken, outcome);
        self.unlock(guard);
        finished
    }

    /// [`finish`](Self::finish) and [`take`](Self::take) under one lock.
    pub fn finish_and_take(&self, taken: Taken, outcome: Outcome) -> (Finished, Option<Taken>) {
        let mut guard = self.lock();
        let finished = self.decide(&mut guard.state, &taken, outcome);
        let next = guard.state.take();
        self.unlock(guard);
        (finished, next)
    }

    fn decide(&self, state: &mut State, taken: &Taken, outcome: Outcome) -> Finished {
        let before = state.next_due();
        let finished = state.finish(taken.slot, outcome, || (Instant::now(), rand::random()));
        if matches!(finished, Finished::Retrying { .. } | Finished::PutOff) && state.next_due() != before {
            self.due.notify_one();
        }
        finished
    }

    /// Unlocks, and wakes those who wait for the queue to be idle if it is.
    fn unlock(&self, mut guard: MutexGuard<'_, Guarded>) {
        let wake = guard.watched && guard.state.is_idle();
        guard.watched &= !wake;
        drop(guard);
        if wake {
            self.idle.notify_waiters();
        }
    }

    /// Makes retries that are due ready to be taken. Returns how many workers the caller must start.
    #[must_use = "a worker that is to be started counts as running"]
    pub fn wake_due(&self, now: Instant) -> usize {
        let mut guard = self.lock();
        guard.state.wake_due(now);
        guard.state.start_workers()
    }

    /// When the next retry is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.lock().state.next_due()
    }

    /// Waits until [`next_due`](Self::next_due) is earlier than it was. For one timer: a change while nobody waits is kept for
    /// the next call.
    pub async fn due_changed(&self) {
        self.due.notified().await;
    }

    /// Lets nothing more in: what is pushed from now on is counted and dropped. What is queued is handed out, and retries go on.
    pub fn close(&self) {
        self.lock().state.close();
    }

    /// Waits until nothing is queued, retrying or in flight, whether the queue is closed or not.
    pub async fn idle(&self) {
        loop {
            // Made before the look, so that a change right after it is not missed.
            let idle = self.idle.notified();
            {
                let mut guard = self.lock();
                if guard.state.is_idle() {
                    return;
                }
                guard.watched = true;
            }
            idle.await;
        }
    }

    /// Drops everything that is queued, retrying or in flight, because the time to drain is up, and closes the queue. Gives the
    /// messages in the order they came, with the attempts that were made of each. Outcomes of those in flight change nothing any more.
    pub fn abandon(&self) -> Vec<(Arc<Message>, u32)> {
        let mut guard = self.lock();
        let left = guard.state.abandon();
        self.unlock(guard);
        left
    }

    /// One consistent look.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().state.snapshot()
    }
}
