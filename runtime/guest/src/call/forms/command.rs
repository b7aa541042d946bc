//! WASI programs: the payload on stdin, the context in the environment, the exit code as the outcome.

use wasmtime::{Store, component::InstancePre};
use wasmtime_wasi::{I32Exit, p2, p3};

use super::Outcome;
use crate::call::state::State;

/// An instance of a program for WASI 0.2.
pub type Program = p2::bindings::Command;
/// An instance of a program for WASI 0.3.
pub type AsyncProgram = p3::bindings::Command;

/// `wasi:cli/run@0.2`.
pub struct Command(p2::bindings::CommandPre<State>);

impl Command {
    pub(super) fn new(pre: InstancePre<State>) -> wasmtime::Result<Self> {
        p2::bindings::CommandPre::new(pre).map(Self)
    }

    pub(super) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Program> {
        self.0.instantiate_async(store).await
    }
}

/// `wasi:cli/run@0.3`.
pub struct AsyncCommand(p3::bindings::CommandPre<State>);

impl AsyncCommand {
    pub(super) fn new(pre: InstancePre<State>) -> wasmtime::Result<Self> {
        p3::bindings::CommandPre::new(pre).map(Self)
    }

    pub(super) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<AsyncProgram> {
        self.0.instantiate_async(store).await
    }
}

pub(super) async fn call(program: &Program, store: &mut Store<State>) -> wasmtime::Result<Outcome> {
    outcome(program.wasi_cli_run().call_run(store).await)
}

pub(super) async fn call_async(program: &AsyncProgram, store: &mut Store<State>) -> wasmtime::Result<Outcome> {
    let result = store.run_concurrent(async |accessor| program.wasi_cli_run().call_run(accessor).await).await;
    outcome(result.and_then(|result| result))
}

/// A program's end: `exit` comes as an error that carries the code.
fn outcome(result: wasmtime::Result<Result<(), ()>>) -> wasmtime::Result<Outcome> {
    match result {
        Ok(result) => Ok(result.map_err(|()| "the program ended with an error".to_owned().into())),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(0)) => Ok(Ok(())),
            Some(I32Exit(code)) => Ok(Err(format!("the program ended with exit code {code}").into())),
            None => Err(error),
        },
    }
}
