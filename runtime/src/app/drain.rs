//! The end of a process: what was received is handled, as far as there is time, and what is left is named.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use crate::{
    dead_letters::entry::REASON_DRAIN,
    dispatch::Dispatcher,
    queue::{Message, Source},
    sharing::{Sharing, tenure::Tenure},
};

/// How long the last dead letters may take to be written once the time to drain is up. The operator gives a pod ten seconds
/// more than its drain.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a last word to the group may take: a group that does not hear it misses this replica after the expiry time.
const DEPART_TIMEOUT: Duration = Duration::from_secs(3);

/// Waits until nothing more is received and everything that was is handled.
pub async fn finish(mut receiving: JoinSet<()>, dispatchers: &[Arc<Dispatcher>], groups: &[Arc<Sharing>]) {
    while receiving.join_next().await.is_some() {}
    // What waits for other replicas comes into the queues yet.
    for group in groups {
        group.finished().await;
    }
    dispatchers.iter().for_each(|dispatcher| dispatcher.queue.close());
    for dispatcher in dispatchers {
        dispatcher.queue.idle().await;
        // The last worker may still be leaving a dead letter.
        dispatcher.at_rest().await;
    }
}

/// Counts and names what is left, and leaves a dead letter of each message where the app wants them. Returns how many that
/// were.
pub fn give_up(dispatchers: &[Arc<Dispatcher>], groups: &[Arc<Sharing>], why: &str) -> usize {
    let tenures: Vec<Tenure> = groups.iter().flat_map(|group| group.give_up()).collect();
    let mut abandoned = 0;
    for dispatcher in dispatchers {
        let (moved, left): (Vec<_>, Vec<_>) = dispatcher.queue.abandon().into_iter().partition(|(message, _)| is_moved(message));
        if !moved.is_empty() {
            let (app, component) = (&*dispatcher.app, dispatcher.queue.component());
            tracing::warn!(app, component, moved = moved.len(), "messages were not handled: {why}; other replicas take them over");
        }
        if left.is_empty() {
            continue;
        }
        abandoned += left.len();
        let (app, component) = (&*dispatcher.app, dispatcher.queue.component());
        let kept = dispatcher.dead_letters.is_some();
        let where_to = if kept { "they go to the dead letters" } else { "they are lost" };
        tracing::error!(app, component, abandoned = left.len(), "messages were not handled: {why}; {where_to}");
        if let Some(dead_letters) = &dispatcher.dead_letters {
            dead_letters.accept_all();
        }
        for (message, attempts) in &left {
            if !comes_again(message) && !keeps_its_letter(message, dispatcher) {
                dispatcher.bury(message, *attempts, REASON_DRAIN, format!("not handled: {why}"));
            }
        }
    }
    tenures.iter().for_each(|tenure| tenure.lease.revoke());
    abandoned
}

/// Whether a message is still in the stream it was redriven from, and will be read there again.
fn comes_again(message: &Message) -> bool {
    message.source == Source::Redrive
}

/// Whether its dead letter was left in advance, which then stays.
fn keeps_its_letter(message: &Message, dispatcher: &Dispatcher) -> bool {
    let advance = message.owned.as_ref().and_then(|owned| owned.take_advance(dispatcher.queue.component()));
    let Some((advance, dead_letters)) = advance.zip(dispatcher.dead_letters.as_ref()) else { return false };
    dead_letters.keep(advance);
    true
}

/// Whether other replicas do it.
fn is_moved(message: &Message) -> bool {
    message.owned.as_ref().is_some_and(|owned| owned.is_handed_over())
}

/// Says to the groups of replicas that this one is gone, so that nobody has to miss it first.
pub async fn depart(groups: &[Arc<Sharing>]) {
    let all = async {
        for group in groups {
            group.gone().await;
        }
    };
    if tokio::time::timeout(DEPART_TIMEOUT, all).await.is_err() {
        tracing::warn!(
            "the other replicas could not be told that this one is gone; they miss it after sharing.expiry, and may do a little again"
        );
    }
}

/// Writes the last dead letters, until `deadline` or a little longer.
pub async fn flush(dispatchers: &[Arc<Dispatcher>], deadline: Instant) {
    let deadline = deadline.max(Instant::now() + FLUSH_TIMEOUT);
    for dead_letters in dispatchers.iter().filter_map(|dispatcher| dispatcher.dead_letters.as_ref()) {
        dead_letters.flush(deadline).await;
    }
}

/// Names the dead letters that nobody waits for any more.
pub fn tell_unwritten(dispatchers: &[Arc<Dispatcher>]) {
    for dead_letters in dispatchers.iter().filter_map(|dispatcher| dispatcher.dead_letters.as_ref()) {
        let (component, lost) = (dead_letters.component(), dead_letters.counts().pending);
        if lost > 0 {
            tracing::error!(component, lost, "dead letters were not written: another signal ended the process");
        }
    }
}
