//! Pure computing, on one thread or two: how much more two do on this machine, at this moment.
//!
//! A goal for two workers says nothing where two threads that share nothing do not get twice as far, because the machine is busy
//! otherwise or its processors are not really two.

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

/// Computes between two looks at the clock, some microseconds.
const STRIDE: u64 = 10_000;

/// Nanoseconds for a stride when so many threads compute for so long, all of them counted together.
pub fn measure(threads: usize, time: Duration) -> f64 {
    let start = Instant::now();
    let strides: u64 = thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(|| compute(start + time))).collect();
        all.into_iter().filter_map(|one| one.join().ok()).sum()
    });
    start.elapsed().as_nanos() as f64 / strides as f64
}

fn compute(end: Instant) -> u64 {
    let mut strides = 0;
    let mut value = 1_u64;
    while Instant::now() < end {
        for _ in 0..STRIDE {
            value = black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        strides += 1;
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stride_takes_some_time() {
        let nanoseconds = measure(1, Duration::from_millis(5));
        assert!(nanoseconds > 100.0 && nanoseconds < 5e6, "{nanoseconds}");
    }
}
