//! Which queues a message goes to: fixed when the app is loaded, from the components' channels and patterns.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use spinredis_crds::Component;

use super::session::Subscription;
use crate::queue::{Message, Queue};

/// The queues of each subscription, with the place it has in the component's list.
#[derive(Default)]
pub struct Routes {
    targets: BTreeMap<Subscription, Vec<(Arc<Queue>, usize)>>,
}

/// A component's subscriptions, channels first: the order of [`Queue::subscriptions`].
pub fn subscriptions(component: &Component) -> Vec<Subscription> {
    let channels = component.channels.iter().cloned().map(Subscription::Channel);
    channels.chain(component.patterns.iter().cloned().map(Subscription::Pattern)).collect()
}

impl Routes {
    /// Adds a component's subscription, which has this place in its list.
    pub fn add(&mut self, subscription: Subscription, place: usize, queue: &Arc<Queue>) {
        self.targets.entry(subscription).or_default().push((queue.clone(), place));
    }

    /// Every subscription, each once.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.targets.keys()
    }

    /// Puts a message into the queue of every component that asked for its subscription. `Err` is the length in bytes of
    /// a payload that was too large to be read; `address` the server it came from.
    pub fn deliver(&self, subscription: &Subscription, channel: &str, payload: &Result<Bytes, u64>, address: &Arc<str>) {
        for (queue, place) in self.targets.get(subscription).into_iter().flatten() {
            match payload {
                Ok(payload) => queue.push(Message {
                    channel: channel.to_owned(),
                    payload: payload.clone(),
                    subscription: *place,
                    address: address.clone(),
                    received: Instant::now(),
                }),
                Err(length) => {
                    tracing::warn!(
                        component = queue.component(),
                        channel,
                        length,
                        "a message is larger than a message may be and was skipped"
                    );
                    queue.count_too_large(*place);
                }
            }
        }
    }
}
