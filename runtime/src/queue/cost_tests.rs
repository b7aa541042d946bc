//! What a message costs on its way through an uncontended queue, in nanoseconds. Not a test that passes or fails:
//! `cargo test --release queue::cost -- --ignored --nocapture`.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use spinredis_crds::dispatch::WhenFull;

use super::{tests::limits, *};

fn channels(number: usize) -> Vec<Arc<str>> {
    (0..number).map(|number| format!("orders:{number}").into()).collect()
}

/// Messages as a receiver makes them: with a slice of what was read, and clocks read before.
fn maker() -> impl Fn(&Arc<str>) -> Message {
    let (read, address, received, at) = (Bytes::from(vec![7; 65536]), Arc::from("redis://r"), Instant::now(), SystemTime::now());
    move |channel| Message::new(channel.clone(), read.slice(100..164), 0, Arc::clone(&address), received, at)
}

/// What this thread has used of a processor, so that other work on the machine counts little.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(text.split(' ').next().and_then(|field| field.parse().ok()).expect("nanoseconds first"))
}

fn report(what: &str, messages: usize, took: Duration) {
    println!("{what:<75} {:>6.0} ns a message", took.as_nanos() as f64 / messages as f64);
}

fn queue(limits: Limits) -> Queue {
    Queue::new("a", vec!["c".into()], &limits)
}

#[test]
#[ignore = "a measurement"]
fn what_a_message_costs() {
    const MESSAGES: usize = 2_000_000;
    let make = maker();
    for number in [1, 10_000] {
        let (channels, queue) = (channels(number), queue(limits()));
        let start = cpu_time();
        for channel in channels.iter().cycle().take(MESSAGES) {
            let _ = black_box(queue.push(make(channel)));
            let taken = queue.take().unwrap();
            queue.finish(taken, Outcome::Handled);
        }
        report(&format!("push, take, finish, one by one, {number} lanes"), MESSAGES, cpu_time() - start);
    }
    for number in [1, 10_000] {
        let (channels, queue) = (channels(number), queue(Limits { queue_bytes: 1 << 30, ..limits() }));
        let _ = queue.push_all(channels.iter().map(&make));
        let mut taken = queue.take();
        let start = cpu_time();
        for channel in channels.iter().cycle().take(MESSAGES) {
            let _ = black_box(queue.push(make(channel)));
            taken = queue.finish_and_take(taken.take().unwrap(), Outcome::Handled).1;
        }
        report(&format!("push, finish_and_take, {number} lanes with one or two messages each"), MESSAGES, cpu_time() - start);
    }
    for number in [1, 10_000] {
        let (channels, queue) = (channels(number), queue(Limits { queue_bytes: 1 << 30, ..limits() }));
        let start = cpu_time();
        for batch in 0..MESSAGES / 64 {
            let messages = (0..64).map(|message| make(&channels[(batch * 64 + message) % number]));
            black_box(queue.push_all(messages));
            let mut taken = queue.take();
            while let Some(message) = taken {
                taken = queue.finish_and_take(message, Outcome::Handled).1;
            }
        }
        report(&format!("push_all of 64, finish_and_take, {number} lanes"), MESSAGES, cpu_time() - start);
    }
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest] {
        for number in [1, 10_000] {
            let (channels, queue) = (channels(number), queue(Limits { queue_bytes: 8 << 20, when_full, ..limits() }));
            let start = cpu_time();
            for (place, channel) in channels.iter().cycle().take(MESSAGES).enumerate() {
                let _ = black_box(queue.push(make(channel)));
                if place % 4 == 0 {
                    let taken = queue.take().unwrap();
                    queue.finish(taken, Outcome::Handled);
                }
            }
            report(&format!("4x overload of 8 MiB, {when_full:?}, {number} lanes, for each pushed"), MESSAGES, cpu_time() - start);
        }
    }
}
