//! The rules of the queue, one by one; here what these tests share.

mod bounds;
mod life;
mod turns;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use spinredis_crds::{
    defaults::{Limits, QUEUE_ENTRY_OVERHEAD, RetryLimits},
    dispatch::{Ordering, WhenFull},
};

use super::*;

/// Limits that are in nobody's way.
pub fn limits() -> Limits {
    Limits {
        timeout: Duration::from_secs(1),
        memory: 0,
        concurrency: 4,
        ordering: Ordering::Channel,
        warm: 0,
        max_reuse: 1,
        queue_bytes: 1 << 20,
        when_full: WhenFull::DropOldest,
        retry: RetryLimits { max_attempts: 1, initial_backoff: Duration::from_secs(10), max_backoff: Duration::from_secs(60) },
    }
}

const FAILED: Outcome = Outcome::Failed { kind: FailureKind::GuestError, retry: true };

fn retrying(max_attempts: u32) -> Limits {
    Limits { retry: RetryLimits { max_attempts, ..limits().retry }, ..limits() }
}

/// Room for as many messages of one byte on channels of one byte.
fn room_for(messages: u64) -> Limits {
    Limits { queue_bytes: messages * (QUEUE_ENTRY_OVERHEAD + 2), ..limits() }
}

pub fn message(channel: &str, text: &str) -> Message {
    let payload = Bytes::copy_from_slice(text.as_bytes());
    Message::new(channel.into(), payload, 0, "redis://r".into(), Instant::now(), SystemTime::now())
}

fn queue(limits: Limits) -> Queue {
    Queue::new("a", vec!["c".into()], &limits)
}

/// Messages written as channel and payload, "a1 a2 b1".
fn filled(limits: Limits, messages: &str) -> Queue {
    let queue = queue(limits);
    for text in messages.split(' ') {
        let _ = queue.push(message(&text[..1], &text[1..]));
    }
    queue
}

fn name(taken: &Taken) -> String {
    format!("{}{}", taken.message.channel, String::from_utf8_lossy(&taken.message.payload))
}

fn take(queue: &Queue) -> Taken {
    queue.take().expect("something to take")
}

fn handle_all(queue: &Queue) -> String {
    let mut names = Vec::new();
    while let Some(taken) = queue.take() {
        names.push(name(&taken));
        queue.finish(taken, Outcome::Handled);
    }
    names.join(" ")
}

fn counts(queue: &Queue) -> Counts {
    let counts = queue.snapshot().counts[0];
    assert!(counts.balances(), "{counts:?}");
    counts
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
