//! The metrics of a serving process, in the OpenMetrics text format. Names start with `spinredis_`; docs/metrics.md lists them.
//!
//! Nothing here counts messages: each component's queue is read once in a scrape, in one snapshot, so that
//! received = handled + failed + dropped + queued + retrying + in flight holds in every single answer. Other parts of the
//! process hold their own counters, and [`Sources`] says where those are.

mod collectors;
mod histogram;
mod messages;
mod sharing;
mod sources;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use prometheus_client::{encoding::text::encode, registry::Registry};

pub use histogram::Histogram;
pub use sources::{Component, Connections, DeadLetters, Process, Sources, Times};

/// The metrics of the process.
pub struct Metrics {
    messages: messages::Messages,
    registry: Registry,
    /// Length of the last text, so that the next grows only once.
    length: AtomicUsize,
}

impl Metrics {
    /// Metrics of these sources, read at each scrape.
    pub fn new(sources: Sources) -> Self {
        let mut registry = Registry::with_prefix("spinredis");
        let Sources { components, connections, groups, process } = sources;
        let components: Arc<[Component]> = components.into();
        registry.register_collector(Box::new(collectors::Calls(components.clone())));
        registry.register_collector(Box::new(collectors::DeadLettering(components.clone())));
        registry.register_collector(Box::new(collectors::Subscriptions(connections)));
        registry.register_collector(Box::new(sharing::Groups(groups)));
        registry.register_collector(Box::new(collectors::Own(process)));
        Self { messages: messages::Messages::new(components), registry, length: AtomicUsize::new(0) }
    }

    /// All metrics as text.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(self.length.load(Relaxed) + 4_096);
        self.messages.write(&mut text)?;
        // Last, since it writes the end of the text too.
        encode(&mut text, &self.registry)?;
        self.length.store(text.len(), Relaxed);
        Ok(text)
    }
}
