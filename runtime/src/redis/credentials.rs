//! Sees that the files behind a connection change, and proves the new ones on a connection of their own.
//!
//! Redis does not end a connection whose password changed, and neither do we: what was rotated is used at the next connect.
//! Whether that will work is better known now than in the next outage.

use std::{
    convert::Infallible,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use spinredis_crds::{Connection, defaults::MAX_MESSAGE_BYTES};
use tokio::time::{Instant, sleep};

use super::{
    session::{Session, SessionError},
    state::SubscriptionState,
};
use crate::{connect::Endpoint, references::References};

/// How often the files are looked at while the app is subscribed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The same while it waits to connect again.
const LOOK_WHEN_WAITING: Duration = Duration::from_millis(500);
/// How often credentials that were refused are tried again: a password is often changed here first, and in Redis later.
const PROVE_AGAIN: Duration = Duration::from_secs(30);

/// What a connection is made with: what the manifest says, and the files it refers to.
#[derive(Clone)]
pub struct Credentials {
    /// Server and references.
    pub server: Connection,
    /// Values of references.
    pub references: Arc<References>,
}

impl Credentials {
    /// Reads everything for a connect. With TLS not on this thread: reading the authorities that the system trusts takes a while.
    /// A password is read in microseconds, less than it takes to start a thread.
    pub async fn resolve(&self) -> Result<Endpoint, SessionError> {
        let (server, references) = (self.server.clone(), self.references.clone());
        if !Endpoint::address(&server, "trigger", &references)?.1.tls {
            return Ok(Endpoint::resolve(&server, "trigger", &references)?);
        }
        let reading = tokio::task::spawn_blocking(move || Endpoint::resolve(&server, "trigger", &references));
        let endpoint = match reading.await {
            Ok(endpoint) => endpoint,
            // The threads for this are gone while a process ends.
            Err(_) => Endpoint::resolve(&self.server, "trigger", &self.references),
        };
        Ok(endpoint?)
    }

    /// A number for what is in the files now.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for reference in self.server.references() {
            self.references.bytes(&reference).ok().hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// Looks for changes in the files behind a connection.
pub struct Watch {
    credentials: Credentials,
    seen: u64,
    look_every: Duration,
    prove_again: Duration,
}

impl Watch {
    /// A watch that takes what is there now as known.
    pub fn new(credentials: Credentials) -> Self {
        let seen = credentials.fingerprint();
        Self { credentials, seen, look_every: LOOK_EVERY, prove_again: PROVE_AGAIN }
    }

    /// Reads everything for a connect; what is read is then no change any more.
    pub async fn resolve(&mut self) -> Result<Endpoint, SessionError> {
        self.seen = self.credentials.fingerprint();
        self.credentials.resolve().await
    }

    fn look(&mut self) -> bool {
        let now = self.credentials.fingerprint();
        std::mem::replace(&mut self.seen, now) != now
    }

    /// Ends when the files differ from what was read last. May be dropped at any time.
    pub async fn changed(&mut self) {
        while !self.look() {
            sleep(LOOK_WHEN_WAITING).await;
        }
    }

    /// Beside a live subscription: proves what changes, for as long as that lives, and says how it went in log and state.
    pub async fn prove_changes(&mut self, client_name: &str, state: &SubscriptionState) -> Infallible {
        let mut refused: Option<Instant> = None;
        loop {
            sleep(self.look_every).await;
            let changed = self.look();
            if !changed && refused.is_none_or(|at| at.elapsed() < self.prove_again) {
                continue;
            }
            let problem = self.prove(client_name).await.err().map(|error| error.to_string());
            refused = problem.is_some().then(Instant::now);
            let news = state.rotated(problem.clone()) || changed;
            match problem {
                None => tracing::info!("the new credentials work: the live subscription stays, and they are used at the next connect"),
                Some(problem) if news => {
                    tracing::warn!(
                        "the new credentials do not work, and the next connect would fail; the live subscription stays: {problem}"
                    );
                }
                Some(_) => {}
            }
        }
    }

    /// Connects and signs in with what is in the files now, and leaves again.
    async fn prove(&self, client_name: &str) -> Result<(), SessionError> {
        let endpoint = self.credentials.resolve().await?;
        let session = Session::open(&endpoint, &format!("{client_name}/check"), MAX_MESSAGE_BYTES).await?;
        let (_events, mut commands) = session.split();
        // The proof is made; how the connection ends does not matter.
        let _ = commands.quit().await;
        Ok(())
    }
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
