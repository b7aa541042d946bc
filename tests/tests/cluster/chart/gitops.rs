//! What GitOps tools see of the chart, and the CRD after an upgrade.

use serde_json::json;
use spinredis_tests::{
    chart::folder,
    kubernetes::{cluster, kubectl_json, kubectl_with},
};

use super::{helm, namespace, values};

#[test]
fn what_a_gitops_tool_applies_shows_no_difference_afterwards() {
    let namespace = namespace("chart-gitops");
    let mut values = values(&namespace);
    values["replicas"] = json!(2);
    values["networkPolicy"] = json!({"enabled": true, "apiServerPorts": [443, 6443]});
    values["metrics"] = json!({"service": {"enabled": true}});
    values["dashboards"] = json!({"enabled": true});
    // Argo CD applies as kubectl does unless told otherwise, Flux on the server's side.
    for (release, mode) in [("argo-spin-redis-operator", &[][..]), ("flux-spin-redis-operator", &["--server-side"])] {
        let template = ["template", release, folder().to_str().unwrap(), "--skip-tests"].map(str::to_owned);
        let template: Vec<&str> = template.iter().map(String::as_str).collect();
        let manifests = helm(&namespace, &values, &template);
        kubectl_with(&[&["apply", "-n", namespace.name(), "-f", "-"], mode].concat(), &manifests);
        // The controllers of Kubernetes have been at it by then.
        namespace.kubectl(&["rollout", "status", &format!("deployment/{release}"), "--timeout=120s"]);
        let again = helm(&namespace, &values, &[&template[..], &["--is-upgrade"]].concat());
        assert_eq!(kubectl_with(&[&["diff", "-n", namespace.name(), "-f", "-"], mode].concat(), &again), "", "{release}");
    }
}

#[test]
fn the_crd_of_the_cluster_is_the_charts_after_the_upgrade() {
    cluster();
    let file = folder().join("files/spinredisapps.yaml");
    let live = kubectl_json(&["get", "crd", "spinredisapps.spinredis.dev"]);
    assert_eq!(live["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    // A generation is one more when anything in the spec is other than what is there.
    let apply = ["apply", "--server-side", "--dry-run=server", "--force-conflicts", "--field-manager=helm", "-f", file.to_str().unwrap()];
    assert_eq!(kubectl_json(&apply)["metadata"]["generation"], live["metadata"]["generation"]);
}
