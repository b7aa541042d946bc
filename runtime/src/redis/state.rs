//! What others may know of the subscription: readiness, the reason when there is none, and how long it was missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use spinredis_crds::{Reason, report::ServeStatus};

use super::{
    failure::{Failure, SessionError},
    session::code,
    subscription::Subscription,
};
use crate::report::{ServerReport, SubscriptionReport, SubscriptionStanding};

/// So many subscriptions of a server are named in a report: an app may have many thousands, and a person wants those that are
/// missing.
const REPORTED: usize = 256;

/// The state of an app's subscriptions. Shared between the receiver, which writes, and health and metrics, which read.
pub struct SubscriptionState {
    app: String,
    wanted: BTreeSet<Subscription>,
    inner: Mutex<Inner>,
}

struct Inner {
    subscribed: BTreeSet<Subscription>,
    refused: BTreeMap<Subscription, String>,
    problem: Option<(Reason, String)>,
    stopping: bool,
    was_ready: bool,
    changed: SystemTime,
    lost_at: Option<Instant>,
    outage: Duration,
    reconnects: u64,
    failures: [u64; Failure::ALL.len()],
    /// Why the credentials that were rotated in since the last connect do not work.
    rotated: Option<String>,
    share: Share,
    /// Whether everything was there when this was looked at last.
    complete: bool,
}

/// This replica's share of the messages.
#[derive(PartialEq, Eq)]
enum Share {
    /// Each replica handles every message.
    All,
    /// It owns one, as one of so many members.
    Taken(usize),
    /// It owns none now, and if that is known, why.
    Missing(Option<(Reason, String)>),
}

impl SubscriptionState {
    /// The state before the first connect, where each replica handles every message.
    pub fn new(app: String, wanted: impl IntoIterator<Item = Subscription>) -> Self {
        Self::with(app, wanted, Share::All)
    }

    /// The state before the first connect, where replicas share the messages: ready is one that has a share.
    pub fn shared(app: String, wanted: impl IntoIterator<Item = Subscription>) -> Self {
        Self::with(app, wanted, Share::Missing(None))
    }

    fn with(app: String, wanted: impl IntoIterator<Item = Subscription>, share: Share) -> Self {
        Self {
            app,
            wanted: wanted.into_iter().collect(),
            inner: Mutex::new(Inner {
                subscribed: BTreeSet::new(),
                refused: BTreeMap::new(),
                problem: None,
                stopping: false,
                was_ready: false,
                changed: SystemTime::now(),
                lost_at: None,
                outage: Duration::ZERO,
                reconnects: 0,
                failures: [0; Failure::ALL.len()],
                rotated: None,
                share,
                complete: false,
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Redis acknowledged a subscription. Returns how long subscriptions were missing when this was the last one.
    pub fn subscribed(&self, subscription: Subscription) -> Option<Duration> {
        let mut inner = self.inner();
        inner.refused.remove(&subscription);
        inner.subscribed.insert(subscription);
        if inner.subscribed.len() >= self.wanted.len() {
            // What was wrong with the connection is over; what there is now is told by the share.
            inner.problem = None;
        }
        self.completed(&mut inner)
    }

    /// Whether this completes what there was; if so, how long something was missing.
    fn completed(&self, inner: &mut Inner) -> Option<Duration> {
        let complete = inner.subscribed.len() >= self.wanted.len() && !matches!(inner.share, Share::Missing(_));
        let news = complete && !inner.complete;
        inner.complete = complete;
        if !news {
            return None;
        }
        inner.was_ready = true;
        inner.changed = SystemTime::now();
        let missing = inner.lost_at.take().map_or(Duration::ZERO, |since| since.elapsed());
        inner.outage += missing;
        Some(missing)
    }

    /// This replica has a share of the messages, as one of so many members. Returns how long something was missing when nothing is
    /// any more.
    pub fn share_taken(&self, members: usize) -> Option<Duration> {
        let mut inner = self.inner();
        // How many share is no news: what is told is since when this one does.
        if !matches!(inner.share, Share::Taken(_)) {
            inner.changed = SystemTime::now();
        }
        inner.share = Share::Taken(members);
        self.completed(&mut inner)
    }

    /// This replica has no share of the messages, and why, if that is known. Returns whether that is news.
    pub fn share_missing(&self, problem: Option<(Reason, String)>) -> bool {
        let mut inner = self.inner();
        let share = Share::Missing(problem);
        let news = inner.share != share;
        if news {
            inner.share = share;
            inner.changed = SystemTime::now();
        }
        self.completed(&mut inner);
        news
    }

    /// Whether Redis has answered for every subscription, whether it permits it or not.
    pub fn is_answered(&self) -> bool {
        let inner = self.inner();
        inner.subscribed.len() + inner.refused.len() >= self.wanted.len()
    }

    /// Whether a subscription is acknowledged.
    pub fn has(&self, subscription: &Subscription) -> bool {
        self.inner().subscribed.contains(subscription)
    }

    /// Redis refused a subscription. Returns whether that is news.
    pub fn refused(&self, subscription: Subscription, error: String) -> bool {
        let mut inner = self.inner();
        let news = inner.refused.insert(subscription, error.clone()) != Some(error);
        if news {
            inner.changed = SystemTime::now();
        }
        news
    }

    /// The connection broke or could not be made. Returns whether that is news.
    pub fn lost(&self, error: &SessionError) -> bool {
        let mut inner = self.inner();
        if !inner.subscribed.is_empty() {
            inner.reconnects += 1;
        }
        if inner.was_ready && inner.lost_at.is_none() {
            inner.lost_at = Some(Instant::now());
        }
        inner.failures[error.failure() as usize] += 1;
        inner.complete = false;
        inner.subscribed.clear();
        inner.refused.clear();
        inner.rotated = None;
        inner.set_problem(error.reason(), error.to_string())
    }

    /// Credentials that were rotated in beside a live subscription were tried: `None` when they work, else why not. Returns
    /// whether that is news.
    pub fn rotated(&self, problem: Option<String>) -> bool {
        let mut inner = self.inner();
        let news = inner.rotated != problem;
        if news {
            inner.rotated = problem;
            inner.changed = SystemTime::now();
        }
        news
    }

    /// The process is stopping: not ready any more, whatever Redis says.
    pub fn stop(&self) {
        let mut inner = self.inner();
        inner.stopping = true;
        inner.changed = SystemTime::now();
    }

    /// Whether every subscription is acknowledged.
    pub fn is_ready(&self) -> bool {
        let inner = self.inner();
        inner.is_ready(&self.wanted)
    }

    /// Subscriptions that Redis refused on the present connection.
    pub fn refused_subscriptions(&self) -> Vec<Subscription> {
        self.inner().refused.keys().cloned().collect()
    }

    /// Connections that were lost after they had been subscribed.
    pub fn reconnects(&self) -> u64 {
        self.inner().reconnects
    }

    /// How often there was no connection, or no longer one, in the order of [`Failure::ALL`].
    pub fn failures(&self) -> [u64; Failure::ALL.len()] {
        self.inner().failures
    }

    /// Whether credentials that were rotated in beside a live subscription were tried and do not work: then the next connect
    /// will fail.
    pub fn rotation_failed(&self) -> bool {
        self.inner().rotated.is_some()
    }

    /// How long subscriptions were missing since the first time all were there. It begins when a connection is found broken
    /// and ends when the last subscription is acknowledged: one channel that Redis refuses after a reconnect is an outage too,
    /// and what passes until a half-open connection is found is none yet.
    pub fn outage(&self) -> Duration {
        let inner = self.inner();
        inner.outage + inner.lost_at.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The answer to `GET /status`.
    pub fn status(&self) -> ServeStatus {
        let inner = self.inner();
        let (subscribed, wanted) = (inner.subscribed.len(), self.wanted.len());
        let ready = inner.is_ready(&self.wanted);
        let (reason, message) = match &inner.problem {
            _ if inner.stopping => (Reason::Progressing, "stopping: finishing what is queued".to_owned()),
            _ if ready => (Reason::Subscribed, describe_ready(wanted, &inner.share, inner.rotated.as_deref())),
            _ if !inner.refused.is_empty() => describe_refused(&inner.refused),
            Some((reason, message)) => (*reason, message.clone()),
            None if let Share::Missing(Some((reason, message))) = &inner.share => (*reason, message.clone()),
            None if subscribed == wanted => (Reason::Progressing, "subscribed, and waiting for a share of the messages".to_owned()),
            None => (Reason::Progressing, format!("connecting: subscribed to {subscribed} of {wanted} channels and patterns")),
        };
        let since = inner.changed.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        ServeStatus {
            app: self.app.clone(),
            ready,
            subscribed,
            wanted,
            reason,
            message: spinredis_crds::report::shorten(&message, 2_000),
            since,
        }
    }
}

impl SubscriptionState {
    /// The same as [`status`](Self::status), with each subscription, for a person who asks this server by name.
    pub fn report(&self, address: &str) -> ServerReport {
        let status = self.status();
        let (reconnects, outage) = (self.reconnects(), self.outage());
        let inner = self.inner();
        let standing = |subscription: &Subscription| match inner.refused.get(subscription) {
            Some(error) => (SubscriptionStanding::Refused, Some(error.clone())),
            None if inner.subscribed.contains(subscription) => (SubscriptionStanding::Subscribed, None),
            None => (SubscriptionStanding::Waiting, None),
        };
        let mut wanted: Vec<_> = self.wanted.iter().map(|subscription| (standing(subscription), subscription)).collect();
        wanted.sort_by_key(|((state, _), _)| *state);
        let subscriptions = wanted.into_iter().take(REPORTED).map(|((state, error), subscription)| SubscriptionReport {
            name: subscription.name().to_owned(),
            pattern: matches!(subscription, Subscription::Pattern(_)),
            state,
            error,
        });
        ServerReport {
            address: address.to_owned(),
            ready: status.ready,
            reason: status.reason,
            message: status.message,
            since: status.since,
            reconnects,
            outage_seconds: outage.as_secs_f64(),
            subscribed: status.subscribed,
            wanted: status.wanted,
            subscriptions: subscriptions.collect(),
            group: None,
        }
    }
}

fn describe_ready(wanted: usize, share: &Share, rotated: Option<&str>) -> String {
    let mut ready = format!("subscribed to {wanted} of {wanted} channels and patterns");
    if let Share::Taken(members) = share {
        let _ = write!(ready, ", sharing their messages as one of {members}");
    }
    match rotated {
        Some(problem) => format!("{ready}; the new credentials do not work and the next connect would fail: {problem}"),
        None => ready,
    }
}

/// Why subscriptions are refused, in one sentence that names them, the first of them when they are many.
fn describe_refused(refused: &BTreeMap<Subscription, String>) -> (Reason, String) {
    const NAMED: usize = 10;
    let names: Vec<String> = refused.iter().take(NAMED).map(|(subscription, error)| format!("{} ({error})", subscription.name())).collect();
    let more = match refused.len() {
        count if count > NAMED => format!(" and {} more", count - NAMED),
        _ => String::new(),
    };
    let (reason, what_to_do) = if refused.values().any(|error| code(error) == "NOPERM") {
        (Reason::RedisPermission, "permit the channel for this user (ACL SETUSER … &CHANNEL +subscribe +psubscribe)")
    } else {
        (Reason::RedisUnreachable, "it is asked for again until the server takes it")
    };
    (reason, format!("Redis refuses the subscription to {}{more}: {what_to_do}", names.join(", ")))
}

impl Inner {
    fn is_ready(&self, wanted: &BTreeSet<Subscription>) -> bool {
        !self.stopping && self.subscribed == *wanted && !matches!(self.share, Share::Missing(_))
    }

    fn set_problem(&mut self, reason: Reason, message: String) -> bool {
        let problem = Some((reason, message));
        let news = self.problem != problem;
        if news {
            self.problem = problem;
            self.changed = SystemTime::now();
        }
        news
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
