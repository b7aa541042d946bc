//! Metrics of what is beside the messages: calls and instances, dead letters, the subscription, the process.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use super::{
    Histogram,
    sources::{Component, Connections, DeadLetters, Process, Times},
};
use crate::call::Retired;

/// Durations and instances of components.
pub(super) struct Calls(pub(super) Arc<[Component]>);
/// Dead letters of those components that have them.
pub(super) struct DeadLettering(pub(super) Arc<[Component]>);
/// The subscription connections.
pub(super) struct Subscriptions(pub(super) Box<dyn Fn() -> Connections + Send + Sync>);
/// The process itself.
pub(super) struct Own(pub(super) Box<dyn Fn() -> Process + Send + Sync>);

impl Collector for Calls {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        type Read = fn(&Times) -> &Histogram;
        let histograms: [(_, _, Read); 2] = [
            ("handler_duration", "Time of one attempt of the handler", |times| &times.handler),
            ("queue_wait", "Time from receiving a message to its first attempt", |times| &times.wait),
        ];
        for (name, help, read) in histograms {
            let mut metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
            for component in &*self.0 {
                read(&component.times).encode(metric.encode_family(&[id(component)])?)?;
            }
        }
        let mut metric = encoder.encode_descriptor("instances", "Instances of the component's code", None, MetricType::Gauge)?;
        for component in &*self.0 {
            for (state, count) in [("live", component.instances.live()), ("warm", component.instances.warm())] {
                metric.encode_family(&[id(component), ("state", state)])?.encode_gauge(&i64::try_from(count).unwrap_or(i64::MAX))?;
            }
        }
        let mut metric = encoder.encode_descriptor("instances_created", "Instances that were made", None, MetricType::Counter)?;
        for component in &*self.0 {
            counter(&mut metric, &[id(component)], component.instances.created())?;
        }
        let mut metric =
            encoder.encode_descriptor("instances_retired", "Instances that were ended, by reason", None, MetricType::Counter)?;
        for component in &*self.0 {
            for reason in Retired::ALL {
                counter(&mut metric, &[id(component), ("reason", reason.as_str())], component.instances.retired(reason))?;
            }
        }
        Ok(())
    }
}

impl Collector for DeadLettering {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let read: Vec<(&Component, DeadLetters)> =
            self.0.iter().filter_map(|component| Some((component, component.dead_letters.as_ref()?()))).collect();
        if read.is_empty() {
            return Ok(());
        }
        let mut metric = encoder.encode_descriptor("dead_letters", "Dead letters by what became of them", None, MetricType::Counter)?;
        for (component, letters) in &read {
            for (result, count) in [("written", letters.written), ("lost", letters.lost)] {
                counter(&mut metric, &[id(component), ("result", result)], count)?;
            }
        }
        let mut metric = encoder.encode_descriptor(
            "dead_letter_write_failures",
            "Attempts to write dead letters that failed",
            None,
            MetricType::Counter,
        )?;
        for (component, letters) in &read {
            counter(&mut metric, &[id(component)], letters.write_failures)?;
        }
        let mut gauges = |name, help, read_one: fn(&DeadLetters) -> Option<u64>| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (component, letters) in &read {
                if let Some(value) = read_one(letters) {
                    metric.encode_family(&[id(component)])?.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))?;
                }
            }
            Ok(())
        };
        gauges("dead_letters_pending", "Dead letters that wait to be written", |letters| Some(letters.pending))?;
        gauges("dead_letter_stream_length", "Entries of the dead-letter stream", |letters| letters.stream_length)
    }
}

impl Collector for Subscriptions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Connections { subscribed, reconnects, outage, failures } = (self.0)();
        encoder
            .encode_descriptor("subscribed", "1 when every subscription is acknowledged", None, MetricType::Gauge)?
            .encode_gauge(&i64::from(subscribed))?;
        encoder
            .encode_descriptor("reconnects", "Connections lost after they had been subscribed", None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&reconnects, None)?;
        encoder
            .encode_descriptor(
                "outage",
                "Time without all subscriptions; messages published then are lost",
                Some(&Unit::Seconds),
                MetricType::Counter,
            )?
            .encode_counter::<NoLabelSet, _, u64>(&outage.as_secs_f64(), None)?;
        let help = "Connections that broke or could not be made, by reason";
        let mut metric = encoder.encode_descriptor("connection_failures", help, None, MetricType::Counter)?;
        failures.iter().try_for_each(|(reason, count)| counter(&mut metric, &[("reason", *reason)], *count))
    }
}

impl Collector for Own {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Process { log_lines_dropped, spans_dropped } = (self.0)();
        let counters = [
            ("log_lines_dropped", "Log lines dropped because the log was not read", log_lines_dropped),
            ("spans_dropped", "Spans of traces that were not delivered", spans_dropped),
        ];
        for (name, help, value) in counters {
            encoder.encode_descriptor(name, help, None, MetricType::Counter)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        encoder
            .encode_descriptor("build", "Version of spinredis", None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }
}

fn id(component: &Component) -> (&'static str, &str) {
    ("component", component.queue.component())
}

fn counter(metric: &mut prometheus_client::encoding::MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
    metric.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

/// What a collector is called where only its name matters.
macro_rules! named {
    ($($collector:ident),*) => {$(
        impl fmt::Debug for $collector {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($collector))
            }
        }
    )*};
}
named!(Calls, DeadLettering, Subscriptions, Own);
