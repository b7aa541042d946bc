//! One component's queue: bounded in bytes, and the place where every message is counted.
//!
//! The unit of counting is one delivery to one component. Under one lock, and so in every snapshot,
//! **received = handled + failed + dropped + queued + in flight**, for each subscription; no term is computed from the others.
//! When the queue is full the oldest messages go, since with pub/sub the newest is worth most.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use spinredis_crds::defaults::QUEUE_ENTRY_OVERHEAD;
use tokio::sync::Notify;

use crate::guest::FailureKind;

/// A message on its way to a component.
#[derive(Clone, Debug)]
pub struct Message {
    /// The channel it was published on.
    pub channel: String,
    /// What was published.
    pub payload: Bytes,
    /// The component's subscription that matched, as a place in its list.
    pub subscription: usize,
    /// The server it came from, without credentials.
    pub address: Arc<str>,
    /// When it was received.
    pub received: Instant,
}

impl Message {
    /// What it counts against the bound, in bytes.
    fn cost(&self) -> u64 {
        (self.payload.len() + self.channel.len()) as u64 + QUEUE_ENTRY_OVERHEAD
    }
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The queue was full.
    QueueFull,
    /// The payload is larger than a message may be.
    TooLarge,
    /// The time to drain was up.
    Drain,
}

impl DropReason {
    /// All reasons, in the order of their places in [`Counts::dropped`].
    pub const ALL: [DropReason; 3] = [DropReason::QueueFull, DropReason::TooLarge, DropReason::Drain];

    /// Label value in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue_full",
            DropReason::TooLarge => "too_large",
            DropReason::Drain => "drain",
        }
    }
}

/// What became of the messages of one subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Deliveries received.
    pub received: u64,
    /// Handled without error.
    pub handled: u64,
    /// Failed, by [`FailureKind::index`].
    pub failed: [u64; FailureKind::ALL.len()],
    /// Dropped, in the order of [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Waiting.
    pub queued: u64,
    /// Being handled.
    pub in_flight: u64,
}

/// One consistent look at a queue.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Counts of each subscription.
    pub counts: Vec<Counts>,
    /// Bytes that wait.
    pub queued_bytes: u64,
    /// When the oldest waiting message was received.
    pub oldest: Option<Instant>,
}

/// What a subscription of a component is called in the manifest: the `subscription` label of metrics.
pub type SubscriptionName = String;

/// The queue of one component.
pub struct Queue {
    component: String,
    subscriptions: Vec<SubscriptionName>,
    max_bytes: u64,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    waiting: VecDeque<Message>,
    bytes: u64,
    counts: Vec<Counts>,
    closed: bool,
}

impl Queue {
    /// An empty queue for a component and its subscriptions.
    pub fn new(component: &str, subscriptions: Vec<SubscriptionName>, max_bytes: u64) -> Self {
        let counts = vec![Counts::default(); subscriptions.len()];
        Self {
            component: component.to_owned(),
            subscriptions,
            max_bytes,
            state: Mutex::new(State { waiting: VecDeque::new(), bytes: 0, counts, closed: false }),
            changed: Notify::new(),
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

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held is impossible short of running out of memory; the counts stay usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message in. Never waits: what does not fit pushes out the oldest. An empty queue takes any message, so that
    /// the largest payload a connection lets through can be handled; the bound is that of the queue or of one message.
    pub fn push(&self, message: Message) {
        let mut state = self.state();
        let cost = message.cost();
        state.counts[message.subscription].received += 1;
        if state.closed {
            state.counts[message.subscription].drop_one(DropReason::Drain);
            return;
        }
        while state.bytes + cost > self.max_bytes {
            let Some(oldest) = state.take() else { break };
            state.counts[oldest.subscription].drop_one(DropReason::QueueFull);
        }
        state.bytes += cost;
        state.counts[message.subscription].queued += 1;
        state.waiting.push_back(message);
        drop(state);
        self.changed.notify_one();
    }

    /// Counts a message whose payload was too large to be taken in.
    pub fn count_too_large(&self, subscription: usize) {
        let mut state = self.state();
        state.counts[subscription].received += 1;
        state.counts[subscription].drop_one(DropReason::TooLarge);
    }

    /// The next message, now in flight; `None` once the queue is closed and empty.
    pub async fn next(&self) -> Option<Message> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state();
                if let Some(message) = state.take() {
                    state.counts[message.subscription].in_flight += 1;
                    return Some(message);
                }
                if state.closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Counts what became of a message that [`next`](Self::next) gave.
    pub fn finish(&self, subscription: usize, outcome: Result<(), FailureKind>) {
        let mut state = self.state();
        let counts = &mut state.counts[subscription];
        if counts.in_flight == 0 {
            return; // it was counted as abandoned a moment ago
        }
        counts.in_flight -= 1;
        match outcome {
            Ok(()) => counts.handled += 1,
            Err(kind) => counts.failed[kind.index()] += 1,
        }
    }

    /// Lets [`next`](Self::next) end once everything that waits was taken.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Drops everything that waits or is in flight, because the time to drain is up. Returns how many that were.
    pub fn abandon(&self) -> u64 {
        let mut state = self.state();
        state.closed = true;
        state.waiting.clear();
        state.bytes = 0;
        let mut abandoned = 0;
        for counts in &mut state.counts {
            let left = std::mem::take(&mut counts.queued) + std::mem::take(&mut counts.in_flight);
            counts.dropped[DropReason::Drain as usize] += left;
            abandoned += left;
        }
        abandoned
    }

    /// One consistent look.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state();
        Snapshot { counts: state.counts.clone(), queued_bytes: state.bytes, oldest: state.waiting.front().map(|message| message.received) }
    }
}

impl State {
    fn take(&mut self) -> Option<Message> {
        let message = self.waiting.pop_front()?;
        self.bytes -= message.cost();
        self.counts[message.subscription].queued -= 1;
        Some(message)
    }
}

impl Counts {
    fn drop_one(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    /// Whether every received message is accounted for.
    pub fn balances(&self) -> bool {
        let failed: u64 = self.failed.iter().sum();
        let dropped: u64 = self.dropped.iter().sum();
        self.received == self.handled + failed + dropped + self.queued + self.in_flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message {
            channel: "c".into(),
            payload: Bytes::copy_from_slice(text.as_bytes()),
            subscription: 0,
            address: "redis://r".into(),
            received: Instant::now(),
        }
    }

    fn queue_for(messages: u64) -> Queue {
        Queue::new("a", vec!["c".into()], messages * (QUEUE_ENTRY_OVERHEAD + 2))
    }

    fn counts(queue: &Queue) -> Counts {
        let counts = queue.snapshot().counts[0];
        assert!(counts.balances(), "{counts:?}");
        counts
    }

    #[tokio::test]
    async fn a_full_queue_drops_the_oldest_and_counts_it() {
        let queue = queue_for(2);
        for text in ["1", "2", "3"] {
            queue.push(message(text));
            counts(&queue);
        }
        assert_eq!(counts(&queue).dropped, [1, 0, 0]);
        assert_eq!(queue.next().await.unwrap().payload, "2");
        queue.finish(0, Ok(()));
        assert_eq!(queue.next().await.unwrap().payload, "3");
        queue.finish(0, Err(FailureKind::Trap));
        let counts = counts(&queue);
        assert_eq!((counts.handled, counts.failed, counts.queued, counts.in_flight), (1, [0, 1, 0, 0, 0], 0, 0));
    }

    #[tokio::test]
    async fn an_empty_queue_takes_a_message_larger_than_its_bound() {
        let queue = queue_for(1);
        queue.push(message("1"));
        queue.push(message(&"x".repeat(1000)));
        assert_eq!((counts(&queue).dropped, counts(&queue).queued), ([1, 0, 0], 1));
        queue.push(message("2"));
        assert_eq!(queue.next().await.unwrap().payload, "2");
    }

    #[tokio::test]
    async fn a_closed_queue_gives_what_it_holds_and_ends() {
        let queue = queue_for(4);
        queue.push(message("1"));
        queue.close();
        queue.push(message("late"));
        assert_eq!(queue.next().await.unwrap().payload, "1");
        queue.finish(0, Ok(()));
        assert!(queue.next().await.is_none());
        assert_eq!(counts(&queue).dropped, [0, 0, 1]);
    }

    #[tokio::test]
    async fn abandoning_counts_what_waits_and_what_is_in_flight() {
        let queue = queue_for(4);
        queue.push(message("1"));
        queue.push(message("2"));
        queue.next().await.unwrap();
        assert_eq!(queue.abandon(), 2);
        assert_eq!(counts(&queue).dropped, [0, 0, 2]);
    }
}
