//! The connection is there and nothing comes: the server is stopped, the network swallows everything, or is slow.

use std::time::{Duration, Instant};

use spinredis_tests::{
    metrics::{HANDLED, RECEIVED},
    proxy::Proxy,
    redis::Redis,
    watch::Watch,
};

use super::{OUTAGE, RECONNECTS, app, assert_answers, assert_counted, assert_ends_well, assert_unready};

/// In which a half-open connection must be found: the runtime's bound of 6 s and some seconds for a busy machine.
const FOUND_WITHIN: Duration = Duration::from_secs(12);

#[test]
fn a_redis_that_hangs_is_noticed_within_seconds_and_used_again_when_it_goes_on() {
    let redis = Redis::start();
    let runtime = app(redis.trigger()).run();
    let watch = Watch::start(&runtime);
    assert_answers(&runtime, &redis, "before");
    redis.pause();
    let paused = Instant::now();
    assert_unready(&runtime, "RedisUnreachable", &[&redis.address(), "half-open"]);
    assert!(paused.elapsed() < FOUND_WITHIN, "found after {:?}", paused.elapsed());
    assert_counted(&runtime, "silent");
    redis.resume();
    assert_answers(&runtime, &redis, "after");
    let (metrics, _) = assert_ends_well(runtime, watch);
    assert_eq!(metrics.sum(HANDLED, &[]), 2.0);
    assert!(metrics.sum(OUTAGE, &[]) > 0.0);
}

#[test]
fn a_network_that_swallows_everything_is_noticed_within_seconds() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port());
    let runtime = app(proxy.trigger()).run();
    let watch = Watch::start(&runtime);
    assert_answers(&runtime, &redis, "before");
    proxy.stall();
    let stalled = Instant::now();
    assert_unready(&runtime, "RedisUnreachable", &[&proxy.address(), "half-open"]);
    assert!(stalled.elapsed() < FOUND_WITHIN, "found after {:?}", stalled.elapsed());
    // New connections are accepted and hear nothing either; it is tried again, and each try ends.
    let tried = proxy.accepted();
    runtime.eventually("it is tried again", || if proxy.accepted() > tried + 1 { Ok(()) } else { Err(proxy.accepted().to_string()) });
    proxy.open();
    assert_answers(&runtime, &redis, "after");
    assert_ends_well(runtime, watch);
}

#[test]
fn the_server_that_takes_over_from_one_that_hangs_is_found() {
    let (first, second) = (Redis::start(), Redis::start());
    let proxy = Proxy::before(first.port());
    let runtime = app(proxy.trigger()).run();
    let watch = Watch::start(&runtime);
    assert_answers(&runtime, &first, "the first");
    first.pause();
    proxy.lead_to(second.port());
    let paused = Instant::now();
    runtime.wait_for_metric(RECONNECTS, &[], 1.0);
    assert!(paused.elapsed() < FOUND_WITHIN, "found after {:?}", paused.elapsed());
    assert_answers(&runtime, &second, "the second");
    first.resume();
    assert_ends_well(runtime, watch);
}

#[test]
fn a_message_that_comes_byte_by_byte_is_waited_for() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port());
    let runtime = app(proxy.trigger()).run();
    let watch = Watch::start(&runtime);
    assert_answers(&runtime, &redis, "before");
    // It takes longer than the connection may be silent; but it is not silent.
    proxy.trickle(1, Duration::from_millis(8));
    let started = Instant::now();
    let long = "long ".repeat(180);
    assert_eq!(redis.publish("messages", &long), 1);
    runtime.wait_for_metric(HANDLED, &[], 2.0);
    assert!(started.elapsed() > Duration::from_secs(7), "900 bytes took only {:?}", started.elapsed());
    proxy.open();
    assert_answers(&runtime, &redis, "after");
    let (metrics, _) = assert_ends_well(runtime, watch);
    assert_eq!((metrics.sum(RECEIVED, &[]), metrics.sum(RECONNECTS, &[])), (3.0, 0.0));
}

#[test]
fn signing_in_byte_by_byte_works() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port());
    proxy.trickle(20, Duration::from_millis(1));
    let runtime = app(proxy.trigger()).run();
    let watch = Watch::start(&runtime);
    assert_answers(&runtime, &redis, "slowly");
    assert_ends_well(runtime, watch);
}
