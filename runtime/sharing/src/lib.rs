//! How replicas of an app split what is published on plain Redis channels, so that each message is handled once: the protocol
//! as a pure state machine. No network, no clock, no task; `runtime/src/sharing` is the edge that has those.
//!
//! One Redis server delivers what is published on it to all its subscribers in one order. A **marker** is a message in that
//! order too: it names the members of the group from this place on. So all replicas change their mind at the same message,
//! and each knows of every message whose it is, without asking.
//!
//! | what | module |
//! |---|---|
//! | whose a message is | [`share`] |
//! | the text of markers, reports and answers | [`wire`] |
//! | the script that changes the group in Redis, and its arguments | [`script`] |
//! | messages of others, kept until their owner has finished them | [`ring`] |
//! | messages of its own that wait until others have finished earlier ones | `held` |
//! | what of its own a replica has finished | [`progress`], `line` |
//! | who was a member when, as one replica sees it | [`epoch`] |
//! | messages that may have brought a replica down, and how they are tried again | [`trial`] |
//! | one replica's part: what to handle, keep, replay, wait for and report | [`group`] |
//!
//! docs/delivery.md says what this promises to those who run it.

pub mod epoch;
pub mod group;
mod held;
mod line;
pub mod progress;
pub mod ring;
pub mod script;
pub mod share;
pub mod trial;
pub mod wire;

use std::sync::Arc;

/// The name of one incarnation of a replica: of one stay in the group. A replica that loses its place comes back as another.
pub type Id = Arc<str>;
