//! The forms of guests: each links once, makes instances, and calls them.

mod command;
mod legacy;
mod spin;
mod trigger;

use std::{sync::Arc, time::Duration};

use wasmtime::{Engine, Store, component::Linker};
use wasmtime_wasi::WasiCtxBuilder;

use super::{limits::MemoryLimit, message::Message, state::CallData};
use crate::{
    compile::{artifact::Code, handler::HandlerKind},
    host::{self, Host},
};
pub use legacy::Legacy;

/// What the handler itself made of a message.
pub type Outcome = Result<(), Refusal>;

/// A handler's own error, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it says.
    pub message: String,
    /// Whether another attempt may help; only our own interface lets a handler say that it does not.
    pub retry: bool,
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self { message, retry: true }
    }
}

/// A guest whose imports are resolved.
pub trait Form: Send + Sync + 'static {
    /// What the store of an instance holds.
    type Data: CallData;
    /// An instance.
    type Guest: Send + 'static;

    /// The store's data of an instance that is made.
    fn data(wasi: &mut WasiCtxBuilder, host: &Arc<Host>, memory: MemoryLimit) -> Self::Data;

    /// Makes an instance.
    fn instantiate(&self, store: &mut Store<Self::Data>) -> impl Future<Output = wasmtime::Result<Self::Guest>> + Send;

    /// Calls an instance's handler.
    fn call(
        &self,
        guest: &Self::Guest,
        store: &mut Store<Self::Data>,
        message: &Message<'_>,
        timeout: Duration,
    ) -> impl Future<Output = wasmtime::Result<Outcome>> + Send;
}

/// A component of any kind.
pub enum Linked {
    /// `fermyon:spin/inbound-redis`.
    SpinSync(spin::Sync),
    /// `spin:redis/inbound-redis@3.0.0`.
    SpinAsync(spin::Async),
    /// `spinredis:trigger/handler@0.1.0`.
    Trigger(trigger::Trigger),
    /// `wasi:cli/run@0.2`.
    Command(command::Command),
    /// `wasi:cli/run@0.3`.
    AsyncCommand(command::AsyncCommand),
}

/// An instance of a component.
pub enum Instance {
    /// `fermyon:spin/inbound-redis`.
    SpinSync(spin::SyncGuest),
    /// `spin:redis/inbound-redis@3.0.0`.
    SpinAsync(spin::AsyncGuest),
    /// `spinredis:trigger/handler@0.1.0`.
    Trigger(trigger::TriggerGuest),
    /// `wasi:cli/run@0.2`.
    Command(command::Program),
    /// `wasi:cli/run@0.3`.
    AsyncCommand(command::AsyncProgram),
}

/// A guest of any form.
pub enum Guest {
    /// A component.
    Component(Linked),
    /// A core module with `handle-redis-message`.
    Legacy(Legacy),
}

/// Resolves a guest's imports, without running any of it.
pub fn link(engine: &Engine, code: &Code, kind: HandlerKind, concurrent: bool) -> wasmtime::Result<Guest> {
    let component = match code {
        Code::Module(module) => return Ok(Guest::Legacy(Legacy::link(engine, module)?)),
        Code::Component(component) => component,
    };
    let mut linker = Linker::<super::state::State>::new(engine);
    host::add_to_linker(&mut linker, engine, component, concurrent)?;
    let pre = linker.instantiate_pre(component)?;
    Ok(Guest::Component(match kind {
        HandlerKind::SpinSync => Linked::SpinSync(spin::Sync::new(pre)?),
        HandlerKind::SpinAsync => Linked::SpinAsync(spin::Async::new(pre)?),
        HandlerKind::Trigger => Linked::Trigger(trigger::Trigger::new(pre)?),
        HandlerKind::Command => Linked::Command(command::Command::new(pre)?),
        HandlerKind::AsyncCommand => Linked::AsyncCommand(command::AsyncCommand::new(pre)?),
        HandlerKind::Legacy => wasmtime::bail!("a component has no handle-redis-message"),
    }))
}

impl Form for Linked {
    type Data = super::state::State;
    type Guest = Instance;

    fn data(wasi: &mut WasiCtxBuilder, host: &Arc<Host>, memory: MemoryLimit) -> Self::Data {
        Self::Data::new(wasi.build(), host, memory)
    }

    async fn instantiate(&self, store: &mut Store<Self::Data>) -> wasmtime::Result<Instance> {
        Ok(match self {
            Linked::SpinSync(form) => Instance::SpinSync(form.instantiate(store).await?),
            Linked::SpinAsync(form) => Instance::SpinAsync(form.instantiate(store).await?),
            Linked::Trigger(form) => Instance::Trigger(form.instantiate(store).await?),
            Linked::Command(form) => Instance::Command(form.instantiate(store).await?),
            Linked::AsyncCommand(form) => Instance::AsyncCommand(form.instantiate(store).await?),
        })
    }

    async fn call(
        &self,
        guest: &Instance,
        store: &mut Store<Self::Data>,
        message: &Message<'_>,
        timeout: Duration,
    ) -> wasmtime::Result<Outcome> {
        match guest {
            Instance::SpinSync(guest) => spin::call(guest, store, message).await,
            Instance::SpinAsync(guest) => spin::call_async(guest, store, message).await,
            Instance::Trigger(guest) => trigger::call(guest, store, message, timeout).await,
            Instance::Command(guest) => command::call(guest, store).await,
            Instance::AsyncCommand(guest) => command::call_async(guest, store).await,
        }
    }
}
