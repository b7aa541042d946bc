//! Where every arm tells that it has handled a message: counting, latency, and waking the load when there is room for more.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::Thread,
    time::Instant,
};

/// Length of the timestamp at the beginning of a payload.
pub const STAMP: usize = 8;

/// What one arm has handled in one round.
pub struct Probe {
    /// Timestamps count from here.
    epoch: Instant,
    handled: AtomicU64,
    /// The count of handled messages at which the load wants to be woken.
    wake_at: AtomicU64,
    load: Mutex<Option<Thread>>,
    /// Nanoseconds between a payload's timestamp and its end, where payloads have one.
    latencies: Mutex<Vec<u64>>,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            handled: AtomicU64::new(0),
            wake_at: AtomicU64::new(u64::MAX),
            load: Mutex::default(),
            latencies: Mutex::default(),
        }
    }
}

impl Probe {
    /// Messages handled so far.
    pub fn handled(&self) -> u64 {
        self.handled.load(Ordering::SeqCst)
    }

    /// A message with this payload has been handled, just now.
    pub fn handle(&self, payload: &[u8]) {
        let stamp = payload.first_chunk::<STAMP>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if stamp != 0 {
            let latency = self.now().saturating_sub(stamp);
            self.latencies.lock().unwrap_or_else(PoisonError::into_inner).push(latency);
        }
        let handled = self.handled.fetch_add(1, Ordering::SeqCst) + 1;
        if handled == self.wake_at.load(Ordering::SeqCst)
            && let Some(load) = self.load.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
        {
            load.unpark();
        }
    }

    /// The calling thread is the load, to be unparked by [`Probe::wait_for`].
    pub fn attach(&self) {
        *self.load.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current());
    }

    /// Waits, as the attached thread, until this many messages are handled or `patience` is over; gives how many are.
    pub fn wait_for(&self, handled: u64, patience: Instant) -> u64 {
        self.wake_at.store(handled, Ordering::SeqCst);
        loop {
            let now = self.handled();
            let left = patience.saturating_duration_since(Instant::now());
            if now >= handled || left.is_zero() {
                self.wake_at.store(u64::MAX, Ordering::SeqCst);
                return now;
            }
            std::thread::park_timeout(left);
        }
    }

    /// Nanoseconds since the probe was made: a timestamp, never 0.
    pub fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// The latencies so far, in nanoseconds; they start anew.
    pub fn take_latencies(&self) -> Vec<f64> {
        std::mem::take(&mut *self.latencies.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().map(|value| value as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    #[test]
    fn only_payloads_with_a_timestamp_give_a_latency() {
        let probe = Probe::default();
        probe.handle(&[0; 64]);
        probe.handle(b"short");
        probe.handle(&probe.now().to_le_bytes());
        assert_eq!(probe.handled(), 3);
        assert_eq!(probe.take_latencies().len(), 1);
        assert_eq!(probe.take_latencies().len(), 0);
    }

    #[test]
    fn the_load_is_woken_when_enough_is_handled() {
        let probe = Arc::new(Probe::default());
        let worker = probe.clone();
        probe.attach();
        let worker = std::thread::spawn(move || (0..10).for_each(|_| worker.handle(&[])));
        assert!(probe.wait_for(10, Instant::now() + Duration::from_secs(60)) >= 10);
        worker.join().unwrap();
    }

    #[test]
    fn waiting_ends_when_patience_does() {
        let probe = Probe::default();
        probe.attach();
        probe.handle(&[]);
        assert_eq!(probe.wait_for(2, Instant::now() + Duration::from_millis(5)), 1);
    }
}
