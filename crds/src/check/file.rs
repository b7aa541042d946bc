//! What can be said of an app together with the ConfigMaps and Secrets in its file.

use serde_json::Value;

use super::Finding;
use crate::{
    documents::Documents,
    reference::{RefKind, Reference},
};

/// References to keys that an object in the same file lacks. An object that is not in the file may have any key.
pub(super) fn missing_keys(documents: &Documents) -> Vec<Finding> {
    let mut references = Vec::new();
    visit(documents.app.get("spec").unwrap_or(&Value::Null), "spec", &mut references);
    let mut findings = Vec::new();
    for (path, reference) in references {
        let Some(keys) = documents.keys.get(&(reference.kind, reference.name.clone())) else { continue };
        if keys.contains(&reference.key) {
            continue;
        }
        let there = match keys.iter().map(String::as_str).collect::<Vec<_>>() {
            keys if keys.is_empty() => "it has no keys".to_owned(),
            keys => format!("it has {}", keys.join(", ")),
        };
        let (kind, name, key) = (reference.kind.kind(), &reference.name, &reference.key);
        findings.push(Finding { path, message: format!("{kind} {name} in this file has no key {key}; {there}") });
    }
    findings
}

/// Every reference with the path of its field.
fn visit(value: &Value, path: &str, found: &mut Vec<(String, Reference)>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let at = format!("{path}.{name}");
                let text = |key: &str| field.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                let mut add = |kind, name, key| found.push((at.clone(), Reference { kind, name, key }));
                match name.as_str() {
                    "secretKeyRef" => add(RefKind::Secret, text("name"), text("key")),
                    "configMapKeyRef" | "configMap" => add(RefKind::ConfigMap, text("name"), text("key")),
                    "clientCertificateFrom" => {
                        for key in ["tls.crt", "tls.key"] {
                            add(RefKind::Secret, text("secretName"), key.to_owned());
                        }
                    }
                    _ => visit(field, &at, found),
                }
            }
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| visit(item, &format!("{path}[{index}]"), found)),
        _ => {}
    }
}
