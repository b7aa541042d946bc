//! Reads a stream in big pieces and gives what [`Parser`] finds in them.
//!
//! The read buffer has one size for ever. The rest of a large payload is read to its own place, so no byte of a message is
//! copied more than once here.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::{
    item::{Item, Malformed},
    resp::{MAX_ITEM, Parser},
};

/// Size of the read buffer, in bytes: what is read at once, and room for one whole item.
const CHUNK: usize = 64 << 10;
const _: () = assert!(CHUNK > MAX_ITEM);

/// Why nothing could be read.
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
    Protocol(#[from] Malformed),
}

/// Reads items from a stream. Every future of it may be dropped and asked for again: nothing is lost.
pub struct Reader<R> {
    stream: R,
    buffer: Box<[u8]>,
    /// What was read and not yet given: from here …
    start: usize,
    /// … to here.
    end: usize,
    parser: Parser,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// A reader that skips payloads over `max_payload` bytes.
    pub fn new(stream: R, max_payload: u64) -> Self {
        Self { stream, buffer: vec![0; CHUNK].into(), start: 0, end: 0, parser: Parser::new(max_payload) }
    }

    /// The next item of what was read; `None` when nothing whole is left and [`fill`](Self::fill) must come first.
    pub fn item(&mut self) -> Result<Option<Item<'_>>, ReadError> {
        let (used, item) = self.parser.next(&self.buffer[self.start..self.end])?;
        self.start += used;
        Ok(item)
    }

    /// Reads once, as much as there is. To be called when [`item`](Self::item) has nothing left. Returns how many bytes that
    /// were, never 0.
    pub async fn fill(&mut self) -> Result<usize, ReadError> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let read = match self.parser.destination(CHUNK) {
            Some(mut rest) if self.end == 0 => self.stream.read_buf(&mut rest).await?,
            _ => {
                let read = self.stream.read(&mut self.buffer[self.end..]).await?;
                self.end += read;
                read
            }
        };
        if read == 0 { Err(ReadError::Closed) } else { Ok(read) }
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
