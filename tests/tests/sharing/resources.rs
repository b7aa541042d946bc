//! Replicas that the kernel takes memory and processors from, and one whose clock is wrong.

use std::{thread, time::Duration};

use serde_json::json;
use spinredis_tests::{cgroup::Cgroup, clock, redis::Redis, wait::eventually};

use super::replicas::{Replicas, let_it_run, load, rate, shared, soon_missed};

/// More than a replica needs, and less than the guest takes that fills its memory.
const MEMORY: u64 = 400 << 20;

#[test]
fn a_message_that_takes_all_memory_is_a_dead_letter_after_two_replicas_were_killed_for_it() {
    let redis = Redis::start();
    let more = json!({"concurrency": 8, "memoryLimit": "2Gi", "deadLetter": {"stream": "dead"}});
    let mut replicas = Replicas::of(&soon_missed(shared(redis.trigger(), more)));
    let pods = replicas.add(4);
    let groups: Vec<Cgroup> = pods.iter().map(|_| Cgroup::new()).collect();
    for (pod, group) in pods.iter().zip(&groups) {
        group.add(replicas.get(pod).id());
        group.limit_memory(MEMORY);
    }
    let load = load(&redis, rate() / 2, 1);
    let_it_run(Duration::from_millis(500));
    redis.publish("c.greedy", "O this takes all there is");
    eventually("it is a dead letter", || match redis.stream("dead").len() {
        0 => Err(replicas.logs()),
        _ => Ok(()),
    });
    let_it_run(Duration::from_millis(500));
    let published = load.finish().messages;
    let dead = replicas.dead();
    // One more only if it was among many that had waited too long to be tried alone.
    assert!((2..=3).contains(&dead.len()), "{dead:?} were killed\n{}", replicas.logs());
    let letters = redis.stream("dead");
    assert_eq!(letters[0]["reason"], b"crash");
    assert!(letters[0]["payload"].starts_with(b"O"), "{letters:?}");
    let accounts = replicas.accounts(published);
    // An innocent message may be the one that is named when its replica is killed for another; it is a dead letter then.
    let blamed: Vec<&[u8]> = letters[1..].iter().map(|letter| &*letter["payload"]).collect();
    assert!(accounts.lost.is_empty() && blamed.len() <= 1, "{accounts}, {blamed:?}");
}

#[test]
fn a_replica_without_processor_time_holds_nothing_up_and_comes_back() {
    let redis = Redis::start();
    let mut replicas = Replicas::of(&soon_missed(shared(redis.trigger(), json!({"concurrency": 8}))));
    let pods = replicas.add(3);
    let group = Cgroup::new();
    group.add(replicas.get(&pods[0]).id());
    let load = load(&redis, rate(), 1);
    let_it_run(Duration::from_millis(500));
    group.limit_cpu(Some(1));
    let_it_run(Duration::from_secs(4));
    group.limit_cpu(None);
    replicas.get(&pods[0]).ready();
    let_it_run(Duration::from_secs(1));
    let published = load.finish().messages;
    let accounts = replicas.accounts(published);
    assert!(accounts.lost.is_empty(), "{accounts}\n{}", replicas.logs());
    assert!(accounts.twice.len() < rate() as usize, "{accounts}");
}

#[test]
fn clocks_that_are_an_hour_off_change_nothing() {
    let redis = Redis::start();
    let mut replicas = Replicas::of(&soon_missed(shared(redis.trigger(), json!({"concurrency": 8}))));
    let right = replicas.add(2);
    let ahead = replicas.add_with(|command| clock::off_by(command, "+1h"));
    replicas.add_with(|command| clock::off_by(command, "-1h"));
    let load = load(&redis, rate(), 1);
    let_it_run(Duration::from_secs(2));
    replicas.stop(&[right[0].clone()]);
    replicas.add_with(|command| clock::off_by(command, "+61m"));
    thread::yield_now();
    let before = load.finish().messages;
    replicas.accounts(before).assert_exact();
    assert_eq!(replicas.sum("spinredis_sharing_expulsions_total"), 0.0, "{}", replicas.logs());
    // One that dies is missed as soon as any other.
    replicas.kill(&ahead);
    for replica in replicas.all() {
        replica.wait_for_metric("spinredis_sharing_members", &[], 3.0);
    }
}
