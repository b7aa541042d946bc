//! The metrics of a serving process, in the OpenMetrics text format. Names start with `spinredis_`.
//!
//! Counters of messages are read from the queues at each scrape, in one snapshot for each component, so that
//! received = handled + failed + dropped + queued + in flight holds in every single answer.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet, text::encode},
    metrics::{MetricType, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{
    guest::FailureKind,
    queue::{Counts, DropReason, Queue, Snapshot},
    redis::servers::Servers,
};

/// Upper bounds of the handler's duration, in seconds.
const DURATION_BUCKETS: [f64; 14] = [0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ComponentLabel {
    component: String,
}

/// How long a component's handler took.
#[derive(Clone)]
pub struct Durations(Histogram);

impl Durations {
    /// Counts one call.
    pub fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

/// The metrics of the process.
pub struct Metrics {
    registry: Registry,
    durations: Family<ComponentLabel, Histogram, fn() -> Histogram>,
}

impl Metrics {
    /// Metrics of these queues and this subscription.
    pub fn new(queues: Vec<Arc<Queue>>, subscriptions: Servers) -> Self {
        let mut registry = Registry::with_prefix("spinredis");
        let durations = Family::<ComponentLabel, Histogram, fn() -> Histogram>::new_with_constructor(|| Histogram::new(DURATION_BUCKETS));
        registry.register_with_unit("handler_duration", "Time a handler took, by component", Unit::Seconds, durations.clone());
        registry.register_collector(Box::new(Messages { queues }));
        registry.register_collector(Box::new(Subscription { servers: subscriptions }));
        Self { registry, durations }
    }

    /// The duration histogram of a component.
    pub fn durations(&self, component: &str) -> Durations {
        Durations(self.durations.get_or_create(&ComponentLabel { component: component.to_owned() }).clone())
    }

    /// All metrics as text.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

struct Messages {
    queues: Vec<Arc<Queue>>,
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Messages")
    }
}

impl Messages {
    /// Writes one metric of every subscription; `read` gives the values with a `reason` label, or one without.
    fn encode_each(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        snapshots: &[Snapshot],
        (name, help, kind): (&str, &str, MetricType),
        read: impl Fn(&Counts) -> Vec<(Option<&'static str>, u64)>,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
        for (queue, snapshot) in self.queues.iter().zip(snapshots) {
            // A channel and a pattern may have the same text; their counts then share one series.
            let mut series: BTreeMap<(&str, Option<&'static str>), u64> = BTreeMap::new();
            for (subscription, counts) in queue.subscriptions().iter().zip(&snapshot.counts) {
                for (reason, value) in read(counts) {
                    *series.entry((subscription, reason)).or_default() += value;
                }
            }
            for ((subscription, reason), value) in series {
                let mut labels = vec![("component", queue.component()), ("subscription", subscription)];
                labels.extend(reason.map(|reason| ("reason", reason)));
                let mut family = metric.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => family.encode_counter::<NoLabelSet, _, u64>(&value, None)?,
                    _ => family.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))?,
                }
            }
        }
        Ok(())
    }
}

impl Collector for Messages {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshots: Vec<Snapshot> = self.queues.iter().map(|queue| queue.snapshot()).collect();
        let single = |read: fn(&Counts) -> u64| move |counts: &Counts| vec![(None, read(counts))];
        let received = ("messages_received", "Messages received, one for each component that gets them", MetricType::Counter);
        self.encode_each(&mut encoder, &snapshots, received, single(|counts| counts.received))?;
        let handled = ("messages_handled", "Messages handled without error", MetricType::Counter);
        self.encode_each(&mut encoder, &snapshots, handled, single(|counts| counts.handled))?;
        let failed = ("messages_failed", "Messages whose handler failed, by reason", MetricType::Counter);
        self.encode_each(&mut encoder, &snapshots, failed, |counts| {
            FailureKind::ALL.iter().map(|kind| (Some(kind.as_str()), counts.failed[kind.index()])).collect()
        })?;
        let dropped = ("messages_dropped", "Messages that no handler saw, by reason", MetricType::Counter);
        self.encode_each(&mut encoder, &snapshots, dropped, |counts| {
            DropReason::ALL.iter().zip(counts.dropped).map(|(reason, value)| (Some(reason.as_str()), value)).collect()
        })?;
        let queued = ("messages_queued", "Messages that wait for their handler", MetricType::Gauge);
        self.encode_each(&mut encoder, &snapshots, queued, single(|counts| counts.queued))?;
        let in_flight = ("messages_in_flight", "Messages that are being handled", MetricType::Gauge);
        self.encode_each(&mut encoder, &snapshots, in_flight, single(|counts| counts.in_flight))?;

        let now = Instant::now();
        let mut bytes = encoder.encode_descriptor("queued_bytes", "Bytes that wait in the queue", None, MetricType::Gauge)?;
        for (queue, snapshot) in self.queues.iter().zip(&snapshots) {
            bytes
                .encode_family(&[("component", queue.component())])?
                .encode_gauge(&i64::try_from(snapshot.queued_bytes).unwrap_or(i64::MAX))?;
        }
        let mut age = encoder.encode_descriptor(
            "oldest_queued_age",
            "Age of the message that waits longest",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for (queue, snapshot) in self.queues.iter().zip(&snapshots) {
            let oldest = snapshot.oldest.map_or(0.0, |received| now.saturating_duration_since(received).as_secs_f64());
            age.encode_family(&[("component", queue.component())])?.encode_gauge(&oldest)?;
        }
        Ok(())
    }
}

struct Subscription {
    servers: Servers,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}

impl Collector for Subscription {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encoder
            .encode_descriptor("subscribed", "1 when every subscription is acknowledged", None, MetricType::Gauge)?
            .encode_gauge(&i64::from(self.servers.is_ready()))?;
        encoder
            .encode_descriptor("reconnects", "Connections lost after they had been subscribed", None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&self.servers.reconnects(), None)?;
        encoder
            .encode_descriptor(
                "outage",
                "Time without all subscriptions; messages published then are lost",
                Some(&Unit::Seconds),
                MetricType::Counter,
            )?
            .encode_counter::<NoLabelSet, _, u64>(&self.servers.outage().as_secs_f64(), None)
    }
}
