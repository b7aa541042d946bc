//! What the process tells of itself: log lines, metrics and traces. None of it ever makes a message wait.

pub mod log;
pub mod metrics;
pub mod traces;

mod log_writer;
