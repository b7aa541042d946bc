//! Payloads at the edges: nothing, any bytes, very much; and one message that matches twice.

use serde_json::json;
use spinredis_tests::{
    metrics::{DROPPED, HANDLED, RECEIVED},
    redis::Redis,
    watch::Watch,
};

use super::{app_with, assert_ends_well};

#[test]
fn a_channel_and_a_pattern_that_matches_it_are_two_deliveries() {
    let redis = Redis::start();
    let subscriptions = json!({"channels": ["orders.new"], "patterns": ["orders.*", "*.new"]});
    let runtime = app_with(redis.trigger(), subscriptions).run();
    let watch = Watch::start(&runtime);
    assert_eq!(redis.publish("orders.new", "X"), 3);
    assert_eq!(redis.publish("orders.old", "X"), 1);
    runtime.wait_for_metric(HANDLED, &[], 4.0);
    let (metrics, _) = assert_ends_well(runtime, watch);
    for (subscription, deliveries) in [("orders.new", 1.0), ("orders.*", 2.0), ("*.new", 1.0)] {
        assert_eq!(metrics.sum(RECEIVED, &[("subscription", subscription)]), deliveries, "{subscription}");
    }
}

#[test]
fn any_bytes_are_handled_and_none_too() {
    let redis = Redis::start();
    // A message that is rejected is kept with all its bytes.
    let more = json!({"channels": ["messages"], "deadLetter": {"stream": "dead"}});
    let runtime = app_with(redis.trigger(), more).run();
    let watch = Watch::start(&runtime);
    assert_eq!(redis.publish("messages", ""), 1);
    runtime.wait_for_guest("all", "calls=1 attempt=1 channel=messages ");
    let every: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let payloads: Vec<Vec<u8>> =
        [&b"\r\n"[..], b"\0", b"*3\r\n$7\r\nmessage\r\n", &every].iter().map(|rest| [b"J", *rest].concat()).collect();
    for payload in &payloads {
        assert_eq!(redis.publish("messages", payload), 1);
    }
    let kept = runtime.eventually("all are kept", || {
        let entries = redis.stream("dead");
        if entries.len() == payloads.len() { Ok(entries) } else { Err(format!("{} entries", entries.len())) }
    });
    let kept: Vec<Vec<u8>> = kept.into_iter().map(|mut fields| fields.remove("payload").expect("there is a payload")).collect();
    assert!(kept == payloads, "not the bytes that were published");
    assert_ends_well(runtime, watch);
}

#[test]
fn a_payload_of_64_mib_is_handled_where_it_may_be() {
    // As Redis comes, it ends a subscriber for whom more than 32 MB wait.
    let redis = Redis::builder().line("client-output-buffer-limit pubsub 256mb 256mb 60").start();
    let trigger = json!({"address": redis.address(), "maxMessageBytes": "64Mi"});
    let runtime = app_with(trigger, json!({"channels": ["messages"], "memoryLimit": "256Mi"})).run();
    let watch = Watch::start(&runtime);
    for round in 1..=3 {
        assert_eq!(redis.publish("messages", "p".repeat(64 << 20)), 1);
        runtime.wait_for_metric(HANDLED, &[], f64::from(round));
    }
    assert_eq!(redis.publish("messages", "p".repeat((64 << 20) + 1)), 1);
    runtime.wait_for_metric(DROPPED, &[("reason", "too_large")], 1.0);
    let (metrics, seen) = assert_ends_well(runtime, watch);
    assert_eq!((metrics.sum(RECEIVED, &[]), metrics.sum(HANDLED, &[])), (4.0, 3.0));
    // The payload as it was received, and in the guest.
    assert!(seen.peak < 256 << 20, "{} bytes at most", seen.peak);
}

#[test]
fn a_small_bound_is_kept_too() {
    let redis = Redis::start();
    let trigger = json!({"address": redis.address(), "maxMessageBytes": "1Ki"});
    let runtime = app_with(trigger, json!({"channels": ["messages"]})).run();
    let watch = Watch::start(&runtime);
    redis.publish_all("messages", [1023, 1024, 1025, 100_000, 1].map(|length| "X".repeat(length)));
    runtime.wait_for_metric(HANDLED, &[], 3.0);
    let (metrics, _) = assert_ends_well(runtime, watch);
    assert_eq!(metrics.sum(DROPPED, &[("reason", "too_large")]), 2.0);
}
