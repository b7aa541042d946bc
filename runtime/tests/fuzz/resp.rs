//! The reader of the subscription connection, cut at random places, against one that has everything at once and is too
//! simple to be wrong.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    pin::Pin,
    task::{Context, Poll},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use spinredis::redis::{
    item::{Item, Payload},
    reader::{ReadError, Reader},
    resp::command,
};
use tokio::io::{AsyncRead, ReadBuf};

use crate::{driver::fuzz, mutate::Corpus};

/// Longest line and longest name, in bytes.
const BOUND: usize = 16 << 10;
/// Longest payload that is read here, in bytes.
const MAX_PAYLOAD: u64 = 100_000;

/// What was said, in memory of its own.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Message { pattern: Option<Vec<u8>>, channel: Vec<u8>, payload: Result<Vec<u8>, u64> },
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Option<Vec<u8>>),
    Push(Vec<u8>),
}

impl From<Item<'_>> for Said {
    fn from(item: Item<'_>) -> Self {
        match item {
            Item::Message(message) => Said::Message {
                pattern: message.pattern.map(<[u8]>::to_vec),
                channel: message.channel.to_vec(),
                payload: match message.payload {
                    Payload::Small(bytes) => Ok(bytes.to_vec()),
                    Payload::Large(bytes) => Ok(bytes.to_vec()),
                    Payload::TooLarge(length) => Err(length),
                },
            },
            Item::Simple(text) => Said::Simple(text.to_vec()),
            Item::Error(text) => Said::Error(text.to_vec()),
            Item::Integer(number) => Said::Integer(number),
            Item::Bulk(bytes) => Said::Bulk(bytes.map(<[u8]>::to_vec)),
            Item::Push(kind) => Said::Push(kind.to_vec()),
        }
    }
}

// ---- the reader -----------------------------------------------------------------------------------------------------

/// Gives a stream in random pieces.
struct Pieces<'a> {
    left: &'a [u8],
    random: StdRng,
    longest: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let longest = self.longest;
        let piece = self.random.random_range(1..=longest).min(self.left.len()).min(buffer.remaining());
        let (now, later) = self.left.split_at(piece);
        buffer.put_slice(now);
        self.left = later;
        Poll::Ready(Ok(()))
    }
}

/// What the reader finds, and whether it says that this is not RESP.
async fn read(bytes: &[u8], longest: usize) -> (Vec<Said>, bool) {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let mut reader = Reader::new(Pieces { left: bytes, random: StdRng::seed_from_u64(hasher.finish()), longest }, MAX_PAYLOAD);
    let mut said = Vec::new();
    loop {
        let error = match reader.item() {
            Ok(Some(item)) => {
                said.push(item.into());
                continue;
            }
            Ok(None) => match reader.fill().await {
                Ok(_) => continue,
                Err(error) => error,
            },
            Err(error) => error,
        };
        super::assert_sentence(&error.to_string());
        assert!(!matches!(error, ReadError::Io(_)), "{error}");
        return (said, matches!(error, ReadError::Protocol(_)));
    }
}

// ---- the simple one -------------------------------------------------------------------------------------------------

enum End {
    More,
    Malformed,
}

struct Simple<'a>(&'a [u8]);

impl<'a> Simple<'a> {
    fn all(mut self) -> (Vec<Said>, bool) {
        let mut said = Vec::new();
        loop {
            match self.item() {
                Ok(item) => said.push(item),
                Err(End::More) => return (said, false),
                Err(End::Malformed) => return (said, true),
            }
        }
    }

    fn item(&mut self) -> Result<Said, End> {
        if let Some(rest) = self.0.strip_prefix(b"*3\r\n$7\r\nmessage\r\n") {
            self.0 = rest;
            return self.message(None);
        }
        if let Some(rest) = self.0.strip_prefix(b"*4\r\n$8\r\npmessage\r\n") {
            self.0 = rest;
            let length = self.length()?;
            if length > BOUND as u64 {
                return Err(End::Malformed);
            }
            let pattern = self.string(length)?.to_vec();
            return self.message(Some(pattern));
        }
        let whole = self.0.len();
        let line = self.line()?;
        let Some(count) = line.strip_prefix(b"*") else { return self.scalar(line) };
        let count = count_of(count)?.unwrap_or_default();
        if count > 16 {
            return Err(End::Malformed);
        }
        let mut first = Vec::new();
        for place in 0..count {
            if whole - self.0.len() > 2 * BOUND {
                return Err(End::Malformed);
            }
            let line = self.line()?;
            match self.scalar(line)? {
                Said::Bulk(Some(text)) if place == 0 => first = text,
                _ => {}
            }
        }
        if first == b"message" || first == b"pmessage" { Err(End::Malformed) } else { Ok(Said::Push(first)) }
    }

    fn message(&mut self, pattern: Option<Vec<u8>>) -> Result<Said, End> {
        let length = self.length()?;
        let channel = self.string(length)?;
        let length = self.length()?;
        let payload = self.string(length)?;
        let too_long = channel.len() > BOUND;
        let payload = if too_long || length > MAX_PAYLOAD { Err(length) } else { Ok(payload.to_vec()) };
        let channel = if too_long { &channel[..256] } else { channel };
        Ok(Said::Message { pattern, channel: channel.to_vec(), payload })
    }

    fn scalar(&mut self, line: &'a [u8]) -> Result<Said, End> {
        let (kind, rest) = line.split_first().ok_or(End::Malformed)?;
        match kind {
            b'+' => Ok(Said::Simple(rest.to_vec())),
            b'-' => Ok(Said::Error(rest.to_vec())),
            b':' => Ok(Said::Integer(number(rest)?)),
            b'$' => match count_of(rest)? {
                None => Ok(Said::Bulk(None)),
                Some(length) if length > BOUND as u64 => Err(End::Malformed),
                Some(length) => Ok(Said::Bulk(Some(self.string(length)?.to_vec()))),
            },
            _ => Err(End::Malformed),
        }
    }

    fn line(&mut self) -> Result<&'a [u8], End> {
        match self.0.windows(2).position(|pair| pair == b"\r\n") {
            Some(end) if end <= BOUND => {
                let line = &self.0[..end];
                self.0 = &self.0[end + 2..];
                Ok(line)
            }
            None if self.0.len() < BOUND + 2 => Err(End::More),
            _ => Err(End::Malformed),
        }
    }

    fn length(&mut self) -> Result<u64, End> {
        let Some((kind, rest)) = self.0.split_first() else { return Err(End::More) };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if *kind != b'$' || digits > 19 {
            return Err(End::Malformed);
        }
        match &rest[digits..] {
            [] => Err(End::More),
            [b'\r'] if digits > 0 => Err(End::More),
            [b'\r', b'\n', after @ ..] if digits > 0 => {
                self.0 = after;
                Ok(std::str::from_utf8(&rest[..digits]).unwrap().parse().unwrap())
            }
            _ => Err(End::Malformed),
        }
    }

    fn string(&mut self, length: u64) -> Result<&'a [u8], End> {
        if length > self.0.len() as u64 {
            return Err(End::More);
        }
        let (string, rest) = self.0.split_at(usize::try_from(length).unwrap());
        match rest {
            [b'\r', b'\n', after @ ..] => {
                self.0 = after;
                Ok(string)
            }
            [] | [b'\r'] => Err(End::More),
            _ => Err(End::Malformed),
        }
    }
}

fn count_of(digits: &[u8]) -> Result<Option<u64>, End> {
    match number(digits)? {
        -1 => Ok(None),
        count => u64::try_from(count).map(Some).map_err(|_| End::Malformed),
    }
}

fn number(digits: &[u8]) -> Result<i64, End> {
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(End::Malformed)
}

#[test]
fn redis_protocol() {
    let x = |count: usize| "x".repeat(count);
    let text = |parts: &[&str]| {
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        String::from_utf8(command(&parts)).unwrap()
    };
    let seeds = [
        "+OK\r\n-ERR no\r\n:-7\r\n$-1\r\n$0\r\n\r\n*-1\r\n".to_owned(),
        text(&["subscribe", "c"]) + &text(&["message", "c", "a\r\nb"]) + &text(&["pmessage", "c*", "c1", ""]),
        "*4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$1\r\nc\r\n$9223372036854775807\r\nx".to_owned(),
        text(&["message", "c", &x(16_384)]) + &text(&["message", "c", "after"]),
        text(&["pmessage", "*", "c", &x(90_000)]) + &text(&["message", "c", &x(100_001)]),
        text(&["pmessage", "*", &x(16_385), "hi"]) + &text(&["pmessage", "*", &x(16_384), &x(16_383)]) + "+OK\r\n",
        format!("*16\r\n{}", format!("$16000\r\n{}\r\n", x(16_000)).repeat(3)),
    ];
    let words =
        ["\r\n", "*16\r\n", "*-1\r\n", "$100000\r\n", "$-2\r\n", "*3\r\n$7\r\nmessage\r\n", "*4\r\n$8\r\npmessage\r\n", "+", "-", ":"];
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    fuzz("redis_protocol", Corpus::text(seeds, &words), move |bytes| {
        for (longest, most) in [(3, 40_000), (1000, usize::MAX), (usize::MAX, usize::MAX)] {
            // Small pieces of much would take long.
            let bytes = &bytes[..bytes.len().min(most)];
            assert_eq!(runtime.block_on(read(bytes, longest)), Simple(bytes).all(), "pieces of up to {longest} bytes");
        }
    });
}
