//! Checks a manifest as the API server would, without one: the structural schema, the CEL rules, and what neither can say.
//!
//! The rules are read from the generated CRD, so `spinredis check` and the API server cannot disagree about them.

use std::{fmt, sync::LazyLock};

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
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
    let mut findings = schema::check(&SCHEMA, document);
    if findings.is_empty() {
        findings = rules(document);
        // One sentence about an address is enough.
        if !findings.iter().any(|finding| finding.path == ADDRESS) {
            findings.extend(address(document));
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
