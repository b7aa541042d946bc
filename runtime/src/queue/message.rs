//! A message on its way to a component, and what it counts against the bound of a queue.

use std::{
    any::Any,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use spinredis_crds::defaults::QUEUE_ENTRY_OVERHEAD;

use crate::sharing::Owned;

/// Where a message came from: the `source` label of the metric that counts received messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Published on a channel.
    Channel,
    /// Taken back from the dead letters.
    Redrive,
}

impl Source {
    /// Label value in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Channel => "channel",
            Source::Redrive => "redrive",
        }
    }
}

/// What the one who made a message wants back with its outcome, such as the stream entry to acknowledge. The queue never looks
/// into it. One that is to know of a dropped message too has a `Drop` of its own: the queue lets go of messages outside its
/// lock.
pub type Receipt = Arc<dyn Any + Send + Sync>;

/// A message on its way to a component.
#[derive(Debug)]
pub struct Message {
    /// The channel it was published on: the key of its lane.
    pub channel: Arc<str>,
    /// What was published.
    pub payload: Bytes,
    /// The component's subscription that matched, as a place in its list.
    pub subscription: usize,
    /// The server it came from, without credentials.
    pub address: Arc<str>,
    /// When it was received, in this life.
    pub received: Instant,
    /// When it was received for the first time, by the clock on the wall.
    pub first_received: SystemTime,
    /// Where it came from.
    pub source: Source,
    /// Attempts made before this life: 0 for a new message.
    pub attempt: u32,
    /// For the one who made it.
    pub receipt: Option<Receipt>,
    /// Goes with it to its end when replicas share messages and this one owns it.
    pub owned: Option<Owned>,
    /// How many bytes beyond its bound a queue may hold for this message and others like it: such as were taken over from another
    /// replica, and were kept within a bound of their own until now. 0 for what comes as it is published.
    pub beyond: u64,
    /// Which message of the component it is, in this process: 1, 2, 3 … as the queue took them in; 0 before that.
    pub sequence: u64,
}

impl Message {
    /// A new message of a channel. The receiver reads each clock once for a batch.
    pub fn new(
        channel: Arc<str>,
        payload: Bytes,
        subscription: usize,
        address: Arc<str>,
        received: Instant,
        first_received: SystemTime,
    ) -> Self {
        let source = Source::Channel;
        Self {
            channel,
            payload,
            subscription,
            address,
            received,
            first_received,
            source,
            attempt: 0,
            receipt: None,
            owned: None,
            beyond: 0,
            sequence: 0,
        }
    }

    /// How many replicas died while they may have been handling it.
    pub fn crashes(&self) -> u32 {
        self.owned.as_ref().map_or(0, Owned::crashes)
    }

    /// The same message as one taken back from the dead letters after `attempt` attempts.
    pub fn redriven(self, attempt: u32, receipt: Receipt) -> Self {
        Self { source: Source::Redrive, attempt, receipt: Some(receipt), ..self }
    }

    /// What it counts against the bound while it waits, in bytes: payload, channel and an overhead.
    pub fn cost(&self) -> u64 {
        (self.payload.len() + self.channel.len()) as u64 + QUEUE_ENTRY_OVERHEAD
    }
}
