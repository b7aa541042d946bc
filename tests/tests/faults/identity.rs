//! Passwords, certificates and permissions change while the app runs.

use serde_json::{Value, json};
use spinredis_tests::{app::App, guests::source, metrics::HANDLED, redis::Redis, runtime::Runtime, tls::Authority, watch::Watch};

use super::{RECONNECTS, app, assert_answers, assert_counted, assert_ends_well, assert_unready};

fn secret_key(name: &str, key: &str) -> Value {
    json!({"secretKeyRef": {"name": name, "key": key}})
}

/// A Redis with the user `anna`, whose password is `one`, and an app that signs in as her.
fn anna() -> (Redis, App) {
    let redis = Redis::builder().line("user anna on >one ~* &* +@all").start();
    let trigger = json!({"address": redis.address(), "username": "anna", "passwordFrom": secret_key("redis", "password")});
    (redis, app(trigger).with("secret/redis/password", "one"))
}

/// The ids of the connections in Redis that are subscribed.
fn subscribers(redis: &Redis) -> Vec<String> {
    let clients: String = redis.command(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    clients.lines().filter_map(|line| Some(line.strip_prefix("id=")?.split(' ').next()?.to_owned())).collect()
}

fn assert_still_subscribed(runtime: &Runtime, redis: &Redis, before: &[String]) {
    assert_eq!(runtime.get("/readyz").0, 200, "{}", runtime.log());
    assert_eq!(subscribers(redis), before, "{}", runtime.log());
    assert_eq!(runtime.metric(RECONNECTS, &[]), 0.0);
}

#[test]
fn a_rotated_password_is_proved_at_once_and_used_at_the_next_connect() {
    let (redis, app) = anna();
    let runtime = app.run();
    let watch = Watch::start(&runtime);
    assert_answers(&runtime, &redis, "with one");
    let before = subscribers(&redis);
    let _: () = redis.command(&["ACL", "SETUSER", "anna", ">two"]);
    app.set("secret/redis/password", "two");
    let entry = runtime.wait_for_message("new credentials work");
    assert_eq!(entry["level"], "INFO", "{entry}");
    assert_still_subscribed(&runtime, &redis, &before);
    assert_answers(&runtime, &redis, "still with one");

    let _: () = redis.command(&["ACL", "SETUSER", "anna", "<one"]);
    assert_still_subscribed(&runtime, &redis, &before);
    let _: u64 = redis.command(&["CLIENT", "KILL", "USER", "anna"]);
    runtime.wait_for_metric(RECONNECTS, &[], 1.0);
    assert_answers(&runtime, &redis, "with two");
    assert_ends_well(runtime, watch);
}

#[test]
fn a_rotated_password_that_is_wrong_is_reported_and_the_subscription_stays() {
    let (redis, app) = anna();
    let runtime = app.run();
    let watch = Watch::start(&runtime);
    let before = subscribers(&redis);
    app.set("secret/redis/password", "canary");
    let entry = runtime.wait_for_message("new credentials do not work");
    assert_eq!(entry["level"], "WARN", "{entry}");
    assert!(!runtime.log().contains("canary"), "{}", runtime.log());
    assert_still_subscribed(&runtime, &redis, &before);
    assert_answers(&runtime, &redis, "still there");

    // At the next connect there is nothing else to use, and a correction needs no restart.
    let _: u64 = redis.command(&["CLIENT", "KILL", "USER", "anna"]);
    assert_unready(&runtime, "RedisAuthFailed", &["user anna", "key password of Secret redis"]);
    assert_counted(&runtime, "auth");
    app.set("secret/redis/password", "one");
    assert_answers(&runtime, &redis, "corrected");
    assert_ends_well(runtime, watch);
}

/// An app that trusts the authority in Secret `ca`.
fn trusting(redis: &Redis, authority: &Authority) -> App {
    let trigger = json!({"address": redis.address(), "tls": {"caFrom": secret_key("ca", "ca.crt")}});
    app(trigger).with("secret/ca/ca.crt", authority.certificate())
}

#[test]
fn a_server_with_a_new_certificate_of_the_same_authority_is_used_again() {
    let authority = Authority::new("ours");
    let mut redis = Redis::builder().tls(&authority.server(&["127.0.0.1"]), None).start();
    let runtime = trusting(&redis, &authority).run();
    let watch = Watch::start(&runtime);
    assert_answers(&runtime, &redis, "with the first");
    redis.set_identity(&authority.server(&["127.0.0.1"]));
    redis.kill();
    redis.start_again();
    runtime.wait_for_metric(RECONNECTS, &[], 1.0);
    assert_answers(&runtime, &redis, "with the second");
    assert_ends_well(runtime, watch);
}

#[test]
fn a_replaced_authority_is_proved_at_once_and_used_at_the_next_connect() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let mut redis = Redis::builder().tls(&old.server(&["127.0.0.1"]), None).start();
    let app = trusting(&redis, &old);
    let runtime = app.run();
    let watch = Watch::start(&runtime);
    let before = subscribers(&redis);
    app.set("secret/ca/ca.crt", new.certificate());
    // The server still has its certificate of the old one.
    let entry = runtime.wait_for_message("new credentials do not work");
    assert!(entry["message"].as_str().unwrap().contains("trigger.tls.caFrom"), "{entry}");
    assert_still_subscribed(&runtime, &redis, &before);
    assert_answers(&runtime, &redis, "with the old");

    redis.set_identity(&new.server(&["127.0.0.1"]));
    redis.kill();
    redis.start_again();
    assert_answers(&runtime, &redis, "with the new");
    assert_ends_well(runtime, watch);
}

#[test]
fn a_server_whose_certificate_has_expired_is_said_to_be_so() {
    let authority = Authority::new("ours");
    let mut redis = Redis::builder().tls(&authority.expired_server(&["127.0.0.1"]), None).start();
    let runtime = trusting(&redis, &authority).start();
    assert_unready(&runtime, "RedisUnreachable", &[&redis.address(), "expired"]);
    assert_counted(&runtime, "tls");
    redis.set_identity(&authority.server(&["127.0.0.1"]));
    redis.kill();
    redis.start_again();
    assert_answers(&runtime, &redis, "renewed");
}

#[test]
fn one_refused_channel_of_a_thousand_is_named_and_the_others_go_on() {
    let redis = Redis::builder().line("user anna on >one resetchannels &many.* +subscribe +psubscribe +ping").start();
    let trigger = json!({"address": redis.address(), "username": "anna", "passwordFrom": secret_key("redis", "password")});
    let mut channels: Vec<String> = (0..999).map(|n| format!("many.{n}")).collect();
    channels.push("private".to_owned());
    let app = App::new(trigger, json!([{"id": "all", "channels": channels, "source": source("dispatch.wat")}]));
    let runtime = app.with("secret/redis/password", "one").start();
    assert_unready_by_name(&runtime);
    // Of so many subscriptions, those are shown that had a message.
    assert_eq!(redis.publish("many.0", "shown"), 1);
    runtime.wait_for_guest("all", "calls=1 attempt=1 channel=many.0 shown");
    let watch = Watch::start(&runtime);
    let deliveries = redis.publish_each(channels.iter().map(|channel| (channel.as_str(), "X".to_owned())));
    assert_eq!(deliveries, 999);
    runtime.wait_for_metric(HANDLED, &[], 1000.0);
    let _: () = redis.command(&["ACL", "SETUSER", "anna", "&private"]);
    runtime.ready();
    assert_eq!(redis.publish("private", "X"), 1);
    runtime.wait_for_metric(HANDLED, &[], 1001.0);
    assert_ends_well(runtime, watch);
}

fn assert_unready_by_name(runtime: &Runtime) {
    let status = runtime.eventually("999 of 1000 are subscribed", || {
        let status = runtime.status();
        if status["subscribed"] == 999 && status["reason"] == "RedisPermission" { Ok(status) } else { Err(status.to_string()) }
    });
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("private") && message.contains("NOPERM") && !message.contains("many."), "{message}");
    assert_eq!(runtime.get("/readyz").0, 503);
}
