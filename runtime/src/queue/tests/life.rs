//! Workers, the end of a queue, and many threads at once.

use super::*;

#[test]
fn a_worker_is_started_for_each_message_that_a_further_one_could_take_up_to_the_concurrency() {
    let queue = queue(Limits { concurrency: 2, ..limits() });
    let starts = |channel: &str| queue.push(message(channel, "1")).start_worker;
    assert_eq!([starts("a"), starts("a"), starts("b"), starts("c")], [true, false, true, false]);
    assert_eq!(handle_all(&queue), "a1 b1 c1 a1");
    assert_eq!(queue.snapshot().workers, 1, "one has ended");
    assert_eq!(queue.push_all(["a", "b", "c"].into_iter().map(|channel| message(channel, "2"))), 1);
}

#[test]
fn a_closed_queue_gives_what_it_holds_and_takes_nothing_in() {
    let queue = filled(limits(), "a1");
    queue.close();
    assert!(!queue.push(message("a", "late")).kept);
    assert_eq!(handle_all(&queue), "a1");
    queue.count_too_large(0);
    assert_eq!((counts(&queue).dropped, counts(&queue).received), ([0, 1, 1, 0], 3));
}

#[test]
fn abandoning_gives_back_what_is_left_and_later_outcomes_change_nothing() {
    let queue = filled(retrying(2), "a1 b1 c1");
    queue.finish(take(&queue), FAILED);
    let in_flight = take(&queue);
    let left = queue.abandon();
    assert_eq!(left.iter().map(|(message, _)| &*message.channel).collect::<String>(), "abc");
    assert_eq!(counts(&queue).dropped, [0, 0, 3, 0]);
    assert_eq!(queue.finish(in_flight, FAILED), Finished::Abandoned);
    assert_eq!((counts(&queue).dropped, queue.next_due(), queue.snapshot().lanes), ([0, 0, 3, 0], None, 0));
}

#[tokio::test]
async fn who_waits_for_idle_or_for_a_due_time_is_woken() {
    let queue = Arc::new(filled(retrying(2), "a1"));
    queue.finish(take(&queue), FAILED);
    queue.due_changed().await;
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.idle().await }
    });
    while !queue.lock().watched {
        tokio::task::yield_now().await;
    }
    let _ = queue.wake_due(later());
    handle_all(&queue);
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("idle is seen").unwrap();
    queue.idle().await;
}

#[test]
fn nothing_is_uncounted_and_no_message_is_left_while_threads_push_take_and_look() {
    const MESSAGES: u64 = 30_000;
    let limits = Limits { queue_bytes: 20_000, retry: RetryLimits { initial_backoff: Duration::ZERO, ..retrying(3).retry }, ..limits() };
    let (queue, pushed) = (queue(limits), AtomicBool::new(false));
    let work = |queue: &Queue| {
        let mut taken = queue.take();
        while let Some(message) = taken {
            let outcome = if message.message.sequence.is_multiple_of(3) { FAILED } else { Outcome::Handled };
            taken = queue.finish_and_take(message, outcome).1;
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..MESSAGES {
                if queue.push(message(&(number % 50).to_string(), "x")).start_worker {
                    scope.spawn(|| work(&queue));
                }
            }
            pushed.store(true, Relaxed);
        });
        scope.spawn(|| {
            let is_left = |counts: Counts| counts.queued + counts.retrying + counts.in_flight > 0;
            let start = Instant::now();
            while !pushed.load(Relaxed) || is_left(counts(&queue)) {
                assert!(start.elapsed() < Duration::from_secs(120), "a message is left that no worker comes for");
                for _ in 0..queue.wake_due(later()) {
                    scope.spawn(|| work(&queue));
                }
                assert!(queue.snapshot().workers <= 4);
            }
        });
    });
    let (counts, snapshot) = (counts(&queue), queue.snapshot());
    assert_eq!((counts.received, counts.queued, counts.retrying, counts.in_flight), (MESSAGES, 0, 0, 0));
    assert_eq!((snapshot.workers, snapshot.lanes, snapshot.queued_bytes), (0, 0, 0));
    assert!(counts.handled > 0 && counts.failed.iter().sum::<u64>() > 0 && counts.retries > 0);
}
