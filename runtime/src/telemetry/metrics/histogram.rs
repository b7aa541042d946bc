//! A histogram of durations that costs two additions to count in, from any thread, and no lock.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

/// Upper bounds of the buckets, in microseconds: from a guest that does nothing to one that runs into its deadline.
const BOUNDS_MICROS: [u64; 18] = [
    25,
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    5_000_000,
    30_000_000,
    120_000_000,
];

/// Counts of durations by their size.
#[derive(Default)]
pub struct Histogram {
    /// One for each bound, and one for what is beyond the last.
    counts: [AtomicU64; BOUNDS_MICROS.len() + 1],
    /// Nanoseconds; enough for 584 years.
    sum: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| bound * 1_000 < nanos);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(nanos, Relaxed);
    }

    /// Writes it as a metric. The count is the sum of the buckets, so both agree whatever is counted meanwhile.
    pub(super) fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = BOUNDS_MICROS.iter().map(|bound| Duration::from_micros(*bound).as_secs_f64()).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(&self.counts).map(|(bound, count)| (bound, count.load(Relaxed))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.sum.load(Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for micros in [0, 25, 26, 1_000, 120_000_000, 120_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let counts: Vec<u64> = histogram.counts.iter().map(|count| count.load(Relaxed)).collect();
        assert_eq!((counts[0], counts[1], counts[5], counts[17], counts[18]), (2, 1, 1, 1, 1));
        assert_eq!(counts.iter().sum::<u64>(), 6);
        assert_eq!(histogram.sum.load(Relaxed), 240_001_052_000);
    }

    /// `cargo test --release -- --ignored --nocapture what_counting_costs`
    #[test]
    #[ignore = "measures"]
    fn what_counting_costs() {
        for threads in [1, 2, 4] {
            let histogram = Histogram::default();
            let started = std::time::Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| (0..10_000_000).for_each(|micros| histogram.observe(Duration::from_nanos(micros % 1_000_000))));
                }
            });
            println!("{threads} threads: {:?} each", started.elapsed() / 10_000_000);
        }
    }
}
