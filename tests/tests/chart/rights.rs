//! Who may do what: the operator, in the cluster or in some namespaces, and people.

use serde_json::{Value, json};
use spinredis_tests::chart::{objects, rendered, rendered_text};

use crate::{NAME, arguments, named, of_kind, operator};

#[test]
fn the_operator_gets_exactly_the_rights_it_needs_and_none_on_secrets() {
    let all = ["get", "list", "watch", "create", "patch", "delete"];
    let read = ["get", "list", "watch"];
    let rule = |group: &str, resource: &str, verbs: &[&str]| json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    let expected = json!([
        rule("spinredis.dev", "spinredisapps", &read),
        rule("spinredis.dev", "spinredisapps/status", &["patch"]),
        rule("spinredis.dev", "spinredisapps/finalizers", &["update"]),
        rule("apps", "deployments", &all[..5]),
        rule("", "configmaps", &all),
        rule("networking.k8s.io", "networkpolicies", &all),
        rule("policy", "poddisruptionbudgets", &all),
        rule("apps", "replicasets", &["list"]),
        rule("", "pods", &["list", "watch", "delete"]),
        rule("", "services", &read),
        rule("events.k8s.io", "events", &["create", "patch"]),
    ]);
    let cluster = rendered(&json!({}));
    assert_eq!(named(&cluster, "ClusterRole", NAME)["rules"], expected);
    let some = rendered(&json!({"watchNamespaces": ["a", "b"]}));
    let roles: Vec<&Value> = of_kind(&some, "Role").into_iter().filter(|role| role["metadata"]["name"] == NAME).collect();
    assert_eq!(roles.iter().map(|role| &role["metadata"]["namespace"]).collect::<Vec<_>>(), ["a", "b"]);
    roles.iter().for_each(|role| assert_eq!(role["rules"], expected));

    let lease = &named(&cluster, "Role", &format!("{NAME}-leader"))["rules"];
    assert_eq!(lease[0], rule("coordination.k8s.io", "leases", &["create"]));
    assert_eq!((&lease[1]["resourceNames"], &lease[1]["verbs"]), (&json!([NAME]), &json!(["get", "update"])));
}

#[test]
fn a_namespaced_release_without_the_crd_makes_nothing_of_the_whole_cluster() {
    let objects = objects(&rendered_text(&json!({"watchNamespaces": ["a"], "crds": {"enabled": false}}), &[]));
    for object in &objects {
        assert!(!object["metadata"]["namespace"].is_null(), "{object}");
        assert!(["operators", "a"].contains(&object["metadata"]["namespace"].as_str().unwrap()), "{object}");
    }
    assert!(arguments(&objects).contains(&"--namespace=a".to_owned()));
    let none = rendered(&json!({"rbac": {"create": false}, "serviceAccount": {"create": false, "name": "mine"}}));
    for kind in ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount"] {
        assert!(of_kind(&none, kind).is_empty(), "{kind}");
    }
    assert_eq!(operator(&none)["template"]["spec"]["serviceAccountName"], "mine");
}

#[test]
fn reading_apps_aggregates_into_view_and_writing_them_into_nothing_unless_asked() {
    let labels = |values: &Value, role: &str| {
        let objects = rendered(values);
        let role = named(&objects, "ClusterRole", &format!("{NAME}-{role}"))["metadata"]["labels"].clone();
        ["view", "edit", "admin"].map(|into| role[format!("rbac.authorization.k8s.io/aggregate-to-{into}")] == "true")
    };
    assert_eq!(labels(&json!({}), "view"), [true, true, true]);
    assert_eq!(labels(&json!({}), "edit"), [false, false, false]);
    assert_eq!(labels(&json!({"rbac": {"aggregateToEdit": true}}), "edit"), [false, true, true]);
    assert_eq!(labels(&json!({"rbac": {"aggregateToView": false}}), "view"), [false, false, false]);
    let objects = rendered(&json!({}));
    let view = named(&objects, "ClusterRole", &format!("{NAME}-view"))["rules"].to_string();
    ["create", "update", "patch", "delete"].iter().for_each(|verb| assert!(!view.contains(verb), "{view}"));
}
