//! Keeps the app subscribed: one connection, made again with backoff for as long as the process runs.
//!
//! Nothing here waits for a guest. Messages go into bounded queues as they are read, so Redis never has to buffer for us.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rand::RngExt;
use spinredis_crds::{Connection, Reason, defaults::MAX_MESSAGE_BYTES};
use tokio_util::sync::CancellationToken;

use super::{
    connect::{ConnectError, Endpoint},
    routes::Routes,
    session::{Commands, Event, Events, Session, SessionError},
    state::SubscriptionState,
};
use crate::references::References;

/// First wait after a connection is lost; it doubles with each failure.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest wait between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How often a quiet connection is asked for an answer, and refused subscriptions are asked for again.
const PING_EVERY: Duration = Duration::from_secs(5);
/// A connection that sent nothing for this long is half-open.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How long Redis may take to end a session after QUIT.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Everything the subscription needs.
pub struct Receiver {
    /// Server and credentials.
    pub server: Connection,
    /// Values of references.
    pub references: Arc<References>,
    /// Where messages go.
    pub routes: Routes,
    /// What others may know.
    pub state: Arc<SubscriptionState>,
    /// Name of the connection in Redis's CLIENT LIST.
    pub client_name: String,
}

impl Receiver {
    /// Receives until `shutdown`, and then what Redis had sent before it was asked to stop.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut failures = 0_u32;
        while !shutdown.is_cancelled() {
            let started = Instant::now();
            let Err(error) = self.session(&shutdown).await else { return };
            // A server that accepts and then drops is no better than one that refuses.
            failures = if started.elapsed() > BACKOFF_MAX { 1 } else { failures.saturating_add(1) };
            let message = error.to_string();
            if self.state.lost(reason(&error), message.clone()) {
                tracing::warn!(reason = reason(&error).as_str(), "not subscribed, and trying again: {message}");
            }
            let wait = backoff(failures, rand::rng().random_range(0.5..1.0));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// One session from connect to its end. `Ok` means shutdown.
    async fn session(&self, shutdown: &CancellationToken) -> Result<(), SessionError> {
        let connect = async {
            let endpoint = Endpoint::resolve(&self.server, "trigger", &self.references)?;
            Session::open(&endpoint, &self.client_name, MAX_MESSAGE_BYTES).await
        };
        let session = tokio::select! {
            session = connect => session,
            () = shutdown.cancelled() => return Ok(()),
        };
        let (mut events, mut commands) = session?.split();
        let heard = Mutex::new(Instant::now());
        let reading = self.read(&mut events, commands.address().into(), &heard);
        tokio::pin!(reading);
        let ended = tokio::select! {
            error = &mut reading => Err(error),
            result = self.keep_alive(&mut commands, &heard, shutdown) => result,
        };
        // After QUIT Redis sends what it still has and closes; only then is the reader done.
        if ended.is_ok() {
            let _ = tokio::time::timeout(QUIT_TIMEOUT, reading).await;
        }
        ended
    }

    /// Reads events until the connection ends.
    async fn read(&self, events: &mut Events, address: Arc<str>, heard: &Mutex<Instant>) -> SessionError {
        loop {
            let event = match events.next().await {
                Ok(event) => event,
                Err(error) => return error,
            };
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            match event {
                Event::Message { subscription, channel, payload } => self.routes.deliver(&subscription, &channel, &payload, &address),
                Event::Subscribed(subscription) => {
                    tracing::debug!(channel = subscription.name(), "subscribed");
                    if let Some(missing) = self.state.subscribed(subscription) {
                        self.announce(&address, missing);
                    }
                }
                Event::Refused(subscription, error) => {
                    // It is asked for again and again; one line says it.
                    if self.state.refused(subscription.clone(), error.clone()) {
                        tracing::warn!(channel = subscription.name(), "Redis refuses the subscription: {error}");
                    }
                }
                Event::Other => {}
            }
        }
    }

    fn announce(&self, address: &str, missing: Duration) {
        let count = self.routes.subscriptions().count();
        if missing.is_zero() {
            tracing::info!(address, "ready: subscribed to {count} channels and patterns");
        } else {
            tracing::warn!(address, ?missing, "ready again: what was published meanwhile is lost, as for every Redis pub/sub subscriber");
        }
    }

    /// Subscribes, then pings until shutdown or until the connection is found half-open.
    async fn keep_alive(&self, commands: &mut Commands, heard: &Mutex<Instant>, shutdown: &CancellationToken) -> Result<(), SessionError> {
        commands.subscribe(self.routes.subscriptions().cloned()).await?;
        loop {
            tokio::select! {
                () = tokio::time::sleep(PING_EVERY) => {}
                () = shutdown.cancelled() => return commands.quit().await,
            }
            if heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > SILENCE_MAX {
                return Err(SessionError::Silent(commands.address().to_owned()));
            }
            commands.ping().await?;
            commands.subscribe(self.state.refused_subscriptions()).await?;
        }
    }
}

/// How long to wait after so many failures in a row; `jitter` between 0.5 and 1 keeps many apps from coming back at once.
fn backoff(failures: u32, jitter: f64) -> Duration {
    let exponent = failures.saturating_sub(1).min(10);
    (BACKOFF_MIN * 2_u32.pow(exponent)).min(BACKOFF_MAX).mul_f64(jitter)
}

fn reason(error: &SessionError) -> Reason {
    match error {
        SessionError::Connect(ConnectError::Reference(_)) => Reason::MissingReference,
        SessionError::Auth { .. } | SessionError::NoPassword(_) | SessionError::ClientCertificate { .. } => Reason::RedisAuthFailed,
        SessionError::Permission { .. } => Reason::RedisPermission,
        // A malformed address or certificate too: it comes from a Secret or ConfigMap, whose correction helps without an edit.
        SessionError::Connect(_) | SessionError::Refused { .. } | SessionError::Broken { .. } | SessionError::Silent(_) => {
            Reason::RedisUnreachable
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_maximum() {
        let waits: Vec<u128> = (1..=8).map(|failures| backoff(failures, 1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff(1000, 0.5), Duration::from_millis(2500));
    }
}
