//! The right to begin messages: it lasts until the group may take us for dead. A replica that was stopped for a while and goes on
//! finds its lease run out, and begins nothing that others may be doing by now.
//!
//! The group removes a member that has not beaten for the expiry time by the server's clock. A beat that was sent at some moment reached
//! the server no earlier, so from the moment of sending the same time by our own clock is safe, whatever either clock shows.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::until::until;

/// The lease of one stay in the group.
pub struct Lease {
    since: Instant,
    /// Nanoseconds after `since`.
    until: AtomicU64,
    revoked: AtomicBool,
    changed: Notify,
}

impl Lease {
    /// One that is not granted yet.
    pub fn new() -> Self {
        Self { since: Instant::now(), until: AtomicU64::new(0), revoked: AtomicBool::new(false), changed: Notify::new() }
    }

    /// A beat that was sent at this time was taken.
    pub fn extend(&self, sent: Instant, expiry: Duration) {
        let until = (sent + expiry).saturating_duration_since(self.since).as_nanos();
        self.until.fetch_max(u64::try_from(until).unwrap_or(u64::MAX), Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Others do what was not begun.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Whether it was taken away for good.
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    /// Whether it holds now.
    pub fn holds(&self) -> bool {
        self.holds_at(Instant::now())
    }

    /// Whether it held at this time.
    pub fn holds_at(&self, time: Instant) -> bool {
        !self.is_revoked() && time.saturating_duration_since(self.since).as_nanos() < u128::from(self.until.load(Ordering::Acquire))
    }

    /// Waits until it holds or is revoked, and says whether it holds. A server that is away keeps everybody from beginning anything:
    /// nobody can tell then whether the others have taken over.
    pub async fn granted(&self) -> bool {
        self.until(|| self.holds() || self.is_revoked()).await;
        self.holds()
    }

    /// Waits until it is taken away for good.
    pub async fn revoked(&self) {
        self.until(|| self.is_revoked()).await;
    }

    async fn until(&self, is: impl Fn() -> bool) {
        until(&self.changed, || is().then_some(())).await;
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lease_holds_from_a_beat_for_the_expiry_time_and_not_after_it_was_revoked() {
        let lease = Lease::new();
        assert!(!lease.holds());
        lease.extend(Instant::now(), Duration::from_secs(60));
        assert!(lease.granted().await);
        lease.revoke();
        assert!(!lease.granted().await);
    }

    #[tokio::test]
    async fn one_that_has_run_out_is_waited_for() {
        let lease = std::sync::Arc::new(Lease::new());
        lease.extend(Instant::now(), Duration::from_nanos(1));
        let waiting = tokio::spawn({
            let lease = lease.clone();
            async move { lease.granted().await }
        });
        tokio::task::yield_now().await;
        lease.extend(Instant::now(), Duration::from_secs(60));
        assert!(waiting.await.unwrap());
    }
}
