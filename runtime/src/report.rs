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
    /// The replicas that share its messages; absent where each handles all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupReport>,
}

/// The replicas that share the messages of a server, as one of them knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupReport {
    /// Where the group is kept in Redis.
    pub key: String,
    /// Number of the last marker: it counts up with each change of the group.
    pub epoch: u64,
    /// Whether this replica owns a share.
    pub member: bool,
    /// All who beat.
    pub members: Vec<MemberReport>,
    /// Messages received that this replica owned.
    pub owned: u64,
    /// Messages received that others owned.
    pub others: u64,
    /// Messages taken over from replicas that went away.
    pub replayed: u64,
    /// Messages handled before an earlier one of their channel was known to be finished, since too many waited.
    pub hurried: u64,
    /// Messages that wait until an earlier one of their channel is finished elsewhere.
    pub held: u64,
    /// Bytes kept of what others own.
    pub ring_bytes: u64,
    /// The bound of those.
    pub ring_max_bytes: u64,
    /// Messages of others that could no longer be kept: nobody can take them over from here.
    pub overflowed: u64,
    /// How often the group took this replica for dead.
    pub expulsions: u64,
    /// How often it lost its place in the order of messages.
    pub cuts: u64,
    /// Messages on the control channel that came from strangers.
    pub ignored: u64,
    /// Beats that did not reach the group.
    pub failed_beats: u64,
}

/// One replica of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberReport {
    /// Its id: its pod and a number for this stay in the group.
    pub id: String,
    /// Whether it is the one that tells this.
    pub is_self: bool,
    /// Whether it owns new messages; otherwise it finishes old ones.
    pub owns: bool,
    /// Milliseconds since its last beat.
    pub silent_ms: u64,
    /// The last marker it has seen.
    pub epoch: u64,
    /// Messages it has received since.
    pub received: u64,
    /// It has finished everything of earlier epochs than this.
    pub finished_epoch: u64,
    /// Of that epoch's messages it has finished all it owned up to here. Of channels that are not behind it may have finished more.
    pub finished: u64,
    /// Whether it is still at work on what it took over then.
    pub replaying: bool,
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
