//! What becomes of messages once they are received: in which order and how many at once they are handled, what a full queue
//! drops, how failures are tried again and kept, how an app that is told to stop finishes, and which instance gets what.

mod dead_letters;
mod drain;
mod instances;
mod order;
mod overflow;
mod retry;

use serde_json::{Value, json};
use spinredis_tests::{
    app::{App, manifest},
    guests::source,
    redis::Redis,
    runtime::Runtime,
    watch::assert_ends_well,
};

/// A component that gets all channels which begin with its id and a dot, with more fields.
fn component(id: &str, more: Value) -> Value {
    let mut component = json!({"id": id, "patterns": [format!("{id}.*")], "source": source("dispatch.wat")});
    component.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    component
}

/// An app of one such component, `c`.
fn app(redis: &Redis, more: Value) -> App {
    App::new(redis.trigger(), json!([component("c", more)]))
}

/// The same, with so much time to stop.
fn app_that_drains_for(redis: &Redis, drain: &str, more: Value) -> App {
    let mut manifest = manifest(redis.trigger(), json!([component("c", more)]));
    manifest["spec"]["drain"] = json!(drain);
    App::from_text(&manifest.to_string())
}

/// A line of the guest `dispatch.wat`.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    /// How often that instance was called.
    calls: u32,
    /// Which attempt it was.
    attempt: u32,
    /// The concrete channel.
    channel: String,
    /// The payload.
    text: String,
}

/// What component `c` printed so far.
fn lines(runtime: &Runtime) -> Vec<Line> {
    runtime.guest_lines("c").iter().map(|line| parsed(line)).collect()
}

fn parsed(line: &str) -> Line {
    let mut words = line.splitn(4, ' ');
    let mut value = |name: &str| {
        let word = words.next().unwrap_or_else(|| panic!("no {name} in `{line}`"));
        word.strip_prefix(name).unwrap_or_else(|| panic!("`{word}` is not {name} in `{line}`")).to_owned()
    };
    let (calls, attempt, channel) = (value("calls="), value("attempt="), value("channel="));
    Line { calls: calls.parse().unwrap(), attempt: attempt.parse().unwrap(), channel, text: value("") }
}

/// Waits until component `c` has printed so many lines, and gives them.
fn wait_for_lines(runtime: &Runtime, count: usize) -> Vec<Line> {
    runtime.eventually(&format!("{count} lines are printed"), || {
        let lines = lines(runtime);
        if lines.len() >= count { Ok(lines) } else { Err(format!("{} lines", lines.len())) }
    })
}

/// The texts of the lines of one channel, in their order.
fn texts<'a>(lines: &'a [Line], channel: &str) -> Vec<&'a str> {
    lines.iter().filter(|line| line.channel == channel).map(|line| line.text.as_str()).collect()
}
