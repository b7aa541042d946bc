//! The arms: ways to handle messages that are measured against each other.

pub mod spin;
pub mod spinredis;

use std::{fmt, sync::Arc};

use clap::ValueEnum;
use serde::Serialize;

use crate::{guests::Guest, probe::Probe};

/// A kind of arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A Rust closure behind the runtime's own receiver, queue and workers.
    Native,
    /// As Spin does it: one message after the other, a task made and joined for each, its engine settings.
    Spin,
    /// The runtime: an instance made for each message.
    Fresh,
    /// The runtime: instances for one message each, made before it comes.
    Warm,
    /// The runtime: one instance for many messages.
    Reuse,
    /// The same as `Fresh`, in a group of replicas that share messages, of which it is the only one and so owns all.
    #[serde(rename = "shared-fresh")]
    SharedFresh,
    /// The same as `Reuse`, in such a group.
    #[serde(rename = "shared-reuse")]
    SharedReuse,
}

impl Kind {
    /// Whether one instance handles many messages.
    pub fn reuses(self) -> bool {
        matches!(self, Kind::Reuse | Kind::SharedReuse)
    }

    /// Whether it shares messages.
    pub fn shares(self) -> bool {
        matches!(self, Kind::SharedFresh | Kind::SharedReuse)
    }

    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Native => "native",
            Kind::Spin => "spin-like",
            Kind::Fresh => "fresh",
            Kind::Warm => "warm",
            Kind::Reuse => "reuse",
            Kind::SharedFresh => "shared fresh",
            Kind::SharedReuse => "shared reuse",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// Which arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// Of which kind.
    pub kind: Kind,
    /// With which guest; arms without one handle what this one would get.
    pub guest: Guest,
    /// With how many workers.
    pub workers: usize,
}

impl fmt::Display for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} ×{}", self.kind, self.guest, self.workers)
    }
}

/// One way of handling messages. Made once, started for each round.
pub trait Arm {
    /// Which one it is.
    fn label(&self) -> Label;

    /// Subscribes to a channel and handles its messages, telling the probe of each. Returns once Redis has confirmed the
    /// subscription.
    fn start(&self, address: &str, channel: &str, probe: &Arc<Probe>) -> anyhow::Result<Box<dyn Running>>;
}

/// An arm that is subscribed.
pub trait Running {
    /// Ends it, and returns once all its threads have ended.
    fn stop(self: Box<Self>) -> anyhow::Result<()>;
}
