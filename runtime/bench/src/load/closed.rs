//! A closed window: as many messages under way as the window holds, a new one for each that is handled. Measures throughput and
//! processor time.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::Publisher;
use crate::{probe::Probe, usage};

/// No arm takes longer than this for half a window.
const PATIENCE: Duration = Duration::from_secs(60);

/// How one round runs.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// Messages under way.
    pub window: u64,
    /// Not measured, at the beginning.
    pub warm_up: Duration,
    /// Measured.
    pub measured: Duration,
}

/// What one round gave, for one message.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Nanoseconds of time.
    pub wall: f64,
    /// Nanoseconds of processor time, without the load's.
    pub cpu: f64,
}

/// Runs one round and waits until everything published is handled.
pub fn run(closed: Closed, publisher: &mut Publisher, probe: &Probe) -> anyhow::Result<Figures> {
    probe.attach();
    let mut sent = probe.handled();
    push(closed, publisher, probe, &mut sent, closed.warm_up)?;
    let (start, before) = (Reading::now(probe), sent);
    push(closed, publisher, probe, &mut sent, closed.measured)?;
    let figures = start.until(&Reading::now(probe));
    ensure!(sent > before, "nothing was handled");
    ensure!(probe.wait_for(sent, Instant::now() + PATIENCE) >= sent, "messages are missing: {} of {sent} are handled", probe.handled());
    Ok(figures)
}

fn push(closed: Closed, publisher: &mut Publisher, probe: &Probe, sent: &mut u64, time: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + time;
    loop {
        // Waking for each message would measure wakings, so half a window is handled in between.
        let wanted = (*sent + closed.window / 2).saturating_sub(closed.window);
        let handled = probe.wait_for(wanted, Instant::now() + PATIENCE);
        ensure!(handled >= wanted, "nothing is handled any longer: {handled} of {sent}");
        let now = Instant::now();
        if now >= end {
            return Ok(());
        }
        let room = (handled + closed.window).saturating_sub(*sent);
        publisher.publish((0..room).map(|_| 0))?;
        *sent += room;
    }
}

struct Reading {
    at: Instant,
    handled: u64,
    cpu: u64,
}

impl Reading {
    fn now(probe: &Probe) -> Self {
        // The load is the calling thread.
        Self { at: Instant::now(), handled: probe.handled(), cpu: usage::process() - usage::thread() }
    }

    fn until(&self, end: &Self) -> Figures {
        let messages = (end.handled - self.handled) as f64;
        Figures { wall: (end.at - self.at).as_nanos() as f64 / messages, cpu: end.cpu.saturating_sub(self.cpu) as f64 / messages }
    }
}
