//! Keeps the app subscribed: one connection, made again with backoff for as long as the process runs.
//!
//! Nothing here waits for a guest. Messages go into bounded queues as they are read, so Redis never has to buffer for us.
//! Dropping the future of [`Receiver::run`] at any time closes the connection and loses only what was not read yet.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::RngExt;
use spinredis_crds::Connection;
use tokio_util::sync::CancellationToken;

use super::{
    credentials::{Credentials, Watch},
    routes::Routes,
    session::{Session, SessionError},
    state::SubscriptionState,
    subscription::Subscription,
};
use crate::{references::References, sharing::Sharing};

/// First wait after a connection is lost; it doubles with each failure.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest wait between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A marker names each replica twice in some 60 bytes, and, while an app rolls out with other channels, each channel in 17.
const LONGEST_MARKER: u64 = 1 << 20;

/// Everything the subscription needs.
pub struct Receiver {
    /// Server and credentials.
    pub server: Connection,
    /// Values of references.
    pub references: Arc<References>,
    /// Where messages go.
    pub routes: Arc<Routes>,
    /// What others may know.
    pub state: Arc<SubscriptionState>,
    /// Name of the connection in Redis's CLIENT LIST.
    pub client_name: String,
    /// A payload over this length, in bytes, is skipped.
    pub max_message_bytes: u64,
    /// This replica's part when replicas share the messages.
    pub sharing: Option<Arc<Sharing>>,
}

impl Receiver {
    /// Receives until `shutdown`, and then what Redis had sent before it was asked to stop.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut watch = Watch::new(Credentials { server: self.server.clone(), references: self.references.clone() });
        let mut failures = 0_u32;
        while !shutdown.is_cancelled() {
            let started = Instant::now();
            let Err(error) = self.session(&mut watch, &shutdown).await else { return };
            // A server that accepts and then drops is no better than one that refuses.
            failures = if started.elapsed() > BACKOFF_MAX { 1 } else { failures.saturating_add(1) };
            let message = error.to_string();
            if self.state.lost(&error) {
                let reason = error.reason().as_str();
                tracing::warn!(reason, failure = error.failure().as_str(), "not subscribed, and trying again: {message}");
            }
            let wait = backoff(failures, rand::rng().random_range(0.5..1.0));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.cancelled() => {}
                () = watch.changed() => {
                    failures = 0;
                    tracing::info!("the credentials changed: trying them at once");
                }
            }
        }
    }

    /// One session from connect to its end. `Ok` means shutdown.
    async fn session(&self, watch: &mut Watch, shutdown: &CancellationToken) -> Result<(), SessionError> {
        let connect = async {
            let endpoint = watch.resolve().await?;
            let session = Session::open(&endpoint, &self.client_name, self.longest_message()).await?;
            match &self.sharing {
                Some(_) if session.is_cluster() => Err(SessionError::Cluster(endpoint.address.to_string())),
                _ => Ok(session),
            }
        };
        let session = tokio::select! {
            session = connect => session?,
            () = shutdown.cancelled() => return Ok(()),
        };
        let ended = self.live(session, watch, shutdown).await;
        if let Some(sharing) = self.sharing.as_ref().filter(|_| ended.is_err()) {
            sharing.disconnected();
        }
        ended
    }

    /// Payloads up to this length, in bytes, are read: markers too, however short the app's own messages have to be.
    fn longest_message(&self) -> u64 {
        match self.sharing {
            Some(_) => self.max_message_bytes.max(LONGEST_MARKER),
            None => self.max_message_bytes,
        }
    }

    /// What is asked of Redis: the app's subscriptions, and before them the control channel of those that share.
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = Subscription> {
        let control = self.sharing.as_ref().map(|sharing| Subscription::Channel(sharing.channel().to_owned()));
        control.into_iter().chain(self.routes.subscriptions().cloned())
    }
}

/// How long to wait after so many failures in a row; `jitter` between 0.5 and 1 keeps many apps from coming back at once.
fn backoff(failures: u32, jitter: f64) -> Duration {
    let exponent = failures.saturating_sub(1).min(10);
    (BACKOFF_MIN * 2_u32.pow(exponent)).min(BACKOFF_MAX).mul_f64(jitter)
}

#[cfg(test)]
#[path = "receiver_tests.rs"]
mod tests;
