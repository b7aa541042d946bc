//! The subscriptions of an app on all its Redis servers together: ready when every server is.

use std::{sync::Arc, time::Duration};

use spinredis_crds::report::ServeStatus;

use super::{failure::Failure, state::SubscriptionState};

/// The state of every server that the app subscribes on; at least one.
#[derive(Clone)]
pub struct Servers(Vec<Arc<SubscriptionState>>);

impl Servers {
    /// The servers of an app, the default one first.
    pub fn new(states: Vec<Arc<SubscriptionState>>) -> Self {
        Self(states)
    }

    /// Whether every subscription is acknowledged.
    pub fn is_ready(&self) -> bool {
        self.0.iter().all(|state| state.is_ready())
    }

    /// The process is stopping.
    pub fn stop(&self) {
        self.0.iter().for_each(|state| state.stop());
    }

    /// Connections that were lost after they had been subscribed.
    pub fn reconnects(&self) -> u64 {
        self.0.iter().map(|state| state.reconnects()).sum()
    }

    /// How often there was no connection, or no longer one, by cause.
    pub fn failures(&self) -> impl Iterator<Item = (Failure, u64)> {
        let counts: Vec<_> = self.0.iter().map(|state| state.failures()).collect();
        Failure::ALL.into_iter().map(move |failure| (failure, counts.iter().map(|counts| counts[failure as usize]).sum()))
    }

    /// Whether credentials that were rotated in do not work on a server.
    pub fn rotation_failed(&self) -> bool {
        self.0.iter().any(|state| state.rotation_failed())
    }

    /// How long subscriptions were missing, of all servers together.
    pub fn outage(&self) -> Duration {
        self.0.iter().map(|state| state.outage()).sum()
    }

    /// The answer to `GET /status`: counts of all servers, and the reason of the first that is not ready.
    pub fn status(&self) -> ServeStatus {
        let mut all = self.0.iter().map(|state| state.status());
        let Some(mut status) = all.next() else {
            return ServeStatus {
                app: String::new(),
                ready: false,
                subscribed: 0,
                wanted: 0,
                reason: spinredis_crds::Reason::Progressing,
                message: "there is no server to subscribe on".to_owned(),
                since: 0,
            };
        };
        let mut count = 1;
        for other in all {
            count += 1;
            let (subscribed, wanted) = (status.subscribed + other.subscribed, status.wanted + other.wanted);
            if status.ready {
                status = other;
            }
            (status.subscribed, status.wanted) = (subscribed, wanted);
        }
        if count > 1 && status.ready {
            status.message = format!("subscribed to {0} of {0} channels and patterns on {count} servers", status.wanted);
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use spinredis_crds::Reason;

    use super::*;
    use crate::redis::{failure::SessionError, subscription::Subscription};

    #[test]
    fn one_server_that_is_not_ready_speaks_for_all() {
        let channel = || Subscription::Channel("a".into());
        let state = || Arc::new(SubscriptionState::new("ns/app".into(), [channel()]));
        let (first, second) = (state(), state());
        let servers = Servers::new(vec![first.clone(), second.clone()]);
        first.subscribed(channel());
        second.lost(&SessionError::Silent("redis://r".into()));
        assert_eq!(servers.failures().find(|(_, count)| *count > 0), Some((Failure::Silent, 1)));
        let status = servers.status();
        assert_eq!((status.ready, status.subscribed, status.wanted, status.reason), (false, 1, 2, Reason::RedisUnreachable));
        second.subscribed(channel());
        assert!(servers.is_ready() && servers.status().message.contains("on 2 servers"));
    }
}
