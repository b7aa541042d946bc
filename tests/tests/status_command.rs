//! `spinredis status`: a person in a pod, with nothing but the runtime's own program, sees how the app fares.

use std::{
    net::UdpSocket,
    process::{Command, Output},
};

use serde_json::{Value, json};
use spinredis_tests::{
    app::{App, assert_no_stack_trace},
    guests::source,
    http,
    metrics::{FAILED, HANDLED},
    ports,
    redis::Redis,
    runtime::{Runtime, binary},
    wait::eventually,
};

const PASSWORD: &str = "canary-of-the-password";
const PAYLOAD: &str = "canary-of-the-payload";

/// An app of two components, of which `book` fails whatever it gets, and keeps dead letters.
fn app(redis: &Redis) -> App {
    let mut trigger = redis.trigger();
    trigger["passwordFrom"] = json!({"secretKeyRef": {"name": "redis", "key": "password"}});
    let retry = json!({"maxAttempts": 2, "initialBackoff": "10ms"});
    let components = json!([
        {"id": "hello", "channels": ["orders"], "patterns": ["audit.*"], "source": source("hello.wat")},
        {"id": "book", "channels": ["books"], "source": source("trap.wat"), "retry": retry, "deadLetter": {"stream": "failed"}},
    ]);
    App::new(trigger, components).with("secret/redis/password", PASSWORD)
}

fn status(arguments: &[&str]) -> Output {
    Command::new(binary()).arg("status").args(arguments).output().unwrap()
}

/// What it prints of an app, on which it must not fail; nothing secret is in it.
fn shown(runtime: &Runtime, arguments: &[&str]) -> String {
    let output = status(&[&["--listen", runtime.health()], arguments].concat());
    let (text, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    for canary in [PASSWORD, PAYLOAD] {
        assert!(!text.contains(canary), "{canary} in:\n{text}");
    }
    text
}

fn json_of(runtime: &Runtime) -> Value {
    serde_json::from_str(&shown(runtime, &["-o", "json"])).unwrap()
}

#[test]
fn it_shows_subscriptions_counters_last_failures_and_dead_letters_and_no_payload_or_password() {
    let redis = Redis::builder().password(PASSWORD).start();
    let runtime = app(&redis).run();
    for channel in ["orders", "audit.today", "books"] {
        redis.publish(channel, PAYLOAD);
    }
    runtime.wait_for_metric(HANDLED, &[], 2.0);
    runtime.wait_for_metric(FAILED, &[], 1.0);
    runtime.wait_for_metric("spinredis_dead_letter_stream_length", &[], 1.0);

    let report = json_of(&runtime);
    assert_eq!((&report["app"], &report["ready"]), (&json!("tests/app"), &json!(true)));
    let server = &report["servers"][0];
    assert_eq!((&server["address"], &server["reason"]), (&json!(redis.address()), &json!("Subscribed")));
    let subscription = |name: &str, pattern: bool| json!({"name": name, "pattern": pattern, "state": "Subscribed"});
    assert_eq!(
        server["subscriptions"],
        json!([subscription("books", false), subscription("orders", false), subscription("audit.*", true)])
    );
    let [hello, book] = [0, 1].map(|place| &report["components"][place]);
    assert_eq!((&hello["id"], &hello["received"], &hello["handled"]), (&json!("hello"), &json!(2), &json!(2)));
    assert_eq!((&book["received"], &book["failed"], &book["retries"]), (&json!(1), &json!({"trap": 1}), &json!(1)));
    assert_eq!((&book["deadLetters"]["length"], &book["deadLetters"]["pending"]), (&json!(1), &json!(0)));
    let failures = book["lastFailures"].as_array().unwrap();
    let told: Vec<_> = failures.iter().map(|failed| (failed["attempt"].clone(), failed["retrying"].clone())).collect();
    assert_eq!(told, [(json!(2), json!(false)), (json!(1), json!(true))], "the newest first");
    assert_eq!((&failures[0]["sequence"], &failures[0]["channel"], &failures[0]["reason"]), (&json!(1), &json!("books"), &json!("trap")));

    let text = shown(&runtime, &[]);
    for part in ["ready    yes", &redis.address(), "pattern audit.*", "COMPONENT", "failed: trap 1", "stream failed has 1 entr", "for good"]
    {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

#[test]
fn while_redis_is_away_it_says_so_and_since_when() {
    let mut redis = Redis::builder().password(PASSWORD).start();
    let runtime = app(&redis).run();
    redis.kill();
    runtime.wait_for_reason("RedisUnreachable");
    let report = json_of(&runtime);
    let server = &report["servers"][0];
    assert_eq!((&report["ready"], &server["reason"], &server["subscribed"]), (&json!(false), &json!("RedisUnreachable"), &json!(0)));
    assert_eq!(server["reconnects"], 1);
    assert!(server["since"].as_u64().unwrap() <= report["now"].as_u64().unwrap());
    assert!(server["subscriptions"].as_array().unwrap().iter().all(|subscription| subscription["state"] == "Waiting"), "{server}");
    let text = shown(&runtime, &[]);
    assert!(text.contains("ready    no") && text.contains("RedisUnreachable for ") && text.contains("lost 1 time"), "{text}");
}

#[test]
fn without_an_app_it_says_what_to_do() {
    let address = format!("127.0.0.1:{}", ports::free());
    let output = status(&["--listen", &address]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains(&address) && error.contains("--listen"), "{error}");
    assert_no_stack_trace(&error);
}

#[test]
fn another_machine_is_told_nothing_of_what_guests_said() {
    let redis = Redis::builder().password(PASSWORD).start();
    let port = ports::free();
    let app = app(&redis);
    let _runtime = Runtime::start(&mut app.run_command_listening(&format!(":{port}")));
    // The address that packets to elsewhere would come from; nothing is sent.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let elsewhere = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()).map(|address| address.ip());
    let code = |host: &str| {
        eventually("the health port answers", || http::get(&format!("{host}:{port}"), "/debug/status").map_err(|error| error.to_string()))
    };
    assert_eq!(code("127.0.0.1").0, 200);
    // A machine without a network has no other address to ask from.
    if let Ok(address) = elsewhere {
        let (code, text) = code(&address.to_string());
        assert_eq!(code, 403, "{text}");
        assert!(text.contains("spinredis status"), "{text}");
    }
}
