//! The parts of a run, each of which can run alone.

pub mod latency;
pub mod memory;
pub mod overload;
pub mod start;
pub mod throughput;

/// The channel of every part.
pub const CHANNEL: &str = "bench";
