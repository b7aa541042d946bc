//! The status of an app, after the conventions of kstatus (sigs.k8s.io/cli-utils/pkg/kstatus): observedGeneration and
//! exactly one of the conditions Ready, Reconciling and Stalled true.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::sharing::Delivery;

/// What the operator observed of an app.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SpinRedisAppStatus {
    /// The generation of the app that this status speaks of; -1 before the operator has seen it.
    #[serde(default = "never_observed")]
    pub observed_generation: i64,
    /// Pods of the app.
    #[serde(default)]
    pub replicas: i32,
    /// Pods of the current generation that are subscribed to all channels.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Label selector of the pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// What several replicas do with one message. Only of an app that says so in its spec, or that has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub delivery: Option<Delivery>,
    /// What each component turned out to be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub components: Vec<ComponentStatus>,
    /// Ready, Reconciling and Stalled (exactly one of them true), Available and ComponentsReady; NetworkPolicyExact where the
    /// app has a NetworkPolicy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What a component turned out to be when it was prepared.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// Id of the component.
    pub id: String,
    /// Digest of the image manifest, or of the bytes of a ConfigMap key.
    pub digest: String,
    /// The interface through which it is called.
    pub handler: String,
}

fn never_observed() -> i64 {
    -1
}

/// The condition types of an app's status.
pub mod condition {
    /// All replicas of the observed generation are subscribed.
    pub const READY: &str = "Ready";
    /// Something is under way, or waits for something outside the app.
    pub const RECONCILING: &str = "Reconciling";
    /// Only an edit helps.
    pub const STALLED: &str = "Stalled";
    /// Some pod, of any generation, is subscribed.
    pub const AVAILABLE: &str = "Available";
    /// Every component was fetched, inspected and compiled.
    pub const COMPONENTS_READY: &str = "ComponentsReady";
    /// The NetworkPolicy allows no more than the hosts that the app names. Only where there is one.
    pub const NETWORK_POLICY_EXACT: &str = "NetworkPolicyExact";
}
