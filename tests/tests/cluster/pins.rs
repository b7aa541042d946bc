//! A tag that moves: all pods of a manifest run what it meant when the first of them was prepared.

use serde_json::{Value, json};
use spinredis_tests::{
    guests,
    kubernetes::{Namespace, app, cluster, component, condition, kubectl_with, oci},
};

/// Pushes `hello.wat` and gives reference and digest.
fn push(namespace: &Namespace) -> (String, String) {
    cluster().registries.push(&format!("tests/{}:v1", namespace.name()), &guests::wasm("hello.wat"))
}

/// Pushes something else under the same tag and gives its digest.
fn move_tag(namespace: &Namespace) -> String {
    cluster().registries.push(&format!("tests/{}:v1", namespace.name()), &guests::built("rust-sdk5")).1
}

fn manifest(namespace: &Namespace, reference: &str, channel: &str) -> Value {
    let trigger = json!({"address": cluster().redis.address()});
    app("greeter", trigger, json!([component("hello", &namespace.channel(channel), oci(reference))]))
}

/// The digest that `prepare` of each pod reported.
fn digests(namespace: &Namespace) -> Vec<String> {
    let report = |pod: &Value| {
        let text = pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["message"].as_str()?;
        let report: Value = serde_json::from_str(text).ok()?;
        Some(report["components"][0]["digest"].as_str()?.to_owned())
    };
    namespace.pods("greeter").iter().map(|pod| report(pod).unwrap_or_default()).collect()
}

/// Ends all pods and waits until others have taken their place.
fn replace_pods(namespace: &Namespace) {
    namespace.kubectl(&["delete", "pods", "-l", "spinredis.dev/app=greeter"]);
    namespace.wait_until_ready("greeter");
}

fn wait_for_digest(namespace: &Namespace, wanted: &str) {
    namespace.wait_for(&format!("the app runs {wanted}"), "spinredisapp", "greeter", |app| {
        let (ready, digest) = (condition(app, "Ready"), &app["status"]["components"][0]["digest"]);
        if ready["status"] == "True" && digest == wanted { Ok(()) } else { Err(format!("{ready} {digest}")) }
    });
}

fn pins(namespace: &Namespace) -> Value {
    namespace.json(&["get", "configmap", "greeter-pins"])["data"].clone()
}

#[test]
fn later_pods_run_what_the_tag_meant_first_until_its_author_asks_for_it_again() {
    let namespace = Namespace::new("moved-tag");
    let (reference, old) = push(&namespace);
    namespace.apply(&manifest(&namespace, &reference, "orders"));
    namespace.wait_until_ready("greeter");
    namespace.wait_for("the digest is pinned", "configmap", "greeter-pins", |pins| {
        if pins["data"].to_string().contains(&old) { Ok(()) } else { Err(pins["data"].to_string()) }
    });
    let new = move_tag(&namespace);

    replace_pods(&namespace);
    assert_eq!(digests(&namespace), std::slice::from_ref(&old));
    namespace.kubectl(&["rollout", "restart", "deployment", "greeter"]);
    namespace.kubectl(&["rollout", "status", "deployment", "greeter", "--timeout=120s"]);
    wait_for_digest(&namespace, &old);
    namespace.patch("greeter", &json!({"spec": {"replicas": 2, "delivery": "EachReplica"}}));
    namespace.wait_until_ready("greeter");
    assert_eq!(digests(&namespace), [old.clone(), old.clone()]);
    // An edit that leaves the manifest as it was rolls the pods, and not the tag.
    namespace.patch("greeter", &json!({"spec": {"replicas": 1, "resources": {"requests": {"cpu": "20m"}}}}));
    namespace.wait_until_ready("greeter");
    wait_for_digest(&namespace, &old);

    namespace.kubectl(&["annotate", "spinredisapp", "greeter", "spinredis.dev/refresh=today"]);
    wait_for_digest(&namespace, &new);
    namespace.wait_for("only what is in use is pinned", "configmap", "greeter-pins", |pins| {
        let text = pins["data"].to_string();
        if text.contains(&new) && !text.contains(&old) { Ok(()) } else { Err(text) }
    });
}

#[test]
fn another_manifest_resolves_its_tags_anew() {
    let namespace = Namespace::new("moved-tag-edit");
    let (reference, old) = push(&namespace);
    namespace.apply(&manifest(&namespace, &reference, "before"));
    namespace.wait_until_ready("greeter");
    wait_for_digest(&namespace, &old);
    let new = move_tag(&namespace);
    namespace.apply(&manifest(&namespace, &reference, "after"));
    wait_for_digest(&namespace, &new);

    // And one that names a digest has nothing to pin.
    let mut by_digest = manifest(&namespace, &reference, "after");
    by_digest["spec"]["components"][0]["source"]["oci"]["digest"] = json!(new);
    namespace.apply(&by_digest);
    namespace.wait_until_ready("greeter");
    namespace.kubectl(&["wait", "--for=delete", "configmap/greeter-pins", "--timeout=60s"]);
}

#[test]
fn a_pod_that_runs_another_image_than_is_pinned_is_replaced() {
    let namespace = Namespace::new("replaced-pods");
    let (reference, first) = push(&namespace);
    let second = move_tag(&namespace);
    let mut app = manifest(&namespace, &reference, "orders");
    app["spec"]["replicas"] = json!(2);
    app["spec"]["delivery"] = json!("EachReplica");
    namespace.apply(&app);
    namespace.wait_until_ready("greeter");
    assert_eq!(digests(&namespace), [second.clone(), second.clone()]);
    let before = namespace.pod_names("greeter");

    // As if a pod that is gone had been prepared first, before the tag moved.
    let text = pins(&namespace).to_string().replace(&second, &first);
    let patch = json!({"data": serde_json::from_str::<Value>(&text).unwrap()});
    namespace.kubectl(&["patch", "configmap", "greeter-pins", "--type=merge", "-p", &patch.to_string()]);
    wait_for_digest(&namespace, &first);
    namespace.wait_for("both pods are others", "deployment", "greeter", |deployment| {
        let found = (namespace.pod_names("greeter"), digests(&namespace));
        let are_others = found.0.len() == 2 && found.0.iter().all(|pod| !before.contains(pod));
        if are_others && found.1 == [first.clone(), first.clone()] { Ok(()) } else { Err(format!("{found:?} {}", deployment["status"])) }
    });
    namespace.wait_until_ready("greeter");
}

#[test]
fn a_config_map_of_somebody_else_tells_no_app_what_to_run() {
    let namespace = Namespace::new("strange-pins");
    let (reference, _) = push(&namespace);
    let strange = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "greeter-pins"}, "data": {"a": "b"}});
    kubectl_with(&["create", "-n", namespace.name(), "-f", "-"], &strange.to_string());
    namespace.apply(&manifest(&namespace, &reference, "orders"));
    let message = namespace.wait_for_reason("greeter", "NameConflict");
    assert!(message.contains("ConfigMap greeter-pins"), "{message}");
    assert_eq!(namespace.json(&["get", "deployments"])["items"], json!([]), "nothing was written");
    assert_eq!(pins(&namespace), json!({"a": "b"}));

    namespace.kubectl(&["delete", "configmap", "greeter-pins"]);
    namespace.wait_until_ready("greeter");
}
