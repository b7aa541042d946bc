//! The manifest the runtime reads: the part of a `SpinRedisApp` that changes what the pods do.
//!
//! [`Manifest::parse`] takes both what the operator writes (`app.yaml`) and the file a person applies, so what runs on a
//! laptop is what runs in the cluster. Scaling, labels or pull secrets are not part of it and roll no pods; only whether replicas
//! share messages is, which their number decides where the app does not ([`sharing`](crate::sharing)).

use std::time::Duration;

use kube::Resource;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    app::{Application, SpinRedisApp, SpinRedisAppSpec},
    component::Component,
    connection::{Connection, Trigger},
    defaults, quantity,
    reference::Reference,
    sharing::{Delivery, Sharing},
    store::KeyValueStore,
    variable::Variable,
};

pub use crate::documents::Documents;

/// File name of the manifest in its ConfigMap.
pub const FILE_NAME: &str = "app.yaml";

/// What the runtime knows of an app.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// `spinredis.dev/v1alpha1`.
    pub api_version: String,
    /// `SpinRedisApp`.
    pub kind: String,
    /// Name and namespace.
    pub metadata: Metadata,
    /// Trigger, components and what they may use.
    pub spec: ManifestSpec,
}

/// Name and namespace of the app.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Name of the app.
    pub name: String,
    /// Namespace of the app; `default` when a file names none.
    #[serde(default = "default_namespace")]
    pub namespace: String,
}

/// Trigger, components and what they may use. What is absent is left out when it is written, so that a field that comes to
/// the API changes no manifest without it, and rolls no pods.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ManifestSpec {
    /// The Redis server whose channels the components subscribe to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// A whole Spin app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<Application>,
    /// The components, and what to change in those of the application.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Component>,
    /// Variables of all components.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<Variable>,
    /// Key-value stores that components may open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_value_stores: Vec<KeyValueStore>,
    /// How long a stopping pod may finish the messages it has received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<String>,
    /// What several replicas do with one message.
    #[serde(default, skip_serializing_if = "Delivery::is_each_replica")]
    pub delivery: Delivery,
    /// How replicas that share messages watch over each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
}

fn default_namespace() -> String {
    "default".to_owned()
}

/// Why a manifest file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not YAML.
    #[error("the file is not YAML: {0}")]
    Yaml(String),
    /// No app in the file.
    #[error("the file holds no SpinRedisApp: one of its documents must have kind SpinRedisApp and apiVersion {0}")]
    NoApp(String),
    /// More than one app in the file.
    #[error("the file holds {0} SpinRedisApps: give each a file of its own")]
    SeveralApps(usize),
    /// The app has another apiVersion.
    #[error("apiVersion is {found}, and this program reads {wanted}: change it, or use the version of spinredis that reads it")]
    ApiVersion {
        /// What the file says.
        found: String,
        /// What it must say.
        wanted: String,
    },
    /// The document does not have the shape of an app.
    #[error("{0}")]
    Shape(String),
}

pub(crate) fn api_version() -> String {
    SpinRedisApp::api_version(&()).into_owned()
}

impl Manifest {
    /// What the runtime reads of an app.
    pub fn of(app: &SpinRedisApp) -> Self {
        Self {
            api_version: api_version(),
            kind: SpinRedisApp::kind(&()).into_owned(),
            metadata: Metadata {
                name: app.metadata.name.clone().unwrap_or_default(),
                namespace: app.metadata.namespace.clone().unwrap_or_else(default_namespace),
            },
            spec: ManifestSpec::of(&app.spec),
        }
    }

    /// Parses a manifest file without checking it against the API's rules (see [`check`](crate::check) for that).
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        Documents::parse(text)?.manifest()
    }

    /// The canonical text: indented JSON, which is YAML too. Fields come in the order of the types and absent ones are
    /// left out, so the same app always gives the same bytes, whichever version of a YAML library is linked.
    pub fn to_canonical_text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Ten hexadecimal digits of the SHA-256 of the canonical text: the suffix of the manifest's ConfigMap.
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(self.to_canonical_text()))[..10].to_owned()
    }

    /// Every Secret and ConfigMap key the runtime reads for this app, each once.
    pub fn references(&self) -> Vec<Reference> {
        self.spec.references()
    }

    /// The key-value store of this name as the manifest declares it; `None` for one without an entry.
    pub fn key_value_store(&self, name: &str) -> Option<&KeyValueStore> {
        self.spec.key_value_stores.iter().find(|store| store.name == name)
    }

    /// What each key of a store begins with in Redis, declared or not.
    pub fn key_value_prefix(&self, store: &str) -> String {
        let Metadata { name, namespace } = &self.metadata;
        self.key_value_store(store).map_or_else(|| defaults::prefix(namespace, name, store), |store| store.prefix(namespace, name))
    }

    /// `namespace/name`, as logs, metrics and Redis's CLIENT LIST show it.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }
}

/// Lower-case hexadecimal digits of some bytes.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `sha256:` and the digest of some bytes, as OCI writes digests.
pub fn sha256_digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

impl SpinRedisAppSpec {
    /// Every Secret and ConfigMap key the runtime reads, each once. Pull secrets are not among them: only `prepare` sees
    /// those.
    pub fn references(&self) -> Vec<Reference> {
        ManifestSpec::of(self).references()
    }

    /// How long a stopping pod may finish the messages it has received.
    pub fn drain(&self) -> Duration {
        defaults::drain(self.drain.as_deref())
    }
}

impl ManifestSpec {
    /// What the runtime reads of an app.
    pub fn of(spec: &SpinRedisAppSpec) -> Self {
        let delivery = spec.effective_delivery();
        Self {
            trigger: spec.trigger.clone(),
            application: spec.application.clone(),
            components: spec.components.clone(),
            variables: spec.variables.clone(),
            key_value_stores: spec.key_value_stores.clone(),
            drain: spec.drain.clone(),
            delivery,
            sharing: spec.sharing.clone().filter(|_| delivery.is_shared()),
        }
    }

    /// How long a stopping pod may finish the messages it has received.
    pub fn drain(&self) -> Duration {
        defaults::drain(self.drain.as_deref())
    }

    /// Largest payload that is handed to a component, in bytes.
    pub fn max_message_bytes(&self) -> u64 {
        let bytes = self.trigger.as_ref().and_then(|trigger| quantity::bytes(trigger.max_message_bytes.as_deref()?).ok());
        bytes.unwrap_or(defaults::MAX_MESSAGE_BYTES)
    }

    /// The Redis server whose channels the components subscribe to, as far as the manifest says.
    pub fn server(&self) -> Option<&Connection> {
        self.trigger.as_ref().map(|trigger| &trigger.connection)
    }

    /// Every connection that the manifest describes, each with the path of its field.
    pub fn connections(&self) -> Vec<(String, &Connection)> {
        let trigger = self.server().map(|server| ("spec.trigger".to_owned(), server));
        let stores = self.key_value_stores.iter().enumerate();
        let stores = stores.map(|(index, store)| (format!("spec.keyValueStores[{index}].connection"), store.connection.as_ref()));
        let dead_letters = self.components.iter().enumerate().map(|(index, component)| {
            (
                format!("spec.components[{index}].deadLetter.connection"),
                component.dead_letter.as_ref().and_then(|letters| letters.connection.as_ref()),
            )
        });
        let others = stores.chain(dead_letters).filter_map(|(path, connection)| Some((path, connection?)));
        trigger.into_iter().chain(others).collect()
    }

    /// Every Secret and ConfigMap key that is named, each once.
    pub fn references(&self) -> Vec<Reference> {
        let mut found: Vec<Reference> = self.connections().into_iter().flat_map(|(_, connection)| connection.references()).collect();
        let variables = self.variables.iter().chain(self.components.iter().flat_map(|component| &component.variables));
        found.extend(variables.filter_map(|variable| variable.value_from.as_ref()?.reference()));
        for component in &self.components {
            found.extend(component.config_map().map(|source| source.reference()));
            found.extend(component.env.iter().filter_map(|env| env.value_from.as_ref()?.reference()));
        }
        found.sort();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: {name: guests}
data: {hello.wat: (component)}
binaryData: {hello.wasm: AGFzbQ==}
---
apiVersion: spinredis.dev/v1alpha1
kind: SpinRedisApp
metadata: {name: hello, labels: {team: a}}
spec:
  replicas: 3
  delivery: EachReplica
  trigger: {address: 'redis://localhost', passwordFrom: {secretKeyRef: {name: redis, key: password}}}
  components:
  - id: hello
    channels: [messages]
    source: {configMap: {name: guests, key: hello.wat}}
    env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: redis, key: password}}}]
";

    #[test]
    fn a_field_that_is_null_is_absent() {
        let text = APP.replace("channels: [messages]", "channels: [messages]\n    patterns: null").replace("  replicas: 3", "  replicas:");
        assert_eq!(Manifest::parse(&text).unwrap(), Manifest::parse(APP).unwrap());
    }

    #[test]
    fn the_objects_beside_an_app_are_values_for_its_references() {
        let documents = Documents::parse(APP).unwrap();
        assert_eq!(documents.objects[&Reference::config_map("guests", "hello.wat")], b"(component)");
        assert_eq!(documents.objects[&Reference::config_map("guests", "hello.wasm")], b"\0asm");
    }

    #[test]
    fn references_are_listed_once() {
        let references = Manifest::parse(APP).unwrap().references();
        assert_eq!(references, [Reference::config_map("guests", "hello.wat"), Reference::secret("redis", "password")]);
    }

    #[test]
    fn the_server_of_a_dead_letter_stream_brings_its_references() {
        let letters = "deadLetter: {stream: dead, connection: {addressFrom: {secretKeyRef: {name: letters, key: url}}, \
                       tls: {caFrom: {configMapKeyRef: {name: ca, key: ca.crt}}}}}";
        let references = Manifest::parse(&format!("{APP}    {letters}\n")).unwrap().references();
        assert!(references.contains(&Reference::secret("letters", "url")), "{references:?}");
        assert!(references.contains(&Reference::config_map("ca", "ca.crt")), "{references:?}");
    }

    #[test]
    fn the_largest_message_and_the_time_to_drain_are_those_of_the_manifest_or_the_defaults() {
        let of = |text: &str| {
            let spec = Manifest::parse(text).unwrap().spec;
            (spec.max_message_bytes(), spec.drain())
        };
        assert_eq!(of(APP), (defaults::MAX_MESSAGE_BYTES, defaults::DRAIN));
        let given = APP.replace("'redis://localhost',", "'redis://localhost', maxMessageBytes: 64Mi,") + "  drain: 1m30s\n";
        assert_eq!(of(&given), (64 << 20, Duration::from_secs(90)));
    }

    #[test]
    fn a_trigger_is_a_connection_with_more_to_it() {
        let manifest = Manifest::parse(&APP.replace("'redis://localhost',", "'redis://localhost', maxMessageBytes: 1Mi,")).unwrap();
        assert_eq!(manifest.spec.server().unwrap().address.as_deref(), Some("redis://localhost"));
        assert_eq!(Manifest::parse(&manifest.to_canonical_text()).unwrap(), manifest);
    }

    /// The suffix of a ConfigMap's name; another one rolls every app.
    #[test]
    fn the_hash_of_a_manifest_stays_what_it_was() {
        assert_eq!(Manifest::parse(APP).unwrap().hash(), "69eecee0d4");
    }

    #[test]
    fn the_canonical_text_is_read_back_and_knows_nothing_of_replicas_or_labels() {
        let manifest = Manifest::parse(APP).unwrap();
        let text = manifest.to_canonical_text();
        assert_eq!(Manifest::parse(&text).unwrap(), manifest);
        assert!(!text.contains("replicas") && !text.contains("team"));
        assert_eq!(manifest.hash().len(), 10);
    }

    #[test]
    fn a_field_that_is_absent_is_not_written_so_that_new_fields_roll_no_pods() {
        let text = Manifest::parse(APP).unwrap().to_canonical_text();
        let written: serde_json::Value = serde_json::from_str(&text).unwrap();
        let fields = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(fields(&written["spec"]), ["components", "trigger"].map(str::to_owned).into());
        assert_eq!(fields(&written["spec"]["components"][0]), ["channels", "env", "id", "source"].map(str::to_owned).into());
    }

    #[test]
    fn keys_of_a_store_begin_with_namespace_app_and_store_unless_the_manifest_says_otherwise() {
        let manifest = Manifest::parse(&format!("{APP}  keyValueStores: [{{name: a}}, {{name: b, prefix: ''}}]\n")).unwrap();
        let prefixes = ["default", "a", "b"].map(|store| manifest.key_value_prefix(store));
        assert_eq!(prefixes, ["default/hello/default/", "default/hello/a/", ""]);
    }

    #[test]
    fn a_file_without_exactly_one_app_is_refused_with_a_sentence() {
        let error = |text: &str| Documents::parse(text).unwrap_err().to_string();
        assert!(error("kind: Pod").contains("holds no SpinRedisApp"));
        assert!(error(&format!("{APP}\n---\n{APP}")).contains("2 SpinRedisApps"));
        assert!(error("apiVersion: v2\nkind: SpinRedisApp").contains("apiVersion is v2"));
        assert!(error("a: [").contains("not YAML"));
    }
}
