//! A reader of structural schemas: the subset of OpenAPI v3 that CRDs use, answered in sentences with the field's path.
//!
//! It knows what a general JSON Schema validator does not: Kubernetes' list maps and sets, and that a field the schema does
//! not name is a mistake (`kubectl` warns of it, the API server drops it).

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Map, Number, Value};

use crate::{check::Finding, form};

/// Everything in `document` that `schema` does not allow.
pub(crate) fn check(schema: &Value, document: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut schema = schema.clone();
    // These belong to the API server itself, and a CRD does not repeat them: anything goes.
    for name in ["apiVersion", "kind", "metadata"] {
        if schema.get("properties").is_some_and(Value::is_object) {
            schema["properties"][name] = Value::Object(Map::new());
        }
    }
    visit(&schema, document, "", &mut findings);
    findings
}

fn visit(schema: &Value, value: &Value, path: &str, findings: &mut Vec<Finding>) {
    if value.is_null() && schema.get("nullable") == Some(&Value::Bool(true)) {
        return;
    }
    let mut say = |message: String| findings.push(Finding { path: path.to_owned(), message });
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        return int_or_string(schema, value).into_iter().for_each(say);
    }
    // A schema without a type allows everything.
    let Some(kind) = schema.get("type").and_then(Value::as_str) else { return };
    match (kind, value) {
        ("object", Value::Object(fields)) => object(schema, fields, path, findings),
        ("array", Value::Array(items)) => array(schema, items, path, findings),
        ("string", Value::String(text)) => string(schema, text).into_iter().for_each(say),
        ("boolean", Value::Bool(_)) => {}
        ("integer", Value::Number(number)) if is_whole(number) => integer(schema, number).into_iter().for_each(say),
        ("number", Value::Number(_)) => {}
        _ => say(format!("must be {}, and is {}", article(kind), kind_of(value))),
    }
}

fn is_whole(number: &Number) -> bool {
    number.is_i64() || number.is_u64()
}

fn integer(schema: &Value, number: &Number) -> Option<String> {
    let number = number.as_f64().unwrap_or_default();
    if let Some(least) = bound(schema, "minimum").filter(|least| number < *least) {
        return Some(format!("must be at least {least}, and is {number}"));
    }
    let most = bound(schema, "maximum").filter(|most| number > *most)?;
    Some(format!("must be at most {most}, and is {number}"))
}

fn int_or_string(schema: &Value, value: &Value) -> Option<String> {
    match value {
        Value::Number(number) if is_whole(number) => integer(schema, number),
        Value::String(text) => string(schema, text),
        other => Some(format!("must be a whole number or a string, and is {}", kind_of(other))),
    }
}

fn object(schema: &Value, fields: &Map<String, Value>, path: &str, findings: &mut Vec<Finding>) {
    let empty = Map::new();
    let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let others = schema.get("additionalProperties").filter(|others| others.is_object());
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            findings.push(Finding { path: join(path, name), message: "is missing and required".to_owned() });
        }
    }
    if let Some(most) = bound(schema, "maxProperties").filter(|most| fields.len() as f64 > *most) {
        findings.push(Finding { path: path.to_owned(), message: format!("has {} entries, and may have {most}", fields.len()) });
    }
    for (name, value) in fields {
        let at = join(path, name);
        match known.get(name).or(others) {
            Some(schema) => visit(schema, value, &at, findings),
            None if known.is_empty() => {}
            None => {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                findings.push(Finding { path: at, message: format!("is not a field of this API; there are {}", names.join(", ")) });
            }
        }
    }
}

fn array(schema: &Value, items: &[Value], path: &str, findings: &mut Vec<Finding>) {
    let mut say = |message: String| findings.push(Finding { path: path.to_owned(), message });
    if let Some(least) = bound(schema, "minItems").filter(|least| (items.len() as f64) < *least) {
        say(format!("has {}, and needs at least {least}", counted(items.len() as f64, "item")));
    }
    if let Some(most) = bound(schema, "maxItems").filter(|most| items.len() as f64 > *most) {
        say(format!("has {}, and may have {most}", counted(items.len() as f64, "item")));
    }
    let keys: Vec<&str> = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("map") => {
            schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
        }
        _ => Vec::new(),
    };
    let is_set = schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("set");
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let at = format!("{path}[{index}]");
        let identity = match keys.as_slice() {
            [] if is_set => Some(item.to_string()),
            [] => None,
            keys => Some(keys.iter().map(|key| item.get(key).map(Value::to_string).unwrap_or_default()).collect::<Vec<_>>().join(",")),
        };
        if let Some(identity) = identity.filter(|identity| !seen.insert(identity.clone())) {
            let what = if keys.is_empty() { identity } else { format!("{} {identity}", keys.join(",")) };
            findings.push(Finding { path: at.clone(), message: format!("{what} is there twice") });
        }
        if let Some(schema) = schema.get("items") {
            visit(schema, item, &at, findings);
        }
    }
}

fn string(schema: &Value, text: &str) -> Option<String> {
    // The API server counts characters, not bytes.
    let length = text.chars().count() as f64;
    if let Some(least) = bound(schema, "minLength").filter(|least| length < *least) {
        return Some(format!("must have at least {}", counted(least, "character")));
    }
    if let Some(most) = bound(schema, "maxLength").filter(|most| length > *most) {
        return Some(format!("must have at most {}, and has {length}", counted(most, "character")));
    }
    if let Some(choices) = schema.get("enum").and_then(Value::as_array)
        && !choices.iter().any(|choice| choice.as_str() == Some(text))
    {
        let choices: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
        return Some(format!("must be one of {}, and is `{text}`", choices.join(", ")));
    }
    let pattern = schema.get("pattern").and_then(Value::as_str)?;
    let matches = Regex::new(pattern).is_ok_and(|regex| regex.is_match(text));
    (!matches).then(|| format!("`{text}` does not have the form {}", form::of(pattern)))
}

fn bound(schema: &Value, name: &str) -> Option<f64> {
    schema.get(name).and_then(Value::as_f64)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A number with its noun: `1 item`, `2 items`.
fn counted(count: f64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1.0 { "" } else { "s" })
}

fn article(kind: &str) -> &'static str {
    match kind {
        "object" => "a mapping",
        "array" => "a list",
        "string" => "a string",
        "boolean" => "true or false",
        _ => "a whole number",
    }
}

pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty: write \"\" if it is meant as empty text",
        Value::Bool(_) => "a boolean: put it in quotes if it is meant as text",
        Value::Number(_) => "a number: put it in quotes if it is meant as text",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
