//! What failed for good is kept in a stream of Redis, and may be given to the component again.

use std::{
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use spinredis_tests::{
    app::App,
    metrics::{FAILED, HANDLED, RECEIVED},
    redis::{Fields, Redis},
    runtime::{Runtime, binary},
    watch::Watch,
};

use super::{app, assert_ends_well, component, wait_for_lines};

const STREAM: &str = "dead";
const WRITTEN: &str = "spinredis_dead_letters_total";

/// Waits until the stream has so many entries, and gives their fields.
fn wait_for_entries(runtime: &Runtime, redis: &Redis, count: usize) -> Vec<Fields> {
    runtime.eventually(&format!("the stream has {count} entries"), || {
        let entries = redis.stream(STREAM);
        if entries.len() == count { Ok(entries) } else { Err(format!("{} entries", entries.len())) }
    })
}

/// A field that is text.
pub fn text<'a>(fields: &'a Fields, name: &str) -> &'a str {
    std::str::from_utf8(fields.get(name).unwrap_or_else(|| panic!("no {name} in {fields:?}"))).unwrap()
}

fn milliseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

#[test]
fn a_message_that_failed_for_good_is_kept_with_all_that_is_known_of_it() {
    let redis = Redis::start();
    let more = json!({"retry": {"maxAttempts": 3, "initialBackoff": "200ms"}, "deadLetter": {"stream": STREAM}});
    let runtime = app(&redis, more).run();
    let watch = Watch::start(&runtime);
    let before = milliseconds();
    redis.publish("c.a", "F9 with words");
    let entries = wait_for_entries(&runtime, &redis, 1);
    let entry = &entries[0];
    for (name, value) in [
        ("payload", "F9 with words"),
        ("channel", "c.a"),
        ("pattern", "c.*"),
        ("app", "tests/app"),
        ("component", "c"),
        ("reason", "guest_error"),
        ("attempts", "3"),
        ("address", redis.address().as_str()),
    ] {
        assert_eq!(text(entry, name), value, "{name}");
    }
    assert!(text(entry, "error").contains("not yet"), "{entry:?}");
    let (first, last): (u64, u64) = (text(entry, "first-ms").parse().unwrap(), text(entry, "last-ms").parse().unwrap());
    // Two waits of at least half of 200 ms and 400 ms lie between.
    assert!(first >= before && last >= first + 300 && last <= milliseconds(), "{before} {first} {last} {}", milliseconds());
    runtime.wait_for_metric(WRITTEN, &[("component", "c"), ("result", "written")], 1.0);
    let (metrics, _) = assert_ends_well(runtime, watch);
    assert_eq!(metrics.sum(FAILED, &[]), 1.0);
}

#[test]
fn what_is_kept_is_bounded() {
    let redis = Redis::start();
    let runtime = app(&redis, json!({"deadLetter": {"stream": STREAM, "maxLength": 100}})).run();
    let watch = Watch::start(&runtime);
    redis.publish_all("c.a", (0..1000).map(|n| format!("J {n}")));
    runtime.wait_for_metric(WRITTEN, &[("result", "written")], 1000.0);
    let entries = redis.stream(STREAM);
    // Redis cuts a stream in blocks.
    assert!((100..300).contains(&entries.len()), "{} entries", entries.len());
    assert_eq!(text(entries.last().unwrap(), "payload"), "J 999");
    assert_ends_well(runtime, watch);
}

#[test]
fn messages_that_fail_while_their_redis_is_away_are_kept_when_it_is_back() {
    let (redis, mut other) = (Redis::start(), Redis::start());
    let dead_letter = json!({"stream": STREAM, "connection": {"address": other.address()}});
    let runtime = app(&redis, json!({"deadLetter": dead_letter})).run();
    let watch = Watch::start(&runtime);
    other.kill();
    redis.publish_all("c.a", (0..10).map(|n| format!("J {n}")));
    runtime.wait_for_metric(FAILED, &[("reason", "rejected")], 10.0);
    runtime.eventually("writing was tried", || match runtime.metric("spinredis_dead_letter_write_failures_total", &[]) {
        0.0 => Err("no failure".to_owned()),
        _ => Ok(()),
    });
    other.start_again();
    let kept = wait_for_entries(&runtime, &other, 10);
    let payloads: Vec<&str> = kept.iter().map(|fields| text(fields, "payload")).collect();
    assert_eq!(payloads, (0..10).map(|n| format!("J {n}")).collect::<Vec<_>>());
    let (metrics, _) = assert_ends_well(runtime, watch);
    assert_eq!(metrics.sum(WRITTEN, &[("result", "lost")]), 0.0);
}

/// `spinredis dead-letters` with these words, for this app. Gives what it printed.
fn dead_letters(app: &App, words: &[&str]) -> String {
    let mut command = Command::new(binary());
    command.arg("dead-letters").args(words).arg("-f").arg(app.file()).arg("--refs").arg(app.refs());
    let output = command.output().unwrap();
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{words:?}: {printed}");
    printed
}

#[test]
fn a_redriven_message_goes_to_the_component_that_failed_and_to_nobody_else() {
    let redis = Redis::start();
    let failing = component("c", json!({"retry": {"maxAttempts": 2, "initialBackoff": "10ms"}, "deadLetter": {"stream": STREAM}}));
    // Gets the same channels, and never fails; it must see the message once.
    let mut other = component("other", json!({"retry": {"maxAttempts": 3, "initialBackoff": "10ms"}}));
    other["patterns"] = json!(["c.*"]);
    let app = App::new(redis.trigger(), json!([failing, other]));
    let runtime = app.run();
    let watch = Watch::start(&runtime);
    redis.publish("c.a", "F3");
    wait_for_entries(&runtime, &redis, 1);
    runtime.wait_for_metric(HANDLED, &[("component", "other")], 1.0);

    dead_letters(&app, &["redrive", "--all", "--component", "c"]);
    runtime.wait_for_metric(HANDLED, &[("component", "c")], 1.0);
    let attempts: Vec<u32> = wait_for_lines(&runtime, 3).iter().map(|line| line.attempt).collect();
    assert_eq!(attempts, [1, 2, 3], "it is the next attempt of the same message");
    runtime.eventually("nothing is left in the streams", || {
        let left: u64 = redis.command(&["XLEN", &format!("{STREAM}:redrive")]);
        let kept = redis.stream(STREAM).len() as u64;
        if left + kept == 0 { Ok(()) } else { Err(format!("{kept} kept and {left} to redrive")) }
    });
    let (metrics, _) = assert_ends_well(runtime, watch);
    assert_eq!(metrics.sum(RECEIVED, &[("component", "c"), ("source", "channel")]), 1.0);
    assert_eq!(metrics.sum(RECEIVED, &[("component", "c"), ("source", "redrive")]), 1.0);
    assert_eq!(metrics.sum(FAILED, &[("component", "c")]), 1.0);
    assert_eq!(metrics.sum(RECEIVED, &[("component", "other")]), 1.0);
}

#[test]
fn a_redriven_message_that_fails_again_is_kept_again() {
    let redis = Redis::start();
    let app = app(&redis, json!({"deadLetter": {"stream": STREAM}}));
    let runtime = app.run();
    let watch = Watch::start(&runtime);
    redis.publish("c.a", "F9");
    for life in 1..=3 {
        let entries = wait_for_entries(&runtime, &redis, 1);
        assert_eq!(text(&entries[0], "attempts"), life.to_string());
        assert_eq!((text(&entries[0], "channel"), text(&entries[0], "pattern"), text(&entries[0], "payload")), ("c.a", "c.*", "F9"));
        dead_letters(&app, &["redrive", "--all"]);
        runtime.wait_for_metric(FAILED, &[], f64::from(life) + 1.0);
    }
    wait_for_entries(&runtime, &redis, 1);
    assert_eq!(wait_for_lines(&runtime, 4).iter().map(|line| line.attempt).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let (metrics, _) = assert_ends_well(runtime, watch);
    assert_eq!(metrics.sum(RECEIVED, &[("source", "redrive")]), 3.0);
}

#[test]
fn what_is_to_be_redriven_waits_for_an_app_that_is_not_there() {
    let redis = Redis::start();
    let app = app(&redis, json!({"deadLetter": {"stream": STREAM}}));
    let mut runtime = app.run();
    redis.publish_all("c.a", (0..5).map(|n| format!("F2 {n}")));
    wait_for_entries(&runtime, &redis, 5);
    runtime.terminate();
    assert_eq!(runtime.wait(), 0);
    let listed = dead_letters(&app, &["list"]);
    assert!(listed.contains("c.a") && listed.contains("guest_error"), "{listed}");
    dead_letters(&app, &["redrive", "--all"]);
    assert_eq!(redis.stream(STREAM), Vec::<Fields>::new());

    let runtime = app.run();
    runtime.wait_for_metric(HANDLED, &[], 5.0);
    let texts: Vec<(u32, String)> = wait_for_lines(&runtime, 5).into_iter().map(|line| (line.attempt, line.text)).collect();
    assert_eq!(texts, (0..5).map(|n| (2, format!("F2 {n}"))).collect::<Vec<_>>());
    let status: Value = runtime.status();
    assert_eq!(status["ready"], true);
}
