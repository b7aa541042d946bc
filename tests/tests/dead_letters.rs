//! Dead letters with a real Redis: what becomes of a message that fails for good, and what a person does about it with
//! `spinredis dead-letters`. How letters are written and taken back while Redis comes and goes is in
//! `runtime/tests/dead_letters`.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};
use spinredis_tests::{
    app::{App, NAME, NAMESPACE, assert_no_stack_trace, manifest},
    guests::source,
    metrics::{FAILED, HANDLED, RECEIVED},
    redis::Redis,
    runtime::{Runtime, binary},
    wait::eventually,
};

const STREAM: &str = "failed";
const REDRIVE: &str = "failed:redrive";

/// A component that gets one channel, named after itself, and keeps what fails in [`STREAM`].
fn component(id: &str, guest: &str) -> Value {
    json!({"id": id, "channels": [id], "source": source(guest), "deadLetter": {"stream": STREAM}})
}

fn with(mut component: Value, field: &str, value: Value) -> Value {
    component[field] = value;
    component
}

fn app(redis: &Redis, components: Value) -> App {
    App::new(redis.trigger(), components)
}

// ---- The command ----------------------------------------------------------------------------------------------------

/// An entry as the runtime writes it, and its id.
fn put(redis: &Redis, component: &str, channel: &str, payload: &str) -> String {
    put_at(redis, "*", &format!("{NAMESPACE}/{NAME}"), component, channel, payload)
}

fn put_at(redis: &Redis, id: &str, app: &str, component: &str, channel: &str, payload: &str) -> String {
    let fields = [
        ("app", app),
        ("component", component),
        ("channel", channel),
        ("address", "redis://127.0.0.1:6379"),
        ("reason", "guest_error"),
        ("error", "the handler returned an error: no such order"),
        ("attempts", "3"),
        ("first-ms", "1700000000000"),
        ("last-ms", "1700000009000"),
        ("payload", payload),
    ];
    let words = ["XADD", STREAM, id].into_iter().chain(fields.iter().flat_map(|(name, value)| [*name, *value]));
    redis.command(&words.collect::<Vec<_>>())
}

fn output(file: &Path, args: &[&str]) -> Output {
    let (command, more) = args.split_first().unwrap();
    Command::new(binary()).args(["dead-letters", command, "-f"]).arg(file).args(more).output().unwrap()
}

/// What the command prints on stdout, and on stderr, when it works.
fn works(app: &App, args: &[&str]) -> (String, String) {
    let output = output(&app.file(), args);
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{args:?}: {stdout}{stderr}");
    (stdout, stderr)
}

/// The sentence on stderr when it does not, on one line and with nothing on stdout.
fn fails(app: &App, args: &[&str]) -> String {
    let output = output(&app.file(), args);
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), stdout.as_str()), (Some(1), ""), "{args:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert_no_stack_trace(&stderr);
    stderr
}

fn length(redis: &Redis, stream: &str) -> u64 {
    redis.command(&["XLEN", stream])
}

#[test]
fn the_newest_are_listed_first_and_as_many_as_wanted() {
    let redis = Redis::start();
    let app = app(&redis, json!([component("orders", "hello.wat")]));
    assert_eq!(works(&app, &["list"]).0, format!("there are no dead letters in stream {STREAM} of {}\n", redis.address()));
    let ids: Vec<String> = (0..3).map(|number| put(&redis, "orders", &format!("orders.{number}"), "x")).collect();
    let (table, _) = works(&app, &["list"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("ID ") && lines.len() == 4, "{table}");
    assert!(lines[1].starts_with(&ids[2]) && lines[1].contains("  2023-11-14T22:13:29Z  orders     orders.2  3 "), "{table}");
    assert!(lines[1].ends_with("guest_error  the handler returned an error: no such order"), "{table}");
    assert!(lines[3].starts_with(&ids[0]), "{table}");
    let (table, note) = works(&app, &["list", "--limit", "2"]);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(note.contains("the newest 2"), "{note}");
}

#[test]
fn json_has_a_line_for_each() {
    let redis = Redis::start();
    let app = app(&redis, json!([component("orders", "hello.wat")]));
    assert_eq!(works(&app, &["list", "--json"]).0, "");
    let id = put(&redis, "orders", "orders", "größe");
    let letter: Value = serde_json::from_str(&works(&app, &["list", "--json"]).0).unwrap();
    assert_eq!((&letter["id"], &letter["attempts"], &letter["payloadBytes"]), (&json!(id), &json!(3), &json!(7)));
    assert_eq!((&letter["channel"], &letter["pattern"]), (&json!("orders"), &Value::Null));
}

#[test]
fn a_payload_is_shown_as_text_or_in_hexadecimal_or_as_it_is() {
    let redis = Redis::start();
    let app = app(&redis, json!([component("orders", "hello.wat")]));
    let text = put(&redis, "orders", "orders", "{\"größe\": 1}");
    let shown = works(&app, &["show", &text]).0;
    assert!(shown.starts_with(&format!("id              {text}\napp             {NAMESPACE}/{NAME}\n")), "{shown}");
    assert!(shown.ends_with("payload         14 bytes\n\n{\"größe\": 1}\n"), "{shown}");
    let binary = put(&redis, "orders", "orders", "\x1b[2J");
    assert!(works(&app, &["show", &binary]).0.ends_with("00000000  1b 5b 32 4a                                      .[2J\n"));
    assert_eq!(works(&app, &["show", &binary, "--raw"]).0, "\x1b[2J");
    assert!(fails(&app, &["show", "1-1"]).contains("stream failed has no entry 1-1"));
}

#[test]
fn chosen_entries_are_moved_and_the_others_stay() {
    let redis = Redis::start();
    let app = app(&redis, json!([component("orders", "hello.wat")]));
    let ids: Vec<String> = ["a", "b", "c"].map(|payload| put(&redis, "orders", "orders", payload)).into();
    let (said, _) = works(&app, &["redrive", &ids[0], "--dry-run"]);
    assert_eq!(said, format!("{}\n1 entry would be moved to stream {REDRIVE}\n", ids[0]));
    assert_eq!((length(&redis, STREAM), length(&redis, REDRIVE)), (3, 0));
    // Twice the same is once.
    let (said, _) = works(&app, &["redrive", &ids[0], &ids[0]]);
    assert!(said.starts_with("1 entry was moved to stream failed:redrive"), "{said}");
    assert_eq!((length(&redis, STREAM), length(&redis, REDRIVE)), (2, 1));
    assert!(works(&app, &["list"]).1.contains("1 entry is in stream failed:redrive"));
    // One that is gone is named, and then none is moved.
    let sentence = fails(&app, &["redrive", &ids[1], &ids[0]]);
    assert!(sentence.contains(&format!("has no entry {}:", ids[0])), "{sentence}");
    assert_eq!((length(&redis, STREAM), length(&redis, REDRIVE)), (2, 1));
    let (said, _) = works(&app, &["redrive", "--all"]);
    assert!(said.starts_with("2 entries were moved"), "{said}");
    assert_eq!((length(&redis, STREAM), length(&redis, REDRIVE)), (0, 3));
}

#[test]
fn entries_of_other_components_and_apps_are_left_alone() {
    let redis = Redis::start();
    let app = app(&redis, json!([component("orders", "hello.wat"), component("bills", "hello.wat")]));
    let theirs = put_at(&redis, "*", "elsewhere/app", "orders", "orders", "theirs");
    put(&redis, "orders", "orders", "order");
    put(&redis, "bills", "bills", "bill");
    let strange: String = redis.command(&["XADD", STREAM, "*", "colour", "green"]);
    let (table, note) = works(&app, &["list"]);
    assert!(table.lines().count() == 3 && !table.contains(&theirs), "{table}");
    assert!(note.contains(&format!("1 entry was left out, the first is {strange}: it has no field `channel`")), "{note}");
    assert_eq!(works(&app, &["list", "-c", "bills"]).0.lines().count(), 2);
    assert!(fails(&app, &["redrive", &theirs]).contains("is of component orders of app elsewhere/app: nothing was done"));
    assert!(works(&app, &["redrive", "--all", "--component", "bills"]).0.starts_with("1 entry was moved"));
    assert!(works(&app, &["purge", "--all", "--yes"]).0.starts_with("1 entry was removed"));
    assert_eq!((length(&redis, STREAM), length(&redis, REDRIVE)), (2, 1));
}

#[test]
fn removing_needs_a_yes() {
    let redis = Redis::start();
    let app = app(&redis, json!([component("orders", "hello.wat")]));
    put(&redis, "orders", "orders", "new");
    put_at(&redis, "99999999999999-0", &format!("{NAMESPACE}/{NAME}"), "orders", "orders", "newer");
    assert_eq!(fails(&app, &["purge", "--all"]), "nothing was removed: add --yes to remove 2 entries from stream failed\n");
    assert!(works(&app, &["purge", "--all", "--dry-run"]).0.ends_with("2 entries would be removed from stream failed\n"));
    assert_eq!(works(&app, &["purge", "--older-than", "1d", "--yes"]).0, "0 entries were removed from stream failed\n");
    assert_eq!(works(&app, &["purge", "--older-than", "0s", "--yes"]).0, "1 entry was removed from stream failed\n");
    assert_eq!(works(&app, &["purge", "99999999999999-0", "--yes"]).0, "1 entry was removed from stream failed\n");
    assert_eq!(length(&redis, STREAM), 0);
}

#[test]
fn many_entries_and_large_ones_are_moved_to_the_last() {
    let redis = Redis::start();
    let app = app(&redis, json!([component("orders", "hello.wat")]));
    let large = "x".repeat(1 << 20);
    for number in 0..500 {
        put(&redis, "orders", "orders", if number % 50 == 0 { &large } else { "small" });
    }
    assert_eq!(works(&app, &["list", "--limit", "1000"]).0.lines().count(), 501);
    assert!(works(&app, &["redrive", "--all"]).0.starts_with("500 entries were moved"));
    assert_eq!((length(&redis, STREAM), length(&redis, REDRIVE)), (0, 500));
}

#[test]
fn what_stands_in_the_way_is_said_in_a_sentence() {
    let redis = Redis::builder().line("user anna on >sesame ~other +xlen +xrange").start();
    let none = app(&redis, json!([{"id": "orders", "channels": ["orders"], "source": source("hello.wat")}]));
    assert!(fails(&none, &["list"]).contains("no component of app tests/app has deadLetter"));

    let two = with(component("bills", "hello.wat"), "deadLetter", json!({"stream": "other"}));
    let two = app(&redis, json!([component("orders", "hello.wat"), two]));
    assert!(fails(&two, &["list"]).contains("name one with --component: orders (stream failed of redis://127.0.0.1:"));
    assert!(works(&two, &["list", "-c", "bills"]).0.contains("stream other"));
    assert!(fails(&two, &["list", "-c", "bill"]).contains("it has orders, bills"));

    let letters = component("orders", "hello.wat");
    let password = json!({"secretKeyRef": {"name": "redis", "key": "password"}});
    let trigger = json!({"address": redis.address(), "username": "anna", "passwordFrom": password});
    let refused = App::new(trigger, json!([letters]));
    assert!(fails(&refused, &["list"]).contains("Secret redis"));
    let refused = refused.with("secret/redis/password", "hunter2");
    let refs = refused.refs().display().to_string();
    let sentence = fails(&refused, &["list", "--refs", &refs]);
    assert!(sentence.contains("refuses to sign in user anna: correct key password of Secret redis"), "{sentence}");
    refused.set("secret/redis/password", "sesame");
    let sentence = fails(&refused, &["list", "--refs", &refs]);
    assert!(sentence.contains("NOPERM") && sentence.contains("permit XADD"), "{sentence}");

    let () = redis.command(&["SET", STREAM, "something"]);
    let wrong = app(&redis, json!([letters]));
    assert!(fails(&wrong, &["list"]).contains("the key holds something else than a stream: name another key in deadLetter.stream"));
    let gone = app(&redis, json!([letters]));
    drop(redis);
    assert!(fails(&gone, &["list"]).contains("cannot be reached"));
}

#[test]
fn another_address_and_a_password_of_the_environment_are_used() {
    let redis = Redis::builder().password("sesame").start();
    let password = json!({"secretKeyRef": {"name": "redis", "key": "password"}});
    let app = App::new(json!({"address": "redis://nowhere.invalid", "passwordFrom": password}), json!([component("orders", "hello.wat")]));
    let mut command = Command::new(binary());
    command.args(["dead-letters", "list", "--address", &redis.address(), "--ref", "secret/redis/password=env:SESAME", "-f"]);
    let output = command.arg(app.file()).env("SESAME", "sesame").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let sentence = fails(&app, &["list", "--address", "redis://:hunter2@redis"]);
    assert!(!sentence.contains("hunter2") && sentence.contains("--ref"), "{sentence}");
}

// ---- From a failing handler to the stream, and back --------------------------------------------------------------------

/// The letters of an app, the newest first.
fn letters(app: &App) -> Vec<Value> {
    works(app, &["list", "--json"]).0.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn wait_for_letters(app: &App, count: usize) -> Vec<Value> {
    eventually(&format!("there are {count} dead letters"), || {
        let letters = letters(app);
        if letters.len() == count { Ok(letters) } else { Err(format!("{letters:?}")) }
    })
}

fn redrive_all(app: &App) {
    works(app, &["redrive", "--all"]);
}

fn wait_for_empty(runtime: &Runtime, redis: &Redis, stream: &str) {
    runtime.eventually(&format!("stream {stream} is empty"), || match length(redis, stream) {
        0 => Ok(()),
        length => Err(format!("it has {length} entries")),
    });
}

#[test]
fn a_message_that_fails_for_good_is_kept_with_what_is_known_of_it() {
    let redis = Redis::start();
    let retry = json!({"maxAttempts": 3, "initialBackoff": "10ms"});
    let orders = with(with(component("orders", "error.wat"), "retry", retry), "patterns", json!(["orders.*"]));
    let app = app(&redis, json!([orders]));
    let runtime = app.run();
    redis.publish("orders.eu", "payload\0with\u{1b}bytes");
    let letters = wait_for_letters(&app, 1);
    let letter = &letters[0];
    assert_eq!((&letter["app"], &letter["component"]), (&json!(format!("{NAMESPACE}/{NAME}")), &json!("orders")));
    assert_eq!((&letter["channel"], &letter["pattern"]), (&json!("orders.eu"), &json!("orders.*")));
    assert_eq!((&letter["attempts"], &letter["reason"]), (&json!(3), &json!("guest_error")));
    assert_eq!(letter["address"], json!(redis.address()));
    assert!(letter["error"].as_str().unwrap().contains("the handler returned an error"), "{letter}");
    assert!(letter["firstMs"].as_u64().unwrap() <= letter["lastMs"].as_u64().unwrap(), "{letter}");
    assert_eq!(works(&app, &["show", letter["id"].as_str().unwrap(), "--raw"]).0, "payload\0with\u{1b}bytes");
    runtime.wait_for_metric(FAILED, &[("component", "orders")], 1.0);
    runtime.scrape().assert_balanced();
}

#[test]
fn what_is_redriven_is_handled_by_the_component_that_failed_and_published_to_nobody() {
    let redis = Redis::start();
    let failing = app(&redis, json!([component("orders", "error.wat"), component("bills", "hello.wat")]));
    let mut runtime = failing.run();
    redis.publish("orders", "mend me");
    wait_for_letters(&failing, 1);
    runtime.terminate();
    assert_eq!(runtime.wait(), 0, "{}", runtime.log());
    // Redriven while nothing runs: it waits for the component, which is mended meanwhile.
    redrive_all(&failing);
    let listens_too = json!({"id": "listener", "channels": ["orders"], "source": source("hello.wat")});
    let mended = app(&redis, json!([component("orders", "hello.wat"), component("bills", "hello.wat"), listens_too]));
    let runtime = mended.run();
    runtime.wait_for_guest("orders", "Got message: mend me");
    wait_for_empty(&runtime, &redis, REDRIVE);
    assert_eq!(runtime.metric(RECEIVED, &[("component", "orders"), ("source", "redrive")]), 1.0);
    assert_eq!(runtime.metric(HANDLED, &[("component", "orders")]), 1.0);
    assert_eq!((runtime.guest_lines("listener"), runtime.guest_lines("bills")), (vec![], vec![]));
    runtime.scrape().assert_balanced();
}

#[test]
fn what_fails_again_is_a_dead_letter_again_with_its_attempts_added() {
    let redis = Redis::start();
    let app = app(&redis, json!([component("orders", "error.wat")]));
    let runtime = app.run();
    redis.publish("orders", "never");
    let first = wait_for_letters(&app, 1).remove(0);
    redrive_all(&app);
    let again = runtime.eventually("it failed again", || match letters(&app).pop() {
        Some(letter) if letter["attempts"] == 2 => Ok(letter),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(first["firstMs"], again["firstMs"]);
    assert!(first["lastMs"].as_u64() <= again["lastMs"].as_u64(), "{again}");
    wait_for_empty(&runtime, &redis, REDRIVE);
    runtime.wait_for_metric(FAILED, &[("component", "orders")], 2.0);
    runtime.scrape().assert_balanced();
}

#[test]
fn what_ends_every_pod_that_takes_it_is_handled_again_five_times_and_then_stays_a_dead_letter() {
    let redis = Redis::start();
    let app = app(&redis, json!([component("orders", "hello.wat")]));
    put(&redis, "orders", "orders", "ends the pod");
    redrive_all(&app);
    let (group, gone) = (format!("{NAMESPACE}/{NAME}/orders"), "pod-gone");
    let entries: Vec<(String, Vec<String>)> = redis.command(&["XRANGE", REDRIVE, "-", "+"]);
    let id = entries[0].0.clone();
    // As five pods leave it that ended while they handled it.
    let () = redis.command(&["XGROUP", "CREATE", REDRIVE, &group, "0"]);
    let () = redis.command(&["XREADGROUP", "GROUP", &group, gone, "STREAMS", REDRIVE, ">"]);
    let () = redis.command(&["XCLAIM", REDRIVE, &group, gone, "0", &id, "IDLE", "60000", "RETRYCOUNT", "5"]);
    let runtime = app.run();
    let letter = wait_for_letters(&app, 1).remove(0);
    assert_eq!((&letter["reason"], &letter["attempts"]), (&json!("unfinished"), &json!(3)), "{letter}");
    assert!(letter["error"].as_str().unwrap().contains("handed out 5 times"), "{letter}");
    wait_for_empty(&runtime, &redis, REDRIVE);
    assert_eq!(runtime.metric(RECEIVED, &[("component", "orders"), ("source", "redrive")]), 0.0);
    // The next redrive begins anew.
    redrive_all(&app);
    runtime.wait_for_metric(HANDLED, &[("component", "orders")], 1.0);
}

#[test]
fn what_is_left_when_the_time_to_drain_is_up_is_kept() {
    let redis = Redis::start();
    let mut manifest = manifest(redis.trigger(), json!([with(component("orders", "sleep.wat"), "concurrency", json!(1))]));
    manifest["spec"]["drain"] = json!("200ms");
    let app = App::from_text(&manifest.to_string());
    let mut runtime = app.run();
    redis.publish_all("orders", (0..3).map(|number| number.to_string()));
    runtime.wait_for_metric(RECEIVED, &[], 3.0);
    runtime.terminate();
    assert_eq!(runtime.wait(), 0, "{}", runtime.log());
    let letters = wait_for_letters(&app, 3);
    assert!(letters.iter().all(|letter| letter["reason"] == "drain"), "{letters:?}");
}

#[test]
fn letters_wait_for_a_redis_that_is_away() {
    let trigger = Redis::start();
    let mut kept = Redis::start();
    let letters = json!({"stream": STREAM, "connection": {"address": kept.address()}});
    let app = app(&trigger, json!([with(component("orders", "error.wat"), "deadLetter", letters)]));
    let runtime = app.run();
    kept.kill();
    trigger.publish("orders", "one");
    runtime.wait_for_message("dead letters cannot be written to stream `failed`");
    runtime.wait_for_metric(FAILED, &[("component", "orders")], 1.0);
    kept.start_again();
    runtime.wait_for_message("dead letters are written again");
    wait_for_letters(&app, 1);
}
