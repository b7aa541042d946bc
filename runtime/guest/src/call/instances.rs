//! The instances of a component: fresh for each message, ready before it comes, or used again, as the app asks.
//!
//! An instance is made within the same limits as it is called, and whatever a trap, a deadline or a memory limit left of one
//! is dropped and never called again.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, p2::pipe::MemoryInputPipe};

use super::{
    Failure, FailureKind,
    clock::Clock,
    counts::{InstanceCounts, Retired},
    forms::{Form, Refusal},
    limits::MemoryLimit,
    message::Message,
    output::{Allowance, Labels, Output, Stream},
    state::CallData,
};
use crate::host::{Host, settings::Settings, sockets};

/// How long the keeper of ready instances waits after one could not be made: the messages themselves tell why.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What every instance of a component is made with.
pub(super) struct Recipe {
    pub engine: Engine,
    pub clock: Clock,
    pub host: Arc<Host>,
    pub labels: Arc<Labels>,
    pub args: Vec<String>,
    /// The files that came with the app.
    pub files: Option<PathBuf>,
    /// Whether it reads its message from stdin and the environment.
    pub is_program: bool,
    pub timeout: Duration,
    /// Linear memory of one instance, in bytes.
    pub memory: u64,
    /// Instances kept ready.
    pub warm: usize,
    /// Messages that one instance handles.
    pub max_reuse: u32,
    /// What all instances together may still log.
    pub allowance: Arc<Allowance>,
}

/// The instances of one component.
pub(super) struct Instances<F: Form> {
    form: F,
    recipe: Recipe,
    idle: Mutex<Vec<Live<F>>>,
    /// Instances that are done with and not yet dropped: clearing their memory is a good part of a call, and nobody should wait
    /// for it.
    spent: Mutex<Vec<Live<F>>>,
    /// An instance that was ready is gone.
    taken: Notify,
    counts: Arc<InstanceCounts>,
}

/// An instance.
struct Live<F: Form> {
    store: Store<F::Data>,
    guest: F::Guest,
    output: Output,
    settings: Arc<Settings>,
    /// Messages that it has handled.
    used: u32,
}

impl<F: Form> Instances<F> {
    pub(super) fn new(form: F, recipe: Recipe) -> Self {
        Self { form, recipe, idle: Mutex::default(), spent: Mutex::default(), taken: Notify::new(), counts: Arc::default() }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Live<F>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counts(&self) -> Arc<InstanceCounts> {
        self.counts.clone()
    }

    /// Drops one instance that is done with, if there is one: the caller's own after its call, or another's that is dropped by
    /// that one's caller. So there are never more than one for each caller.
    pub(super) fn tidy(&self) {
        let spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner).pop();
        drop(spent);
    }

    /// Handles one message within the deadline. [`tidy`](Self::tidy) is to be called after it, when nobody waits any more.
    pub(super) async fn call(&self, message: &Message<'_>) -> Result<(), Failure> {
        let _running = self.recipe.clock.run();
        let settings = self.recipe.host.settings().map_err(|error| environment(error.to_string()))?;
        let ready = self.ready(&settings);
        let output = match &ready {
            Some(live) => live.output.clone(),
            None => Output::new(&self.recipe.labels, &self.recipe.allowance),
        };
        output.begin(message.channel, message.sequence);
        let called = async {
            let mut live = match ready {
                Some(mut live) => {
                    if self.recipe.is_program {
                        let mut wasi = self.recipe.wasi(&settings, &live.output, Some(message)).map_err(Ended::Environment)?;
                        live.store.data_mut().replace_wasi(&mut wasi);
                    }
                    live
                }
                None => self.make(settings, output.clone(), Some(message)).await?,
            };
            live.store.set_epoch_deadline(1);
            let outcome = self.form.call(&live.guest, &mut live.store, message, self.recipe.timeout).await;
            let out_of_memory = live.store.data_mut().memory().was_refused();
            let outcome = outcome.map_err(|error| Ended::Trap { error, out_of_memory })?;
            Ok((live, outcome, out_of_memory))
        };
        // A guest in a host call does not run, so the timer around the whole call ends that too.
        let result = tokio::time::timeout(self.recipe.timeout, called).await.unwrap_or(Err(Ended::Timeout));
        output.finish();
        match result {
            Ok((live, outcome, out_of_memory)) => {
                self.put_back(live, out_of_memory);
                outcome.map_err(|Refusal { message, retry }| match retry {
                    true => Failure { kind: FailureKind::GuestError, message: format!("the handler returned an error: {message}") },
                    false => Failure { kind: FailureKind::Rejected, message: format!("the handler rejected the message: {message}") },
                })
            }
            Err(ended) => {
                self.end(&ended);
                Err(self.failure(ended))
            }
        }
    }

    /// An instance that waits, if there is one whose environment is still right.
    fn ready(&self, settings: &Arc<Settings>) -> Option<Live<F>> {
        if self.recipe.warm == 0 && self.recipe.max_reuse == 1 {
            return None;
        }
        loop {
            let live = {
                let mut idle = self.idle();
                let live = idle.pop()?;
                self.counts.set_warm(idle.len() as u64);
                live
            };
            if self.recipe.warm > 0 {
                self.taken.notify_one();
            }
            if Arc::ptr_eq(&live.settings, settings) {
                return Some(live);
            }
            // A value that it was made with has changed.
            self.counts.retire(Retired::Unused);
        }
    }

    fn put_back(&self, mut live: Live<F>, out_of_memory: bool) {
        live.used += 1;
        let why = match () {
            () if out_of_memory => Retired::OutOfMemory,
            // A program's run is its whole life.
            () if self.recipe.is_program || live.used >= self.recipe.max_reuse => Retired::Used,
            () => return self.keep(live),
        };
        self.counts.retire(why);
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).push(live);
    }

    /// Leaves an instance for a message to come.
    fn keep(&self, live: Live<F>) {
        let mut idle = self.idle();
        idle.push(live);
        self.counts.set_warm(idle.len() as u64);
    }

    /// Makes an instance; `message` is the one it is made for.
    async fn make(&self, settings: Arc<Settings>, output: Output, message: Option<&Message<'_>>) -> Result<Live<F>, Ended> {
        self.counts.create();
        loop {
            match self.try_to_make(&settings, &output, message).await {
                // Whoever had a place last may still be clearing its memory: a worker is counted as ended when its message is, and
                // tidies after that. The deadline of the call bounds this.
                Err(Ended::Trap { error, .. }) if error.is::<PoolConcurrencyLimitError>() => {
                    self.tidy();
                    tokio::task::yield_now().await;
                }
                made => return made,
            }
        }
    }

    async fn try_to_make(&self, settings: &Arc<Settings>, output: &Output, message: Option<&Message<'_>>) -> Result<Live<F>, Ended> {
        let recipe = &self.recipe;
        let mut wasi = recipe.wasi(settings, output, message).map_err(Ended::Environment)?;
        let data = F::data(&mut wasi, &recipe.host, MemoryLimit::new(recipe.memory));
        let mut store = Store::new(&recipe.engine, data);
        store.limiter(|data| data.memory());
        // At each tick the guest yields to tokio, which then sees that the deadline has passed and drops the call.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        match self.form.instantiate(&mut store).await {
            Ok(guest) => Ok(Live { store, guest, output: output.clone(), settings: settings.clone(), used: 0 }),
            Err(error) => Err(Ended::Trap { error, out_of_memory: store.data_mut().memory().was_refused() }),
        }
    }

    /// Keeps as many instances ready as the app asks for, for as long as it is polled.
    pub(super) async fn keep_warm(&self) {
        if self.recipe.warm == 0 {
            return;
        }
        loop {
            while self.idle().len() < self.recipe.warm {
                if !self.warm_up().await {
                    tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                }
            }
            self.taken.notified().await;
        }
    }

    /// Makes one instance more. Returns whether that went well.
    async fn warm_up(&self) -> bool {
        let _running = self.recipe.clock.run();
        let Ok(settings) = self.recipe.host.settings() else { return false };
        let output = Output::new(&self.recipe.labels, &self.recipe.allowance);
        match tokio::time::timeout(self.recipe.timeout, self.make(settings, output, None)).await {
            Ok(Ok(live)) => {
                self.keep(live);
                true
            }
            Ok(Err(ended)) => {
                self.end(&ended);
                false
            }
            Err(_) => {
                self.end(&Ended::Timeout);
                false
            }
        }
    }

    fn end(&self, ended: &Ended) {
        self.counts.retire(match ended {
            Ended::Trap { out_of_memory: true, .. } => Retired::OutOfMemory,
            Ended::Timeout => Retired::Timeout,
            Ended::Trap { .. } | Ended::Environment(_) => Retired::Trap,
        });
    }

    fn failure(&self, ended: Ended) -> Failure {
        match ended {
            Ended::Environment(error) => environment(format!("{error:#}")),
            Ended::Trap { out_of_memory: true, .. } => Failure {
                kind: FailureKind::OutOfMemory,
                message: format!("the guest needs more than its memoryLimit of {} bytes", self.recipe.memory),
            },
            Ended::Trap { error, .. } => Failure { kind: FailureKind::Trap, message: trap(&error) },
            Ended::Timeout => Failure { kind: FailureKind::Timeout, message: format!("no answer within {:?}", self.recipe.timeout) },
        }
    }
}

/// Why a call has no outcome.
enum Ended {
    Environment(wasmtime::Error),
    Trap { error: wasmtime::Error, out_of_memory: bool },
    Timeout,
}

impl Recipe {
    /// Environment, arguments, files, network and output of an instance; those of a program are for one message.
    fn wasi(&self, settings: &Settings, output: &Output, message: Option<&Message<'_>>) -> wasmtime::Result<WasiCtxBuilder> {
        let mut wasi = WasiCtx::builder();
        wasi.stdout(output.stream(Stream::Stdout)).stderr(output.stream(Stream::Stderr));
        wasi.envs(&settings.env);
        // A program's first argument is its own name.
        wasi.arg(&self.labels.component).args(&self.args);
        if self.is_program
            && let Some(message) = message
        {
            wasi.stdin(MemoryInputPipe::new(message.payload.clone()));
            wasi.envs(&message.environment(self.timeout));
        }
        if let Some(files) = &self.files {
            wasi.preopened_dir(files, "/", FsPerms::ReadOnly)?;
        }
        sockets::allow(&mut wasi, &settings.network);
        Ok(wasi)
    }
}

fn environment(message: String) -> Failure {
    Failure { kind: FailureKind::Environment, message }
}

/// What a trap is called: wasmtime's short name where it has one, else the cause, which is the host's own sentence when the
/// host made the guest trap.
fn trap(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string().lines().next().unwrap_or_default().to_owned(),
    }
}
