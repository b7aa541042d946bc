//! The forms of guests: each links once, and is called in a fresh instance for each message.

mod command;
mod legacy;
mod spin;
mod trigger;

use std::time::Duration;

use wasmtime::{Engine, Store, component::Linker};

use super::{
    message::Message,
    state::{ModuleState, State},
};
use crate::{
    compile::{artifact::Code, handler::HandlerKind},
    host,
};

/// What the handler itself made of a message: an error is its own, in words.
pub type Outcome = Result<(), String>;

/// A component whose imports are resolved: what remains for a call is to make an instance.
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

/// A guest whose imports are resolved.
pub enum Form {
    /// A component.
    Component(Linked),
    /// A core module with `handle-redis-message`.
    Legacy(legacy::Legacy),
}

/// Resolves a guest's imports, without running any of it.
pub fn link(engine: &Engine, code: &Code, kind: HandlerKind, concurrent: bool) -> wasmtime::Result<Form> {
    let component = match code {
        Code::Module(module) => return Ok(Form::Legacy(legacy::Legacy::link(engine, module)?)),
        Code::Component(component) => component,
    };
    let mut linker = Linker::<State>::new(engine);
    host::add_to_linker(&mut linker, engine, component, concurrent)?;
    let pre = linker.instantiate_pre(component)?;
    Ok(Form::Component(match kind {
        HandlerKind::SpinSync => Linked::SpinSync(spin::Sync::new(pre)?),
        HandlerKind::SpinAsync => Linked::SpinAsync(spin::Async::new(pre)?),
        HandlerKind::Trigger => Linked::Trigger(trigger::Trigger::new(pre)?),
        HandlerKind::Command => Linked::Command(command::Command::new(pre)?),
        HandlerKind::AsyncCommand => Linked::AsyncCommand(command::AsyncCommand::new(pre)?),
        HandlerKind::Legacy => wasmtime::bail!("a component has no handle-redis-message"),
    }))
}

impl Linked {
    /// Makes an instance and calls it.
    pub async fn call(&self, store: &mut Store<State>, message: &Message<'_>, timeout: Duration) -> wasmtime::Result<Outcome> {
        match self {
            Linked::SpinSync(form) => form.call(store, message).await,
            Linked::SpinAsync(form) => form.call(store, message).await,
            Linked::Trigger(form) => form.call(store, message, timeout).await,
            Linked::Command(form) => form.call(store).await,
            Linked::AsyncCommand(form) => form.call(store).await,
        }
    }
}

/// Calls a core module.
pub async fn call_module(form: &legacy::Legacy, store: &mut Store<ModuleState>, message: &Message<'_>) -> wasmtime::Result<Outcome> {
    form.call(store, message).await
}
