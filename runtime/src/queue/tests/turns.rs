//! Turns, order and retries.

use super::*;

#[test]
fn channels_take_turns_and_a_flooded_one_delays_another_by_one_message() {
    for ordering in [Ordering::Channel, Ordering::None] {
        assert_eq!(handle_all(&filled(Limits { ordering, ..limits() }, "a1 a2 a3 a4 b1 b2 c1")), "a1 b1 c1 a2 b2 a3 a4");
    }
}

#[test]
fn with_order_a_channel_has_one_message_in_flight_and_its_next_waits_for_that() {
    let queue = filled(limits(), "a1 a2 b1");
    let (first, other) = (take(&queue), take(&queue));
    assert_eq!([name(&first), name(&other)], ["a1", "b1"]);
    assert!(queue.take().is_none());
    let (_, next) = queue.finish_and_take(first, Outcome::Handled);
    assert_eq!(name(&next.unwrap()), "a2");
}

#[test]
fn without_order_a_channel_has_as_many_in_flight_as_there_are_workers() {
    let queue = filled(Limits { ordering: Ordering::None, ..limits() }, "a1 a2 a3");
    let taken: Vec<Taken> = std::iter::from_fn(|| queue.take()).collect();
    assert_eq!(taken.iter().map(name).collect::<Vec<_>>(), ["a1", "a2", "a3"]);
    assert_eq!(counts(&queue).in_flight, 3);
}

#[test]
fn what_is_put_off_waits_like_a_retry_and_has_made_no_attempt() {
    let queue = filled(retrying(2), "a1 a2 b1");
    assert_eq!(queue.finish(take(&queue), Outcome::PutOff(Duration::from_secs(5))), Finished::PutOff);
    assert_eq!(handle_all(&queue), "b1");
    assert!(queue.take().is_none(), "the second worker ends too");
    assert_eq!((counts(&queue).retrying, counts(&queue).queued), (1, 1));
    assert_eq!(queue.wake_due(queue.next_due().unwrap()), 1);
    let again = take(&queue);
    assert_eq!((name(&again).as_str(), again.attempt), ("a1", 1));
    assert!(matches!(queue.finish(again, FAILED), Finished::Retrying { .. }), "both attempts were left");
    assert_eq!(counts(&queue).retries, 0);
}

#[test]
fn a_retry_blocks_its_own_channel_only_and_goes_first_when_it_is_due() {
    let queue = filled(retrying(2), "a1 a2 b1");
    assert!(matches!(queue.finish(take(&queue), FAILED), Finished::Retrying { after } if after >= Duration::from_secs(5)));
    assert_eq!(handle_all(&queue), "b1");
    assert!(queue.take().is_none(), "the second worker ends too");
    assert_eq!((counts(&queue).retrying, counts(&queue).queued, queue.snapshot().workers), (1, 1, 0), "it holds no worker");
    assert_eq!(queue.wake_due(Instant::now()), 0, "it is not due");
    assert_eq!(queue.wake_due(queue.next_due().unwrap()), 1);
    let again = take(&queue);
    assert_eq!((name(&again).as_str(), again.attempt), ("a1", 2));
    assert_eq!(queue.finish(again, FAILED), Finished::Failed, "no attempt is left");
    assert_eq!(handle_all(&queue), "a2");
    assert_eq!((counts(&queue).retries, counts(&queue).failed[FailureKind::GuestError.index()]), (1, 1));
}

#[test]
fn without_order_a_retry_waits_aside_and_then_goes_first_in_its_lane() {
    let queue = filled(Limits { ordering: Ordering::None, ..retrying(2) }, "a1 a2 a3");
    queue.finish(take(&queue), FAILED);
    let second = take(&queue);
    assert_eq!(name(&second), "a2");
    queue.finish(second, Outcome::Handled);
    let _ = queue.wake_due(later());
    assert_eq!(handle_all(&queue), "a1 a3");
}

#[test]
fn a_rejected_message_and_one_that_no_retry_helps_are_not_tried_again() {
    let queue = filled(retrying(9), "a1 b1");
    for outcome in [Outcome::Failed { kind: FailureKind::Rejected, retry: true }, Outcome::Failed { kind: FailureKind::Trap, retry: false }]
    {
        assert_eq!(queue.finish(take(&queue), outcome), Finished::Failed);
    }
    assert_eq!(counts(&queue).failed.iter().sum::<u64>(), 2);
}

#[test]
fn a_redriven_message_counts_its_earlier_attempts_and_has_new_ones_left() {
    let queue = queue(retrying(2));
    let _ = queue.push(message("a", "1").redriven(5, Arc::new("1-0")));
    assert_eq!((counts(&queue).received, counts(&queue).redriven), (1, 1));
    let taken = take(&queue);
    assert_eq!(taken.attempt, 6);
    let receipt = taken.message.receipt.clone().unwrap();
    assert_eq!(receipt.downcast_ref::<&str>(), Some(&"1-0"));
    assert!(matches!(queue.finish(taken, FAILED), Finished::Retrying { .. }));
}

#[test]
fn lanes_are_freed_when_nothing_of_them_is_left() {
    let queue = filled(retrying(2), "a1 b1");
    assert_eq!(queue.snapshot().lanes, 2);
    queue.finish(take(&queue), FAILED);
    assert_eq!(handle_all(&queue), "b1");
    assert_eq!(queue.snapshot().lanes, 1, "that of the retry is left");
    let _ = queue.wake_due(later());
    handle_all(&queue);
    let snapshot = queue.snapshot();
    assert_eq!((snapshot.lanes, snapshot.queued_bytes, snapshot.oldest), (0, 0, None));
}
