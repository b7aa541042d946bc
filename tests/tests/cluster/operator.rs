//! The operator itself: killed, started again, and what it may not do.

use serde_json::{Value, json};
use spinredis_tests::kubernetes::{
    Namespace, OPERATOR, OPERATOR_NAMESPACE, cluster, hello, kubectl, operator_pod, try_kubectl, wait_for_another_operator_pod,
    wait_for_operator_line,
};

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

fn kill(pod: &str) {
    kubectl(&["delete", "pod", pod, "-n", OPERATOR_NAMESPACE, "--force", "--grace-period=0"]);
}

#[test]
fn an_operator_killed_in_the_middle_of_many_apps_finishes_all_of_them_later() {
    let namespace = Namespace::new("operator-killed");
    let redis = &cluster().redis;
    let names: Vec<String> = (0..8).map(|number| format!("app-{number}")).collect();
    let list = |names: &[String]| {
        let apps: Vec<Value> = names.iter().map(|name| hello(name, &redis.address(), &namespace.channel(name))).collect();
        json!({"apiVersion": "v1", "kind": "List", "items": apps})
    };
    let killed = name(&operator_pod());
    namespace.apply(&list(&names[..4]));
    // Some have children by now, others not; the second half comes while there is no operator.
    kill(&killed);
    namespace.apply(&list(&names[4..]));

    let restarted = wait_for_another_operator_pod(&killed);
    assert_ne!(name(&restarted), killed);
    for name in &names {
        namespace.wait_until_ready(name);
    }
    for name in [&names[0], &names[7]] {
        namespace.assert_answers(name, redis, &namespace.channel(name));
    }
}

#[test]
fn an_operator_that_is_started_again_writes_nothing() {
    let namespace = Namespace::new("operator-restarted");
    namespace.apply(&hello("greeter", &cluster().redis.address(), &namespace.channel("orders")));
    namespace.wait_until_ready("greeter");
    let versions = || -> Vec<(Value, Value)> {
        let app = namespace.json(&["get", "spinredisapps"]);
        let children = namespace.json(&["get", "deployments,replicasets,configmaps", "-l", "spinredis.dev/app=greeter"]);
        let objects = [app, children].into_iter().flat_map(|list| list["items"].as_array().unwrap().clone());
        objects.map(|object| (object["kind"].clone(), object["metadata"]["resourceVersion"].clone())).collect()
    };
    let before = versions();
    assert_eq!(before.len(), 4, "{before:?}");

    let running = name(&operator_pod());
    kubectl(&["delete", "pod", &running, "-n", OPERATOR_NAMESPACE, "--wait=false"]);
    let restarted = name(&wait_for_another_operator_pod(&running));
    let app = format!("greeter.{}", namespace.name());
    wait_for_operator_line(&restarted, &format!("{app} was reconciled"), |line| {
        line.contains("\"message\":\"reconciled\"") && line.contains(&app)
    });
    assert_eq!(versions(), before);
}

#[test]
fn the_operator_may_read_no_secret_anywhere() {
    cluster();
    let account = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR}");
    let may = |verb: &str, resource: &str| {
        // kubectl fails when the answer is no.
        let answer = try_kubectl(&["auth", "can-i", verb, resource, "--all-namespaces", "--as", &account], "");
        let answer = answer.unwrap_or_else(|error| error);
        match answer.lines().last() {
            Some("yes") => true,
            Some(line) if line.ends_with("no") => false,
            _ => panic!("{answer}"),
        }
    };
    for verb in ["get", "list", "watch", "create", "patch", "update", "delete"] {
        assert!(!may(verb, "secrets"), "{verb} secrets");
    }
    for (verb, resource) in [("create", "pods"), ("create", "pods/exec"), ("create", "roles"), ("create", "serviceaccounts/token")] {
        assert!(!may(verb, resource), "{verb} {resource}");
    }
    assert!(may("list", "spinredisapps"), "the question was about the right account");
}
