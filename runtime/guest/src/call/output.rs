//! A guest's stdout and stderr as log lines, bounded in length and number.
//!
//! A line longer than [`MAX_LINE_BYTES`] is cut, and what one call prints beyond [`MAX_CALL_BYTES`], or a component beyond its
//! [`Allowance`], is counted instead of logged: a guest that floods costs a bounded amount of log.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError},
};

/// Longest line, in bytes; the container runtime splits lines at 16 KiB.
const MAX_LINE_BYTES: usize = 8 << 10;
/// What one call may print on each stream, in bytes.
const MAX_CALL_BYTES: usize = 256 << 10;

/// What a line counts against that beside its text: about what a log line adds to it, in bytes.
const LINE_OVERHEAD: usize = 128;

/// What a component may log at once after it was quiet, in bytes.
const BURST_BYTES: usize = 4 << 20;
/// What a component may log in a second in the long run, in bytes.
const BYTES_PER_SECOND: usize = 1 << 20;
/// Longest time that is earned for at once; a burst takes less.
const LONGEST_QUIET: Duration = Duration::from_secs(60);

/// How much all calls of one component together may still log: a token bucket.
pub(super) struct Allowance(Mutex<Bucket>);

struct Bucket {
    left: usize,
    since: Instant,
}

impl Default for Allowance {
    fn default() -> Self {
        Self(Mutex::new(Bucket { left: BURST_BYTES, since: Instant::now() }))
    }
}

impl Allowance {
    /// Whether so many bytes may be logged now; then they are taken.
    fn take(&self, bytes: usize) -> bool {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = bucket.since.elapsed().min(LONGEST_QUIET);
        let earned = usize::try_from(quiet.as_micros()).unwrap_or(0) * BYTES_PER_SECOND / 1_000_000;
        if earned > 0 {
            // A little time is lost to rounding, never won.
            *bucket = Bucket { left: (bucket.left + earned).min(BURST_BYTES), since: Instant::now() };
        }
        let allowed = bucket.left >= bytes;
        if allowed {
            bucket.left -= bytes;
        }
        allowed
    }
}

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// Which component a line belongs to.
pub(super) struct Labels {
    /// `namespace/name` of the app.
    pub app: String,
    /// Id of the component.
    pub component: String,
}

/// Both streams of one instance.
#[derive(Clone)]
pub(super) struct Output {
    stdout: Lines,
    stderr: Lines,
}

/// Which message a line belongs to.
#[derive(Clone)]
struct Origin {
    channel: Arc<str>,
    sequence: u64,
}

impl Output {
    pub(super) fn new(labels: &Arc<Labels>, allowance: &Arc<Allowance>) -> Self {
        let lines = |stream| Lines(Arc::new(Mutex::new(Buffer::new(labels.clone(), stream, allowance.clone()))));
        Self { stdout: lines(Stream::Stdout), stderr: lines(Stream::Stderr) }
    }

    pub(super) fn stream(&self, stream: Stream) -> Lines {
        match stream {
            Stream::Stdout => self.stdout.clone(),
            Stream::Stderr => self.stderr.clone(),
        }
    }

    /// From here on lines belong to this message.
    pub(super) fn begin(&self, channel: &Arc<str>, sequence: u64) {
        for lines in [&self.stdout, &self.stderr] {
            lines.buffer().origin = Some(Origin { channel: channel.clone(), sequence });
        }
    }

    /// Logs what is left: a last line without a line break, and how much was not logged.
    pub(super) fn finish(&self) {
        self.stdout.buffer().finish();
        self.stderr.buffer().finish();
    }
}

/// One stream of one instance. Every clone writes to the same buffer.
#[derive(Clone)]
pub(super) struct Lines(Arc<Mutex<Buffer>>);

struct Buffer {
    labels: Arc<Labels>,
    /// The message that is being handled; none while an instance is made before its message.
    origin: Option<Origin>,
    stream: Stream,
    allowance: Arc<Allowance>,
    line: Vec<u8>,
    /// Bytes of the current line that were cut.
    cut: usize,
    logged: usize,
    suppressed: usize,
}

impl Buffer {
    fn new(labels: Arc<Labels>, stream: Stream, allowance: Arc<Allowance>) -> Self {
        Self { labels, origin: None, stream, allowance, line: Vec::new(), cut: 0, logged: 0, suppressed: 0 }
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let room = MAX_LINE_BYTES.saturating_sub(self.line.len()).min(text.len());
            self.line.extend_from_slice(&text[..room]);
            self.cut += text.len() - room;
            if ends {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let cut = std::mem::take(&mut self.cut);
        let cost = line.len() + LINE_OVERHEAD;
        if self.logged + cost > MAX_CALL_BYTES || !self.allowance.take(cost) {
            self.suppressed += line.len() + cut + 1;
            return;
        }
        self.logged += cost;
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches('\r');
        if cut > 0 { self.log(&format!("{text}… ({cut} bytes more)")) } else { self.log(text) }
    }

    /// Ends the message's output; the next message's has its own bound.
    fn finish(&mut self) {
        if !self.line.is_empty() || self.cut > 0 {
            self.end_line();
        }
        let suppressed = std::mem::take(&mut self.suppressed);
        if suppressed > 0 {
            let (channel, sequence) = self.labels();
            tracing::warn!(target: "guest", app = %self.labels.app, component = %self.labels.component, channel = channel.map(tracing::field::display), sequence, "{suppressed} bytes more were not logged: one call may print {MAX_CALL_BYTES} bytes, and a component {BYTES_PER_SECOND} bytes a second");
        }
        self.logged = 0;
    }

    fn log(&self, text: &str) {
        let stream = match self.stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let (channel, sequence) = self.labels();
        tracing::info!(target: "guest", app = %self.labels.app, component = %self.labels.component, channel = channel.map(tracing::field::display), sequence, stream, "{text}");
    }

    fn labels(&self) -> (Option<&str>, Option<u64>) {
        (self.origin.as_ref().map(|origin| &*origin.channel), self.origin.as_ref().map(|origin| origin.sequence))
    }
}

impl Lines {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    // The default would spawn a task for each stream.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.buffer().write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(MAX_CALL_BYTES)
    }
}

impl AsyncWrite for Lines {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.buffer().write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Arc<Labels> {
        Arc::new(Labels { app: "ns/app".into(), component: "c".into() })
    }

    #[test]
    fn a_line_is_kept_until_it_ends_and_never_grows_beyond_its_bound() {
        let mut buffer = Buffer::new(labels(), Stream::Stdout, Arc::default());
        buffer.write(b"half ");
        assert_eq!(buffer.line, b"half ");
        buffer.write(&vec![b'x'; 1 << 20]);
        assert_eq!((buffer.line.len(), buffer.cut), (MAX_LINE_BYTES, (1 << 20) + 5 - MAX_LINE_BYTES));
        buffer.write(b"\n");
        assert!(buffer.line.is_empty() && buffer.cut == 0);
    }

    #[test]
    fn a_component_that_has_had_its_burst_earns_a_megabyte_a_second() {
        let allowance = Allowance::default();
        assert!(allowance.take(BURST_BYTES) && !allowance.take(BURST_BYTES));
        allowance.0.lock().unwrap().since -= Duration::from_secs(2);
        assert!(allowance.take(2 * BYTES_PER_SECOND) && !allowance.take(BYTES_PER_SECOND));
    }

    #[test]
    fn what_a_call_prints_beyond_its_bound_is_counted() {
        let mut buffer = Buffer::new(labels(), Stream::Stderr, Arc::default());
        for _ in 0..MAX_CALL_BYTES {
            buffer.write(b"1234567\n");
        }
        let lines_logged = buffer.logged / (7 + LINE_OVERHEAD);
        assert!(buffer.logged <= MAX_CALL_BYTES && lines_logged > 1000);
        assert_eq!(lines_logged * 8 + buffer.suppressed, MAX_CALL_BYTES * 8);
    }
}
