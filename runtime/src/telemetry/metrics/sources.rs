//! Where metrics are read from. Each is a value or a function that takes no time worth speaking of, called at each scrape.

use std::{sync::Arc, time::Duration};

use spinredis_crds::defaults::Limits;

use super::Histogram;
use crate::{call::InstanceCounts, queue::Queue, sharing::report::Numbers};

/// Everything that is read.
pub struct Sources {
    /// One for each component of the app.
    pub components: Vec<Component>,
    /// The subscription connections, of all servers together.
    pub connections: Box<dyn Fn() -> Connections + Send + Sync>,
    /// The groups of replicas that share messages: one for each server, none where each replica handles all.
    pub groups: Box<dyn Fn() -> Vec<Numbers> + Send + Sync>,
    /// What the process counts beside messages.
    pub process: Box<dyn Fn() -> Process + Send + Sync>,
}

/// A component.
pub struct Component {
    /// Where its messages are counted.
    pub queue: Arc<Queue>,
    /// What it runs within.
    pub limits: Limits,
    /// How long its messages took.
    pub times: Arc<Times>,
    /// Its instances.
    pub instances: Arc<InstanceCounts>,
    /// What became of its dead letters; `None` without `deadLetter`.
    pub dead_letters: Option<Box<dyn Fn() -> DeadLetters + Send + Sync>>,
}

/// How long the messages of a component took. Counted by whoever takes them from the queue.
#[derive(Default)]
pub struct Times {
    /// From being received to the first attempt; counted for that one alone.
    pub wait: Histogram,
    /// One attempt of the handler.
    pub handler: Histogram,
}

/// Dead letters of a component.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeadLetters {
    /// Written to the stream.
    pub written: u64,
    /// Dropped before they could be written.
    pub lost: u64,
    /// Attempts to write that failed.
    pub write_failures: u64,
    /// Waiting to be written.
    pub pending: u64,
    /// Entries of the stream, when last asked; `None` when Redis did not answer.
    pub stream_length: Option<u64>,
}

/// The subscription connections.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    /// Whether every subscription is acknowledged.
    pub subscribed: bool,
    /// Connections lost after they had been subscribed.
    pub reconnects: u64,
    /// Time without all subscriptions.
    pub outage: Duration,
    /// Connections that broke or could not be made, by reason; reasons that may come are there with 0.
    pub failures: Vec<(&'static str, u64)>,
}

/// What the process counts beside messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    /// Log lines that nobody read in time.
    pub log_lines_dropped: u64,
    /// Spans that were not delivered.
    pub spans_dropped: u64,
}
