//! Takes messages from a component's queue and calls its handler, one after the other and so in the order they came.
//!
//! Each component has a task of its own: a slow component delays no other, and none of them delays receiving, which runs on
//! another thread.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use crate::{
    compile::engine::Engines,
    guest::{self, Handler},
    queue::{Message, Queue},
    redis::session::Subscription,
    telemetry::metrics::Durations,
};

/// How often guest code yields, and so how exactly a deadline is kept in a loop.
const TICK: std::time::Duration = std::time::Duration::from_millis(10);

/// Handles a component's messages until its queue is closed and empty. `subscriptions` are the component's, in the order of
/// their places.
pub async fn run(queue: Arc<Queue>, handler: Handler, subscriptions: Vec<Subscription>, durations: Durations) {
    while let Some(message) = queue.next().await {
        let started = Instant::now();
        let outcome = handler.call(&for_guest(&message, &subscriptions)).await;
        let took = started.elapsed();
        durations.observe(took);
        let component = queue.component();
        match &outcome {
            Ok(()) => tracing::debug!(component, channel = %message.channel, ?took, "message is handled"),
            Err(failure) => {
                tracing::warn!(component, channel = %message.channel, reason = failure.kind.as_str(), ?took, "message failed: {}", failure.message);
            }
        }
        queue.finish(message.subscription, outcome.map_err(|failure| failure.kind));
    }
}

fn for_guest<'a>(message: &'a Message, subscriptions: &'a [Subscription]) -> guest::Message<'a> {
    let pattern = match subscriptions.get(message.subscription) {
        Some(Subscription::Pattern(pattern)) => Some(pattern.as_str()),
        _ => None,
    };
    guest::Message {
        payload: &message.payload,
        channel: &message.channel,
        pattern,
        address: &message.address,
        received: SystemTime::now() - message.received.elapsed(),
        attempt: 1,
    }
}

/// Moves the engines' clock for as long as the process serves.
pub async fn tick(engines: Engines) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        engines.tick();
    }
}
