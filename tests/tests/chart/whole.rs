//! The chart as a whole: the same every time, labelled, newer than the one before, with the CRD and a test that cleans up.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};
use spinredis_tests::{
    chart::{folder, helm_prints, objects, previous, rendered, rendered_text},
    guests::repository,
};

use crate::{NAME, everything, named, of_kind, version};

#[test]
fn it_renders_the_same_every_time_and_whether_it_is_installed_or_upgraded() {
    for values in [json!({}), everything(), json!({"watchNamespaces": ["a", "b"], "crds": {"enabled": false}})] {
        let first = rendered_text(&values, &[]);
        assert_eq!(first, rendered_text(&values, &[]));
        assert_eq!(first, rendered_text(&values, &["--is-upgrade"]));
    }
    for entry in fs::read_dir(folder().join("templates")).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        let text = fs::read_to_string(entry.path()).unwrap();
        // What would differ from cluster to cluster, or from one time to the next.
        for word in
            ["lookup ", "rand", "genCA", "genSignedCert", "uuidv4", "now |", ".Release.Revision", ".Release.IsUpgrade", ".Capabilities"]
        {
            assert!(!text.contains(word), "{}: {word}", entry.path().display());
        }
    }
}

#[test]
fn every_object_has_its_labels_and_a_namespaced_one_its_namespace() {
    let objects = objects(&rendered_text(&everything(), &[]));
    for object in objects.iter().filter(|object| object["kind"] != "CustomResourceDefinition") {
        let (kind, metadata) = (object["kind"].as_str().unwrap(), &object["metadata"]);
        assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], "release", "{object}");
        assert_eq!(metadata["labels"]["team"], "platform", "{object}");
        assert_eq!(metadata["namespace"].is_null(), kind.starts_with("Cluster"), "{object}");
    }
    let expected: BTreeSet<&str> = "ClusterRole ClusterRoleBinding ConfigMap CustomResourceDefinition Deployment NetworkPolicy Pod \
        PodDisruptionBudget PodMonitor PrometheusRule Role RoleBinding Service ServiceAccount ServiceMonitor SpinRedisApp"
        .split_whitespace()
        .collect();
    assert_eq!(objects.iter().map(|object| object["kind"].as_str().unwrap()).collect::<BTreeSet<_>>(), expected);
}

#[test]
fn the_test_removes_all_it_makes_unless_it_is_to_stay() {
    let hooks = |values: &Value| {
        let all = objects(&rendered_text(values, &["--show-only", "templates/tests/*.yaml"]));
        all.into_iter().map(|object| object["metadata"]["annotations"]["helm.sh/hook-delete-policy"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(hooks(&json!({})), vec![json!("before-hook-creation,hook-succeeded,hook-failed"); 5]);
    assert_eq!(hooks(&json!({"tests": {"keep": true}})), vec![json!("before-hook-creation"); 5]);
    let namespace = |values: &Value| {
        let all = objects(&rendered_text(values, &["--show-only", "templates/tests/app.yaml"]));
        named(&all, "SpinRedisApp", &format!("{NAME}-test"))["metadata"]["namespace"].clone()
    };
    assert_eq!(namespace(&json!({})), "operators");
    assert_eq!(namespace(&json!({"watchNamespaces": ["a", "operators"]})), "operators");
    assert_eq!(namespace(&json!({"watchNamespaces": ["a", "b"]})), "a");
    assert_eq!(namespace(&json!({"watchNamespaces": ["a", "b"], "tests": {"namespace": "b"}})), "b");
    assert!(!rendered_text(&json!({"tests": {"enabled": false}}), &[]).contains("helm.sh/hook"));
}

#[test]
fn the_chart_is_newer_than_the_previous_one_and_runs_the_programs_of_now() {
    let chart: Value = serde_saphyr::from_str(&fs::read_to_string(folder().join("Chart.yaml")).unwrap()).unwrap();
    assert_eq!(chart["appVersion"], version(), "the tag of the images is the version of the programs");
    let shown = helm_prints(&["show", "chart", previous().to_str().unwrap()]);
    let old: Value = serde_saphyr::from_str(&shown).unwrap();
    let number = |chart: &Value| -> Vec<u32> { chart["version"].as_str().unwrap().split('.').map(|part| part.parse().unwrap()).collect() };
    assert!(number(&chart) > number(&old), "{} and {}", chart["version"], old["version"]);
}

#[test]
fn the_crd_is_upgraded_with_the_chart_and_outlives_it() {
    let crd = |values: &Value| of_kind(&rendered(values), "CustomResourceDefinition").first().map(|crd| (*crd).clone());
    let kept = crd(&json!({})).unwrap();
    assert_eq!(kept["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    let source: Value = serde_saphyr::from_str(&fs::read_to_string(repository().join("crds/spinredisapps.yaml")).unwrap()).unwrap();
    assert_eq!(kept["spec"], source["spec"], "helm changes nothing of it");
    assert!(crd(&json!({"crds": {"keep": false}})).unwrap()["metadata"]["annotations"]["helm.sh/resource-policy"].is_null());
    assert!(crd(&json!({"crds": {"enabled": false}})).is_none());
}
