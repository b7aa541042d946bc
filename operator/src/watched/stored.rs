//! An object as it is kept in memory: what finds it, and the rest as compact JSON without what nobody here reads. A Deployment
//! as a Rust value takes four times as much, and a thousand apps are kept.

use std::{borrow::Cow, fmt, marker::PhantomData, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::Kept;
use crate::names::APP_LABEL;

/// An object of kind `K` in its compact form.
pub struct Stored<K> {
    /// Name, namespace, identity, version, generation.
    metadata: ObjectMeta,
    /// The app whose label the object carries.
    app: Option<Box<str>>,
    /// The whole object, trimmed, without its version: equal when nothing changed that anybody here reads.
    text: Arc<[u8]>,
    /// Names of the ConfigMaps that the object asks for.
    sources: Arc<[String]>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Stored<K> {
    fn clone(&self) -> Self {
        Self {
            metadata: self.metadata.clone(),
            app: self.app.clone(),
            text: self.text.clone(),
            sources: self.sources.clone(),
            kind: PhantomData,
        }
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
        match serde_json::to_value(object).ok()? {
            Value::Object(fields) => Self::from_fields(fields).ok(),
            _ => None,
        }
    }

    fn from_fields(mut fields: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let (mut own, mut app) = (ObjectMeta::default(), None);
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            let text = |name: &str| metadata.get(name).and_then(Value::as_str).map(str::to_owned);
            own.name = text("name");
            own.namespace = text("namespace");
            own.uid = text("uid");
            own.resource_version = text("resourceVersion");
            own.generation = metadata.get("generation").and_then(Value::as_i64);
            app = metadata.get("labels").and_then(|labels| labels.get(APP_LABEL)?.as_str()).map(Box::from);
            metadata.remove("resourceVersion");
            metadata.remove("managedFields");
        }
        K::trim(&mut fields);
        let sources = K::sources(&fields).into();
        let text = serde_json::to_vec(&fields)?.into();
        Ok(Self { metadata: own, app, text, sources, kind: PhantomData })
    }

    /// The object as a type: `K` itself, or one without its shape.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.text)
    }

    /// Whether everything that is read of the two is the same.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let is_same_version = !K::ONLY_VERSION || self.version() == other.version();
        is_same_version && self.text == other.text && self.metadata.uid == other.metadata.uid
    }

    /// Whether the object asks for this ConfigMap.
    pub fn asks_for(&self, config_map: &str) -> bool {
        self.sources.iter().any(|source| source == config_map)
    }

    /// The app whose label the object carries.
    pub fn app(&self) -> Option<&str> {
        self.app.as_deref()
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
        Self::from_fields(deserializer.deserialize_map(Lean { depth: 0 })?).map_err(serde::de::Error::custom)
    }
}

/// Reads the fields of an object, and of its metadata, without what takes most of it and is never kept: who wrote which field.
#[derive(Clone, Copy)]
struct Lean {
    depth: u8,
}

impl<'de> Visitor<'de> for Lean {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of the Kubernetes API")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            match (self.depth, name.as_str()) {
                (0, "metadata") => {
                    let metadata = access.next_value_seed(Lean { depth: 1 })?;
                    fields.insert(name, Value::Object(metadata));
                }
                (1, "managedFields") => drop(access.next_value::<IgnoredAny>()?),
                _ => drop(fields.insert(name, access.next_value()?)),
            }
        }
        Ok(fields)
    }
}

impl<'de> DeserializeSeed<'de> for Lean {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
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
