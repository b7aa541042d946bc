//! What a Spin manifest becomes, and what is refused of it, by line.

use serde_json::{Value, json};
use spinredis_crds::manifest::Documents;

use super::*;

const V2: &str = include_str!("../../../tests/imports/v2.toml");
const V1: &str = include_str!("../../../tests/imports/v1.toml");

fn imported(text: &str) -> Vec<Imported> {
    import("spin.toml", text, &Options::default()).unwrap_or_else(|refusals| panic!("{refusals:#?}"))
}

/// The spec of the only app that a manifest becomes. The API's rules are asked as well.
fn spec(text: &str) -> Value {
    let apps = imported(text);
    assert_eq!(apps.len(), 1);
    valid(&apps[0].yaml)["spec"].clone()
}

/// The document, once the API's rules have nothing to say.
fn valid(yaml: &str) -> Value {
    let app = Documents::parse(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}")).app;
    let findings: Vec<String> = spinredis_crds::check::app(&app)
        .iter()
        .map(ToString::to_string)
        // A field that the API does not have yet.
        .filter(|finding| {
            let is_new =
                ["variables", "keyValueStores", "allowedOutboundHosts"].iter().any(|field| finding.contains(&format!("{field}: ")));
            !(is_new && finding.contains("is not a field of this API"))
        })
        .collect();
    assert!(findings.is_empty(), "{findings:#?}\n{yaml}");
    app
}

/// Refusals as `LINE: MESSAGE`.
fn refusals(text: &str) -> Vec<String> {
    let refusals = import("spin.toml", text, &Options::default()).expect_err("it is refused");
    refusals.into_iter().map(|refusal| format!("{}: {}", refusal.line, refusal.message)).collect()
}

/// A version 2 manifest with these lines added from line 6 on.
fn v2_with(lines: &str) -> String {
    format!("spin_manifest_version = 2\n[application]\nname = \"app\"\n[application.trigger.redis]\naddress = \"redis://r:6379\"\n{lines}")
}

const TRIGGER: &str = "[[trigger.redis]]\nchannel = \"c\"\ncomponent = \"a\"\n[component.a]\nsource = \"a.wasm\"\n";

#[test]
fn version_2_keeps_everything_that_has_an_equivalent() {
    let spec = spec(V2);
    assert_eq!(spec["trigger"], json!({"address": "redis://redis.default.svc:6379"}));
    assert_eq!(
        spec["variables"],
        json!([
            {"name": "api_host", "value": "api.example.com"},
            {"name": "api_token", "valueFrom": {"secretKeyRef": {"name": "order-service", "key": "api_token"}}},
        ])
    );
    assert_eq!(spec["keyValueStores"], json!([{"name": "seen_orders"}]));
    let components = spec["components"].as_array().unwrap();
    assert_eq!(components.len(), 3);
    assert_eq!(
        components[0],
        json!({
            "id": "orders",
            "channels": ["orders.new", "orders.changed"],
            "source": {"oci": {"reference": "REGISTRY/order-service-orders:1.2.0"}},
            "env": [{"name": "RUST_LOG", "value": "info"}, {"name": "LIMIT", "value": "10"}],
            "variables": [{"name": "endpoint", "value": "https://{{ api_host }}/v1"}],
            "allowedOutboundHosts": ["https://{{ api_host }}", "redis://*:6379", "http://legacy.example.com:80", "https://legacy.example.com:443"],
            "keyValueStores": ["default", "seen_orders"],
        })
    );
    assert_eq!(components[1]["source"]["oci"]["reference"], "ghcr.io/acme/audit:0.3.1");
    assert_eq!(components[2]["id"], "inline-1");
}

#[test]
fn version_1_keeps_everything_that_has_an_equivalent() {
    let apps = imported(V1);
    let app = valid(&apps[0].yaml);
    assert_eq!(app["metadata"]["name"], "old-app");
    let spec = &app["spec"];
    assert_eq!(spec["trigger"], json!({"addressFrom": {"secretKeyRef": {"name": "old-app", "key": "redis-address"}}}));
    assert!(!apps[0].yaml.contains("hunter2"), "the password is not repeated");
    assert_eq!(spec["components"][0]["id"], "my-handler");
    assert_eq!(spec["components"][0]["channels"], json!(["messages"]));
    assert_eq!(
        spec["components"][0]["allowedOutboundHosts"],
        json!(["http://example.com:8080", "https://example.com:8080", "redis://*:*"])
    );
    assert_eq!(spec["components"][1]["allowedOutboundHosts"], json!(["redis://cache:6379", "http://*:*", "https://*:*"]));
    assert_eq!(spec["components"][0]["variables"], json!([{"name": "greeting", "value": "{{ salutation }}!"}]));
}

#[test]
fn what_has_no_equivalent_is_refused_by_its_line_and_all_at_once() {
    let text = include_str!("../../../tests/imports/refused.toml");
    let expected: Vec<(usize, String)> =
        text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, line.split_once("# expect: ")?.1.to_owned()))).collect();
    let refusals = refusals(text);
    assert_eq!(refusals.len(), expected.len(), "{refusals:#?}");
    for ((line, part), refusal) in expected.iter().zip(&refusals) {
        assert!(refusal.starts_with(&format!("{line}: ")) && refusal.contains(part), "line {line}, {part}: {refusal}");
    }
}

#[test]
fn unknown_keys_and_wrong_types_are_refused_by_their_line() {
    let found = refusals(&v2_with(&format!(
        "{TRIGGER}environment = \"x\"\nalowed_outbound_hosts = []\nkey_value_stores = [\n  \"default\",\n  7,\n]\n"
    )));
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("11: component a.environment must be a table"), "{found:#?}");
    assert!(found[1].starts_with("12: component a: `alowed_outbound_hosts` is not a key"), "{found:#?}");
    assert!(found[2].starts_with("15: component a.key_value_stores must be a string, and is of type integer"), "{found:#?}");
}

#[test]
fn what_is_no_spin_manifest_is_refused_with_one_sentence() {
    for (text, part) in [
        ("", "1: this is no Spin manifest"),
        ("spin_manifest_version = 3", "1: spin_manifest_version must be 2"),
        ("spin_manifest_version = 1", "1: spin_manifest_version must be 2"),
        ("\na = [", "2: this is not TOML"),
    ] {
        let found = refusals(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(part), "{found:?}");
    }
    assert!(refusals("spin_manifest_version = 2").len() >= 2);
}

#[test]
fn triggers_at_several_servers_become_an_app_each() {
    let second = "[[trigger.redis]]\nchannel = \"d\"\ncomponent = \"a\"\naddress = \"redis://other:6379\"\n";
    let apps = imported(&v2_with(&format!("{TRIGGER}{second}")));
    let names: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
    assert_eq!(names, ["app", "app-2"]);
    let specs: Vec<Value> = apps.iter().map(|app| valid(&app.yaml)["spec"].clone()).collect();
    assert_eq!((&specs[0]["components"][0]["channels"], &specs[1]["components"][0]["channels"]), (&json!(["c"]), &json!(["d"])));
    assert_eq!(specs[1]["trigger"]["address"], "redis://other:6379");
    assert!(apps[1].yaml.contains("app 2 of 2"), "{}", apps[1].yaml);
}

#[test]
fn a_template_in_address_or_channel_takes_the_defaults() {
    let text = v2_with(
        "[variables]\nhost = { default = \"cache\" }\npw = { required = true }\n[[trigger.redis]]\nchannel = \"on-{{ host }}\"\naddress = \"redis://{{ host }}:6379\"\ncomponent = \"a\"\n[component.a]\nsource = \"a.wasm\"\n",
    );
    let plain = spec(&text);
    assert_eq!((&plain["trigger"]["address"], &plain["components"][0]["channels"][0]), (&json!("redis://cache:6379"), &json!("on-cache")));
    let without = spec(&text.replace("redis://{{ host }}", "redis://{{ pw }}"));
    assert_eq!(without["trigger"]["addressFrom"]["secretKeyRef"]["key"], "redis-address");
    let found = refusals(&text.replace("on-{{ host }}", "on-{{ pw }}"));
    assert!(found[0].starts_with("10: the channel `on-{{ pw }}`"), "{found:?}");
}

#[test]
fn a_variable_that_is_only_passed_on_is_not_written_twice() {
    let text = v2_with(&format!("[variables]\ntoken = {{ default = \"t\" }}\n{TRIGGER}variables = {{ token = \"{{{{ token }}}}\" }}\n"));
    let passed = spec(&text);
    assert_eq!(passed["components"][0].get("variables"), None);
    let found = refusals(&text.replace("\"{{ token }}\"", "\"{{ token }}!\""));
    assert!(found[0].starts_with("13: component a uses the app's variable `token`"), "{found:?}");
}

#[test]
fn the_image_prefix_replaces_the_placeholder() {
    let options = Options { image_prefix: Some("ghcr.io/acme".to_owned()) };
    let apps = import("spin.toml", &v2_with(TRIGGER), &options).unwrap();
    assert!(apps[0].yaml.contains("reference: ghcr.io/acme/app-a:latest\n") && !apps[0].yaml.contains("REGISTRY"), "{}", apps[0].yaml);
}

#[test]
fn names_become_dns_labels_unless_two_would_be_the_same() {
    let text = v2_with("[[trigger.redis]]\nchannel = \"c\"\ncomponent = \"A_b\"\n[component.A_b]\nsource = \"a.wasm\"\n");
    assert_eq!(spec(&text)["components"][0]["id"], "a-b");
    let found = refusals(&format!("{text}[component.a-b]\nsource = \"b.wasm\"\n"));
    assert_eq!(found, ["11: the components `A_b` and `a-b` would both be called a-b: give one another id"]);
}

#[test]
fn a_path_cannot_add_a_command() {
    let yaml = &imported(&v2_with("[[trigger.redis]]\nchannel = \"c\"\ncomponent = \"a\"\n[component.a]\nsource = \"a'b; ls\"\n"))[0].yaml;
    assert!(yaml.contains(r"#   wkg oci push REGISTRY/app-a:latest 'a'\''b; ls'"), "{yaml}");
}

#[test]
fn no_text_of_a_manifest_can_add_a_field() {
    let text = v2_with(
        "[[trigger.redis]]\nchannel = \"c\"\ncomponent = \"a\"\n[component.a]\nsource = \"a.wasm\\nspec: {}\"\ndescription = \"d\\nx: y\"\nenvironment = { A = \"b\\n    evil: true\" }\n",
    );
    assert_eq!(spec(&text)["components"][0]["env"], json!([{"name": "A", "value": "b\n    evil: true"}]));
}

#[test]
fn what_a_manifest_says_is_repeated_on_one_line_and_nothing_of_it_reaches_the_terminal_as_a_command() {
    let refusals = refusals(&v2_with(&TRIGGER.replace("component = \"a\"", "component = \"b\\nc\\u001b[2J\\u202e\"")));
    assert_eq!(refusals, ["8: the trigger calls component `b c [2J `, which is not in this file"]);
}
