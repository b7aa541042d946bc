//! Spin's key-value stores: `fermyon:spin/key-value` without a version, `@2.0.0`, and `spin:key-value/key-value@3.0.0`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use spinredis_tests::{
    app::{NAME, NAMESPACE},
    redis::Redis,
};

use crate::calls::{ASYNC, BOTH, Guests, SYNC, app};

/// Each version: the guest that has it, and what its calls begin with.
const VERSIONS: [(&str, &str); 3] = [(SYNC, "unversioned-key-value"), (SYNC, "key-value"), (ASYNC, "key-value")];
/// The versions in which a store is a resource and a missing key no error.
const VERSIONED: [(&str, &str); 2] = [(SYNC, "key-value"), (ASYNC, "key-value")];

/// A call: `function` of an interface on a store.
fn call(interface: &str, function: &str, arguments: &[&str]) -> Value {
    let name = format!("{interface}.{function}");
    json!([[name.as_str()].as_slice(), arguments].concat())
}

/// What an interface calls an error without a name of its own.
fn other(interface: &str) -> &'static str {
    if interface == "unversioned-key-value" { "io" } else { "other" }
}

fn with_default_store(redis: &Redis) -> Guests<'_> {
    Guests::with(redis, json!({"keyValueStores": ["default"]}))
}

/// Names of the keys of a server.
fn keys(redis: &Redis) -> BTreeSet<String> {
    redis.command::<Vec<String>>(&["KEYS", "*"]).into_iter().collect()
}

#[test]
fn what_is_set_can_be_got_listed_and_deleted_by_every_version() {
    let redis = Redis::start();
    let guests = with_default_store(&redis);
    for (guest, interface) in VERSIONS {
        let value = |function, arguments: &[&str]| guests.value(guest, call(interface, function, arguments));
        assert_eq!(value("open", &["default"]), Value::Null);
        assert_eq!(value("get-keys", &["default"]), json!([]));
        assert_eq!(value("exists", &["default", "key"]), false);
        assert_eq!(value("delete", &["default", "key"]), Value::Null, "deleting what is not there is no error");
        for text in ["value", "another", "", "grüße \0 👋\r\n"] {
            assert_eq!(value("set", &["default", "key", text]), Value::Null);
            assert_eq!(value("get", &["default", "key"]), text);
            assert_eq!(value("exists", &["default", "key"]), true);
        }
        for key in ["", "a/b", "grüße", "with space", "*", "[x]"] {
            value("set", &["default", key, "v"]);
            assert_eq!(value("get", &["default", key]), "v", "{key}");
        }
        let mut listed: Vec<String> = serde_json::from_value(value("get-keys", &["default"])).unwrap();
        listed.sort();
        assert_eq!(listed, ["", "*", "[x]", "a/b", "grüße", "key", "with space"]);
        for key in listed {
            value("delete", &["default", &key]);
            assert_eq!(value("exists", &["default", &key]), false, "{key}");
        }
        assert_eq!(keys(&redis), BTreeSet::new());
    }
}

#[test]
fn a_missing_key_is_nothing_or_an_error_as_the_version_has_it() {
    let redis = Redis::start();
    let guests = with_default_store(&redis);
    for (guest, interface) in VERSIONED {
        assert_eq!(guests.value(guest, call(interface, "get", &["default", "missing"])), Value::Null);
    }
    guests.assert_error(SYNC, call("unversioned-key-value", "get", &["default", "missing"]), "no-such-key", &[]);
}

#[test]
fn versions_share_their_stores() {
    let redis = Redis::start();
    let guests = with_default_store(&redis);
    for (writer, written_by) in VERSIONS {
        guests.value(writer, call(written_by, "set", &["default", "key", writer]));
        for (reader, read_by) in VERSIONS {
            assert_eq!(guests.value(reader, call(read_by, "get", &["default", "key"])), writer);
        }
    }
    assert_eq!(guests.value(SYNC, json!(["keyvalue.get", "default", "key"])), ASYNC, "wasi:keyvalue has the same");
}

#[test]
fn keys_lie_in_redis_below_namespace_app_and_store() {
    let redis = Redis::start();
    // Without a prefix, with one that has characters with a meaning in patterns, and with the one of each app's own.
    let stores = json!({"keyValueStores": [{"name": "plain", "prefix": ""}, {"name": "odd", "prefix": "a*[b]?\\"}, {"name": "second"}]});
    let component = json!({"keyValueStores": ["default", "plain", "odd", "second"]});
    let guests = Guests::run(&redis, &app(redis.trigger(), component, stores));
    let own = |store: &str, key: &str| format!("{NAMESPACE}/{NAME}/{store}/{key}");
    for (guest, interface) in VERSIONS {
        for (store, key) in
            [("default", own("default", "k")), ("second", own("second", "k")), ("odd", "a*[b]?\\k".to_owned()), ("plain", "k".to_owned())]
        {
            // Keys of strangers that look alike.
            for stranger in [own("default2", "k"), own("defaul", "x"), "axxbyz".to_owned(), "ab?\\".to_owned(), "a*b?k".to_owned()] {
                redis.command::<()>(&["SET", &stranger, "not ours"]);
            }
            let before = keys(&redis);
            guests.value(guest, call(interface, "set", &[store, "k", "v"]));
            let added: Vec<String> = keys(&redis).difference(&before).cloned().collect();
            assert_eq!(added, std::slice::from_ref(&key), "{interface} {store}");
            assert_eq!(redis.command::<String>(&["GET", &key]), "v");
            let listed = guests.value(guest, call(interface, "get-keys", &[store]));
            if store == "plain" {
                assert_eq!(listed.as_array().unwrap().len(), before.len() + 1, "without a prefix every key is the store's");
            } else {
                assert_eq!(listed, json!(["k"]), "{interface} {store}");
            }
            redis.command::<()>(&["FLUSHALL"]);
        }
    }
}

#[test]
fn a_store_may_be_on_another_server_with_a_password() {
    let trigger = Redis::start();
    let other = Redis::builder().password("sesame").start();
    let stores = json!({"keyValueStores": [
        {"name": "cache", "connection": {"address": other.address(), "passwordFrom": {"secretKeyRef": {"name": "cache", "key": "password"}}}},
        {"name": "wrong", "connection": {"address": other.address(), "passwordFrom": {"secretKeyRef": {"name": "wrong", "key": "password"}}}},
    ]});
    let app = app(trigger.trigger(), json!({"keyValueStores": ["default", "cache", "wrong"]}), stores)
        .with("secret/cache/password", "sesame\n")
        .with("secret/wrong/password", "guessed");
    let guests = Guests::run(&trigger, &app);
    let key = format!("{NAMESPACE}/{NAME}/cache/key");
    for (guest, interface) in VERSIONS {
        guests.value(guest, call(interface, "set", &["cache", "key", interface]));
        assert_eq!(guests.value(guest, call(interface, "get", &["cache", "key"])), interface);
        assert_eq!(other.command::<String>(&["GET", &key]), interface);
        assert_eq!(guests.value(guest, call(interface, "exists", &["default", "key"])), false);
        guests.assert_error(guest, call(interface, "get", &["wrong", "key"]), self::other(interface), &[]);
    }
    assert_eq!(keys(&trigger), BTreeSet::new());
    assert!(!guests.runtime.log().contains("sesame") && !guests.runtime.log().contains("guessed"), "{}", guests.runtime.log());
    // A corrected password needs no restart.
    app.set("secret/wrong/password", "sesame");
    for (guest, interface) in VERSIONS {
        assert_eq!(guests.value(guest, call(interface, "get-keys", &["wrong"])), json!([]));
    }
}

#[test]
fn unknown_stores_and_stores_of_others_are_refused_and_the_log_says_what_is_missing() {
    let redis = Redis::start();
    let stores = json!({"keyValueStores": [{"name": "others"}]});
    let guests = Guests::run(&redis, &app(redis.trigger(), json!({"keyValueStores": ["default"]}), stores));
    for (guest, interface) in VERSIONS {
        for (store, error) in
            [("unknown", "no-such-store"), ("", "no-such-store"), ("Default", "no-such-store"), ("others", "access-denied")]
        {
            guests.assert_error(guest, call(interface, "open", &[store]), error, &[]);
        }
    }
    for (store, entry) in [("unknown", "declare it in keyValueStores of the app"), ("others", "add it to keyValueStores of the component")]
    {
        let line = guests.runtime.wait_for_message(entry);
        assert!(line["message"].as_str().unwrap().contains(store), "{line}");
    }
}

#[test]
fn a_component_that_lists_no_store_may_not_open_the_default_one() {
    let redis = Redis::start();
    let guests = Guests::with(&redis, json!({}));
    for (guest, interface) in VERSIONS {
        guests.assert_error(guest, call(interface, "open", &["default"]), "access-denied", &[]);
    }
}

#[test]
fn a_guest_that_opens_too_many_stores_is_told_so() {
    let redis = Redis::start();
    let guests = with_default_store(&redis);
    for guest in BOTH {
        assert_eq!(guests.value(guest, json!(["key-value.open-many", "default", 256])), 256);
        guests.assert_error(guest, json!(["key-value.open-many", "default", 257]), "store-table-full", &[]);
        // What was closed counts no more.
        let calls = [json!(["key-value.open-many", "default", 200]), json!(["key-value.open-many", "default", 200])];
        assert_eq!(guests.ask_all(guest, &calls), [json!({"ok": 200}), json!({"ok": 200})]);
    }
    // The version without resources closes only what it is asked to.
    let opened: Vec<Value> = (0..257).map(|_| call("unversioned-key-value", "open", &["default"])).collect();
    let answers = guests.ask_all(SYNC, &opened);
    assert!(answers[..256].iter().all(|answer| *answer == json!({"ok": null})), "{answers:?}");
    assert_eq!(answers[256], json!({"error": ["store-table-full"]}));
}

#[test]
fn a_number_that_stands_for_no_store_is_an_invalid_one() {
    let redis = Redis::start();
    let guests = with_default_store(&redis);
    for function in ["get", "exists", "delete"] {
        guests.assert_error(SYNC, json!([format!("unversioned-key-value.{function}"), 77, "key"]), "invalid-store", &[]);
    }
    guests.assert_error(SYNC, json!(["unversioned-key-value.set", 77, "key", "value"]), "invalid-store", &[]);
    guests.assert_error(SYNC, json!(["unversioned-key-value.get-keys", 77]), "invalid-store", &[]);
    guests.assert_error(SYNC, call("unversioned-key-value", "close", &["default"]), "invalid-store", &[]);
    // The number of one message means nothing in the next.
    assert_eq!(guests.value(SYNC, call("unversioned-key-value", "open", &["default"])), Value::Null);
    guests.assert_error(SYNC, json!(["unversioned-key-value.get", 1, "key"]), "invalid-store", &[]);
}

#[test]
fn thousands_of_keys_are_listed_each_once() {
    let redis = Redis::start();
    let guests = with_default_store(&redis);
    let script = "for i = 1, 4000 do redis.call('SET', ARGV[1] .. i, i) redis.call('SET', 'stranger' .. i, i) end";
    redis.command::<()>(&["EVAL", script, "0", &format!("{NAMESPACE}/{NAME}/default/")]);
    // The log cuts the long line; its beginning and the number of bytes are enough to know that each key is there once.
    let expected = json!({"ok": (1..=4000).map(|number| number.to_string()).collect::<Vec<_>>()}).to_string().len();
    for (guest, interface) in VERSIONS {
        let line = guests.lines(guest, &[call(interface, "get-keys", &["default"])]).remove(0);
        let (beginning, more) = line.rsplit_once("… (").unwrap();
        let more: usize = more.strip_suffix(" bytes more)").unwrap().parse().unwrap();
        assert_eq!(beginning.len() + more, expected, "{interface}");
        let (beginning, _cut_name) = beginning.rsplit_once('"').unwrap();
        let names: Vec<&str> = beginning.split('"').filter(|name| name.parse::<u32>().is_ok()).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{interface}: a key is there twice");
    }
}

#[test]
fn a_listing_may_be_left_unread() {
    let redis = Redis::start();
    let guests = with_default_store(&redis);
    assert_eq!(guests.value(ASYNC, json!(["key-value.get-first-key", "default"])), Value::Null);
    for key in ["a", "b", "c"] {
        guests.value(ASYNC, json!(["key-value.set", "default", key, "v"]));
    }
    let first = guests.value(ASYNC, json!(["key-value.get-first-key", "default"]));
    assert!(["a", "b", "c"].contains(&first.as_str().unwrap()), "{first}");
}

#[test]
fn values_of_others_that_are_no_text_come_as_they_are() {
    let redis = Redis::start();
    let guests = with_default_store(&redis);
    let script = format!("return redis.call('SET', '{NAMESPACE}/{NAME}/default/binary', 'a\\255\\0b')");
    redis.command::<()>(&["EVAL", &script, "0"]);
    for (guest, interface) in VERSIONS {
        assert_eq!(guests.value(guest, call(interface, "get", &["default", "binary"])), "a\u{fffd}\0b");
    }
}

#[test]
fn what_redis_refuses_is_an_error_with_its_words() {
    let redis = Redis::builder().line("user reader on >sesame ~* &* +@read +subscribe +ping +client -keys").start();
    redis.command::<()>(&["RPUSH", &format!("{NAMESPACE}/{NAME}/default/list"), "x"]);
    let reader =
        json!({"address": redis.address(), "username": "reader", "passwordFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}});
    let stores = json!({"keyValueStores": [{"name": "read-only", "connection": reader}]});
    let app = app(redis.trigger(), json!({"keyValueStores": ["default", "read-only"]}), stores).with("secret/redis/password", "sesame");
    let guests = Guests::run(&redis, &app);
    for (guest, interface) in VERSIONS {
        guests.assert_error(guest, call(interface, "get", &["default", "list"]), other(interface), &["WRONGTYPE"]);
        guests.assert_error(guest, call(interface, "set", &["read-only", "k", "v"]), other(interface), &["no permissions", "'set'"]);
        guests.assert_error(guest, call(interface, "delete", &["read-only", "k"]), other(interface), &["no permissions", "'del'"]);
        assert_eq!(guests.value(guest, call(interface, "get-keys", &["read-only"])), json!([]));
    }
}

#[test]
fn a_server_that_is_gone_is_an_error_until_it_is_back() {
    let trigger = Redis::start();
    let mut cache = Redis::start();
    let stores = json!({"keyValueStores": [{"name": "cache", "connection": {"address": cache.address()}}]});
    let guests = Guests::run(&trigger, &app(trigger.trigger(), json!({"keyValueStores": ["cache"]}), stores));
    for round in ["first", "second"] {
        for (guest, interface) in VERSIONS {
            guests.value(guest, call(interface, "set", &["cache", "key", round]));
            assert_eq!(guests.value(guest, call(interface, "get", &["cache", "key"])), round);
        }
        cache.kill();
        let port = cache.port().to_string();
        for (guest, interface) in VERSIONS {
            for (function, arguments) in [("get", &["cache", "key"][..]), ("set", &["cache", "key", "lost"]), ("get-keys", &["cache"])] {
                guests.assert_error(guest, call(interface, function, arguments), other(interface), &[&port, "cannot be reached"]);
            }
        }
        cache.start_again();
    }
}

#[test]
fn a_connection_that_redis_closed_costs_no_call() {
    let trigger = Redis::start();
    let cache = Redis::start();
    let stores = json!({"keyValueStores": [{"name": "cache", "connection": {"address": cache.address()}}]});
    let guests = Guests::run(&trigger, &app(trigger.trigger(), json!({"keyValueStores": ["cache"]}), stores));
    for (guest, interface) in VERSIONS {
        for round in ["first", "second"] {
            guests.value(guest, call(interface, "set", &["cache", "key", round]));
            cache.command::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            assert_eq!(guests.value(guest, call(interface, "get", &["cache", "key"])), round);
        }
    }
}

#[test]
fn calls_share_one_connection_to_a_server() {
    let trigger = Redis::start();
    let cache = Redis::start();
    let stores = ["a", "b"].map(|name| json!({"name": name, "connection": {"address": cache.address()}}));
    let stores = json!({"keyValueStores": stores});
    let guests = Guests::run(&trigger, &app(trigger.trigger(), json!({"keyValueStores": ["a", "b"]}), stores));
    for (guest, interface) in VERSIONS {
        for store in ["a", "b"] {
            for number in 0..5 {
                guests.value(guest, call(interface, "set", &[store, "key", &number.to_string()]));
            }
        }
    }
    let clients: String = cache.command(&["CLIENT", "LIST"]);
    assert_eq!(clients.lines().filter(|line| line.contains("addr=127.0.0.1")).count(), 1, "{clients}");
}
