//! Three sets of threads, so that none can hold up another: one thread receives, one controls (health, timers, dead letters,
//! signals), the others run guests.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// The threads of a serving process.
pub struct Threads {
    /// Reads the subscription connections, and does nothing else.
    pub receive: Runtime,
    /// Everything that is neither receiving nor running guests.
    pub control: Runtime,
    /// Runs guests: one thread for each processor.
    pub guests: Runtime,
}

impl Threads {
    /// Starts them.
    pub fn start() -> io::Result<Self> {
        let one = |name: &str| Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build();
        // A guest that loops yields at each tick of the clock, and is at once the next task again. Timers and sockets are looked at
        // after so many tasks: with tokio's own number (61) a deadline could be half a second late.
        let guests = Builder::new_multi_thread().thread_name("guest").event_interval(4).enable_all().build()?;
        Ok(Self { receive: one("receive")?, control: one("control")?, guests })
    }

    /// Ends them without waiting: neither a guest that ignores its deadline nor a name lookup, which cannot be cancelled, keeps
    /// the process from ending.
    pub fn stop(self) {
        self.guests.shutdown_background();
        self.receive.shutdown_background();
        self.control.shutdown_background();
    }
}
