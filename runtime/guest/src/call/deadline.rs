//! The time that a call may take. A guest in a host call does not run, so no epoch ends it: a timer around the whole call does.

use std::{future, pin::pin, task::Poll, time::Duration};

use tokio::time::{Instant, timeout_at};

/// What a call gives, or `None` after this time. A call that never waits for anything, as most do, costs no timer: setting one up
/// makes all threads write to what they share.
pub(super) async fn within<T>(time: Duration, call: impl Future<Output = T>) -> Option<T> {
    let started = Instant::now();
    let mut call = pin!(call);
    match future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await {
        Poll::Ready(result) => Some(result),
        Poll::Pending => match started.checked_add(time) {
            Some(end) => timeout_at(end, call).await.ok(),
            None => Some(call.await),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use tokio::task::yield_now;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_call_that_waits_for_nothing_needs_no_timer() {
        // Without a runtime there are none.
        let mut call = pin!(within(LONG, async { 7 }));
        assert_eq!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Some(7)));
    }

    #[tokio::test]
    async fn a_call_that_waits_gives_its_result_in_time() {
        for time in [LONG, Duration::MAX] {
            let call = async {
                yield_now().await;
                7
            };
            assert_eq!(within(time, call).await, Some(7));
        }
    }

    #[tokio::test]
    async fn a_call_that_takes_too_long_is_left_alone() {
        assert_eq!(within(Duration::from_millis(10), future::pending::<()>()).await, None);
        // Also one that always goes on at once, as a guest does that loops.
        let looping = async {
            loop {
                yield_now().await;
            }
        };
        assert_eq!(within::<()>(Duration::from_millis(10), looping).await, None);
    }

    #[tokio::test]
    async fn the_time_begins_before_the_call_does() {
        let call = async {
            std::thread::sleep(Duration::from_millis(20));
            future::pending::<()>().await;
        };
        let started = Instant::now();
        assert_eq!(within(Duration::from_millis(10), call).await, None);
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
