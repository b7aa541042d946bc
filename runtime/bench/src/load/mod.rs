//! The load: messages published to the real Redis, as fast as they are handled ([`closed`]) or at a given rate ([`open`]).
//!
//! It runs on the thread that calls it, so that its processor time can be told from that of what is measured.

pub mod closed;
pub mod open;
mod publisher;

pub use publisher::Publisher;
