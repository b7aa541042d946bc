//! A running `spinredis`: its log, its health port, its end.

use std::{
    env,
    path::PathBuf,
    process::Command,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{http, metrics::Metrics, process::Process, wait::eventually};

/// The binary under test: `SPINREDIS_BIN`, or the one beside the folder of this test.
pub fn binary() -> PathBuf {
    if let Some(path) = env::var_os("SPINREDIS_BIN") {
        return path.into();
    }
    let this = env::current_exe().unwrap();
    this.ancestors()
        .map(|folder| folder.join("spinredis"))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("there is no spinredis above {}: run `cargo build --release -p spinredis` first", this.display()))
}

/// A `spinredis` that was started and may have ended.
pub struct Runtime {
    process: Process,
    health: OnceLock<String>,
    /// Files it reads while it runs.
    _files: Option<Arc<TempDir>>,
}

impl Runtime {
    /// Starts it. `run` and `serve` should have `--log-format json` and `--listen 127.0.0.1:0`, as
    /// [`App`](crate::app::App) gives them.
    pub fn start(command: &mut Command) -> Self {
        Self { process: Process::start(command), health: OnceLock::new(), _files: None }
    }

    /// The same, with a folder that lives as long as the program.
    pub(crate) fn keeping(mut self, files: &Arc<TempDir>) -> Self {
        self._files = Some(files.clone());
        self
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Everything it printed so far.
    pub fn log(&self) -> String {
        self.process.text()
    }

    /// The log's entries so far. A line that is no JSON, such as an error of the command line, is left out.
    pub fn entries(&self) -> Vec<Value> {
        self.process.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The first log line, now or soon, that contains a text.
    pub fn wait_for_line(&self, text: &str) -> String {
        self.process.wait_for(&format!("a line with `{text}`"), |line| line.contains(text).then(|| line.to_owned()))
    }

    /// The first log entry, now or soon, whose message contains a text.
    pub fn wait_for_message(&self, text: &str) -> Value {
        self.process.wait_for(&format!("a message with `{text}`"), |line| {
            let entry: Value = serde_json::from_str(line).ok()?;
            entry["message"].as_str()?.contains(text).then_some(entry)
        })
    }

    /// The first line, now or soon, that a component printed and that is exactly this.
    pub fn wait_for_guest(&self, component: &str, line: &str) -> Value {
        self.process.wait_for(&format!("`{line}`, printed by component {component},"), |text| {
            let entry: Value = serde_json::from_str(text).ok()?;
            (entry["target"] == "guest" && entry["component"] == component && entry["message"] == line).then_some(entry)
        })
    }

    /// The lines that a component printed so far, on either stream.
    pub fn guest_lines(&self, component: &str) -> Vec<String> {
        let entries = self.entries();
        let own = entries.iter().filter(|entry| entry["target"] == "guest" && entry["component"] == component);
        own.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// `HOST:PORT` of the health port.
    pub fn health(&self) -> &str {
        self.health.get_or_init(|| {
            let entry = self.wait_for_message("answering /healthz");
            entry["address"].as_str().expect("the log line has the address").to_owned()
        })
    }

    /// Status code and body of a path of the health port.
    pub fn get(&self, path: &str) -> (u16, String) {
        http::get(self.health(), path).unwrap_or_else(|error| panic!("GET {path}: {error}; the log:\n{}", self.log()))
    }

    /// The answer of `/status`.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.get("/status").1).expect("/status is JSON")
    }

    /// One answer of `/metrics`.
    pub fn scrape(&self) -> Metrics {
        let (code, text) = self.get("/metrics");
        assert_eq!(code, 200, "{text}");
        Metrics::parse(&text)
    }

    /// The sum of a metric over all series with these labels.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.scrape().sum(name, labels)
    }

    /// Waits for a condition; when it does not come true, the failure shows the log.
    pub fn eventually<T>(&self, what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
        eventually(what, || probe().map_err(|seen| format!("{seen}; the log:\n{}", self.log())))
    }

    /// Waits until a metric has a value.
    pub fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], wanted: f64) {
        self.eventually(&format!("{name}{labels:?} is {wanted}"), || {
            let value = self.metric(name, labels);
            if value == wanted { Ok(()) } else { Err(value.to_string()) }
        });
    }

    /// Waits until every channel is subscribed.
    pub fn ready(&self) {
        self.wait_for_readiness(true);
    }

    /// Waits until `/readyz` says no, and gives what it says.
    pub fn unready(&self) -> String {
        self.wait_for_readiness(false)
    }

    fn wait_for_readiness(&self, wanted: bool) -> String {
        self.eventually(if wanted { "the app is ready" } else { "the app is not ready" }, || {
            let (code, body) = self.get("/readyz");
            assert!(code == 200 || code == 503, "/readyz answers {code}: {body}");
            if (code == 200) == wanted { Ok(body.clone()) } else { Err(body.clone()) }
        })
    }

    /// Waits until `/status` gives a reason, and gives its message.
    pub fn wait_for_reason(&self, reason: &str) -> String {
        self.eventually(&format!("the reason is {reason}"), || {
            let status = self.status();
            if status["reason"] == reason { Ok(status["message"].as_str().unwrap_or_default().to_owned()) } else { Err(status.to_string()) }
        })
    }

    /// Asks it to stop, as Kubernetes does.
    pub fn terminate(&self) {
        self.process.signal("TERM");
    }

    /// Its exit code, if it has ended (-1 when a signal ended it).
    pub fn ended(&mut self) -> Option<i32> {
        self.process.ended()
    }

    /// Waits for its end and gives the exit code.
    pub fn wait(&mut self) -> i32 {
        self.process.wait()
    }

    /// The same with other patience.
    pub fn wait_within(&mut self, patience: Duration) -> i32 {
        self.process.wait_within(patience)
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
