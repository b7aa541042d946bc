//! How large the pools of instances are: computed from what is loaded, so that every instance that may live has a place.
//!
//! A place costs address space and a little bookkeeping until it is used, and no memory.

use serde::{Deserialize, Serialize};
use wasmtime::PoolingAllocationConfig;

use super::{artifact::Code, engine::EngineKind};

/// Most linear memories that all pools have places for. Each reserves up to 4 GiB of address space with its guard regions, of
/// the 128 TiB that a process has on Linux x86-64, and with its stack up to five of the 65,530 mappings that Linux allows.
pub const MAX_MEMORIES: u64 = 8_192;
/// Elements of all tables of an instance. A table of funcrefs takes 8 bytes an element.
pub const MAX_TABLE_ELEMENTS: usize = 100_000;
/// Core instances that one component instance may be made of, and memories and tables: a component is made of a few core
/// modules, and one that is composed of others, or an interpreter with its libraries, of some dozens.
pub const MAX_INSTANCES: usize = 512;
/// What Wasmtime itself may keep of one instance, in bytes. It is taken when an instance is made, and nothing is reserved.
const MOST_BYTES_OF_INSTANCE: usize = 1 << 30;
/// Stacks of one asynchronous instance: each task that a guest starts runs on one of its own.
const STACKS_OF_TASKS: u32 = 4;
/// Stacks beside those: instances are also made, and host calls end, outside of a call.
const SPARE_STACKS: u32 = 16;

/// What one instance takes of a pool.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Linear memories.
    pub memories: u32,
    /// Tables.
    pub tables: u32,
}

impl Footprint {
    /// What an instance of this code takes.
    pub fn of(code: &Code) -> Self {
        let resources = match code {
            Code::Module(module) => Some(module.resources_required()),
            Code::Component(component) => component.resources_required(),
        };
        // A component that is instantiated with others says nothing; those we call import no components.
        let (memories, tables) = resources.map_or((1, 1), |needs| (needs.num_memories, needs.num_tables));
        Self { memories, tables }
    }
}

/// What a component may need of a pool at once.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// The engine that runs it.
    pub engine: EngineKind,
    /// Instances that may live at once.
    pub instances: u32,
    /// What each takes.
    pub footprint: Footprint,
    /// Linear memory of one instance, in bytes.
    pub memory: u64,
}

impl Demand {
    /// Memories of one instance. One more than it declares: the heap of a guest that uses garbage collection is a memory too.
    fn memories(&self) -> u32 {
        self.footprint.memories.saturating_add(1)
    }
}

/// More instances than there are places for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "the components may have {wanted} memories at once, and {MAX_MEMORIES} is the most a pod can reserve: lower concurrency or instances.warm"
)]
pub struct PoolError {
    wanted: u64,
}

/// The size of one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolSize {
    instances: u32,
    memories: u32,
    tables: u32,
    /// Largest linear memory, in bytes.
    memory: u64,
}

impl PoolSize {
    /// The pool of an engine that has a place for every instance that may live; `None` when nothing runs on that engine.
    pub fn of(engine: EngineKind, demands: &[Demand]) -> Result<Option<Self>, PoolError> {
        let mut size = PoolSize::default();
        // Of all pools: they share one address space.
        let wanted: u64 = demands.iter().map(|demand| u64::from(demand.instances) * u64::from(demand.memories())).sum();
        for demand in demands.iter().filter(|demand| demand.engine == engine) {
            let memories = demand.memories();
            size.instances = size.instances.saturating_add(demand.instances);
            size.memories = size.memories.saturating_add(demand.instances.saturating_mul(memories));
            size.tables = size.tables.saturating_add(demand.instances.saturating_mul(demand.footprint.tables));
            size.memory = size.memory.max(demand.memory);
        }
        match wanted {
            _ if size.instances == 0 => Ok(None),
            wanted if wanted > MAX_MEMORIES => Err(PoolError { wanted }),
            _ => Ok(Some(size)),
        }
    }

    /// Wasmtime's settings for it.
    pub fn config(&self, engine: EngineKind) -> PoolingAllocationConfig {
        let most = u32::try_from(MAX_INSTANCES).unwrap_or(u32::MAX);
        let stacks = if engine.is_concurrent() { self.instances.saturating_mul(STACKS_OF_TASKS) } else { self.instances };
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(self.instances)
            // Counted, and nothing reserved: the limits of a call say how many a component may have.
            .total_core_instances(u32::MAX)
            .max_core_instances_per_component(u32::MAX)
            .total_memories(self.memories)
            .total_tables(self.tables)
            .total_gc_heaps(self.instances)
            .total_stacks(stacks.saturating_add(SPARE_STACKS))
            .max_memories_per_component(u32::MAX)
            .max_tables_per_component(u32::MAX)
            .max_memories_per_module(most)
            .max_tables_per_module(most)
            .max_component_instance_size(MOST_BYTES_OF_INSTANCE)
            .max_core_instance_size(MOST_BYTES_OF_INSTANCE)
            .table_elements(MAX_TABLE_ELEMENTS)
            .max_memory_size(usize::try_from(self.memory).unwrap_or(usize::MAX));
        engine.tune(&mut pool);
        pool
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(engine: EngineKind, instances: u32) -> Demand {
        Demand { engine, instances, footprint: Footprint { memories: 2, tables: 1 }, memory: 1 << 20 }
    }

    #[test]
    fn a_pool_has_a_place_for_every_instance_of_its_engine() {
        let demands = [demand(EngineKind::Small, 9), demand(EngineKind::Large, 100), demand(EngineKind::Small, 1)];
        let size = PoolSize::of(EngineKind::Small, &demands).unwrap();
        assert_eq!(size, Some(PoolSize { instances: 10, memories: 30, tables: 10, memory: 1 << 20 }));
        assert_eq!(PoolSize::of(EngineKind::LargeAsync, &demands), Ok(None));
    }

    #[test]
    fn more_than_a_process_can_reserve_is_refused() {
        let error = PoolSize::of(EngineKind::Large, &[demand(EngineKind::Large, 3_000)]).unwrap_err();
        assert_eq!(error, PoolError { wanted: 9_000 });
    }
}
