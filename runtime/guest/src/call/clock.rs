//! The clock that makes guest code yield: it moves the engines' epochs, and only while a handler runs.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use wasmtime::Engine;

/// How often guest code yields, and so how exactly a deadline is kept in a loop.
const TICK: Duration = Duration::from_millis(10);
/// Ticks without a call after which the clock stops: at moderate load it should not be stopped and started for each message,
/// which costs a system call, and a stopped one takes no processor time at all.
const TICKS_BEFORE_REST: u32 = 100;

/// One more handler that began, in the upper half of the counter.
const BEGUN: u64 = 1 << 32;
/// One more handler that runs, in the lower half.
const RUNNING: u64 = 1;

/// Counts the handlers that run, and ticks while there are any.
#[derive(Clone, Default)]
pub struct Clock(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// How many handlers began, and how many of them run.
    calls: AtomicU64,
    rests: AtomicBool,
    thread: OnceLock<thread::Thread>,
}

/// A handler that runs; ends when it is dropped.
pub(super) struct Running<'a>(&'a Shared);

impl Clock {
    /// Starts ticking these engines on a thread of its own, which no guest and no socket can hold up. Called once.
    pub fn start(&self, engines: Vec<Engine>) -> io::Result<()> {
        let shared = self.0.clone();
        let handle = thread::Builder::new().name("clock".into()).spawn(move || shared.run(&engines))?;
        let _ = self.0.thread.set(handle.thread().clone());
        // It may have come to rest before its name was known.
        handle.thread().unpark();
        Ok(())
    }

    pub(super) fn run(&self) -> Running<'_> {
        self.0.calls.fetch_add(BEGUN | RUNNING, Ordering::SeqCst);
        if self.0.rests.load(Ordering::SeqCst)
            && let Some(thread) = self.0.thread.get()
        {
            self.0.rests.store(false, Ordering::SeqCst);
            thread.unpark();
        }
        Running(&self.0)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(RUNNING, Ordering::SeqCst);
    }
}

impl Shared {
    fn run(&self, engines: &[Engine]) {
        let (mut seen, mut quiet) = (0, 0);
        loop {
            let calls = self.calls.load(Ordering::SeqCst);
            quiet = if calls == seen && calls as u32 == 0 { quiet + 1 } else { 0 };
            seen = calls;
            if quiet > TICKS_BEFORE_REST {
                self.rest(calls);
                quiet = 0;
            }
            thread::sleep(TICK);
            engines.iter().for_each(Engine::increment_epoch);
        }
    }

    /// Waits until a handler begins. `seen` is the counter when there was none.
    fn rest(&self, seen: u64) {
        self.rests.store(true, Ordering::SeqCst);
        // A handler that began before the flag was there did not wake us.
        while self.calls.load(Ordering::SeqCst) == seen && self.rests.load(Ordering::SeqCst) {
            thread::park();
        }
        self.rests.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_wakes_a_clock_that_rests() {
        let clock = Clock::default();
        clock.start(Vec::new()).unwrap();
        let wait_for = |rests| {
            while clock.0.rests.load(Ordering::SeqCst) != rests {
                thread::sleep(TICK);
            }
        };
        wait_for(true);
        let running = clock.run();
        wait_for(false);
        drop(running);
        wait_for(true);
    }
}
