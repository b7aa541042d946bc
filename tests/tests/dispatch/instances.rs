//! Which instance gets a message: a fresh one, one that was made before, or one that may be used again.

use serde_json::{Value, json};
use spinredis_tests::{app::App, guests::source, metrics::HANDLED, redis::Redis, runtime::Runtime, watch::Watch};

use super::{app, assert_ends_well, component, wait_for_lines};

/// How often the instance of each line was called. `texts` are published one after the other on one channel.
fn calls(redis: &Redis, runtime: &Runtime, texts: &[&str]) -> Vec<u32> {
    redis.publish_all("c.a", texts.iter().map(|text| (*text).to_owned()));
    wait_for_lines(runtime, texts.len()).iter().map(|line| line.calls).collect()
}

#[test]
fn each_message_meets_a_fresh_instance() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"concurrency": 1})).run();
    let watch = Watch::start(&runtime);
    assert_eq!(calls(&redis, &runtime, &["a"; 20]), [1; 20]);
    assert_ends_well(runtime, watch);
}

#[test]
fn an_instance_is_used_as_often_as_it_may_be_and_no_more() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"concurrency": 1, "instances": {"maxReuse": 5}})).run();
    let watch = Watch::start(&runtime);
    assert_eq!(calls(&redis, &runtime, &["a"; 12]), [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2]);
    assert_ends_well(runtime, watch);
}

#[test]
fn instances_that_are_used_again_serve_one_message_at_a_time() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"concurrency": 4, "instances": {"maxReuse": 1000}})).run();
    let watch = Watch::start(&runtime);
    let channels: Vec<String> = (0..200).map(|n| format!("c.{}", n % 20)).collect();
    redis.publish_each(channels.iter().map(|channel| (channel.as_str(), "W0002".to_owned())));
    let lines = wait_for_lines(&runtime, 200);
    // The guest counts in its memory: n instances have n lines for each count that all of them reached.
    let fresh = lines.iter().filter(|line| line.calls == 1).count();
    assert!((1..=4).contains(&fresh), "{fresh} instances for a concurrency of 4");
    for line in &lines {
        let same = lines.iter().filter(|other| other.calls == line.calls).count();
        assert!(same <= fresh, "call {} was made {same} times by {fresh} instances", line.calls);
    }
    assert_ends_well(runtime, watch);
}

#[test]
fn an_instance_that_trapped_is_not_used_again() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"concurrency": 1, "instances": {"maxReuse": 100}})).run();
    let watch = Watch::start(&runtime);
    assert_eq!(calls(&redis, &runtime, &["a", "b", "T", "c", "d"]), [1, 2, 3, 1, 2]);
    assert_ends_well(runtime, watch);
}

#[test]
fn an_instance_that_missed_its_deadline_is_not_used_again() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"concurrency": 1, "timeout": "500ms", "instances": {"maxReuse": 100}})).run();
    let watch = Watch::start(&runtime);
    // One loops in the guest, one waits in the host.
    assert_eq!(calls(&redis, &runtime, &["a", "L", "b"]), [1, 2, 1]);
    redis.publish("c.a", "V5000");
    redis.publish("c.a", "c");
    assert_eq!(wait_for_lines(&runtime, 4)[3].calls, 1);
    assert_ends_well(runtime, watch);
}

#[test]
fn an_instance_that_reached_its_memory_limit_is_not_used_again() {
    let redis = Redis::start();
    let more = json!({"concurrency": 1, "memoryLimit": "16Mi", "instances": {"maxReuse": 100}});
    let runtime = app(&redis, more).run();
    let watch = Watch::start(&runtime);
    // One traps for it; the other is content, but what comes next would find no memory.
    assert_eq!(calls(&redis, &runtime, &["a", "M", "b", "G", "c", "d"]), [1, 2, 1, 2, 1, 2]);
    assert_ends_well(runtime, watch);
}

#[test]
fn an_instance_whose_handler_returned_an_error_may_be_used_again() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"concurrency": 1, "instances": {"maxReuse": 100}})).run();
    let watch = Watch::start(&runtime);
    assert_eq!(calls(&redis, &runtime, &["a", "J", "F9", "b"]), [1, 2, 3, 4]);
    assert_ends_well(runtime, watch);
}

#[test]
fn warm_instances_are_there_before_messages_are_and_are_used_once() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"concurrency": 4, "instances": {"warm": 4}})).run();
    let watch = Watch::start(&runtime);
    let warm = [("component", "c"), ("state", "warm")];
    runtime.wait_for_metric("spinredis_instances", &warm, 4.0);
    assert_eq!(calls(&redis, &runtime, &["a"; 20]), [1; 20]);
    // Those that were used are replaced.
    runtime.wait_for_metric("spinredis_instances", &warm, 4.0);
    assert_ends_well(runtime, watch);
}

#[test]
fn a_changed_value_is_seen_by_the_next_message_however_instances_are_kept() {
    for instances in [json!({}), json!({"warm": 2}), json!({"maxReuse": 20}), json!({"warm": 2, "maxReuse": 20})] {
        let redis = Redis::start();
        let value: Value = json!({"configMapKeyRef": {"name": "settings", "key": "greeting"}});
        let more = json!({
            "source": source("env.wat"),
            "env": [{"name": "GREETING", "valueFrom": value}],
            "instances": instances,
        });
        let app = App::new(redis.trigger(), json!([component("c", more)])).with("configmap/settings/greeting", "hello");
        let runtime = app.run();
        redis.publish("c.a", "");
        runtime.wait_for_guest("c", "GREETING=hello");
        runtime.wait_for_metric(HANDLED, &[], 1.0);
        app.set("configmap/settings/greeting", "good evening");
        // An instance that was made before keeps what it has; those of now are made one after the other.
        runtime.eventually("the changed value is seen", || {
            redis.publish("c.a", "");
            let seen = runtime.guest_lines("c").iter().any(|line| line == "GREETING=good evening");
            if seen { Ok(()) } else { Err(format!("instances: {instances}")) }
        });
    }
}
