//! Spin's variables, `fermyon:spin/variables@2.0.0` and `spin:variables/variables@3.0.0`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spinredis_tests::{app::App, redis::Redis};

use crate::calls::{BOTH, Guests, app};

/// How long a changed value may stay unseen.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

/// Variables of every origin.
pub fn variables_of_every_origin(redis: &Redis) -> App {
    let secret = json!({"secretKeyRef": {"name": "api", "key": "token"}});
    let component = json!({"variables": [
        {"name": "plain", "value": "grüße 👋"},
        {"name": "empty", "value": ""},
        {"name": "token", "valueFrom": secret},
        {"name": "region", "valueFrom": {"configMapKeyRef": {"name": "site", "key": "region"}}},
        {"name": "url", "value": "https://{{ host }}/{{region}}?{{ token }}"},
        {"name": "host", "value": "own.{{ host }}"},
        {"name": "literal", "valueFrom": {"configMapKeyRef": {"name": "site", "key": "literal"}}},
        {"name": "a1_b2", "value": "} }} {"},
    ]});
    let shared = json!({"variables": [{"name": "host", "value": "{{ domain }}"}, {"name": "domain", "value": "example.com"}]});
    app(redis.trigger(), component, shared)
        .with("secret/api/token", "sesame\n")
        .with("configmap/site/region", "north")
        .with("configmap/site/literal", "{{ token }}")
}

/// What a component sees of them.
pub fn values() -> Vec<(&'static str, &'static str)> {
    vec![
        ("a1_b2", "} }} {"),
        ("domain", "example.com"),
        ("empty", ""),
        ("host", "own.example.com"),
        ("literal", "{{ token }}"),
        ("plain", "grüße 👋"),
        ("region", "north"),
        ("token", "sesame\n"),
        ("url", "https://own.example.com/north?sesame\n"),
    ]
}

#[test]
fn a_variable_has_the_value_of_its_origin() {
    let redis = Redis::start();
    let guests = Guests::run(&redis, &variables_of_every_origin(&redis));
    for guest in BOTH {
        for (name, value) in values() {
            assert_eq!(guests.value(guest, json!(["variables.get", name])), value, "{guest} {name}");
        }
    }
}

#[test]
fn wrong_names_and_unknown_names_are_told_apart() {
    let redis = Redis::start();
    let guests = Guests::with(&redis, json!({"variables": [{"name": "known", "value": "x"}]}));
    for guest in BOTH {
        for name in ["", "Known", "a-b", "a__b", "a_", "_a", "1a", "a b", "größe", "{{ known }}"] {
            guests.assert_error(guest, json!(["variables.get", name]), "invalid-name", &[name]);
        }
        for name in ["unknown", "known_too", "a"] {
            guests.assert_error(guest, json!(["variables.get", name]), "undefined", &[name]);
        }
    }
}

#[test]
fn a_component_does_not_see_the_variables_of_another() {
    let redis = Redis::start();
    let mut manifest: Value =
        serde_json::from_str(&std::fs::read_to_string(app(redis.trigger(), json!({}), json!({})).file()).unwrap()).unwrap();
    manifest["spec"]["components"][0]["variables"] = json!([{"name": "own", "value": "mine"}]);
    let app = app(redis.trigger(), json!({}), json!({}));
    std::fs::write(app.file(), manifest.to_string()).unwrap();
    let guests = Guests::run(&redis, &app);
    assert_eq!(guests.value("sync", json!(["variables.get", "own"])), "mine");
    guests.assert_error("async", json!(["variables.get", "own"]), "undefined", &["own"]);
}

#[test]
fn a_changed_secret_is_seen_while_the_app_runs() {
    let redis = Redis::start();
    let app = variables_of_every_origin(&redis);
    let guests = Guests::run(&redis, &app);
    for guest in BOTH {
        assert_eq!(guests.value(guest, json!(["variables.get", "token"])), "sesame\n");
    }
    app.set("secret/api/token", "changed");
    let changed = Instant::now();
    for guest in BOTH {
        guests.runtime.eventually("the new value is seen", || {
            let asked_after = changed.elapsed();
            let value = guests.value(guest, json!(["variables.get", "url"]));
            if value == "https://own.example.com/north?changed" {
                return Ok(());
            }
            // Only a message of after that is too late, however slow this machine is.
            assert!(asked_after < SEEN_WITHIN, "{guest} got {value} when asked {asked_after:?} after the change");
            Err(value.to_string())
        });
        assert_eq!(guests.value(guest, json!(["variables.get", "token"])), "changed");
    }
}

#[test]
fn a_secret_that_is_taken_away_fails_the_message_and_is_named() {
    let redis = Redis::start();
    let app = variables_of_every_origin(&redis);
    let guests = Guests::run(&redis, &app);
    app.remove("secret/api/token");
    for guest in BOTH {
        guests.runtime.eventually("the missing Secret fails messages", || {
            redis.publish(guest, json!(["variables.get", "plain"]).to_string());
            let failed = guests.runtime.metric("spinredis_messages_failed_total", &[("component", guest), ("reason", "environment")]);
            if failed > 0.0 { Ok(()) } else { Err(failed.to_string()) }
        });
    }
    let entry = guests.runtime.wait_for_message("Secret api or its key token does not exist");
    assert_eq!(entry["reason"], "environment");
}
