//! The two conformance guests in one app: asks them for calls and reads their answers.

use std::{cell::RefCell, collections::BTreeMap};

use serde_json::{Value, json};
use spinredis_tests::{
    app::{App, manifest},
    guests,
    redis::Redis,
    runtime::Runtime,
};

/// The guest with the synchronous interfaces, `fermyon:spin@2.0.0` and WASI 0.2.
pub const SYNC: &str = "sync";
/// The guest with the asynchronous interfaces, `spin:…@3.0.0` and WASI 0.3.
pub const ASYNC: &str = "async";
/// Both; each is a component of that id and gets the channel of that name.
pub const BOTH: [&str; 2] = [SYNC, ASYNC];

/// An app with both guests. `component` has fields that both get, `spec` fields of the app.
pub fn app(trigger: Value, component: Value, spec: Value) -> App {
    let components = BOTH.map(|id| {
        let source = json!({"configMap": {"name": "built", "key": id}});
        merged(json!({"id": id, "channels": [id], "source": source}), &component)
    });
    let mut manifest = manifest(trigger, json!(components));
    manifest["spec"] = merged(manifest["spec"].take(), &spec);
    let app = App::from_text(&manifest.to_string());
    for id in BOTH {
        app.set(&format!("configmap/built/{id}"), guests::built(&format!("conformance-{id}")));
    }
    app
}

/// An object with the fields of another one.
fn merged(mut object: Value, more: &Value) -> Value {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

/// The running app.
pub struct Guests<'a> {
    redis: &'a Redis,
    /// What runs it.
    pub runtime: Runtime,
    /// How many lines of each guest belong to calls of before.
    seen: RefCell<BTreeMap<String, usize>>,
}

impl<'a> Guests<'a> {
    /// Runs an app whose trigger is this server.
    pub fn run(redis: &'a Redis, app: &App) -> Self {
        Self { redis, runtime: app.run(), seen: RefCell::default() }
    }

    /// Runs an app that needs no more than fields of its components.
    pub fn with(redis: &'a Redis, component: Value) -> Self {
        Self::run(redis, &app(redis.trigger(), component, json!({})))
    }

    /// What a guest is answered: `{"ok": …}` or `{"error": …}`.
    pub fn ask(&self, guest: &str, call: Value) -> Value {
        self.ask_all(guest, &[call]).remove(0)
    }

    /// The same for several calls of one message.
    pub fn ask_all(&self, guest: &str, calls: &[Value]) -> Vec<Value> {
        let lines = self.lines(guest, calls);
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// The value of a call that works.
    pub fn value(&self, guest: &str, call: Value) -> Value {
        let mut answer = self.ask(guest, call.clone());
        assert!(answer.get("ok").is_some(), "{guest} {call}: {answer}; the log:\n{}", self.runtime.log());
        answer["ok"].take()
    }

    /// The error of a call that fails, by its name in the WIT, and what it carries.
    pub fn error(&self, guest: &str, call: Value) -> (String, Value) {
        let answer = self.ask(guest, call.clone());
        let name = answer["error"][0].as_str().unwrap_or_else(|| panic!("{guest} {call}: {answer}; the log:\n{}", self.runtime.log()));
        (name.to_owned(), answer["error"][1].clone())
    }

    /// Checks that a call fails with this error and that what it carries has all these parts.
    pub fn assert_error(&self, guest: &str, call: Value, name: &str, parts: &[&str]) {
        let (found, why) = self.error(guest, call.clone());
        let why = why.as_str().unwrap_or_default();
        assert_eq!(found, name, "{guest} {call}: {why}");
        for part in parts {
            assert!(why.contains(part), "{guest} {call}: `{part}` in {name}: {why}");
        }
    }

    /// The lines that a guest prints for calls, as the log has them.
    pub fn lines(&self, guest: &str, calls: &[Value]) -> Vec<String> {
        let before = self.seen.borrow().get(guest).copied().unwrap_or_default();
        let failed = self.failures(guest);
        self.redis.publish(guest, Value::from(calls).to_string());
        let lines = self.runtime.eventually("the guest is answered", || {
            let lines = self.printed(guest);
            if lines.len() >= before + calls.len() {
                return Ok(lines);
            }
            assert_eq!(self.failures(guest), failed, "{guest} {calls:?} failed; the log:\n{}", self.runtime.log());
            Err(format!("{} of {} lines", lines.len() - before, calls.len()))
        });
        self.seen.borrow_mut().insert(guest.to_owned(), before + calls.len());
        lines[before..].to_vec()
    }

    /// Asks for a call that fails the whole message, and gives the reason and the sentence of the log.
    pub fn failure(&self, guest: &str, call: Value) -> (String, String) {
        let failures = || {
            let mut entries = self.runtime.entries();
            entries.retain(|entry| entry["component"] == guest && entry["reason"].is_string());
            entries
        };
        let before = failures().len();
        self.redis.publish(guest, call.to_string());
        let entry = self.runtime.eventually("the message fails", || failures().get(before).cloned().ok_or_else(String::new));
        (entry["reason"].as_str().unwrap().to_owned(), entry["message"].as_str().unwrap().to_owned())
    }

    fn failures(&self, guest: &str) -> usize {
        self.runtime.entries().iter().filter(|entry| entry["component"] == guest && entry["reason"].is_string()).count()
    }

    fn printed(&self, guest: &str) -> Vec<String> {
        let entries = self.runtime.entries();
        let own = entries.iter().filter(|entry| entry["component"] == guest && entry["stream"] == "stdout");
        own.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }
}
