//! The memory limit of one instance.

use wasmtime::ResourceLimiter;

/// Elements of all tables of an instance. A table of funcrefs takes 8 bytes an element.
const MAX_TABLE_ELEMENTS: usize = 100_000;

/// Instances that one call may make, and memories and tables: a component is made of a few core modules, and one that is
/// composed of others, or an interpreter with its libraries, of some dozens.
const MAX_INSTANCES: usize = 512;

/// Counts the linear memories of an instance together, its tables together, and refuses growth beyond the limits.
pub(super) struct MemoryLimit {
    limit: usize,
    used: usize,
    table_elements: usize,
    refused: bool,
}

impl MemoryLimit {
    pub(super) fn new(bytes: u64) -> Self {
        Self { limit: usize::try_from(bytes).unwrap_or(usize::MAX), used: 0, table_elements: 0, refused: false }
    }

    /// Whether growth was refused: then what looks like any other trap was want of memory.
    pub(super) fn was_refused(&self) -> bool {
        self.refused
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used.saturating_sub(current).saturating_add(desired);
        self.refused |= used > self.limit;
        if used > self.limit {
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.table_elements.saturating_sub(current).saturating_add(desired);
        if elements > MAX_TABLE_ELEMENTS {
            return Ok(false);
        }
        self.table_elements = elements;
        Ok(true)
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn memories(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_INSTANCES
    }
}
