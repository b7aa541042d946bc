//! The model test: random operations, done to the queue and to the reference, and compared after each.
//!
//! A failure prints the seed of its run and what was done. `QUEUE_SEED=NUMBER` runs that one again; `QUEUE_RUNS` says how many.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use spinredis_crds::{
    defaults::{Limits, RetryLimits},
    dispatch::{Ordering, WhenFull},
};

use super::{Finished, Message, Outcome, Taken, reference::Reference, state::State, tests::limits};
use crate::call::FailureKind;

const SUBSCRIPTIONS: usize = 2;

/// One run.
struct Run {
    seed: u64,
    random: StdRng,
    limits: Limits,
    state: State,
    reference: Reference,
    done: Vec<String>,
    /// A clock that only the run moves.
    now: Instant,
    address: Arc<str>,
    /// Workers that were started and have not ended, and what those hold that hold something.
    workers: usize,
    held: Vec<Taken>,
    /// The last sequence that was taken from each channel.
    last: HashMap<Arc<str>, u64>,
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} with {:?}\n  {}", self.seed, self.limits, self.done.join("\n  "));
        }
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let limits = Limits {
            concurrency: random.random_range(1..6),
            ordering: if random.random() { Ordering::Channel } else { Ordering::None },
            queue_bytes: random.random_range(200..3000),
            when_full: if random.random_bool(0.75) { WhenFull::DropOldest } else { WhenFull::DropNewest },
            retry: RetryLimits {
                max_attempts: random.random_range(1..5),
                initial_backoff: Duration::from_millis(10),
                max_backoff: Duration::from_millis(50),
            },
            ..limits()
        };
        Self {
            seed,
            random,
            limits,
            state: State::new(SUBSCRIPTIONS, &limits),
            reference: Reference::new(limits),
            done: Vec::new(),
            now: Instant::now(),
            address: "redis://r".into(),
            workers: 0,
            held: Vec::new(),
            last: HashMap::new(),
        }
    }

    fn step(&mut self) {
        match self.random.random_range(0..1000) {
            0..400 => self.push(),
            400..650 => self.take(),
            650..890 => self.finish(),
            890..980 => self.wake(),
            980..994 => self.count_too_large(),
            994..998 => self.close(),
            _ => self.abandon(),
        }
        self.compare();
    }

    /// One message or a batch.
    fn push(&mut self) {
        let batch = if self.random.random_bool(0.2) { 6 } else { 1 };
        for _ in 0..batch {
            let channel: Arc<str> = format!("c{}", self.random.random_range(0..5)).into();
            let size = if self.random.random_bool(0.02) { 4000 } else { self.random.random_range(0..4) * 70 };
            let subscription = self.random.random_range(0..SUBSCRIPTIONS);
            self.now += Duration::from_micros(1);
            let payload = Bytes::from(vec![0; size]);
            let is_redriven = self.random.random_bool(0.1);
            let beyond = if self.random.random_bool(0.2) { 1500 } else { 0 };
            // A message goes with the right to handle it, of which there are no copies: so the reference gets one of its own.
            let make = || {
                let (channel, payload, address) = (channel.clone(), payload.clone(), self.address.clone());
                let message = Message::new(channel, payload, subscription, address, self.now, SystemTime::UNIX_EPOCH);
                let message = Message { beyond, ..message };
                if is_redriven { message.redriven(3, Arc::new(())) } else { message }
            };
            let (message, same) = (make(), make());
            let cost = message.cost();
            self.done.push(format!("push {size} bytes to {channel} for {subscription}"));
            let before = self.reference.bounded();
            let mut dropped = Vec::new();
            let stays = self.state.push(same, &mut dropped);
            let dropped: Vec<u64> = dropped.iter().map(|message| message.sequence).collect();
            let expected = self.reference.push(message);
            assert_eq!(dropped, expected, "which messages go");
            assert_eq!(stays, !expected.contains(&self.reference.last_sequence()), "whether the new one stays");
            // What was taken over adds nothing that counts, and may come into a queue that retries have made too full.
            let bound = self.limits.queue_bytes.max(if beyond > 0 { before } else { 0 });
            let is_bounded = self.reference.bounded() <= bound || self.reference.waiting() <= 1;
            assert!(is_bounded || !stays, "what waits is bounded after a push");
            if let Some((_, others)) = dropped.split_last() {
                let too_much = (before + cost).saturating_sub(self.limits.queue_bytes);
                let gone: u64 = others.iter().map(|&sequence| self.reference.cost(sequence)).sum();
                assert!(others.is_empty() || gone < too_much, "no more goes than has to");
            }
        }
        self.workers += self.state.start_workers();
    }

    fn take(&mut self) {
        if self.workers == self.held.len() {
            return; // there is no worker that could
        }
        let taken = self.state.take();
        self.done.push(format!("take gives {:?}", taken.as_ref().map(|taken| taken.message.sequence)));
        let expected = self.reference.take();
        assert_eq!(taken.as_ref().map(|taken| (taken.message.sequence, taken.attempt - taken.message.attempt)), expected);
        let Some(taken) = taken else {
            self.workers -= 1;
            return;
        };
        let last = self.last.insert(taken.message.channel.clone(), taken.message.sequence).unwrap_or(0);
        assert!(self.limits.ordering == Ordering::None || last <= taken.message.sequence, "the order of a channel is kept");
        self.held.push(taken);
    }

    fn finish(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let taken = self.held.swap_remove(self.random.random_range(0..self.held.len()));
        let outcome = match self.random.random_range(0..10) {
            0..3 => Outcome::Handled,
            3 => Outcome::PutOff(Duration::from_millis(7)),
            4 => Outcome::Moved,
            5 => Outcome::Failed { kind: FailureKind::Rejected, retry: true },
            6 => Outcome::Failed { kind: FailureKind::Trap, retry: false },
            _ => Outcome::Failed { kind: FailureKind::GuestError, retry: true },
        };
        self.finish_with(taken, outcome);
    }

    fn finish_with(&mut self, taken: Taken, outcome: Outcome) {
        let sequence = taken.message.sequence;
        let (now, jitter) = (self.now, self.random.random());
        let finished = self.state.finish(taken.slot, outcome, || (now, jitter));
        self.done.push(format!("finish {sequence} with {outcome:?} gives {finished:?}"));
        if !self.reference.is_in_flight(sequence) {
            assert_eq!(finished, Finished::Abandoned);
            return;
        }
        let due = match finished {
            Finished::PutOff => Some(now + Duration::from_millis(7)),
            Finished::Retrying { after } => {
                assert!(after >= self.limits.retry.initial_backoff / 2 && after <= self.limits.retry.max_backoff);
                Some(now + after)
            }
            _ => None,
        };
        let is_put_off = matches!(outcome, Outcome::PutOff(_));
        assert_eq!(due.is_some(), is_put_off || self.reference.may_retry(sequence, outcome), "whether it is tried again");
        assert_eq!(finished == Finished::Handled, outcome == Outcome::Handled);
        self.reference.finish(sequence, outcome, due);
    }

    fn wake(&mut self) {
        self.now += Duration::from_millis(self.random.random_range(0..30));
        self.done.push("wake what is due".into());
        self.state.wake_due(self.now);
        self.workers += self.state.start_workers();
        self.reference.wake_due(self.now);
    }

    fn count_too_large(&mut self) {
        self.state.count_too_large(0);
        self.reference.count_too_large(0);
    }

    fn close(&mut self) {
        self.done.push("close".into());
        self.state.close();
        self.reference.close();
    }

    fn abandon(&mut self) {
        let left: Vec<u64> = self.state.abandon().iter().map(|(message, _)| message.sequence).collect();
        self.done.push(format!("abandon {left:?}"));
        assert_eq!(left, self.reference.abandon());
    }

    fn compare(&self) {
        let snapshot = self.state.snapshot();
        for (subscription, counts) in snapshot.counts.iter().enumerate() {
            assert!(counts.balances(), "{counts:?}");
            assert_eq!(*counts, self.reference.counts(subscription));
        }
        assert_eq!(snapshot.queued_bytes, self.reference.bytes(), "bytes");
        assert_eq!(snapshot.oldest, self.reference.oldest(), "the oldest that waits");
        assert_eq!(self.state.next_due(), self.reference.next_due(), "when the next retry is due");
        let channels = self.reference.channels();
        assert_eq!(snapshot.lanes, channels.len(), "lanes of channels of which nothing is left are freed");
        assert_eq!(self.state.is_idle(), channels.is_empty());
        let one_each = channels.iter().all(|(_, busy)| *busy <= 1);
        assert!(one_each || self.limits.ordering == Ordering::None, "one in flight or retrying for each channel");
        assert_eq!(snapshot.workers, self.workers, "workers");
        assert!(self.workers <= self.limits.concurrency, "no more workers than may be");
        let about_to_take = self.workers - self.held.len();
        let all_come = self.reference.takeable() <= about_to_take || self.workers == self.limits.concurrency;
        assert!(all_come, "a worker comes for every message that can be taken");
    }

    /// Handles everything there is: nothing may be left over.
    fn run_dry(&mut self) {
        while self.workers > 0 || self.state.next_due().is_some() {
            while self.workers > self.held.len() {
                self.take();
            }
            while let Some(taken) = self.held.pop() {
                self.finish_with(taken, Outcome::Handled);
            }
            if let Some(due) = self.state.next_due() {
                self.now = due;
                self.wake();
            }
            self.compare();
        }
        assert!(self.state.is_idle(), "a message waits for a worker that never comes");
    }
}

#[test]
fn the_queue_does_what_the_reference_does() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("QUEUE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("QUEUE_RUNS").unwrap_or(3000),
    };
    for seed in seeds {
        let mut run = Run::new(seed);
        let steps = run.random.random_range(20..200);
        (0..steps).for_each(|_| run.step());
        run.run_dry();
    }
}
