//! The subscription connection: connect, sign in, subscribe, receive, and come back when it breaks.
//!
//! | stage | module |
//! |---|---|
//! | read the wire | [`resp`] finds [`item`]s in bytes, [`reader`] in a stream |
//! | one signed-in connection | [`session`] and its `halves`; [`failure`] says why there is none |
//! | one live session: read, ping, prove rotated credentials | `live`, `credentials` |
//! | keep one alive for as long as the process runs | [`receiver`] |
//! | hand its messages to the queues | [`routes`] |
//! | what others may know of it | [`state`], and [`servers`] of all when an app has channels on several |

mod credentials;
mod cursor;
pub mod failure;
mod halves;
pub mod item;
mod live;
pub mod reader;
pub mod receiver;
pub mod resp;
pub mod routes;
#[cfg(test)]
mod scripted;
pub mod servers;
pub mod session;
pub mod state;
pub mod subscription;
