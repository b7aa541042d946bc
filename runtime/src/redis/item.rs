//! What Redis says to a subscriber, as [`Parser`](super::resp::Parser) finds it.

use bytes::Bytes;

/// One thing that Redis says.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A published message.
    Message(Published<'a>),
    /// `+OK`
    Simple(&'a [u8]),
    /// `-NOAUTH Authentication required.`
    Error(&'a [u8]),
    /// `:1`
    Integer(i64),
    /// `$5 hello`; `None` is `$-1`.
    Bulk(Option<&'a [u8]>),
    /// An array that is no message, of which only the first string counts: `*3 subscribe …`.
    Push(&'a [u8]),
}

/// A message as it stands in the read buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Published<'a> {
    /// The pattern it matched, when it is a `pmessage`.
    pub pattern: Option<&'a [u8]>,
    /// The channel; only its beginning when it is longer than a name may be.
    pub channel: &'a [u8],
    /// What was published.
    pub payload: Payload<'a>,
}

/// A payload.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A small one, still in the read buffer.
    Small(&'a [u8]),
    /// In memory of its own.
    Large(Bytes),
    /// Skipped: it, or its channel's name, is too long. The length of the payload in bytes.
    TooLarge(u64),
}

/// The other side does not speak RESP, or says what no subscriber is ever told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);
