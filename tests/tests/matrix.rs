//! Every guest that can be built here, in every language and form, meets every outcome: `tests/guests/README.md` has the table
//! of guests and what they do with a payload.
//!
//! All guests are components of one app, so that the cells are prepared once, and each guest fails beside all the others.

use std::{collections::BTreeSet, fs, time::Duration};

use serde_json::{Value, json};
use spinredis_tests::{
    app::App,
    guests::{self, repository},
    metrics::{DROPPED, FAILED, HANDLED, RECEIVED},
    redis::Redis,
    runtime::Runtime,
};

const SYNC: &str = "fermyon:spin/inbound-redis";
const ASYNC: &str = "spin:redis/inbound-redis@3.0.0";
const OURS: &str = "spinredis:trigger/handler@0.1.0";
const COMMAND: &str = "wasi:cli/run@0.2";
const LEGACY: &str = "handle-redis-message";

/// A row of the matrix.
struct Guest {
    /// Its file in `target/guests` without the ending, or its file in `tests/guests/wat`.
    name: &'static str,
    /// The handler that `prepare` finds.
    handler: &'static str,
    /// What the log says of its error.
    error: &'static str,
    /// What the log says when it traps; an abort has no other name in any language.
    trap: &'static str,
    /// A deadline that `ok` never meets on a busy machine, and `loop` soon does.
    timeout: &'static str,
    memory: &'static str,
}

const fn guest(name: &'static str, handler: &'static str, error: &'static str) -> Guest {
    Guest { name, handler, error, trap: "unreachable", timeout: "2s", memory: "32Mi" }
}

/// An interpreter in a component takes longer to start, and Python more memory.
const fn interpreted(guest: Guest) -> Guest {
    Guest { timeout: "6s", memory: "128Mi", ..guest }
}

const MATRIX: [Guest; 12] = [
    guest("rust-sdk3", SYNC, "error"),
    guest("rust-sdk5", SYNC, "error"),
    guest("rust-sdk7", ASYNC, "asked to fail"),
    interpreted(guest("javascript", SYNC, "error")),
    interpreted(guest("javascript-sync", SYNC, "error")),
    interpreted(guest("python", SYNC, "error")),
    interpreted(guest("python-sdk5", ASYNC, "asked to fail")),
    guest("c", SYNC, "error"),
    guest("c-command", COMMAND, "exit code 1"),
    guest("rust-command", COMMAND, "exit code 1"),
    guest("trigger", OURS, "rejected the message: asked to fail"),
    guest("legacy.wat", LEGACY, "error"),
];

/// What is no row, because it knows no payloads of the matrix; each is used by a test of its own.
const OTHERS: [&str; 26] = [
    // What the benchmark measures.
    "bench-c",
    // Tells how it was called, and does what the first letter of a message says.
    "dispatch.wat",
    // Each makes the calls that a message asks for.
    "conformance-sync",
    "conformance-async",
    // Each does one thing, whatever the payload.
    "async.wat",
    "bomb-start.wat",
    "environment.wat",
    "env.wat",
    "error.wat",
    "flood.wat",
    "instances.wat",
    "loop.wat",
    "memory.wat",
    "memory-4g.wat",
    "memory-10g.wat",
    "sleep.wat",
    "slow.wat",
    "stub.wat",
    "stub-async.wat",
    "table.wat",
    "trap.wat",
    // None of these can be called.
    "core-module.wat",
    "legacy-spin-import.wat",
    "no-handler.wat",
    "two-handlers.wat",
    "unsupported-import.wat",
];

/// Folders of `tests/guests` that are libraries of guests or texts, and no guests.
const NO_GUESTS: [&str; 3] = ["behaviour", "protocol", "wat"];

/// The guests that `build.sh` builds of folders of `tests/guests`. Those of `examples` have tests of their own.
fn built_names() -> Vec<String> {
    let script = fs::read_to_string(repository().join("tests/guests/build.sh")).unwrap();
    let table = script.split("\nguests=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("build.sh has its table of guests");
    let own = table.lines().filter(|line| line.contains("$here/"));
    own.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn every_guest_is_in_the_matrix() {
    let known: BTreeSet<&str> = MATRIX.iter().map(|guest| guest.name).chain(OTHERS).collect();
    let entries = |folder: &str| -> Vec<(String, bool)> {
        let entries = fs::read_dir(repository().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        entries.map(|entry| entry.unwrap()).map(|entry| (entry.file_name().into_string().unwrap(), entry.path().is_dir())).collect()
    };
    let folders = entries("tests/guests").into_iter().filter(|(_, is_folder)| *is_folder).map(|(name, _)| name);
    let sources = folders.filter(|name| !NO_GUESTS.contains(&name.as_str()));
    let texts = entries("tests/guests/wat").into_iter().map(|(name, _)| name);
    let found: BTreeSet<String> = sources.chain(texts).chain(built_names()).collect();
    let unknown: Vec<&String> = found.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not in the matrix: add a row for each to MATRIX, or to OTHERS what cannot have one");
    let missing: Vec<&&str> = known.iter().filter(|name| !found.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?} are in the matrix and nowhere else: delete their rows");
}

/// An app with a component for each guest, which gets the channel of its own name and the pattern `NAME:*`.
fn app(trigger: Value, rows: &[&Guest]) -> App {
    let components: Vec<Value> = rows
        .iter()
        .map(|guest| {
            json!({
                "id": id(guest),
                "channels": [id(guest)],
                "patterns": [format!("{}:*", id(guest))],
                "timeout": guest.timeout,
                "memoryLimit": guest.memory,
                "source": {"configMap": {"name": "matrix", "key": id(guest)}},
            })
        })
        .collect();
    let app = App::new(trigger, json!(components));
    for guest in rows {
        let bytes = if guest.name.ends_with(".wat") { guests::wat(guest.name).into_bytes() } else { guests::built(guest.name) };
        app.set(&format!("configmap/matrix/{}", id(guest)), bytes);
    }
    app
}

/// Ids take no dots.
fn id(guest: &Guest) -> String {
    guest.name.replace(".wat", "-wat")
}

/// Sends every guest the same payload, so that they all are at it together.
fn publish(redis: &Redis, payload: &str) {
    for guest in &MATRIX {
        assert_eq!(redis.publish(&id(guest), payload), 1);
    }
}

/// The log entry of a guest's failure for a reason, of which there is one.
fn failure(runtime: &Runtime, guest: &Guest, reason: &str) -> Value {
    let id = id(guest);
    let labels = [("component", id.as_str()), ("reason", reason)];
    runtime.wait_for_metric(FAILED, &labels, 1.0);
    runtime.eventually("the failure is logged", || {
        let mut entries = runtime.entries();
        entries.retain(|entry| entry["component"] == id && entry["reason"] == reason);
        match entries.as_slice() {
            [entry] => Ok(entry.clone()),
            entries => Err(format!("{id} has {} failures for {reason}", entries.len())),
        }
    })
}

fn assert_failure(runtime: &Runtime, guest: &Guest, reason: &str, words: &str) {
    let entry = failure(runtime, guest, reason);
    assert!(entry["message"].as_str().unwrap().contains(words), "`{words}` of {} in {entry}", guest.name);
    assert_eq!(entry["channel"], id(guest), "{entry}");
}

#[test]
fn every_guest_meets_every_outcome() {
    let redis = Redis::start();
    let app = app(redis.trigger(), &MATRIX.each_ref());
    let prepared = app.prepare();
    assert_eq!(prepared.code, 0, "{}", prepared.log);
    for (guest, component) in MATRIX.iter().zip(prepared.report["components"].as_array().unwrap()) {
        assert_eq!((&component["id"], &component["handler"]), (&json!(id(guest)), &json!(guest.handler)));
    }
    let runtime = Runtime::start(&mut app.serve_command());
    runtime.ready();
    let all = |metric: &str, component: &str| runtime.metric(metric, &[("component", component)]);

    publish(&redis, "ok");
    publish(&redis, "seven b");
    for guest in &MATRIX {
        runtime.wait_for_guest(&id(guest), "handled ok");
        runtime.wait_for_guest(&id(guest), "got 7 bytes");
        runtime.wait_for_metric(HANDLED, &[("component", &id(guest))], 2.0);
        assert_eq!(all(FAILED, &id(guest)), 0.0, "{}", guest.name);
    }

    publish(&redis, "error");
    for guest in &MATRIX {
        let reason = if guest.handler == OURS { "rejected" } else { "guest_error" };
        assert_failure(&runtime, guest, reason, guest.error);
    }
    publish(&redis, "trap");
    for guest in &MATRIX {
        assert_failure(&runtime, guest, "trap", guest.trap);
    }
    publish(&redis, "memory");
    for guest in &MATRIX {
        let bytes = guest.memory.trim_end_matches("Mi").parse::<u64>().unwrap() << 20;
        assert_failure(&runtime, guest, "out_of_memory", &format!("memoryLimit of {bytes} bytes"));
    }
    publish(&redis, "loop");
    for guest in &MATRIX {
        assert_failure(&runtime, guest, "timeout", &format!("no answer within {}", guest.timeout));
    }

    // After all that, each handles as in the beginning.
    publish(&redis, "ok");
    for guest in &MATRIX {
        let id = id(guest);
        runtime.wait_for_metric(HANDLED, &[("component", &id)], 3.0);
        assert_eq!((all(RECEIVED, &id), all(FAILED, &id), all(DROPPED, &id)), (7.0, 4.0, 0.0), "{}", guest.name);
    }
    runtime.scrape().assert_balanced();
    assert_eq!(runtime.get("/readyz").0, 200);
}

// ---- The context ----------------------------------------------------------------------------------------------------

/// What a guest was told with a message, by the names of the environment's variables.
struct Context(Vec<(String, String)>);

impl Context {
    /// Of the lines that a guest printed, the last six.
    fn read(lines: &[String]) -> Self {
        assert!(lines.len() >= 6, "{lines:?}");
        let pair = |line: &String| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self(lines[lines.len() - 6..].iter().map(|line| pair(line).unwrap_or_else(|| panic!("no value: {line}"))).collect())
    }

    /// `RECEIVED_MS` is `received-ms` for the handler, and `SPINREDIS_RECEIVED_MS` for programs.
    fn get(&self, name: &str) -> &str {
        let names = [format!("SPINREDIS_{name}"), name.to_lowercase().replace('_', "-")];
        let found = self.0.iter().find(|(found, _)| names.contains(found));
        &found.unwrap_or_else(|| panic!("no {name}: {:?}", self.0)).1
    }

    fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or_else(|_| panic!("{name} is no number: {:?}", self.0))
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    u64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[test]
fn the_context_of_a_message_reaches_those_who_can_take_it() {
    let redis = Redis::builder().password("sesame").line("user anna on >apple ~* &* +@all").start();
    let trigger = json!({
        "address": format!("{}/0", redis.address()),
        "username": "anna",
        "passwordFrom": {"secretKeyRef": {"name": "redis", "key": "password"}},
    });
    let rows: Vec<&Guest> = MATRIX.iter().filter(|guest| [OURS, COMMAND].contains(&guest.handler)).collect();
    let app = app(trigger, &rows).with("secret/redis/password", "apple");
    let runtime = app.run();
    for guest in rows {
        let id = id(guest);
        let timeout = guest.timeout.trim_end_matches('s').parse().map(Duration::from_secs).unwrap();
        let by_pattern = format!("{id}:größe, mit = und : darin");
        for (count, (channel, pattern)) in [(id.as_str(), String::new()), (&by_pattern, format!("{id}:*"))].into_iter().enumerate() {
            let before = now_ms();
            assert_eq!(redis.publish(channel, "context"), 1);
            runtime.wait_for_metric(HANDLED, &[("component", &id)], count as f64 + 1.0);
            let context = Context::read(&runtime.eventually("the context is printed", || {
                let lines = runtime.guest_lines(&id);
                if lines.len() == (count + 1) * 6 { Ok(lines) } else { Err(format!("{lines:?}")) }
            }));
            let after = now_ms();
            assert_eq!((context.get("CHANNEL"), context.get("PATTERN")), (channel, pattern.as_str()), "{id}");
            assert_eq!(context.number("ATTEMPT"), 1);
            let address = context.get("ADDRESS");
            assert!(address.contains(&format!("127.0.0.1:{}", redis.port())) && !address.contains(['@', '?']), "{address}");
            let (received, deadline) = (context.number("RECEIVED_MS"), context.number("DEADLINE_MS"));
            // A millisecond on either side for what was rounded.
            assert!((before - 1..=after + 1).contains(&received), "{before} {received} {after}");
            let limit = u64::try_from(timeout.as_millis()).unwrap();
            assert!((received + limit - 1..=after + limit + 1).contains(&deadline), "{received} {deadline} {after}");
        }
    }
    for secret in ["apple", "sesame"] {
        assert!(!runtime.log().contains(secret), "a password is in the log");
    }
}
