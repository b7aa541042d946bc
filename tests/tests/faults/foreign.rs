//! What comes is not what a Redis of this kind sends: garbage, an answer that there is no service, another kind of server.

use spinredis_tests::{
    metrics::{DROPPED, HANDLED, RECEIVED},
    proxy::Proxy,
    redis::Redis,
    resp::message_head,
    watch::{Watch, memory},
};

use super::{RECONNECTS, app, assert_answers, assert_counted, assert_ends_well, assert_unready};

#[test]
fn garbage_ends_the_connection_and_nothing_else() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port());
    let runtime = app(proxy.trigger()).run();
    let watch = Watch::start(&runtime);
    let before = memory(runtime.id()).unwrap();
    let garbage: [&[u8]; 8] = [
        b"\x00\x01\x02\xff\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"*-7\r\n",
        b"*1000000000\r\n$7\r\nmessage\r\n",
        b"*3\r\n$-5\r\n",
        b"*3\r\n$99999999999999999999999\r\n",
        b"*3\r\n$7\r\nmessage\r\n$8\r\nmessages\r\n$3\r\nabcdef\r\n",
        &[b'+'; 1 << 20],
    ];
    for (round, bytes) in garbage.into_iter().enumerate() {
        assert_answers(&runtime, &redis, &format!("before {round}"));
        proxy.inject(bytes);
        runtime.wait_for_metric(RECONNECTS, &[], round as f64 + 1.0);
        runtime.wait_for_line(&proxy.address());
    }
    assert_answers(&runtime, &redis, "after");
    runtime.wait_for_message("not RESP");
    assert_counted(&runtime, "protocol");
    let (metrics, seen) = assert_ends_well(runtime, watch);
    assert_eq!((metrics.sum(RECEIVED, &[]), metrics.sum(HANDLED, &[])), (9.0, 9.0));
    assert!(seen.peak < before + (16 << 20), "{before} bytes before, {} at most", seen.peak);
}

#[test]
fn a_message_of_512_mb_is_skipped_without_being_held() {
    const LARGE: u64 = 512 << 20;
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port());
    let runtime = app(proxy.trigger()).run();
    let watch = Watch::start(&runtime);
    assert_answers(&runtime, &redis, "before");
    let before = memory(runtime.id()).unwrap();
    proxy.inject_filled(&message_head("messages", LARGE), LARGE, b"\r\n");
    assert_answers(&runtime, &redis, "after");
    assert_eq!(runtime.metric(DROPPED, &[("reason", "too_large")]), 1.0);
    let (metrics, seen) = assert_ends_well(runtime, watch);
    assert_eq!((metrics.sum(RECEIVED, &[]), metrics.sum(RECONNECTS, &[])), (3.0, 0.0));
    assert!(seen.peak < before + (16 << 20), "{before} bytes before, {} at most", seen.peak);
}

#[test]
fn a_redis_that_is_loading_is_named_and_waited_for() {
    assert_answered_and_waited_for("LOADING Redis is loading the dataset in memory");
}

#[test]
fn a_redis_whose_primary_is_down_is_named_and_waited_for() {
    assert_answered_and_waited_for("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.");
}

/// Redis answers every command with this error, and some time later no more.
fn assert_answered_and_waited_for(error: &'static str) {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port());
    proxy.answer(move |_| Some(format!("-{error}\r\n").into_bytes()));
    let runtime = app(proxy.trigger()).start();
    let word = error.split(' ').next().unwrap();
    runtime.eventually("the error is named", || {
        let status = runtime.status();
        let named = status["ready"] == false && status["message"].as_str().is_some_and(|message| message.contains(word));
        if named { Ok(()) } else { Err(status.to_string()) }
    });
    let watch = Watch::start(&runtime);
    proxy.answer_nothing();
    assert_answers(&runtime, &redis, "at last");
    assert_ends_well(runtime, watch);
}

#[test]
fn a_password_that_is_set_later_is_asked_for_at_the_next_connect() {
    let redis = Redis::start();
    let runtime = app(redis.trigger()).run();
    let watch = Watch::start(&runtime);
    assert_answers(&runtime, &redis, "before");
    let _: () = redis.command(&["ACL", "SETUSER", "tests", "on", "nopass", "~*", "&*", "+@all"]);
    let mut other = redis.connect();
    let user = |connection: &mut redis::Connection, words: &[&str]| {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        command.query::<redis::Value>(connection).unwrap()
    };
    user(&mut other, &["AUTH", "tests", "any"]);
    user(&mut other, &["CONFIG", "SET", "requirepass", "sesame"]);
    user(&mut other, &["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert_unready(&runtime, "RedisAuthFailed", &[&redis.address(), "wants a password"]);
    user(&mut other, &["CONFIG", "SET", "requirepass", ""]);
    user(&mut other, &["ACL", "SETUSER", "default", "nopass"]);
    assert_answers(&runtime, &redis, "after");
    assert_ends_well(runtime, watch);
}

#[test]
fn a_replica_serves_and_so_does_a_server_that_becomes_one() {
    let first = Redis::start();
    let second = Redis::builder().line(&format!("replicaof 127.0.0.1 {}", first.port())).line("repl-diskless-sync-delay 0").start();
    let runtime = app(second.trigger()).run();
    let watch = Watch::start(&runtime);
    runtime.eventually("the replica is in step", || {
        let information: String = second.command(&["INFO", "replication"]);
        if information.contains("master_link_status:up") { Ok(()) } else { Err(information) }
    });
    first.publish("messages", "published at the primary");
    runtime.wait_for_guest("all", "calls=1 attempt=1 channel=messages published at the primary");

    let _: () = second.command(&["REPLICAOF", "NO", "ONE"]);
    assert_answers(&runtime, &second, "a primary now");
    let _: () = second.command(&["REPLICAOF", "127.0.0.1", &first.port().to_string()]);
    assert_answers(&runtime, &second, "a replica again");
    let (metrics, _) = assert_ends_well(runtime, watch);
    assert_eq!((metrics.sum(HANDLED, &[]), metrics.sum(RECONNECTS, &[])), (3.0, 0.0));
}

#[test]
fn a_sentinel_is_refused_with_a_sentence() {
    let redis = Redis::start();
    let sentinel = Redis::builder().sentinel_of(redis.port()).start();
    let runtime = app(sentinel.trigger()).start();
    assert_unready(&runtime, "RedisUnreachable", &[&sentinel.address(), "Sentinel"]);
    assert_counted(&runtime, "sentinel");
}
