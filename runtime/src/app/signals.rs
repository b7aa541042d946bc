//! SIGTERM and SIGINT, listened to from the beginning so that none is missed: the first process of a container does not get a
//! signal's ordinary effect.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Requests to stop.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Listens from here on. Needs tokio's context.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
