//! More comes than can be handled: what waits is bounded, what is dropped is counted, and Redis never notices.

use std::{thread, time::Duration};

use serde_json::json;
use spinredis_tests::{
    load::Load,
    metrics::{DROPPED, FAILED, HANDLED, IN_FLIGHT, RECEIVED},
    redis::Redis,
    runtime::Runtime,
    watch::{Watch, memory},
};

use super::{Line, app, assert_ends_well, texts, wait_for_lines};

/// The smallest queue there is. A message counts its payload, its channel and 128 bytes.
const SMALLEST: &str = "64Ki";

/// Occupies the only worker, lets ten messages wait on one channel and then two hundred of 1 KiB on another, of which some 55
/// fit. Gives what was printed once all is over.
fn flood(redis: &Redis, when_full: &str) -> (Runtime, Watch, Vec<Line>) {
    let more = json!({"concurrency": 1, "queue": {"maxBytes": SMALLEST, "whenFull": when_full}});
    let runtime = app(redis, more).run();
    let watch = Watch::start(&runtime);
    redis.publish("c.first", "V4000");
    runtime.wait_for_metric(IN_FLIGHT, &[], 1.0);
    redis.publish_all("c.quiet", (0..10).map(|n| n.to_string()));
    redis.publish_all("c.flood", (0..200).map(|n| format!("{n} {}", "fill".repeat(256))));
    runtime.wait_for_metric(RECEIVED, &[], 211.0);
    assert_eq!(runtime.metric(HANDLED, &[]), 0.0, "the first message was over too early");
    let dropped = runtime.metric(DROPPED, &[("reason", "queue_full")]);
    assert!((100.0..200.0).contains(&dropped), "{dropped} dropped");
    runtime.wait_for_metric(HANDLED, &[], 211.0 - dropped);
    // All but the first print.
    let lines = wait_for_lines(&runtime, 210 - dropped as usize);
    (runtime, watch, lines)
}

fn numbers(lines: &[Line], channel: &str) -> Vec<usize> {
    texts(lines, channel).iter().map(|text| text.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn a_full_queue_drops_the_oldest_of_the_channel_that_holds_most() {
    let redis = Redis::start();
    let (runtime, watch, lines) = flood(&redis, "DropOldest");
    assert_eq!(numbers(&lines, "c.quiet"), (0..10).collect::<Vec<_>>());
    let kept = numbers(&lines, "c.flood");
    assert_eq!(kept, (200 - kept.len()..200).collect::<Vec<_>>(), "the newest, in their order");
    let (_, seen) = assert_ends_well(runtime, watch);
    let most = seen.largest("spinredis_queued_bytes");
    assert!(most > 60_000.0 && most <= 65_536.0, "{most} bytes waited");
}

#[test]
fn a_full_queue_drops_what_arrives_where_that_is_asked_for() {
    let redis = Redis::start();
    let (runtime, watch, lines) = flood(&redis, "DropNewest");
    assert_eq!(numbers(&lines, "c.quiet"), (0..10).collect::<Vec<_>>());
    let kept = numbers(&lines, "c.flood");
    assert_eq!(kept, (0..kept.len()).collect::<Vec<_>>(), "the oldest, in their order");
    assert_ends_well(runtime, watch);
}

#[test]
fn four_times_as_much_as_can_be_handled_costs_bounded_memory_and_no_connection() {
    const QUEUE: u64 = 8 << 20;
    // Eight at once of 5 ms each: at most 1600 in a second.
    const PER_SECOND: u32 = 6400;
    let redis = Redis::start();
    let runtime = app(&redis, json!({"concurrency": 8, "queue": {"maxBytes": "8Mi"}})).run();
    redis.publish_all("c.0", (0..100).map(|_| "X".to_owned()));
    runtime.wait_for_metric(HANDLED, &[], 100.0);
    let before = memory(runtime.id()).unwrap();
    let watch = Watch::start(&runtime);
    let load = Load::start(&redis, PER_SECOND, |n| (format!("c.{}", n % 64), [b"V0005".to_vec(), vec![b' '; 4091]].concat()));
    thread::sleep(Duration::from_secs(6));
    let published = load.finish();
    assert_eq!(published.deliveries, published.messages, "Redis had no subscriber for some:\n{}", runtime.log());
    let (metrics, seen) = assert_ends_well(runtime, watch);
    let received = metrics.sum(RECEIVED, &[]);
    assert_eq!(received, published.deliveries as f64 + 100.0);
    assert_eq!(metrics.sum("spinredis_reconnects_total", &[]), 0.0);
    assert_eq!(metrics.sum(FAILED, &[]), 0.0);
    let dropped = metrics.sum(DROPPED, &[("reason", "queue_full")]);
    assert!(dropped > received / 3.0, "{dropped} of {received} dropped: that was no overload");
    assert!(seen.reads > 50, "only {} reads", seen.reads);
    assert!(seen.largest("spinredis_queued_bytes") <= QUEUE as f64);
    assert!(seen.peak < before + QUEUE + (16 << 20), "{before} bytes before, {} at most", seen.peak);
}
