//! Which messages wait for each other, and how many are handled at once.

use serde_json::json;
use spinredis_tests::{
    app::App,
    metrics::{HANDLED, IN_FLIGHT, QUEUED, RECEIVED},
    redis::Redis,
    watch::Watch,
};

use super::{app, assert_ends_well, component, lines, texts, wait_for_lines};

#[test]
fn each_channels_messages_are_handled_in_their_order_and_channels_side_by_side() {
    const CHANNELS: usize = 5;
    const EACH: usize = 100;
    let redis = Redis::start();
    let runtime = app(&redis, json!({"concurrency": 8})).run();
    let watch = Watch::start(&runtime);
    let channels: Vec<String> = (0..CHANNELS).map(|n| format!("c.{n}")).collect();
    // Each takes its own time, so that a wrong order would show.
    let messages = (0..EACH * CHANNELS).map(|n| (channels[n % CHANNELS].as_str(), format!("W{:04} {}", n * 7 % 5, n / CHANNELS)));
    assert_eq!(redis.publish_each(messages), (EACH * CHANNELS) as u64);
    let lines = wait_for_lines(&runtime, EACH * CHANNELS);
    for channel in &channels {
        let order: Vec<usize> = texts(&lines, channel).iter().map(|text| text[6..].parse().unwrap()).collect();
        assert_eq!(order, (0..EACH).collect::<Vec<_>>(), "{channel}");
    }
    let (_, seen) = assert_ends_well(runtime, watch);
    let most = seen.largest(IN_FLIGHT);
    assert!(most > 1.0 && most <= CHANNELS as f64, "{most} at once");
}

#[test]
fn a_slow_channel_does_not_delay_another() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"concurrency": 2})).run();
    redis.publish_all("c.slow", ["V9999".to_owned(), "next".to_owned()]);
    runtime.wait_for_metric(RECEIVED, &[], 2.0);
    redis.publish_all("c.fast", (0..100).map(|n| n.to_string()));
    runtime.wait_for_metric(HANDLED, &[], 100.0);
    let metrics = runtime.scrape();
    metrics.assert_balanced();
    // All of that went by while the first was being handled, and its own channel waited.
    assert_eq!((metrics.sum(IN_FLIGHT, &[]), metrics.sum(QUEUED, &[])), (1.0, 1.0));
    assert_eq!(texts(&lines(&runtime), "c.slow"), [""; 0]);
}

#[test]
fn a_slow_component_does_not_delay_another() {
    let redis = Redis::start();
    let slow = component("slow", json!({"concurrency": 8}));
    let runtime = App::new(redis.trigger(), json!([slow, component("c", json!({"concurrency": 1}))])).run();
    let channels: Vec<String> = (0..16).map(|n| format!("slow.{n}")).collect();
    redis.publish_each(channels.iter().map(|channel| (channel.as_str(), "V9999".to_owned())));
    runtime.wait_for_metric(IN_FLIGHT, &[("component", "slow")], 8.0);
    redis.publish_all("c.fast", (0..100).map(|n| n.to_string()));
    runtime.wait_for_metric(HANDLED, &[("component", "c")], 100.0);
    let metrics = runtime.scrape();
    metrics.assert_balanced();
    assert_eq!(metrics.sum(IN_FLIGHT, &[("component", "slow")]), 8.0);
    assert_eq!(metrics.sum(QUEUED, &[("component", "slow")]), 8.0);
}

#[test]
fn without_an_order_one_channels_messages_are_handled_side_by_side() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"concurrency": 4, "ordering": "None"})).run();
    let watch = Watch::start(&runtime);
    redis.publish_all("c.one", (0..12).map(|_| "V0500".to_owned()));
    runtime.wait_for_metric(IN_FLIGHT, &[], 4.0);
    runtime.wait_for_metric(HANDLED, &[], 12.0);
    let (_, seen) = assert_ends_well(runtime, watch);
    assert_eq!(seen.largest(IN_FLIGHT), 4.0);
}

#[test]
fn with_an_order_one_channels_messages_are_never_handled_side_by_side() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"concurrency": 8})).run();
    let watch = Watch::start(&runtime);
    redis.publish_all("c.one", (0..20).map(|n| format!("W0020 {n}")));
    let lines = wait_for_lines(&runtime, 20);
    assert_eq!(texts(&lines, "c.one"), (0..20).map(|n| format!("W0020 {n}")).collect::<Vec<_>>());
    let (_, seen) = assert_ends_well(runtime, watch);
    assert_eq!(seen.largest(IN_FLIGHT), 1.0);
}

#[test]
fn with_a_concurrency_of_one_nothing_is_handled_side_by_side() {
    for ordering in ["Channel", "None"] {
        let redis = Redis::start();
        let runtime = app(&redis, json!({"concurrency": 1, "ordering": ordering})).run();
        let watch = Watch::start(&runtime);
        let channels: Vec<String> = (0..30).map(|n| format!("c.{}", n % 10)).collect();
        redis.publish_each(channels.iter().map(|channel| (channel.as_str(), "W0010".to_owned())));
        wait_for_lines(&runtime, 30);
        let (_, seen) = assert_ends_well(runtime, watch);
        assert_eq!(seen.largest(IN_FLIGHT), 1.0, "{ordering}");
    }
}

#[test]
fn a_flooded_channel_delays_others_by_a_message_and_not_by_its_flood() {
    for ordering in ["Channel", "None"] {
        let redis = Redis::start();
        let runtime = app(&redis, json!({"concurrency": 1, "ordering": ordering})).run();
        redis.publish_all("c.flood", (0..500).map(|_| "W0010".to_owned()));
        runtime.wait_for_metric(RECEIVED, &[], 500.0);
        redis.publish("c.other", "hello");
        runtime.wait_for_guest("c", "calls=1 attempt=1 channel=c.other hello");
        let place = lines(&runtime).iter().position(|line| line.channel == "c.other").unwrap();
        // Its own turn and those of the flood until it was published; all of the flood takes five seconds.
        assert!(place < 400, "{ordering}: it came after {place} of 500");
    }
}
