//! The wasmtime engines: one for synchronous guests, one with concurrency support for asynchronous ones.
//!
//! They differ in code generation, so code of one never runs in the other; the compatibility hash tells them apart.

use std::hash::{DefaultHasher, Hash, Hasher};

use wasmtime::{Config, Engine};

/// Both engines of the process.
#[derive(Clone)]
pub struct Engines {
    synchronous: Engine,
    concurrent: Engine,
}

impl Engines {
    /// Creates the engines with the settings that `prepare` and `serve` must share.
    pub fn new() -> wasmtime::Result<Self> {
        Ok(Self { synchronous: Engine::new(&config(false))?, concurrent: Engine::new(&config(true))? })
    }

    /// The engine that runs a guest.
    pub fn engine(&self, concurrent: bool) -> &Engine {
        if concurrent { &self.concurrent } else { &self.synchronous }
    }

    /// Moves the clock that makes guest code yield.
    pub fn tick(&self) {
        self.synchronous.increment_epoch();
        self.concurrent.increment_epoch();
    }
}

fn config(concurrent: bool) -> Config {
    let mut config = Config::new();
    // Without it a synchronous call is cheaper; an async function type does not validate there.
    config.concurrency_support(concurrent);
    config.epoch_interruption(true);
    config
}

/// Sixteen hexadecimal digits of what compiled code depends on: wasmtime's version, its settings and the processor.
pub fn compatibility(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
