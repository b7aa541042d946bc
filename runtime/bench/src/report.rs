//! What a run found: written as JSON, printed by [`crate::table`], judged by [`crate::goals`].

use serde::Serialize;

use crate::{arms::Kind, goals::Goal};

/// Everything a run found. Parts that did not run are empty.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// Closed window.
    pub throughput: Vec<Throughput>,
    /// How far two threads of pure computing get over one, measured between the rounds: the best round's figures.
    pub control: Option<f64>,
    /// Open load.
    pub latency: Vec<Latency>,
    /// Four times what the handler takes.
    pub overload: Option<Overload>,
    /// Idle components.
    pub memory: Vec<Memory>,
    /// From the start of the process to the subscription.
    pub start: Vec<Start>,
    /// The goals, met and missed.
    pub goals: Vec<Goal>,
}

/// Where a run took place.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    /// Name of the processor.
    pub processor: String,
    /// How many.
    pub processors: usize,
    /// Version of Linux.
    pub kernel: String,
    /// Version of redis-server.
    pub redis: String,
    /// Processes that wanted a processor in the minute before, on average. Above 0.5 others disturbed the run.
    pub load: String,
}

/// One arm in the closed window.
#[derive(Clone, Debug, Serialize)]
pub struct Throughput {
    /// Which kind of arm.
    pub arm: Kind,
    /// With which guest.
    pub guest: String,
    /// With how many workers.
    pub workers: usize,
    /// Nanoseconds for a message, in the best round.
    pub wall: f64,
    /// Nanoseconds of processor time for a message in the best round, without Redis and the load.
    pub cpu: f64,
    /// Median of the rounds' times over the best: 1.0 when nothing disturbed them.
    pub spread: f64,
}

/// One arm under a given rate.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// Which kind of arm.
    pub arm: Kind,
    /// Messages in a second.
    pub rate: u32,
    /// Microseconds that half of all messages do not exceed, in the best round.
    pub p50: f64,
    /// Microseconds that 99 of 100 messages do not exceed, in the best round.
    pub p99: f64,
}

/// The runtime under more than it can handle.
#[derive(Clone, Debug, Serialize)]
pub struct Overload {
    /// Seconds it lasted.
    pub seconds: f64,
    /// Messages published in a second.
    pub published_rate: f64,
    /// Messages handled in a second.
    pub handled_rate: f64,
    /// Most anonymous memory above that before and the bound of the queue, in bytes; below zero when there was less.
    pub above_bound: f64,
    /// How often Redis ended the connection, or the runtime lost it.
    pub disconnects: f64,
    /// Most messages by which the two sides of the equation differed in one read of the metrics, and by which those published
    /// and those received differed in the end.
    pub unaccounted: f64,
    /// Reads of the metrics meanwhile.
    pub reads: usize,
    /// Messages dropped because the queue was full.
    pub dropped: f64,
}

/// A process with idle components.
#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    /// How many components.
    pub components: usize,
    /// Anonymous memory once all are subscribed and every one has handled a message, in bytes.
    pub anonymous: f64,
}

/// One guest from the start of the process to its subscription.
#[derive(Clone, Debug, Serialize)]
pub struct Start {
    /// Which guest.
    pub guest: String,
    /// Milliseconds with prepared code, in the best round.
    pub prepared: f64,
    /// Milliseconds when the code is compiled at start.
    pub compiling: f64,
}
