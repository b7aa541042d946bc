//! The root of the API: `SpinRedisApp` and what belongs to the app as a whole.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    component::{Component, OciSource},
    connection::Trigger,
    pod::Pod,
    policies::{DisruptionBudget, NetworkPolicySettings, Prepare},
    sharing::{Delivery, Sharing},
    status::SpinRedisAppStatus,
    store::KeyValueStore,
    variable::Variable,
};

/// API group of the resource.
pub const GROUP: &str = "spinredis.dev";

/// A Redis-triggered WebAssembly app: a Redis server and the components that handle its messages.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[kube(
    group = "spinredis.dev",
    version = "v1alpha1",
    kind = "SpinRedisApp",
    namespaced,
    shortname = "sra",
    category = "spin",
    status = "SpinRedisAppStatus",
    derive = "PartialEq",
    doc = "A Redis-triggered WebAssembly app: its components are called for each message published to their channels.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Delivery", type_ = "string", priority = 1, json_path = ".status.delivery"),
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.trigger.address"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 52")
        .message("metadata.name must be at most 52 lower-case letters, digits and dashes, since the names of its children are made from it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.sharing) || !has(self.delivery) || self.delivery == 'Shared'").field_path(".sharing")
    .message("sharing is for replicas that share messages, and delivery is EachReplica: set delivery: Shared, or leave sharing out"))]
#[x_kube(validation = Rule::new("has(self.application) || has(self.trigger)").field_path(".trigger").reason(Reason::FieldValueRequired)
    .message("name the Redis server, for example trigger: {address: redis://redis.default.svc:6379}"))]
#[x_kube(validation = Rule::new("has(self.application) || !has(self.trigger) || has(self.trigger.address) || has(self.trigger.addressFrom)")
    .field_path(".trigger").message("set exactly one of address and addressFrom"))]
#[x_kube(validation = Rule::new("has(self.application) || (has(self.components) && size(self.components) > 0)").field_path(".components")
    .message("name at least one component here, or a whole Spin app in application"))]
#[x_kube(validation = Rule::new("has(self.application) || !has(self.components) || self.components.all(c, has(c.source))")
    .field_path(".components")
    .message("a component has no source: name its image in source.oci or its ConfigMap key in source.configMap; only with application may a source be left out"))]
pub struct SpinRedisAppSpec {
    /// The Redis server whose channels the components subscribe to. With application it may be left out, or name no address:
    /// where it names one, that replaces the app's default address and not an address of a trigger's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// A whole Spin app, of which the components with a Redis trigger are called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<Application>,
    /// The components, each called for the messages of its own channels. With application also what to change in its
    /// components, by their ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub components: Vec<Component>,
    /// Variables of all components, for Spin's variables interface and wasi:config. Those of a component win over these, and
    /// these over the ones that application brings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub variables: Vec<Variable>,
    /// Key-value stores that components may name in keyValueStores. default needs no entry: it is on the Redis server of the
    /// trigger.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub key_value_stores: Vec<KeyValueStore>,
    /// Secrets of type kubernetes.io/dockerconfigjson with the credentials to pull component images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Vec<PullSecret>,
    /// Number of pods. Default 1. What several do with one message, delivery says.
    #[serde(default = "one_replica")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// What several replicas do with one message. Shared: one of them handles it, although Redis pub/sub delivers it to all.
    /// EachReplica: every one of them handles it. Without it messages are shared as soon as replicas is above 1, and scaling
    /// from 1 to several replaces the pods: set it where something scales the app, such as an autoscaler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// How replicas that share messages watch over each other. The defaults suit almost everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
    /// How long a stopping pod may finish the messages it has received: 30s, 2m. Default 30s, at most 1h; 0s: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(validation = Rule::new("!self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || duration(self) <= duration('1h')")
        .message("drain must be at most 1h"))]
    pub drain: Option<String>,
    /// CPU and memory of the container that handles messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The init container that fetches and compiles the components.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<Prepare>,
    /// What to add to the pods: labels, and where and as whom they run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// A PodDisruptionBudget for the app, as long as replicas is above 1: how many of its pods a drained node may take away at
    /// once. {} asks for one with its defaults, which an app whose replicas share messages has anyhow; enabled: false for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_disruption_budget: Option<DisruptionBudget>,
    /// A NetworkPolicy for the app: in to the health port, out to DNS and to the hosts that this manifest names. Default none;
    /// {} asks for one with its defaults. The condition NetworkPolicyExact says where it had to be wider than the hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicySettings>,
}

fn one_replica() -> i32 {
    crate::defaults::REPLICAS
}

/// A whole Spin app.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// The app in an OCI registry, as spin registry push writes it.
    pub oci: OciSource,
}

/// The name of a Secret with registry credentials.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PullSecret {
    /// Name of the Secret, in the namespace of the app.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// CPU and memory requests and limits, as in a Pod.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler reserves: cpu: 100m, memory: 64Mi.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub requests: BTreeMap<String, String>,
    /// What the container may not exceed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub limits: BTreeMap<String, String>,
}

/// A map of resource name to quantity, bounded so that the API server accepts it.
fn quantities(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "type": "string",
            "maxLength": 32,
            "pattern": r"^[0-9]+([.][0-9]+)?(m|Ki|Mi|Gi|Ti|k|M|G|T)?$",
        },
    })
}
