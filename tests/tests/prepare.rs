//! `spinredis prepare` against a real registry and mounted ConfigMap keys: what it accepts, and what it says otherwise.

use std::{collections::BTreeMap, fs, io::Write};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use spinredis_crds::{manifest::sha256_digest, report::MAX_REPORT_BYTES};
use spinredis_tests::{
    app::{App, Prepared, assert_no_stack_trace},
    guests, ports,
    registry::{Format, Registry, docker_config},
    runtime::Runtime,
};

const SYNC: &str = "fermyon:spin/inbound-redis";

/// An app whose one component, `hello`, has this source.
fn app(source: Value) -> App {
    App::new(json!({"address": "redis://127.0.0.1:1"}), json!([{"id": "hello", "channels": ["messages"], "source": source}]))
}

/// An app whose component comes from a key of the ConfigMap `uploads` with these bytes.
fn app_of_bytes(bytes: &[u8]) -> App {
    app(json!({"configMap": {"name": "uploads", "key": "hello"}})).with("configmap/uploads/hello", bytes)
}

fn app_of_image(reference: &str) -> App {
    app(json!({"oci": {"reference": reference}}))
}

/// Prepares with the registry listed as plain HTTP.
fn prepare_from(app: &App, registry: &Registry) -> Prepared {
    app.prepare_with(&["--plain-http", registry.host()])
}

fn assert_prepared(prepared: &Prepared, digest: &str, handler: &str) {
    assert_eq!(prepared.code, 0, "{}", prepared.log);
    assert_eq!(prepared.report, json!({"components": [{"id": "hello", "digest": digest, "handler": handler}]}), "{}", prepared.log);
}

fn assert_problem(prepared: &Prepared, reason: &str, parts: &[&str]) {
    let (found, message) = prepared.problem();
    assert_eq!(found, reason, "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` in `{message}`");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

// ---- ConfigMaps -----------------------------------------------------------------------------------------------------

#[test]
fn a_config_map_key_may_hold_wasm_gzipped_wasm_or_text() {
    let wasm = guests::wasm("hello.wat");
    for bytes in [wasm.clone(), gzip(&wasm), guests::wat("hello.wat").into_bytes(), gzip(guests::wat("hello.wat").as_bytes())] {
        assert_prepared(&app_of_bytes(&bytes).prepare(), &sha256_digest(&bytes), SYNC);
    }
}

#[test]
fn the_handlers_of_both_generations_of_spin_sdks_are_found() {
    for (name, handler) in [("rust-sdk5", SYNC), ("hello", "spin:redis/inbound-redis@3.0.0")] {
        let bytes = guests::built(name);
        assert_prepared(&app_of_bytes(&bytes).prepare(), &sha256_digest(&bytes), handler);
    }
}

#[test]
fn bytes_that_are_no_component_are_described() {
    let mut damaged = gzip(&guests::wasm("hello.wat"));
    damaged.truncate(damaged.len() / 2);
    let mut cut = guests::wasm("hello.wat");
    cut.truncate(cut.len() / 2);
    let key = "key hello of ConfigMap uploads";
    for (bytes, reason, parts) in [
        (&b""[..], "PrepareFailed", &[key, "is empty"][..]),
        (&damaged, "PrepareFailed", &[key, "damaged gzip"]),
        (b"\x7fELF and more", "PrepareFailed", &[key, "not WebAssembly"]),
        (b"(component (oops))", "PrepareFailed", &[key, "not valid WebAssembly text", "1:13"]),
        (b"(component", "PrepareFailed", &[key, "not valid WebAssembly text"]),
        (&cut, "PrepareFailed", &["component hello", "is not valid WebAssembly"]),
        (guests::wat("no-handler.wat").as_bytes(), "NoHandler", &["component hello", "exports acme:things/api", SYNC]),
        (guests::wat("two-handlers.wat").as_bytes(), "NoHandler", &["several Redis handlers", SYNC, "spin:redis/inbound-redis@3.0.0"]),
        (guests::wat("core-module.wat").as_bytes(), "NoHandler", &["component hello", "exports memory, add"]),
        (guests::wat("unsupported-import.wat").as_bytes(), "UnsupportedImport", &["component hello", "acme:host/secret-sauce"]),
    ] {
        assert_problem(&app_of_bytes(bytes).prepare(), reason, parts);
    }
}

#[test]
fn a_handler_of_another_type_is_not_called_a_missing_import() {
    let text = r#"(component
        (core module $m (func (export "f") (param i32)))
        (core instance $m (instantiate $m))
        (func $f (param "message" u32) (canon lift (core func $m "f")))
        (instance $i (export "handle-message" (func $f)))
        (export "fermyon:spin/inbound-redis" (instance $i)))"#;
    assert_problem(&app_of_bytes(text.as_bytes()).prepare(), "NoHandler", &["component hello", "handle-message"]);
}

#[test]
fn every_missing_key_is_named_at_once() {
    let trigger = json!({"address": "redis://127.0.0.1:1", "passwordFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}});
    let app = App::new(trigger, json!([{"id": "hello", "channels": ["messages"], "source": guests::source("goodbye.wat")}]));
    let prepared = app.prepare();
    assert_problem(&prepared, "MissingReference", &["key goodbye.wat of ConfigMap guests", "key password of Secret redis"]);
}

#[test]
fn the_components_before_the_failing_one_are_reported() {
    let components = json!([
        {"id": "good", "channels": ["a"], "source": guests::source("hello.wat")},
        {"id": "bad", "channels": ["a"], "source": guests::source("no-handler.wat")},
    ]);
    let prepared = App::new(json!({"address": "redis://127.0.0.1:1"}), components).prepare();
    assert_problem(&prepared, "NoHandler", &["component bad"]);
    assert_eq!(prepared.report["components"][0]["id"], "good");
}

#[test]
fn a_long_report_fits_into_a_termination_message() {
    let components: Vec<Value> = (0..64)
        .map(|n| json!({"id": format!("component-{n:02}-{}", "x".repeat(40)), "channels": ["a"], "source": guests::source("hello.wat")}))
        .collect();
    let prepared = App::new(json!({"address": "redis://127.0.0.1:1"}), components.into()).prepare();
    assert_eq!(prepared.code, 0, "{}", prepared.log);
    assert!(prepared.report.to_string().len() <= MAX_REPORT_BYTES);
}

// ---- Registries -----------------------------------------------------------------------------------------------------

#[test]
fn an_image_of_any_format_is_pulled_without_a_password() {
    let registry = Registry::anonymous();
    for (name, format) in [("artifact:v1", Format::Artifact), ("acme/deep/bare:v1", Format::BareLayer), ("oras:v1", Format::OrasPush)] {
        let digest = registry.push(name, &guests::wasm("hello.wat"), format);
        assert_prepared(&prepare_from(&app_of_image(&registry.reference(name)), &registry), &digest, SYNC);
    }
}

#[test]
fn an_image_is_pulled_by_digest_and_a_wrong_digest_is_refused() {
    let registry = Registry::anonymous();
    let digest = registry.push("hello:v1", &guests::wasm("hello.wat"), Format::Artifact);
    let other = sha256_digest(b"something else");
    let reference = registry.reference("hello:v1");

    let app_with_digest = |digest: &str| app(json!({"oci": {"reference": reference, "digest": digest}}));
    assert_prepared(&prepare_from(&app_with_digest(&digest), &registry), &digest, SYNC);
    let refused = prepare_from(&app_with_digest(&other), &registry);
    assert_problem(&refused, "DigestMismatch", &[&reference, &digest, &other]);

    let by_digest = format!("{}@{digest}", registry.reference("hello"));
    assert_prepared(&prepare_from(&app_of_image(&by_digest), &registry), &digest, SYNC);
}

#[test]
fn a_registry_with_a_password_gives_to_those_who_have_it() {
    let registry = Registry::with_password("puller", "right");
    let digest = registry.push("hello:v1", &guests::wasm("hello.wat"), Format::Artifact);
    let reference = registry.reference("hello:v1");
    let with = |password: &str| app_of_image(&reference).with_pull_secret("pull", &docker_config(registry.host(), "puller", password));

    assert_prepared(&prepare_from(&with("right"), &registry), &digest, SYNC);
    for prepared in [prepare_from(&with("hunter2"), &registry), prepare_from(&app_of_image(&reference), &registry)] {
        assert_problem(&prepared, "RegistryError", &[registry.host(), &reference, "imagePullSecrets"]);
        assert!(!prepared.log.contains("hunter2") && !prepared.report.to_string().contains("hunter2"));
    }
    let elsewhere = app_of_image(&reference).with_pull_secret("pull", &docker_config("registry.example.com", "puller", "right"));
    assert_problem(&prepare_from(&elsewhere, &registry), "RegistryError", &["imagePullSecrets"]);
}

#[test]
fn the_right_one_of_several_pull_secrets_is_used() {
    let registry = Registry::with_password("puller", "right");
    let digest = registry.push("hello:v1", &guests::wasm("hello.wat"), Format::Artifact);
    let app = app_of_image(&registry.reference("hello:v1"))
        .with_pull_secret("a", &docker_config("registry.example.com", "other", "wrong"))
        .with_pull_secret("b", &docker_config(registry.host(), "puller", "right"));
    assert_prepared(&prepare_from(&app, &registry), &digest, SYNC);
}

#[test]
fn a_pull_secret_that_is_no_docker_config_is_named_and_not_repeated() {
    let app = app_of_image("registry.example.com/hello:v1").with_pull_secret("pull", "hunter2");
    let prepared = app.prepare();
    assert_problem(&prepared, "PrepareFailed", &["pull/.dockerconfigjson", "kubectl create secret docker-registry"]);
    assert!(!prepared.log.contains("hunter2"));
}

#[test]
fn an_image_that_is_not_there_is_named() {
    let registry = Registry::anonymous();
    registry.push("hello:v1", &guests::wasm("hello.wat"), Format::Artifact);
    for name in ["hello:v2", "nobody/nothing:v1"] {
        let reference = registry.reference(name);
        let prepared = prepare_from(&app_of_image(&reference), &registry);
        assert_problem(&prepared, "RegistryError", &["has no image", registry.host(), &reference]);
    }
}

#[test]
fn an_image_of_something_else_is_described() {
    let registry = Registry::anonymous();
    registry.push("container:v1", b"layers", Format::ContainerImage);
    registry.push("spin-app:v1", &guests::wasm("hello.wat"), Format::SpinApp);
    registry.push("text:v1", b"not wasm", Format::Artifact);
    for (name, part) in [
        ("container:v1", "not a component image: it has the layers [application/vnd.oci.image.layer.v1.tar+gzip]"),
        ("spin-app:v1", "is a whole Spin app"),
        ("text:v1", "is not WebAssembly"),
    ] {
        let reference = registry.reference(name);
        assert_problem(&prepare_from(&app_of_image(&reference), &registry), "PrepareFailed", &[&reference, part]);
    }
}

#[test]
fn a_registry_that_does_not_answer_is_named() {
    let host = format!("127.0.0.1:{}", ports::free());
    let app = app_of_image(&format!("{host}/hello:v1"));
    assert_problem(&app.prepare_with(&["--plain-http", &host]), "RegistryError", &[&host, "refused"]);
    assert_problem(&app.prepare(), "RegistryError", &[&host, "refused"]);
    let nowhere = app_of_image("registry.invalid/hello:v1");
    assert_problem(&nowhere.prepare(), "RegistryError", &["registry.invalid"]);
}

#[test]
fn plain_http_is_for_listed_registries_only() {
    let registry = Registry::anonymous();
    registry.push("hello:v1", &guests::wasm("hello.wat"), Format::Artifact);
    let prepared = app_of_image(&registry.reference("hello:v1")).prepare();
    assert_problem(&prepared, "RegistryError", &[registry.host(), "plain HTTP"]);
}

#[test]
fn a_malformed_image_reference_is_an_error_of_the_manifest() {
    assert_problem(&app_of_image("ghcr.io/Acme/Hello:v1").prepare(), "Invalid", &["ghcr.io/Acme/Hello:v1", "REGISTRY/REPOSITORY:TAG"]);
}

// ---- What is left for serve -----------------------------------------------------------------------------------------

fn files(app: &App) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(app.prepared()).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn preparing_twice_leaves_the_same() {
    let app = app(guests::source("hello.wat"));
    let first = app.prepare();
    let files_of_first = files(&app);
    assert_eq!(files_of_first.len(), 3, "an index, one file of code and its digest: {:?}", files_of_first.keys());
    let second = app.prepare();
    assert_eq!((first.code, &first.report), (0, &second.report));
    assert!(files_of_first == files(&app));
}

#[test]
fn components_with_the_same_bytes_share_their_code() {
    let component = |id: &str| json!({"id": id, "channels": ["a"], "source": guests::source("hello.wat")});
    let app = App::new(json!({"address": "redis://127.0.0.1:1"}), json!([component("a"), component("b")]));
    assert_eq!(app.prepare().code, 0);
    assert_eq!(files(&app).len(), 3);
}

#[test]
fn code_that_is_not_as_it_was_written_is_compiled_anew() {
    let app = app(guests::source("hello.wat"));
    assert_eq!(app.prepare().code, 0);
    let whole = files(&app);
    let code = whole.keys().find(|name| name.ends_with(".cwasm")).unwrap();
    fs::write(app.prepared().join(code), "something else").unwrap();
    assert_eq!(app.prepare().code, 0);
    assert!(whole == files(&app));
}

/// Starts `serve` on what is there and expects it to end with a sentence.
fn refused_by_serve(app: &App) -> String {
    let mut runtime = Runtime::start(&mut app.serve_command());
    assert_eq!(runtime.wait(), 1, "{}", runtime.log());
    assert_no_stack_trace(&runtime.log());
    runtime.log()
}

#[test]
fn serve_refuses_code_of_another_engine() {
    let app = app(guests::source("hello.wat"));
    assert_eq!(app.prepare().code, 0);
    let name = files(&app).into_keys().find(|name| name.ends_with(".cwasm")).unwrap();
    let (digest, _) = name.split_once('-').unwrap();
    let other = format!("{digest}-0123456789abcdef.cwasm");
    fs::rename(app.prepared().join(&name), app.prepared().join(&other)).unwrap();
    let index = fs::read_to_string(app.prepared().join("index.json")).unwrap();
    fs::write(app.prepared().join("index.json"), index.replace(&name, &other)).unwrap();
    let log = refused_by_serve(&app);
    assert!(log.contains("was compiled for another version of spinredis or another processor"), "{log}");
}

#[test]
fn serve_refuses_to_start_without_prepared_components() {
    let app = app(guests::source("hello.wat"));
    let log = refused_by_serve(&app);
    assert!(log.contains("index.json") && log.contains("run `spinredis prepare` first"), "{log}");

    assert_eq!(app.prepare().code, 0);
    fs::write(app.file(), fs::read_to_string(app.file()).unwrap().replace(r#""id":"hello""#, r#""id":"other""#)).unwrap();
    let log = refused_by_serve(&app);
    assert!(log.contains("component other was not prepared"), "{log}");
}

#[test]
fn serve_refuses_damaged_code() {
    let app = app(guests::source("hello.wat"));
    assert_eq!(app.prepare().code, 0);
    let name = files(&app).into_keys().find(|name| name.ends_with(".cwasm")).unwrap();
    fs::write(app.prepared().join(&name), b"\x7fELF").unwrap();
    let log = refused_by_serve(&app);
    assert!(log.contains("cannot be loaded"), "{log}");
}

#[test]
fn a_manifest_that_cannot_be_read_is_reported_too() {
    let app = App::from_text("kind: [");
    assert_problem(&app.prepare(), "Invalid", &["app.yaml", "not YAML"]);
}
