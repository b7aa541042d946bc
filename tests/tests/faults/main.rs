//! `spinredis` with a real Redis to which everything happens that may happen to a server and to a network. After each fault:
//! nothing hangs, the app says what is wrong, it comes back by itself, and what Redis delivered is accounted for in every
//! single read of `/metrics`.

mod foreign;
mod given_up;
mod identity;
mod lost;
mod payloads;
mod silent;
mod wide;

use serde_json::{Value, json};
use spinredis_tests::{app::App, guests::source, redis::Redis, runtime::Runtime, watch::assert_ends_well};

/// Connections that were lost after they had been subscribed.
const RECONNECTS: &str = "spinredis_reconnects_total";
/// Connections that broke or could not be made, by `reason`.
const FAILURES: &str = "spinredis_connection_failures_total";
/// How long subscriptions were missing.
const OUTAGE: &str = "spinredis_outage_seconds_total";

/// An app whose component `all` prints what comes on the channel `messages`.
fn app(trigger: Value) -> App {
    app_with(trigger, json!({"channels": ["messages"]}))
}

/// The same with more fields of the component.
fn app_with(trigger: Value, more: Value) -> App {
    let mut component = json!({"id": "all", "source": source("dispatch.wat")});
    component.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    App::new(trigger, json!([component]))
}

/// Waits until the app is ready, publishes one message through the real server, and waits until the guest has printed it.
fn assert_answers(runtime: &Runtime, redis: &Redis, text: &str) {
    runtime.ready();
    assert_eq!(redis.publish("messages", text), 1, "{}", runtime.log());
    runtime.wait_for_guest("all", &format!("calls=1 attempt=1 channel=messages {text}"));
}

/// The app is not ready for this reason, whose message has these parts, and says so wherever one may look.
fn assert_unready(runtime: &Runtime, reason: &str, parts: &[&str]) {
    let message = runtime.eventually(&format!("the reason is {reason} and says {parts:?}"), || {
        let status = runtime.status();
        let message = status["message"].as_str().unwrap_or_default();
        let said = status["ready"] == false && status["reason"] == reason && parts.iter().all(|part| message.contains(part));
        if said { Ok(message.to_owned()) } else { Err(status.to_string()) }
    });
    assert_eq!(runtime.get("/healthz").0, 200, "a pod is never restarted for what its Redis does");
    let entry = runtime.wait_for_message(&message);
    assert_eq!(entry["level"], "WARN", "{entry}");
}

/// Connections that failed in this way are counted.
fn assert_counted(runtime: &Runtime, failure: &str) {
    assert!(runtime.metric(FAILURES, &[("reason", failure)]) > 0.0, "no failure `{failure}`: {:?}", runtime.scrape());
}
