//! Redis gives the client up because the client takes its messages too slowly.

use spinredis_tests::{
    metrics::{HANDLED, RECEIVED},
    proxy::Proxy,
    redis::Redis,
    watch::Watch,
};

use super::{OUTAGE, RECONNECTS, app, app_with, assert_answers, assert_ends_well};

#[test]
fn a_client_whose_output_buffer_overflows_is_subscribed_again() {
    let redis = Redis::builder().line("client-output-buffer-limit pubsub 1mb 1mb 1").start();
    let proxy = Proxy::before(redis.port());
    let runtime = app(proxy.trigger()).run();
    let watch = Watch::start(&runtime);
    assert_answers(&runtime, &redis, "before");
    proxy.stall();
    // The system's own buffers take some megabytes before those of Redis grow.
    let mut delivered = 1;
    let given_up = (0..256).any(|_| {
        let bundle = redis.publish_all("messages", (0..8).map(|_| "X".repeat(64 << 10)));
        delivered += bundle;
        bundle < 8
    });
    assert!(given_up, "Redis keeps 128 MB for a client that may have 1 MB");
    assert!(delivered > 8, "it was given up at once");
    proxy.open();
    runtime.wait_for_metric(RECONNECTS, &[], 1.0);
    assert_answers(&runtime, &redis, "after");

    let (metrics, _) = assert_ends_well(runtime, watch);
    let received = metrics.sum(RECEIVED, &[]);
    assert!(received <= delivered as f64 + 1.0, "{received} received of {delivered} and one");
    assert!(metrics.sum(OUTAGE, &[]) > 0.0);
}

#[test]
fn a_guest_that_takes_long_never_makes_redis_give_the_client_up() {
    let redis = Redis::builder().line("client-output-buffer-limit pubsub 4mb 4mb 1").start();
    let runtime = app_with(redis.trigger(), serde_json::json!({"channels": ["messages"], "concurrency": 1})).run();
    let watch = Watch::start(&runtime);
    runtime.ready();
    assert_eq!(redis.publish("messages", "V9999"), 1);
    // Far more than all buffers on the way take, while the guest is at its first message.
    for round in 1..=32 {
        assert_eq!(redis.publish_all("messages", (0..32).map(|_| "X".repeat(64 << 10))), 32, "{}", runtime.log());
        runtime.wait_for_metric(RECEIVED, &[], f64::from(round) * 32.0 + 1.0);
    }
    let metrics = runtime.scrape();
    metrics.assert_balanced();
    assert_eq!(metrics.sum(HANDLED, &[]), 0.0, "the guest was faster than Redis, which tests nothing");
    assert_eq!(metrics.sum(RECONNECTS, &[]), 0.0);
    let seen = watch.finish();
    assert!(seen.peak < 64 << 20, "{} bytes of memory for a queue of 8 MiB", seen.peak);
}
