//! Publishes messages at a rate while a test does something else, and counts what Redis says it delivered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::redis::Redis;

/// Messages go out in bundles, so many in a second.
const BUNDLES_PER_SECOND: u32 = 100;

/// A thread that publishes until [`finish`](Self::finish).
pub struct Load {
    thread: JoinHandle<Published>,
    stop: Arc<AtomicBool>,
}

/// What was published.
#[derive(Clone, Copy, Debug, Default)]
pub struct Published {
    /// Messages.
    pub messages: u64,
    /// Deliveries by Redis's own count: one for each subscriber and subscription.
    pub deliveries: u64,
}

impl Load {
    /// Publishes so many messages in a second; `message` makes the channel and the payload of the n-th. A machine that is too
    /// slow publishes fewer.
    pub fn start(redis: &Redis, per_second: u32, message: impl Fn(u64) -> (String, Vec<u8>) + Send + 'static) -> Self {
        let mut connection = redis.connect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut published = Published::default();
            let started = Instant::now();
            for bundle in 1_u32.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let mut pipeline = redis::pipe();
                for _ in 0..per_second / BUNDLES_PER_SECOND {
                    let (channel, payload) = message(published.messages);
                    pipeline.cmd("PUBLISH").arg(channel).arg(payload);
                    published.messages += 1;
                }
                published.deliveries += pipeline.query::<Vec<u64>>(&mut connection).unwrap().into_iter().sum::<u64>();
                thread::sleep((started + Duration::from_secs(1) * bundle / BUNDLES_PER_SECOND).saturating_duration_since(Instant::now()));
            }
            published
        });
        Self { thread, stop }
    }

    /// Ends publishing and says how much it was.
    pub fn finish(self) -> Published {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("Redis takes what is published")
    }
}
