//! Runs a handler in a fresh instance: linking, limits, output and outcome.
//!
//! Nothing of one call is left for the next: store, memory, environment and output are made for the call and dropped with it.

mod environment;
mod limits;
mod output;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use spinredis_crds::Component as ComponentSpec;
use wasmtime::{
    Engine, Store, Trap,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{compile::handler::HandlerKind, references::References};
use environment::Environment;
use limits::MemoryLimit;
use output::Output;

mod spin_sync {
    //! Bindings of `fermyon:spin/inbound-redis`. The Rust function is async so that the call runs on a fiber and may yield.
    #![allow(missing_docs)]
    wasmtime::component::bindgen!({ path: "../wit/fermyon-spin", world: "redis-trigger", exports: { default: async } });
}

mod spin_async {
    //! Bindings of `spin:redis/inbound-redis@3.0.0`, an async function in the component model itself.
    #![allow(missing_docs)]
    wasmtime::component::bindgen!({ path: "../wit/spin-redis-3", world: "redis-trigger" });
}

/// What a store of a call holds.
pub struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    memory: MemoryLimit,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// A component whose imports are resolved: what remains for a call is to make an instance.
#[derive(Clone)]
enum Linked {
    SpinSync(spin_sync::RedisTriggerPre<State>),
    SpinAsync(spin_async::RedisTriggerPre<State>),
}

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
    id: String,
    engine: Engine,
    linked: Linked,
    environment: Environment,
    timeout: Duration,
    memory: u64,
}

impl Handler {
    /// Resolves a component's imports, without running any of it.
    pub fn link(engine: &Engine, component: &Component, kind: HandlerKind) -> wasmtime::Result<()> {
        linked(engine, component, kind).map(drop)
    }

    /// A handler with its limits, environment and arguments.
    pub fn new(
        engine: &Engine,
        component: &Component,
        kind: HandlerKind,
        spec: &ComponentSpec,
        references: Arc<References>,
    ) -> wasmtime::Result<Self> {
        let limits = spec.limits();
        Ok(Self {
            id: spec.id.clone(),
            engine: engine.clone(),
            linked: linked(engine, component, kind)?,
            environment: Environment::new(spec, references),
            timeout: limits.timeout,
            memory: limits.memory,
        })
    }

    /// Handles one message within the deadline.
    pub async fn call(&self, channel: &str, payload: &Bytes) -> Result<(), Failure> {
        let output = Output::new(&self.id, channel);
        let result = self.call_with_output(payload, &output).await;
        output.finish();
        result
    }

    async fn call_with_output(&self, payload: &Bytes, output: &Output) -> Result<(), Failure> {
        let wasi = self.environment.wasi(output).map_err(|error| Failure { kind: FailureKind::Environment, message: error.to_string() })?;
        let state = State { wasi, table: ResourceTable::new(), memory: MemoryLimit::new(self.memory) };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.memory);
        // At each tick the guest yields to tokio, which then sees that the deadline has passed and drops the call.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        // A guest in a host call does not run, so the timer around the whole call ends that too.
        let result = tokio::time::timeout(self.timeout, self.linked.call(&mut store, payload)).await;
        let out_of_memory = store.data().memory.was_refused();
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

fn linked(engine: &Engine, component: &Component, kind: HandlerKind) -> wasmtime::Result<Linked> {
    let mut linker = Linker::<State>::new(engine);
    // One definition serves every 0.2 version: the linker matches semver-compatible names.
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    if kind == HandlerKind::SpinAsync {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    }
    let pre = linker.instantiate_pre(component)?;
    Ok(match kind {
        HandlerKind::SpinSync => Linked::SpinSync(spin_sync::RedisTriggerPre::new(pre)?),
        HandlerKind::SpinAsync => Linked::SpinAsync(spin_async::RedisTriggerPre::new(pre)?),
    })
}

impl Linked {
    /// Makes an instance and calls it. The inner result is the handler's own.
    async fn call(&self, store: &mut Store<State>, payload: &Bytes) -> wasmtime::Result<Result<(), String>> {
        match self {
            Linked::SpinSync(pre) => {
                let guest = pre.instantiate_async(&mut *store).await?;
                let result = guest.fermyon_spin_inbound_redis().call_handle_message(&mut *store, payload).await?;
                Ok(result.map_err(|error| error.name().to_owned()))
            }
            Linked::SpinAsync(pre) => {
                let guest = pre.instantiate_async(&mut *store).await?;
                let payload = payload.to_vec();
                let result = store
                    .run_concurrent(async |accessor| guest.spin_redis_inbound_redis().call_handle_message(accessor, payload).await)
                    .await??;
                Ok(result.map_err(in_words))
            }
        }
    }
}

/// An error of the asynchronous handler, by its name in the WIT or in the guest's own words.
fn in_words(error: spin_async::spin::redis::redis::Error) -> String {
    use spin_async::spin::redis::redis::Error;
    match error {
        Error::InvalidAddress => "invalid-address".to_owned(),
        Error::TooManyConnections => "too-many-connections".to_owned(),
        Error::TypeError => "type-error".to_owned(),
        Error::Other(text) => text,
    }
}

/// What a trap is called: wasmtime's short name where it has one, else the chain of causes.
fn trap(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => format!("{error:#}").lines().next().unwrap_or_default().to_owned(),
    }
}
