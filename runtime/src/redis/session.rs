//! One connection from connect to signed in; its two [halves](super::halves) then ask for subscriptions and give events.
//!
//! Which of Redis's errors end a session, and which do not:
//!
//! | error | while signing in | later, as the answer to SUBSCRIBE | as the answer to PING |
//! |---|---|---|---|
//! | `NOAUTH` | the app has no password: named | the session ends and a new one signs in | the same |
//! | `WRONGPASS`, `ERR` to AUTH | named | | |
//! | `DENIED`, too many clients | named | | |
//! | `NOPERM` | passed over, but for AUTH | that subscription is missing and named, the others go on | a sign of life |
//! | `LOADING`, `BUSY`, `MASTERDOWN`, `MISCONF` | passed over, but for AUTH | the same, asked for again | a sign of life |
//! | `READONLY`, `MOVED`, `CLUSTERDOWN` | never sent to what a subscriber asks | the same, asked for again | a sign of life |
//!
//! So a replica, a node of a cluster and a Redis that loads its data are as good as any for pub/sub, which needs no data.

use std::time::Duration;

use tokio::{
    io::{ReadHalf, WriteHalf},
    time::timeout,
};

pub use super::{
    failure::SessionError,
    halves::{Commands, Event, Events},
    subscription::Subscription,
};
use super::{
    halves::{self, broken, send},
    item::Item,
    reader::{ReadError, Reader},
    resp::command,
};
use crate::connect::{Endpoint, Stream};

/// How long Redis may take to answer a command while signing in, or to take one at any time.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A signed-in connection that has not asked for anything yet.
pub struct Session {
    address: String,
    reader: Reader<ReadHalf<Box<dyn Stream>>>,
    writer: WriteHalf<Box<dyn Stream>>,
    is_cluster: bool,
}

impl Session {
    /// Connects, signs in, names the connection and selects the database. Connecting has a bound in time, and each answer.
    pub async fn open(endpoint: &Endpoint, client_name: &str, max_message_bytes: u64) -> Result<Self, SessionError> {
        let stream = endpoint.connect().await?;
        let (reader, writer) = tokio::io::split(stream);
        let mut session =
            Self { address: endpoint.address.to_string(), reader: Reader::new(reader, max_message_bytes), writer, is_cluster: false };
        session.sign_in(endpoint).await?;
        // The name is for people who look at CLIENT LIST; a server that does not permit it is no worse to serve from.
        session.ask("CLIENT SETNAME", &[b"CLIENT", b"SETNAME", client_name.as_bytes()]).await.or_else(pass_over_refusal)?;
        session.look_at_the_server().await?;
        if endpoint.address.database > 0 {
            let database = endpoint.address.database.to_string();
            match session.ask(&format!("SELECT {database}"), &[b"SELECT", database.as_bytes()]).await {
                // Pub/sub does not know databases, so a user who may not select one subscribes all the same.
                Err(SessionError::Permission { .. }) => {}
                other => drop(other?),
            }
        }
        Ok(session)
    }

    /// A session on a stream that is signed in already.
    #[cfg(test)]
    pub(super) fn signed_in(stream: impl Stream + 'static, max_message_bytes: u64) -> Self {
        let (reader, writer) = tokio::io::split(Box::new(stream) as Box<dyn Stream>);
        Self { address: "redis://test".into(), reader: Reader::new(reader, max_message_bytes), writer, is_cluster: false }
    }

    async fn sign_in(&mut self, endpoint: &Endpoint) -> Result<(), SessionError> {
        let user = endpoint.username.as_deref();
        let password = match (&endpoint.password, user) {
            (Some(password), _) => password.as_str(),
            // A user without a password (ACL `nopass`) takes any; to be somebody else instead would be wrong.
            (None, Some(_)) => "",
            // PING tells whether a password is wanted, so that the answer names the cause.
            (None, None) => return self.ask("PING", &[b"PING"]).await.or_else(pass_over_refusal).map(drop),
        };
        let parts: Vec<&[u8]> = [Some(&b"AUTH"[..]), user.map(str::as_bytes), Some(password.as_bytes())].into_iter().flatten().collect();
        match self.ask("AUTH", &parts).await {
            Err(SessionError::Refused { address, error, .. } | SessionError::Permission { address, error, .. })
                if matches!(code(&error), "WRONGPASS" | "ERR" | "NOPERM") =>
            {
                Err(SessionError::Auth {
                    address,
                    user: user.map_or("the default user".to_owned(), |user| format!("user {user}")),
                    // Redis ends a sentence that goes on here.
                    error: error.trim_end_matches('.').to_owned(),
                    origin: endpoint.password_origin.clone(),
                })
            }
            other => other.map(drop),
        }
    }

    /// A Sentinel takes subscriptions, and then nothing ever comes. It says what it is in INFO (`redis_mode:sentinel`; Valkey
    /// may call it `server_mode`), and so does a node of a Cluster. A user who may not ask INFO is believed to know what it connects
    /// to.
    async fn look_at_the_server(&mut self) -> Result<(), SessionError> {
        let info = self.ask("INFO", &[b"INFO", b"server"]).await.or_else(pass_over_refusal)?;
        let is = |mode: &[u8]| info.split(|byte| *byte == b'\n').any(|line| line.trim_ascii().ends_with(mode));
        self.is_cluster = is(b"_mode:cluster");
        if is(b"_mode:sentinel") { Err(SessionError::Sentinel(self.address.clone())) } else { Ok(()) }
    }

    /// Whether the server is a node of a Redis Cluster, as far as it says.
    pub fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// Sends one command and reads its answer, which must not be an error. Returns the answer when it is a string.
    async fn ask(&mut self, what: &str, parts: &[&[u8]]) -> Result<Vec<u8>, SessionError> {
        send(&mut self.writer, &self.address, &command(parts)).await?;
        let answered = timeout(ANSWER_TIMEOUT, self.answer()).await;
        let no_answer = || SessionError::NoAnswer { address: self.address.clone(), what: what.to_owned() };
        let error = match answered.map_err(|_| no_answer())?.map_err(|error| broken(&self.address, error))? {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let (address, what) = (self.address.clone(), what.to_owned());
        Err(match code(&error) {
            "NOAUTH" => SessionError::NoPassword(address),
            "NOPERM" => SessionError::Permission { address, what, error },
            "DENIED" => SessionError::TurnedAway { address, error },
            _ if error.starts_with("ERR max number of clients") => SessionError::TurnedAway { address, error },
            _ => SessionError::Refused { address, what, error },
        })
    }

    async fn answer(&mut self) -> Result<Result<Vec<u8>, String>, ReadError> {
        loop {
            match self.reader.item()? {
                Some(Item::Error(error)) => return Ok(Err(text(error))),
                Some(Item::Bulk(Some(bytes))) => return Ok(Ok(bytes.to_vec())),
                Some(_) => return Ok(Ok(Vec::new())),
                None => {}
            }
            self.reader.fill().await?;
        }
    }

    /// The two halves, to be used side by side.
    pub fn split(self) -> (Events, Commands) {
        halves::new(self.address, self.reader, self.writer)
    }
}

/// Passes over a refused command that the session can do without.
fn pass_over_refusal(error: SessionError) -> Result<Vec<u8>, SessionError> {
    match error {
        SessionError::Permission { .. } | SessionError::Refused { .. } => Ok(Vec::new()),
        other => Err(other),
    }
}

/// The first word of an error: its kind.
pub(super) fn code(error: &str) -> &str {
    error.split(' ').next().unwrap_or_default()
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
