//! The chart on a cluster: Roles only, `helm test`, an upgrade from the previous version and back, what GitOps tools see, and
//! who may do what.
//!
//! Each test has a release of its own in its own namespace. The operator that the other tests share would do its work there
//! too, and hide what it cannot do; so a policy refuses all that one writes there.

mod gitops;
mod release;
mod rights;

use std::{sync::OnceLock, time::Duration};

use serde_json::{Value, json};
use spinredis_tests::{
    chart::{Values, folder, helm_prints},
    kubernetes::{Namespace, OPERATOR, OPERATOR_NAMESPACE, chart_values, cluster, kubectl, kubectl_fails, kubectl_with, try_kubectl},
    wait::eventually_within,
};

/// Label of the namespaces where the shared operator may write nothing.
const OWN_OPERATOR: &str = "spinredis.dev/own-operator";
/// Name of the release in a test's namespace, and of its operator.
pub(super) const RELEASE: &str = "own-spin-redis-operator";

/// A namespace whose apps only an operator of its own can run.
pub(super) fn namespace(prefix: &str) -> Namespace {
    static POLICY: OnceLock<()> = OnceLock::new();
    let namespace = Namespace::new(prefix);
    POLICY.get_or_init(refuse_the_shared_operator);
    kubectl(&["label", "namespace", namespace.name(), &format!("{OWN_OPERATOR}=true")]);
    let account = format!("--as=system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR}");
    eventually_within(Duration::from_secs(60), "the shared operator is refused", || {
        let create = ["create", "configmap", "probe", "-n", namespace.name(), "--dry-run=server", &account];
        match try_kubectl(&create, "") {
            Err(error) if error.contains("has an operator of its own") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    namespace
}

fn refuse_the_shared_operator() {
    let name = "spinredis-tests-own-operator";
    let user = format!("request.userInfo.username == 'system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR}'");
    let rule = json!({"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE", "DELETE"], "resources": ["*/*"]});
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule], "namespaceSelector": {"matchLabels": {OWN_OPERATOR: "true"}}},
            "matchConditions": [{"name": "shared-operator", "expression": user}],
            "validations": [{"expression": "false", "message": "this namespace has an operator of its own"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    let both = json!({"apiVersion": "v1", "kind": "List", "items": [policy, binding]});
    kubectl_with(&["apply", "-f", "-"], &both.to_string());
}

/// Values of a release that runs the apps of one namespace, and makes nothing outside of it.
pub(super) fn values(namespace: &Namespace) -> Value {
    let mut values = chart_values(&cluster().registries);
    values["watchNamespaces"] = json!([namespace.name()]);
    values["crds"] = json!({"enabled": false});
    values
}

pub(super) fn helm(namespace: &Namespace, values: &Value, args: &[&str]) -> String {
    let file = Values::new(values);
    helm_prints(&[args, &["-n", namespace.name(), "--values", file.path()]].concat())
}

pub(super) fn install(namespace: &Namespace, values: &Value) {
    helm(namespace, values, &["install", RELEASE, folder().to_str().unwrap(), "--wait", "--timeout", "2m"]);
}

fn account(namespace: &str, name: &str) -> String {
    format!("--as=system:serviceaccount:{namespace}:{name}")
}

/// Whether somebody may do something; kubectl fails when the answer is no.
fn may(question: &[&str], account: &str) -> bool {
    let answer = try_kubectl(&[&["auth", "can-i"], question, &[account]].concat(), "").unwrap_or_else(|error| error);
    match answer.lines().last() {
        Some("yes") => true,
        Some(line) if line.ends_with("no") => false,
        _ => panic!("{question:?}: {answer}"),
    }
}

/// All that the operator does in the namespaces it watches.
const NEEDED: [(&str, &str); 11] = [
    ("spinredisapps.spinredis.dev", "get list watch"),
    ("spinredisapps.spinredis.dev/status", "patch"),
    ("spinredisapps.spinredis.dev/finalizers", "update"),
    ("deployments.apps", "get list watch create patch"),
    ("configmaps", "get list watch create patch delete"),
    ("networkpolicies.networking.k8s.io", "get list watch create patch delete"),
    ("poddisruptionbudgets.policy", "get list watch create patch delete"),
    ("replicasets.apps", "list"),
    ("pods", "list watch delete"),
    ("services", "get list watch"),
    ("events.events.k8s.io", "create patch"),
];

/// Checks that an operator may do in a namespace what it needs and cannot read Secrets.
fn assert_rights(namespace: &str, account: &str) {
    let rows = kubectl(&["auth", "can-i", "--list", "-n", namespace, account]);
    for (resource, verbs) in NEEDED {
        // Resources, the URLs and names it is limited to, verbs.
        let row = rows.lines().find(|row| row.split_whitespace().next() == Some(resource) && row.matches("[]").count() == 2);
        let row = row.unwrap_or_else(|| panic!("{account} has no right on {resource}: {rows}"));
        for verb in verbs.split(' ') {
            assert!(row.contains(&format!("[{verb}")) || row.contains(&format!(" {verb}")), "{account} may not {verb} {resource}: {row}");
        }
    }
    assert!(!rows.contains("secrets"), "{rows}");
    for question in [["get", "secret/any"], ["list", "secrets"], ["create", "pods"], ["create", "pods/exec"], ["create", "rolebindings"]] {
        assert!(!may(&[&question[..], &["-n", namespace]].concat(), account), "{account} may {question:?}");
    }
    let refused = kubectl_fails(&["get", "secrets", "-n", namespace, account], "");
    assert!(refused.contains("Forbidden"), "{refused}");
}
