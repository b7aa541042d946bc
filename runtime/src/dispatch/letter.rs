//! What a dead letter says of a message, and what message a dead letter becomes again.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    dead_letters::{
        entry::{Entry, REASON_UNFINISHED, milliseconds},
        redrive::Redriven,
    },
    queue::Message,
    redis::subscription::Subscription,
};

/// The dead letter of a message, as of now.
pub fn entry(
    app: &Arc<str>,
    component: &str,
    pattern: Option<&str>,
    message: &Message,
    attempts: u32,
    reason: &'static str,
    error: String,
) -> Entry {
    Entry {
        payload: message.payload.clone(),
        channel: message.channel.clone(),
        pattern: pattern.map(Into::into),
        address: message.address.clone(),
        app: app.clone(),
        component: component.into(),
        error,
        reason: reason.into(),
        attempts,
        first_ms: milliseconds(message.first_received),
        last_ms: milliseconds(SystemTime::now()),
    }
}

/// The dead letter that stays one: it was handed out to be handled again and again, and never had an end.
pub fn unfinished(entry: Entry, deliveries: u64) -> Entry {
    Entry {
        error: format!(
            "its message was handed out {} times to be handled again and never had an end: each time its pod ended, or had no room for it",
            deliveries.saturating_sub(1)
        ),
        reason: REASON_UNFINISHED.into(),
        last_ms: milliseconds(SystemTime::now()),
        ..entry
    }
}

/// The message that a dead letter becomes again. One whose subscription the component no longer has is counted with the
/// component's first, since it is still that component's message.
pub fn message(redriven: Redriven, subscriptions: &[Subscription]) -> Message {
    let Redriven { entry, receipt, .. } = redriven;
    let wanted = match &entry.pattern {
        Some(pattern) => Subscription::Pattern(pattern.to_string()),
        None => Subscription::Channel(entry.channel.to_string()),
    };
    let place = subscriptions.iter().position(|subscription| *subscription == wanted).unwrap_or(0);
    let first_received = UNIX_EPOCH + Duration::from_millis(entry.first_ms);
    Message::new(entry.channel, entry.payload, place, entry.address, Instant::now(), first_received).redriven(entry.attempts, receipt)
}
