//! `spinredis prepare` with what the operator tells it of registries: pins in the place of tags, private authorities, mirrors,
//! plain HTTP. The registries are real ones.

use std::fs;

use serde_json::{Value, json};
use spinredis_crds::manifest::sha256_digest;
use spinredis_tests::{
    app::{App, Prepared},
    guests, ports,
    registry::{Format, Registry, SpinApp, SpinPacking, docker_config},
    tls::Authority,
};

const SYNC: &str = "fermyon:spin/inbound-redis";

fn app_of(reference: &str) -> App {
    let source = json!({"oci": {"reference": reference}});
    App::new(json!({"address": "redis://127.0.0.1:1"}), json!([{"id": "hello", "channels": ["messages"], "source": source}]))
}

/// Prepares with files of pins and of registries, as in a pod.
fn prepare(app: &App, pins: Value, registries: Value) -> Prepared {
    let folder = tempfile::tempdir().unwrap();
    let files = [("--pins", pins), ("--registries", registries)].map(|(option, content)| {
        let file = folder.path().join(&option[2..]);
        fs::write(&file, content.to_string()).unwrap();
        [option.to_owned(), file.display().to_string()]
    });
    app.prepare_with(&files.concat())
}

fn assert_prepared(prepared: &Prepared, digest: &str) {
    assert_eq!(prepared.code, 0, "{}", prepared.log);
    assert_eq!(prepared.report, json!({"components": [{"id": "hello", "digest": digest, "handler": SYNC}]}), "{}", prepared.log);
}

fn assert_says(prepared: &Prepared, reason: &str, parts: &[&str]) {
    let (found, message) = prepared.problem();
    assert_eq!(found, reason, "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` in `{message}`");
    }
}

fn plain(registry: &Registry) -> Value {
    json!({"host": registry.host(), "plainHTTP": true})
}

/// A guest with other bytes than `hello.wat`, and the same handler.
fn another() -> Vec<u8> {
    guests::built("rust-sdk5")
}

// ---- Pins -----------------------------------------------------------------------------------------------------------

#[test]
fn a_tag_that_is_pinned_is_fetched_by_its_digest_wherever_it_moved_to() {
    let registry = Registry::anonymous();
    let old = registry.push("hello:v1", &guests::wasm("hello.wat"), Format::Artifact);
    let new = registry.push("hello:v1", &another(), Format::Artifact);
    assert_ne!(old, new);
    let app = app_of(&registry.reference("hello:v1"));
    let registries = json!([plain(&registry)]);
    assert_prepared(&prepare(&app, json!({registry.reference("hello:v1"): old}), registries.clone()), &old);
    assert_prepared(&prepare(&app, json!({registry.reference("hello:v2"): old}), registries.clone()), &new);
    // Before the first pod of a manifest was prepared there is no file.
    let nowhere = app.prepared().join("no-such-file");
    let args = ["--pins", nowhere.to_str().unwrap(), "--plain-http", registry.host()];
    assert_prepared(&app.prepare_with(&args), &new);
}

#[test]
fn a_whole_spin_app_is_pinned_too() {
    let registry = Registry::anonymous();
    let app = |channel: &str| {
        let app = SpinApp::new("shop").with_component("hello", &guests::wasm("hello.wat"), &[], json!({}));
        app.with_trigger("hello", channel, Some("redis://127.0.0.1:1"))
    };
    let old = registry.push_spin_app("shop:v1", &app("old"), SpinPacking::Layers);
    let new = registry.push_spin_app("shop:v1", &app("new"), SpinPacking::Layers);
    assert_ne!(old, new);
    let reference = registry.reference("shop:v1");
    let manifest = json!({
        "apiVersion": "spinredis.dev/v1alpha1", "kind": "SpinRedisApp", "metadata": {"name": "shop"},
        "spec": {"application": {"oci": {"reference": reference}}},
    });
    let prepared = prepare(&App::from_text(&manifest.to_string()), json!({reference: old}), json!([plain(&registry)]));
    assert_prepared(&prepared, &old);
}

#[test]
fn a_digest_in_the_manifest_is_stronger_than_a_pin() {
    let registry = Registry::anonymous();
    let old = registry.push("hello:v1", &guests::wasm("hello.wat"), Format::Artifact);
    let new = registry.push("hello:v1", &another(), Format::Artifact);
    let reference = registry.reference("hello:v1");
    let source = json!({"oci": {"reference": reference, "digest": new}});
    let app = App::new(json!({"address": "redis://127.0.0.1:1"}), json!([{"id": "hello", "channels": ["messages"], "source": source}]));
    assert_prepared(&prepare(&app, json!({reference: old}), json!([plain(&registry)])), &new);
}

#[test]
fn an_image_that_is_gone_from_its_registry_is_named_with_its_pin_and_the_way_out() {
    let registry = Registry::anonymous();
    registry.push("hello:v1", &guests::wasm("hello.wat"), Format::Artifact);
    let reference = registry.reference("hello:v1");
    let gone = sha256_digest(b"gone");
    let prepared = prepare(&app_of(&reference), json!({&reference: gone}), json!([plain(&registry)]));
    assert_says(&prepared, "RegistryError", &["component hello", &reference, &gone, "spinredis.dev/refresh"]);
}

#[test]
fn every_tag_of_an_app_with_many_components_is_reported() {
    let registry = Registry::anonymous();
    let component = |n: usize| json!({"id": format!("c{n}"), "channels": ["a"], "source": {"oci": {"reference": registry.reference(&format!("c{n:02}:v1"))}}});
    let push = |n: usize| registry.push(&format!("c{n:02}:v1"), &guests::wasm("hello.wat"), Format::Artifact);
    let digests: Vec<String> = (0..40).map(push).collect();
    let app = App::new(json!({"address": "redis://127.0.0.1:1"}), (0..40).map(component).collect::<Vec<_>>().into());
    let prepared = prepare(&app, json!({}), json!([plain(&registry)]));
    assert_eq!(prepared.code, 0, "{}", prepared.log);
    assert!(prepared.report["components"].as_array().unwrap().len() < 40);
    let resolved = prepared.report["resolved"].as_array().unwrap();
    assert_eq!((resolved.len(), resolved[39].as_str()), (40, Some(spinredis_crds::pins::shortened(&digests[39]).as_str())));
}

// ---- Registries -----------------------------------------------------------------------------------------------------

#[test]
fn a_registry_with_a_private_authority_is_trusted_by_that_authority_alone() {
    let open = Registry::anonymous();
    let (authority, other) = (Authority::new("of the registry"), Authority::new("other"));
    let registry = open.with_tls(&authority.server(&["127.0.0.1"]));
    let digest = open.push("hello:v1", &guests::wasm("hello.wat"), Format::Artifact);
    let app = app_of(&registry.reference("hello:v1"));
    let trusting = |pem: String| json!([{"host": registry.host(), "ca": pem}]);

    assert_prepared(&prepare(&app, json!({}), trusting(authority.certificate())), &digest);
    // As in a file of several authorities.
    let both = other.certificate() + &authority.certificate();
    assert_prepared(&prepare(&app, json!({}), trusting(both)), &digest);
    assert_says(&prepare(&app, json!({}), trusting(other.certificate())), "RegistryError", &[registry.host(), "not trusted"]);
    assert_says(&prepare(&app, json!({}), json!([])), "RegistryError", &[registry.host(), "not trusted", "caFile"]);
}

#[test]
fn a_mirror_is_asked_first_and_the_registry_itself_when_the_mirror_does_not_help() {
    let (own, mirror) = (Registry::anonymous(), Registry::anonymous());
    let of_own = own.push("acme/hello:v1", &guests::wasm("hello.wat"), Format::Artifact);
    let of_mirror = mirror.push("cache/acme/hello:v1", &another(), Format::Artifact);
    let app = app_of(&own.reference("acme/hello:v1"));
    let with_mirror =
        |host: &str, folder: &str| json!([{"host": own.host(), "plainHTTP": true, "mirror": format!("{host}{folder}")}, plain(&mirror)]);

    assert_prepared(&prepare(&app, json!({}), with_mirror(mirror.host(), "/cache")), &of_mirror);
    // It has no such image; it is not there; its image is not the pinned one.
    assert_prepared(&prepare(&app, json!({}), with_mirror(mirror.host(), "/empty")), &of_own);
    assert_prepared(&prepare(&app, json!({}), with_mirror(&format!("127.0.0.1:{}", ports::free()), "")), &of_own);
    let pinned = json!({own.reference("acme/hello:v1"): of_own});
    assert_prepared(&prepare(&app, pinned, with_mirror(mirror.host(), "/cache")), &of_own);
}

#[test]
fn when_neither_mirror_nor_registry_helps_both_are_named() {
    let (own, mirror) = (Registry::anonymous(), Registry::anonymous());
    let reference = own.reference("hello:v1");
    let registries = json!([{"host": own.host(), "plainHTTP": true, "mirror": mirror.host()}, plain(&mirror)]);
    let prepared = prepare(&app_of(&reference), json!({}), registries);
    assert_says(&prepared, "RegistryError", &[own.host(), mirror.host(), "has no image"]);
}

#[test]
fn a_mirror_gets_its_own_password_and_never_that_of_the_registry() {
    let (own, mirror) = (Registry::with_password("puller", "of-own"), Registry::with_password("puller", "of-mirror"));
    let digest = own.push("hello:v1", &guests::wasm("hello.wat"), Format::Artifact);
    let of_mirror = mirror.push("hello:v1", &another(), Format::Artifact);
    let registries = json!([{"host": own.host(), "plainHTTP": true, "mirror": mirror.host()}, plain(&mirror)]);
    let app = app_of(&own.reference("hello:v1")).with_pull_secret("own", &docker_config(own.host(), "puller", "of-own"));
    assert_prepared(&prepare(&app, json!({}), registries.clone()), &digest);
    let app = app.with_pull_secret("mirror", &docker_config(mirror.host(), "puller", "of-mirror"));
    assert_prepared(&prepare(&app, json!({}), registries), &of_mirror);
}
