//! The subscription connection: connect, sign in, subscribe, receive, and come back when it breaks.
//!
//! [`resp`] reads and writes the wire format, [`connect`] opens TCP or TLS, [`session`] is one signed-in connection,
//! [`receiver`] keeps a session alive and hands its messages to the queues, [`state`] is what others may know of it, and
//! [`servers`] of all of them, when an app has channels on several.

pub mod connect;
pub mod receiver;
pub mod resp;
pub mod routes;
pub mod servers;
pub mod session;
pub mod state;
