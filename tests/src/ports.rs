//! Free TCP ports, for servers that have to be told one.
//!
//! They are taken from below the range that the system gives to outgoing connections and to port 0, so that a server can
//! be stopped and started again on its port without losing it to a stranger.

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

const FIRST: u32 = 20_000;
const COUNT: u32 = 10_000;

/// A port of the loopback address that nobody listens on, given once in this process.
pub fn free() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Test programs that run side by side start at different places.
    let start = process::id().wrapping_mul(211);
    (0..COUNT)
        .map(|_| FIRST + start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .map(|port| u16::try_from(port).unwrap())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("there is no free port between 20000 and 30000")
}
