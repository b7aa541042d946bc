//! An app's files in a temporary folder, laid out as in a pod: the manifest, the referenced values, the prepared
//! components.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    guests,
    runtime::{Runtime, binary},
};

/// Namespace of every app here.
pub const NAMESPACE: &str = "tests";
/// Name of every app here.
pub const NAME: &str = "app";

/// How long `spinredis prepare` may take: compiling an interpreter takes a busy machine a minute.
const PREPARING: Duration = Duration::from_secs(600);

/// The files of an app.
pub struct App {
    folder: Arc<TempDir>,
}

/// What `spinredis prepare` left.
pub struct Prepared {
    /// Exit code.
    pub code: i32,
    /// The termination message.
    pub report: Value,
    /// What it printed.
    pub log: String,
}

impl App {
    /// An app with this trigger and these components. All WAT guests are keys of its ConfigMap `guests`.
    pub fn new(trigger: Value, components: Value) -> Self {
        Self::from_text(&manifest(trigger, components).to_string())
    }

    /// An app with this manifest.
    pub fn from_text(manifest: &str) -> Self {
        let app = Self { folder: Arc::new(tempfile::tempdir().unwrap()) };
        fs::write(app.file(), manifest).unwrap();
        fs::create_dir(app.refs()).unwrap();
        for name in guests::wat_names() {
            app.set(&format!("configmap/guests/{name}"), guests::wat(&name));
        }
        app
    }

    /// Path of the manifest.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("app.yaml")
    }

    /// Folder of the referenced values.
    pub fn refs(&self) -> PathBuf {
        self.folder.path().join("refs")
    }

    /// Folder of the prepared components.
    pub fn prepared(&self) -> PathBuf {
        self.folder.path().join("prepared")
    }

    /// Gives a reference, `KIND/NAME/KEY`, a value, in one step as the kubelet does.
    pub fn set(&self, reference: &str, value: impl AsRef<[u8]>) {
        let path = self.refs().join(reference);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let partial = self.folder.path().join("partial");
        fs::write(&partial, value).unwrap();
        fs::rename(&partial, path).unwrap();
    }

    /// The same app with one more referenced value.
    pub fn with(self, reference: &str, value: impl AsRef<[u8]>) -> Self {
        self.set(reference, value);
        self
    }

    /// Takes the value of a reference away.
    pub fn remove(&self, reference: &str) {
        fs::remove_file(self.refs().join(reference)).unwrap();
    }

    /// Folder of pull secrets, each in a folder of its own.
    pub fn pull_secrets(&self) -> PathBuf {
        self.folder.path().join("pull")
    }

    /// Adds a pull secret with the content of a `.dockerconfigjson`.
    pub fn with_pull_secret(self, name: &str, json: &str) -> Self {
        let folder = self.pull_secrets().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(".dockerconfigjson"), json).unwrap();
        self
    }

    /// `spinredis prepare`, run to its end.
    pub fn prepare(&self) -> Prepared {
        self.prepare_with::<&str>(&[])
    }

    /// `spinredis prepare` with more arguments, run to its end.
    pub fn prepare_with<S: AsRef<OsStr>>(&self, args: &[S]) -> Prepared {
        self.prepared_by(Runtime::start(&mut self.prepare_command(args)))
    }

    /// The same, and the most memory that it held, in KiB.
    pub fn prepare_measured<S: AsRef<OsStr>>(&self, args: &[S]) -> (Prepared, u64) {
        let runtime = Runtime::start(&mut self.prepare_command(args));
        let status = format!("/proc/{}/status", runtime.id());
        // The kernel keeps the maximum; it is gone with the process, so the last look before that counts.
        let measured = thread::spawn(move || {
            let mut peak = 0;
            while let Some(now) = fs::read_to_string(&status).ok().and_then(|text| peak_memory(&text)) {
                peak = now;
                thread::sleep(Duration::from_millis(2));
            }
            peak
        });
        (self.prepared_by(runtime), measured.join().unwrap())
    }

    fn prepare_command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(binary());
        command.arg("prepare").arg("--app").arg(self.file()).arg("--refs").arg(self.refs());
        command.arg("--out").arg(self.prepared()).arg("--termination-message").arg(self.termination_message());
        command.arg("--pull-secrets").arg(self.pull_secrets()).args(["--log-format", "json"]).args(args);
        command
    }

    fn termination_message(&self) -> PathBuf {
        self.folder.path().join("termination-message")
    }

    fn prepared_by(&self, mut runtime: Runtime) -> Prepared {
        let code = runtime.wait_within(PREPARING);
        let log = runtime.log();
        let report = fs::read_to_string(self.termination_message());
        let report = report.unwrap_or_else(|error| panic!("no termination message ({error}); the log:\n{log}"));
        let report = serde_json::from_str(&report).unwrap_or_else(|error| panic!("the termination message is no JSON ({error}): {report}"));
        Prepared { code, report, log }
    }

    /// The command line of `spinredis serve`, for a test that adds to it.
    pub fn serve_command(&self) -> Command {
        let mut command = Command::new(binary());
        command.arg("serve").arg("--app").arg(self.file()).arg("--refs").arg(self.refs());
        command.arg("--components").arg(self.prepared()).args(HEALTH_AND_LOG);
        command
    }

    /// Prepares, which must work, and starts `spinredis serve`.
    pub fn serve(&self) -> Runtime {
        let prepared = self.prepare();
        assert_eq!(prepared.code, 0, "{}", prepared.log);
        Runtime::start(&mut self.serve_command()).keeping(&self.folder)
    }

    /// The command line of `spinredis run`, for a test that adds to it.
    pub fn run_command(&self) -> Command {
        let mut command = run_command(&self.file());
        command.arg("--refs").arg(self.refs());
        command
    }

    /// The same with its health port at `HOST:PORT`, for a test that does not read the log.
    pub fn run_command_listening(&self, address: &str) -> Command {
        let mut command = Command::new(binary());
        command.arg("run").arg("--file").arg(self.file()).args(["--listen", address, "--log-format", "json"]);
        command.arg("--refs").arg(self.refs());
        command
    }

    /// Starts `spinredis run`, which may have to wait for its Redis.
    pub fn start(&self) -> Runtime {
        Runtime::start(&mut self.run_command()).keeping(&self.folder)
    }

    /// Starts `spinredis run` and waits until it is subscribed.
    pub fn run(&self) -> Runtime {
        let runtime = self.start();
        runtime.ready();
        runtime
    }
}

/// What `/proc/PID/status` says of the most memory that a process held, in KiB; none once it has ended.
fn peak_memory(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
}

const HEALTH_AND_LOG: [&str; 4] = ["--listen", "127.0.0.1:0", "--log-format", "json"];

/// The command line of `spinredis run` for a manifest anywhere.
pub fn run_command(file: &Path) -> Command {
    let mut command = Command::new(binary());
    command.arg("run").arg("--file").arg(file).args(HEALTH_AND_LOG);
    command
}

/// A manifest with this trigger and these components.
pub fn manifest(trigger: Value, components: Value) -> Value {
    json!({
        "apiVersion": "spinredis.dev/v1alpha1",
        "kind": "SpinRedisApp",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {"trigger": trigger, "components": components},
    })
}

impl Prepared {
    /// The reason and the sentence of a failure. Checks what holds for each: exit code 1, and the same sentence, on one
    /// line, in the termination message and in the log.
    pub fn problem(&self) -> (&str, &str) {
        assert_eq!(self.code, 1, "{}", self.log);
        let field = |name: &str| self.report["problem"][name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.report));
        let (reason, message) = (field("reason"), field("message"));
        assert!(!message.contains('\n'), "not one line: {message}");
        let entries = self.log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        assert!(entries.into_iter().any(|entry| entry["message"] == message), "`{message}` is not in the log:\n{}", self.log);
        assert_no_stack_trace(&self.log);
        (reason, message)
    }
}

/// Checks that an output is for people: no panic, no backtrace, no Rust type names.
pub fn assert_no_stack_trace(text: &str) {
    for sign in ["panicked at", "stack backtrace", "RUST_BACKTRACE", "Error {", "Os {", "Some("] {
        assert!(!text.contains(sign), "`{sign}` in:\n{text}");
    }
}
