//! Very many channels.

use std::{thread, time::Duration};

use serde_json::{Value, json};
use spinredis_tests::{
    app::App,
    guests::source,
    metrics::{HANDLED, RECEIVED},
    redis::Redis,
    runtime::Runtime,
    wait::eventually,
    watch::{Watch, memory},
};

use super::{app_with, assert_ends_well};

/// What memory may grow by that is not given back, in bytes: allocators keep some of what was used once.
const SLACK: u64 = 16 << 20;

/// Lets the runtime handle one message on each channel.
fn handle_all(redis: &Redis, runtime: &Runtime, channels: &[String], handled_before: usize) {
    let deliveries = redis.publish_each(channels.iter().map(|channel| (channel.as_str(), "X".to_owned())));
    assert_eq!(deliveries, channels.len() as u64);
    let wanted = (handled_before + channels.len()) as f64;
    runtime.eventually("all are handled", || {
        // An answer with so many subscriptions is megabytes.
        thread::sleep(Duration::from_millis(300));
        let handled = runtime.metric(HANDLED, &[]);
        if handled == wanted { Ok(()) } else { Err(format!("{handled} of {wanted}")) }
    });
}

/// Waits until no more memory is held than so much and the slack. While `/metrics` is answered there is more.
fn assert_memory_falls_back_to(runtime: &Runtime, before: u64) {
    eventually("memory is given back", || match memory(runtime.id()).unwrap() {
        now if now < before + SLACK => Ok(()),
        now => Err(format!("{before} bytes before, {now} now")),
    });
}

#[test]
fn ten_thousand_channels_are_subscribed_and_each_is_heard() {
    let redis = Redis::start();
    let channels: Vec<String> = (0..10_000).map(|n| format!("channel.{n}")).collect();
    let components: Vec<Value> = channels
        .chunks(1000)
        .enumerate()
        .map(|(n, channels)| json!({"id": format!("all-{n}"), "channels": channels, "source": source("dispatch.wat")}))
        .collect();
    let runtime = App::new(redis.trigger(), json!(components)).run();
    assert_eq!(runtime.status()["subscribed"], 10_000);
    // Of so many subscriptions, those are shown that had a message.
    assert_eq!(redis.publish("channel.0", "shown"), 1);
    runtime.wait_for_guest("all-0", "calls=1 attempt=1 channel=channel.0 shown");
    handle_all(&redis, &runtime, &channels, 1);
    // What an answer of so many bytes takes is kept for the next one.
    (0..3).for_each(|_| drop(runtime.scrape()));
    let first = memory(runtime.id()).unwrap();
    let watch = Watch::start(&runtime);
    for round in 1..3 {
        handle_all(&redis, &runtime, &channels, 1 + round * channels.len());
    }
    assert_memory_falls_back_to(&runtime, first);
    let (metrics, _) = assert_ends_well(runtime, watch);
    let handled = metrics.0.iter().filter(|sample| sample.name == HANDLED);
    let mut each: Vec<f64> = handled.map(|sample| sample.value).collect();
    each.sort_unstable_by(f64::total_cmp);
    assert_eq!((each.len(), each[0], each[9_998], each[9_999]), (10_000, 3.0, 3.0, 4.0));
}

#[test]
fn channels_that_are_used_once_leave_nothing_behind() {
    let redis = Redis::start();
    let runtime = app_with(redis.trigger(), json!({"patterns": ["once.*"]})).run();
    let watch = Watch::start(&runtime);
    let round = |round: usize| {
        let channels: Vec<String> = (0..10_000).map(|n| format!("once.{round}.{}.{n}", "long".repeat(50))).collect();
        handle_all(&redis, &runtime, &channels, round * channels.len());
    };
    round(0);
    let first = memory(runtime.id()).unwrap();
    (1..4).for_each(round);
    assert_memory_falls_back_to(&runtime, first);
    runtime.wait_for_metric("spinredis_lanes", &[], 0.0);
    assert_eq!(runtime.metric(RECEIVED, &[("subscription", "once.*")]), 40_000.0);
    assert_ends_well(runtime, watch);
}
