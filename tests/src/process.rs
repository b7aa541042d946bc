//! A program that a test started: its output line by line, signals, its end. It is killed when the test is done with it.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::wait::{PATIENCE, eventually_within};

/// A program that printed nothing for so long has printed what it had to say.
const QUIET: Duration = Duration::from_millis(50);
/// One that never stops printing is not waited for any longer.
const LONGEST_TO_SETTLE: Duration = Duration::from_secs(1);

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
}

#[derive(Default)]
struct Output {
    state: Mutex<Printed>,
    changed: Condvar,
}

#[derive(Default)]
struct Printed {
    lines: Vec<String>,
    /// Of stdout and stderr, how many have ended.
    ended: usize,
}

impl Process {
    /// Starts a program; what it prints on stdout and stderr is kept.
    pub fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started ({error}): is it installed? See tests/setup.sh"));
        let output = Arc::new(Output::default());
        collect(child.stdout.take().unwrap(), output.clone());
        collect(child.stderr.take().unwrap(), output.clone());
        Self { name, child, output }
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What was printed so far, once nothing more comes for a moment: a program that logs on a thread of its own prints what it
    /// did a moment after others can see it.
    pub fn lines(&self) -> Vec<String> {
        let deadline = Instant::now() + LONGEST_TO_SETTLE;
        let mut state = self.output.state.lock().unwrap();
        loop {
            let seen = state.lines.len();
            let has_ended = state.ended == 2;
            state = self.output.changed.wait_timeout_while(state, QUIET, |state| state.lines.len() == seen && state.ended < 2).unwrap().0;
            if state.lines.len() == seen || has_ended || Instant::now() > deadline {
                return state.lines.clone();
            }
        }
    }

    /// What was printed so far, as one text.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// The first line, printed already or yet to come, of which `found` makes something.
    pub fn wait_for<T>(&self, what: &str, mut found: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.output.state.lock().unwrap();
        let mut seen = 0;
        loop {
            while seen < state.lines.len() {
                if let Some(value) = found(&state.lines[seen]) {
                    return value;
                }
                seen += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended == 2 || left.is_zero() {
                let why = if left.is_zero() { "is late" } else { "will not come, the program has ended" };
                panic!("{}: {what} {why}; it printed:\n{}", self.name, state.lines.join("\n"));
            }
            state = self.output.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Sends a signal, by its name: `TERM`, `INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "sh", name, &self.id().to_string()]).status().unwrap();
        assert!(sent.success(), "SIG{name} could not be sent to {}, which printed:\n{}", self.name, self.text());
    }

    /// Whether it has ended, and then with which code (-1 when by a signal).
    pub fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1))
    }

    /// Waits for its end, all its output included, and gives its exit code (-1 when a signal ended it).
    pub fn wait(&mut self) -> i32 {
        self.wait_within(PATIENCE)
    }

    /// The same with other patience.
    pub fn wait_within(&mut self, patience: Duration) -> i32 {
        let what = format!("the end of {}", self.name);
        let output = self.output.clone();
        eventually_within(patience, &what, || match self.ended() {
            Some(code) if output.state.lock().unwrap().ended == 2 => Ok(code),
            _ => Err(format!("it runs, and printed:\n{}", self.text())),
        })
    }

    /// Ends it at once, without letting it clean up.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn collect(stream: impl Read + Send + 'static, output: Arc<Output>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { break };
            output.state.lock().unwrap().lines.push(String::from_utf8_lossy(&line).into_owned());
            output.changed.notify_all();
        }
        output.state.lock().unwrap().ended += 1;
        output.changed.notify_all();
    });
}
