//! Runs one target on mutated seeds for a while, and tells how to see a failure again.
//!
//! | variable | meaning |
//! |---|---|
//! | `FUZZ_SECONDS` | how long each target runs, from an input that chance chooses; 2 unless given, and always the same inputs |
//! | `FUZZ_SEED` | run the one input that this number stands for, as a failure names it |
//!
//! The tests of a change must not fail for what another change brought, so the short run tries the same inputs each time; the
//! long one is there to find something new.
//!
//! The number of the running input is in a file of the temporary folder, `fuzz-TARGET-PID.seed`, for failures that end the
//! process.

use std::{
    env,
    fs::{self, File},
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};

use crate::mutate::{Corpus, input};

const SECONDS: u64 = 2;
/// What one input may take; generous, since machines are busy.
const TIME_FOR_ONE: Duration = Duration::from_secs(5);
/// When an input is said to hang.
const PATIENCE: Duration = Duration::from_secs(60);
/// What this process may ever hold in memory, in KiB: bounds of 256 MiB, some of them at once.
const MEMORY: u64 = 1536 << 10;
/// Stack of a target, in bytes: that of a program's first thread.
const STACK: usize = 8 << 20;
/// Between two looks at a target.
const INTERVAL: Duration = Duration::from_millis(50);

/// Runs a target: it must not panic, and neither take long nor much memory, whatever it is given.
pub fn fuzz(name: &'static str, corpus: Corpus, target: impl Fn(&[u8]) + Send + 'static) {
    let (seconds, only) = (number("FUZZ_SECONDS"), number("FUZZ_SEED"));
    let running = Arc::new(AtomicU64::new(0));
    let (seed_of_running, tried) = (running.clone(), Arc::new(AtomicU64::new(0)));
    let count = tried.clone();
    // A stack that overflows ends the process, so what led to it has to be somewhere else.
    let trace = env::temp_dir().join(format!("fuzz-{name}-{}.seed", std::process::id()));
    let file = File::create(&trace).unwrap();
    let work = move || {
        let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
        // The seeds themselves come first, as they are.
        for (place, seed) in corpus.seeds.iter().enumerate().filter(|_| only.is_none()) {
            one(name, &format!("seed {place}"), seed, &target);
        }
        let mut seed = only.unwrap_or_else(|| seconds.map_or(1, |_| rand::random()));
        while Instant::now() < until || only.is_some() {
            seed_of_running.store(seed, Ordering::Relaxed);
            file.write_all_at(format!("{seed:020}\n").as_bytes(), 0).unwrap();
            let bytes = input(&corpus, &mut StdRng::seed_from_u64(seed));
            one(name, &format!("FUZZ_SEED={seed}"), &bytes, &target);
            if count.fetch_add(1, Ordering::Relaxed) % 1024 == 0 {
                let peak = peak_memory();
                assert!(peak < MEMORY, "{name}: the process held {peak} KiB at FUZZ_SEED={seed} or before");
            }
            if only.is_some() {
                return;
            }
            seed = seed.wrapping_add(1);
        }
    };
    let worker = thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work).unwrap();
    let (mut seen, mut since) = (0, Instant::now());
    while !worker.is_finished() {
        let now = tried.load(Ordering::Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        let seed = running.load(Ordering::Relaxed);
        assert!(since.elapsed() < PATIENCE, "{name}: one input takes more than {PATIENCE:?}, FUZZ_SEED={seed} (0: a seed)");
        thread::sleep(INTERVAL);
    }
    if let Err(panic) = worker.join() {
        resume_unwind(panic);
    }
    fs::remove_file(&trace).unwrap();
    println!("{name}: {} inputs", tried.load(Ordering::Relaxed));
}

/// Runs one input. One that fails is written to a file, to become a test.
fn one(name: &str, which: &str, bytes: &[u8], target: &impl Fn(&[u8])) {
    let started = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| target(bytes)));
    let took = started.elapsed();
    if outcome.is_ok() && took < TIME_FOR_ONE {
        return;
    }
    let path = env::temp_dir().join(format!("fuzz-{name}-{}", std::process::id()));
    fs::write(&path, bytes).unwrap();
    eprintln!("{name} fails after {took:?} with {which}; the {} bytes are in {}", bytes.len(), path.display());
    match outcome {
        Err(panic) => resume_unwind(panic),
        Ok(()) => panic!("{name}: one input took {took:?}"),
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, and is {text}")))
}

/// The most that this process ever held in memory, in KiB; 0 where nobody tells.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    peak.unwrap_or_default()
}
