//! The whole state of a serving process: what `spinredis status` shows. Wider than the `ServeStatus` that the operator reads, and
//! for people only, so it is answered to this machine alone. Never a payload, a password, or a value of a reference.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spinredis_crds::Reason;

use crate::dispatch::FailedAttempt;

/// Where it is served.
pub const PATH: &str = "/debug/status";

/// The state of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Namespace and name of the app.
    pub app: String,
    /// The pod, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Version of the runtime.
    pub version: String,
    /// When this was, in seconds since 1970-01-01T00:00:00Z.
    pub now: u64,
    /// Seconds since the app was loaded.
    pub uptime_seconds: u64,
    /// Whether every subscription is acknowledged.
    pub ready: bool,
    /// The servers on which the app subscribes, the trigger's first.
    pub servers: Vec<ServerReport>,
    /// The components, in the order of the manifest.
    pub components: Vec<ComponentReport>,
}

/// One server and what is subscribed on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerReport {
    /// Its address without credentials, or the reference that holds it.
    pub address: String,
    /// Whether every subscription on it is acknowledged.
    pub ready: bool,
    /// Why not, or `Subscribed`.
    pub reason: Reason,
    /// What happened, to what, and what to do.
    pub message: String,
    /// Since when, in seconds since 1970-01-01T00:00:00Z.
    pub since: u64,
    /// Connections lost after they had been subscribed.
    pub reconnects: u64,
    /// Seconds without all subscriptions since they were there first.
    pub outage_seconds: f64,
    /// Subscriptions that Redis has acknowledged.
    pub subscribed: usize,
    /// Subscriptions that are wanted.
    pub wanted: usize,
    /// Those subscriptions, the ones that are missing first; of very many the first.
    pub subscriptions: Vec<SubscriptionReport>,
}

/// One channel or pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionReport {
    /// As it stands in the manifest.
    pub name: String,
    /// Whether it is a pattern.
    pub pattern: bool,
    /// How it stands.
    pub state: SubscriptionStanding,
    /// Redis's words, when it refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SubscriptionStanding {
    /// Redis refuses it.
    Refused,
    /// Redis has yet to answer, or is not connected.
    Waiting,
    /// Redis has acknowledged it.
    Subscribed,
}

/// What became of the messages of one component: received = handled + failed + dropped + queued + retrying + in flight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentReport {
    /// Id in the manifest.
    pub id: String,
    /// Deliveries received.
    pub received: u64,
    /// Those of `received` that came back from the dead letters.
    pub redriven: u64,
    /// Handled without error.
    pub handled: u64,
    /// Failed for good, by reason; reasons that never occurred are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<String, u64>,
    /// Dropped, by reason; reasons that never occurred are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped: BTreeMap<String, u64>,
    /// Waiting for their turn.
    pub queued: u64,
    /// Waiting for their next attempt.
    pub retrying: u64,
    /// With a handler now.
    pub in_flight: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Bytes that wait.
    pub queued_bytes: u64,
    /// The bound of those.
    pub queue_max_bytes: u64,
    /// Seconds that the oldest message has waited; 0 when none waits.
    pub oldest_seconds: f64,
    /// Handlers that run or are about to.
    pub workers: usize,
    /// As many may.
    pub concurrency: usize,
    /// Its dead letters; absent without `deadLetter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<DeadLettersReport>,
    /// Its last failed attempts, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_failures: Vec<FailedAttempt>,
}

/// The dead letters of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLettersReport {
    /// Key of the stream.
    pub stream: String,
    /// Entries of the stream, when Redis was last asked; absent when it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Written by this process.
    pub written: u64,
    /// Waiting to be written.
    pub pending: u64,
    /// Lost before they could be written.
    pub lost: u64,
    /// Attempts to write that failed.
    pub write_failures: u64,
}
