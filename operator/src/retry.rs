//! When what failed is tried again: the reconcile of an app, and a watch. Times are passed in.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const FIRST: Duration = Duration::from_secs(1);
/// Of a reconcile that failed: whoever mends what it failed for does not wait long.
const LAST: Duration = Duration::from_secs(60);
/// Of a reconcile that ran out of time, and kept one of the few places of reconciles from others meanwhile.
const LAST_OF_A_SLOW_ONE: Duration = Duration::from_secs(300);
/// Of a watch: after an outage of the API server, the operator must not stay deaf for as long again.
const LAST_OF_A_WATCH: Duration = Duration::from_secs(8);
/// A watch that held for so long begins anew.
const HELD: Duration = Duration::from_secs(60);

/// The apps whose last reconcile failed.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<String, Failed>>);

#[derive(Debug)]
struct Failed {
    delay: Duration,
    due: Instant,
}

impl Failures {
    /// How long to wait before the next try of an app that just failed: twice as long each time. A try that an event brought
    /// about before its time does not count, or a few events in an outage would put the next one off for long after it.
    pub fn failed(&self, app: String, is_slow: bool, now: Instant) -> Duration {
        let longest = if is_slow { LAST_OF_A_SLOW_ONE } else { LAST };
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = failures.entry(app).or_insert(Failed { delay: FIRST / 2, due: now });
        if now >= failed.due {
            failed.delay = failed.delay.saturating_mul(2).min(longest);
            failed.due = now + failed.delay;
        }
        failed.due.saturating_duration_since(now).max(FIRST)
    }

    /// Forgets the failures of an app.
    pub fn forget(&self, app: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(app);
    }
}

/// How long a watch that breaks again and again waits.
#[derive(Debug, Default)]
pub struct Breaks(Option<(Duration, Instant)>);

impl Breaks {
    /// How long to wait before a watch that just broke is started again.
    pub fn broke(&mut self, now: Instant) -> Duration {
        let before = self.0.filter(|(delay, at)| now.saturating_duration_since(*at) < *delay + HELD);
        let delay = before.map_or(FIRST, |(delay, _)| delay.saturating_mul(2).min(LAST_OF_A_WATCH));
        self.0 = Some((delay, now));
        delay
    }

    /// The watch works.
    pub fn works(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_failure_waits_twice_as_long_up_to_a_minute_and_a_slow_one_up_to_five() {
        for (is_slow, longest) in [(false, LAST), (true, LAST_OF_A_SLOW_ONE)] {
            let (failures, mut now) = (Failures::default(), Instant::now());
            let mut delays = Vec::new();
            for _ in 0..12 {
                delays.push(failures.failed("n/shop".to_owned(), is_slow, now));
                now += *delays.last().unwrap();
            }
            assert_eq!(delays[..4], [SECOND, 2 * SECOND, 4 * SECOND, 8 * SECOND]);
            assert_eq!(delays.last(), Some(&longest));
            failures.forget("n/shop");
            assert_eq!(failures.failed("n/shop".to_owned(), is_slow, now), SECOND);
        }
    }

    #[test]
    fn many_events_in_a_short_outage_put_the_next_try_off_by_no_more_than_its_delay() {
        let (failures, start) = (Failures::default(), Instant::now());
        for tenth in 0..20 {
            let wait = failures.failed("n/shop".to_owned(), false, start + SECOND / 10 * tenth);
            assert!(wait <= 2 * SECOND, "after {tenth} events: {wait:?}");
        }
    }

    #[test]
    fn a_watch_that_breaks_again_and_again_waits_a_few_seconds_and_one_that_held_hardly_any() {
        let (mut breaks, mut now) = (Breaks::default(), Instant::now());
        for expected in [1, 2, 4, 8, 8, 8] {
            let wait = breaks.broke(now);
            assert_eq!(wait, expected * SECOND);
            now += wait;
        }
        assert_eq!(breaks.broke(now + HELD + SECOND), SECOND, "it held");
        breaks.works();
        assert_eq!(breaks.broke(now), SECOND);
    }
}
