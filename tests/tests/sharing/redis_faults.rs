//! What happens to Redis: the group recovers, and in steady state each message has one owner.

use std::time::Duration;

use serde_json::json;
use spinredis_tests::{metrics::HANDLED, redis::Redis};

use super::replicas::{Replicas, let_it_run, load, rate, shared};

#[test]
fn a_flushall_and_a_lost_script_cost_nothing() {
    let redis = Redis::start();
    let mut replicas = Replicas::of(&shared(redis.trigger(), json!({"concurrency": 8})));
    replicas.add(3);
    let load = load(&redis, rate(), 1);
    for _ in 0..3 {
        let_it_run(Duration::from_millis(700));
        redis.command::<String>(&["FLUSHALL"]);
        let_it_run(Duration::from_millis(300));
        redis.command::<String>(&["SCRIPT", "FLUSH"]);
    }
    let_it_run(Duration::from_secs(1));
    let published = load.finish().messages;
    replicas.accounts(published).assert_exact();
}

#[test]
fn after_a_restart_of_redis_everyone_shares_again() {
    let mut redis = Redis::start();
    let mut replicas = Replicas::of(&shared(redis.trigger(), json!({"concurrency": 8})));
    replicas.add(3);
    redis.publish_all("c.before", (0..300).map(|number| format!("W0001 {number}")));
    replicas.accounts(300).assert_exact();
    for _ in 0..2 {
        redis.kill();
        replicas.all().for_each(|replica| drop(replica.unready()));
        redis.start_again();
        replicas.all().for_each(|replica| replica.ready());
    }
    for replica in replicas.all() {
        replica.wait_for_metric("spinredis_sharing_members", &[], 3.0);
    }
    let again = (300..3_300).map(|number| (["c.a", "c.b", "c.c", "c.d"][number % 4], format!("W0001 {number}")));
    redis.publish_each(again);
    replicas.accounts(3_300).assert_exact();
}

#[test]
fn a_redis_that_stands_still_costs_nobody_its_place() {
    let redis = Redis::start();
    let mut replicas = Replicas::of(&shared(redis.trigger(), json!({"concurrency": 8})));
    replicas.add(3);
    redis.publish_all("c.a", (0..100).map(|number| format!("W0001 {number}")));
    redis.pause();
    // Long enough for several calls that fail, and too short to find the subscriptions' connections half-open.
    let_it_run(Duration::from_secs(4));
    redis.resume();
    replicas.all().for_each(|replica| replica.ready());
    redis.publish_all("c.b", (100..1_000).map(|number| format!("W0001 {number}")));
    let accounts = replicas.accounts(1_000);
    assert!(accounts.lost.is_empty(), "{accounts}");
    assert_eq!(replicas.sum("spinredis_sharing_expulsions_total"), 0.0, "{}", replicas.logs());
    accounts.assert_exact();
}

#[test]
fn a_redis_that_takes_no_writes_for_a_while_costs_nobody_its_place_nor_any_message() {
    let redis = Redis::start();
    let mut replicas = Replicas::of(&shared(redis.trigger(), json!({"concurrency": 8})));
    replicas.add(3);
    let load = load(&redis, rate(), 1);
    for _ in 0..2 {
        redis.command::<String>(&["CONFIG", "SET", "maxmemory", "1"]);
        let_it_run(Duration::from_secs(5));
        redis.command::<String>(&["CONFIG", "SET", "maxmemory", "0"]);
        let_it_run(Duration::from_secs(2));
    }
    let published = load.finish().messages;
    let accounts = replicas.accounts(published);
    assert_eq!(replicas.sum("spinredis_sharing_expulsions_total"), 0.0, "{}", replicas.logs());
    accounts.assert_exact();
}

#[test]
fn strangers_on_the_control_channel_are_ignored_and_counted() {
    let redis = Redis::start();
    let mut replicas = Replicas::of(&shared(redis.trigger(), json!({"concurrency": 8})));
    replicas.add(2);
    let channels: Vec<String> = redis.command(&["PUBSUB", "CHANNELS", "spinredis:tests/app:*"]);
    let control = channels[0].as_str();
    let forged = "0123456789012345678901234567890123456789\nepoch 99\nmember stranger set\n";
    let load = load(&redis, rate(), 1);
    for _ in 0..20 {
        redis.publish_all(control, (0..500).map(|number| if number % 2 == 0 { forged.to_owned() } else { "x".repeat(number) }));
    }
    // Fields that nobody of ours wrote.
    redis.command::<u64>(&["HSET", control, "m:stranger", "nonsense", "m:other", "99999999999999 in set 9 9:9", "epoch", "none"]);
    let_it_run(Duration::from_secs(2));
    let published = load.finish().messages;
    replicas.accounts(published).assert_exact();
    assert_eq!(replicas.sum("spinredis_sharing_ignored_total"), 2.0 * 10_000.0);
    assert_eq!(replicas.sum(HANDLED), published as f64);
}
