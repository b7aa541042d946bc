//! The documents of a manifest file: the app, and the ConfigMaps and Secrets that may stand beside it.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    check::{Finding, without_nulls},
    manifest::{Manifest, ManifestError, api_version},
    reference::{RefKind, Reference},
    schema::kind_of,
};

/// The documents of a manifest file: one app, and the ConfigMaps and Secrets that may stand beside it.
#[derive(Debug)]
pub struct Documents {
    /// The app as it was written.
    pub app: Value,
    /// Keys of the ConfigMaps and Secrets in the same file, with their values.
    pub objects: BTreeMap<Reference, Vec<u8>>,
    /// The keys of each of those objects, those included whose value could not be read.
    pub keys: BTreeMap<(RefKind, String), BTreeSet<String>>,
    /// What is wrong with values of those objects.
    pub findings: Vec<Finding>,
}

impl Documents {
    /// Reads the documents of a YAML (or JSON) file.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(text).map_err(|error| ManifestError::Yaml(first_line(&error.to_string())))?;
        let text_of = |document: &Value, field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut apps = Vec::new();
        let mut objects = Objects::default();
        for document in documents {
            match text_of(&document, "kind").as_str() {
                "SpinRedisApp" => apps.push(document),
                "ConfigMap" => objects.collect(&document, RefKind::ConfigMap, "data", "binaryData"),
                "Secret" => objects.collect(&document, RefKind::Secret, "stringData", "data"),
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
        let Objects { values, keys, findings } = objects;
        Ok(Self { app, objects: values, keys, findings })
    }

    /// The app as the runtime reads it.
    pub fn manifest(&self) -> Result<Manifest, ManifestError> {
        Manifest::deserialize(&without_nulls(self.app.clone())).map_err(|error| ManifestError::Shape(error.to_string()))
    }
}

/// The ConfigMaps and Secrets of a file.
#[derive(Default)]
struct Objects {
    values: BTreeMap<Reference, Vec<u8>>,
    keys: BTreeMap<(RefKind, String), BTreeSet<String>>,
    findings: Vec<Finding>,
}

impl Objects {
    /// Takes the values of a ConfigMap or Secret, of which one field holds text and another base64.
    fn collect(&mut self, document: &Value, kind: RefKind, plain: &str, encoded: &str) {
        let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let keys = self.keys.entry((kind, name.to_owned())).or_default();
        for field in [encoded, plain] {
            for (key, value) in document.get(field).and_then(Value::as_object).into_iter().flatten() {
                keys.insert(key.clone());
                match read(value, field == encoded) {
                    Ok(bytes) => drop(self.values.insert(Reference { kind, name: name.to_owned(), key: key.clone() }, bytes)),
                    Err(message) => self.findings.push(Finding { path: format!("{} {name}, {field}.{key}", kind.kind()), message }),
                }
            }
        }
    }
}

/// A value, or what is wrong with it. It is not repeated: it may be a secret.
fn read(value: &Value, is_encoded: bool) -> Result<Vec<u8>, String> {
    match value {
        Value::String(text) if is_encoded => {
            let text: String = text.split_whitespace().collect();
            BASE64_STANDARD.decode(text).map_err(|_| {
                "is not base64: encode it with base64, or put the text itself into data (of a ConfigMap) or stringData (of a Secret)"
                    .to_owned()
            })
        }
        Value::String(text) => Ok(text.clone().into_bytes()),
        other => Err(format!("must be a string, and is {}", kind_of(other))),
    }
}

/// The first line of an error that a library spread over several.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches(':').to_owned()
}
