//! The server or the connection is gone, and both sides know it.

use std::{thread, time::Duration};

use spinredis_tests::{
    metrics::{DROPPED, HANDLED, RECEIVED},
    proxy::Proxy,
    redis::Redis,
    watch::Watch,
};

use super::{OUTAGE, RECONNECTS, app, assert_answers, assert_counted, assert_ends_well, assert_unready};

#[test]
fn a_redis_that_is_killed_under_load_and_started_again_is_used_again() {
    let mut redis = Redis::start();
    let runtime = app(redis.trigger()).run();
    let watch = Watch::start(&runtime);
    let before = redis.publish_all("messages", (0..5000).map(|_| "X".to_owned()));
    redis.kill();
    assert_unready(&runtime, "RedisUnreachable", &[&redis.address()]);
    assert_counted(&runtime, "closed");
    redis.start_again();
    runtime.ready();
    let after = redis.publish_all("messages", (0..100).map(|_| "X".to_owned()));
    assert_eq!((before, after), (5000, 100));
    runtime.eventually("what came after is handled", || match runtime.metric(HANDLED, &[]) {
        handled if handled >= 100.0 => Ok(()),
        handled => Err(handled.to_string()),
    });
    assert_answers(&runtime, &redis, "after");

    let (metrics, _) = assert_ends_well(runtime, watch);
    // What the dying server had not sent is lost; what it sent is not.
    let received = metrics.sum(RECEIVED, &[]);
    assert!((101.0..=5101.0).contains(&received), "{received} received");
    assert_eq!(metrics.sum(HANDLED, &[]) + metrics.sum(DROPPED, &[]), received);
    assert_eq!(metrics.sum(RECONNECTS, &[]), 1.0);
    assert!(metrics.sum(OUTAGE, &[]) > 0.0);
}

#[test]
fn a_redis_that_loads_its_data_for_some_seconds_is_used_again() {
    // A key takes 1 ms to load, so 2000 keys take two seconds, in which Redis answers most commands with an error.
    let lines = ["appendonly yes", "appendfsync always", "aof-use-rdb-preamble no", "loading-process-events-interval-bytes 1024"];
    let mut redis = lines.iter().fold(Redis::builder(), |builder, line| builder.line(line)).line("key-load-delay 1000").start();
    let runtime = app(redis.trigger()).run();
    let watch = Watch::start(&runtime);
    assert_answers(&runtime, &redis, "before");
    let _: () = redis.command(&["EVAL", "for n = 1, 2000 do redis.call('SET', 'key' .. n, n) end", "0"]);
    redis.kill();
    redis.start_again();
    assert_eq!(redis.command::<u64>(&["DBSIZE"]), 2000);
    assert_answers(&runtime, &redis, "after");
    let (metrics, _) = assert_ends_well(runtime, watch);
    assert_eq!(metrics.sum(HANDLED, &[]), 2.0);
}

#[test]
fn a_connection_that_is_cut_is_made_again() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port());
    let runtime = app(proxy.trigger()).run();
    let watch = Watch::start(&runtime);
    for round in 1..=5 {
        assert_answers(&runtime, &redis, &format!("round {round}"));
        proxy.cut();
        runtime.wait_for_metric(RECONNECTS, &[], f64::from(round));
    }
    assert_answers(&runtime, &redis, "after");
    let (metrics, _) = assert_ends_well(runtime, watch);
    assert_eq!(metrics.sum(RECEIVED, &[]), 6.0);
}

#[test]
fn a_message_that_was_cut_off_is_not_handled_by_half() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port());
    let runtime = app(proxy.trigger()).run();
    let watch = Watch::start(&runtime);
    assert_answers(&runtime, &redis, "before");
    // In the payload, in its length, in the channel's name, in the number of parts.
    for (round, bytes) in [50_000, 40, 25, 6, 1].into_iter().enumerate() {
        proxy.cut_after(bytes);
        assert_eq!(redis.publish("messages", "p".repeat(100_000)), 1);
        runtime.wait_for_metric(RECONNECTS, &[], round as f64 + 1.0);
        runtime.ready();
    }
    assert_answers(&runtime, &redis, "after");
    let (metrics, _) = assert_ends_well(runtime, watch);
    assert_eq!((metrics.sum(RECEIVED, &[]), metrics.sum(HANDLED, &[])), (2.0, 2.0));
}

#[test]
fn a_connection_that_redis_closes_is_made_again() {
    let redis = Redis::start();
    let runtime = app(redis.trigger()).run();
    let watch = Watch::start(&runtime);
    assert_answers(&runtime, &redis, "before");
    assert_eq!(redis.command::<u64>(&["CLIENT", "KILL", "TYPE", "pubsub"]), 1);
    runtime.wait_for_metric(RECONNECTS, &[], 1.0);
    assert_answers(&runtime, &redis, "after");
    assert_ends_well(runtime, watch);
}

#[test]
fn the_server_that_takes_over_behind_the_same_address_is_found() {
    let mut first = Redis::start();
    let second = Redis::start();
    let proxy = Proxy::before(first.port());
    let runtime = app(proxy.trigger()).run();
    let watch = Watch::start(&runtime);
    assert_answers(&runtime, &first, "the first");
    proxy.lead_to(second.port());
    // The address alone changes nothing for a connection that lives.
    assert_answers(&runtime, &first, "still the first");
    first.kill();
    runtime.wait_for_metric(RECONNECTS, &[], 1.0);
    assert_answers(&runtime, &second, "the second");
    assert_ends_well(runtime, watch);
}

#[test]
fn a_server_that_comes_and_goes_is_not_asked_more_often_than_it_should() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port());
    let runtime = app(proxy.trigger()).run();
    let watch = Watch::start(&runtime);
    let before = proxy.accepted();
    // For three seconds each connection ends as soon as it is there.
    for _ in 0..300 {
        proxy.cut();
        thread::sleep(Duration::from_millis(10));
    }
    let attempts = proxy.accepted() - before;
    assert!((3..=15).contains(&attempts), "{attempts} attempts in three seconds");
    assert_answers(&runtime, &redis, "after");
    assert_ends_well(runtime, watch);
}
