//! The generated CustomResourceDefinition: up to date wherever it is committed, small enough, explained throughout.

use std::fs;

use serde_json::Value;
use spinredis_crds::crd;
use spinredis_tests::guests::repository;

fn assert_is_current(path: &str) {
    let committed = fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}; run `make crds`"));
    assert!(committed == crd::yaml().unwrap(), "{path} is not what the types in crds/src generate: run `make crds`");
}

#[test]
fn the_committed_crd_is_what_the_types_generate() {
    assert_is_current("crds/spinredisapps.yaml");
}

#[test]
fn the_copy_in_the_chart_is_what_the_types_generate() {
    assert_is_current("charts/spin-redis-operator/files/spinredisapps.yaml");
}

#[test]
fn the_crd_is_smaller_than_the_api_server_and_helm_like_it() {
    let bytes = crd::yaml().unwrap().len();
    assert!(bytes < 131_072, "the CRD has {bytes} bytes");
}

#[test]
fn the_yaml_is_read_back_as_the_same_definition() {
    let read: Value = serde_saphyr::from_str(&crd::yaml().unwrap()).unwrap();
    assert_eq!(read, serde_json::to_value(crd::definition()).unwrap());
}

#[test]
fn every_field_has_a_description_for_kubectl_explain() {
    let mut without = Vec::new();
    visit(&crd::schema(), "", &mut without);
    // The API server describes the fields that all objects have.
    without.retain(|path| ![".apiVersion", ".kind", ".metadata"].contains(&path.as_str()));
    assert!(without.is_empty(), "without a description: {without:#?}");
}

fn visit(schema: &Value, path: &str, without: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{path}.{name}");
        let description = field["description"].as_str().unwrap_or_default();
        if description.trim().is_empty() {
            without.push(at.clone());
        }
        visit(field, &at, without);
        visit(&field["items"], &format!("{at}[]"), without);
    }
}

/// The API server counts what a rule may cost at worst and refuses a CRD without these bounds.
#[test]
fn every_string_and_every_list_of_the_spec_is_bounded() {
    let mut unbounded = Vec::new();
    bounds(&crd::schema()["properties"]["spec"], "spec", &mut unbounded);
    assert!(unbounded.is_empty(), "without a bound: {unbounded:#?}");
}

fn bounds(schema: &Value, path: &str, unbounded: &mut Vec<String>) {
    let has = |bound: &str| schema[bound].is_number();
    let bounded = match schema["type"].as_str() {
        Some("string") => has("maxLength") || schema["enum"].is_array(),
        Some("array") => has("maxItems"),
        Some("object") if schema["additionalProperties"].is_object() => has("maxProperties"),
        _ => true,
    };
    if !bounded {
        unbounded.push(path.to_owned());
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        bounds(field, &format!("{path}.{name}"), unbounded);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            bounds(&schema[inner], &format!("{path}[]"), unbounded);
        }
    }
}

/// Defaults inside the spec make GitOps tools report drift; `replicas` needs one for the scale subresource.
#[test]
fn the_only_defaults_are_those_that_the_api_server_needs() {
    let mut with_default = Vec::new();
    defaults(&crd::schema(), "", &mut with_default);
    with_default.retain(|path| !path.starts_with(".status"));
    assert_eq!(with_default, [".spec.replicas"]);
}

fn defaults(schema: &Value, path: &str, found: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{path}.{name}");
        if !field["default"].is_null() {
            found.push(at.clone());
        }
        defaults(field, &at, found);
        defaults(&field["items"], &format!("{at}[]"), found);
    }
}
