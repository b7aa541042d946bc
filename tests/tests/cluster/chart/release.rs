//! The life of a release: an operator with Roles only, `helm test`, an upgrade from the previous version, back, and the end.

use std::time::Duration;

use serde_json::json;
use spinredis_tests::{
    chart::{Values, folder, helm as chart_helm, helm_prints, previous},
    kubernetes::{Namespace, OPERATOR_NAMESPACE, cluster, hello, kubectl, kubectl_with},
    wait::eventually_within,
};

use super::{RELEASE, account, assert_rights, helm, install, may, namespace, values};

/// Whether `helm test` passes, and all it says: it shows the log of the test among its own messages.
fn helm_test(namespace: &Namespace) -> (bool, String) {
    let output = chart_helm().args(["test", RELEASE, "-n", namespace.name(), "--timeout", "4m"]).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (output.status.success(), said)
}

#[test]
fn an_operator_with_roles_only_passes_helm_test_and_nothing_of_the_test_is_left() {
    let namespace = namespace("chart-roles");
    let mut values = values(&namespace);
    let registries = &cluster().registries;
    values["tests"] = json!({"redisImage": registries.image("spinredis-test-redis")});
    install(&namespace, &values);

    let (passed, said) = helm_test(&namespace);
    assert!(passed && said.contains("PASSED") && said.contains("its handler got the message"), "{said}");
    let hooks = "spinredisapps,configmaps,services,deployments,replicasets,pods";
    let of_test = format!("app.kubernetes.io/name in ({RELEASE}-test, {RELEASE}-test-redis)");
    for selector in [of_test, format!("spinredis.dev/app={RELEASE}-test")] {
        namespace.kubectl(&["wait", "--for=delete", hooks, "-l", &selector, "--timeout=60s"]);
        assert_eq!(namespace.json(&["get", hooks, "-l", &selector])["items"], json!([]), "{selector}");
    }

    // No ClusterRole is bound to it, so all of this was done with Roles.
    let bindings = kubectl(&["get", "clusterrolebindings", "-o", "json"]);
    assert!(!bindings.contains(namespace.name()));
    let account = account(namespace.name(), RELEASE);
    assert_rights(namespace.name(), &account);
    assert!(!may(&["list", "spinredisapps", "-n", OPERATOR_NAMESPACE], &account), "other namespaces are none of its business");
    assert!(may(&["update", &format!("lease/{RELEASE}"), "-n", namespace.name()], &account));
    assert!(!may(&["update", "lease/other", "-n", namespace.name()], &account));
}

#[test]
fn helm_test_fails_and_says_why_when_no_operator_runs_the_app() {
    let namespace = namespace("chart-test-fails");
    let mut values = values(&namespace);
    values["replicas"] = json!(0);
    values["tests"] = json!({"redisImage": cluster().registries.image("spinredis-test-redis"), "timeoutSeconds": 5});
    install(&namespace, &values);
    let (passed, said) = helm_test(&namespace);
    assert!(!passed, "{said}");
    assert!(said.contains(&format!("FAILED: the app {}/{RELEASE}-test did not subscribe", namespace.name())), "{said}");
    let left = namespace.json(&["get", "spinredisapps,pods", "-l", &format!("app.kubernetes.io/name={RELEASE}-test")]);
    assert_eq!(left["items"], json!([]));
}

#[test]
fn an_upgrade_a_rollback_and_the_end_of_a_release_leave_its_apps_running() {
    let namespace = namespace("chart-upgrade");
    let (redis, channel) = (&cluster().redis, namespace.channel("orders"));
    let values = values(&namespace);
    // The previous chart with the programs of now, which may need rights that it did not give.
    let file = Values::new(&values);
    let today = [
        "template",
        RELEASE,
        folder().to_str().unwrap(),
        "-n",
        namespace.name(),
        "--values",
        file.path(),
        "--set",
        &format!("fullnameOverride=today,serviceAccount.name={RELEASE}"),
        "--show-only",
        "templates/rbac.yaml",
    ]
    .map(str::to_owned);
    let today: Vec<&str> = today.iter().map(String::as_str).collect();
    kubectl_with(&["apply", "-f", "-"], &helm_prints(&today));
    helm(&namespace, &values, &["install", RELEASE, previous().to_str().unwrap(), "--wait", "--timeout", "2m"]);
    namespace.apply(&hello("greeter", &redis.address(), &channel));
    namespace.wait_until_ready("greeter");
    let pod = || {
        let pod = namespace.pod("greeter");
        (pod["metadata"]["uid"].clone(), pod["status"]["containerStatuses"][0]["restartCount"].clone())
    };
    let before = pod();
    let operators = || {
        let pods = namespace.json(&["get", "pods", "-l", "app.kubernetes.io/component=operator"]);
        pods["items"].as_array().unwrap().iter().map(|pod| pod["metadata"]["name"].to_string()).collect::<Vec<_>>()
    };
    let of_previous = operators();

    helm(&namespace, &values, &["upgrade", RELEASE, folder().to_str().unwrap(), "--wait", "--timeout", "2m"]);
    // The operator of now sees to the app: it puts back what somebody takes away, and that changes no pod.
    eventually_within(Duration::from_secs(60), "the previous operator is gone", || {
        let now = operators();
        if now.iter().all(|name| !of_previous.contains(name)) { Ok(()) } else { Err(format!("{now:?}")) }
    });
    namespace.kubectl(&["label", "deployment", "greeter", "app.kubernetes.io/managed-by-"]);
    namespace.wait_for("the label is there again", "deployment", "greeter", |deployment| {
        let labels = &deployment["metadata"]["labels"];
        if labels["app.kubernetes.io/managed-by"] == "spin-redis-operator" { Ok(()) } else { Err(labels.to_string()) }
    });
    assert_eq!(pod(), before, "the upgrade replaced no pod");
    namespace.wait_until_ready("greeter");
    assert_eq!(redis.publish(&channel, "after the upgrade"), 1);

    helm_prints(&["rollback", RELEASE, "1", "-n", namespace.name(), "--wait", "--timeout", "2m"]);
    let deployment = namespace.json(&["get", "deployment", RELEASE]);
    assert_eq!(deployment["spec"]["strategy"], json!({"type": "Recreate"}), "all of the previous version is there again");
    assert_eq!(pod(), before, "the rollback replaced no pod");

    helm_prints(&["uninstall", RELEASE, "-n", namespace.name(), "--wait", "--timeout", "2m"]);
    assert_eq!(pod(), before, "the end of the release replaced no pod");
    assert_eq!(redis.publish(&channel, "after the end"), 1);
    let name = namespace.pod_names("greeter").remove(0);
    namespace.wait_until_handled(&name, 2.0);
}
