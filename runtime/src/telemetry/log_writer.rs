//! Writes log lines to stdout from a thread of its own, so that nobody who logs waits for whoever reads the log.
//!
//! Lines wait in a buffer bounded in bytes and are written many at once. When the reader is slower than the lines for longer
//! than the buffer lasts, the newest lines are dropped and counted, and a line says how many once there is room again.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

/// Bytes of log lines that may wait.
pub(super) const MAX_WAITING_BYTES: usize = 4 << 20;

/// Gives each event's line to the thread that writes.
#[derive(Clone)]
pub(super) struct LogWriter(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// There is something to write, or everything was written.
    changed: Condvar,
    max_bytes: usize,
}

#[derive(Default)]
struct State {
    /// Whole lines.
    waiting: Vec<u8>,
    /// Whether the thread is writing what it took.
    writing: bool,
    /// Lines dropped since the last one that told of them.
    untold: u64,
    /// Lines dropped since the process started.
    dropped: u64,
}

impl LogWriter {
    /// Starts the thread. `notice` makes the line that tells how many were dropped.
    pub(super) fn start(out: impl Write + Send + 'static, max_bytes: usize, notice: fn(u64) -> String) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), max_bytes });
        let writer = shared.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_all(out, notice))?;
        Ok(Self(shared))
    }

    /// Lines dropped since the process started.
    pub(super) fn dropped(&self) -> u64 {
        self.0.state().dropped
    }

    /// Waits until everything is written, at most so long: nobody may be reading.
    pub(super) fn flush(&self, longest: Duration) {
        let end = Instant::now() + longest;
        let mut state = self.0.state();
        while state.writing || !state.waiting.is_empty() || state.untold > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.0.changed.wait_timeout(state, left).map_or_else(|error| error.into_inner().0, |(state, _)| state);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: &[u8]) {
        let mut state = self.state();
        if state.waiting.len() + line.len() > self.max_bytes && !state.waiting.is_empty() {
            state.untold += 1;
            state.dropped += 1;
            return;
        }
        let was_empty = state.waiting.is_empty();
        state.waiting.extend_from_slice(line);
        drop(state);
        if was_empty {
            self.changed.notify_all();
        }
    }

    /// The thread: for as long as the process lives.
    fn write_all(&self, mut out: impl Write, notice: fn(u64) -> String) {
        let mut lines = Vec::new();
        loop {
            {
                let mut state = self.state();
                state.writing = false;
                self.changed.notify_all();
                while state.waiting.is_empty() && state.untold == 0 {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                // A burst's memory is given back; an ordinary buffer is used again.
                lines.clear();
                if lines.capacity() > self.max_bytes / 16 {
                    lines = Vec::new();
                }
                std::mem::swap(&mut lines, &mut state.waiting);
                state.writing = true;
                match std::mem::take(&mut state.untold) {
                    0 => {}
                    // What was dropped came after what waits.
                    dropped => lines.extend_from_slice(notice(dropped).as_bytes()),
                }
            }
            // Nobody can be told that the log cannot be written.
            let _ = out.write_all(&lines).and_then(|()| out.flush());
        }
    }
}

impl Write for LogWriter {
    /// One whole event: the formatter writes each with a single call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A reader that takes what was written only when it is asked to.
    struct Slow {
        may_write: mpsc::Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Once nobody holds the reader back any more, everything goes through.
            let _ = self.may_write.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow(max_bytes: usize) -> (LogWriter, mpsc::Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (let_it, may_write) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let writer =
            LogWriter::start(Slow { may_write, written: written.clone() }, max_bytes, |dropped| format!("{dropped} dropped\n")).unwrap();
        (writer, let_it, written)
    }

    fn text(written: &Mutex<Vec<u8>>) -> String {
        String::from_utf8(written.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn lines_come_out_whole_and_in_order() {
        let (mut writer, reader, written) = slow(MAX_WAITING_BYTES);
        drop(reader);
        let lines: Vec<String> = (0..10_000).map(|number| format!("line {number}\n")).collect();
        lines.iter().for_each(|line| writer.write_all(line.as_bytes()).unwrap());
        writer.flush(Duration::from_secs(60));
        assert_eq!(text(&written), lines.concat());
        assert_eq!(writer.dropped(), 0);
    }

    #[test]
    fn a_log_that_nobody_reads_makes_nobody_wait_and_what_is_dropped_is_told() {
        let (mut writer, reader, written) = slow(1_000);
        let line = [&[b'x'; 99][..], b"\n"].concat();
        for _ in 0..10_000 {
            writer.write_all(&line).unwrap();
        }
        writer.flush(Duration::from_millis(10));
        assert!(writer.0.state().waiting.len() <= 1_000);
        let dropped = writer.dropped();
        assert!((9_900..10_000).contains(&dropped), "{dropped}");
        drop(reader);
        writer.flush(Duration::from_secs(60));
        let text = text(&written);
        let told: u64 = text.lines().filter_map(|line| line.strip_suffix(" dropped")?.parse::<u64>().ok()).sum();
        assert_eq!(told, dropped);
        assert_eq!(text.lines().filter(|line| line.starts_with('x')).count() as u64 + dropped, 10_000);
    }
}
