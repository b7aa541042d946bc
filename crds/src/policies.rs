//! What surrounds the pods of an app: how many may be away at once, what they may connect to, what `prepare` gets. Nothing
//! of it reaches the runtime.

use k8s_openapi::{api::networking::v1::NetworkPolicyEgressRule, apimachinery::pkg::util::intstr::IntOrString};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{
    app::Resources,
    kubernetes::{egress_rules, pods_or_percentage},
};

/// The init container that fetches and compiles the components.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Prepare {
    /// CPU and memory of that container. What is not named is as in spec.resources, with a memory limit of at least 512Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// A PodDisruptionBudget for the app: how many of its pods a drained node may take away at once.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.minAvailable) && has(self.maxUnavailable))")
    .message("set only one of minAvailable and maxUnavailable"))]
pub struct DisruptionBudget {
    /// Whether there is one, as soon as replicas is above 1. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How many pods, or which share of them ("50%"), must stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pods_or_percentage")]
    pub min_available: Option<IntOrString>,
    /// How many pods, or which share of them ("50%"), may be away. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pods_or_percentage")]
    pub max_unavailable: Option<IntOrString>,
}

/// A NetworkPolicy for the app, made from the hosts that its manifest names.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySettings {
    /// Whether there is one. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether the registries of the app's images may be reached. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_registry: Option<bool>,
    /// Rules to add for what the pods connect to, as in a NetworkPolicy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "egress_rules")]
    pub extra_egress: Vec<NetworkPolicyEgressRule>,
}

impl DisruptionBudget {
    /// Whether the app wants one.
    pub fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }
}

impl NetworkPolicySettings {
    /// Whether the app wants one.
    pub fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }

    /// Whether the registries of its images may be reached.
    pub fn allows_registry(&self) -> bool {
        self.allow_registry.unwrap_or(true)
    }
}
