//! Who gets a message.

use super::*;
use crate::redis::resp::{Parser, command};

fn queue(component: &str, bytes: u64) -> Inbox {
    Inbox::unattended(component, &["c", "c*"], bytes)
}

fn small<'a>(pattern: Option<&'a [u8]>, channel: &'a [u8]) -> Published<'a> {
    Published { pattern, channel, payload: Payload::Small(b"hi") }
}

fn received(queue: &Inbox) -> Vec<u64> {
    queue.queue().snapshot().counts.iter().map(|counts| counts.received).collect()
}

#[test]
fn a_message_goes_to_every_component_that_asked_for_its_subscription_and_to_no_other() {
    let (first, second) = (queue("first", 1 << 20), queue("second", 1 << 20));
    let mut routes = Routes::default();
    routes.add(Subscription::Channel("c".into()), 0, &first);
    routes.add(Subscription::Pattern("c*".into()), 1, &first);
    routes.add(Subscription::Channel("c".into()), 0, &second);
    assert_eq!(routes.subscriptions().count(), 2);
    let mut batch = routes.batch("redis://r".into());
    batch.begin(Instant::now());
    batch.add(small(None, b"c"), None);
    batch.add(small(Some(b"c*"), b"c"), None);
    batch.add(small(Some(b"c*"), b"c2"), None);
    batch.add(small(None, b"c*"), None);
    batch.add(small(Some(b"c"), b"c"), None);
    assert_eq!(received(&first), [0, 0], "nothing is handed over before the batch is");
    batch.flush();
    assert_eq!((received(&first), received(&second)), (vec![1, 2], vec![1, 0]));
}

#[test]
fn a_skipped_payload_is_counted_for_every_component_at_once() {
    let queue = queue("a", 1 << 20);
    let mut routes = Routes::default();
    routes.add(Subscription::Channel("c".into()), 0, &queue);
    let mut batch = routes.batch("redis://r".into());
    batch.add(Published { pattern: None, channel: b"c", payload: Payload::TooLarge(512 << 20) }, None);
    batch.flush();
    let counts = queue.queue().snapshot().counts[0];
    assert!(counts.received == 1 && counts.queued == 0 && counts.balances(), "{counts:?}");
}

/// Parses and routes from memory, as reads of 64 KiB: `cargo test --release -p spinredis --lib how_fast -- --ignored --nocapture`.
#[test]
#[ignore = "it measures"]
fn how_fast_messages_are_parsed_and_routed() {
    const READ: usize = 64 << 10;
    for size in [16, 1024, 64 << 10] {
        // One queue of 1 MiB that drops its oldest all the time, which is part of the figure.
        let queue = queue("a", 1 << 20);
        let mut routes = Routes::default();
        let names: Vec<String> = (0..100).map(|number| format!("channel:{number}")).collect();
        names.iter().for_each(|name| routes.add(Subscription::Channel(name.clone()), 0, &queue));
        let count = (64 << 20) / (size + 60);
        let stream: Vec<u8> =
            (0..count).flat_map(|number| command(&[b"message", names[number % 100].as_bytes(), &vec![b'x'; size]])).collect();
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let mut batch = routes.batch("redis://r".into());
            let mut parser = Parser::new(8 << 20);
            let (mut at, started) = (0, Instant::now());
            let mut end = 0;
            while end < stream.len() {
                end = (end + READ).min(stream.len());
                batch.begin(Instant::now());
                loop {
                    let (used, item) = parser.next(&stream[at..end]).unwrap();
                    at += used;
                    match item {
                        Some(crate::redis::item::Item::Message(message)) => batch.add(message, None),
                        other => {
                            assert_eq!(other, None);
                            break;
                        }
                    }
                }
                batch.flush();
            }
            best = best.min(started.elapsed().as_secs_f64() / count as f64);
        }
        println!("{size} B: {:.0} ns a message, {:.2} M/s", best * 1e9, 1e-6 / best);
    }
}
