//! What cannot be: said in a sentence, in log and status, with what to do.

use serde_json::{Value, json};
use spinredis_tests::redis::Redis;

use super::replicas::{Replicas, shared};

fn trigger_as(redis: &Redis, user: &str) -> Value {
    let address = redis.address().replace("redis://", &format!("redis://{user}:secret@"));
    json!({"address": address})
}

/// A Redis where `anna` has these rights beside her password, and a replica that signs in as her.
fn replica_with(rights: &str) -> (Redis, Replicas, String) {
    let redis = Redis::builder().line(&format!("user anna on >secret {rights}")).start();
    let mut replicas = Replicas::of(&shared(trigger_as(&redis, "anna"), json!({})));
    let pod = replicas.start(1).remove(0);
    (redis, replicas, pod)
}

#[test]
fn a_user_with_the_rights_that_the_docs_name_can_share() {
    let rights = "resetchannels &c.* ~spinredis:tests/app:* &spinredis:tests/app:* -@all +ping +info +client|setname +subscribe +psubscribe \
                  +unsubscribe +punsubscribe +quit +eval +evalsha +time +hgetall +hset +hdel +pexpire +publish";
    let (redis, mut replicas, pod) = replica_with(rights);
    replicas.get(&pod).ready();
    replicas.add(1);
    redis.publish_all("c.one", (0..100).map(|number| number.to_string()));
    replicas.accounts(100).assert_exact();
    // What is tried after a crash is told with the same rights.
    redis.publish_each((100..140).map(|number| (["c.a", "c.b", "c.c", "c.d"][number % 4], format!("W0100 {number}"))));
    replicas.kill(&pod);
    replicas.accounts(140);
    assert!(replicas.sum("spinredis_sharing_replayed_total") > 0.0);
}

#[test]
fn a_redis_that_takes_no_writes_is_named_with_what_to_do_and_everything_goes_on_after_it() {
    let redis = Redis::start();
    let mut replicas = Replicas::of(&shared(redis.trigger(), json!({"concurrency": 8})));
    let pod = replicas.add(1).remove(0);
    redis.command::<String>(&["CONFIG", "SET", "maxmemory", "1"]);
    let message = replicas.get(&pod).wait_for_reason("RedisPermission");
    assert!(message.contains("takes no writes") && message.contains("give it memory"), "{message}");
    redis.command::<String>(&["CONFIG", "SET", "maxmemory", "0"]);
    replicas.get(&pod).ready();
    redis.publish_all("c.one", (0..10).map(|number| number.to_string()));
    replicas.accounts(10).assert_exact();
}

#[test]
fn a_user_who_may_not_run_the_script_is_told_what_to_permit() {
    let (_redis, replicas, pod) = replica_with("allchannels -@all +@connection +@pubsub +info");
    let message = replicas.get(&pod).wait_for_reason("RedisPermission");
    assert!(message.contains("+evalsha") && message.contains("~spinredis:tests/app:*"), "{message}");
}

#[test]
fn whichever_right_is_missing_the_status_says_so_and_nobody_owns_a_share() {
    let rights = ["evalsha", "eval", "time", "info", "hgetall", "hset", "hdel", "pexpire", "publish"];
    let line = |missing: &str| {
        let granted: Vec<String> = rights.iter().filter(|right| **right != missing).map(|right| format!("+{right}")).collect();
        format!(
            "user without-{missing} on >secret resetchannels &c.* ~spinredis:tests/app:* &spinredis:tests/app:* -@all +ping +client|setname \
             +subscribe +psubscribe +unsubscribe +punsubscribe {}",
            granted.join(" ")
        )
    };
    let redis = rights.iter().fold(Redis::builder(), |redis, right| redis.line(&line(right))).start();
    for missing in rights {
        let mut replicas = Replicas::of(&shared(trigger_as(&redis, &format!("without-{missing}")), json!({})));
        let pod = replicas.start(1).remove(0);
        let message = replicas.get(&pod).wait_for_reason("RedisPermission");
        assert!(message.contains("~spinredis:tests/app:* &spinredis:tests/app:* +subscribe +eval"), "without {missing}: {message}");
        assert_eq!(replicas.get(&pod).metric("spinredis_sharing_member", &[]), 0.0, "without {missing}");
        let begun = std::time::Instant::now();
        replicas.stop(&[pod]);
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "it does not wait for a group that it cannot speak to");
    }
}

#[test]
fn a_user_who_comes_to_have_the_right_to_publish_needs_no_restart() {
    let rights =
        "resetchannels &c.* ~spinredis:tests/app:* -@all +@connection +@pubsub +info +eval +evalsha +time +hgetall +hset +hdel +pexpire";
    let (redis, replicas, pod) = replica_with(rights);
    let message = replicas.get(&pod).wait_for_reason("RedisPermission");
    assert!(message.contains("spinredis:tests/app:group") && message.contains("&spinredis:tests/app:*"), "{message}");
    redis.command::<String>(&["ACL", "SETUSER", "anna", "&spinredis:tests/app:*"]);
    replicas.get(&pod).ready();
}

#[test]
fn a_user_who_may_not_hear_the_control_channel_is_told_what_to_permit() {
    let (_redis, replicas, pod) = replica_with("resetchannels &c.* allkeys +@all");
    let message = replicas.get(&pod).wait_for_reason("RedisPermission");
    assert!(message.contains("spinredis:tests/app:group") && message.contains("&spinredis:tests/app:*"), "{message}");
}

#[test]
fn a_cluster_is_refused_with_the_reason() {
    let redis = Redis::builder().line("cluster-enabled yes").start();
    let mut replicas = Replicas::of(&shared(redis.trigger(), json!({})));
    let pod = replicas.start(1).remove(0);
    let message = replicas.get(&pod).wait_for_reason("RedisUnreachable");
    assert!(message.contains("Redis Cluster") && message.contains("EachReplica"), "{message}");
}

#[test]
fn a_replica_without_a_key_to_sign_with_does_not_start() {
    let redis = Redis::start();
    let mut replicas = Replicas::of(&shared(redis.trigger(), json!({})));
    let (_, mut command) = replicas.command();
    let mut runtime = spinredis_tests::runtime::Runtime::start(command.env_remove("SPINREDIS_GROUP_KEY"));
    assert_eq!(runtime.wait(), 1);
    assert!(runtime.log().contains("SPINREDIS_GROUP_KEY is not set"), "{}", runtime.log());
}
