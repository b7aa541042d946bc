//! An app that is told to stop finishes what it has, within its time, and says what it could not.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use spinredis_tests::{
    load::Load,
    metrics::{HANDLED, IN_FLIGHT, QUEUED, RETRYING},
    redis::Redis,
};

use super::{app, app_that_drains_for, dead_letters::text, lines};

#[test]
fn a_stop_under_load_loses_nothing_that_redis_had_delivered() {
    let redis = Redis::start();
    let mut runtime = app(&redis, json!({"concurrency": 8})).run();
    let load = Load::start(&redis, 2000, |n| (format!("c.{}", n % 16), format!("W0002 {n}").into_bytes()));
    runtime.eventually("much is handled", || match runtime.metric(HANDLED, &[]) {
        handled if handled > 1000.0 => Ok(()),
        handled => Err(handled.to_string()),
    });
    runtime.terminate();
    assert_eq!(runtime.wait(), 0, "{}", runtime.log());
    // Those that were published after the end were delivered to nobody.
    let published = load.finish();
    assert!(published.deliveries < published.messages, "the load ended before the app");
    let mut handled: Vec<String> = lines(&runtime).into_iter().map(|line| line.text).collect();
    assert_eq!(handled.len() as u64, published.deliveries);
    handled.sort_unstable();
    handled.dedup();
    assert_eq!(handled.len() as u64, published.deliveries, "some were handled twice");
}

#[test]
fn what_is_left_when_time_is_up_is_reported_and_kept() {
    let redis = Redis::start();
    let more = json!({
        "concurrency": 1,
        "retry": {"maxAttempts": 2, "initialBackoff": "1h", "maxBackoff": "1h"},
        "deadLetter": {"stream": "dead"},
    });
    let mut runtime = app_that_drains_for(&redis, "1s", more).run();
    redis.publish("c.retrying", "F9");
    runtime.wait_for_metric(RETRYING, &[], 1.0);
    redis.publish("c.long", "V9999");
    runtime.wait_for_metric(IN_FLIGHT, &[], 1.0);
    redis.publish_all("c.waiting", (0..5).map(|n| n.to_string()));
    runtime.wait_for_metric(QUEUED, &[], 5.0);

    let stopped = Instant::now();
    runtime.terminate();
    assert_eq!(runtime.wait(), 0, "{}", runtime.log());
    assert!((1..8).contains(&stopped.elapsed().as_secs()), "it took {:?}", stopped.elapsed());
    let entry = runtime.wait_for_message("the time to drain was up");
    assert_eq!((&entry["component"], &entry["abandoned"]), (&json!("c"), &json!(7)), "{entry}");
    let kept = redis.stream("dead");
    let mut payloads: Vec<&str> = kept.iter().map(|fields| text(fields, "payload")).collect();
    payloads.sort_unstable();
    assert_eq!(payloads, ["0", "1", "2", "3", "4", "F9", "V9999"]);
    assert!(kept.iter().all(|fields| text(fields, "reason") == "drain"), "{kept:?}");
    assert_eq!(lines(&runtime).len(), 1);
}

#[test]
fn a_retry_that_is_due_in_time_is_waited_for() {
    let redis = Redis::start();
    let more = json!({"retry": {"maxAttempts": 2, "initialBackoff": "2s"}});
    let mut runtime = app_that_drains_for(&redis, "30s", more).run();
    redis.publish("c.a", "F2");
    runtime.wait_for_metric(RETRYING, &[], 1.0);
    runtime.terminate();
    assert_eq!(runtime.wait(), 0, "{}", runtime.log());
    let attempts: Vec<u32> = lines(&runtime).iter().map(|line| line.attempt).collect();
    assert_eq!(attempts, [1, 2]);
}

#[test]
fn a_stopping_app_is_unready_answers_and_still_finishes() {
    let redis = Redis::start();
    let mut runtime = app(&redis, json!({"concurrency": 1})).run();
    redis.publish_all("c.a", ["W2000 first".to_owned(), "second".to_owned()]);
    runtime.wait_for_metric(IN_FLIGHT, &[], 1.0);
    runtime.terminate();
    runtime.unready();
    runtime.scrape().assert_balanced();
    runtime.eventually("it is unsubscribed", || match redis.publish("c.a", "too late") {
        0 => Ok(()),
        _ => Err("still subscribed".to_owned()),
    });
    assert_eq!(runtime.wait(), 0, "{}", runtime.log());
    let texts: Vec<String> = lines(&runtime).into_iter().map(|line| line.text).collect();
    // A message that came while it unsubscribed is handled too.
    assert_eq!(texts[..2], ["W2000 first", "second"]);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let redis = Redis::start();
    let mut runtime = app(&redis, json!({"concurrency": 1})).run();
    redis.publish("c.a", "V9999");
    runtime.wait_for_metric(IN_FLIGHT, &[], 1.0);
    runtime.terminate();
    runtime.wait_for_message("stopping");
    thread::sleep(Duration::from_millis(100));
    let second = Instant::now();
    runtime.terminate();
    runtime.wait_within(Duration::from_secs(5));
    assert!(second.elapsed() < Duration::from_secs(5), "it took {:?}", second.elapsed());
}
