//! Calls a component's handler for the messages of its queue.
//!
//! Workers are tasks on the guests' threads, started when there is something to take and ended when there is not: a component
//! that is idle has none. A slow component delays no other, and none of them delays receiving, which runs on another thread.

mod letter;
mod recent;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use recent::{FailedAttempt, RecentFailures};

use crate::{
    call::{self, Failure, FailureKind, Handler},
    dead_letters::{
        advance::Advance,
        redrive::{Receipt, Redriven},
        writer::DeadLetters,
    },
    queue::{Finished, Inbox, Message, Outcome, Queue, Taken},
    redis::subscription::Subscription,
    sharing,
    telemetry::{
        metrics::Times,
        traces::{Attempt, AttemptEnd, ComponentTraces},
    },
};

/// So many messages after one another without waiting for anything, and a worker lets other tasks of its thread run.
const TURN: u32 = 64;

/// A dead letter that was handed out more often without an end is not handled again: a message that ends the process each time would
/// otherwise do so for ever.
const MOST_DELIVERIES: u64 = 5;

/// What is called for messages: a component's handler.
pub trait Handle: Send + Sync + 'static {
    /// Handles one message.
    fn call(&self, message: &call::Message<'_>) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Clears away what a call left, once for each call, when its outcome is known.
    fn tidy(&self) {}
}

impl Handle for Handler {
    fn call(&self, message: &call::Message<'_>) -> impl Future<Output = Result<(), Failure>> + Send {
        Handler::call(self, message)
    }

    fn tidy(&self) {
        Handler::tidy(self);
    }
}

/// One component at work.
pub struct Dispatcher<H = Handler> {
    /// `namespace/name` of the app.
    pub app: Arc<str>,
    /// Where its messages wait.
    pub queue: Arc<Queue>,
    /// What is called for them.
    pub handler: Arc<H>,
    /// Its subscriptions, in the order of their places.
    pub subscriptions: Vec<Subscription>,
    /// The threads it is called on.
    pub guests: tokio::runtime::Handle,
    /// How long messages took.
    pub times: Arc<Times>,
    /// Its last failures.
    pub failures: RecentFailures,
    /// The spans of its attempts.
    pub traces: ComponentTraces,
    /// Where messages go that failed for good.
    pub dead_letters: Option<Arc<DeadLetters>>,
    /// The workers that run.
    pub workers: Workers,
    /// Cancelled when a worker panics, which only a bug in this program makes it do.
    pub broken: CancellationToken,
}

/// Counts the workers that run, so that one can wait for the last.
#[derive(Default)]
pub struct Workers {
    running: AtomicUsize,
    ended: Notify,
}

/// A worker that runs. Its end is counted, and told if it is a panic.
struct AtWork<'a> {
    workers: &'a Workers,
    broken: &'a CancellationToken,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if self.workers.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.workers.ended.notify_waiters();
        }
        if std::thread::panicking() {
            self.broken.cancel();
        }
    }
}

impl<H: Handle> Dispatcher<H> {
    /// The way into its queue.
    pub fn inbox(self: &Arc<Self>) -> Inbox {
        let dispatcher = self.clone();
        Inbox::new(self.queue.clone(), move |workers| dispatcher.start(workers))
    }

    /// Starts workers, which end when there is nothing to take.
    fn start(self: &Arc<Self>, workers: usize) {
        self.workers.running.fetch_add(workers, Ordering::SeqCst);
        for _ in 0..workers {
            self.guests.spawn(self.clone().work());
        }
    }

    async fn work(self: Arc<Self>) {
        let _at_work = AtWork { workers: &self.workers, broken: &self.broken };
        let mut next = self.queue.take();
        let mut turn = 0;
        while let Some(taken) = next {
            next = self.attempt(taken).await;
            turn = (turn + 1) % TURN;
            if turn == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits until no worker runs.
    pub async fn at_rest(&self) {
        loop {
            let ended = self.workers.ended.notified();
            if self.workers.running.load(Ordering::SeqCst) == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Makes the messages ready whose wait for another attempt is over, for as long as it is polled.
    pub async fn time_retries(self: Arc<Self>) {
        loop {
            match self.queue.next_due() {
                Some(due) => tokio::select! {
                    () = tokio::time::sleep_until(due.into()) => self.start(self.queue.wake_due(Instant::now())),
                    () = self.queue.due_changed() => {}
                },
                None => self.queue.due_changed().await,
            }
        }
    }

    /// Calls the handler for one message, sees to what became of it, and takes the next.
    async fn attempt(&self, taken: Taken) -> Option<Taken> {
        let message = taken.message.clone();
        let attempt = taken.attempt;
        let blame = self.blame(&message);
        let mut started = Instant::now();
        let mut begun = None;
        if let Some(owned) = &message.owned {
            let beginning = match owned.begin_at(started) {
                Some(beginning) => beginning,
                None => {
                    let beginning = owned.begin(blame.is_none()).await;
                    started = Instant::now();
                    beginning
                }
            };
            let not_begun = match beginning {
                sharing::Beginning::Begun(now) => {
                    begun = Some(now);
                    None
                }
                sharing::Beginning::Later(after) => Some(Outcome::PutOff(after)),
                sharing::Beginning::Moved => Some(Outcome::Moved),
            };
            if let Some(outcome) = not_begun {
                let (app, component, channel) = (&*self.app, self.queue.component(), &*message.channel);
                tracing::debug!(app, component, channel, ?outcome, "a message is not begun");
                return self.queue.finish_and_take(taken, outcome).1;
            }
        }
        // Of a message that is tried again only the first wait counts: the others are the backoff's.
        if attempt == message.attempt + 1 {
            self.times.wait.observe(started.saturating_duration_since(message.received));
        }
        let span = self.traces.start(Attempt {
            subscription: message.subscription,
            channel: &message.channel,
            address: &message.address,
            bytes: message.payload.len(),
            received: message.received,
            sequence: message.sequence,
            attempt,
        });
        let result = match blame {
            Some(failure) => Err(failure),
            None => {
                self.leave_in_advance(&message).await;
                self.handler.call(&self.for_guest(&message, attempt)).await
            }
        };
        let took = started.elapsed();
        self.times.handler.observe(took);
        let outcome = match &result {
            Ok(()) => Outcome::Handled,
            Err(failure) => Outcome::Failed { kind: failure.kind, retry: failure.kind.may_pass() },
        };
        let (finished, next) = self.queue.finish_and_take(taken, outcome);
        self.handler.tidy();
        if let Some(span) = span {
            span.end(match &result {
                Ok(()) => AttemptEnd::Handled,
                Err(failure) => AttemptEnd::Failed {
                    reason: failure.kind.as_str(),
                    error: &failure.message,
                    retrying: matches!(finished, Finished::Retrying { .. }),
                },
            });
        }
        self.tell(&message, attempt, &result, finished, took);
        if let Err(failure) = &result {
            self.failures.add(&message, attempt, failure, matches!(finished, Finished::Retrying { .. }));
        }
        let advance = match finished {
            Finished::Handled | Finished::Failed => message.owned.as_ref().and_then(|owned| owned.take_advance(self.queue.component())),
            _ => None,
        };
        match (finished, result) {
            (Finished::Handled, _) => {
                if let (Some(advance), Some(dead_letters)) = (advance, &self.dead_letters) {
                    dead_letters.take_back(advance).await;
                }
                settle(&message);
            }
            (Finished::Failed, Err(failure)) => self.fail(&message, attempt, failure, advance).await,
            _ => {}
        }
        // Whatever the message left behind may still bring the process down.
        drop(begun);
        next
    }

    /// Of a message that a replica died with and that no other has any more.
    async fn leave_in_advance(&self, message: &Message) {
        let (app, component, crashes) = (&self.app, self.queue.component(), message.crashes());
        let owned = message.owned.as_ref().filter(|owned| owned.wants_advance(component));
        let (Some(dead_letters), Some(owned)) = (&self.dead_letters, owned) else { return };
        let error = format!("{crashes} replicas ended while they may have handled it, and this one after them");
        let entry = letter::entry(app, component, self.pattern(message), message, crashes, FailureKind::Crash.as_str(), error);
        if let Some(advance) = dead_letters.leave_in_advance(&entry).await {
            owned.keep_advance(component, advance);
        }
    }

    /// A message has failed for good: its letter takes the place of the one in advance, where there is one.
    async fn fail(&self, message: &Arc<Message>, attempt: u32, failure: Failure, advance: Option<Advance>) {
        let (reason, error) = (failure.kind.as_str(), failure.message);
        if let (Some(advance), Some(dead_letters)) = (advance, &self.dead_letters) {
            let (app, component) = (&self.app, self.queue.component());
            let entry = letter::entry(app, component, self.pattern(message), message, attempt, reason, error.clone());
            if dead_letters.replace(advance, &entry).await {
                return;
            }
        }
        self.bury(message, attempt, reason, error);
    }

    /// Of a message with which too many replicas died: it is not tried again.
    fn blame(&self, message: &Message) -> Option<Failure> {
        let crashes = message.crashes();
        let message = (crashes > 0 && crashes >= self.queue.most_crashes())
            .then(|| format!("{crashes} replicas ended while they handled it, the last of them nothing else that was in doubt"))?;
        Some(Failure { kind: FailureKind::Crash, message })
    }

    fn for_guest<'a>(&'a self, message: &'a Message, attempt: u32) -> call::Message<'a> {
        call::Message {
            payload: &message.payload,
            channel: &message.channel,
            pattern: self.pattern(message),
            address: &message.address,
            received: message.first_received,
            attempt,
            sequence: message.sequence,
        }
    }

    /// The pattern of the subscription a message came by.
    fn pattern(&self, message: &Message) -> Option<&str> {
        match self.subscriptions.get(message.subscription) {
            Some(Subscription::Pattern(pattern)) => Some(pattern),
            _ => None,
        }
    }

    fn tell(&self, message: &Message, attempt: u32, result: &Result<(), Failure>, finished: Finished, took: Duration) {
        let (app, component, channel) = (&*self.app, self.queue.component(), &*message.channel);
        let sequence = message.sequence;
        match (result, finished) {
            (Ok(()), _) => tracing::debug!(%app, %component, %channel, sequence, attempt, ?took, "message is handled"),
            (Err(failure), Finished::Retrying { after }) => {
                let reason = failure.kind.as_str();
                tracing::warn!(%app, %component, %channel, sequence, attempt, reason, ?took, again_in = ?after, "message failed: {}", failure.message);
            }
            (Err(failure), _) => {
                let reason = failure.kind.as_str();
                tracing::warn!(%app, %component, %channel, sequence, attempt, reason, ?took, "message failed for good: {}", failure.message);
            }
        }
    }

    /// Handles a dead letter again. One that was handed out too often without an end becomes a dead letter again instead: it may
    /// be what ends the process.
    pub fn redrive(self: &Arc<Self>, redriven: Redriven) {
        match &self.dead_letters {
            Some(dead_letters) if redriven.deliveries > MOST_DELIVERIES => {
                let entry = letter::unfinished(redriven.entry, redriven.deliveries);
                tracing::warn!(app = %self.app, component = self.queue.component(), channel = %entry.channel, "a dead letter stays one: {}", entry.error);
                dead_letters.push(entry, Some(redriven.receipt), None);
            }
            _ => self.inbox().deliver(std::iter::once(letter::message(redriven, &self.subscriptions))),
        }
    }

    /// Leaves a dead letter of a message that failed for good, or of one that there was no time for, if the app wants them.
    pub fn bury(&self, message: &Arc<Message>, attempts: u32, reason: &'static str, error: String) {
        let Some(dead_letters) = &self.dead_letters else { return settle(message) };
        let entry = letter::entry(&self.app, self.queue.component(), self.pattern(message), message, attempts, reason, error);
        dead_letters.push(entry, receipt(message), message.owned.is_some().then(|| message.clone()));
    }
}

/// The stream entry that a message came from, if it came from one.
fn receipt(message: &Message) -> Option<Arc<Receipt>> {
    message.receipt.clone()?.downcast().ok()
}

/// The message has had its end: the stream entry it came from is done with.
fn settle(message: &Message) {
    if let Some(receipt) = receipt(message) {
        receipt.settle();
    }
}

#[cfg(test)]
mod tests;
