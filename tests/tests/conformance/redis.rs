//! Outbound Redis: `fermyon:spin/redis` without a version, `@2.0.0`, and `spin:redis/redis@3.0.0`.

use serde_json::{Value, json};
use spinredis_tests::{app::App, guests::source, ports, redis::Redis, tls::Authority};

use crate::calls::{ASYNC, BOTH, Guests, SYNC, app};

/// Each version: the guest that has it, and what its calls begin with.
const VERSIONS: [(&str, &str); 3] = [(SYNC, "unversioned-redis"), (SYNC, "redis"), (ASYNC, "redis")];

/// A call: `function` of an interface at an address.
fn call(interface: &str, function: &str, address: &str, arguments: Value) -> Value {
    let mut call = vec![json!(format!("{interface}.{function}")), json!(address)];
    call.extend(arguments.as_array().unwrap().clone());
    json!(call)
}

/// Checks an error, of which the version without versions tells the guest nothing.
fn assert_error(guests: &Guests<'_>, (guest, interface): (&str, &str), call: Value, name: &str, parts: &[&str]) {
    if interface == "unversioned-redis" {
        guests.assert_error(guest, call, "error", &[]);
    } else {
        guests.assert_error(guest, call, name, parts);
    }
}

fn allowing(redis: &Redis, hosts: Value) -> Guests<'_> {
    Guests::with(redis, json!({"allowedOutboundHosts": hosts}))
}

fn allowing_self(redis: &Redis) -> Guests<'_> {
    allowing(redis, json!(["redis://self"]))
}

/// How many clients are connected over TCP; the tests themselves use a Unix socket.
fn clients(redis: &Redis) -> usize {
    redis.command::<String>(&["CLIENT", "LIST"]).lines().filter(|line| line.contains(" addr=127.0.0.1:")).count()
}

#[test]
fn each_function_does_what_its_command_does() {
    let redis = Redis::start();
    let guests = allowing_self(&redis);
    let address = redis.address();
    for (guest, interface) in VERSIONS {
        let value = |function, arguments| guests.value(guest, call(interface, function, &address, arguments));
        if interface == "redis" {
            assert_eq!(value("open", json!([])), Value::Null);
            assert_eq!(value("get", json!(["key"])), Value::Null);
        } else {
            assert_eq!(value("get", json!(["key"])), "", "the interface has no way to say that there is none");
        }
        for text in ["value", "", "grüße \0 👋\r\n"] {
            assert_eq!(value("set", json!(["key", text])), Value::Null);
            assert_eq!(value("get", json!(["key"])), text);
            assert_eq!(redis.command::<String>(&["GET", "key"]), text);
        }
        assert_eq!(value("incr", json!(["counter"])), 1);
        assert_eq!(value("incr", json!(["counter"])), 2);
        redis.command::<()>(&["SET", "counter", "-9223372036854775808"]);
        assert_eq!(value("incr", json!(["counter"])), i64::MIN + 1);
        assert_eq!(value("sadd", json!(["set", "a", "b", "grüße"])), 3);
        assert_eq!(value("sadd", json!(["set", "b", "c"])), 1);
        let mut members: Vec<String> = serde_json::from_value(value("smembers", json!(["set"]))).unwrap();
        members.sort();
        assert_eq!(members, ["a", "b", "c", "grüße"]);
        assert_eq!(value("srem", json!(["set", "a", "missing", "c"])), 2);
        assert_eq!(value("smembers", json!(["missing"])), json!([]));
        assert_eq!(value("del", json!(["key", "counter", "set", "missing"])), 3);
        // Of nothing there is nothing to do.
        for (function, arguments) in [("del", json!([])), ("sadd", json!(["set"])), ("srem", json!(["set"]))] {
            assert_eq!(value(function, arguments), 0, "{interface} {function}");
        }
        assert_eq!(redis.command::<u64>(&["DBSIZE"]), 0);
    }
}

#[test]
fn a_published_message_reaches_subscribers() {
    let redis = Redis::start();
    let app = app(redis.trigger(), json!({"allowedOutboundHosts": ["redis://self"]}), json!({}));
    let mut manifest: Value = serde_json::from_str(&std::fs::read_to_string(app.file()).unwrap()).unwrap();
    let hello = json!({"id": "hello", "channels": ["greetings"], "source": source("hello.wat")});
    manifest["spec"]["components"].as_array_mut().unwrap().push(hello);
    std::fs::write(app.file(), manifest.to_string()).unwrap();
    let guests = Guests::run(&redis, &app);
    for (number, (guest, interface)) in VERSIONS.into_iter().enumerate() {
        let payload = format!("{number} grüße \0 👋");
        assert_eq!(guests.value(guest, call(interface, "publish", &redis.address(), json!(["greetings", payload]))), Value::Null);
        guests.runtime.wait_for_guest("hello", &format!("Got message: {payload}"));
        // That nobody subscribes is no error.
        assert_eq!(guests.value(guest, call(interface, "publish", &redis.address(), json!(["nobody", ""]))), Value::Null);
    }
}

#[test]
fn execute_gives_every_kind_of_result() {
    let redis = Redis::start();
    let guests = allowing_self(&redis);
    for (guest, interface) in VERSIONS {
        let execute = |arguments| guests.value(guest, call(interface, "execute", &redis.address(), arguments));
        let binary = |text: &str| json!({"binary": text});
        let nil = json!({"nil": null});
        assert_eq!(execute(json!(["PING"])), json!([{"status": "PONG"}]));
        assert_eq!(execute(json!(["SET", binary("n"), {"int64": -5}])), json!([{"status": "OK"}]));
        assert_eq!(execute(json!(["INCRBY", binary("n"), {"int64": 15}])), json!([{"int64": 10}]));
        assert_eq!(execute(json!(["get", binary("n")])), json!([{"binary": "10"}]), "commands are known in lower case, too");
        assert_eq!(execute(json!(["GET", binary("missing")])), json!([nil]));
        assert_eq!(execute(json!(["MGET", binary("n"), binary("missing"), binary("n")])), json!([{"binary": "10"}, nil, {"binary": "10"}]));
        assert_eq!(execute(json!(["KEYS", binary("nothing*")])), json!([]));
        let script = "return {1, {'two', {redis.status_reply('THREE'), false}}, 'a\\255\\0b'}";
        let nested = execute(json!(["EVAL", binary(script), {"int64": 0}]));
        assert_eq!(nested, json!([{"int64": 1}, {"binary": "two"}, {"status": "THREE"}, nil, {"binary": "a\u{fffd}\0b"}]));
        let script = "return redis.error_reply('MINE is an error')";
        let failing = call(interface, "execute", &redis.address(), json!(["EVAL", binary(script), {"int64": 0}]));
        assert_error(&guests, (guest, interface), failing, "other", &["MINE", "is an error"]);
        let unknown = call(interface, "execute", &redis.address(), json!(["NOSUCHCOMMAND"]));
        assert_error(&guests, (guest, interface), unknown, "other", &["unknown command", "NOSUCHCOMMAND"]);
        redis.command::<()>(&["FLUSHALL"]);
    }
}

#[test]
fn commands_that_turn_a_connection_into_a_stream_are_refused() {
    let redis = Redis::start();
    let guests = allowing_self(&redis);
    for (guest, interface) in VERSIONS {
        for (command, arguments) in [
            ("SUBSCRIBE", &["x"][..]),
            ("psubscribe", &["x"]),
            ("SSubscribe", &["x"]),
            ("MONITOR", &[]),
            ("SYNC", &[]),
            ("PSYNC", &["?", "-1"]),
        ] {
            let arguments = arguments.iter().map(|argument| json!({"binary": argument}));
            let refused = call(interface, "execute", &redis.address(), [json!(command)].into_iter().chain(arguments).collect());
            assert_error(&guests, (guest, interface), refused, "other", &[&command.to_uppercase(), "cannot be executed"]);
        }
        let ping = call(interface, "execute", &redis.address(), json!(["PING"]));
        assert_eq!(guests.value(guest, ping), json!([{"status": "PONG"}]), "nothing of it is left for the next call");
    }
    assert_eq!(redis.command::<String>(&["CLIENT", "LIST", "TYPE", "pubsub"]).lines().count(), 1, "only the trigger subscribes");
}

#[test]
fn a_command_with_several_answers_leaves_none_of_them_for_the_next() {
    let redis = Redis::start();
    let guests = allowing_self(&redis);
    redis.command::<()>(&["SET", "key", "value"]);
    let channels: Vec<Value> = (0..2000).map(|number| json!({"binary": number.to_string()})).collect();
    for (guest, interface) in VERSIONS {
        for command in ["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"] {
            let several = call(interface, "execute", &redis.address(), json!([&[json!(command)], channels.as_slice()].concat()));
            let get = call(interface, "get", &redis.address(), json!(["key"]));
            // What Redis or the host makes of the first is its own business.
            let answers = guests.ask_all(guest, &[several, get.clone(), get.clone(), get]);
            assert_eq!(answers[1..], [json!({"ok": "value"}), json!({"ok": "value"}), json!({"ok": "value"})], "{interface} {command}");
        }
    }
}

#[test]
fn a_value_of_another_type_is_a_type_error() {
    let redis = Redis::start();
    let guests = allowing_self(&redis);
    redis.command::<()>(&["SET", "text", "no number"]);
    redis.command::<()>(&["RPUSH", "list", "x"]);
    for version @ (guest, interface) in VERSIONS {
        let calls = [
            ("get", json!(["list"])),
            ("incr", json!(["text"])),
            ("incr", json!(["list"])),
            ("sadd", json!(["text", "x"])),
            ("smembers", json!(["list"])),
            ("srem", json!(["text", "x"])),
        ];
        for (function, arguments) in calls {
            assert_error(&guests, version, call(interface, function, &redis.address(), arguments), "type-error", &[]);
        }
        assert_eq!(guests.value(guest, call(interface, "get", &redis.address(), json!(["text"]))), "no number");
    }
}

#[test]
fn a_wrong_address_is_invalid_and_so_is_one_that_is_not_allowed() {
    let redis = Redis::start();
    let stranger = Redis::start();
    let guests = allowing_self(&redis);
    let wrong = [
        "",
        "nonsense",
        "127.0.0.1:6379",
        "http://127.0.0.1:6379",
        "redis://",
        "redis://host:99999",
        "redis://host/prod",
        "redis-sentinel://a,b",
        "unix:///run/redis.sock",
        "redis://a:1,b:2",
    ];
    for version @ (_, interface) in VERSIONS {
        for address in wrong.into_iter().chain([stranger.address().as_str(), &redis.address().replace("redis:", "rediss:")]) {
            assert_error(&guests, version, call(interface, "get", address, json!(["key"])), "invalid-address", &[]);
        }
    }
    let line = guests.runtime.wait_for_message(&format!("add \"{}\" to allowedOutboundHosts", stranger.address()));
    assert!(BOTH.iter().any(|guest| line["component"] == *guest), "{line}");
    assert_eq!(clients(&stranger), 0);
}

#[test]
fn a_guest_that_opens_too_many_connections_is_told_so() {
    let redis = Redis::start();
    let guests = allowing_self(&redis);
    for guest in BOTH {
        let open = |count: usize| call("redis", "open-many", &redis.address(), json!([count]));
        assert_eq!(guests.value(guest, open(32)), 32);
        guests.assert_error(guest, open(33), "too-many-connections", &[]);
        assert_eq!(guests.ask_all(guest, &[open(20), open(20)]), [json!({"ok": 20}), json!({"ok": 20})], "closed ones count no more");
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_another_error() {
    let redis = Redis::start();
    let nobody = format!("redis://127.0.0.1:{}", ports::free());
    let guests = allowing(&redis, json!(["redis://127.0.0.1:*", "redis://*.invalid"]));
    for version @ (_, interface) in VERSIONS {
        assert_error(&guests, version, call(interface, "get", &nobody, json!(["key"])), "other", &[&nobody, "cannot be reached"]);
        let unknown = call(interface, "get", "redis://no-such-host.invalid", json!(["key"]));
        assert_error(&guests, version, unknown, "other", &["no-such-host.invalid"]);
    }
}

#[test]
fn credentials_stand_in_the_address_and_never_in_the_log() {
    let trigger = Redis::start();
    let redis = Redis::builder().password("sesame").line("user anna on >p@ss:word ~anna/* &* +get +set +ping +select +client").start();
    let guests = allowing(&trigger, json!(["redis://127.0.0.1:*"]));
    let port = redis.port();
    let with_password = format!("redis://:sesame@127.0.0.1:{port}");
    let anna = format!("redis://anna:p%40ss%3Aword@127.0.0.1:{port}");
    for version @ (guest, interface) in VERSIONS {
        let get = |address: &str, key: &str| call(interface, "get", address, json!([key]));
        guests.value(guest, call(interface, "set", &with_password, json!(["key", "value"])));
        assert_eq!(guests.value(guest, get(&with_password, "key")), "value");
        guests.value(guest, call(interface, "set", &anna, json!(["anna/key", "hers"])));
        assert_eq!(guests.value(guest, get(&anna, "anna/key")), "hers");
        assert_error(&guests, version, get(&anna, "key"), "other", &["no permissions"]);
        assert_error(&guests, version, call(interface, "incr", &anna, json!(["anna/n"])), "other", &["no permissions", "'incr'"]);
        assert_error(&guests, version, call(interface, "execute", &anna, json!(["FLUSHALL"])), "other", &["no permissions"]);
        assert_error(&guests, version, get(&redis.address(), "key"), "other", &["Authentication required"]);
        assert_error(&guests, version, get(&format!("redis://:guessed@127.0.0.1:{port}"), "key"), "other", &["authentication failed"]);
        assert_error(&guests, version, get(&format!("redis://nobody:sesame@127.0.0.1:{port}"), "key"), "other", &["authentication failed"]);
    }
    let log = guests.runtime.log();
    assert!(!log.contains("sesame") && !log.contains("guessed") && !log.contains("p@ss"), "{log}");
}

#[test]
fn the_database_of_the_address_is_used() {
    let redis = Redis::start();
    let guests = allowing_self(&redis);
    let third = format!("{}/3", redis.address());
    for (guest, interface) in VERSIONS {
        guests.value(guest, call(interface, "set", &third, json!(["key", interface])));
        assert_eq!(guests.value(guest, call(interface, "get", &third, json!(["key"]))), interface);
        assert_eq!(redis.command::<u64>(&["DBSIZE"]), 0, "database 0 has nothing");
    }
}

#[test]
fn connections_are_used_again() {
    let redis = Redis::start();
    let guests = allowing_self(&redis);
    for (guest, interface) in VERSIONS {
        guests.value(guest, call(interface, "set", &redis.address(), json!(["key", "value"])));
    }
    let after_the_first = clients(&redis);
    let received = |redis: &Redis| -> u64 {
        let stats: String = redis.command(&["INFO", "stats"]);
        stats.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap().trim().parse().unwrap()
    };
    let opened = received(&redis);
    for round in 0..20_u64 {
        for (guest, interface) in VERSIONS {
            guests.value(guest, call(interface, "set", &redis.address(), json!(["key", round.to_string()])));
        }
        // Each look, and each message of this test, is a connection of its own, over the Unix socket.
        assert!(clients(&redis) <= after_the_first, "round {round}");
    }
    let by_the_test = 20 * (3 + 1) + 1;
    assert_eq!(received(&redis) - opened, by_the_test, "no message opened a connection");
}

#[test]
fn what_a_message_does_to_its_connection_is_gone_with_it() {
    let redis = Redis::builder().line("user anna on >sesame ~* &* +@all").start();
    let guests = allowing_self(&redis);
    for (guest, interface) in VERSIONS {
        let execute = |arguments| call(interface, "execute", &redis.address(), arguments);
        let binary = |text: &str| json!({"binary": text});
        for (command, answer) in [
            (json!(["SELECT", {"int64": 5}]), json!([{"status": "OK"}])),
            (json!(["select", binary("5")]), json!([{"status": "OK"}])),
            (json!(["MULTI"]), json!([{"status": "OK"}])),
            (json!(["AUTH", binary("anna"), binary("sesame")]), json!([{"status": "OK"}])),
            (json!(["CLIENT", binary("SETNAME"), binary("mine")]), json!([{"status": "OK"}])),
            (json!(["WATCH", binary("key")]), json!([{"status": "OK"}])),
            (json!(["QUIT"]), json!([{"status": "OK"}])),
            (json!(["RESET"]), json!([{"status": "RESET"}])),
        ] {
            assert_eq!(guests.value(guest, execute(command.clone())), answer, "{interface} {command}");
            assert_eq!(guests.value(guest, call(interface, "set", &redis.address(), json!(["key", "value"]))), Value::Null, "{command}");
            assert_eq!(redis.command::<String>(&["GET", "key"]), "value", "{interface} {command}: not in database 0");
            assert_eq!(
                guests.value(guest, execute(json!(["ACL", binary("WHOAMI")]))),
                json!([{"binary": "default"}]),
                "{interface} {command}"
            );
            assert_eq!(guests.value(guest, execute(json!(["CLIENT", binary("GETNAME")]))), json!([{"nil": null}]), "{interface} {command}");
            redis.command::<()>(&["FLUSHALL"]);
        }
        // A newer protocol answers in other shapes.
        guests.ask(guest, execute(json!(["HELLO", {"int64": 3}])));
        redis.command::<()>(&["HSET", "map", "field", "value"]);
        let map = guests.value(guest, execute(json!(["HGETALL", binary("map")])));
        assert_eq!(map, json!([{"binary": "field"}, {"binary": "value"}]));
        redis.command::<()>(&["FLUSHALL"]);
    }
}

#[test]
fn a_connection_that_redis_closed_costs_no_call_for_long() {
    let redis = Redis::start();
    let other = Redis::start();
    let guests = allowing(&redis, json!(["redis://127.0.0.1:*"]));
    for (guest, interface) in VERSIONS {
        let set = call(interface, "set", &other.address(), json!(["key", "value"]));
        guests.value(guest, set.clone());
        other.command::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        guests.runtime.eventually("calls work again", || {
            let answer = guests.ask(guest, set.clone());
            if answer == json!({"ok": null}) { Ok(()) } else { Err(answer.to_string()) }
        });
    }
}

#[test]
fn a_blocking_command_waits_until_the_deadline_and_no_longer() {
    let redis = Redis::start();
    let guests = Guests::with(&redis, json!({"allowedOutboundHosts": ["redis://self"], "timeout": "1s"}));
    for (guest, interface) in VERSIONS {
        let execute = |arguments| call(interface, "execute", &redis.address(), arguments);
        let binary = |text: &str| json!({"binary": text});
        let (reason, message) = guests.failure(guest, execute(json!(["BLPOP", binary("empty"), {"int64": 0}])));
        assert_eq!(reason, "timeout", "{message}");
        // Redis answers nothing to this, and to nothing after it.
        let (reason, message) = guests.failure(guest, execute(json!(["CLIENT", binary("REPLY"), binary("OFF")])));
        assert_eq!(reason, "timeout", "{message}");
        redis.command::<()>(&["RPUSH", "list", "first"]);
        let popped = guests.value(guest, execute(json!(["BLPOP", binary("list"), {"int64": 0}])));
        assert_eq!(popped, json!([{"binary": "list"}, {"binary": "first"}]));
        redis.command::<()>(&["RPUSH", "empty", "x"]);
        assert_eq!(redis.command::<u64>(&["LLEN", "empty"]), 1, "the cancelled command waits no more");
        redis.command::<()>(&["FLUSHALL"]);
    }
}

#[test]
fn the_triggers_own_authority_is_trusted_for_the_triggers_own_server() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let redis = Redis::builder().tls(&ours.server(&["127.0.0.1"]), None).start();
    let stranger = Redis::builder().tls(&theirs.server(&["127.0.0.1"]), None).start();
    let trigger = json!({"address": redis.address(), "tls": {"caFrom": {"secretKeyRef": {"name": "ca", "key": "ca.crt"}}}});
    let app: App = app(trigger, json!({"allowedOutboundHosts": ["rediss://self", "rediss://127.0.0.1:*"]}), json!({}));
    let guests = Guests::run(&redis, &app.with("secret/ca/ca.crt", ours.certificate()));
    for version @ (guest, interface) in VERSIONS {
        guests.value(guest, call(interface, "set", &redis.address(), json!(["key", interface])));
        assert_eq!(redis.command::<String>(&["GET", "key"]), interface);
        assert_error(&guests, version, call(interface, "get", &stranger.address(), json!(["key"])), "other", &["UnknownIssuer"]);
        let plain = redis.address().replace("rediss:", "redis:");
        assert_error(&guests, version, call(interface, "get", &plain, json!(["key"])), "invalid-address", &[]);
    }
}
