//! The operator's own metrics, in the form of Prometheus.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// How a reconcile ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// What was written or watched.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// Counters and the registry they are read from.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ResultLabel, Counter>,
    reconcile_duration: Histogram,
    writes: Family<KindLabel, Counter>,
    watch_errors: Family<KindLabel, Counter>,
    unreadable_apps: Counter,
    leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("spin_redis_operator");
        let metrics = Self {
            reconciles: Family::default(),
            reconcile_duration: Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
            writes: Family::default(),
            watch_errors: Family::default(),
            unreadable_apps: Counter::default(),
            leader: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("reconciles", "Reconciles by their result: ok or error", metrics.reconciles.clone());
        registry.register("reconcile_duration_seconds", "How long a reconcile took", metrics.reconcile_duration.clone());
        registry.register("writes", "Objects written, by kind", metrics.writes.clone());
        registry.register("watch_errors", "Watches that broke and were started again, by kind", metrics.watch_errors.clone());
        registry.register("unreadable_apps", "Apps met that do not have the shape of one", metrics.unreadable_apps.clone());
        registry.register("leader", "Whether this replica leads: 1, or 0 while it waits", metrics.leader.clone());
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// A reconcile ended.
    pub fn reconciled(&self, succeeded: bool, took: Duration) {
        let result = if succeeded { "ok" } else { "error" };
        self.reconciles.get_or_create(&ResultLabel { result }).inc();
        self.reconcile_duration.observe(took.as_secs_f64());
    }

    /// An object was written.
    pub fn wrote(&self, kind: &'static str) {
        self.writes.get_or_create(&KindLabel { kind }).inc();
    }

    /// A watch broke.
    pub fn watch_broke(&self, kind: &'static str) {
        self.watch_errors.get_or_create(&KindLabel { kind }).inc();
    }

    /// An app could not be read.
    pub fn met_unreadable_app(&self) {
        self.unreadable_apps.inc();
    }

    /// Whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_start_with_the_operator() {
        let metrics = Metrics::default();
        metrics.reconciled(true, Duration::from_millis(3));
        metrics.wrote("Deployment");
        let text = metrics.text();
        assert!(text.contains("spin_redis_operator_reconciles_total{result=\"ok\"} 1"), "{text}");
        assert!(text.contains("spin_redis_operator_writes_total{kind=\"Deployment\"} 1"), "{text}");
    }
}
