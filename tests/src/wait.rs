//! Waiting for a condition: asked again and again until it holds or patience ends.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a condition may take to come true. Long, because a busy machine is not a bug; a test that passes never
/// waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a condition.
const INTERVAL: Duration = Duration::from_millis(10);

/// The value that `probe` gives once it gives one. `Err` says what was seen instead, for the failure message.
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(PATIENCE, what, probe)
}

/// The same with other patience, for what takes long by its nature.
pub fn eventually_within<T>(patience: Duration, what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(seen) if Instant::now() > deadline => panic!("{what}: not within {patience:?}; last seen: {seen}"),
            Err(_) => thread::sleep(INTERVAL),
        }
    }
}
