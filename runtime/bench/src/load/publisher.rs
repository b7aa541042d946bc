//! Publishes without waiting for answers: a handful of bytes written once for each batch, and Redis told not to reply.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use anyhow::{Context, ensure};

/// Messages encoded for one write; more are written in several.
const BATCH_BYTES: usize = 256 << 10;

/// A connection that publishes messages of one size to one channel.
pub struct Publisher {
    stream: TcpStream,
    /// One command, its payload zeros.
    command: Vec<u8>,
    /// Where the payload begins in it.
    payload: usize,
    batch: Vec<u8>,
}

impl Publisher {
    /// Connects to `address` (`HOST:PORT`).
    pub fn connect(address: &str, channel: &str, payload_bytes: usize) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer)?;
        ensure!(answer == "+PONG\r\n", "Redis at {address} answers PING with {answer:?}");
        stream.write_all(b"CLIENT REPLY OFF\r\n")?;
        let (command, payload) = encode(channel, payload_bytes);
        Ok(Self { stream, command, payload, batch: Vec::new() })
    }

    /// Publishes one message for each stamp, which becomes the first eight bytes of its payload; no latency is taken of stamp 0.
    pub fn publish(&mut self, stamps: impl Iterator<Item = u64>) -> anyhow::Result<()> {
        for stamp in stamps {
            let start = self.batch.len() + self.payload;
            self.batch.extend_from_slice(&self.command);
            if let Some(place) = self.batch[start..].first_chunk_mut() {
                *place = stamp.to_le_bytes();
            }
            if self.batch.len() >= BATCH_BYTES {
                self.flush()?;
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.batch).context("publishing")?;
        self.batch.clear();
        Ok(())
    }
}

/// A PUBLISH in the protocol of Redis, and where its payload begins.
fn encode(channel: &str, payload_bytes: usize) -> (Vec<u8>, usize) {
    let mut command = format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${payload_bytes}\r\n", channel.len()).into_bytes();
    let payload = command.len();
    command.resize(payload + payload_bytes, 0);
    command.extend_from_slice(b"\r\n");
    (command, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_what_redis_reads() {
        let (command, payload) = encode("ab", 3);
        assert_eq!(command, b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nab\r\n$3\r\n\0\0\0\r\n");
        assert_eq!(&command[payload..payload + 3], [0; 3]);
    }
}
