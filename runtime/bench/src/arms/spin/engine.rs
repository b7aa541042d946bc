//! Wasmtime configured as Spin 4 configures it (`spin-core`, defaults without environment variables): pooling for a thousand
//! instances, two megabytes of each kept resident, epochs on, concurrency support on since its SDKs need it.

use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Between two ticks of the engine's clock.
const TICK: Duration = Duration::from_millis(10);
/// Instances at once.
const INSTANCES: u32 = 1_000;
const MEBIBYTE: usize = 1 << 20;

/// The engine, and a thread that ticks for as long as it lives.
pub fn engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config.epoch_interruption(true).wasm_component_model_async(true);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    let engine = Engine::new(&config)?;
    let weak = engine.weak();
    std::thread::Builder::new().name("tick".to_owned()).spawn(move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    })?;
    Ok(engine)
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(4 * INSTANCES)
        .total_memories(INSTANCES)
        .total_tables(2 * INSTANCES)
        .total_stacks(INSTANCES)
        .table_elements(100_000)
        .max_component_instance_size(10 * MEBIBYTE)
        .max_core_instance_size(10 * MEBIBYTE)
        .max_core_instances_per_component(200)
        .max_memories_per_component(32)
        .max_tables_per_component(64)
        .max_memories_per_module(2)
        .max_tables_per_module(2)
        .max_memory_size(4 << 30)
        .linear_memory_keep_resident(2 * MEBIBYTE)
        .table_keep_resident(MEBIBYTE / 2);
    pool
}
