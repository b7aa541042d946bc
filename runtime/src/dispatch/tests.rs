//! Dispatch with a handler that is a closure: no guest, no Redis.

use std::{sync::Mutex, time::SystemTime};

use bytes::Bytes;
use spinredis_crds::{Component, Ordering as MessageOrdering, Retry, defaults::Limits};
use tokio::sync::Semaphore;

use super::*;
use crate::call::FailureKind;

/// Notes what it is called with, and waits for permits of the channel `slow`.
struct Scripted {
    calls: Mutex<Vec<(String, u32)>>,
    slow: Semaphore,
    running: AtomicUsize,
    failures: usize,
}

impl Handle for Scripted {
    async fn call(&self, message: &call::Message<'_>) -> Result<(), Failure> {
        self.running.fetch_add(1, Ordering::SeqCst);
        if message.channel.starts_with("slow") {
            self.slow.acquire().await.unwrap().forget();
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        let mut calls = self.calls.lock().unwrap();
        calls.push((String::from_utf8_lossy(message.payload).into_owned(), message.attempt));
        match calls.len() <= self.failures {
            true => Err(Failure { kind: FailureKind::GuestError, message: "not yet".into() }),
            false => Ok(()),
        }
    }
}

fn limits(component: Component) -> Limits {
    component.limits()
}

fn dispatcher(failures: usize, limits: &Limits) -> Arc<Dispatcher<Scripted>> {
    let handler = Scripted { calls: Mutex::default(), slow: Semaphore::new(0), running: AtomicUsize::new(0), failures };
    let dispatcher = Arc::new(Dispatcher {
        app: "ns/app".into(),
        queue: Arc::new(Queue::new("c", vec!["*".into()], limits)),
        handler: Arc::new(handler),
        subscriptions: vec![Subscription::Pattern("*".into())],
        guests: tokio::runtime::Handle::current(),
        times: Arc::default(),
        failures: RecentFailures::default(),
        traces: ComponentTraces::default(),
        dead_letters: None,
        workers: Default::default(),
        broken: CancellationToken::new(),
    });
    tokio::spawn(dispatcher.clone().time_retries());
    dispatcher
}

fn publish(dispatcher: &Arc<Dispatcher<Scripted>>, channel: &str, payloads: &[&str]) {
    let messages = payloads.iter().map(|payload| {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        Message::new(channel.into(), payload, 0, "redis://r".into(), Instant::now(), SystemTime::now())
    });
    dispatcher.inbox().deliver(messages);
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

fn payloads(dispatcher: &Dispatcher<Scripted>) -> Vec<String> {
    dispatcher.handler.calls.lock().unwrap().iter().map(|(payload, _)| payload.clone()).collect()
}

#[tokio::test]
async fn a_slow_channel_delays_no_other_and_keeps_its_order() {
    let dispatcher = dispatcher(0, &limits(Component::default()));
    publish(&dispatcher, "slow", &["s1", "s2"]);
    publish(&dispatcher, "fast", &["f1", "f2"]);
    until(|| payloads(&dispatcher) == ["f1", "f2"]).await;
    assert_eq!(dispatcher.handler.running.load(Ordering::SeqCst), 1, "one message of a channel at a time");
    dispatcher.handler.slow.add_permits(2);
    dispatcher.queue.idle().await;
    assert_eq!(payloads(&dispatcher), ["f1", "f2", "s1", "s2"]);
    until(|| dispatcher.queue.snapshot().workers == 0).await;
}

#[tokio::test]
async fn without_ordering_messages_of_one_channel_run_side_by_side_up_to_the_concurrency() {
    let component = Component { ordering: Some(MessageOrdering::None), concurrency: Some(3), ..Component::default() };
    let dispatcher = dispatcher(0, &limits(component));
    publish(&dispatcher, "slow", &["1", "2", "3", "4", "5"]);
    until(|| dispatcher.handler.running.load(Ordering::SeqCst) == 3).await;
    assert_eq!(dispatcher.queue.snapshot().workers, 3);
    dispatcher.handler.slow.add_permits(5);
    dispatcher.queue.idle().await;
    assert_eq!(dispatcher.queue.snapshot().counts[0].handled, 5);
}

#[tokio::test]
async fn a_failed_message_is_tried_again_before_the_next_of_its_channel() {
    let retry = Retry { max_attempts: Some(3), initial_backoff: Some("10ms".into()), ..Retry::default() };
    let dispatcher = dispatcher(2, &limits(Component { retry: Some(retry), ..Component::default() }));
    publish(&dispatcher, "a", &["1", "2"]);
    dispatcher.queue.idle().await;
    let calls = dispatcher.handler.calls.lock().unwrap().clone();
    assert_eq!(calls, [("1", 1), ("1", 2), ("1", 3), ("2", 1)].map(|(payload, attempt)| (payload.to_owned(), attempt)));
    let counts = dispatcher.queue.snapshot().counts[0];
    assert_eq!((counts.handled, counts.retries, counts.balances()), (2, 2, true));
}
