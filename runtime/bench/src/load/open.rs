//! An open load: messages at a given rate whatever is handled, each with the time it was published at. Measures latency.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;

use super::Publisher;
use crate::probe::Probe;

/// How long the last messages may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How one round runs.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// Messages in a second.
    pub rate: u32,
    /// Not measured, at the beginning.
    pub warm_up: Duration,
    /// Measured.
    pub measured: Duration,
}

/// Runs one round; gives the latencies in nanoseconds, from just before the message is written to Redis until it is handled.
///
/// An arm that is slower than the rate falls behind, and its latencies say so; one that is behind by more than 30 s is an error.
pub fn run(open: Open, publisher: &mut Publisher, probe: &Probe) -> anyhow::Result<Vec<f64>> {
    probe.attach();
    let before = probe.handled();
    let warm = push(open, publisher, probe, open.warm_up)?;
    probe.wait_for(before + warm, Instant::now() + PATIENCE);
    probe.take_latencies();
    let sent = push(open, publisher, probe, open.measured)?;
    let wanted = before + warm + sent;
    ensure!(
        probe.wait_for(wanted, Instant::now() + PATIENCE) >= wanted,
        "messages are missing: {} of {wanted} are handled",
        probe.handled()
    );
    Ok(probe.take_latencies())
}

fn push(open: Open, publisher: &mut Publisher, probe: &Probe, time: Duration) -> anyhow::Result<u64> {
    let start = Instant::now();
    let total = due(open.rate, time);
    let mut sent = 0;
    while sent < total {
        let now_due = due(open.rate, start.elapsed()).min(total);
        publisher.publish((sent..now_due).map(|_| probe.now()))?;
        sent = now_due;
        // The next one's time. The thread sleeps a little longer than asked, and takes what became due meanwhile.
        let next = Duration::from_secs_f64((sent + 1) as f64 / f64::from(open.rate));
        thread::sleep(next.saturating_sub(start.elapsed()));
    }
    Ok(total)
}

/// Messages to be sent within the time since the beginning.
fn due(rate: u32, elapsed: Duration) -> u64 {
    (elapsed.as_secs_f64() * f64::from(rate)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_their_rate() {
        assert_eq!(due(2_000, Duration::from_micros(499)), 0);
        assert_eq!(due(2_000, Duration::from_micros(501)), 1);
        assert_eq!(due(15_000, Duration::from_secs(2)), 30_000);
    }
}
