//! Conditions after kstatus: exactly one of Ready, Reconciling and Stalled is true, and a condition that keeps its status
//! keeps the time of its last transition.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use serde::Deserialize;
use serde_json::Value;
use spinredis_crds::{Reason, SpinRedisAppStatus, report::shorten, status::condition};

/// The API server refuses a longer message.
const MAX_MESSAGE_BYTES: usize = 32_768;

/// Which of the three is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Everything is as the app asks.
    Ready,
    /// It is under way, or waits for something that may come.
    Reconciling,
    /// Only an edit helps.
    Stalled,
}

/// A condition without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// Why.
    pub reason: String,
    /// What happened, to what, and what to do.
    pub message: String,
}

impl Finding {
    /// A condition without its times.
    pub fn new(status: &'static str, reason: impl ToString, message: impl Into<String>) -> Self {
        Self { status, reason: reason.to_string(), message: message.into() }
    }
}

/// `True` or `False`.
fn status_of(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// All conditions of a status.
#[expect(clippy::too_many_arguments, reason = "each is a condition, or what all of them need")]
pub fn conditions(
    phase: Phase,
    (reason, message): (Reason, &str),
    available: Finding,
    components_ready: Finding,
    network_policy_exact: Option<Finding>,
    previous: &SpinRedisAppStatus,
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let main = |is: Phase| {
        let is_this = phase == is;
        // Ready says why it is not; the two others say nothing when they are not the case.
        Finding::new(status_of(is_this), reason, if is_this || is == Phase::Ready { message } else { "" })
    };
    let always = [
        (condition::READY, main(Phase::Ready)),
        (condition::RECONCILING, main(Phase::Reconciling)),
        (condition::STALLED, main(Phase::Stalled)),
        (condition::AVAILABLE, available),
        (condition::COMPONENTS_READY, components_ready),
    ];
    let sometimes = network_policy_exact.map(|finding| (condition::NETWORK_POLICY_EXACT, finding));
    let complete = |(type_, finding): (&str, Finding)| {
        let before = find(previous, type_).filter(|before| before.status == finding.status);
        Condition {
            last_transition_time: before.map_or(Time(now), |before| before.last_transition_time.clone()),
            type_: type_.to_owned(),
            status: finding.status.to_owned(),
            reason: finding.reason,
            message: shorten(&finding.message, MAX_MESSAGE_BYTES),
            observed_generation: Some(generation),
        }
    };
    always.into_iter().chain(sometimes).map(complete).collect()
}

/// The condition of a type.
pub fn find<'a>(status: &'a SpinRedisAppStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

/// The reason of a condition, when it is one of the fixed list.
pub fn reason(condition: &Condition) -> Option<Reason> {
    Reason::deserialize(Value::String(condition.reason.clone())).ok()
}
