//! One live session: reads, keeps alive, and proves changed credentials, side by side in one task, until one of them ends it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use spinredis_sharing::share::Print;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    credentials::Watch,
    item::{Payload, Published},
    reader::ReadError,
    receiver::Receiver,
    routes::Batch,
    session::{Commands, Event, Events, Session, SessionError},
    subscription::Subscription,
};

/// How often Redis is asked for an answer.
const PING_EVERY: Duration = Duration::from_secs(2);
/// A connection is half-open when nothing at all was heard for so many pings in a row, so after 6 to 8 s. A Redis that runs a
/// slow script is silent for up to 5 s (its busy-reply-threshold) and then answers `BUSY`, which is an answer: waiting for less
/// would be a false alarm then. Pings are counted and not seconds, so that a process that was itself stopped or starved
/// reads first what came meanwhile.
const PINGS_MISSED: u32 = 3;
/// A marker of 2,000 replicas and 100,000 channels is not longer, in bytes. Its checksum takes some 10 ms.
const MOST_HASHED: usize = 8 << 20;
/// Refused subscriptions are asked for again with every so many pings.
const PINGS_UNTIL_ASKED_AGAIN: u32 = 3;
/// How long Redis may take to answer a SUBSCRIBE while the connection is otherwise alive.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long Redis may take to end a session after QUIT.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);
/// After so many reads (of 64 KiB at most) in a row others on this thread have a turn: pings, shutdown, other servers.
const READS_IN_A_ROW: u32 = 16;

impl Receiver {
    /// Subscribes and receives until the connection ends or `shutdown`. `Ok` means shutdown.
    pub(super) async fn live(&self, session: Session, watch: &mut Watch, shutdown: &CancellationToken) -> Result<(), SessionError> {
        self.live_with(session, watch, shutdown, PING_EVERY).await
    }

    async fn live_with(
        &self,
        session: Session,
        watch: &mut Watch,
        shutdown: &CancellationToken,
        ping_every: Duration,
    ) -> Result<(), SessionError> {
        let (mut events, mut commands) = session.split();
        let heard = AtomicU64::new(0);
        let reading = self.read(&mut events, commands.address().into(), &heard);
        tokio::pin!(reading);
        let ended = tokio::select! {
            error = &mut reading => return Err(error),
            result = self.keep_alive(&mut commands, &heard, shutdown, ping_every) => result,
            never = watch.prove_changes(&self.client_name, &self.state) => match never {},
        };
        match ended {
            // After QUIT Redis sends what it still has and closes; only then is the reader done.
            Ok(()) => {
                if timeout(QUIT_TIMEOUT, reading).await.is_err() {
                    tracing::warn!("Redis did not close the connection within {QUIT_TIMEOUT:?} of QUIT: what it still sends is lost");
                }
                Ok(())
            }
            // Writing failed: what came before can still be read, and the reader knows better why it ended.
            Err(error @ SessionError::Broken { .. }) => Err(timeout(QUIT_TIMEOUT, reading).await.unwrap_or(error)),
            other => other,
        }
    }

    /// Reads events until the connection ends.
    async fn read(&self, events: &mut Events, address: Arc<str>, heard: &AtomicU64) -> SessionError {
        let mut batch = self.routes.batch(address.clone());
        let mut load = Load::new(Instant::now());
        let mut reads = 0;
        loop {
            let bytes = match events.fill().await {
                Ok(bytes) => bytes,
                Err(error) => return load.explain(error, Instant::now()),
            };
            heard.fetch_add(1, Ordering::Relaxed);
            let now = Instant::now();
            load.add(bytes, now);
            batch.begin(now.into_std());
            if let Err(error) = self.hand_over(events, &mut batch, &address) {
                return error;
            }
            reads += 1;
            if reads % READS_IN_A_ROW == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Hands over what was read: into the queues, or to the desk of those that share, all under one lock.
    fn hand_over(&self, events: &mut Events, batch: &mut Batch<'_>, address: &str) -> Result<(), SessionError> {
        let mut desk = self.sharing.as_ref().map(|sharing| (sharing, sharing.desk()));
        let result = loop {
            let message = match events.event() {
                Ok(Some(Event::Message(message))) => self.bounded(message),
                Ok(Some(event)) => {
                    // Whoever enters or leaves the group wants the desk for itself, and what was received before is in the queues by then.
                    batch.flush();
                    drop(desk.take());
                    self.note(event, address);
                    desk = self.sharing.as_ref().map(|sharing| (sharing, sharing.desk()));
                    continue;
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            match &mut desk {
                None => batch.add(message, None),
                Some((sharing, desk)) if message.channel == sharing.channel().as_bytes() => {
                    // A pattern of the app's own may match the control channel too: markers are no messages of the app.
                    if message.pattern.is_none() {
                        let marker = match &message.payload {
                            Payload::Small(bytes) => bytes,
                            Payload::Large(bytes) => &bytes[..],
                            Payload::TooLarge(_) => &[],
                        };
                        // A stranger's that is longer than any marker is not worth its checksum.
                        let marker = if marker.len() > MOST_HASHED { &[] } else { marker };
                        sharing.control(desk, marker).into_iter().for_each(|ours| batch.add_ours(ours));
                    }
                }
                Some((_, desk)) => batch.add(message, Some(desk)),
            }
        };
        batch.flush();
        result
    }

    /// Markers may be longer than messages of the app.
    fn bounded<'a>(&self, message: Published<'a>) -> Published<'a> {
        let length = match &message.payload {
            Payload::Small(bytes) => bytes.len() as u64,
            Payload::Large(bytes) => bytes.len() as u64,
            Payload::TooLarge(_) => return message,
        };
        match &self.sharing {
            Some(sharing) if length > self.max_message_bytes && message.channel != sharing.channel().as_bytes() => {
                Published { payload: Payload::TooLarge(length), ..message }
            }
            _ => message,
        }
    }

    /// Once Redis has answered for everything, this replica may have a share of what it permits.
    fn enter(&self) {
        let Some(sharing) = &self.sharing else { return };
        if !self.state.is_answered() || !sharing.is_heard() {
            return;
        }
        let prints = self.routes.subscriptions().enumerate().map(|(number, subscription)| {
            let print = Print::of(subscription.name(), matches!(subscription, Subscription::Pattern(_)));
            (print, self.routes.is_ordered(number), self.state.has(subscription))
        });
        sharing.enter(&prints.collect::<Vec<_>>());
    }

    fn is_control(&self, subscription: &Subscription) -> bool {
        let Some(sharing) = &self.sharing else { return false };
        matches!(subscription, Subscription::Channel(name) if name == sharing.channel())
            && !self.routes.subscriptions().any(|own| own == subscription)
    }

    fn note(&self, event: Event<'_>, address: &str) {
        match event {
            Event::Subscribed(subscription) if self.is_control(&subscription) => {
                self.sharing.iter().for_each(|sharing| sharing.heard(None));
                self.enter();
            }
            Event::Refused(subscription, error) if self.is_control(&subscription) => {
                self.sharing.iter().for_each(|sharing| sharing.heard(Some(&error)));
            }
            Event::Subscribed(subscription) => {
                tracing::debug!(channel = subscription.name(), "subscribed");
                if let Some(missing) = self.state.subscribed(subscription) {
                    self.announce(address, missing);
                }
                self.enter();
            }
            Event::Refused(subscription, error) => {
                // It is asked for again and again; one line says it.
                if self.state.refused(subscription.clone(), error.clone()) {
                    tracing::warn!(channel = subscription.name(), "Redis refuses the subscription: {error}");
                }
                self.enter();
            }
            Event::Message(_) | Event::Other => {}
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
    async fn keep_alive(
        &self,
        commands: &mut Commands,
        heard: &AtomicU64,
        shutdown: &CancellationToken,
        ping_every: Duration,
    ) -> Result<(), SessionError> {
        commands.subscribe(self.subscriptions()).await?;
        let (mut last, mut missed, mut pings) = (0, 0, 0_u32);
        loop {
            tokio::select! {
                () = sleep(ping_every) => {}
                () = shutdown.cancelled() => {
                    if let Some(sharing) = &self.sharing {
                        sharing.leave().await;
                    }
                    return commands.quit().await;
                }
            }
            let now = heard.load(Ordering::Relaxed);
            missed = if now == last { missed + 1 } else { 0 };
            last = now;
            if missed >= PINGS_MISSED {
                return Err(SessionError::Silent(commands.address().to_owned()));
            }
            if commands.unanswered() > SUBSCRIBE_TIMEOUT {
                return Err(SessionError::NoAnswer { address: commands.address().to_owned(), what: "SUBSCRIBE".to_owned() });
            }
            commands.ping().await?;
            pings = pings.wrapping_add(1);
            if pings % PINGS_UNTIL_ASKED_AGAIN == 0 {
                let control = self.subscriptions().take(usize::from(self.sharing.as_ref().is_some_and(|sharing| !sharing.is_heard())));
                commands.subscribe(control.chain(self.state.refused_subscriptions())).await?;
            }
        }
    }
}

/// How much comes, to guess why a connection was closed: Redis closes one whose reader is too slow without a word.
struct Load {
    /// When the present second began.
    since: Instant,
    /// Bytes in the second before, and in this one.
    bytes: [usize; 2],
}

impl Load {
    /// Much, in bytes within the last one to two seconds. Not more than a system holds for a process that does not read:
    /// nothing else is left when a process that was stopped goes on.
    const MUCH: usize = 64 << 10;
    const SECOND: Duration = Duration::from_secs(1);

    fn new(now: Instant) -> Self {
        Self { since: now, bytes: [0, 0] }
    }

    fn add(&mut self, bytes: usize, now: Instant) {
        self.turn(now);
        self.bytes[1] += bytes;
    }

    fn turn(&mut self, now: Instant) {
        let age = now - self.since;
        if age >= Self::SECOND {
            self.bytes = [if age < 2 * Self::SECOND { self.bytes[1] } else { 0 }, 0];
            self.since = now;
        }
    }

    fn explain(mut self, error: SessionError, now: Instant) -> SessionError {
        self.turn(now);
        match error {
            SessionError::Broken { address, error: error @ (ReadError::Closed | ReadError::Io(_)) }
                if self.bytes.iter().sum::<usize>() >= Self::MUCH =>
            {
                SessionError::ClosedUnderLoad { address, error }
            }
            other => other,
        }
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
