//! A whole Spin app, as `spin registry push` writes it, through the operator: what comes from the image, what from the manifest.

use serde_json::{Value, json};
use spinredis_tests::{
    guests,
    kubernetes::{Namespace, cluster, condition},
    registry::SpinApp,
};

/// A manifest of the app of an image in the registry with a password.
fn manifest(reference: &str, spec: Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "spinredis.dev/v1alpha1",
        "kind": "SpinRedisApp",
        "metadata": {"name": "shop"},
        "spec": {"application": {"oci": {"reference": reference}}, "imagePullSecrets": [{"name": "pull"}]},
    });
    manifest["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    manifest
}

fn set_pull_secret(namespace: &Namespace) {
    let login = &cluster().registries.private;
    namespace.set_pull_secret("pull", &login.host, &login.user, &login.password);
}

#[test]
fn an_app_from_a_registry_with_a_password_becomes_ready_with_its_variables_files_and_stores() {
    let namespace = Namespace::new("spin-app");
    let redis = &cluster().redis;
    let (greetings, calls) = (namespace.channel("greetings"), namespace.channel("calls"));
    let fields = json!({
        "config": {"text": "{{ greeting }}, {{ subject }}!"},
        "env": {"MODE": "of the app"},
        "metadata": {"key_value_stores": ["default"], "allowed_outbound_hosts": ["redis://self"]},
    });
    let app = SpinApp {
        address: Some("redis://localhost:6379".into()),
        variables: json!({"greeting": {"default": "Hello"}, "subject": {}, "channel": {}}),
        ..SpinApp::new("shop")
    };
    let app = app
        .with_component("hello", &guests::wasm("hello.wat"), &[], json!({}))
        .with_component("caller", &guests::built("conformance-sync"), &[("menu.txt", "coffee ".repeat(40).as_bytes())], fields)
        .with_trigger("hello", &greetings, None)
        .with_trigger("caller", "{{ channel }}", None);
    let (reference, digest) = cluster().registries.push_spin_app_private("tests/shop:v1", &app);
    set_pull_secret(&namespace);
    namespace.set_secret("people", "subject", "Ada");
    let variables = json!([
        {"name": "subject", "valueFrom": {"secretKeyRef": {"name": "people", "key": "subject"}}},
        {"name": "channel", "value": calls},
    ]);
    let change = json!([{"id": "caller", "env": [{"name": "MODE", "value": "of the manifest"}]}]);
    let spec = json!({"trigger": {"address": redis.address()}, "variables": variables, "components": change});
    namespace.apply(&manifest(&reference, spec));

    let ready = namespace.wait_until_ready("shop");
    let component = |id: &str| json!({"id": id, "digest": digest, "handler": "fermyon:spin/inbound-redis"});
    assert_eq!(ready["status"]["components"], json!([component("hello"), component("caller")]));
    namespace.assert_answers("shop", redis, &greetings);

    let pod = namespace.pod("shop")["metadata"]["name"].as_str().unwrap().to_owned();
    let key = namespace.channel("key");
    let asked = json!([
        ["variables.get", "text"],
        ["env", "MODE"],
        ["fs.read", "/menu.txt"],
        ["key-value.set", "default", "key", "of the store"],
        ["redis.set", redis.address(), key, "of outbound Redis"],
    ]);
    assert_eq!(redis.publish(&calls, &asked.to_string()), 1);
    for answer in [json!("Hello, Ada!"), json!("of the manifest"), json!("coffee ".repeat(40)), Value::Null] {
        namespace.wait_for_line(&pod, &json!({"ok": answer}).to_string());
    }
    namespace.wait_until_handled(&pod, 2.0);
    assert_eq!(redis.cli(&["GET", &format!("{}/shop/default/key", namespace.name())]), "of the store");
    assert_eq!(redis.cli(&["GET", &key]), "of outbound Redis");
}

#[test]
fn an_app_that_cannot_run_here_says_so_in_its_status_and_an_edit_helps() {
    let namespace = Namespace::new("spin-app-refused");
    let redis = &cluster().redis;
    let channel = namespace.channel("greetings");
    let app = SpinApp { variables: json!({"token": {}}), ..SpinApp::new("shop") };
    let app = app.with_component("hello", &guests::wasm("hello.wat"), &[], json!({})).with_trigger("hello", &channel, None);
    let (reference, _) = cluster().registries.push_spin_app_private("tests/shop-refused:v1", &app);
    set_pull_secret(&namespace);
    let with = |spec: Value| namespace.apply(&manifest(&reference, spec));

    with(json!({"trigger": {"address": redis.address()}}));
    let message = namespace.wait_for_reason("shop", "Invalid");
    assert!(message.contains("token") && message.contains("spec.variables"), "{message}");
    assert_eq!(condition(&namespace.app("shop"), "Stalled")["status"], "True");

    with(json!({"trigger": {"address": redis.address()}, "variables": [{"name": "token", "value": "s3cret"}]}));
    namespace.wait_until_ready("shop");
    namespace.assert_answers("shop", redis, &channel);
}
