//! Where messages for a component are put in, by whoever receives them.

use std::sync::Arc;

use super::{Message, Queue};

/// The way into a component's queue: it puts messages in and sees to it that workers come for them.
#[derive(Clone)]
pub struct Inbox {
    queue: Arc<Queue>,
    start_workers: Arc<dyn Fn(usize) + Send + Sync>,
}

impl Inbox {
    /// The way into this queue. `start_workers` starts so many workers and does not wait for them.
    pub fn new(queue: Arc<Queue>, start_workers: impl Fn(usize) + Send + Sync + 'static) -> Self {
        Self { queue, start_workers: Arc::new(start_workers) }
    }

    /// The queue itself, where messages are counted.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Puts messages in that were received together.
    pub fn deliver(&self, messages: impl Iterator<Item = Message>) {
        let workers = self.queue.push_all(messages);
        if workers > 0 {
            (self.start_workers)(workers);
        }
    }
}

#[cfg(test)]
impl Inbox {
    /// The way into a queue that nobody takes from, for tests of those who receive.
    pub fn unattended(component: &str, subscriptions: &[&str], queue_bytes: u64) -> Self {
        let limits = spinredis_crds::defaults::Limits { queue_bytes, ..spinredis_crds::Component::default().limits() };
        let names = subscriptions.iter().map(|&name| name.to_owned()).collect();
        Self::new(Arc::new(Queue::new(component, names, &limits)), |_| {})
    }
}
