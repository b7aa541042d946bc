//! The manifest the runtime reads: the part of a `SpinRedisApp` that changes what the pods do.
//!
//! [`Manifest::parse`] takes both what the operator writes (`app.yaml`) and the file a person applies, so what runs on a
//! laptop is what runs in the cluster. Scaling, labels or pull secrets are not part of it and roll no pods.

use std::collections::BTreeMap;

use kube::Resource;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    app::{SpinRedisApp, SpinRedisAppSpec},
    component::Component,
    reference::Reference,
    trigger::Trigger,
};

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
    /// Trigger and components.
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

/// Trigger and components.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ManifestSpec {
    /// The Redis server whose channels the components subscribe to.
    pub trigger: Trigger,
    /// The components.
    pub components: Vec<Component>,
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

/// The documents of a manifest file: one app, and the ConfigMaps and Secrets that may stand beside it.
#[derive(Debug)]
pub struct Documents {
    /// The app as it was written.
    pub app: Value,
    /// Keys of the ConfigMaps and Secrets in the same file, with their values.
    pub objects: BTreeMap<Reference, Vec<u8>>,
}

impl Documents {
    /// Reads the documents of a YAML (or JSON) file.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(text).map_err(|error| ManifestError::Yaml(first_line(&error.to_string())))?;
        let text_of = |document: &Value, field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut apps = Vec::new();
        let mut objects = BTreeMap::new();
        for document in documents {
            match text_of(&document, "kind").as_str() {
                "SpinRedisApp" => apps.push(document),
                "ConfigMap" => collect(&document, Reference::config_map, "data", "binaryData", &mut objects)?,
                "Secret" => collect(&document, Reference::secret, "stringData", "data", &mut objects)?,
                _ => {}
            }
        }
        let wanted = api_version();
        let app = match apps.len() {
            0 => return Err(ManifestError::NoApp(wanted)),
            1 => apps.swap_remove(0),
            several => return Err(ManifestError::SeveralApps(several)),
        };
        let found = text_of(&app, "apiVersion");
        if found != wanted {
            let found = if found.is_empty() { "not given".to_owned() } else { found };
            return Err(ManifestError::ApiVersion { found, wanted });
        }
        Ok(Self { app, objects })
    }

    /// The app as the runtime reads it.
    pub fn manifest(&self) -> Result<Manifest, ManifestError> {
        Manifest::deserialize(&self.app).map_err(|error| ManifestError::Shape(error.to_string()))
    }
}

/// Puts the plain and base64 values of a ConfigMap or Secret document into `objects`.
fn collect(
    document: &Value,
    reference: fn(String, String) -> Reference,
    plain: &str,
    encoded: &str,
    objects: &mut BTreeMap<Reference, Vec<u8>>,
) -> Result<(), ManifestError> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let values = |field: &str| document.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, value) in values(encoded) {
        let text: String = value.as_str().unwrap_or_default().split_whitespace().collect();
        let bytes = BASE64_STANDARD
            .decode(text)
            .map_err(|error| ManifestError::Shape(format!("key {key} in {encoded} of {name} is not base64: {error}")))?;
        objects.insert(reference(name.to_owned(), key), bytes);
    }
    for (key, value) in values(plain) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        objects.insert(reference(name.to_owned(), key), text.into_bytes());
    }
    Ok(())
}

fn api_version() -> String {
    SpinRedisApp::api_version(&()).into_owned()
}

/// The first line of an error that a library spread over several.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches(':').to_owned()
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
            spec: ManifestSpec { trigger: app.spec.trigger.clone(), components: app.spec.components.clone() },
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
        references(&self.spec.trigger, &self.spec.components)
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
        references(&self.trigger, &self.components)
    }
}

fn references(trigger: &Trigger, components: &[Component]) -> Vec<Reference> {
    let mut found: Vec<Reference> = Vec::new();
    found.extend(trigger.address_from.as_ref().and_then(|from| from.reference()));
    found.extend(trigger.password_from.as_ref().map(|from| from.reference()));
    if let Some(tls) = &trigger.tls {
        found.extend(tls.ca_from.as_ref().and_then(|from| from.reference()));
        if let Some(certificate) = &tls.client_certificate_from {
            found.extend(certificate.references());
        }
    }
    for component in components {
        found.extend(component.source.config_map.as_ref().map(|source| source.reference()));
        found.extend(component.env.iter().filter_map(|env| env.value_from.as_ref()?.reference()));
    }
    found.sort();
    found.dedup();
    found
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
    fn the_canonical_text_is_read_back_and_knows_nothing_of_replicas_or_labels() {
        let manifest = Manifest::parse(APP).unwrap();
        let text = manifest.to_canonical_text();
        assert_eq!(Manifest::parse(&text).unwrap(), manifest);
        assert!(!text.contains("replicas") && !text.contains("team"));
        assert_eq!(manifest.hash().len(), 10);
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
