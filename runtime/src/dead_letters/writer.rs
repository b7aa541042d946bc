//! Writes the dead letters of one component to its stream. [`DeadLetters::push`] never waits; [`DeadLetters::run`] is the one
//! task that writes, many letters in one go, and tries again with backoff for as long as Redis refuses or is away. What waits
//! is bounded; a letter that has to go is counted and named in the log, without its payload.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{Cmd, Pipeline, cmd};
use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    entry::Entry,
    jittered,
    link::LinkError,
    place::Place,
    redrive::Receipt,
    trouble::{News, Trouble},
    waiting::{Letter, Waiting},
};
use crate::queue::Message;

/// Letters in one go.
const BATCH: usize = 128;
/// Bytes of letters in one go, unless one alone has more.
const BATCH_BYTES: u64 = 1 << 20;
/// Wait after the first failure; it doubles up to [`MAX_BACKOFF`].
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// Longest wait while the process stops and somebody waits for the last letters.
const HURRIED_BACKOFF: Duration = Duration::from_millis(200);
/// The stream's length is asked at least so often.
const LENGTH_EVERY: Duration = Duration::from_secs(15);
/// Lost letters are named at most this often; those between are only counted.
const LOST_EVERY: Duration = Duration::from_secs(1);
/// Up to this many entries the length is kept exactly. Above it Redis drops whole blocks of about a hundred, which costs it
/// much less and keeps up to so many more.
const EXACT_LENGTH: u64 = 1_000;
const UNKNOWN: i64 = -1;

/// Whether older letters make room for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Those beyond the stream's length do, this replica's letters in advance not counted.
    Bounded,
    /// None does.
    AsItIs,
}

/// What metrics read. One look; the numbers need not be of the same moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Letters in the stream's server.
    pub written: u64,
    /// Tries that Redis refused or did not answer.
    pub write_failures: u64,
    /// Letters that will never be written.
    pub lost: u64,
    /// Letters that wait or are being written.
    pub pending: usize,
    /// Bytes of those.
    pub pending_bytes: u64,
    /// Entries in the stream; none while that is not known.
    pub stream_length: Option<u64>,
}

/// The dead letters of one component.
pub struct DeadLetters {
    place: Place,
    state: Mutex<State>,
    /// There is something to write.
    wake: Notify,
    /// The process stops: try at once.
    hurry: Notify,
    /// Nothing waits any more.
    emptied: Notify,
    news: News,
    pub(super) written: AtomicU64,
    /// Letters in advance that are in the stream.
    pub(super) in_advance: Arc<AtomicU64>,
    write_failures: AtomicU64,
    lost: AtomicU64,
    stream_length: AtomicI64,
}

struct State {
    waiting: Waiting,
    hurried: bool,
    /// When a loss was logged last, and how many there were since.
    told: Option<Instant>,
    untold: u64,
}

impl DeadLetters {
    /// For a component whose letters may take this many bytes while they wait: as many as its queue.
    pub fn new(place: Place, max_bytes: u64) -> Self {
        Self {
            place,
            state: Mutex::new(State { waiting: Waiting::new(max_bytes), hurried: false, told: None, untold: 0 }),
            wake: Notify::new(),
            hurry: Notify::new(),
            emptied: Notify::new(),
            news: News::default(),
            written: AtomicU64::new(0),
            in_advance: Arc::default(),
            write_failures: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            stream_length: AtomicI64::new(UNKNOWN),
        }
    }

    /// Id of the component.
    pub fn component(&self) -> &str {
        &self.place.component
    }

    /// Where the letters go.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Leaves a letter to be written. Never waits. With the receipt of a message that had been a dead letter before, its old
    /// entry is acknowledged once this one is written.
    /// `owned` is the message, when this replica owns it among others: it is finished once the letter is written.
    pub fn push(&self, entry: Entry, receipt: Option<Arc<Receipt>>, owned: Option<Arc<Message>>) {
        let lost = {
            let mut state = self.state();
            let lost = state.waiting.push(Letter { entry: Arc::new(entry), receipt, _owned: owned });
            self.count_lost(&mut state, &lost);
            lost
        };
        self.wake.notify_one();
        // Outside the lock: a receipt that is dropped tells its reader.
        drop(lost);
    }

    /// The process ends: what is left of its queue becomes letters all at once, and none pushes another out.
    pub fn accept_all(&self) {
        self.state().waiting.lift_bound();
    }

    /// The numbers for metrics.
    pub fn counts(&self) -> Counts {
        let (pending, pending_bytes) = {
            let state = self.state();
            (state.waiting.count(), state.waiting.bytes())
        };
        Counts {
            written: self.written.load(Ordering::Relaxed),
            write_failures: self.write_failures.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            pending,
            pending_bytes,
            stream_length: u64::try_from(self.stream_length.load(Ordering::Relaxed)).ok(),
        }
    }

    /// Writes until the task is ended, which should be after [`flush`](Self::flush): what is being written then is lost.
    pub async fn run(&self) {
        let mut next_length = Instant::now();
        let mut backoff = INITIAL_BACKOFF;
        loop {
            if next_length <= Instant::now() {
                self.measure().await;
                // Components that started together need not ask together.
                next_length = Instant::now() + jittered(LENGTH_EVERY);
            }
            let batch = self.state().waiting.take(BATCH, BATCH_BYTES);
            if batch.is_empty() {
                select! {
                    () = self.wake.notified() => {}
                    () = sleep_until(next_length) => {}
                }
                continue;
            }
            match self.write(batch).await {
                Ok(()) => backoff = INITIAL_BACKOFF,
                Err(trouble) => {
                    self.tell(&trouble);
                    self.rest(jittered(backoff)).await;
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                }
            }
        }
    }

    /// Waits until all letters are written, at most until the deadline, and gives up on the others: the end of a process. Gives
    /// how many were lost by that.
    pub async fn flush(&self, deadline: Instant) -> usize {
        self.state().hurried = true;
        self.hurry.notify_one();
        let empty = async {
            loop {
                let emptied = self.emptied.notified();
                if self.state().waiting.count() == 0 {
                    return;
                }
                emptied.await;
            }
        };
        if timeout_at(deadline, empty).await.is_ok() {
            return 0;
        }
        let (given_up, left) = {
            let mut state = self.state();
            let left = state.waiting.count();
            (state.waiting.give_up(), left)
        };
        self.lost.fetch_add(left as u64, Ordering::Relaxed);
        drop(given_up);
        tracing::error!(
            app = %self.place.app, component = %self.place.component, lost = left,
            "dead letters could not be written to stream `{}` before the process ends", self.place.stream
        );
        left
    }

    /// Writes what it can of a batch; the rest waits again.
    async fn write(&self, batch: Vec<Letter>) -> Result<(), Trouble> {
        let mut commands = Pipeline::with_capacity(batch.len());
        for letter in &batch {
            commands.add_command(self.command(&letter.entry, Room::Bounded));
        }
        let answers = match self.place.link.each(&mut commands).await {
            Ok(answers) => answers,
            Err(error) => {
                self.write_failures.fetch_add(1, Ordering::Relaxed);
                self.put_back(batch);
                return Err(self.trouble(&error));
            }
        };
        let (mut refused, mut written, mut trouble) = (Vec::new(), Vec::new(), None);
        // Fewer answers than commands cannot be; if they were, the others are tried again.
        let answers = answers.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        for (letter, answer) in batch.into_iter().zip(answers) {
            match answer {
                Some(Ok(_)) => written.push(letter),
                Some(Err(error)) => {
                    trouble = Some(Trouble::of_redis(&error, &self.place.stream));
                    refused.push(letter);
                }
                None => refused.push(letter),
            }
        }
        self.written.fetch_add(written.len() as u64, Ordering::Relaxed);
        self.grown(written.len());
        self.write_failures.fetch_add(refused.len() as u64, Ordering::Relaxed);
        self.done(&written);
        self.put_back(refused);
        let Some(trouble) = trouble else {
            if self.news.is_over() {
                tracing::info!(app = %self.place.app, component = %self.place.component, "dead letters are written again");
            }
            return Ok(());
        };
        Err(trouble)
    }

    pub(super) fn command(&self, entry: &Entry, room: Room) -> Cmd {
        let Place { stream, max_length, .. } = &self.place;
        let mut command = cmd("XADD");
        command.arg(stream);
        if room == Room::Bounded {
            let length = max_length + self.in_advance.load(Ordering::Relaxed);
            command.arg("MAXLEN").arg(if *max_length <= EXACT_LENGTH { "=" } else { "~" }).arg(length);
        }
        command.arg("*");
        for (name, value) in entry.fields() {
            command.arg(name).arg(&*value);
        }
        command
    }

    fn done(&self, written: &[Letter]) {
        let empty = {
            let mut state = self.state();
            written.iter().for_each(|letter| state.waiting.written(letter));
            state.waiting.count() == 0
        };
        written.iter().filter_map(|letter| letter.receipt.as_ref()).for_each(|receipt| receipt.settle());
        if empty {
            self.emptied.notify_waiters();
        }
    }

    fn put_back(&self, letters: Vec<Letter>) {
        self.state().waiting.put_back(letters);
    }

    /// The stream has so many letters more, as far as it takes them: until it is asked for its length again.
    fn grown(&self, letters: usize) {
        let most = i64::try_from(self.place.max_length).unwrap_or(i64::MAX);
        let known = self.stream_length.load(Ordering::Relaxed);
        if known != UNKNOWN {
            let length = known.saturating_add(i64::try_from(letters).unwrap_or(i64::MAX));
            self.stream_length.store(length.min(most.max(known)), Ordering::Relaxed);
        }
    }

    /// Asks how long the stream is.
    async fn measure(&self) {
        let length: Result<u64, _> = self.place.link.query(cmd("XLEN").arg(&self.place.stream)).await;
        let length = match length {
            Ok(length) => i64::try_from(length).unwrap_or(i64::MAX),
            Err(error) => {
                // Told here too, so that a stream that can never be written is known before the first letter is.
                self.tell(&self.trouble(&error));
                UNKNOWN
            }
        };
        self.stream_length.store(length, Ordering::Relaxed);
    }

    /// Waits before the next try; less long when the process stops.
    async fn rest(&self, pause: Duration) {
        if self.state().hurried {
            return sleep(pause.min(HURRIED_BACKOFF)).await;
        }
        select! {
            () = sleep(pause) => {}
            () = self.hurry.notified() => {}
        }
    }

    fn trouble(&self, error: &LinkError) -> Trouble {
        Trouble::of(error, &self.place.stream)
    }

    fn tell(&self, trouble: &Trouble) {
        let (app, component) = (&self.place.app, &self.place.component);
        if self.news.is_new(trouble) {
            let pending = self.counts().pending;
            tracing::warn!(%app, %component, reason = trouble.name, pending, "dead letters cannot be written to stream `{}`: {}", self.place.stream, trouble.sentence);
        } else {
            tracing::debug!(%app, %component, reason = trouble.name, "dead letters still cannot be written to stream `{}`: {}", self.place.stream, trouble.sentence);
        }
    }

    fn count_lost(&self, state: &mut State, lost: &[Letter]) {
        let Some(last) = lost.last() else { return };
        self.lost.fetch_add(lost.len() as u64, Ordering::Relaxed);
        state.untold += lost.len() as u64;
        if state.told.is_some_and(|told| told.elapsed() < LOST_EVERY) {
            return;
        }
        tracing::error!(
            app = %self.place.app, component = %self.place.component, channel = %last.entry.channel, lost = state.untold,
            "dead letters are lost: too many wait to be written to stream `{}`", self.place.stream
        );
        (state.told, state.untold) = (Some(Instant::now()), 0);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
