//! A message as a guest gets it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

/// One message and its context.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// What was published.
    pub payload: &'a Bytes,
    /// The channel it was published on.
    pub channel: &'a Arc<str>,
    /// The pattern of the subscription it came by.
    pub pattern: Option<&'a str>,
    /// The server it came from, without credentials.
    pub address: &'a str,
    /// When it was received.
    pub received: SystemTime,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Which message of the component this is, from 1, for log lines.
    pub sequence: u64,
}

impl Message<'_> {
    /// When it was received, in milliseconds since 1970-01-01T00:00:00Z.
    pub fn received_ms(&self) -> u64 {
        milliseconds(self.received)
    }

    /// The context for a program's environment. `timeout` is how long the attempt that begins now may take.
    pub fn environment(&self, timeout: Duration) -> [(&'static str, String); 6] {
        [
            ("SPINREDIS_CHANNEL", self.channel.to_string()),
            ("SPINREDIS_PATTERN", self.pattern.unwrap_or_default().to_owned()),
            ("SPINREDIS_ADDRESS", self.address.to_owned()),
            ("SPINREDIS_ATTEMPT", self.attempt.to_string()),
            ("SPINREDIS_RECEIVED_MS", self.received_ms().to_string()),
            ("SPINREDIS_DEADLINE_MS", deadline_ms(timeout).to_string()),
        ]
    }
}

/// When an attempt that begins now is stopped, in milliseconds since 1970-01-01T00:00:00Z.
pub fn deadline_ms(timeout: Duration) -> u64 {
    milliseconds(SystemTime::now() + timeout)
}

fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
