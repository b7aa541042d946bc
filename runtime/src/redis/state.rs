//! What others may know of the subscription: readiness, the reason when there is none, and how long it was missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use spinredis_crds::{Reason, report::ServeStatus};

use super::session::Subscription;

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
}

impl SubscriptionState {
    /// The state before the first connect.
    pub fn new(app: String, wanted: impl IntoIterator<Item = Subscription>) -> Self {
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
        if inner.subscribed.len() < self.wanted.len() {
            return None;
        }
        inner.problem = None;
        inner.was_ready = true;
        inner.changed = SystemTime::now();
        let missing = inner.lost_at.take().map_or(Duration::ZERO, |since| since.elapsed());
        inner.outage += missing;
        Some(missing)
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
    pub fn lost(&self, reason: Reason, message: String) -> bool {
        let mut inner = self.inner();
        if !inner.subscribed.is_empty() {
            inner.reconnects += 1;
        }
        if inner.was_ready && inner.lost_at.is_none() {
            inner.lost_at = Some(Instant::now());
        }
        inner.subscribed.clear();
        inner.refused.clear();
        inner.set_problem(reason, message)
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
        !inner.stopping && inner.subscribed == self.wanted
    }

    /// Subscriptions that Redis refused on the present connection.
    pub fn refused_subscriptions(&self) -> Vec<Subscription> {
        self.inner().refused.keys().cloned().collect()
    }

    /// Connections that were lost after they had been subscribed.
    pub fn reconnects(&self) -> u64 {
        self.inner().reconnects
    }

    /// How long subscriptions were missing since the first time all were there.
    pub fn outage(&self) -> Duration {
        let inner = self.inner();
        inner.outage + inner.lost_at.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The answer to `GET /status`.
    pub fn status(&self) -> ServeStatus {
        let inner = self.inner();
        let (subscribed, wanted) = (inner.subscribed.len(), self.wanted.len());
        let ready = !inner.stopping && inner.subscribed == self.wanted;
        let (reason, message) = match &inner.problem {
            _ if inner.stopping => (Reason::Progressing, "stopping: finishing what is queued".to_owned()),
            _ if ready => (Reason::Subscribed, format!("subscribed to {wanted} of {wanted} channels and patterns")),
            _ if !inner.refused.is_empty() => (Reason::RedisPermission, describe_refused(&inner.refused)),
            Some((reason, message)) => (*reason, message.clone()),
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

/// One sentence that names the refused subscriptions, the first of them when they are many.
fn describe_refused(refused: &BTreeMap<Subscription, String>) -> String {
    const NAMED: usize = 10;
    let names: Vec<String> = refused.iter().take(NAMED).map(|(subscription, error)| format!("{} ({error})", subscription.name())).collect();
    let more = match refused.len() {
        count if count > NAMED => format!(" and {} more", count - NAMED),
        _ => String::new(),
    };
    format!(
        "Redis refuses the subscription to {}{more}: permit the channel for this user (ACL SETUSER … &CHANNEL +subscribe +psubscribe)",
        names.join(", ")
    )
}

impl Inner {
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
mod tests {
    use super::*;

    fn channel(name: &str) -> Subscription {
        Subscription::Channel(name.into())
    }

    #[test]
    fn ready_means_every_subscription_is_acknowledged() {
        let state = SubscriptionState::new("ns/app".into(), [channel("a"), channel("b")]);
        assert!(state.subscribed(channel("a")).is_none() && !state.is_ready());
        assert!(state.subscribed(channel("b")).is_some() && state.is_ready());
        assert_eq!(state.status().reason, Reason::Subscribed);
        assert!(state.lost(Reason::RedisUnreachable, "gone".into()));
        assert!(!state.lost(Reason::RedisUnreachable, "gone".into()), "the same problem is no news");
        assert_eq!((state.is_ready(), state.status().subscribed, state.reconnects()), (false, 0, 1));
    }

    #[test]
    fn a_refused_channel_is_named_and_the_others_stay() {
        let state = SubscriptionState::new("ns/app".into(), [channel("a"), channel("b")]);
        state.subscribed(channel("a"));
        state.refused(channel("b"), "NOPERM".into());
        let status = state.status();
        assert_eq!((status.subscribed, status.wanted, status.reason), (1, 2, Reason::RedisPermission));
        assert!(status.message.contains("to b (NOPERM)"), "{}", status.message);
        assert_eq!(state.refused_subscriptions(), [channel("b")]);
        state.subscribed(channel("b"));
        assert!(state.is_ready());
    }

    #[test]
    fn a_stopping_process_is_not_ready() {
        let state = SubscriptionState::new("ns/app".into(), [channel("a")]);
        state.subscribed(channel("a"));
        state.stop();
        assert!(!state.is_ready() && !state.status().ready);
    }
}
