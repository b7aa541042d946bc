//! Dead letters: messages that failed for good, kept in a Redis stream until somebody looks.
//!
//! | what | module |
//! |---|---|
//! | one dead letter and the fields of its stream entry | [`entry`] |
//! | which components keep dead letters, in which stream of which server | [`place`] |
//! | the connection to a server, with a time limit for each answer | [`link`] |
//! | what an error of Redis means for a stream, in a sentence | [`trouble`] |
//! | letters that wait to be written, bounded | [`waiting`] |
//! | writes them, and tries again | [`writer`] |
//! | leaves a letter before the message is tried | [`advance`] |
//! | takes entries back and hands them to their component | [`redrive`] |
//! | what a person does with a stream | [`archive`] |
//!
//! What fails between the moment a message failed and the moment its letter is written loses the letter: the buffer is in
//! memory, and a process that is killed takes it along. A letter may be in the stream twice when a connection breaks after
//! Redis has written it and before it has said so; that is the price of not losing it.

pub mod advance;
pub mod archive;
pub mod entry;
mod group;
pub mod link;
pub mod place;
mod receipt;
pub mod redrive;
mod reply;
mod stride;
pub mod trouble;
mod waiting;
pub mod writer;

use std::time::Duration;

use rand::RngExt;

/// A random part of a time, at least half of it, so that those who failed together do not try together.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(rand::rng().random_range(0.5..1.0))
}
