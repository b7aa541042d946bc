//! One signed-in connection: it asks for subscriptions and gives what Redis sends as events.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    time::timeout,
};

use super::{
    connect::{ConnectError, Endpoint, Stream},
    resp::{Frame, ReadError, Reader, command},
};

/// How long Redis may take to answer a command while signing in, or to take one at any time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A channel or a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subscription {
    /// An exact channel: SUBSCRIBE.
    Channel(String),
    /// A glob pattern: PSUBSCRIBE.
    Pattern(String),
}

impl Subscription {
    /// The name as it stands in the manifest.
    pub fn name(&self) -> &str {
        match self {
            Subscription::Channel(name) | Subscription::Pattern(name) => name,
        }
    }

    fn verb(&self) -> &'static [u8] {
        match self {
            Subscription::Channel(_) => b"SUBSCRIBE",
            Subscription::Pattern(_) => b"PSUBSCRIBE",
        }
    }
}

/// What Redis sends.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A subscription is acknowledged.
    Subscribed(Subscription),
    /// A subscription is refused, with Redis's own words.
    Refused(Subscription, String),
    /// A message for a subscription.
    Message {
        /// Which of ours it matched.
        subscription: Subscription,
        /// The channel it was published on.
        channel: String,
        /// What was published; `Err` with the length in bytes when it was over the bound.
        payload: Result<Bytes, u64>,
    },
    /// An answer to PING, or to UNSUBSCRIBE.
    Other,
}

/// Why a session could not begin or broke.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Redis refuses user or password.
    #[error("{address} refuses to sign in {user}: {error}; correct {origin}")]
    Auth {
        /// Server.
        address: String,
        /// As whom.
        user: String,
        /// Redis's own words.
        error: String,
        /// Where the password comes from.
        origin: String,
    },
    /// Redis wants a password and there is none.
    #[error("{0} wants a password and the app has none: name a Secret in trigger.passwordFrom")]
    NoPassword(String),
    /// Redis refuses a command for want of a permission.
    #[error("{address} does not permit {what}: {error}")]
    Permission {
        /// Server.
        address: String,
        /// Which command.
        what: String,
        /// Redis's own words.
        error: String,
    },
    /// Redis refuses something else.
    #[error("{address} refuses {what}: {error}")]
    Refused {
        /// Server.
        address: String,
        /// Which command.
        what: String,
        /// Redis's own words.
        error: String,
    },
    /// TLS was fine for us and not for the server.
    #[error("{address} refuses our certificate, or that we present none: {error}; correct trigger.tls.clientCertificateFrom")]
    ClientCertificate {
        /// Server.
        address: String,
        /// What the TLS library says.
        error: io::Error,
    },
    /// The connection broke.
    #[error("the connection to {address} broke: {error}")]
    Broken {
        /// Server.
        address: String,
        /// How.
        error: ReadError,
    },
    /// Nothing was heard for too long.
    #[error("{0} does not answer any more: the connection is half-open")]
    Silent(String),
}

/// A signed-in connection that has not asked for anything yet.
pub struct Session {
    address: String,
    reader: Reader<ReadHalf<Box<dyn Stream>>>,
    writer: WriteHalf<Box<dyn Stream>>,
}

/// What was asked and not yet answered; Redis answers in the order of the commands, whether it permits them or not.
type Pending = Arc<Mutex<VecDeque<Asked>>>;

enum Asked {
    Subscription(Subscription),
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

impl Session {
    /// Connects, signs in, names the connection and selects the database.
    pub async fn open(endpoint: &Endpoint, client_name: &str, max_message_bytes: u64) -> Result<Self, SessionError> {
        let stream = endpoint.connect().await?;
        let (reader, writer) = tokio::io::split(stream);
        let mut session = Self { address: endpoint.address.to_string(), reader: Reader::new(reader, max_message_bytes), writer };
        session.sign_in(endpoint).await?;
        // The name is for people who look at CLIENT LIST; a server that does not permit it is no worse to serve from.
        session.ask("CLIENT SETNAME", &[b"CLIENT", b"SETNAME", client_name.as_bytes()]).await.or_else(pass_over_refusal)?;
        if endpoint.address.database > 0 {
            let database = endpoint.address.database.to_string();
            match session.ask(&format!("SELECT {database}"), &[b"SELECT", database.as_bytes()]).await {
                // Pub/sub does not know databases, so a user who may not select one subscribes all the same.
                Err(SessionError::Permission { .. }) => {}
                other => other?,
            }
        }
        Ok(session)
    }

    async fn sign_in(&mut self, endpoint: &Endpoint) -> Result<(), SessionError> {
        let user = endpoint.username.as_deref();
        let password = match (&endpoint.password, user) {
            (Some(password), _) => password.as_str(),
            // A user without a password (ACL `nopass`) takes any; to be somebody else instead would be wrong.
            (None, Some(_)) => "",
            // PING tells whether a password is wanted, so that the answer names the cause.
            (None, None) => return self.ask("PING", &[b"PING"]).await.or_else(pass_over_refusal),
        };
        let parts: Vec<&[u8]> = [Some(&b"AUTH"[..]), user.map(str::as_bytes), Some(password.as_bytes())].into_iter().flatten().collect();
        match self.ask("AUTH", &parts).await {
            Err(SessionError::Refused { address, error, .. } | SessionError::Permission { address, error, .. }) => {
                Err(SessionError::Auth {
                    address,
                    user: user.map_or("the default user".to_owned(), |user| format!("user {user}")),
                    error,
                    origin: endpoint.password_origin.clone(),
                })
            }
            other => other,
        }
    }

    /// Sends one command and reads its answer, which must not be an error.
    async fn ask(&mut self, what: &str, parts: &[&[u8]]) -> Result<(), SessionError> {
        send(&mut self.writer, &self.address, &command(parts)).await?;
        let frame = timeout(ANSWER_TIMEOUT, self.reader.frame()).await.map_err(|_| SessionError::Silent(self.address.clone()))?;
        let Frame::Error(error) = frame.map_err(|error| broken(&self.address, error))? else { return Ok(()) };
        let (address, what) = (self.address.clone(), what.to_owned());
        Err(match error.split(' ').next() {
            Some("NOAUTH") => SessionError::NoPassword(address),
            Some("NOPERM") => SessionError::Permission { address, what, error },
            _ => SessionError::Refused { address, what, error },
        })
    }

    /// The two halves, to be used side by side.
    pub fn split(self) -> (Events, Commands) {
        let pending = Pending::default();
        let events = Events { address: self.address.clone(), reader: self.reader, pending: pending.clone() };
        (events, Commands { address: self.address, writer: self.writer, pending })
    }
}

impl Commands {
    /// Asks for subscriptions, each by a command of its own, so that a refusal is about one of them. The answers come as
    /// events.
    pub async fn subscribe(&mut self, subscriptions: impl IntoIterator<Item = Subscription>) -> Result<(), SessionError> {
        let mut commands = Vec::new();
        for subscription in subscriptions {
            commands.extend(command(&[subscription.verb(), subscription.name().as_bytes()]));
            lock(&self.pending).push_back(Asked::Subscription(subscription));
        }
        send(&mut self.writer, &self.address, &commands).await
    }

    /// Asks for an answer, to see whether the connection lives.
    pub async fn ping(&mut self) -> Result<(), SessionError> {
        lock(&self.pending).push_back(Asked::Ping);
        send(&mut self.writer, &self.address, &command(&[b"PING"])).await
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
    /// The next event. An event that was begun is lost when this future is dropped before it is ready.
    pub async fn next(&mut self) -> Result<Event, SessionError> {
        let frame = self.reader.frame().await.map_err(|error| broken(&self.address, error))?;
        Ok(self.interpret(frame))
    }

    fn interpret(&mut self, frame: Frame) -> Event {
        match frame {
            // A user may lack the permission for PING too: then the refusal is the sign of life.
            Frame::Error(error) => self.answered().map_or(Event::Other, |subscription| Event::Refused(subscription, error)),
            Frame::Array(elements) => self.push(elements),
            Frame::Simple(_) => self.pong(),
            _ => Event::Other,
        }
    }

    /// The subscription whose answer came, if the answer is to one.
    fn answered(&mut self) -> Option<Subscription> {
        match lock(&self.pending).pop_front() {
            Some(Asked::Subscription(subscription)) => Some(subscription),
            Some(Asked::Ping) | None => None,
        }
    }

    fn pong(&mut self) -> Event {
        lock(&self.pending).pop_front_if(|asked| matches!(asked, Asked::Ping));
        Event::Other
    }

    fn push(&mut self, elements: Vec<Frame>) -> Event {
        let mut elements = elements.into_iter();
        let Some(Frame::Bulk(kind)) = elements.next() else { return Event::Other };
        match &kind[..] {
            b"subscribe" | b"psubscribe" => self.answered().map_or(Event::Other, Event::Subscribed),
            b"pong" => self.pong(),
            b"message" => {
                let Some(channel) = text(elements.next()) else { return Event::Other };
                message(Subscription::Channel(channel.clone()), channel, elements.next())
            }
            b"pmessage" => {
                let (Some(pattern), Some(channel)) = (text(elements.next()), text(elements.next())) else { return Event::Other };
                message(Subscription::Pattern(pattern), channel, elements.next())
            }
            _ => Event::Other,
        }
    }
}

async fn send(writer: &mut WriteHalf<Box<dyn Stream>>, address: &str, bytes: &[u8]) -> Result<(), SessionError> {
    let written = async {
        writer.write_all(bytes).await?;
        writer.flush().await
    };
    match timeout(ANSWER_TIMEOUT, written).await {
        Ok(written) => written.map_err(|error| broken(address, ReadError::Io(error))),
        Err(_) => Err(SessionError::Silent(address.to_owned())),
    }
}

fn broken(address: &str, error: ReadError) -> SessionError {
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

/// Passes over a refused command that the session can do without.
fn pass_over_refusal(error: SessionError) -> Result<(), SessionError> {
    match error {
        SessionError::Permission { .. } | SessionError::Refused { .. } => Ok(()),
        other => Err(other),
    }
}

fn text(frame: Option<Frame>) -> Option<String> {
    match frame {
        Some(Frame::Bulk(bytes)) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    }
}

fn message(subscription: Subscription, channel: String, payload: Option<Frame>) -> Event {
    let payload = match payload {
        Some(Frame::Bulk(bytes)) => Ok(bytes),
        Some(Frame::TooLarge(length)) => Err(length),
        _ => return Event::Other,
    };
    Event::Message { subscription, channel, payload }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(stream: &'static [u8], asked: impl IntoIterator<Item = Asked>) -> Events {
        let stream: Box<dyn Stream> = Box::new(tokio::io::join(stream, tokio::io::sink()));
        let (reader, _) = tokio::io::split(stream);
        let pending = Arc::new(Mutex::new(asked.into_iter().collect()));
        Events { address: "redis://test".into(), reader: Reader::new(reader, 10), pending }
    }

    #[tokio::test]
    async fn answers_belong_to_subscriptions_in_the_order_they_were_asked() {
        let stream = b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n-NOPERM no\r\n";
        let (a, b) = (Subscription::Channel("a".into()), Subscription::Pattern("b*".into()));
        let mut events = events(stream, [a.clone(), b.clone()].map(Asked::Subscription));
        assert_eq!(events.next().await.unwrap(), Event::Subscribed(a.clone()));
        assert_eq!(
            events.next().await.unwrap(),
            Event::Message { subscription: a, channel: "a".into(), payload: Ok(Bytes::from_static(b"hi")) }
        );
        assert_eq!(events.next().await.unwrap(), Event::Refused(b, "NOPERM no".into()));
        assert!(matches!(events.next().await, Err(SessionError::Broken { error: ReadError::Closed, .. })));
    }

    #[tokio::test]
    async fn a_refused_ping_is_no_refused_subscription() {
        let stream = b"-NOPERM ping\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n-NOPERM b\r\n";
        let (a, b) = (Subscription::Channel("a".into()), Subscription::Channel("b".into()));
        let asked = [Asked::Ping, Asked::Subscription(a.clone()), Asked::Ping, Asked::Subscription(b.clone())];
        let mut events = events(stream, asked);
        let expected = [Event::Other, Event::Subscribed(a), Event::Other, Event::Refused(b, "NOPERM b".into())];
        for event in expected {
            assert_eq!(events.next().await.unwrap(), event);
        }
    }

    #[tokio::test]
    async fn a_pattern_message_knows_its_channel_and_a_large_payload_its_length() {
        let stream = b"*4\r\n$8\r\npmessage\r\n$2\r\nb*\r\n$2\r\nbc\r\n$11\r\n12345678901\r\n";
        let event = events(stream, []).next().await.unwrap();
        assert_eq!(event, Event::Message { subscription: Subscription::Pattern("b*".into()), channel: "bc".into(), payload: Err(11) });
    }
}
