//! Components that cannot be fetched or cannot be run: the status says what was found and what to do.

use serde_json::{Value, json};
use spinredis_tests::{
    guests,
    kubernetes::{Namespace, app, cluster, component, condition, oci},
};

/// Applies an app with one component.
fn apply(namespace: &Namespace, name: &str, source: Value, pull_secret: Option<&str>) {
    let trigger = json!({"address": cluster().redis.address()});
    let mut manifest = app(name, trigger, json!([component("hello", &namespace.channel(name), source)]));
    if let Some(secret) = pull_secret {
        manifest["spec"]["imagePullSecrets"] = json!([{"name": secret}]);
    }
    namespace.apply(&manifest);
}

fn assert_stalled(namespace: &Namespace, app: &str) {
    let app = namespace.app(app);
    assert_eq!(condition(&app, "Stalled")["status"], "True", "{app}");
}

#[test]
fn the_answer_of_the_registry_to_a_wrong_reference_or_password_is_in_the_status() {
    let namespace = Namespace::new("wrong-image");
    let registries = &cluster().registries;
    let private = registries.push_private("tests/hello:v1", &guests::wasm("hello.wat")).0;
    let name = format!("tests/{}:v1", namespace.name());
    let missing = format!("{}/{name}", registries.open);
    let login = &registries.private;
    namespace.set_pull_secret("wrong", &login.host, &login.user, "wrong-password");
    apply(&namespace, "missing", oci(&missing), None);
    apply(&namespace, "without-secret", oci(&private), None);
    apply(&namespace, "wrong-secret", oci(&private), Some("wrong"));

    let message = namespace.wait_for_reason("missing", "RegistryError");
    assert!(message.contains(&format!("registry {} has no image {missing}", registries.open)), "{message}");
    for name in ["without-secret", "wrong-secret"] {
        let message = namespace.wait_for_reason(name, "RegistryError");
        assert!(
            message.contains("refuses to give") && message.contains(&private) && message.contains("imagePullSecrets"),
            "{name}: {message}"
        );
        assert!(!message.contains("wrong-password"), "{message}");
    }

    // And what helps: the image is pushed, the Secret corrected.
    registries.push(&name, &guests::wasm("hello.wat"));
    namespace.kubectl(&["delete", "secret", "wrong"]);
    namespace.set_pull_secret("wrong", &login.host, &login.user, &login.password);
    namespace.wait_until_ready("missing");
    namespace.wait_until_ready("wrong-secret");
}

#[test]
fn a_component_that_cannot_run_stalls_its_app_which_names_what_it_found() {
    let namespace = Namespace::new("wrong-component");
    let redis = &cluster().redis;
    for guest in ["no-handler.wat", "unsupported-import.wat"] {
        namespace.add_guest(guest);
    }
    apply(&namespace, "no-handler", guests::source("no-handler.wat"), None);
    apply(&namespace, "unsupported-import", guests::source("unsupported-import.wat"), None);

    let message = namespace.wait_for_reason("no-handler", "NoHandler");
    assert!(message.contains("component hello") && message.contains("acme:things/api"), "{message}");
    assert!(message.contains("fermyon:spin/inbound-redis") && message.contains("spin:redis/inbound-redis@3.0.0"), "{message}");
    assert_stalled(&namespace, "no-handler");
    let message = namespace.wait_for_reason("unsupported-import", "UnsupportedImport");
    assert!(message.contains("component hello") && message.contains("acme:host/secret-sauce"), "{message}");
    assert_stalled(&namespace, "unsupported-import");

    // And what helps: an edit.
    apply(&namespace, "no-handler", guests::source("hello.wat"), None);
    namespace.wait_until_ready("no-handler");
    namespace.assert_answers("no-handler", redis, &namespace.channel("no-handler"));
}

#[test]
fn an_image_with_another_digest_is_refused_and_both_digests_are_named() {
    let namespace = Namespace::new("wrong-digest");
    let (reference, digest) = cluster().registries.push("tests/hello:v1", &guests::wasm("hello.wat"));
    let wanted = format!("sha256:{}", "0".repeat(64));
    apply(&namespace, "pinned", json!({"oci": {"reference": reference, "digest": wanted}}), None);
    let message = namespace.wait_for_reason("pinned", "DigestMismatch");
    assert!(message.contains(&digest) && message.contains(&wanted) && message.contains(&reference), "{message}");
    assert_stalled(&namespace, "pinned");

    apply(&namespace, "pinned", json!({"oci": {"reference": reference, "digest": digest}}), None);
    namespace.wait_until_ready("pinned");
}
