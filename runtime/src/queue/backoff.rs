//! How long a failed message waits for its next attempt. Pure: the random part is passed in.

use std::time::Duration;

use spinredis_crds::defaults::RetryLimits;

/// The wait after `attempts` failed attempts (1 or more): the first wait, doubled for each attempt more, at most the longest
/// wait; of that a part between a half (`jitter` 0.0) and the whole (`jitter` 1.0), so that messages that failed together do
/// not come back together.
pub fn backoff(retry: &RetryLimits, attempts: u32, jitter: f64) -> Duration {
    let doubled = 2u32.checked_pow(attempts.saturating_sub(1)).and_then(|factor| retry.initial_backoff.checked_mul(factor));
    let whole = doubled.map_or(retry.max_backoff, |wait| wait.min(retry.max_backoff));
    whole.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: RetryLimits =
        RetryLimits { max_attempts: 100, initial_backoff: Duration::from_secs(1), max_backoff: Duration::from_secs(60) };

    #[test]
    fn the_wait_doubles_up_to_the_longest() {
        let waits: Vec<u64> = (1..=8).map(|attempts| backoff(&RETRY, attempts, 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff(&RETRY, u32::MAX, 1.0).as_secs(), 60);
    }

    #[test]
    fn chance_takes_up_to_a_half_away() {
        assert_eq!(backoff(&RETRY, 2, 0.0), Duration::from_secs(1));
        assert_eq!(backoff(&RETRY, 2, 0.5), Duration::from_millis(1500));
    }
}
