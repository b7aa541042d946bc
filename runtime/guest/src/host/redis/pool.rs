//! Idle connections that guests opened before, by address.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many connections a component may have open and idle together.
const MAX_CONNECTIONS: usize = 256;
/// How many idle connections are kept for one address.
const MAX_IDLE: usize = 16;
/// How long an idle connection is kept.
const IDLE_FOR: Duration = Duration::from_secs(60);

struct Idle {
    connection: MultiplexedConnection,
    since: Instant,
}

/// The outbound connections of one component. Components share none: the address may hold a password.
pub struct Pool {
    idle: Mutex<HashMap<String, Vec<Idle>>>,
    permits: Arc<Semaphore>,
}

impl Default for Pool {
    fn default() -> Self {
        Self { idle: Mutex::default(), permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)) }
    }
}

/// A connection in use; its place in the count is free again when it is dropped.
pub struct Lease {
    /// The connection.
    pub connection: MultiplexedConnection,
    permit: OwnedSemaphorePermit,
}

impl Pool {
    fn idle(&self) -> MutexGuard<'_, HashMap<String, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more connection in use; none when there are too many.
    pub fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().try_acquire_owned().ok()
    }

    /// An idle connection to an address, the one used last, and how long ago that was.
    pub fn take(&self, address: &str) -> Option<(MultiplexedConnection, Duration)> {
        let mut idle = self.idle();
        idle.retain(|_, connections| {
            connections.retain(|idle| idle.since.elapsed() < IDLE_FOR);
            !connections.is_empty()
        });
        idle.get_mut(address)?.pop().map(|idle| (idle.connection, idle.since.elapsed()))
    }

    /// Puts a connection that is as it was when it was opened back for the next guest.
    pub fn give_back(&self, address: &str, lease: Lease) {
        let mut idle = self.idle();
        let total: usize = idle.values().map(Vec::len).sum();
        let connections = idle.entry(address.to_owned()).or_default();
        if connections.len() < MAX_IDLE && total < MAX_CONNECTIONS {
            connections.push(Idle { connection: lease.connection, since: Instant::now() });
        }
        drop(lease.permit);
    }
}

impl Lease {
    /// A connection that counts.
    pub fn new(connection: MultiplexedConnection, permit: OwnedSemaphorePermit) -> Self {
        Self { connection, permit }
    }
}
