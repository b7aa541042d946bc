//! The memory limit of one instance.

use wasmtime::ResourceLimiter;

use crate::compile::pool::{MAX_INSTANCES, MAX_TABLE_ELEMENTS};

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
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if is_beyond(desired, maximum) {
            return Ok(false);
        }
        let used = self.used.saturating_sub(current).saturating_add(desired);
        self.refused |= used > self.limit;
        if used > self.limit {
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if is_beyond(desired, maximum) {
            return Ok(false);
        }
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

/// Whether a memory or table would grow beyond the maximum that it declares itself: wasmtime asks before it looks, and refuses
/// whatever the answer is, so that must not count as used.
fn is_beyond(desired: usize, maximum: Option<usize>) -> bool {
    maximum.is_some_and(|maximum| desired > maximum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_that_a_memory_refuses_itself_is_not_counted() {
        let mut limit = MemoryLimit::new(100);
        for _ in 0..10 {
            assert!(!limit.memory_growing(10, 60, Some(50)).unwrap());
        }
        assert!(limit.memory_growing(0, 90, None).unwrap() && !limit.was_refused());
        assert!(!limit.memory_growing(0, 20, None).unwrap() && limit.was_refused());
    }
}
