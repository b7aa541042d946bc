//! Runs a handler in a fresh instance: linking, limits, output and outcome.
//!
//! Nothing of one call is left for the next: store, memory, environment and output are made for the call and dropped with it.

mod forms;
mod limits;
mod message;
mod output;
mod state;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use wasmtime::{Engine, Store, Trap};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, p2::pipe::MemoryInputPipe};

use crate::{
    compile::{
        artifact::{Code, Entry},
        handler::HandlerKind,
    },
    host::{Host, settings::Settings, sockets},
};
use forms::{Form, Outcome};
use limits::MemoryLimit;
pub use message::Message;
use output::{Allowance, Output, Stream};
use state::{Limited, ModuleState, State};

/// Why a message was not handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it was.
    pub kind: FailureKind,
    /// In words.
    pub message: String,
}

/// Kinds of failure, as metrics count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The handler returned an error.
    GuestError,
    /// The guest trapped, or could not be instantiated.
    Trap,
    /// The deadline passed.
    Timeout,
    /// The memory limit was reached.
    OutOfMemory,
    /// An environment value could not be read.
    Environment,
}

impl FailureKind {
    /// All kinds, in the order of [`FailureKind::index`].
    pub const ALL: [FailureKind; 5] =
        [FailureKind::GuestError, FailureKind::Trap, FailureKind::Timeout, FailureKind::OutOfMemory, FailureKind::Environment];

    /// Label value in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureKind::GuestError => "guest_error",
            FailureKind::Trap => "trap",
            FailureKind::Timeout => "timeout",
            FailureKind::OutOfMemory => "out_of_memory",
            FailureKind::Environment => "environment",
        }
    }

    /// Place in [`FailureKind::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// A component that can be called.
pub struct Handler {
    engine: Engine,
    form: Form,
    host: Arc<Host>,
    args: Vec<String>,
    /// The files that came with the app.
    files: Option<PathBuf>,
    is_program: bool,
    timeout: Duration,
    memory: u64,
    /// What all calls together may still log.
    allowance: Arc<Allowance>,
}

/// Resolves a guest's imports, without running any of it.
pub fn link(engine: &Engine, code: &Code, kind: HandlerKind, concurrent: bool) -> wasmtime::Result<()> {
    forms::link(engine, code, kind, concurrent).map(drop)
}

impl Handler {
    /// A handler with its limits and what it may use. `folder` is where `prepare` left the entry.
    pub fn new(engine: &Engine, code: &Code, entry: &Entry, folder: &Path, host: Arc<Host>) -> wasmtime::Result<Self> {
        let limits = entry.component.limits();
        Ok(Self {
            engine: engine.clone(),
            form: forms::link(engine, code, entry.handler, entry.concurrent)?,
            host,
            args: entry.component.args.clone(),
            files: entry.files.as_ref().map(|files| folder.join(files)),
            is_program: matches!(entry.handler, HandlerKind::Command | HandlerKind::AsyncCommand),
            timeout: limits.timeout,
            memory: limits.memory,
            allowance: Arc::default(),
        })
    }

    /// Handles one message within the deadline.
    pub async fn call(&self, message: &Message<'_>) -> Result<(), Failure> {
        let output = Output::new(&self.host.component, message.channel, &self.allowance);
        let result = self.call_with_output(message, &output).await;
        output.finish();
        result
    }

    async fn call_with_output(&self, message: &Message<'_>, output: &Output) -> Result<(), Failure> {
        let environment = |error: String| Failure { kind: FailureKind::Environment, message: error };
        let settings = self.host.settings().map_err(|error| environment(error.to_string()))?;
        let mut wasi = self.wasi(message, &settings, output).map_err(|error| environment(format!("{error:#}")))?;
        let memory = MemoryLimit::new(self.memory);
        match &self.form {
            Form::Component(form) => {
                let mut store = self.store(State::new(wasi.build(), &self.host, memory));
                self.within_limits(&mut store, async |store| form.call(store, message, self.timeout).await).await
            }
            Form::Legacy(form) => {
                let mut store = self.store(ModuleState::new(wasi.build_p1(), memory));
                self.within_limits(&mut store, async |store| forms::call_module(form, store, message).await).await
            }
        }
    }

    fn store<T: Limited>(&self, data: T) -> Store<T> {
        let mut store = Store::new(&self.engine, data);
        store.limiter(|data| data.memory());
        // At each tick the guest yields to tokio, which then sees that the deadline has passed and drops the call.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }

    /// Environment, arguments, files, network and output of one call.
    fn wasi(&self, message: &Message<'_>, settings: &Settings, output: &Output) -> wasmtime::Result<WasiCtxBuilder> {
        let mut wasi = WasiCtx::builder();
        wasi.stdout(output.stream(Stream::Stdout)).stderr(output.stream(Stream::Stderr));
        wasi.envs(&settings.env);
        // A program's first argument is its own name.
        wasi.arg(&self.host.component).args(&self.args);
        if self.is_program {
            wasi.stdin(MemoryInputPipe::new(message.payload.clone()));
            wasi.envs(&message.environment(self.timeout));
        }
        if let Some(files) = &self.files {
            wasi.preopened_dir(files, "/", FsPerms::ReadOnly)?;
        }
        sockets::allow(&mut wasi, &settings.network);
        Ok(wasi)
    }

    /// Runs a call until it ends or its time is up, and says what became of it.
    async fn within_limits<T: Limited>(
        &self,
        store: &mut Store<T>,
        call: impl AsyncFnOnce(&mut Store<T>) -> wasmtime::Result<Outcome>,
    ) -> Result<(), Failure> {
        // A guest in a host call does not run, so the timer around the whole call ends that too.
        let result = tokio::time::timeout(self.timeout, call(store)).await;
        let out_of_memory = store.data_mut().memory().was_refused();
        match result {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => {
                Err(Failure { kind: FailureKind::GuestError, message: format!("the handler returned an error: {error}") })
            }
            Ok(Err(_)) if out_of_memory => Err(Failure {
                kind: FailureKind::OutOfMemory,
                message: format!("the guest needs more than its memoryLimit of {} bytes", self.memory),
            }),
            Ok(Err(error)) => Err(Failure { kind: FailureKind::Trap, message: trap(&error) }),
            Err(_) => Err(Failure { kind: FailureKind::Timeout, message: format!("no answer within {:?}", self.timeout) }),
        }
    }
}

/// What a trap is called: wasmtime's short name where it has one, else the cause, which is the host's own sentence when the
/// host made the guest trap.
fn trap(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string().lines().next().unwrap_or_default().to_owned(),
    }
}
