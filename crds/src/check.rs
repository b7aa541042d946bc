//! Checks a manifest as the API server would, without one: the structural schema, the CEL rules, and what neither can say.
//!
//! The rules are read from the generated CRD, so `spinredis check` and the API server cannot disagree about them.

use std::{fmt, sync::LazyLock};

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use regex::Regex;
use serde_json::Value;

use crate::{address::RedisAddress, crd, schema};

const ADDRESS: &str = "spec.trigger.address";

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path of the field, such as `spec.components[0].channels`.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// The schema and its rules; to derive and compile them takes far longer than to ask them.
static SCHEMA: LazyLock<Value> = LazyLock::new(crd::schema);
static RULES: LazyLock<CompiledSchema> = LazyLock::new(|| compile_schema(&SCHEMA));

/// Everything that is wrong with an app, in the order of its fields. Rules are only asked of an app that has the shape of
/// one, as in the API server.
pub fn app(document: &Value) -> Vec<Finding> {
    let document = &without_nulls(document.clone());
    let mut findings = schema::check(&SCHEMA, document);
    // The API server asks for it itself, so the schema does not.
    if document.pointer("/metadata/name").and_then(Value::as_str).is_none_or(str::is_empty) {
        findings.push(Finding { path: "metadata.name".to_owned(), message: "is missing and required".to_owned() });
    }
    if findings.is_empty() {
        findings = rules(document);
        findings.extend(pod_metadata(document));
        // One sentence about an address is enough.
        if !findings.iter().any(|finding| finding.path == ADDRESS) {
            findings.extend(address(document));
        }
    }
    findings
}

/// The document without fields that are null: the API server takes those for absent.
fn without_nulls(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(|field| *field = without_nulls(field.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_nulls(item.take())),
        _ => {}
    }
    value
}

/// Names of labels and annotations, whose rule would cost the API server more than it grants a CRD.
fn pod_metadata(document: &Value) -> Vec<Finding> {
    static KEY: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new("^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$").ok());
    let mut findings = Vec::new();
    for field in ["labels", "annotations"] {
        let names = document.pointer(&format!("/spec/pod/{field}")).and_then(Value::as_object).into_iter().flat_map(|fields| fields.keys());
        for name in names.filter(|name| KEY.as_ref().is_some_and(|key| !key.is_match(name))) {
            let message = format!("`{name}` is not a name that Kubernetes takes: write NAME or PREFIX/NAME, for example example.com/team");
            findings.push(Finding { path: format!("spec.pod.{field}"), message });
        }
    }
    findings
}

fn rules(document: &Value) -> Vec<Finding> {
    let Err(errors) = Validator::new().validate_compiled(&RULES, document, None) else { return Vec::new() };
    errors.into_vec().into_iter().map(|error| Finding { path: error.field_path, message: error.message }).collect()
}

/// What the rules for an address cannot say, such as a port above 65535.
fn address(document: &Value) -> Option<Finding> {
    let text = document.pointer("/spec/trigger/address")?.as_str()?;
    RedisAddress::parse(text).err().map(|error| Finding { path: ADDRESS.to_owned(), message: error.to_string() })
}
