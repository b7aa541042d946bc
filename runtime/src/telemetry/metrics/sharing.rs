//! The metrics of replicas that share messages. Absent where each replica handles all. Of several servers the counts are summed; of
//! the gauges the one that says more of trouble stands for all.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use crate::sharing::report::Numbers;

/// Reads the groups.
pub(super) struct Groups(pub Box<dyn Fn() -> Vec<Numbers> + Send + Sync>);

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Groups")
    }
}

impl Collector for Groups {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let groups = (self.0)();
        if groups.is_empty() {
            return Ok(());
        }
        let sum = |read: fn(&Numbers) -> u64| groups.iter().map(read).sum::<u64>();
        let least = |read: fn(&Numbers) -> u64| groups.iter().map(read).min().unwrap_or_default();
        let gauges = [
            ("sharing_member", "1 when this replica owns a share of the messages", None, least(|group| u64::from(group.is_member))),
            ("sharing_epoch", "Number of the last marker: it counts up with each change of the group", None, least(|group| group.epoch)),
            ("sharing_members", "Replicas that own a share", None, least(|group| group.members)),
            ("sharing_ring", "Messages of others that are kept until they are finished", Some(Unit::Bytes), sum(|group| group.ring_bytes)),
            ("sharing_ring_max", "The bound of those", Some(Unit::Bytes), sum(|group| group.ring_max_bytes)),
            (
                "sharing_held",
                "Messages that wait until an earlier one of their channel is finished by another replica",
                None,
                sum(|group| group.held),
            ),
            (
                "sharing_suspects",
                "Messages that replicas have died with and that this one has not finished",
                None,
                sum(|group| group.suspects),
            ),
        ];
        for (name, help, unit, value) in gauges {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?.encode_gauge(&value)?;
        }
        let counters = [
            ("sharing_replayed", "Messages taken over from replicas that went away", sum(|group| group.counts.replayed)),
            ("sharing_overflowed", "Messages of others that could not be kept until they were finished", sum(|group| group.overflowed)),
            (
                "sharing_hurried",
                "Messages handled out of their channel's order, since too many waited for it",
                sum(|group| group.counts.hurried),
            ),
            ("sharing_expulsions", "How often the group took this replica for dead", sum(|group| group.expulsions)),
            ("sharing_cuts", "How often this replica lost its place in the order of messages", sum(|group| group.cuts)),
            ("sharing_ignored", "Messages on the control channel that are no markers of this group", sum(|group| group.ignored)),
        ];
        for (name, help, value) in counters {
            encoder.encode_descriptor(name, help, None, MetricType::Counter)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        let by_label = [
            (
                "sharing_messages",
                "Messages received, by who owns them",
                "owner",
                [("self", sum(|group| group.counts.owned)), ("other", sum(|group| group.counts.others))],
            ),
            (
                "sharing_beats",
                "Calls of the group in Redis, by result",
                "result",
                [("ok", sum(|group| group.beats)), ("failed", sum(|group| group.failed_beats))],
            ),
        ];
        for (name, help, label, values) in by_label {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (value, count) in values {
                metric.encode_family(&[(label, value)])?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        Ok(())
    }
}
