//! Reads `/metrics` again and again while a test does something to the runtime: the counters must add up in every single
//! read, not only at the end. Watches the memory of the process at the same time.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    http,
    metrics::{IN_FLIGHT, Metrics, QUEUED, RETRYING},
    runtime::Runtime,
};

/// Between two reads, at least. It is three times as long as the read took where that is more: the runtime has better things
/// to do than to answer us.
const BETWEEN: Duration = Duration::from_millis(5);

/// A thread that reads until [`finish`](Self::finish).
pub struct Watch {
    thread: JoinHandle<Seen>,
    stop: Arc<AtomicBool>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Reads of `/metrics` that had an answer.
    pub reads: usize,
    /// The most memory of its own (not of files) that the process held at any look, in bytes.
    pub peak: u64,
    /// For each metric the largest sum over its series.
    largest: BTreeMap<String, f64>,
    /// What did not add up.
    wrong: Vec<String>,
}

impl Watch {
    /// Begins to read. The runtime must answer at its health port already.
    pub fn start(runtime: &Runtime) -> Self {
        let (health, process) = (runtime.health().to_owned(), runtime.id());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut seen = Seen::default();
            let mut last = false;
            while !last {
                // However short the test is, there is a read after it.
                last = stopped.load(Ordering::Relaxed);
                let started = Instant::now();
                seen.peak = seen.peak.max(memory(process).unwrap_or(0));
                // A process that stops answers no more, which is its right.
                if let Ok((200, text)) = http::get(&health, "/metrics") {
                    let metrics = Metrics::parse(&text);
                    seen.wrong.extend(metrics.imbalance());
                    seen.reads += 1;
                    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
                    for sample in &metrics.0 {
                        *sums.entry(&sample.name).or_default() += sample.value;
                    }
                    for (name, sum) in sums {
                        let largest = seen.largest.entry(name.to_owned()).or_default();
                        *largest = largest.max(sum);
                    }
                }
                thread::sleep(BETWEEN.max(started.elapsed() * 3));
            }
            seen
        });
        Self { thread, stop }
    }

    /// Ends reading and checks that there were reads and all of them added up.
    pub fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.join().expect("a metric is missing: see the panic above");
        assert!(seen.reads > 0, "/metrics was never read");
        assert!(seen.wrong.is_empty(), "{} of {} reads do not add up, first: {}", seen.wrong.len(), seen.reads, seen.wrong[0]);
        seen
    }
}

impl Seen {
    /// The largest value of a metric in any read, as the sum over its series.
    pub fn largest(&self, name: &str) -> f64 {
        *self.largest.get(name).unwrap_or_else(|| panic!("there is no metric {name}; there are {:?}", self.largest.keys()))
    }
}

/// Memory of a process that belongs to no file, in bytes: RssAnon of proc(5). None once it has ended.
pub fn memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

/// Waits until nothing of what was received waits or is worked at, ends the app, and checks that it ended well. Gives the last
/// counters.
pub fn assert_ends_well(mut runtime: Runtime, watch: Watch) -> (Metrics, Seen) {
    let metrics = runtime.eventually("nothing waits or is worked at", || {
        let metrics = runtime.scrape();
        metrics.assert_balanced();
        let open = [QUEUED, RETRYING, IN_FLIGHT].map(|name| metrics.sum(name, &[]));
        if open == [0.0; 3] { Ok(metrics) } else { Err(format!("{open:?} are queued, retrying, in flight")) }
    });
    let seen = watch.finish();
    runtime.terminate();
    assert_eq!(runtime.wait(), 0, "{}", runtime.log());
    (metrics, seen)
}
