//! An object as it is kept in memory: what finds it, and the rest as compact JSON without what nobody here reads. A Deployment
//! as a Rust value takes four times as much, and a thousand apps are kept.

use std::{borrow::Cow, fmt, marker::PhantomData, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::Kept;

/// An object of kind `K` in its compact form.
pub struct Stored<K> {
    /// Name, namespace, identity, version, labels.
    metadata: ObjectMeta,
    /// The whole object, trimmed.
    text: Arc<[u8]>,
    /// Names of the ConfigMaps that the object asks for.
    sources: Arc<[String]>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Stored<K> {
    fn clone(&self) -> Self {
        Self { metadata: self.metadata.clone(), text: self.text.clone(), sources: self.sources.clone(), kind: PhantomData }
    }
}

impl<K> fmt::Debug for Stored<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("name", &self.metadata.name).field("version", &self.metadata.resource_version).finish()
    }
}

impl<K: Kept> Stored<K> {
    /// The compact form of an object; `None` for one that cannot be written as JSON, which no object of the API is.
    pub fn of(object: &impl Serialize) -> Option<Self> {
        serde_json::to_value(object).ok().and_then(|value| Self::from_value(value).ok())
    }

    fn from_value(mut value: Value) -> Result<Self, serde_json::Error> {
        let Value::Object(fields) = &mut value else { return Err(serde::de::Error::custom("an object of the API is no JSON object")) };
        let mut metadata = fields.get("metadata").map(ObjectMeta::deserialize).transpose()?.unwrap_or_default();
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        K::trim(fields);
        let sources = K::sources(fields).into();
        let text = serde_json::to_vec(&value)?.into();
        // The rest of it is in the text.
        metadata = ObjectMeta {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            labels: metadata.labels.map(|labels| labels.into_iter().filter(|(name, _)| name == crate::names::APP_LABEL).collect()),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, text, sources, kind: PhantomData })
    }

    /// The object as a type: `K` itself, or one without its shape.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.text)
    }

    /// Whether the object asks for this ConfigMap.
    pub fn asks_for(&self, config_map: &str) -> bool {
        self.sources.iter().any(|source| source == config_map)
    }

    /// Where the object is: namespace and name.
    pub fn key(&self) -> (String, String) {
        (self.namespace().unwrap_or_default(), self.name_any())
    }

    /// How new the object is: the number that its resource version is (a client may compare those of one resource since
    /// Kubernetes 1.35, which promises what every earlier release did). Zero when it is no number.
    pub fn version(&self) -> u64 {
        self.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
    }
}

impl<'de, K: Kept> Deserialize<'de> for Stored<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl<K: Kept> Resource for Stored<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn kind(_: &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Leaves only these fields of an object.
pub(super) fn only(fields: &mut Map<String, Value>, names: &[&str]) {
    fields.retain(|name, _| names.contains(&name.as_str()));
}
