//! How a component's messages are dispatched: how many at once, in which order, what may wait, and what becomes of failures.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::connection::Connection;

/// In which order messages are handled. Channel (the default): those of one channel one after the other, channels side by
/// side. None: any messages side by side.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordering {
    /// The messages of one channel one after the other, channels side by side.
    #[default]
    Channel,
    /// Any messages side by side.
    None,
}

/// What a full queue drops. DropOldest (the default): the oldest message of the channel that holds most. DropNewest: the
/// message that arrives.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest message of the channel that holds most bytes.
    #[default]
    DropOldest,
    /// The message that arrives.
    DropNewest,
}

/// Instances of the component.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Instances {
    /// Instances kept ready before messages come, each for one message unless maxReuse says more. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1024))]
    pub warm: Option<i32>,
    /// How many messages one instance may handle, one after the other. Default 1: each message meets a fresh instance. More
    /// is faster, and lets what a message leaves behind in the guest's memory meet the next one, the tasks of an asynchronous
    /// guest that outlive its handler too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_reuse: Option<i32>,
}

/// The messages that wait for a component.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct QueueSpec {
    /// Bytes that may wait, as a quantity: payload, channel and 384 for each message. Default 8Mi; between 64Ki and 4Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[0-9]+([.][0-9]+)?(Ki|Mi|Gi|k|M|G)?$"))]
    #[x_kube(validation = Rule::new(
        "isQuantity(self) && quantity(self).compareTo(quantity('64Ki')) >= 0 && quantity(self).compareTo(quantity('4Gi')) <= 0")
        .message("maxBytes must be between 64Ki and 4Gi, for example 8Mi"))]
    pub max_bytes: Option<String>,
    /// What a full queue drops. DropOldest (the default): the oldest message of the channel that holds most. DropNewest: the
    /// message that arrives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_full: Option<WhenFull>,
}

/// What happens when a message fails.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
// What is not a duration at all has the pattern's message already; without this guard it would get one more.
#[x_kube(validation = Rule::new(
    "!has(self.initialBackoff) || !has(self.maxBackoff) || !self.initialBackoff.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || !self.maxBackoff.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || duration(self.initialBackoff) <= duration(self.maxBackoff)")
    .message("initialBackoff must not be longer than maxBackoff"))]
pub struct Retry {
    /// How often a message is tried in all, at most 100. Default 1: no retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: Option<i32>,
    /// Wait before the second attempt; it doubles with each attempt, less a random part of up to a half. Default 1s, or
    /// maxBackoff where that is less; between 1ms and 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(validation = Rule::new(
        "!self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || (duration(self) >= duration('1ms') && duration(self) <= duration('1h'))")
        .message("initialBackoff must be between 1ms and 1h"))]
    pub initial_backoff: Option<String>,
    /// Longest wait between two attempts. Default 1m, or initialBackoff where that is more; between 1ms and 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(validation = Rule::new(
        "!self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || (duration(self) >= duration('1ms') && duration(self) <= duration('1h'))")
        .message("maxBackoff must be between 1ms and 1h"))]
    pub max_backoff: Option<String>,
}

/// Where messages go that failed for good: a Redis stream.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.connection) || has(self.connection.address) || has(self.connection.addressFrom)")
    .message("set exactly one of address and addressFrom").field_path(".connection"))]
pub struct DeadLetter {
    /// Key of the stream. Entries to handle again go to the stream of this name and :redrive.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("!self.matches('[[:cntrl:]]')")
        .message("stream must be a key without control characters such as line breaks, for example dead:orders"))]
    pub stream: String,
    /// Entries kept; beyond them Redis drops the oldest. Default 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub max_length: Option<i64>,
    /// The Redis server that keeps the stream; without it the trigger's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
}

impl DeadLetter {
    /// What is added to the stream's key for the entries to handle again.
    pub const REDRIVE_SUFFIX: &str = ":redrive";

    /// Key of the stream from which the component reads the entries to handle again.
    pub fn redrive_stream(&self) -> String {
        format!("{}{}", self.stream, Self::REDRIVE_SUFFIX)
    }
}
