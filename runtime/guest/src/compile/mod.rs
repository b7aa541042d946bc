//! Makes runnable code of a component: finds its handler, compiles it ahead of time, and keeps the result by content.
//!
//! `prepare` runs everything here, within the bounds of [`bounded`]; `serve` only maps what [`artifact`] left behind.

pub mod adapt;
pub mod artifact;
pub mod bounded;
pub mod engine;
pub mod handler;
pub mod outline;
pub mod pool;
pub mod prune;
mod weight;

use spinredis_crds::report::shorten;

/// How much of what a compiler says is repeated, in bytes: it holds names that strangers chose.
const MAX_FOREIGN_BYTES: usize = 1_000;

/// What a compiler says, on one line and not longer than a message may be.
pub fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    shorten(&words, MAX_FOREIGN_BYTES).chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}
