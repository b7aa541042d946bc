//! Checks a manifest as the API server would, without one: the structural schema, the CEL rules, and what neither can say.
//!
//! The rules are read from the generated CRD, so `spinredis check` and the API server cannot disagree about them.

use std::fmt;

use kube::core::cel::Validator;
use serde_json::Value;

use crate::{address::RedisAddress, crd, schema};

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

/// Everything that is wrong with an app, in the order of its fields. Rules are only asked of an app that has the shape of
/// one, as in the API server.
pub fn app(document: &Value) -> Vec<Finding> {
    let schema = crd::schema();
    let mut findings = schema::check(&schema, document);
    if findings.is_empty() {
        findings = rules(&schema, document);
        findings.extend(address(document));
    }
    findings
}

fn rules(schema: &Value, document: &Value) -> Vec<Finding> {
    let Err(errors) = Validator::new().validate(schema, document, None) else { return Vec::new() };
    errors.into_vec().into_iter().map(|error| Finding { path: error.field_path, message: error.message }).collect()
}

/// What the rules for an address cannot say, such as a port above 65535.
fn address(document: &Value) -> Option<Finding> {
    let path = "spec.trigger.address";
    let text = document.pointer("/spec/trigger/address")?.as_str()?;
    RedisAddress::parse(text).err().map(|error| Finding { path: path.to_owned(), message: error.to_string() })
}
