//! What an app subscribes to: a channel or a pattern.

/// A channel or a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subscription {
    /// An exact channel: SUBSCRIBE.
    Channel(String),
    /// A glob pattern: PSUBSCRIBE.
    Pattern(String),
}

impl Subscription {
    /// The name as it stands in the manifest.
    pub fn name(&self) -> &str {
        match self {
            Subscription::Channel(name) | Subscription::Pattern(name) => name,
        }
    }

    /// The command that asks for it.
    pub(super) fn verb(&self) -> &'static [u8] {
        match self {
            Subscription::Channel(_) => b"SUBSCRIBE",
            Subscription::Pattern(_) => b"PSUBSCRIBE",
        }
    }
}
