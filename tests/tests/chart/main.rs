//! The chart as helm renders it, without a cluster: the same twice, exactly the rights the operator needs, refusals with a
//! sentence, and a README that is up to date.

mod operator;
mod rights;
mod values;
mod whole;

use std::fs;

use serde_json::{Value, json};
use spinredis_tests::guests::repository;

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = of_kind(objects, kind).into_iter().find(|object| object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

const NAME: &str = "release-spin-redis-operator";

fn operator(objects: &[Value]) -> &Value {
    &named(objects, "Deployment", NAME)["spec"]
}

fn arguments(objects: &[Value]) -> Vec<String> {
    let arguments = operator(objects)["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    arguments.iter().map(|argument| argument.as_str().unwrap().to_owned()).collect()
}

/// Values that turn everything on.
fn everything() -> Value {
    json!({
        "replicas": 3,
        "imagePullSecrets": [{"name": "pull"}],
        "runtime": {
            "registries": [
                {"host": "plain:5000", "plainHTTP": true},
                {"host": "private", "caConfigMap": "authorities", "mirror": "mirror/x"},
            ],
            "allowedRegistries": ["private/acme"],
            "requireDigest": true,
            "env": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"},
        },
        "rollout": {"maxUnfinishedApps": 2},
        "reconciles": 16,
        "rbac": {"aggregateToEdit": true},
        "serviceAccount": {"annotations": {"a": "b"}},
        "metrics": {"service": {"enabled": true}},
        "serviceMonitor": {"enabled": true, "labels": {"release": "p"}, "interval": "30s"},
        "podMonitor": {"enabled": true},
        "prometheusRule": {"enabled": true},
        "dashboards": {"enabled": true},
        "networkPolicy": {"enabled": true, "metricsFrom": [{"podSelector": {}}], "apiServerCIDRs": ["10.0.0.1/32"], "extraEgress": [{}]},
        "env": {"HTTPS_PROXY": "http://proxy:3128"},
        "podSecurityContext": {"runAsUser": 1000},
        "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
        "priorityClassName": "high",
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "labels": {"team": "platform"},
        "tests": {"imagePullSecrets": [{"name": "pull"}], "keep": true, "runAsUser": null},
    })
}

fn version() -> String {
    let cargo = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    cargo.lines().find_map(|line| line.strip_prefix("version = ")).unwrap().trim_matches('"').to_owned()
}
