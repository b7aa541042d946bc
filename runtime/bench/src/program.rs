//! The real `spinredis`, as a process: an app's files as a pod has them, `prepare`, `serve` and `run`, and its metrics.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{metrics::Metrics, usage};

/// How long the process may take to answer at first.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks whether the process is ready: short beside what is measured, and leaves it a processor.
const BETWEEN_LOOKS: Duration = Duration::from_micros(100);

/// An app's files: the manifest, the components as keys of a ConfigMap, and what `prepare` makes of them.
pub struct App {
    binary: PathBuf,
    folder: TempDir,
}

impl App {
    /// An app with these components (`spec.components`) on a Redis at `address`. `guests` are the keys of the ConfigMap `guests`.
    pub fn new(binary: &Path, address: &str, components: &[Value], guests: &[(&str, &[u8])]) -> anyhow::Result<Self> {
        let app = Self { binary: binary.to_owned(), folder: tempfile::tempdir()? };
        let manifest = json!({
            "apiVersion": "spinredis.dev/v1alpha1",
            "kind": "SpinRedisApp",
            "metadata": {"name": "bench", "namespace": "bench"},
            "spec": {"trigger": {"address": address}, "components": components},
        });
        fs::write(app.path("app.yaml"), manifest.to_string())?;
        let keys = app.path("refs/configmap/guests");
        fs::create_dir_all(&keys)?;
        for (name, wasm) in guests {
            fs::write(keys.join(name), wasm)?;
        }
        Ok(app)
    }

    /// Where one of the guests comes from, as `source` of a component.
    pub fn source(guest: &str) -> Value {
        json!({"configMap": {"name": "guests", "key": guest}})
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `spinredis prepare`, to its end.
    pub fn prepare(&self) -> anyhow::Result<()> {
        let mut command = self.command("prepare");
        let output = command.arg("--app").arg(self.path("app.yaml")).arg("--out").arg(self.path("prepared")).output()?;
        ensure!(output.status.success(), "`spinredis prepare` failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// `spinredis serve` with what `prepare` left. `listening` also answers for metrics.
    pub fn serve(&self, listening: bool) -> anyhow::Result<Process> {
        let mut command = self.command("serve");
        command.arg("--app").arg(self.path("app.yaml")).arg("--components").arg(self.path("prepared"));
        Process::start(command, listening)
    }

    /// `spinredis run`, which compiles at start.
    pub fn run(&self) -> anyhow::Result<Process> {
        let mut command = self.command("run");
        command.arg("--file").arg(self.path("app.yaml"));
        Process::start(command, false)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(name).arg("--refs").arg(self.path("refs"));
        // Lines about each message would measure the terminal.
        command.env("RUST_LOG", "error").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

/// A running `spinredis`; it ends with this value.
pub struct Process {
    child: Child,
    /// When it was started.
    pub started: Instant,
    listen: Option<String>,
}

impl Process {
    fn start(mut command: Command, listening: bool) -> anyhow::Result<Self> {
        let listen = if listening { Some(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.to_string()) } else { None };
        if let Some(address) = &listen {
            command.args(["--listen", address]);
        }
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("{} cannot be started", command.get_program().display()))?;
        Ok(Self { child, started, listen })
    }

    /// Waits until `done` says so; gives the time since the start.
    pub fn wait_until(&mut self, what: &str, mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<Duration> {
        while !done()? {
            if let Some(status) = self.child.try_wait()? {
                bail!("spinredis ended with {status} before {what}");
            }
            ensure!(self.started.elapsed() < PATIENCE, "not {what} within {} s", PATIENCE.as_secs());
            thread::sleep(BETWEEN_LOOKS);
        }
        Ok(self.started.elapsed())
    }

    /// Anonymous memory in RAM, in bytes.
    pub fn anonymous(&self) -> anyhow::Result<u64> {
        Ok(usage::anonymous(self.child.id())?)
    }

    /// One read of the metrics.
    pub fn metrics(&self) -> anyhow::Result<Metrics> {
        let address = self.listen.as_deref().context("this process does not listen")?;
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no body")?;
        ensure!(head.starts_with("HTTP/1.1 200"), "/metrics answers {head}");
        Ok(Metrics::parse(body))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
