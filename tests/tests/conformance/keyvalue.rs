//! `wasi:keyvalue`: store, atomics and batch, on the same stores as Spin's key-value interface.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use spinredis_tests::{
    app::{NAME, NAMESPACE},
    redis::Redis,
};

use crate::calls::{Guests, SYNC, app};

/// An app whose guests may open the store `default`.
fn with_default_store(redis: &Redis) -> Guests<'_> {
    Guests::with(redis, json!({"keyValueStores": ["default"]}))
}

/// Where a key of the store `default` lies in Redis.
fn in_redis(key: &str) -> String {
    format!("{NAMESPACE}/{NAME}/default/{key}")
}

/// A call on the store `default`.
fn call(function: &str, arguments: Value) -> Value {
    let mut call = vec![json!(format!("keyvalue.{function}")), json!("default")];
    call.extend(arguments.as_array().unwrap().clone());
    json!(call)
}

#[test]
fn what_is_set_can_be_got_listed_and_deleted() {
    let redis = Redis::start();
    let guests = with_default_store(&redis);
    let value = |function, arguments| guests.value(SYNC, call(function, arguments));
    assert_eq!(value("open", json!([])), Value::Null);
    assert_eq!(value("get", json!(["key"])), Value::Null);
    assert_eq!(value("exists", json!(["key"])), false);
    assert_eq!(value("delete", json!(["key"])), Value::Null, "deleting what is not there is no error");
    assert_eq!(value("list-keys", json!([])), json!({"keys": [], "cursor": null}));
    for text in ["value", "", "grüße \0 👋"] {
        value("set", json!(["key", text]));
        assert_eq!(value("get", json!(["key"])), text);
        assert_eq!(redis.command::<String>(&["GET", &in_redis("key")]), text);
    }
    assert_eq!(value("exists", json!(["key"])), true);
    assert_eq!(value("list-keys", json!([])), json!({"keys": ["key"], "cursor": null}));
    value("delete", json!(["key"]));
    assert_eq!(redis.command::<u64>(&["DBSIZE"]), 0);
}

#[test]
fn unknown_stores_and_stores_of_others_are_refused() {
    let redis = Redis::start();
    let stores = json!({"keyValueStores": [{"name": "others"}]});
    let guests = Guests::run(&redis, &app(redis.trigger(), json!({"keyValueStores": ["default"]}), stores));
    guests.assert_error(SYNC, json!(["keyvalue.open", "unknown"]), "no-such-store", &[]);
    guests.assert_error(SYNC, json!(["keyvalue.open", "others"]), "access-denied", &[]);
}

#[test]
fn what_redis_refuses_is_an_error_with_its_words() {
    let redis = Redis::start();
    let guests = with_default_store(&redis);
    redis.command::<()>(&["RPUSH", &in_redis("list"), "x"]);
    redis.command::<()>(&["SET", &in_redis("text"), "no number"]);
    guests.assert_error(SYNC, call("get", json!(["list"])), "other", &["WRONGTYPE"]);
    guests.assert_error(SYNC, call("increment", json!(["list", 1])), "other", &["WRONGTYPE"]);
    guests.assert_error(SYNC, call("increment", json!(["text", 1])), "other", &["not an integer"]);
    guests.assert_error(SYNC, call("list-keys", json!(["no cursor"])), "other", &["cursor"]);
    // What has no value that could be compared fails where it is looked at.
    guests.assert_error(SYNC, call("swap", json!(["list", "x"])), "other", &["WRONGTYPE"]);
}

#[test]
fn a_server_that_is_gone_is_an_error_until_it_is_back() {
    let trigger = Redis::start();
    let mut cache = Redis::start();
    let stores = json!({"keyValueStores": [{"name": "cache", "connection": {"address": cache.address()}}]});
    let guests = Guests::run(&trigger, &app(trigger.trigger(), json!({"keyValueStores": ["cache"]}), stores));
    let calls = [
        json!(["keyvalue.set", "cache", "key", "value"]),
        json!(["keyvalue.get", "cache", "key"]),
        json!(["keyvalue.increment", "cache", "n", 1]),
        json!(["keyvalue.list-keys", "cache"]),
        json!(["keyvalue.get-many", "cache", "key"]),
        json!(["keyvalue.swap", "cache", "key", "value"]),
    ];
    for call in &calls {
        guests.value(SYNC, call.clone());
    }
    cache.kill();
    // What must not be run twice may meet the broken connection first.
    guests.error(SYNC, calls[2].clone());
    for call in &calls {
        guests.assert_error(SYNC, call.clone(), "other", &["cannot be reached"]);
    }
    cache.start_again();
    for call in calls {
        guests.value(SYNC, call);
    }
}

#[test]
fn numbers_are_incremented_in_one_step() {
    let redis = Redis::start();
    let guests = with_default_store(&redis);
    let increment = |delta: i64| guests.value(SYNC, call("increment", json!(["n", delta])));
    assert_eq!(increment(0), 0, "a missing key counts as 0");
    assert_eq!(increment(5), 5);
    assert_eq!(increment(-12), -7);
    assert_eq!(redis.command::<String>(&["GET", &in_redis("n")]), "-7");
    redis.command::<()>(&["SET", &in_redis("n"), &i64::MAX.to_string()]);
    guests.assert_error(SYNC, call("increment", json!(["n", 1])), "other", &["overflow"]);
    assert_eq!(redis.command::<i64>(&["GET", &in_redis("n")]), i64::MAX);
}

#[test]
fn a_value_is_swapped_unless_it_changed_meanwhile() {
    let redis = Redis::start();
    let guests = with_default_store(&redis);
    let swap = |arguments| guests.ask(SYNC, call("swap", arguments));
    let now = || redis.command::<String>(&["GET", &in_redis("key")]);
    assert_eq!(swap(json!(["key", "first"])), json!({"ok": null}), "there was nothing, and it is still so");
    assert_eq!(swap(json!(["key", "second"])), json!({"ok": "first"}));
    assert_eq!(now(), "second");
    assert_eq!(swap(json!(["key", "third", "meanwhile"])), json!({"error": ["cas-failed", "meanwhile"]}));
    assert_eq!(now(), "meanwhile", "what others wrote stays");
    assert_eq!(swap(json!(["key", "fourth", "meanwhile"])), json!({"ok": "meanwhile"}), "the same value is no change");
    assert_eq!(swap(json!(["key", "", ""])), json!({"error": ["cas-failed", ""]}));
    assert_eq!(swap(json!(["key", "fifth"])), json!({"ok": ""}), "an empty value is a value");
    assert_eq!(now(), "fifth");
    // A key that was missing and is there now.
    assert_eq!(swap(json!(["other", "mine", "theirs"])), json!({"error": ["cas-failed", "theirs"]}));
    assert_eq!(redis.command::<String>(&["GET", &in_redis("other")]), "theirs");
}

#[test]
fn many_keys_are_got_set_and_deleted_at_once() {
    let redis = Redis::start();
    let guests = with_default_store(&redis);
    let value = |function, arguments| guests.value(SYNC, call(function, arguments));
    assert_eq!(value("set-many", json!(["a", "1", "b", "", "c", "grüße"])), Value::Null);
    assert_eq!(redis.command::<String>(&["GET", &in_redis("c")]), "grüße");
    assert_eq!(
        value("get-many", json!(["c", "missing", "a", "b", "a"])),
        json!([["c", "grüße"], ["missing", null], ["a", "1"], ["b", ""], ["a", "1"]]),
        "in the order in which they were asked for"
    );
    assert_eq!(value("delete-many", json!(["a", "missing", "b"])), Value::Null);
    assert_eq!(value("get-many", json!(["a", "b", "c"])), json!([["a", null], ["b", null], ["c", "grüße"]]));
    // Of nothing there is nothing to do.
    assert_eq!(value("get-many", json!([])), json!([]));
    assert_eq!(value("set-many", json!([])), Value::Null);
    assert_eq!(value("delete-many", json!([])), Value::Null);
    assert_eq!(value("exists", json!(["c"])), true);
}

#[test]
fn keys_are_listed_in_pages_and_none_is_missing() {
    let redis = Redis::start();
    let guests = with_default_store(&redis);
    let script = "for i = 1, 3000 do redis.call('SET', ARGV[1] .. i, i) redis.call('SET', 'stranger' .. i, i) end";
    redis.command::<()>(&["EVAL", script, "0", &in_redis("")]);
    let mut cursor = json!([]);
    let mut keys = BTreeSet::new();
    let mut pages = 0;
    loop {
        let page = guests.value(SYNC, call("list-keys", cursor));
        pages += 1;
        keys.extend(page["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()));
        if page["cursor"].is_null() {
            break;
        }
        cursor = json!([page["cursor"]]);
    }
    assert!(pages > 3, "{pages} pages");
    assert_eq!(keys, (1..=3000).map(|number| number.to_string()).collect());
}
