//! Whole Spin apps from a real registry: pushed as `spin registry push` does, prepared and served as in a pod, with a real
//! Redis at the other end.

use serde_json::{Value, json};
use spinredis_crds::manifest::sha256_digest;
use spinredis_tests::{
    app::{App, NAME, NAMESPACE, Prepared},
    guests,
    redis::Redis,
    registry::{Registry, SpinApp, SpinPacking, docker_config},
    runtime::Runtime,
};

const PACKINGS: [SpinPacking; 3] = [SpinPacking::Layers, SpinPacking::Archives, SpinPacking::Spin1];
const HANDLED: &str = "spinredis_messages_handled_total";

/// A registry with one app in it, and the files of a `SpinRedisApp` that names it.
struct Pushed {
    registry: Registry,
    reference: String,
    digest: String,
}

/// Pushes an app to a registry of its own.
fn push_as(app: &SpinApp, packing: SpinPacking) -> Pushed {
    let registry = Registry::anonymous();
    let digest = registry.push_spin_app("acme/shop:v1", app, packing);
    Pushed { reference: registry.reference("acme/shop:v1"), registry, digest }
}

fn push(app: &SpinApp) -> Pushed {
    push_as(app, SpinPacking::Layers)
}

impl Pushed {
    /// A `SpinRedisApp` of the app with what else its spec says.
    fn app(&self, more: Value) -> App {
        let mut spec = json!({"application": {"oci": {"reference": self.reference}}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let metadata = json!({"name": NAME, "namespace": NAMESPACE});
        let manifest = json!({"apiVersion": "spinredis.dev/v1alpha1", "kind": "SpinRedisApp", "metadata": metadata, "spec": spec});
        App::from_text(&manifest.to_string())
    }

    fn prepare(&self, app: &App) -> Prepared {
        app.prepare_with(&["--plain-http", self.registry.host()])
    }

    /// Prepares, which must work, serves and waits until everything is subscribed. The files live as long as the `App`.
    fn serve(&self, app: &App) -> Runtime {
        let prepared = self.prepare(app);
        assert_eq!(prepared.code, 0, "{}", prepared.log);
        let runtime = Runtime::start(&mut app.serve_command());
        runtime.ready();
        runtime
    }
}

fn trigger(redis: &Redis) -> Value {
    json!({"trigger": redis.trigger()})
}

/// Both, as one object.
fn and(mut one: Value, other: Value) -> Value {
    one.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    one
}

/// An app whose one component, `caller`, makes the calls that a message on `calls` asks for.
fn caller(files: &[(&str, &[u8])], fields: Value) -> SpinApp {
    SpinApp::new("caller").with_component("caller", &guests::built("conformance-sync"), files, fields).with_trigger("caller", "calls", None)
}

/// Asks `caller` for calls, and gives the answers.
fn call(redis: &Redis, runtime: &Runtime, calls: Value) -> Vec<Value> {
    let before = runtime.guest_lines("caller").len();
    let count = calls.as_array().unwrap().len();
    assert_eq!(redis.publish("calls", calls.to_string()), 1);
    runtime.eventually("every call is answered", || {
        let lines = runtime.guest_lines("caller").split_off(before);
        let answers: Vec<Value> = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if answers.len() == count { Ok(answers) } else { Err(format!("{lines:?}")) }
    })
}

fn assert_problem(prepared: &Prepared, reason: &str, parts: &[&str]) {
    let (found, message) = prepared.problem();
    assert_eq!(found, reason, "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` in `{message}`");
    }
}

// ---- Triggers and addresses -----------------------------------------------------------------------------------------

#[test]
fn every_trigger_of_every_component_is_subscribed_in_each_packing() {
    let redis = Redis::start();
    let hello = guests::wasm("hello.wat");
    let app = SpinApp { address: Some(redis.address()), ..SpinApp::new("shop") }
        .with_component("orders", &hello, &[], json!({}))
        .with_component("mails", &guests::built("rust-sdk7"), &[], json!({}))
        .with_component("idle", &hello, &[], json!({}))
        .with_trigger("orders", "orders.eu", None)
        .with_trigger("orders", "orders.us", None)
        .with_trigger("mails", "orders.eu", None)
        .with_trigger("mails", "mails", None);
    for packing in PACKINGS {
        let pushed = push_as(&app, packing);
        let app = pushed.app(json!({}));
        let runtime = pushed.serve(&app);
        // Three channels: two components share one of them.
        assert_eq!(runtime.status()["wanted"], 3, "{packing:?}");
        redis.publish("orders.eu", "one");
        redis.publish("orders.us", "two!");
        redis.publish("mails", "three");
        runtime.wait_for_guest("orders", "Got message: one");
        runtime.wait_for_guest("orders", "Got message: two!");
        runtime.wait_for_guest("mails", "got 3 bytes");
        runtime.wait_for_guest("mails", "got 5 bytes");
        runtime.wait_for_metric(HANDLED, &[], 4.0);
        assert!(runtime.guest_lines("idle").is_empty());
    }
}

#[test]
fn the_report_names_each_component_with_the_apps_digest_and_its_handler() {
    let app = SpinApp { address: Some("redis://127.0.0.1:1".into()), ..SpinApp::new("shop") }
        .with_component("one", &guests::wasm("hello.wat"), &[], json!({}))
        .with_component("two", &guests::built("rust-sdk3"), &[], json!({}))
        .with_trigger("one", "a", None)
        .with_trigger("two", "a", None);
    let pushed = push(&app);
    let prepared = pushed.prepare(&pushed.app(json!({})));
    assert_eq!(prepared.code, 0, "{}", prepared.log);
    let component = |id: &str| json!({"id": id, "digest": pushed.digest, "handler": "fermyon:spin/inbound-redis"});
    assert_eq!(prepared.report, json!({"components": [component("one"), component("two")]}));
}

#[test]
fn a_trigger_with_an_address_of_its_own_is_subscribed_there_and_readiness_wants_both() {
    let (own, mut other) = (Redis::start(), Redis::start());
    let app = SpinApp { address: Some(own.address()), ..SpinApp::new("shop") }
        .with_component("here", &guests::wasm("hello.wat"), &[], json!({}))
        .with_component("there", &guests::wasm("hello.wat"), &[], json!({}))
        .with_trigger("here", "messages", None)
        .with_trigger("there", "messages", Some(&other.address()));
    let pushed = push(&app);
    let app = pushed.app(json!({}));
    let runtime = pushed.serve(&app);
    assert_eq!((runtime.status()["wanted"].clone(), runtime.status()["subscribed"].clone()), (json!(2), json!(2)));
    own.publish("messages", "to the first");
    runtime.wait_for_guest("here", "Got message: to the first");
    other.publish("messages", "to the second");
    runtime.wait_for_guest("there", "Got message: to the second");
    assert_eq!((runtime.guest_lines("here").len(), runtime.guest_lines("there").len()), (1, 1));

    other.kill();
    let message = runtime.wait_for_reason("RedisUnreachable");
    assert!(message.contains(&other.port().to_string()), "{message}");
    assert_eq!(runtime.get("/readyz").0, 503);
    own.publish("messages", "meanwhile");
    runtime.wait_for_guest("here", "Got message: meanwhile");
    other.start_again();
    runtime.ready();
    other.publish("messages", "again");
    runtime.wait_for_guest("there", "Got message: again");
}

#[test]
fn one_component_may_get_the_same_channel_of_two_servers_and_learns_which() {
    let (own, other) = (Redis::start(), Redis::start());
    let app = SpinApp { address: Some(own.address()), ..SpinApp::new("shop") }
        .with_component("both", &guests::built("trigger"), &[], json!({}))
        .with_trigger("both", "messages", None)
        .with_trigger("both", "messages", Some(&other.address()));
    let pushed = push(&app);
    let app = pushed.app(json!({}));
    let runtime = pushed.serve(&app);
    for redis in [&own, &other] {
        assert_eq!(redis.publish("messages", "context"), 1);
        runtime.wait_for_guest("both", &format!("address={}", redis.address()));
    }
}

#[test]
fn the_manifests_address_replaces_the_apps_default_and_not_a_triggers_own() {
    let (manifests, triggers) = (Redis::start(), Redis::start());
    let app = SpinApp { address: Some("redis://127.0.0.1:1".into()), ..SpinApp::new("shop") }
        .with_component("default", &guests::wasm("hello.wat"), &[], json!({}))
        .with_component("own", &guests::wasm("hello.wat"), &[], json!({}))
        .with_trigger("default", "messages", None)
        .with_trigger("own", "messages", Some(&triggers.address()));
    let pushed = push(&app);
    let app = pushed.app(trigger(&manifests));
    let runtime = pushed.serve(&app);
    manifests.publish("messages", "default");
    triggers.publish("messages", "own");
    runtime.wait_for_guest("default", "Got message: default");
    runtime.wait_for_guest("own", "Got message: own");
    runtime.wait_for_metric(HANDLED, &[], 2.0);
}

#[test]
fn channels_and_addresses_may_be_templates_of_app_variables() {
    let (own, other) = (Redis::start(), Redis::start());
    let host_and_port = other.address().replace("redis://", "");
    let app = SpinApp {
        address: Some(own.address()),
        variables: json!({"stage": {"default": "dev"}, "server": {"default": host_and_port}}),
        ..SpinApp::new("shop")
    };
    let app = app
        .with_component("hello", &guests::wasm("hello.wat"), &[], json!({}))
        .with_trigger("hello", "{{ stage }}-orders", None)
        .with_trigger("hello", "{{ stage }}-mails", Some("redis://{{ server }}"));
    let pushed = push(&app);
    let app = pushed.app(json!({"variables": [{"name": "stage", "value": "prod"}]}));
    let runtime = pushed.serve(&app);
    assert_eq!(own.publish("prod-orders", "here"), 1);
    assert_eq!(other.publish("prod-mails", "there"), 1);
    runtime.wait_for_guest("hello", "Got message: here");
    runtime.wait_for_guest("hello", "Got message: there");
    assert_eq!(own.publish("dev-orders", "nobody"), 0);
}

#[test]
fn a_triggers_own_address_may_hold_a_password_which_is_never_shown() {
    let (own, other) = (Redis::start(), Redis::builder().password("hunter2").start());
    let app = SpinApp { variables: json!({"password": {"secret": true}}), ..SpinApp::new("shop") }
        .with_component("both", &guests::built("trigger"), &[], json!({}))
        .with_trigger("both", "messages", Some(&other.address().replace("redis://", "redis://:{{ password }}@")));
    let pushed = push(&app);
    let variables = json!([{"name": "password", "valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}}]);
    let app = pushed.app(and(trigger(&own), json!({"variables": variables}))).with("secret/redis/password", "hunter2");
    let runtime = pushed.serve(&app);
    assert_eq!(other.publish("messages", "context"), 1);
    runtime.wait_for_guest("both", &format!("address={}", other.address()));
    assert!(!runtime.log().contains("hunter2") && !runtime.status().to_string().contains("hunter2"));
}

#[test]
fn an_app_whose_address_nobody_names_is_refused() {
    let app = SpinApp::new("shop").with_component("one", &guests::wasm("hello.wat"), &[], json!({})).with_trigger("one", "a", None);
    let pushed = push(&app);
    assert_problem(&pushed.prepare(&pushed.app(json!({}))), "Invalid", &["names a Redis server", "trigger.address"]);
}

// ---- Variables, environment, files, hosts, stores ---------------------------------------------------------------------

#[test]
fn variables_have_the_apps_defaults_and_the_manifests_values() {
    let redis = Redis::start();
    let app = SpinApp {
        variables: json!({
            "greeting": {"default": "hello"}, "subject": {"default": "world"}, "api_token": {"secret": true}, "unused": {"default": "x"},
        }),
        ..caller(
            &[],
            json!({"config": {
                "text": "{{ greeting }}, {{ subject }}!", "token": "{{ api_token }}", "plain": "no template", "own": "of the app",
            }}),
        )
    };
    let pushed = push(&app);
    let from_secret = json!({"name": "api_token", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}});
    let spec = and(
        trigger(&redis),
        json!({
            "variables": [from_secret, {"name": "subject", "value": "you"}],
            "components": [{"id": "caller", "variables": [{"name": "own", "value": "{{ greeting }} of the manifest"}]}],
        }),
    );
    let app = pushed.app(spec).with("secret/api/token", "s3cret");
    let runtime = pushed.serve(&app);
    let get = |name: &str| json!(["variables.get", name]);
    let answers = call(&redis, &runtime, json!([get("text"), get("token"), get("plain"), get("own"), ["config.get", "text"]]));
    let expected = ["hello, you!", "s3cret", "no template", "hello of the manifest", "hello, you!"].map(|text| json!({"ok": text}));
    assert_eq!(answers, expected);
    // Spin shows a guest what its component declares and nothing of the app.
    let answers = call(&redis, &runtime, json!([get("greeting"), get("unused")]));
    assert!(answers.iter().all(|answer| answer["error"][0] == "undefined"), "{answers:?}");
    let prepared = std::fs::read_to_string(app.prepared().join("index.json")).unwrap_or_default();
    assert!(!runtime.log().replace(r#"{\"ok\":\"s3cret\"}"#, "").contains("s3cret") && !prepared.contains("s3cret"));

    app.set("secret/api/token", "rotated");
    runtime.eventually("the new value is seen", || {
        let answers = call(&redis, &runtime, json!([get("token")]));
        if answers == [json!({"ok": "rotated"})] { Ok(()) } else { Err(format!("{answers:?}")) }
    });
}

#[test]
fn a_required_variable_without_a_value_is_named() {
    let app = SpinApp {
        address: Some("redis://127.0.0.1:1".into()),
        variables: json!({"greeting": {"default": "hello"}, "api_token": {}}),
        ..caller(&[], json!({"config": {"token": "{{ api_token }}"}}))
    };
    let pushed = push(&app);
    assert_problem(&pushed.prepare(&pushed.app(json!({}))), "Invalid", &["api_token", "spec.variables", "value"]);
}

#[test]
fn a_secret_that_a_variable_wants_must_exist() {
    let pushed = push(&SpinApp { variables: json!({"token": {"secret": true}}), ..caller(&[], json!({})) });
    let variables = json!([{"name": "token", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}}]);
    let app = pushed.app(json!({"trigger": {"address": "redis://127.0.0.1:1"}, "variables": variables}));
    assert_problem(&pushed.prepare(&app), "MissingReference", &["key token of Secret api"]);
}

#[test]
fn the_environment_is_the_components_and_the_manifest_may_change_it() {
    let redis = Redis::start();
    let pushed = push(&caller(&[], json!({"env": {"MODE": "app", "REGION": "eu", "BRACES": "{{ not_a_template }}"}})));
    let change = json!([{"id": "caller", "env": [
        {"name": "MODE", "value": "manifest"}, {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}},
    ], "args": ["--fast"]}]);
    let app = pushed.app(and(trigger(&redis), json!({"components": change}))).with("secret/api/token", "s3cret");
    let runtime = pushed.serve(&app);
    let answers =
        call(&redis, &runtime, json!([["env", "MODE"], ["env", "REGION"], ["env", "BRACES"], ["env", "TOKEN"], ["env", "HOME"], ["args"]]));
    let expected =
        [json!("manifest"), json!("eu"), json!("{{ not_a_template }}"), json!("s3cret"), Value::Null, json!(["caller", "--fast"])];
    assert_eq!(answers, expected.map(|value| json!({"ok": value})));
}

#[test]
fn files_can_be_read_and_not_written_in_each_packing() {
    let redis = Redis::start();
    let large = "0123456789abcdef".repeat(64);
    let files: [(&str, &[u8]); 4] = [
        ("short.txt", b"short"),
        ("deep/down/large.txt", large.as_bytes()),
        ("deep/twin.txt", large.as_bytes()),
        ("größe.txt", "ß".as_bytes()),
    ];
    for packing in PACKINGS {
        let app = caller(&files, json!({})).with_component("other", &guests::wasm("hello.wat"), &[("secret.txt", b"of other")], json!({}));
        let pushed = push_as(&app.with_trigger("other", "other", None), packing);
        let app = pushed.app(trigger(&redis));
        let runtime = pushed.serve(&app);
        let read = |path: &str| json!(["fs.read", path]);
        let answers = call(
            &redis,
            &runtime,
            json!([read("/short.txt"), read("short.txt"), read("/deep/down/large.txt"), read("/deep/twin.txt"), read("/größe.txt")]),
        );
        assert_eq!(answers, ["short", "short", &large, &large, "ß"].map(|text| json!({"ok": text})), "{packing:?}");
        let answers = call(
            &redis,
            &runtime,
            json!([
                ["fs.write", "/short.txt", "changed"],
                ["fs.write", "/new.txt", "new"],
                ["fs.read", "/secret.txt"],
                ["fs.read", "../other/secret.txt"],
                ["fs.read", "/../other/secret.txt"],
                ["fs.read", "/etc/passwd"]
            ]),
        );
        assert!(answers.iter().all(|answer| answer.get("error").is_some()), "{packing:?}: {answers:?}");
        let answers = call(&redis, &runtime, json!([read("/short.txt"), ["fs.list", "/deep"]]));
        assert_eq!(answers[0], json!({"ok": "short"}));
        let mut names: Vec<&str> = answers[1]["ok"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["down", "twin.txt"]);
    }
}

#[test]
fn a_component_without_files_sees_no_file_system() {
    let redis = Redis::start();
    let pushed = push(&caller(&[], json!({})));
    let app = pushed.app(trigger(&redis));
    let runtime = pushed.serve(&app);
    let answers = call(&redis, &runtime, json!([["fs.read", "/app.yaml"], ["fs.list", "/"], ["fs.write", "/new", "x"]]));
    assert!(answers.iter().all(|answer| answer.get("error").is_some()), "{answers:?}");
}

#[test]
fn allowed_hosts_are_the_apps_with_its_variables_in_their_places() {
    let (redis, allowed, other) = (Redis::start(), Redis::start(), Redis::start());
    let app = SpinApp {
        variables: json!({"cache": {"default": "127.0.0.1"}, "port": {}}),
        ..caller(&[], json!({"metadata": {"allowed_outbound_hosts": ["redis://{{ cache }}:{{ port }}"]}}))
    };
    let pushed = push(&app);
    let port = json!([{"name": "port", "value": allowed.port().to_string()}]);
    let app = pushed.app(and(trigger(&redis), json!({"variables": port})));
    let runtime = pushed.serve(&app);
    let set = |redis: &Redis| json!([["redis.set", redis.address(), "key", "value"]]);
    assert_eq!(call(&redis, &runtime, set(&allowed)), [json!({"ok": null})]);
    assert_eq!(allowed.command::<String>(&["GET", "key"]), "value");
    for denied in [&other, &redis] {
        assert!(call(&redis, &runtime, set(denied))[0].get("error").is_some());
        runtime.wait_for_line(&format!("redis://127.0.0.1:{}", denied.port()));
        assert!(!denied.command::<bool>(&["EXISTS", "key"]));
    }

    // What the manifest lists takes the place of the app's.
    let change = json!([{"id": "caller", "allowedOutboundHosts": ["redis://self"]}]);
    let app = pushed.app(and(trigger(&redis), json!({"variables": port, "components": change})));
    drop(runtime);
    let runtime = pushed.serve(&app);
    assert_eq!(call(&redis, &runtime, set(&redis)), [json!({"ok": null})]);
    assert!(call(&redis, &runtime, set(&allowed))[0].get("error").is_some());
}

#[test]
fn hosts_of_early_spin_apps_are_for_http_only() {
    let redis = Redis::start();
    let pushed = push(&caller(&[], json!({"metadata": {"allowed_http_hosts": ["insecure:allow-all"]}})));
    let app = pushed.app(trigger(&redis));
    let runtime = pushed.serve(&app);
    let url = format!("http://127.0.0.1:{}/v2/", pushed.registry.host().rsplit_once(':').unwrap().1);
    let answers = call(&redis, &runtime, json!([["http.get", url], ["redis.set", redis.address(), "key", "value"]]));
    assert_eq!(answers[0]["ok"]["status"], 200, "{answers:?}");
    assert!(answers[1].get("error").is_some(), "{answers:?}");
}

#[test]
fn stores_of_the_app_are_in_redis_and_those_it_does_not_list_are_denied() {
    let (redis, cache) = (Redis::start(), Redis::start());
    let pushed = push(&caller(&[], json!({"metadata": {"key_value_stores": ["default", "cache"]}})));
    let stores = json!([{"name": "cache", "connection": {"address": cache.address()}, "prefix": ""}, {"name": "other"}]);
    let app = pushed.app(and(trigger(&redis), json!({"keyValueStores": stores})));
    let runtime = pushed.serve(&app);
    let answers = call(
        &redis,
        &runtime,
        json!([
            ["key-value.set", "default", "key", "one"],
            ["key-value.set", "cache", "key", "two"],
            ["key-value.open", "other"],
            ["key-value.open", "nowhere"]
        ]),
    );
    assert_eq!(answers[..2], [json!({"ok": null}), json!({"ok": null})]);
    assert_eq!(answers[2], json!({"error": ["access-denied"]}));
    assert_eq!(answers[3], json!({"error": ["no-such-store"]}));
    assert_eq!(redis.command::<String>(&["GET", "tests/app/default/key"]), "one");
    assert_eq!(cache.command::<String>(&["GET", "key"]), "two");
}

// ---- Changes by the manifest -----------------------------------------------------------------------------------------

#[test]
fn an_entry_without_a_source_changes_a_component_and_one_with_a_source_adds_one() {
    let redis = Redis::start();
    let app = SpinApp::new("shop")
        .with_component("looping", &guests::wasm("loop.wat"), &[], json!({}))
        .with_component("moved", &guests::wasm("hello.wat"), &[], json!({}))
        .with_trigger("looping", "looping", None)
        .with_trigger("moved", "old", None);
    let pushed = push(&app);
    let components = json!([
        {"id": "looping", "timeout": "100ms"},
        {"id": "moved", "patterns": ["new.*"]},
        {"id": "added", "channels": ["added"], "source": guests::source("hello.wat")},
    ]);
    let app = pushed.app(and(trigger(&redis), json!({"components": components})));
    let runtime = pushed.serve(&app);
    redis.publish("looping", "");
    runtime.wait_for_metric("spinredis_messages_failed_total", &[("component", "looping"), ("reason", "timeout")], 1.0);
    assert_eq!(redis.publish("old", "nobody"), 0);
    redis.publish("new.place", "moved");
    runtime.wait_for_guest("moved", "Got message: moved");
    redis.publish("added", "added");
    runtime.wait_for_guest("added", "Got message: added");
}

#[test]
fn a_component_that_nothing_triggers_may_be_named_or_given_a_channel() {
    let redis = Redis::start();
    let app = SpinApp::new("shop")
        .with_component("one", &guests::wasm("hello.wat"), &[], json!({}))
        .with_component("idle", &guests::wasm("hello.wat"), &[], json!({}))
        .with_trigger("one", "one", None);
    let pushed = push(&app);
    let app = pushed.app(and(trigger(&redis), json!({"components": [{"id": "idle", "timeout": "5s"}]})));
    let runtime = pushed.serve(&app);
    assert_eq!(runtime.status()["wanted"], 1);
    drop(runtime);
    let app = pushed.app(and(trigger(&redis), json!({"components": [{"id": "idle", "channels": ["idle"]}]})));
    let runtime = pushed.serve(&app);
    redis.publish("idle", "awake");
    runtime.wait_for_guest("idle", "Got message: awake");
}

#[test]
fn entries_that_do_not_fit_the_app_are_refused() {
    let app = SpinApp::new("shop").with_component("one", &guests::wasm("hello.wat"), &[], json!({})).with_trigger("one", "a", None);
    let pushed = push(&app);
    for (entry, parts) in [
        (json!({"id": "two", "timeout": "5s"}), ["component two", "it has one"]),
        (json!({"id": "one", "channels": ["a"], "source": guests::source("hello.wat")}), ["component one", "leave out its source"]),
    ] {
        let app = pushed.app(json!({"trigger": {"address": "redis://127.0.0.1:1"}, "components": [entry]}));
        assert_problem(&pushed.prepare(&app), "Invalid", &parts);
    }
}

// ---- Registries ------------------------------------------------------------------------------------------------------

#[test]
fn an_app_is_pulled_with_the_pull_secret_of_its_registry() {
    let registry = Registry::with_password("puller", "right");
    let redis = Redis::start();
    let app = SpinApp::new("shop").with_component("hello", &guests::wasm("hello.wat"), &[], json!({})).with_trigger("hello", "a", None);
    let digest = registry.push_spin_app("acme/shop:v1", &app, SpinPacking::Layers);
    let pushed = Pushed { reference: registry.reference("acme/shop:v1"), registry, digest };
    let with =
        |password: &str| pushed.app(trigger(&redis)).with_pull_secret("pull", &docker_config(pushed.registry.host(), "puller", password));
    let app = with("right");
    let runtime = pushed.serve(&app);
    redis.publish("a", "hi");
    runtime.wait_for_guest("hello", "Got message: hi");
    for app in [with("hunter2"), pushed.app(trigger(&redis))] {
        let prepared = pushed.prepare(&app);
        assert_problem(&prepared, "RegistryError", &[pushed.registry.host(), &pushed.reference, "imagePullSecrets"]);
        assert!(!prepared.log.contains("hunter2"));
    }
}

#[test]
fn an_app_with_another_digest_is_refused() {
    let app = SpinApp::new("shop").with_component("hello", &guests::wasm("hello.wat"), &[], json!({})).with_trigger("hello", "a", None);
    let pushed = push(&app);
    let other = sha256_digest(b"something else");
    let with = |digest: &str| {
        let oci = json!({"reference": pushed.reference, "digest": digest});
        pushed.app(json!({"application": {"oci": oci}, "trigger": {"address": "redis://127.0.0.1:1"}}))
    };
    assert_eq!(pushed.prepare(&with(&pushed.digest)).code, 0);
    assert_problem(&pushed.prepare(&with(&other)), "DigestMismatch", &[&pushed.reference, &pushed.digest, &other]);
}

#[test]
fn a_component_image_in_the_place_of_an_app_is_described() {
    let registry = Registry::anonymous();
    let digest = registry.push("acme/shop:v1", &guests::wasm("hello.wat"), spinredis_tests::registry::Format::Artifact);
    let pushed = Pushed { reference: registry.reference("acme/shop:v1"), registry, digest };
    let app = pushed.app(json!({"trigger": {"address": "redis://127.0.0.1:1"}}));
    assert_problem(&pushed.prepare(&app), "PrepareFailed", &[&pushed.reference, "source.oci"]);
}

// ---- Refusals --------------------------------------------------------------------------------------------------------

/// Pushes an app, which must be refused with a sentence that has these parts.
fn assert_refused(app: SpinApp, reason: &str, parts: &[&str]) {
    let pushed = push(&app);
    let prepared = pushed.prepare(&pushed.app(json!({"trigger": {"address": "redis://127.0.0.1:1"}})));
    assert_problem(&prepared, reason, &[&[pushed.reference.as_str()], parts].concat());
}

fn one(fields: Value) -> SpinApp {
    SpinApp::new("one").with_component("hello", &guests::wasm("hello.wat"), &[], fields).with_trigger("hello", "a", None)
}

#[test]
fn a_host_feature_that_is_not_there_is_refused_and_an_optional_one_is_not() {
    let requires = |need: &str| one(json!({"host_requirements": {"local_service_chaining": need}}));
    assert_refused(requires("required"), "PrepareFailed", &["component hello", "local_service_chaining", "spin.toml"]);
    let pushed = push(&requires("optional"));
    assert_eq!(pushed.prepare(&pushed.app(json!({"trigger": {"address": "redis://127.0.0.1:1"}}))).code, 0);
}

#[test]
fn components_that_are_not_composed_are_refused() {
    let dependencies = json!({"dependencies": {"acme:math/add@1.0.0": {"source": {"digest": sha256_digest(b"math")}, "inherit": false}}});
    assert_refused(one(dependencies), "PrepareFailed", &["component hello", "acme:math/add@1.0.0", "wac plug"]);
}

#[test]
fn a_trigger_of_another_type_is_refused() {
    let mut app = one(json!({}));
    app.triggers.push(json!({"id": "web", "trigger_type": "http", "trigger_config": {"component": "hello", "route": "/..."}}));
    assert_refused(app, "PrepareFailed", &["component hello", "http", "redis"]);
}

#[test]
fn an_app_without_a_trigger_is_refused() {
    let app = SpinApp::new("one").with_component("hello", &guests::wasm("hello.wat"), &[], json!({}));
    assert_refused(app, "PrepareFailed", &["no redis trigger", "spin.toml"]);
}

#[test]
fn a_trigger_for_a_component_that_is_not_there_is_refused() {
    assert_refused(one(json!({})).with_trigger("goodbye", "b", None), "PrepareFailed", &["goodbye"]);
}

#[test]
fn a_component_id_that_cannot_name_anything_is_refused() {
    let app = SpinApp::new("one").with_component("Hello_World", &guests::wasm("hello.wat"), &[], json!({}));
    assert_refused(app.with_trigger("Hello_World", "a", None), "PrepareFailed", &["Hello_World", "DNS label"]);
}

#[test]
fn a_file_that_would_leave_its_folder_is_refused() {
    // Only the locked app is asked: no packing of this harness would write such a file.
    let digest = sha256_digest(b"x");
    let app = one(json!({"files": [{"path": "../up.txt", "content": {}, "inline": "eA", "digest": digest}]}));
    assert_refused(app, "PrepareFailed", &["component hello", "../up.txt", "relative"]);
}

#[test]
fn a_component_that_exports_no_handler_is_named() {
    let app = SpinApp::new("one").with_component("hello", &guests::wasm("no-handler.wat"), &[], json!({})).with_trigger("hello", "a", None);
    let pushed = push(&app);
    let prepared = pushed.prepare(&pushed.app(json!({"trigger": {"address": "redis://127.0.0.1:1"}})));
    assert_problem(&prepared, "NoHandler", &["component hello", "acme:things/api"]);
}
