//! The queue as simple as can be, for the model test: one list of messages, scanned for every question. Slow, and easy to see
//! to be right.

use std::{sync::Arc, time::Instant};

use spinredis_crds::{
    defaults::Limits,
    dispatch::{Ordering, WhenFull},
};

use super::{Counts, DropReason, Message, Outcome};
use crate::call::FailureKind;

#[derive(Clone, Copy, PartialEq)]
enum At {
    Queued,
    InFlight,
    Retrying(Instant),
    Handled,
    Failed(FailureKind),
    Dropped(DropReason),
}

struct Item {
    message: Message,
    /// What of its bytes does not count against the bound.
    beyond: u64,
    at: At,
    attempts: u32,
    /// Of those, the ones after the first that have ended.
    retries: u64,
}

/// What the queue should be.
pub struct Reference {
    limits: Limits,
    /// Every message there ever was: the one with sequence n at place n - 1.
    items: Vec<Item>,
    too_large: Vec<usize>,
    /// Sequences that are queued, channel by channel, in their order.
    lines: Vec<(Arc<str>, Vec<u64>)>,
    /// Channels that are ready, in the order of their turns.
    turns: Vec<Arc<str>>,
    /// What messages that were shed had beyond the bound, until the others are down to it.
    inherited: u64,
    closed: bool,
}

impl Reference {
    pub fn new(limits: Limits) -> Self {
        Self { limits, items: Vec::new(), too_large: Vec::new(), lines: Vec::new(), turns: Vec::new(), inherited: 0, closed: false }
    }

    /// Says which messages go for it, perhaps itself.
    pub fn push(&mut self, message: Message) -> Vec<u64> {
        let sequence = self.items.len() as u64 + 1;
        let (channel, cost) = (message.channel.clone(), message.cost());
        let beyond = cost.min(message.beyond.saturating_sub(self.beyond() + self.inherited));
        let is_full = cost > beyond && self.bounded() + cost - beyond > self.limits.queue_bytes && self.waiting() > 0;
        let at = match self.limits.when_full {
            _ if self.closed => At::Dropped(DropReason::Drain),
            WhenFull::DropNewest if is_full => At::Dropped(DropReason::QueueFull),
            _ => At::Queued,
        };
        self.items.push(Item { message: Message { sequence, ..message }, beyond, at, attempts: 0, retries: 0 });
        if at != At::Queued {
            return vec![sequence];
        }
        self.line(&channel).push(sequence);
        self.update_turn(&channel);
        let mut dropped = Vec::new();
        while self.limits.when_full == WhenFull::DropOldest
            && cost > beyond
            && self.bounded() > self.limits.queue_bytes
            && self.waiting() > 1
        {
            let victim = match self.count(|item| item.at == At::Queued) {
                0 | 1 => self.sequences(|item| matches!(item.at, At::Retrying(_)))[0],
                _ => {
                    let weight = |line: &[u64]| line.iter().map(|&sequence| self.item(sequence).message.cost()).sum::<u64>();
                    let most = self.lines.iter().map(|(_, line)| weight(line)).max().unwrap();
                    self.lines.iter().filter(|(_, line)| weight(line) == most).map(|(_, line)| line[0]).min().unwrap()
                }
            };
            self.change(victim, At::Dropped(DropReason::QueueFull));
            dropped.push(victim);
            self.inherited += self.item(victim).beyond;
        }
        dropped
    }

    pub fn count_too_large(&mut self, subscription: usize) {
        self.too_large.push(subscription);
    }

    /// The sequence that is next, and which attempt.
    pub fn take(&mut self) -> Option<(u64, u32)> {
        let channel = self.turns.first().cloned()?;
        self.turns.remove(0); // its next turn is the last
        let sequence = self.line(&channel)[0];
        self.items[sequence as usize - 1].attempts += 1;
        self.change(sequence, At::InFlight);
        self.inherited = self.inherited.min((self.bytes() - self.beyond()).saturating_sub(self.limits.queue_bytes));
        Some((sequence, self.item(sequence).attempts))
    }

    /// `due`: when it is tried again, if it is.
    pub fn finish(&mut self, sequence: u64, outcome: Outcome, due: Option<Instant>) {
        let item = &mut self.items[sequence as usize - 1];
        item.retries += u64::from(item.attempts > 1 && !matches!(outcome, Outcome::PutOff(_)));
        match (outcome, due) {
            (Outcome::PutOff(_), Some(due)) => {
                self.items[sequence as usize - 1].attempts -= 1;
                self.change(sequence, At::Retrying(due));
            }
            (_, Some(due)) => self.change(sequence, At::Retrying(due)),
            (Outcome::Handled, None) => self.change(sequence, At::Handled),
            (Outcome::Failed { kind, .. }, None) => self.change(sequence, At::Failed(kind)),
            (Outcome::PutOff(_), None) => unreachable!("what is put off waits"),
            (Outcome::Moved, None) => self.change(sequence, At::Dropped(DropReason::Moved)),
        }
    }

    pub fn may_retry(&self, sequence: u64, outcome: Outcome) -> bool {
        let Outcome::Failed { kind, retry } = outcome else { return false };
        retry && kind != FailureKind::Rejected && self.item(sequence).attempts < self.limits.retry.max_attempts
    }

    pub fn wake_due(&mut self, now: Instant) {
        while let Some(due) = self.next_due().filter(|&due| due <= now) {
            let sequence = self.sequences(|item| item.at == At::Retrying(due))[0];
            let channel = self.item(sequence).message.channel.clone();
            self.line(&channel).insert(0, sequence);
            self.items[sequence as usize - 1].at = At::Queued;
            self.update_turn(&channel);
        }
    }

    pub fn close(&mut self) {
        self.closed = true;
    }

    pub fn abandon(&mut self) -> Vec<u64> {
        (self.closed, self.inherited) = (true, 0);
        let left = self.sequences(|item| matches!(item.at, At::Queued | At::InFlight | At::Retrying(_)));
        left.iter().for_each(|&sequence| self.change(sequence, At::Dropped(DropReason::Drain)));
        left
    }

    pub fn last_sequence(&self) -> u64 {
        self.items.len() as u64
    }

    pub fn is_in_flight(&self, sequence: u64) -> bool {
        self.item(sequence).at == At::InFlight
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.items.iter().filter_map(|item| if let At::Retrying(due) = item.at { Some(due) } else { None }).min()
    }

    pub fn oldest(&self) -> Option<Instant> {
        self.items.iter().find(|item| matches!(item.at, At::Queued | At::Retrying(_))).map(|item| item.message.received)
    }

    pub fn waiting(&self) -> usize {
        self.count(|item| matches!(item.at, At::Queued | At::Retrying(_)))
    }

    pub fn bytes(&self) -> u64 {
        self.sum(|item| item.message.cost())
    }

    fn beyond(&self) -> u64 {
        self.sum(|item| item.beyond)
    }

    /// Bytes that wait and count against the bound.
    pub fn bounded(&self) -> u64 {
        (self.bytes() - self.beyond()).saturating_sub(self.inherited)
    }

    pub fn cost(&self, sequence: u64) -> u64 {
        self.item(sequence).message.cost()
    }

    /// Over everything that waits.
    fn sum(&self, of: impl Fn(&Item) -> u64) -> u64 {
        self.items.iter().filter(|item| matches!(item.at, At::Queued | At::Retrying(_))).map(of).sum()
    }

    pub fn takeable(&self) -> usize {
        match self.limits.ordering {
            Ordering::Channel => self.turns.len(),
            Ordering::None => self.count(|item| item.at == At::Queued),
        }
    }

    /// Channels of which something is left, each with how many of it are in flight or retrying.
    pub fn channels(&self) -> Vec<(Arc<str>, usize)> {
        let mut channels: Vec<(Arc<str>, usize)> = Vec::new();
        for item in &self.items {
            let busy = match item.at {
                At::Queued => 0,
                At::InFlight | At::Retrying(_) => 1,
                _ => continue,
            };
            match channels.iter_mut().find(|(channel, _)| *channel == item.message.channel) {
                Some((_, count)) => *count += busy,
                None => channels.push((item.message.channel.clone(), busy)),
            }
        }
        channels
    }

    pub fn counts(&self, subscription: usize) -> Counts {
        let mut counts = Counts::default();
        for item in self.items.iter().filter(|item| item.message.subscription == subscription) {
            counts.receive(item.message.source);
            counts.retries += item.retries;
            match item.at {
                At::Queued => counts.queued += 1,
                At::InFlight => counts.in_flight += 1,
                At::Retrying(_) => counts.retrying += 1,
                At::Handled => counts.handled += 1,
                At::Failed(kind) => counts.failed[kind.index()] += 1,
                At::Dropped(reason) => counts.drop_one(reason),
            }
        }
        let too_large = self.too_large.iter().filter(|&&of| of == subscription).count() as u64;
        counts.received += too_large;
        counts.dropped[DropReason::TooLarge as usize] += too_large;
        counts
    }

    fn item(&self, sequence: u64) -> &Item {
        &self.items[sequence as usize - 1]
    }

    fn count(&self, is: impl Fn(&Item) -> bool) -> usize {
        self.items.iter().filter(|item| is(item)).count()
    }

    fn sequences(&self, is: impl Fn(&Item) -> bool) -> Vec<u64> {
        self.items.iter().filter(|item| is(item)).map(|item| item.message.sequence).collect()
    }

    fn line(&mut self, channel: &Arc<str>) -> &mut Vec<u64> {
        let place = self.lines.iter().position(|(of, _)| of == channel).unwrap_or_else(|| {
            self.lines.push((channel.clone(), Vec::new()));
            self.lines.len() - 1
        });
        &mut self.lines[place].1
    }

    /// Moves a message on that is queued or in flight, or drops one.
    fn change(&mut self, sequence: u64, at: At) {
        self.items[sequence as usize - 1].at = at;
        let channel = self.item(sequence).message.channel.clone();
        self.line(&channel).retain(|&other| other != sequence);
        self.update_turn(&channel);
    }

    fn update_turn(&mut self, channel: &Arc<str>) {
        let is_busy = self.channels().iter().any(|(of, busy)| of == channel && *busy > 0);
        let is_ready = !self.line(channel).is_empty() && (self.limits.ordering == Ordering::None || !is_busy);
        if !is_ready {
            self.turns.retain(|of| of != channel);
        } else if !self.turns.contains(channel) {
            self.turns.push(channel.clone());
        }
    }
}
