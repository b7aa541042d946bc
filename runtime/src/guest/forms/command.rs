//! WASI programs: the payload on stdin, the context in the environment, the exit code as the outcome.

use wasmtime::{Store, component::InstancePre};
use wasmtime_wasi::{I32Exit, p2, p3};

use super::Outcome;
use crate::guest::state::State;

/// `wasi:cli/run@0.2`.
pub struct Command(p2::bindings::CommandPre<State>);

impl Command {
    pub(super) fn new(pre: InstancePre<State>) -> wasmtime::Result<Self> {
        p2::bindings::CommandPre::new(pre).map(Self)
    }

    pub(super) async fn call(&self, store: &mut Store<State>) -> wasmtime::Result<Outcome> {
        let program = self.0.instantiate_async(&mut *store).await?;
        outcome(program.wasi_cli_run().call_run(&mut *store).await)
    }
}

/// `wasi:cli/run@0.3`.
pub struct AsyncCommand(p3::bindings::CommandPre<State>);

impl AsyncCommand {
    pub(super) fn new(pre: InstancePre<State>) -> wasmtime::Result<Self> {
        p3::bindings::CommandPre::new(pre).map(Self)
    }

    pub(super) async fn call(&self, store: &mut Store<State>) -> wasmtime::Result<Outcome> {
        let program = self.0.instantiate_async(&mut *store).await?;
        let result = store.run_concurrent(async |accessor| program.wasi_cli_run().call_run(accessor).await).await;
        outcome(result.and_then(|result| result))
    }
}

/// A program's end: `exit` comes as an error that carries the code.
fn outcome(result: wasmtime::Result<Result<(), ()>>) -> wasmtime::Result<Outcome> {
    match result {
        Ok(result) => Ok(result.map_err(|()| "the program ended with an error".to_owned())),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(0)) => Ok(Ok(())),
            Some(I32Exit(code)) => Ok(Err(format!("the program ended with exit code {code}"))),
            None => Err(error),
        },
    }
}
