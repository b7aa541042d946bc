//! Replicas come and go while messages do: none is lost, none is handled twice, and channels keep their order.

use std::time::Duration;

use serde_json::json;
use spinredis_tests::{redis::Redis, wait::eventually};

use super::replicas::{Handled, Replicas, assert_in_order, let_it_run, load, rate, shared};

#[test]
fn one_replica_becomes_five_and_then_two_and_each_message_is_handled_once_in_its_order() {
    let redis = Redis::start();
    let mut replicas = Replicas::of(&shared(redis.trigger(), json!({"concurrency": 8})));
    replicas.add(1);
    let load = load(&redis, rate(), 1);
    let_it_run(Duration::from_secs(1));
    let more = replicas.add(4);
    let_it_run(Duration::from_secs(1));
    replicas.stop(&more[..3]);
    let_it_run(Duration::from_secs(1));
    let published = load.finish().messages;
    replicas.accounts(published).assert_exact();
    assert_in_order(&replicas.handled());
    assert_eq!(replicas.sum("spinredis_sharing_replayed_total"), 0.0);
    let shares: Vec<f64> = replicas.all().map(|replica| replica.metric("spinredis_messages_handled_total", &[])).collect();
    assert!(shares.iter().all(|share| *share > 0.0), "{shares:?}");
}

#[test]
fn messages_without_an_order_are_split_within_one_channel() {
    let redis = Redis::start();
    let mut replicas = Replicas::of(&shared(redis.trigger(), json!({"concurrency": 4, "ordering": "None"})));
    replicas.add(3);
    redis.publish_all("c.one", (0..3_000).map(|number| format!("{number}")));
    replicas.accounts(3_000).assert_exact();
    for replica in replicas.all() {
        let share = replica.metric("spinredis_messages_handled_total", &[]);
        assert!((800.0..1200.0).contains(&share), "{share} of 3000");
    }
}

#[test]
fn a_rollout_with_other_channels_loses_nothing_of_those_that_stay() {
    let redis = Redis::start();
    let old = shared(redis.trigger(), json!({"patterns": ["c.*", "old.*"], "concurrency": 8}));
    let new = shared(redis.trigger(), json!({"patterns": ["c.*", "new.*"], "concurrency": 8}));
    let mut replicas = Replicas::of(&old);
    let mut before = replicas.add(3);
    let load = load(&redis, rate(), 1);
    replicas.edit(&new);
    while let Some(pod) = before.pop() {
        replicas.add(1);
        replicas.stop(&[pod]);
    }
    let_it_run(Duration::from_millis(500));
    let published = load.finish().messages;
    replicas.accounts(published).assert_exact();
    assert_in_order(&replicas.handled());
}

#[test]
fn another_database_in_the_address_makes_no_other_group_and_needs_no_right() {
    let redis = Redis::start();
    let more = json!({"concurrency": 8, "ordering": "None"});
    let in_database = |database: u8| shared(json!({"address": format!("{}/{database}", redis.address())}), more.clone());
    redis.command::<String>(&["ACL", "SETUSER", "default", "-select"]);
    let mut replicas = Replicas::of(&in_database(0));
    let old = replicas.add(1);
    replicas.edit(&in_database(1));
    replicas.add(1);
    redis.publish_all("c.one", (0..500).map(|number| number.to_string()));
    replicas.stop(&old);
    redis.publish_all("c.one", (500..1_000).map(|number| number.to_string()));
    replicas.accounts(1_000).assert_exact();
}

#[test]
fn a_slow_message_holds_up_its_own_channel_and_no_other_whoever_joins_meanwhile() {
    let redis = Redis::start();
    let mut replicas = Replicas::of(&shared(redis.trigger(), json!({"concurrency": 4})));
    replicas.add(1);
    // Some twenty seconds of it, however long the others take to come.
    redis.publish("c.slow", "W9999 0");
    redis.publish("c.slow", "W9999 1001");
    // Of what was before they came each of these knows less than the one before it.
    let joined: Vec<String> = (0..3).flat_map(|_| replicas.add(1)).collect();
    for channel in 0..40 {
        redis.publish_all(&format!("c.{channel}"), (0..25).map(|number| (1 + channel * 25 + number).to_string()));
    }
    let of_slow = |handled: &[Handled]| handled.iter().filter(|one| one.channel == "c.slow").count();
    eventually("all other channels are handled", || {
        let handled = replicas.handled();
        if handled.len() - of_slow(&handled) == 1_000 { Ok(()) } else { Err(handled.len().to_string()) }
    });
    assert!(of_slow(&replicas.handled()) < 2, "they had to wait for the slow ones");
    assert_eq!(replicas.sum("spinredis_sharing_held"), 0.0);
    for pod in &joined {
        assert!(replicas.get(pod).metric("spinredis_messages_handled_total", &[]) > 0.0);
    }
    replicas.accounts(1_002).assert_exact();
}

#[test]
fn what_no_other_replica_has_received_is_not_handed_over_but_kept() {
    let redis = Redis::start();
    let mut manifest = shared(redis.trigger(), json!({"concurrency": 1, "ordering": "None", "deadLetter": {"stream": "dead"}}));
    manifest["spec"]["drain"] = json!("1s");
    let mut replicas = Replicas::of(&manifest);
    let first = replicas.add(1).remove(0);
    redis.publish_all("c.one", (0..40).map(|number| format!("W0200 {number}")));
    // It comes too late for those.
    replicas.add(1);
    replicas.stop(&[first]);
    let handled = replicas.handled().len();
    assert_eq!(handled + redis.stream("dead").len(), 40, "{}", replicas.logs());
    assert!(handled < 40);
}

#[test]
fn a_stop_hands_over_what_there_is_no_time_for() {
    let redis = Redis::start();
    let mut manifest = shared(redis.trigger(), json!({"concurrency": 1, "ordering": "None"}));
    manifest["spec"]["drain"] = json!("1s");
    let mut replicas = Replicas::of(&manifest);
    let first = replicas.add(2).remove(0);
    redis.publish_all("c.one", (0..40).map(|number| format!("W0200 {number}")));
    replicas.stop(&[first]);
    let accounts = replicas.accounts(40);
    // The one that was in hand when the time was up.
    assert!(accounts.twice.len() <= 1, "{accounts}");
    assert!(replicas.sum("spinredis_sharing_replayed_total") > 0.0);
}
