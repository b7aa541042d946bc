//! The wasmtime engines: each kind of guest has the one that runs it fastest.
//!
//! They differ in code generation, so code of one never runs in another; the compatibility hash tells them apart.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Serialize};
use wasmtime::{Config, Enabled, Engine, PoolingAllocationConfig};

use super::pool::{Demand, PoolError, PoolSize};

/// Guests whose WebAssembly is at most this large, in bytes, are small. Measured as processor time for a call in a fresh
/// instance: programs of 23 to 225 KB are up to 1.6 times faster on an engine for small ones and get further with two threads;
/// QuickJS with 1.6 MB and CPython with 18 MB are faster on one for large ones (docs/performance.md).
const SMALL_BYTES: usize = 1 << 20;
/// Of each memory so many bytes are cleared instead of given back when an instance ends, which saves the next one's page
/// faults. Only pages that were written are cleared, if the kernel says which (PAGEMAP_SCAN, Linux 6.7).
const KEEP_RESIDENT_SMALL: usize = 2 << 20;
const KEEP_RESIDENT_LARGE: usize = 8 << 20;
/// The same where the kernel does not say it: clearing all of 2 MiB would cost more than the page faults.
const KEEP_RESIDENT_WITHOUT_SCAN: usize = 128 << 10;
/// The same of each table.
const KEEP_RESIDENT_TABLE: usize = 512 << 10;

/// The kinds of engines.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// For small synchronous guests: making an instance is most of a call's cost, so it must not change the address space.
    Small,
    /// For large synchronous guests: running is most of a call's cost.
    Large,
    /// For small guests with asynchronous functions.
    SmallAsync,
    /// For large guests with asynchronous functions.
    LargeAsync,
}

impl EngineKind {
    /// Every kind.
    pub const ALL: [EngineKind; 4] = [EngineKind::Small, EngineKind::Large, EngineKind::SmallAsync, EngineKind::LargeAsync];

    /// The kind that runs a guest: whether it has asynchronous functions, and how large it is, in bytes.
    pub fn of(concurrent: bool, wasm_bytes: usize) -> Self {
        match (concurrent, wasm_bytes <= SMALL_BYTES) {
            (false, true) => EngineKind::Small,
            (false, false) => EngineKind::Large,
            (true, true) => EngineKind::SmallAsync,
            (true, false) => EngineKind::LargeAsync,
        }
    }

    /// Whether guests may have asynchronous functions.
    pub fn is_concurrent(self) -> bool {
        matches!(self, EngineKind::SmallAsync | EngineKind::LargeAsync)
    }

    fn is_small(self) -> bool {
        matches!(self, EngineKind::Small | EngineKind::SmallAsync)
    }

    /// Everything that decides how code is generated: the same for who compiles it and who runs it.
    fn config(self) -> Config {
        let mut config = Config::new();
        // Without it a synchronous call is cheaper; an async function type does not validate there.
        config.concurrency_support(self.is_concurrent());
        config.epoch_interruption(true);
        if self.is_small() {
            // Bounds are checked by instructions instead of by guard pages. An instance is then made without a system call
            // that changes the address space, which all threads would have to agree on.
            config.signals_based_traps(false).memory_guard_size(0).gc_heap_guard_size(0);
        }
        config
    }

    /// What a pool of this kind keeps.
    pub(super) fn tune(self, pool: &mut PoolingAllocationConfig) {
        let keep = match PoolingAllocationConfig::is_pagemap_scan_available() {
            true if self.is_small() => KEEP_RESIDENT_SMALL,
            true => KEEP_RESIDENT_LARGE,
            false => KEEP_RESIDENT_WITHOUT_SCAN,
        };
        pool.linear_memory_keep_resident(keep).table_keep_resident(KEEP_RESIDENT_TABLE).pagemap_scan(Enabled::Auto);
    }
}

/// The engines of the process, each made when it is first asked for.
#[derive(Clone)]
pub struct Engines(Arc<Inner>);

struct Inner {
    made: [OnceLock<Engine>; EngineKind::ALL.len()],
    pools: [Option<PoolSize>; EngineKind::ALL.len()],
}

impl Engines {
    /// Engines that compile.
    pub fn to_compile() -> Self {
        Self(Arc::new(Inner { made: Default::default(), pools: Default::default() }))
    }

    /// Engines that run these components, with a pool for each kind that is wanted.
    pub fn to_run(demands: &[Demand]) -> Result<Self, PoolError> {
        let mut pools = [None; EngineKind::ALL.len()];
        for kind in EngineKind::ALL {
            pools[kind as usize] = PoolSize::of(kind, demands)?;
        }
        Ok(Self(Arc::new(Inner { made: Default::default(), pools })))
    }

    /// The engine of a kind.
    pub fn engine(&self, kind: EngineKind) -> wasmtime::Result<&Engine> {
        let cell = &self.0.made[kind as usize];
        if let Some(engine) = cell.get() {
            return Ok(engine);
        }
        let mut config = kind.config();
        if let Some(pool) = &self.0.pools[kind as usize] {
            config.allocation_strategy(pool.config(kind));
        }
        let engine = Engine::new(&config)?;
        Ok(cell.get_or_init(|| engine))
    }

    /// Those that were made.
    pub fn made(&self) -> Vec<Engine> {
        self.0.made.iter().filter_map(OnceLock::get).cloned().collect()
    }
}

/// Sixteen hexadecimal digits of what compiled code depends on: wasmtime's version, its settings and the processor.
pub fn compatibility(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
