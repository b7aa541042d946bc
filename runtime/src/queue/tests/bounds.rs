//! What goes when a queue is full.

use super::*;

#[test]
fn a_full_queue_drops_the_oldest_of_the_channel_that_holds_most() {
    let queue = filled(room_for(4), "b1 a1 a2 a3 c1");
    assert_eq!(counts(&queue).dropped, [1, 0, 0, 0]);
    assert_eq!(handle_all(&queue), "b1 a2 c1 a3");
}

#[test]
fn of_channels_that_hold_the_same_the_oldest_message_goes() {
    let queue = filled(room_for(3), "x1 y1");
    handle_all(&queue); // so that new lanes do not lie in memory in the order they came
    for channel in ["c", "a", "b", "d"] {
        let _ = queue.push(message(channel, "1"));
    }
    assert_eq!(handle_all(&queue), "a1 b1 d1");
}

#[test]
fn a_message_that_outweighs_every_other_channel_goes_itself() {
    let queue = filled(room_for(3), "a1 b1");
    let large = "x".repeat(2 * QUEUE_ENTRY_OVERHEAD as usize);
    assert!(!queue.push(message("c", &large)).kept);
    assert_eq!(handle_all(&queue), "a1 b1");
}

#[test]
fn a_queue_in_which_nothing_waits_takes_a_message_larger_than_its_bound() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest] {
        let queue = filled(Limits { when_full, ..room_for(2) }, "a1");
        let _in_flight = take(&queue);
        assert!(queue.push(message("b", &"x".repeat(1000))).kept);
        assert!(queue.snapshot().queued_bytes > 1000);
    }
}

#[test]
fn a_full_queue_drops_the_newest_if_told_so() {
    let queue = filled(Limits { when_full: WhenFull::DropNewest, ..room_for(2) }, "a1 a2 b1 b2");
    assert_eq!(counts(&queue).dropped, [2, 0, 0, 0]);
    assert_eq!(handle_all(&queue), "a1 a2");
}

/// One that was taken over, where so many like it may be held beyond the bound.
fn taken_over(channel: &str, text: &str, many: u64) -> Message {
    let message = message(channel, text);
    Message { beyond: many * message.cost(), ..message }
}

#[test]
fn what_was_taken_over_comes_in_beyond_the_bound_and_takes_no_room() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest] {
        let queue = filled(Limits { when_full, ..room_for(3) }, "a1 a2");
        assert!(["1", "2"].iter().all(|text| queue.push(taken_over("b", text, 2)).kept));
        assert!(queue.push(message("c", "1")).kept);
        assert_eq!(counts(&queue).dropped, [0; 4]);
        assert_eq!(handle_all(&queue), "a1 b1 c1 a2 b2");
    }
}

#[test]
fn a_queue_that_retries_have_made_too_full_takes_what_was_taken_over_all_the_same() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest] {
        let queue = filled(Limits { when_full, queue_bytes: room_for(2).queue_bytes, ..retrying(3) }, "a1 b1");
        let failing = take(&queue);
        assert!(queue.push(message("c", "1")).kept);
        queue.finish(failing, FAILED);
        assert!(["1", "2"].iter().all(|text| queue.push(taken_over("d", text, 2)).kept));
        assert_eq!(counts(&queue).dropped, [0; 4]);
    }
}

#[test]
fn of_a_queue_that_overflows_beside_what_was_taken_over_one_goes_for_each_that_comes() {
    let queue = filled(room_for(2), "a1 a2");
    for text in ["1", "2", "3"] {
        let _ = queue.push(taken_over("b", text, 2));
    }
    assert_eq!(counts(&queue).dropped, [1, 0, 0, 0], "the third finds no more room than any other message");
    for number in 2..8 {
        let _ = queue.push(message("c", "1"));
        assert_eq!(counts(&queue).dropped, [number, 0, 0, 0]);
    }
    assert_eq!(counts(&queue).queued, 4);
}

#[test]
fn retries_go_only_when_one_queued_message_is_left() {
    let limits = Limits { queue_bytes: room_for(2).queue_bytes, ..retrying(3) };
    let queue = filled(limits, "a1 b1");
    queue.finish(take(&queue), FAILED);
    queue.finish(take(&queue), FAILED);
    assert!(queue.push(message("c", "1")).kept);
    assert_eq!((counts(&queue).retrying, counts(&queue).dropped[0]), (1, 1), "the oldest that retries went");
    assert!(queue.push(message("d", "1")).kept);
    assert_eq!((counts(&queue).retrying, counts(&queue).dropped[0]), (1, 2), "the older of two that are queued went");
    let _ = queue.wake_due(later());
    assert_eq!(handle_all(&queue), "d1 b1");
}

#[test]
fn what_is_dropped_is_let_go_of_outside_the_lock() {
    struct Receipt(Arc<Queue>, Arc<AtomicU64>);
    impl Drop for Receipt {
        fn drop(&mut self) {
            self.1.store(self.0.snapshot().counts[0].dropped[0], Relaxed);
        }
    }
    let (queue, seen) = (Arc::new(queue(room_for(1))), Arc::default());
    let _ = queue.push(message("a", "1").redriven(1, Arc::new(Receipt(queue.clone(), Arc::clone(&seen)))));
    let _ = queue.push(message("a", "2"));
    assert_eq!(seen.load(Relaxed), 1, "its receipt could look at the queue");
}
