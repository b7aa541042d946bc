//! What belongs to an app goes with it, and what belongs to somebody else is left alone.

use serde_json::{Value, json};
use spinredis_tests::kubernetes::{Namespace, cluster, condition, hello};

#[test]
fn a_deployment_of_somebody_else_is_left_as_it_is() {
    let namespace = Namespace::new("name-conflict");
    let redis = &cluster().redis;
    let labels = json!({"app": "stranger"});
    let container = json!({"name": "stranger", "image": "registry.example.com/stranger:v1"});
    namespace.apply(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "greeter"}, "spec": {
        "replicas": 0,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }}));
    namespace.kubectl(&["rollout", "status", "deployment/greeter", "--timeout=60s"]);
    let stranger = || {
        let deployment = namespace.json(&["get", "deployment", "greeter", "--show-managed-fields"]);
        (deployment["metadata"]["resourceVersion"].clone(), deployment["metadata"]["managedFields"].clone())
    };
    let before = stranger();

    namespace.apply(&hello("greeter", &redis.address(), &namespace.channel("orders")));
    let message = namespace.wait_for_reason("greeter", "NameConflict");
    assert!(message.contains("Deployment greeter exists already"), "{message}");
    let app = namespace.app("greeter");
    assert_eq!(condition(&app, "Stalled")["status"], "True", "{app}");
    assert_eq!(stranger(), before);
    let made = namespace.json(&["get", "configmaps,replicasets,pods", "-l", "spinredis.dev/app=greeter"]);
    assert_eq!(made["items"], json!([]), "nothing is made beside it");

    namespace.kubectl(&["delete", "deployment", "greeter"]);
    namespace.wait_until_ready("greeter");
    namespace.assert_answers("greeter", redis, &namespace.channel("orders"));
}

#[test]
fn a_deleted_app_takes_its_children_with_it() {
    let namespace = Namespace::new("delete");
    let redis = &cluster().redis;
    let channel = namespace.channel("orders");
    namespace.apply(&hello("greeter", &redis.address(), &channel));
    namespace.wait_until_ready("greeter");
    namespace.kubectl(&["delete", "spinredisapp", "greeter", "--timeout=60s"]);
    let children = "deployments,replicasets,pods,configmaps";
    namespace.kubectl(&["wait", "--for=delete", children, "-l", "spinredis.dev/app=greeter", "--timeout=60s"]);
    let left = namespace.json(&["get", children, "-l", "spinredis.dev/app=greeter"]);
    assert_eq!(left["items"], json!([]));
    let guests = namespace.json(&["get", "configmap", "guests"]);
    assert!(guests["metadata"]["deletionTimestamp"].is_null(), "what it only reads stays");
    assert_eq!(redis.publish(&channel, "anybody?"), 0);
}

#[test]
fn a_child_that_somebody_deletes_or_changes_is_put_right() {
    let namespace = Namespace::new("drift");
    let redis = &cluster().redis;
    let channel = namespace.channel("orders");
    namespace.apply(&hello("greeter", &redis.address(), &channel));
    namespace.wait_until_ready("greeter");
    let uid = |object: &Value| object["metadata"]["uid"].clone();
    let before = uid(&namespace.json(&["get", "deployment", "greeter"]));

    namespace.kubectl(&["scale", "deployment", "greeter", "--replicas=3"]);
    namespace.wait_for("the Deployment has one replica again", "deployment", "greeter", |deployment| {
        if deployment["spec"]["replicas"] == 1 { Ok(()) } else { Err(deployment["spec"]["replicas"].to_string()) }
    });
    namespace.kubectl(&["delete", "configmaps,deployments", "-l", "spinredis.dev/app=greeter"]);
    namespace.kubectl(&["wait", "--for=create", "deployment/greeter", "--timeout=60s"]);
    assert_ne!(uid(&namespace.json(&["get", "deployment", "greeter"])), before);
    namespace.wait_for("the new pod is ready", "deployment", "greeter", |deployment| {
        if deployment["status"]["readyReplicas"] == 1 { Ok(()) } else { Err(deployment["status"].to_string()) }
    });
    namespace.wait_until_ready("greeter");
    namespace.assert_answers("greeter", redis, &channel);
}
