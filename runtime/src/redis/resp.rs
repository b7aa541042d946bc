//! The part of RESP2 that a subscriber needs (redis.io/docs/latest/develop/reference/protocol-spec), without any I/O.
//!
//! [`Parser::next`] is given what was read and tells the next whole item in it, borrowed from what it was given: nothing is
//! allocated for a small message. A large payload is gathered in memory of its own, and one over the bound is skipped
//! without being held. Everything else has a bound so small that [`MAX_ITEM`] bytes always hold one whole item.

use bytes::{BufMut, BytesMut, buf::Limit};

use super::{
    cursor::{Cursor, Parsed, Stop},
    item::{Item, Malformed, Payload, Published},
};

/// Longest string that is not a payload, in bytes: a channel, a pattern, the answer to a command. A manifest's channel has at
/// most 512 characters; a message on a channel with a longer name than this can only come by a pattern, and is skipped.
pub const MAX_NAME: usize = 16 << 10;
/// A payload from this length on, in bytes, is gathered in memory of its own.
pub const LARGE: usize = 16 << 10;
/// What one item takes at most while it is read, in bytes: a message has two names and a payload, and their lengths. The
/// elements of any other array share this bound.
pub const MAX_ITEM: usize = 2 * MAX_NAME + LARGE + 1024;
/// As much is kept of a name that is too long, for people to read, in bytes.
const SHOWN: usize = 256;

/// Where the parser stands.
#[derive(Debug)]
enum State {
    /// Between two items.
    Start,
    /// In a large payload of this length, gathered in `payload`.
    Payload { length: usize, payload: BytesMut },
    /// In a channel's name that is too long: as many bytes are left of it.
    SkipName { left: u64 },
    /// Before the length of the payload of such a channel.
    SkipLength,
    /// In a payload that is too long.
    Skip { left: u64, length: u64 },
}

/// Finds items in a stream of bytes.
#[derive(Debug)]
pub struct Parser {
    max_payload: u64,
    state: State,
    /// Pattern and channel of the message whose payload is gathered or skipped.
    names: Vec<u8>,
    pattern: Option<usize>,
}

impl Parser {
    /// A parser that skips payloads over `max_payload` bytes.
    pub fn new(max_payload: u64) -> Self {
        Self { max_payload, state: State::Start, names: Vec::new(), pattern: None }
    }

    /// The next item of the stream that `input` begins or goes on with, and how many bytes were used: they must not be given
    /// again. `None` means that more is needed; the bytes that were not used must then be given again with more behind them,
    /// and are fewer than [`MAX_ITEM`].
    pub fn next<'a>(&'a mut self, input: &'a [u8]) -> Result<(usize, Option<Item<'a>>), Malformed> {
        let mut cursor = Cursor { input, at: 0 };
        // How far whole pieces went: a payload is used as it comes.
        let mut used = 0;
        loop {
            let state = std::mem::replace(&mut self.state, State::Start);
            let step = match state {
                State::Start => match self.start(&mut cursor) {
                    Ok(Some(item)) => return Ok((cursor.at, Some(item))),
                    other => other.map(|_| ()),
                },
                State::Payload { length, mut payload } => {
                    payload.put_slice(cursor.some((length - payload.len()) as u64));
                    used = cursor.at;
                    if payload.len() == length && cursor.break_follows()? {
                        let item = self.message(Payload::Large(payload.freeze()));
                        return Ok((cursor.at, Some(item)));
                    }
                    self.state = State::Payload { length, payload };
                    Err(Stop::More)
                }
                State::SkipName { mut left } => {
                    let some = cursor.some(left);
                    left -= some.len() as u64;
                    let known = self.names.len() - self.pattern.unwrap_or_default();
                    self.names.extend_from_slice(&some[..some.len().min(SHOWN - known)]);
                    used = cursor.at;
                    let ends = left == 0 && cursor.break_follows()?;
                    self.state = if ends { State::SkipLength } else { State::SkipName { left } };
                    if ends { Ok(()) } else { Err(Stop::More) }
                }
                State::SkipLength => match cursor.length() {
                    Ok(length) => {
                        self.state = State::Skip { left: length, length };
                        Ok(())
                    }
                    Err(stop) => {
                        self.state = State::SkipLength;
                        Err(stop)
                    }
                },
                State::Skip { mut left, length } => {
                    left -= cursor.some(left).len() as u64;
                    used = cursor.at;
                    if left == 0 && cursor.break_follows()? {
                        let item = self.message(Payload::TooLarge(length));
                        return Ok((cursor.at, Some(item)));
                    }
                    self.state = State::Skip { left, length };
                    Err(Stop::More)
                }
            };
            match step {
                Ok(()) => used = cursor.at,
                Err(Stop::More) => return Ok((used, None)),
                Err(Stop::Malformed(why)) => return Err(Malformed(why)),
            }
        }
    }

    /// Where the next bytes of the stream belong when at least `most` of them are the rest of a large payload: they can be
    /// read to their place without a copy. Only to be asked when no byte that was given is still unused.
    pub fn destination(&mut self, most: usize) -> Option<Limit<&mut BytesMut>> {
        match &mut self.state {
            State::Payload { length, payload } if *length - payload.len() >= most => {
                let left = *length - payload.len();
                Some(payload.limit(left))
            }
            _ => None,
        }
    }

    /// An item that begins at the cursor; `None` when it is a message whose payload is gathered or skipped.
    fn start<'a>(&mut self, cursor: &mut Cursor<'a>) -> Parsed<Option<Item<'a>>> {
        const MESSAGE: &[u8] = b"*3\r\n$7\r\nmessage\r\n";
        const PMESSAGE: &[u8] = b"*4\r\n$8\r\npmessage\r\n";
        let rest = &cursor.input[cursor.at..];
        let head = if rest.starts_with(MESSAGE) {
            MESSAGE
        } else if rest.starts_with(PMESSAGE) {
            PMESSAGE
        } else if MESSAGE.starts_with(rest) || PMESSAGE.starts_with(rest) {
            return Err(Stop::More);
        } else {
            return cursor.other().map(Some);
        };
        cursor.at += head.len();
        let pattern = if head.len() == PMESSAGE.len() { Some(cursor.name()?) } else { None };
        let length = cursor.length()?;
        if length > MAX_NAME as u64 {
            self.remember(pattern, b"");
            self.state = State::SkipName { left: length };
            return Ok(None);
        }
        let channel = cursor.string(length)?;
        let length = cursor.length()?;
        if length < (LARGE as u64).min(self.max_payload.saturating_add(1)) {
            let payload = Payload::Small(cursor.string(length)?);
            return Ok(Some(Item::Message(Published { pattern, channel, payload })));
        }
        self.remember(pattern, channel);
        self.state = match usize::try_from(length) {
            Ok(size) if length <= self.max_payload => State::Payload { length: size, payload: BytesMut::with_capacity(size) },
            _ => State::Skip { left: length, length },
        };
        Ok(None)
    }

    fn remember(&mut self, pattern: Option<&[u8]>, channel: &[u8]) {
        self.names.clear();
        self.names.extend_from_slice(pattern.unwrap_or_default());
        self.pattern = pattern.map(<[u8]>::len);
        self.names.extend_from_slice(channel);
    }

    fn message<'a>(&'a self, payload: Payload<'a>) -> Item<'a> {
        let (pattern, channel) = self.names.split_at(self.pattern.unwrap_or_default());
        Item::Message(Published { pattern: self.pattern.map(|_| pattern), channel, payload })
    }
}

/// A command as an array of bulk strings.
pub fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        bytes.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[cfg(test)]
#[path = "resp_tests.rs"]
mod tests;
