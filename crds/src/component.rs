//! A component: which channels call it, where its WebAssembly comes from, and within which limits it runs.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{
    dispatch::{DeadLetter, Instances, Ordering, QueueSpec, Retry},
    reference::{Reference, ValueFrom},
    variable::Variable,
};

/// A WebAssembly component that is called for each message.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.source) || (has(self.channels) && size(self.channels) > 0) || (has(self.patterns) && size(self.patterns) > 0)")
    .message("name at least one channel in channels or one pattern in patterns"))]
pub struct Component {
    /// Name of the component, unique in the app: lower-case letters, digits and dashes. With application, the id of the
    /// component of that app whose fields are set here.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub id: String,
    /// Channels whose messages the component gets, by their exact names (Redis SUBSCRIBE).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    pub channels: Vec<String>,
    /// Glob patterns of channels whose messages the component gets (Redis PSUBSCRIBE): orders.*, user.?, h[ae]llo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    pub patterns: Vec<String>,
    /// Where the WebAssembly comes from. Without it this entry changes the component of that id of the app that application
    /// names: each field that is set here, and each list that is not empty, replaces the one of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Environment variables of the component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Arguments of the component, as a WASI program sees them after its own name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 4096)), extend("x-kubernetes-list-type" = "atomic"))]
    pub args: Vec<String>,
    /// Variables of the component, for Spin's variables interface and wasi:config. They win over those in spec.variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub variables: Vec<Variable>,
    /// Hosts that the component may connect to, as Spin writes them: https://api.example.com, https://*.example.com,
    /// redis://cache:6379, *://10.1.0.0/16:443, *://*:*; self is the Redis server of the trigger; {{ name }} stands for a
    /// variable. Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "hosts")]
    pub allowed_outbound_hosts: Vec<String>,
    /// Names of the key-value stores that the component may open: default, the Redis server of the trigger, and those in
    /// spec.keyValueStores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$")), extend("x-kubernetes-list-type" = "set"))]
    pub key_value_stores: Vec<String>,
    /// How long one attempt to handle a message may take before it is stopped and has failed: 500ms, 30s, 1m30s. Default 30s,
    /// at most 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    // What is not a duration at all has the pattern's message already.
    #[x_kube(validation = Rule::new(
        "!self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || (duration(self) >= duration('1ms') && duration(self) <= duration('1h'))")
        .message("timeout must be between 1ms and 1h"))]
    pub timeout: Option<String>,
    /// Linear memory that one instance may use, as a quantity: 64Mi, 1Gi. Default 128Mi; between 64Ki and 4Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[0-9]+([.][0-9]+)?(Ki|Mi|Gi|k|M|G)?$"))]
    #[x_kube(validation = Rule::new(
        "isQuantity(self) && quantity(self).compareTo(quantity('64Ki')) >= 0 && quantity(self).compareTo(quantity('4Gi')) <= 0")
        .message("memoryLimit must be between 64Ki and 4Gi, for example 128Mi"))]
    pub memory_limit: Option<String>,
    /// How many messages are handled at once, each by an instance of its own. Default 8, at most 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub concurrency: Option<i32>,
    /// In which order messages are handled. Channel (the default): those of one channel one after the other, channels side by
    /// side. None: any messages side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering: Option<Ordering>,
    /// Instances kept ready, and how many messages one may handle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<Instances>,
    /// The messages that wait for the component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueSpec>,
    /// What happens when a message fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Where messages go that failed for good. Default nowhere: they are counted and logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetter>,
}

/// Where a component's WebAssembly comes from; exactly one of the two.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.oci) != has(self.configMap)")
    .message("source must name exactly one of oci and configMap"))]
pub struct Source {
    /// A component image in an OCI registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
    /// A key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
}

/// A component image in an OCI registry.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OciSource {
    /// Image reference: ghcr.io/acme/greeter:v1, or with a digest ghcr.io/acme/greeter@sha256:….
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("!self.contains('://') && !self.contains(' ')")
        .message("reference must be REGISTRY/REPOSITORY:TAG without a scheme, for example ghcr.io/acme/greeter:v1"))]
    pub reference: String,
    /// Digest that the image's manifest must have; anything else is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
}

/// A key of a ConfigMap that holds WebAssembly.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapSource {
    /// Name of the ConfigMap, in the namespace of the app.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Key in its data or binaryData: a component as wasm, gzip'd wasm or WAT (the text format).
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^([-_a-zA-Z0-9]|[.][-_a-zA-Z0-9])[-._a-zA-Z0-9]*$"))]
    pub key: String,
}

/// An environment variable; its value is given here or kept in a Secret or ConfigMap.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.value) != has(self.valueFrom)")
    .message("an environment variable needs exactly one of value and valueFrom"))]
pub struct EnvVar {
    /// Name of the variable.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[^=]+$"))]
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub value: Option<String>,
    /// Its value from a Secret or ConfigMap key; read anew for new instances, so a change needs no restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

/// The list of allowed hosts; its rule is that of each of them.
fn hosts(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 256,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": 1024,
            // One search of each: a second would cost more than the API server grants for 64 lists of 256.
            "x-kubernetes-validations": [{
                "rule": "self.contains('://') || self.startsWith('{{')",
                "message": "an allowed host needs a scheme: write for example https://api.example.com, redis://cache:6379, or *://*:* for every host",
            }],
        },
    })
}

impl Component {
    /// The image it comes from, if it does.
    pub fn oci(&self) -> Option<&OciSource> {
        self.source.as_ref()?.oci.as_ref()
    }

    /// The ConfigMap key it comes from, if it does.
    pub fn config_map(&self) -> Option<&ConfigMapSource> {
        self.source.as_ref()?.config_map.as_ref()
    }
}

impl ConfigMapSource {
    /// The key that holds the component.
    pub fn reference(&self) -> Reference {
        Reference::config_map(&self.name, &self.key)
    }
}
