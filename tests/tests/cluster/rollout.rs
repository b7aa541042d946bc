//! Edits and scaling: what rolls the pods out, what does not, and what serves meanwhile.

use serde_json::{Value, json};
use spinredis_tests::{
    guests,
    kubernetes::{Namespace, app, cluster, component, condition, hello, oci},
};

#[test]
fn an_edited_channel_rolls_out_and_the_old_one_is_no_longer_heard() {
    let namespace = Namespace::new("edit-channel");
    let redis = &cluster().redis;
    let (before, after) = (namespace.channel("before"), namespace.channel("after"));
    namespace.apply(&hello("greeter", &redis.address(), &before));
    namespace.wait_until_ready("greeter");
    let old = namespace.pod_names("greeter").remove(0);

    namespace.apply(&hello("greeter", &redis.address(), &after));
    namespace.wait_until_ready("greeter");
    namespace.assert_answers("greeter", redis, &after);
    namespace.kubectl(&["wait", "--for=delete", &format!("pod/{old}"), "--timeout=60s"]);
    assert_eq!(redis.publish(&before, "too late"), 0, "nobody listens to the old channel");
    // The manifest of the old pods goes with them.
    namespace.wait_for("only the manifest in use is left", "spinredisapp", "greeter", |_| {
        let left = namespace.json(&["get", "configmaps", "-l", "spinredis.dev/app=greeter"])["items"].as_array().unwrap().len();
        if left == 1 { Ok(()) } else { Err(format!("{left} ConfigMaps")) }
    });
}

#[test]
fn while_a_bad_edit_fails_the_old_pods_answer_and_the_status_says_why() {
    let namespace = Namespace::new("bad-edit");
    let cluster = cluster();
    let (reference, _) = cluster.registries.push("tests/hello:v1", &guests::wasm("hello.wat"));
    let (channel, trigger) = (namespace.channel("orders"), json!({"address": cluster.redis.address()}));
    namespace.apply(&app("greeter", trigger.clone(), json!([component("hello", &channel, oci(&reference))])));
    namespace.wait_until_ready("greeter");
    let old = namespace.pod_names("greeter");

    let missing = reference.replace(":v1", ":no-such-tag");
    namespace.apply(&app("greeter", trigger.clone(), json!([component("hello", &channel, oci(&missing))])));
    let message = namespace.wait_for_reason("greeter", "RegistryError");
    assert!(message.contains("component hello") && message.contains(&missing), "{message}");
    let app_now = namespace.app("greeter");
    assert_eq!(condition(&app_now, "Available")["status"], "True", "{app_now}");
    assert_eq!(condition(&app_now, "ComponentsReady")["status"], "False", "{app_now}");
    assert!(namespace.pod_names("greeter").contains(&old[0]));
    assert_eq!(cluster.redis.publish(&channel, "still here?"), 1);
    namespace.wait_for_line(&old[0], "Got message: still here?");

    namespace.apply(&app("greeter", trigger, json!([component("hello", &channel, oci(&reference))])));
    namespace.wait_until_ready("greeter");
    assert_eq!(namespace.pod_names("greeter"), old, "the edit that takes the bad one back needs no new pod");
}

#[test]
fn scaling_changes_no_pod_template_and_each_replica_handles_each_message() {
    let namespace = Namespace::new("scale");
    let redis = &cluster().redis;
    let channel = namespace.channel("orders");
    let mut manifest = hello("greeter", &redis.address(), &channel);
    manifest["spec"]["delivery"] = json!("EachReplica");
    namespace.apply(&manifest);
    namespace.wait_until_ready("greeter");
    let first = namespace.pod("greeter");
    let template = || namespace.json(&["get", "deployment", "greeter"])["spec"]["template"].clone();
    let before = template();

    namespace.kubectl(&["scale", "spinredisapp", "greeter", "--replicas=2"]);
    let ready = namespace.wait_until_ready("greeter");
    assert_eq!(ready["status"]["readyReplicas"], 2);
    assert_eq!(template(), before);
    let pods = namespace.pods("greeter");
    let hash = |pod: &Value| pod["metadata"]["labels"]["pod-template-hash"].clone();
    assert!(pods.iter().all(|pod| hash(pod) == hash(&first)));
    let names = namespace.pod_names("greeter");
    assert!(names.len() == 2 && names.iter().any(|name| *name == first["metadata"]["name"]), "{names:?}");
    assert_eq!(redis.publish(&channel, "to both"), 2);
    for pod in &names {
        namespace.wait_for_line(pod, "Got message: to both");
    }

    namespace.kubectl(&["scale", "spinredisapp", "greeter", "--replicas=0"]);
    let zero = namespace.wait_until_ready("greeter");
    assert_eq!(condition(&zero, "Ready")["reason"], "ScaledToZero");
    assert_eq!(condition(&zero, "Available")["status"], "False");
    assert_eq!(template(), before);
    namespace.kubectl(&["wait", "--for=delete", "pod", "-l", "spinredis.dev/app=greeter", "--timeout=60s"]);
    assert_eq!(redis.publish(&channel, "to nobody"), 0);
}

#[test]
fn an_app_that_leaves_delivery_open_shares_its_messages_as_soon_as_it_is_scaled_up() {
    let namespace = Namespace::new("scale-open");
    namespace.apply(&hello("greeter", &cluster().redis.address(), &namespace.channel("orders")));
    let one = namespace.wait_until_ready("greeter");
    assert_eq!(one["status"]["delivery"], Value::Null);
    namespace.kubectl(&["scale", "spinredisapp", "greeter", "--replicas=2"]);
    let two = namespace.wait_until_ready("greeter");
    assert_eq!(two["status"]["delivery"], "Shared");
    let message = condition(&two, "Ready")["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.starts_with("Shared 2/2: each message is handled by one replica"), "{message}");
}
