//! Replicas that die, stop and come back: nothing is lost, and what is handled twice is within bounds and counted.

use std::time::Duration;

use serde_json::json;
use spinredis_tests::{redis::Redis, wait::eventually};

use super::replicas::{Replicas, let_it_run, load, rate, shared, soon_missed};

/// The defaults.
const BEAT: Duration = Duration::from_millis(200);

#[test]
fn a_replica_that_is_killed_loses_nothing_and_repeats_no_more_than_since_its_last_word() {
    let redis = Redis::start();
    let mut replicas = Replicas::of(&soon_missed(shared(redis.trigger(), json!({"concurrency": 8}))));
    let pods = replicas.add(3);
    let load = load(&redis, rate(), 1);
    let_it_run(Duration::from_secs(1));
    replicas.kill(&pods[0]);
    let_it_run(Duration::from_secs(2));
    let published = load.finish().messages;
    let accounts = replicas.accounts(published);
    // A third of what comes in a beat and while it was being told, on a machine that is busy.
    let most = f64::from(rate()) * BEAT.as_secs_f64() * 3.0;
    assert!((accounts.twice.len() as f64) < most, "{accounts}");
    let replayed = replicas.sum("spinredis_sharing_replayed_total");
    assert!(replayed > 0.0 && replayed >= accounts.twice.len() as f64, "{replayed} replayed, {accounts}");
}

#[test]
fn one_slow_message_does_not_make_all_later_ones_be_handled_twice() {
    let redis = Redis::start();
    let mut replicas = Replicas::of(&soon_missed(shared(redis.trigger(), json!({"concurrency": 8}))));
    replicas.add(3);
    redis.publish("c.slow", "V5000");
    let holder = eventually("somebody has it in hand", || replicas.holders().pop().ok_or_else(|| replicas.logs()));
    let load = load(&redis, rate(), 1);
    let_it_run(Duration::from_secs(3));
    replicas.kill(&holder);
    let_it_run(Duration::from_secs(1));
    let published = load.finish().messages;
    let accounts = replicas.accounts(published);
    // Of the second before the last beat nothing is done again.
    let most = f64::from(rate()) * BEAT.as_secs_f64() * 3.0;
    assert!(accounts.lost.is_empty() && (accounts.twice.len() as f64) < most, "{accounts}");
}

#[test]
fn what_is_taken_over_finds_room_beside_a_queue_that_is_nearly_full() {
    let redis = Redis::start();
    let component = json!({"concurrency": 2, "ordering": "None", "queue": {"maxBytes": "512Ki"}});
    let mut replicas = Replicas::of(&soon_missed(shared(redis.trigger(), component)));
    let pods = replicas.add(2);
    // Of some 1,290 that a queue may hold each gets 1,200.
    redis.publish_all("c.one", (0..2_400).map(|number| format!("W0010 {number}")));
    replicas.kill(&pods[0]);
    let accounts = replicas.accounts(2_400);
    assert!(accounts.lost.is_empty(), "{accounts}");
    assert!(replicas.sum("spinredis_sharing_replayed_total") > 800.0, "the queue would have been too small");
    assert_eq!(replicas.sum("spinredis_messages_dropped_total"), 0.0);
}

#[test]
fn a_replica_that_stood_still_begins_nothing_that_others_have_taken_over() {
    let redis = Redis::start();
    let mut replicas = Replicas::of(&soon_missed(shared(redis.trigger(), json!({"concurrency": 4}))));
    let pods = replicas.add(3);
    let load = load(&redis, rate(), 1);
    let_it_run(Duration::from_secs(1));
    replicas.signal(&pods[0], "STOP");
    let_it_run(Duration::from_secs(3));
    replicas.signal(&pods[0], "CONT");
    replicas.get(&pods[0]).wait_for_message("this replica was silent for too long");
    replicas.get(&pods[0]).ready();
    let_it_run(Duration::from_secs(1));
    let published = load.finish().messages;
    let accounts = replicas.accounts(published);
    assert!(accounts.twice.len() < (f64::from(rate()) * BEAT.as_secs_f64() * 3.0) as usize, "{accounts}");
    assert!(replicas.sum("spinredis_sharing_expulsions_total") >= 1.0);
}

#[test]
fn what_a_replica_had_queued_when_it_stood_still_is_left_to_those_who_took_it_over() {
    let redis = Redis::start();
    let mut replicas = Replicas::of(&soon_missed(shared(redis.trigger(), json!({"concurrency": 4, "ordering": "None"}))));
    let pods = replicas.add(3);
    // Each has some thousand messages, of which it handles two hundred in a second.
    redis.publish_all("c.one", (0..3_000).map(|number| format!("W0020 {number}")));
    let_it_run(Duration::from_secs(1));
    replicas.signal(&pods[0], "STOP");
    let_it_run(Duration::from_secs(3));
    replicas.signal(&pods[0], "CONT");
    let accounts = replicas.accounts(3_000);
    // What was in hand, and what was finished since the last beat.
    assert!(accounts.twice.len() < 200, "{accounts}");
    let moved = replicas.get(&pods[0]).metric("spinredis_messages_dropped_total", &[("reason", "moved")]);
    assert!(moved > 300.0, "{moved} messages were left to others");
}

#[test]
fn a_connection_that_is_cut_costs_nothing() {
    let redis = Redis::start();
    let mut replicas = Replicas::of(&shared(redis.trigger(), json!({"concurrency": 8})));
    let pods = replicas.add(3);
    let load = load(&redis, rate(), 1);
    let_it_run(Duration::from_secs(1));
    let clients: String = redis.command(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    let line = clients.lines().find(|line| line.contains(&format!("/{} ", pods[0]))).unwrap();
    let id = line.split(' ').find_map(|word| word.strip_prefix("id=")).unwrap();
    redis.command::<u64>(&["CLIENT", "KILL", "ID", id]);
    eventually("it has come back", || match replicas.get(&pods[0]).metric("spinredis_sharing_cuts_total", &[]) {
        0.0 => Err("it was not cut".to_owned()),
        _ => Ok(()),
    });
    replicas.get(&pods[0]).ready();
    let_it_run(Duration::from_secs(1));
    let published = load.finish().messages;
    replicas.accounts(published).assert_exact();
}

#[test]
fn letters_that_are_left_in_advance_push_no_other_letter_out() {
    let redis = Redis::start();
    let more = json!({"concurrency": 4, "ordering": "None", "deadLetter": {"stream": "dead", "maxLength": 3}});
    let mut replicas = Replicas::of(&soon_missed(shared(redis.trigger(), more)));
    let pods = replicas.add(2);
    redis.publish_all("c.one", (0..3).map(|number| format!("J {number}")));
    let there_are_three = |what: &str| {
        eventually(what, || match redis.stream("dead").len() {
            3 => Ok(()),
            letters => Err(letters.to_string()),
        });
    };
    there_are_three("there are three letters");
    redis.publish_all("c.one", (0..60).map(|number| format!("W0100 {number}")));
    replicas.kill(&pods[0]);
    replicas.accounts(60);
    assert!(replicas.sum("spinredis_sharing_replayed_total") > 3.0);
    there_are_three("what was left in advance is taken back");
}

#[test]
fn a_message_that_has_its_letter_in_advance_gets_no_second_one_when_the_time_to_drain_is_up() {
    let redis = Redis::start();
    let more = json!({
        "retry": {"maxAttempts": 5, "initialBackoff": "1h", "maxBackoff": "1h"},
        "deadLetter": {"stream": "dead"},
    });
    let mut manifest = soon_missed(shared(redis.trigger(), more));
    manifest["spec"]["drain"] = json!("1s");
    let mut replicas = Replicas::of(&manifest);
    let pods = replicas.add(2);
    redis.publish("c.one", "F9 1");
    let is_waiting = |replicas: &Replicas, pod: &str| replicas.get(pod).metric("spinredis_messages_retrying", &[]) == 1.0;
    let holder = eventually("it waits for its next attempt", || {
        pods.iter().find(|pod| is_waiting(&replicas, pod)).cloned().ok_or_else(|| replicas.logs())
    });
    replicas.kill(&holder);
    let heir = pods.into_iter().find(|pod| *pod != holder).unwrap();
    eventually("it waits at the other replica", || if is_waiting(&replicas, &heir) { Ok(()) } else { Err(replicas.logs()) });
    assert_eq!(redis.stream("dead").len(), 1, "left in advance");
    replicas.stop(&[heir]);
    assert_eq!(redis.stream("dead").len(), 1, "{:?}", redis.stream("dead"));
}

#[test]
fn a_message_that_kills_whoever_handles_it_becomes_a_dead_letter_and_the_others_do_not() {
    // Three attempts are permitted; of two replicas nobody else has the message after the second.
    for (replicas, kills) in [(4, 3), (2, 2)] {
        poison(replicas, kills);
    }
}

fn poison(count: usize, kills: usize) {
    let redis = Redis::start();
    let more = json!({"concurrency": 4, "retry": {"maxAttempts": 3}, "deadLetter": {"stream": "dead"}});
    let mut replicas = Replicas::of(&soon_missed(shared(redis.trigger(), more)));
    replicas.add(count);
    redis.publish_all("c.good", (0..50).map(|number| format!("W0005 {number}")));
    replicas.accounts(50).assert_exact();
    // It takes long enough to be seen in hand; whoever has it is killed, as if it had brought the process down.
    redis.publish("c.poison", "V9999 poison");
    let mut killed = 0;
    loop {
        let holder = eventually("somebody has the message in hand, or it is a dead letter", || {
            // In this order: a letter in advance is there for as long as somebody has the message in hand.
            let letters = redis.stream("dead").len();
            match (replicas.holders().into_iter().next(), letters) {
                // The last one that has it leaves its letter first.
                (Some(holder), letters) if killed + 1 < count || letters == 1 => Ok(Some(holder)),
                (Some(_), _) => Err("its letter in advance is on its way".to_owned()),
                (None, 0) => Err(format!("nobody has it\n{}", replicas.logs())),
                (None, _) => Ok(None),
            }
        });
        let Some(holder) = holder else { break };
        replicas.kill(&holder);
        killed += 1;
        replicas.add(1);
    }
    assert_eq!(killed, kills, "{}", replicas.logs());
    let letters = redis.stream("dead");
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!((letters[0]["payload"].as_slice(), letters[0]["reason"].as_slice()), (&b"V9999 poison"[..], &b"crash"[..]));
    let accounts = replicas.accounts(50);
    assert!(accounts.lost.is_empty(), "{accounts}");
}

impl Replicas {
    /// The pods that have one message in hand, and no other.
    fn holders(&self) -> Vec<String> {
        let all = self.pods();
        all.into_iter()
            .filter(|pod| {
                self.get(pod).metric("spinredis_messages_in_flight", &[]) == 1.0
                    && self.get(pod).metric("spinredis_messages_queued", &[]) == 0.0
            })
            .collect()
    }
}
