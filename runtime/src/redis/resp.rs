//! The part of RESP2 that a subscriber needs (redis.io/docs/latest/develop/reference/protocol-spec): it writes commands and
//! reads frames from a stream, and skips a bulk string over a bound without holding it in memory.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest line (status, error, number or length), in bytes; Redis itself allows 64 KiB.
const MAX_LINE: usize = 64 << 10;
const ENDLESS_LINE: &str = "it sent an endless line";
/// Most elements of an array: a `pmessage` has four.
const MAX_ELEMENTS: i64 = 16;
/// How much is read at once, in bytes.
const CHUNK: usize = 16 << 10;

/// One value of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// `+OK`
    Simple(String),
    /// `-NOAUTH Authentication required.`
    Error(String),
    /// `:1`
    Integer(i64),
    /// `$5 hello`
    Bulk(Bytes),
    /// `$-1`
    Null,
    /// A bulk string over the bound that was skipped, with its length in bytes.
    TooLarge(u64),
    /// `*3 …`
    Array(Vec<Frame>),
}

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The other side closed the connection.
    #[error("Redis closed the connection")]
    Closed,
    /// The other side does not speak RESP.
    #[error("what answers is not Redis, or wants TLS: {0}")]
    Protocol(&'static str),
}

/// Reads frames from a stream.
pub struct Reader<R> {
    stream: R,
    buffer: BytesMut,
    max_bulk: u64,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// A reader that skips bulk strings over `max_bulk` bytes.
    pub fn new(stream: R, max_bulk: u64) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(CHUNK), max_bulk }
    }

    /// The next frame. A frame that was begun is lost when this future is dropped before it is ready, so a caller must not
    /// use the reader again after that.
    pub async fn frame(&mut self) -> Result<Frame, ReadError> {
        let line = self.line().await?;
        let Some((b'*', count)) = line.split_first() else { return self.scalar(&line).await };
        let count = number(count)?;
        if count > MAX_ELEMENTS {
            return Err(ReadError::Protocol("it sent an array of unexpected length"));
        }
        let mut elements = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
        for _ in 0..count {
            let line = self.line().await?;
            elements.push(self.scalar(&line).await?);
        }
        Ok(Frame::Array(elements))
    }

    /// A frame that is not an array, whose first line was read.
    async fn scalar(&mut self, line: &[u8]) -> Result<Frame, ReadError> {
        let (kind, rest) = line.split_first().ok_or(ReadError::Protocol("it sent an empty line"))?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        match kind {
            b'+' => Ok(Frame::Simple(text())),
            b'-' => Ok(Frame::Error(text())),
            b':' => Ok(Frame::Integer(number(rest)?)),
            b'$' => match u64::try_from(number(rest)?) {
                Err(_) => Ok(Frame::Null),
                Ok(length) if length > self.max_bulk => self.skip(length).await,
                Ok(length) => self.bulk(length).await,
            },
            _ => Err(ReadError::Protocol("it sent something that is not RESP")),
        }
    }

    async fn bulk(&mut self, length: u64) -> Result<Frame, ReadError> {
        let length = usize::try_from(length).map_err(|_| ReadError::Protocol("it sent an impossible length"))?;
        while self.buffer.len() < length + 2 {
            self.buffer.reserve((length + 2 - self.buffer.len()).max(CHUNK));
            self.fill().await?;
        }
        // Copied out: a small message must not keep the whole read buffer alive while it waits in a queue.
        let bulk = if length < CHUNK { Bytes::copy_from_slice(&self.buffer[..length]) } else { self.buffer.copy_to_bytes(length) };
        if length < CHUNK {
            self.buffer.advance(length);
        }
        self.line_break()?;
        Ok(Frame::Bulk(bulk))
    }

    async fn skip(&mut self, length: u64) -> Result<Frame, ReadError> {
        let mut left = length;
        while left > 0 {
            if self.buffer.is_empty() {
                self.buffer.reserve(CHUNK);
                self.fill().await?;
            }
            let now = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.buffer.advance(now);
            left -= now as u64;
        }
        while self.buffer.len() < 2 {
            self.fill().await?;
        }
        self.line_break()?;
        Ok(Frame::TooLarge(length))
    }

    fn line_break(&mut self) -> Result<(), ReadError> {
        if !self.buffer.starts_with(b"\r\n") {
            return Err(ReadError::Protocol("a string does not end where it should"));
        }
        self.buffer.advance(2);
        Ok(())
    }

    async fn line(&mut self) -> Result<BytesMut, ReadError> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer[searched..].windows(2).position(|pair| pair == b"\r\n").map(|at| at + searched) {
                if end > MAX_LINE {
                    return Err(ReadError::Protocol(ENDLESS_LINE));
                }
                let line = self.buffer.split_to(end);
                self.buffer.advance(2);
                return Ok(line);
            }
            // The first half of its end may be there already.
            if self.buffer.len() > MAX_LINE + 1 {
                return Err(ReadError::Protocol(ENDLESS_LINE));
            }
            searched = self.buffer.len().saturating_sub(1);
            self.buffer.reserve(CHUNK);
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), ReadError> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(ReadError::Closed),
            _ => Ok(()),
        }
    }
}

fn number(digits: &[u8]) -> Result<i64, ReadError> {
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(ReadError::Protocol("it sent a malformed number"))
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
mod tests {
    use super::*;

    /// Gives its bytes one at a time, so that every boundary falls between two reads once.
    struct OneByOne(std::collections::VecDeque<u8>);

    impl AsyncRead for OneByOne {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            if let Some(byte) = self.0.pop_front() {
                buffer.put_slice(&[byte]);
            }
            std::task::Poll::Ready(Ok(()))
        }
    }

    async fn frames(bytes: &[u8], max_bulk: u64) -> Vec<Frame> {
        let mut whole = Reader::new(bytes, max_bulk);
        let mut single = Reader::new(OneByOne(bytes.iter().copied().collect()), max_bulk);
        let mut frames = Vec::new();
        loop {
            match (whole.frame().await, single.frame().await) {
                (Ok(frame), Ok(other)) => {
                    assert_eq!(frame, other);
                    frames.push(frame);
                }
                (Err(ReadError::Closed), Err(ReadError::Closed)) => return frames,
                (whole, single) => panic!("{whole:?} and {single:?}"),
            }
        }
    }

    #[tokio::test]
    async fn every_kind_of_frame_is_read_however_the_stream_is_cut() {
        let stream = b"+OK\r\n-ERR no\r\n:-7\r\n$-1\r\n$0\r\n\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\na\r\nb\r\n";
        let bulk = |text: &'static str| Frame::Bulk(Bytes::from_static(text.as_bytes()));
        assert_eq!(
            frames(stream, 100).await,
            [
                Frame::Simple("OK".into()),
                Frame::Error("ERR no".into()),
                Frame::Integer(-7),
                Frame::Null,
                bulk(""),
                Frame::Array(vec![bulk("message"), bulk("c"), bulk("a\r\nb")]),
            ]
        );
    }

    #[tokio::test]
    async fn a_payload_over_the_bound_is_skipped_and_the_next_frame_is_read() {
        let mut stream = b"$50000\r\n".to_vec();
        stream.extend(std::iter::repeat_n(b'x', 50_000));
        stream.extend(b"\r\n+OK\r\n");
        assert_eq!(frames(&stream, 49_999).await, [Frame::TooLarge(50_000), Frame::Simple("OK".into())]);
    }

    #[tokio::test]
    async fn a_line_has_the_same_bound_however_the_stream_is_cut() {
        let line = |length: usize| [b"+".as_slice(), &vec![b'x'; length - 1], b"\r\n"].concat();
        assert_eq!(frames(&line(MAX_LINE), 100).await.len(), 1);
        let long = line(MAX_LINE + 1);
        let mut single = Reader::new(OneByOne(long.iter().copied().collect()), 100);
        for result in [Reader::new(long.as_slice(), 100).frame().await, single.frame().await] {
            assert!(matches!(result, Err(ReadError::Protocol(ENDLESS_LINE))), "{result:?}");
        }
    }

    #[tokio::test]
    async fn what_is_not_redis_is_said_to_be_so() {
        for bytes in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"$5\r\nhelloXX", b"*99\r\n", b":x\r\n", b"\r\n"] {
            assert!(matches!(Reader::new(bytes, 100).frame().await, Err(ReadError::Protocol(_))), "{bytes:?}");
        }
    }
}
