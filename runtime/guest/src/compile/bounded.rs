//! Work that cannot be interrupted, within a time and a memory bound: compiling what strangers have made.
//!
//! It has a thread of its own. When it takes too much, nobody waits for it any longer; the thread goes on until the process
//! ends, so whoever gets [`Overrun`] has to end it soon.

use std::{fs, io, thread, time::Duration};

use tokio::{sync::oneshot, time::Instant};

/// How long one component may take, unless another time is given.
pub const TIME: Duration = Duration::from_secs(600);
/// What the process may hold in memory meanwhile, in bytes. A Python guest takes 400 MiB.
const MEMORY: u64 = 1 << 30;
/// Between two looks at the memory.
const INTERVAL: Duration = Duration::from_millis(20);
/// Stack of the thread, in bytes: the validator and the translator call themselves.
const STACK: usize = 16 << 20;
/// Where Linux tells the memory limit of a container (cgroup v2).
const CONTAINER_LIMIT: &str = "/sys/fs/cgroup/memory.max";

/// What one component may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Time.
    pub time: Duration,
    /// Memory of the whole process, in bytes.
    pub memory: u64,
}

impl Bounds {
    /// This much time, and memory up to 1 GiB, or a little less than the container's limit: who is ended there can say nothing.
    pub fn new(time: Duration) -> Self {
        let container = fs::read_to_string(CONTAINER_LIMIT).ok().and_then(|text| text.trim().parse::<u64>().ok());
        Self { time, memory: container.map_or(MEMORY, |limit| limit / 16 * 15).min(MEMORY) }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::new(TIME)
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum Overrun {
    /// Too slow.
    #[error("it is not done within {} s: give the init container more CPU, or make the component smaller", .0.as_secs())]
    Time(Duration),
    /// Too large.
    #[error("it takes more than {} MiB of memory: give the init container more memory, or make the component smaller", .0 >> 20)]
    Memory(u64),
    /// The compiler has a bug.
    #[error("the compiler gives up on it: build it with another version of its tools")]
    Panic,
    /// No thread.
    #[error("no thread can be started: {0}")]
    Thread(io::Error),
}

/// The result of `work`, if it comes within the bounds.
pub async fn run<T: Send + 'static>(bounds: Bounds, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Overrun> {
    let (sender, mut receiver) = oneshot::channel();
    let work = move || {
        // Nobody listens any longer when it was too much.
        let _ = sender.send(work());
    };
    thread::Builder::new().name("compile".to_owned()).stack_size(STACK).spawn(work).map_err(Overrun::Thread)?;
    let deadline = Instant::now() + bounds.time;
    loop {
        match tokio::time::timeout(INTERVAL, &mut receiver).await {
            Ok(result) => return result.map_err(|_| Overrun::Panic),
            Err(_) if Instant::now() >= deadline => return Err(Overrun::Time(bounds.time)),
            Err(_) if resident() > bounds.memory => return Err(Overrun::Memory(bounds.memory)),
            Err(_) => {}
        }
    }
}

/// What this process holds in memory, in bytes; 0 where nobody tells.
pub fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: Bounds = Bounds { time: Duration::from_secs(60), memory: u64::MAX };

    #[tokio::test]
    async fn work_within_its_bounds_gives_its_result() {
        assert_eq!(run(PLENTY, || 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn work_that_takes_too_much_is_left_alone() {
        let (never, wait) = std::sync::mpsc::channel::<()>();
        let late = run(Bounds { time: Duration::from_millis(50), ..PLENTY }, move || wait.recv()).await;
        assert!(matches!(late, Err(Overrun::Time(_))));
        drop(never);
        let (never, wait) = std::sync::mpsc::channel::<()>();
        let large = run(Bounds { memory: 1, ..PLENTY }, move || wait.recv()).await;
        assert!(matches!(large, Err(Overrun::Memory(1))));
        drop(never);
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error() {
        assert!(matches!(run(PLENTY, || panic!("a bug of the compiler")).await, Err::<(), _>(Overrun::Panic)));
    }
}
