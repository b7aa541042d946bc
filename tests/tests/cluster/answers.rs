//! The main job: an app is applied, becomes Ready, and its component handles what is published.

use std::fs;

use serde_json::json;
use spinredis_tests::{
    guests::{self, repository},
    kubernetes::{Namespace, app, cluster, component, oci},
};

/// The text of an example's manifest, for the shared Redis and a channel of this test.
fn example(name: &str, namespace: &Namespace, channel: &str) -> String {
    let text = fs::read_to_string(repository().join("examples").join(name).join("app.yaml")).unwrap();
    let replace = |text: String, from: &str, to: &str| {
        assert!(text.contains(from), "examples/{name}/app.yaml has no `{from}`");
        text.replace(from, to)
    };
    let text = replace(text, "redis://redis.default.svc:6379\n", &format!("{}\n", cluster().redis.address()));
    replace(text, &format!("channels: [{channel}]"), &format!("channels: [{}]", namespace.channel(channel)))
}

#[test]
fn an_app_from_a_registry_with_a_password_becomes_ready_and_answers() {
    let namespace = Namespace::new("private-registry");
    let cluster = cluster();
    let login = &cluster.registries.private;
    let (reference, digest) = cluster.registries.push_private("tests/hello:v1", &guests::wasm("hello.wat"));
    namespace.set_pull_secret("pull", &login.host, &login.user, &login.password);
    let channel = namespace.channel("orders");
    let mut manifest = app("greeter", json!({"address": cluster.redis.address()}), json!([component("hello", &channel, oci(&reference))]));
    manifest["spec"]["imagePullSecrets"] = json!([{"name": "pull"}]);
    namespace.apply(&manifest);

    let ready = namespace.wait_until_ready("greeter");
    assert_eq!(ready["status"]["components"], json!([{"id": "hello", "digest": digest, "handler": "fermyon:spin/inbound-redis"}]));
    namespace.assert_answers("greeter", &cluster.redis, &channel);
}

#[test]
fn the_example_with_a_config_map_becomes_ready_and_answers() {
    let namespace = Namespace::new("example-configmap");
    namespace.apply_text(&example("configmap", &namespace, "messages"));
    namespace.wait_until_ready("configmap");
    namespace.assert_answers("configmap", &cluster().redis, &namespace.channel("messages"));
}

#[test]
fn the_example_with_a_password_signs_in_as_its_user_and_answers() {
    let namespace = Namespace::new("example-password");
    let user = namespace.name();
    cluster().redis.set_user(user, "change-me", user);
    // As the example says: the component is the one of examples/configmap.
    let configmap = fs::read_to_string(repository().join("examples/configmap/app.yaml")).unwrap();
    namespace.apply_text(configmap.split("\n---\n").find(|document| document.contains("kind: ConfigMap")).unwrap());
    namespace.apply_text(&example("password", &namespace, "greetings").replace("username: greeter", &format!("username: {user}")));
    namespace.wait_until_ready("password");
    assert!(cluster().redis.cli(&["CLIENT", "LIST"]).contains(&format!("user={user} ")));
    namespace.assert_answers("password", &cluster().redis, &namespace.channel("greetings"));
}

#[test]
fn the_example_built_with_the_newest_sdk_becomes_ready_and_answers() {
    let namespace = Namespace::new("example-hello");
    let (reference, _) = cluster().registries.push("tests/hello-sdk:v1", &guests::built("hello"));
    let manifest = example("hello", &namespace, "messages");
    namespace.apply_text(&manifest.replace("registry.example.com/hello:v1\n", &format!("{reference}\n")));
    let ready = namespace.wait_until_ready("hello");
    assert_eq!(ready["status"]["components"][0]["handler"], "spin:redis/inbound-redis@3.0.0");
    namespace.assert_answers("hello", &cluster().redis, &namespace.channel("messages"));
}
