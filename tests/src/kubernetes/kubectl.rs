//! kubectl as a program: one call, or a watch that tells each change as it comes, so that waiting costs nothing.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long a change may take. Kubelets look at Secrets and failed containers only now and then.
const PATIENCE: Duration = Duration::from_secs(120);

/// What kubectl prints; it must succeed.
pub fn kubectl(args: &[&str]) -> String {
    kubectl_with(args, "")
}

/// What kubectl prints when it is given a text; it must succeed.
pub fn kubectl_with(args: &[&str], input: &str) -> String {
    try_kubectl(args, input).unwrap_or_else(|error| panic!("{error}"))
}

/// What kubectl prints as JSON.
pub fn kubectl_json(args: &[&str]) -> Value {
    let text = kubectl(&[args, &["-o", "json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("kubectl {}: {error}: {text}", args.join(" ")))
}

/// What kubectl says of a call that must fail.
pub fn kubectl_fails(args: &[&str], input: &str) -> String {
    match try_kubectl(args, input) {
        Err(error) => error,
        Ok(text) => panic!("kubectl {} was expected to fail, and printed: {text}", args.join(" ")),
    }
}

/// What kubectl prints, or what it says when it fails.
pub fn try_kubectl(args: &[&str], input: &str) -> Result<String, String> {
    let mut child = start(args, Stdio::piped(), Stdio::piped());
    // It may end without reading what it is given.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(printed)
    } else {
        Err(format!("kubectl {}: {}{printed}", args.join(" "), String::from_utf8_lossy(&output.stderr)))
    }
}

fn start(args: &[&str], stdin: Stdio, stderr: Stdio) -> Child {
    let mut command = Command::new("kubectl");
    command.args(args).stdin(stdin).stdout(Stdio::piped()).stderr(stderr);
    command.spawn().unwrap_or_else(|error| panic!("kubectl cannot be started: {error}"))
}

/// The objects of a watch by their names.
pub type Watched = BTreeMap<String, Value>;

/// Watches `kubectl get ARGS…` until `found` makes something of the objects there are; `Err` says what is seen instead.
/// It is asked from the first object on.
pub fn watch<T>(what: &str, args: &[&str], mut found: impl FnMut(&Watched) -> Result<T, String>) -> T {
    let one_line = "jsonpath={@}{\"\\n\"}";
    let args = [&["get"], args, &["--watch", "--output-watch-events", "-o", one_line]].concat();
    let mut child = start(&args, Stdio::null(), Stdio::inherit());
    let (sender, lines) = channel();
    let stdout = child.stdout.take().unwrap();
    thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let result = follow(&lines, &mut found);
    let _ = child.kill();
    let _ = child.wait();
    result.unwrap_or_else(|seen| panic!("{what}: kubectl {}: {seen}", args.join(" ")))
}

fn follow<T>(lines: &Receiver<String>, found: &mut impl FnMut(&Watched) -> Result<T, String>) -> Result<T, String> {
    let deadline = Instant::now() + PATIENCE;
    let mut objects = Watched::new();
    let mut seen = "no such object".to_owned();
    loop {
        let line = match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Err(format!("not within {PATIENCE:?}; last seen: {seen}")),
            Err(RecvTimeoutError::Disconnected) => return Err(format!("the watch ended; last seen: {seen}")),
        };
        let mut event: Value = serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))?;
        let object = event["object"].take();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str() {
            Some("DELETED") => drop(objects.remove(&name)),
            Some("ADDED" | "MODIFIED") => drop(objects.insert(name, object)),
            _ => return Err(line),
        }
        match found(&objects) {
            Ok(value) => return Ok(value),
            Err(other) => seen = other,
        }
    }
}
