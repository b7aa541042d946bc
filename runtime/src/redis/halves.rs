//! The two halves of a session: one sends commands, the other gives what Redis sends as events.
//!
//! Redis answers in the order of the commands, so what was asked and not yet answered is all the two share.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    time::{Instant, timeout},
};

use super::{
    failure::SessionError,
    item::{Item, Published},
    reader::{ReadError, Reader},
    resp::command,
    session::{ANSWER_TIMEOUT, code, text},
    subscription::Subscription,
};
use crate::connect::Stream;

/// What Redis sends.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A subscription is acknowledged.
    Subscribed(Subscription),
    /// A subscription is refused, with Redis's own words.
    Refused(Subscription, String),
    /// A message for a subscription.
    Message(Published<'a>),
    /// An answer to PING, or to UNSUBSCRIBE.
    Other,
}

/// What was asked and not yet answered; Redis answers in the order of the commands, whether it permits them or not.
type Pending = Arc<Mutex<VecDeque<Asked>>>;

#[derive(Debug)]
enum Asked {
    Subscription(Subscription, Instant),
    Ping,
}

/// The half that gives what Redis sends.
pub struct Events {
    address: String,
    reader: Reader<ReadHalf<Box<dyn Stream>>>,
    pending: Pending,
}

/// The half that sends commands.
pub struct Commands {
    address: String,
    writer: WriteHalf<Box<dyn Stream>>,
    pending: Pending,
}

/// The halves of a connection that is signed in.
pub(super) fn new(address: String, reader: Reader<ReadHalf<Box<dyn Stream>>>, writer: WriteHalf<Box<dyn Stream>>) -> (Events, Commands) {
    let pending = Pending::default();
    (Events { address: address.clone(), reader, pending: pending.clone() }, Commands { address, writer, pending })
}

impl Commands {
    /// Asks for subscriptions, each by a command of its own, so that a refusal is about one of them. The answers come as
    /// events.
    pub async fn subscribe(&mut self, subscriptions: impl IntoIterator<Item = Subscription>) -> Result<(), SessionError> {
        let mut commands = Vec::new();
        let now = Instant::now();
        for subscription in subscriptions {
            commands.extend(command(&[subscription.verb(), subscription.name().as_bytes()]));
            lock(&self.pending).push_back(Asked::Subscription(subscription, now));
        }
        send(&mut self.writer, &self.address, &commands).await
    }

    /// Asks for an answer, to see whether the connection lives.
    pub async fn ping(&mut self) -> Result<(), SessionError> {
        lock(&self.pending).push_back(Asked::Ping);
        send(&mut self.writer, &self.address, &command(&[b"PING"])).await
    }

    /// How long the oldest SUBSCRIBE waits for its answer; zero when none does.
    pub fn unanswered(&self) -> Duration {
        let pending = lock(&self.pending);
        let asked = pending.iter().find_map(|asked| match asked {
            Asked::Subscription(_, at) => Some(at.elapsed()),
            Asked::Ping => None,
        });
        asked.unwrap_or_default()
    }

    /// Ends all subscriptions and then the connection. What Redis had sent before still comes as events.
    pub async fn quit(&mut self) -> Result<(), SessionError> {
        let commands = [command(&[b"UNSUBSCRIBE"]), command(&[b"PUNSUBSCRIBE"]), command(&[b"QUIT"])];
        send(&mut self.writer, &self.address, &commands.concat()).await
    }

    /// The server, for messages.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Events {
    /// The next event in what was read; `None` when [`fill`](Self::fill) must come first.
    pub fn event(&mut self) -> Result<Option<Event<'_>>, SessionError> {
        let Some(item) = self.reader.item().map_err(|error| broken(&self.address, error))? else { return Ok(None) };
        let event = match item {
            Item::Message(message) => Event::Message(message),
            Item::Error(error) => {
                let error = text(error);
                if code(&error) == "NOAUTH" {
                    return Err(SessionError::SignedOut { address: self.address.clone(), error });
                }
                // A user may lack the permission for PING too: then the refusal is the sign of life.
                answered(&self.pending).map_or(Event::Other, |subscription| Event::Refused(subscription, error))
            }
            Item::Push(b"subscribe" | b"psubscribe") => answered(&self.pending).map_or(Event::Other, Event::Subscribed),
            Item::Push(b"pong") | Item::Simple(_) => {
                lock(&self.pending).pop_front_if(|asked| matches!(asked, Asked::Ping));
                Event::Other
            }
            Item::Push(_) | Item::Integer(_) | Item::Bulk(_) => Event::Other,
        };
        Ok(Some(event))
    }

    /// Reads what there is. Returns how many bytes that were. May be dropped and called again: nothing is lost.
    pub async fn fill(&mut self) -> Result<usize, SessionError> {
        self.reader.fill().await.map_err(|error| broken(&self.address, error))
    }
}

/// The subscription whose answer came, if the answer is to one.
fn answered(pending: &Pending) -> Option<Subscription> {
    match lock(pending).pop_front() {
        Some(Asked::Subscription(subscription, _)) => Some(subscription),
        Some(Asked::Ping) | None => None,
    }
}

pub(super) async fn send(writer: &mut WriteHalf<Box<dyn Stream>>, address: &str, bytes: &[u8]) -> Result<(), SessionError> {
    let written = async {
        writer.write_all(bytes).await?;
        writer.flush().await
    };
    match timeout(ANSWER_TIMEOUT, written).await {
        Ok(written) => written.map_err(|error| broken(address, ReadError::Io(error))),
        Err(_) => Err(SessionError::Silent(address.to_owned())),
    }
}

pub(super) fn broken(address: &str, error: ReadError) -> SessionError {
    let address = address.to_owned();
    match error {
        // With TLS 1.3 the server looks at our certificate after the handshake, and says so instead of an answer.
        ReadError::Io(error) if is_alert(&error) => SessionError::ClientCertificate { address, error },
        error => SessionError::Broken { address, error },
    }
}

fn is_alert(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::AlertReceived(_)))
}

fn lock(pending: &Pending) -> MutexGuard<'_, VecDeque<Asked>> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "halves_tests.rs"]
mod tests;
