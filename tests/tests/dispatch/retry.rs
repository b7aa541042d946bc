//! What fails is tried again, in its place, and not more often than it should.

use serde_json::{Value, json};
use spinredis_tests::{
    app::App,
    guests::source,
    metrics::{FAILED, HANDLED, IN_FLIGHT, RETRYING},
    redis::Redis,
    runtime::Runtime,
    watch::Watch,
};

use super::{Line, app, assert_ends_well, wait_for_lines};

const RETRIES: &str = "spinredis_retries_total";

fn retry(attempts: u32, initial: &str, longest: &str) -> Value {
    json!({"maxAttempts": attempts, "initialBackoff": initial, "maxBackoff": longest})
}

/// The attempt and the text of each line of a channel.
fn attempts<'a>(lines: &'a [Line], channel: &str) -> Vec<(u32, &'a str)> {
    lines.iter().filter(|line| line.channel == channel).map(|line| (line.attempt, line.text.as_str())).collect()
}

#[test]
fn a_message_that_is_tried_again_keeps_its_place_and_other_channels_go_on() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"concurrency": 8, "retry": retry(3, "1s", "1s")})).run();
    let watch = Watch::start(&runtime);
    redis.publish_all("c.a", ["F3 first".to_owned(), "second".to_owned(), "third".to_owned()]);
    runtime.wait_for_metric(RETRYING, &[], 1.0);
    redis.publish_all("c.b", (0..100).map(|n| n.to_string()));
    let lines = wait_for_lines(&runtime, 105);
    assert_eq!(attempts(&lines, "c.a"), [(1, "F3 first"), (2, "F3 first"), (3, "F3 first"), (1, "second"), (1, "third")]);
    let last = lines.iter().position(|line| line.attempt == 3).unwrap();
    let others = lines[..last].iter().filter(|line| line.channel == "c.b").count();
    assert_eq!(others, 100, "the other channel waited");
    let (metrics, _) = assert_ends_well(runtime, watch);
    assert_eq!((metrics.sum(HANDLED, &[]), metrics.sum(FAILED, &[]), metrics.sum(RETRIES, &[])), (103.0, 0.0, 2.0));
}

#[test]
fn a_message_that_waits_for_its_next_attempt_holds_no_worker() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"concurrency": 1, "retry": retry(2, "1h", "1h")})).run();
    for n in 0..10 {
        redis.publish(&format!("c.failing-{n}"), "F9");
    }
    runtime.wait_for_metric(RETRYING, &[], 10.0);
    redis.publish("c.other", "hello");
    runtime.wait_for_guest("c", "calls=1 attempt=1 channel=c.other hello");
    runtime.wait_for_metric(HANDLED, &[], 1.0);
    let metrics = runtime.scrape();
    metrics.assert_balanced();
    assert_eq!((metrics.sum(RETRYING, &[]), metrics.sum(IN_FLIGHT, &[])), (10.0, 0.0));
}

#[test]
fn without_an_order_the_next_message_does_not_wait_for_one_that_is_tried_again() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"concurrency": 1, "ordering": "None", "retry": retry(2, "1s", "1s")})).run();
    let watch = Watch::start(&runtime);
    redis.publish_all("c.a", ["F2 first".to_owned(), "second".to_owned()]);
    let lines = wait_for_lines(&runtime, 3);
    assert_eq!(attempts(&lines, "c.a"), [(1, "F2 first"), (1, "second"), (2, "F2 first")]);
    assert_ends_well(runtime, watch);
}

#[test]
fn a_message_fails_once_after_its_last_attempt() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"retry": retry(4, "10ms", "20ms")})).run();
    let watch = Watch::start(&runtime);
    redis.publish("c.a", "F9");
    runtime.wait_for_metric(FAILED, &[("reason", "guest_error")], 1.0);
    redis.publish("c.a", "next");
    let lines = wait_for_lines(&runtime, 5);
    assert_eq!(attempts(&lines, "c.a"), [(1, "F9"), (2, "F9"), (3, "F9"), (4, "F9"), (1, "next")]);
    let (metrics, _) = assert_ends_well(runtime, watch);
    assert_eq!((metrics.sum(HANDLED, &[]), metrics.sum(FAILED, &[]), metrics.sum(RETRIES, &[])), (1.0, 1.0, 3.0));
}

#[test]
fn without_a_retry_a_message_is_tried_once() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({})).run();
    let watch = Watch::start(&runtime);
    redis.publish_all("c.a", ["F9".to_owned(), "next".to_owned()]);
    let lines = wait_for_lines(&runtime, 2);
    assert_eq!(attempts(&lines, "c.a"), [(1, "F9"), (1, "next")]);
    let (metrics, _) = assert_ends_well(runtime, watch);
    assert_eq!((metrics.sum(FAILED, &[]), metrics.sum(RETRIES, &[])), (1.0, 0.0));
}

#[test]
fn a_message_that_the_handler_rejects_is_not_tried_again() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"retry": retry(5, "10ms", "20ms")})).run();
    let watch = Watch::start(&runtime);
    redis.publish_all("c.a", ["J".to_owned(), "next".to_owned()]);
    let lines = wait_for_lines(&runtime, 2);
    assert_eq!(attempts(&lines, "c.a"), [(1, "J"), (1, "next")]);
    let (metrics, _) = assert_ends_well(runtime, watch);
    assert_eq!((metrics.sum(FAILED, &[("reason", "rejected")]), metrics.sum(RETRIES, &[])), (1.0, 0.0));
}

#[test]
fn traps_timeouts_and_too_much_memory_are_tried_again_too() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"timeout": "500ms", "memoryLimit": "16Mi", "retry": retry(2, "10ms", "10ms")})).run();
    let watch = Watch::start(&runtime);
    for (n, (channel, text, reason)) in
        [("c.a", "T", "trap"), ("c.b", "L", "timeout"), ("c.c", "M", "out_of_memory")].into_iter().enumerate()
    {
        redis.publish(channel, text);
        runtime.wait_for_metric(FAILED, &[("reason", reason)], 1.0);
        assert_eq!(attempts(&wait_for_lines(&runtime, n * 2 + 2), channel), [(1, text), (2, text)]);
    }
    assert_ends_well(runtime, watch);
}

#[test]
fn the_wait_between_attempts_grows_up_to_its_bound() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"retry": retry(5, "400ms", "800ms")})).run();
    let watch = Watch::start(&runtime);
    redis.publish("c.a", "F5");
    wait_for_lines(&runtime, 5);
    let times = times_of_lines(&runtime);
    let waits: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // A random part of up to a half is taken off; a busy machine adds.
    for (wait, least) in waits.iter().zip([0.2, 0.4, 0.4, 0.4]) {
        assert!(*wait >= least && *wait < least + 5.0, "{waits:?}");
    }
    assert_ends_well(runtime, watch);
}

/// When component `c` printed each of its lines, in seconds of the hour.
fn times_of_lines(runtime: &Runtime) -> Vec<f64> {
    let entries = runtime.entries();
    let own = entries.iter().filter(|entry| entry["target"] == "guest" && entry["component"] == "c");
    own.map(|entry| {
        // 2026-01-31T12:34:56.789Z
        let time = entry["timestamp"].as_str().unwrap();
        let (minutes, seconds) = time[14..].trim_end_matches('Z').split_once(':').unwrap();
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
    })
    .collect()
}

#[test]
fn a_command_learns_the_attempt_from_its_environment() {
    let redis = Redis::start();
    let more = json!({"source": source("environment.wat"), "retry": retry(3, "10ms", "10ms")});
    let runtime = App::new(redis.trigger(), json!([super::component("c", more)])).run();
    redis.publish("c.a", "");
    runtime.wait_for_metric(FAILED, &[("reason", "guest_error")], 1.0);
    for attempt in 1..=3 {
        runtime.wait_for_guest("c", &format!("SPINREDIS_ATTEMPT={attempt}"));
    }
    let attempts = runtime.guest_lines("c").into_iter().filter(|line| line.starts_with("SPINREDIS_ATTEMPT="));
    assert_eq!(attempts.count(), 3);
}
