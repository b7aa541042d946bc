//! Puts together the state of the process for `spinredis status`, each time it is asked for.

use std::{
    collections::BTreeMap,
    env,
    sync::Arc,
    time::{Instant, SystemTime},
};

use spinredis_crds::{Connection, address::RedisAddress, defaults::Limits};

use crate::{
    call::FailureKind,
    dead_letters::{entry::milliseconds, writer::DeadLetters},
    dispatch::{Dispatcher, RecentFailures},
    queue::{Counts, DropReason, Queue},
    redis::state::SubscriptionState,
    report::{ComponentReport, DeadLettersReport, Report, ServerReport},
    sharing::Sharing,
};

/// What a report is made of.
pub struct Reporter {
    app: Arc<str>,
    pod: Option<String>,
    started: Instant,
    servers: Vec<(String, Arc<SubscriptionState>, Option<Arc<Sharing>>)>,
    components: Vec<(Arc<Dispatcher>, Limits)>,
}

impl Reporter {
    /// Of an app: its servers as the manifest has them, and its components with their limits.
    pub fn new(
        app: Arc<str>,
        servers: impl Iterator<Item = (Connection, Arc<SubscriptionState>, Option<Arc<Sharing>>)>,
        components: Vec<(Arc<Dispatcher>, Limits)>,
    ) -> Self {
        let servers = servers.map(|(server, state, sharing)| (address(&server), state, sharing)).collect();
        Self { app, pod: env::var("POD_NAME").ok(), started: Instant::now(), servers, components }
    }

    /// The state as of now.
    pub fn report(&self) -> Report {
        let servers = self.servers.iter().map(|(address, state, sharing)| {
            let group = sharing.as_ref().map(|sharing| sharing.report());
            ServerReport { group, ..state.report(address) }
        });
        let servers: Vec<ServerReport> = servers.collect();
        Report {
            app: self.app.to_string(),
            pod: self.pod.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: milliseconds(SystemTime::now()) / 1_000,
            uptime_seconds: self.started.elapsed().as_secs(),
            ready: servers.iter().all(|server| server.ready),
            servers,
            components: self
                .components
                .iter()
                .map(|(dispatcher, limits)| component(&dispatcher.queue, limits, &dispatcher.failures, dispatcher.dead_letters.as_deref()))
                .collect(),
        }
    }
}

/// How a server is called: never with what its address holds of credentials, nor with what a Secret holds.
fn address(server: &Connection) -> String {
    match (&server.address, server.address_from.as_ref().and_then(|from| from.reference())) {
        (_, Some(reference)) => format!("the address in {reference}"),
        (Some(address), None) => {
            RedisAddress::parse(address).map_or_else(|_| "an address that cannot be read".to_owned(), |address| address.to_string())
        }
        (None, None) => "no address".to_owned(),
    }
}

fn component(queue: &Queue, limits: &Limits, failures: &RecentFailures, dead_letters: Option<&DeadLetters>) -> ComponentReport {
    let snapshot = queue.snapshot();
    let sum = |of: fn(&Counts) -> u64| snapshot.counts.iter().map(of).sum::<u64>();
    let by_reason = |names: &[&str], of: &dyn Fn(&Counts, usize) -> u64| -> BTreeMap<String, u64> {
        let counted = names.iter().enumerate().map(|(place, name)| {
            let count = snapshot.counts.iter().map(|counts| of(counts, place)).sum();
            ((*name).to_owned(), count)
        });
        counted.filter(|(_, count)| *count > 0).collect()
    };
    ComponentReport {
        id: queue.component().to_owned(),
        received: sum(|counts| counts.received),
        redriven: sum(|counts| counts.redriven),
        handled: sum(|counts| counts.handled),
        failed: by_reason(&FailureKind::ALL.map(FailureKind::as_str), &|counts, place| counts.failed[place]),
        dropped: by_reason(&DropReason::ALL.map(DropReason::as_str), &|counts, place| counts.dropped[place]),
        queued: sum(|counts| counts.queued),
        retrying: sum(|counts| counts.retrying),
        in_flight: sum(|counts| counts.in_flight),
        retries: sum(|counts| counts.retries),
        queued_bytes: snapshot.queued_bytes,
        queue_max_bytes: limits.queue_bytes,
        oldest_seconds: snapshot.oldest.map_or(0.0, |oldest| oldest.elapsed().as_secs_f64()),
        workers: snapshot.workers,
        concurrency: limits.concurrency,
        dead_letters: dead_letters.map(|letters| {
            let counts = letters.counts();
            DeadLettersReport {
                stream: letters.place().stream.clone(),
                length: counts.stream_length,
                written: counts.written,
                pending: counts.pending as u64,
                lost: counts.lost,
                write_failures: counts.write_failures,
            }
        }),
        last_failures: failures.newest_first(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use spinredis_crds::{Component, reference::ValueFrom};

    use super::*;
    use crate::{
        call::Failure,
        queue::{Message, Outcome},
    };

    #[test]
    fn a_server_is_named_without_what_is_secret() {
        let of = |text: &str| Connection { address: Some(text.to_owned()), ..Connection::default() };
        assert_eq!(address(&of("redis://greeter:hunter2@redis:6380/2")), "redis://redis:6380/2");
        assert!(!address(&of("hunter2 is no address")).contains("hunter2"));
        let from: ValueFrom = serde_json::from_value(serde_json::json!({"secretKeyRef": {"name": "redis", "key": "url"}})).unwrap();
        assert_eq!(address(&Connection { address_from: Some(from), ..Connection::default() }), "the address in key url of Secret redis");
    }

    #[test]
    fn what_became_of_messages_is_summed_over_the_subscriptions_of_a_component() {
        let limits = Component::default().limits();
        let queue = Queue::new("book", vec!["orders".into(), "audit".into()], &limits);
        let failures = RecentFailures::default();
        for subscription in [0, 1, 1] {
            let payload = Bytes::from_static(b"payload");
            let message = Message::new("orders".into(), payload, subscription, "redis://r".into(), Instant::now(), SystemTime::now());
            let _ = queue.push(message);
        }
        queue.count_too_large(0);
        let taken = queue.take().unwrap();
        let failure = Failure { kind: FailureKind::Trap, message: "unreachable".into() };
        failures.add(&taken.message, taken.attempt, &failure, false);
        let _ = queue.finish(taken, Outcome::Failed { kind: FailureKind::Trap, retry: false });
        let report = component(&queue, &limits, &failures, None);
        assert_eq!((report.received, report.handled, report.queued), (4, 0, 2));
        assert_eq!(report.failed, [("trap".to_owned(), 1)].into());
        assert_eq!(report.dropped, [("too_large".to_owned(), 1)].into());
        assert_eq!(report.last_failures[0].sequence, 1);
    }
}
