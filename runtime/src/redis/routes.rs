//! Which queues a message goes to: fixed when the app is loaded, from the components' channels and patterns.
//!
//! A channel is found by its bytes as they stand in the read buffer, so a message costs one look into a table, one copy of
//! its payload, and its place in a [`Batch`], which is handed to each queue at once.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use spinredis_crds::Component;

use super::{
    item::{Payload, Published},
    subscription::Subscription,
};
use crate::queue::{Inbox, Message};

/// The queues of each subscription, with the place it has in the component's list.
#[derive(Default)]
pub struct Routes {
    subscriptions: BTreeSet<Subscription>,
    channels: HashMap<Box<[u8]>, Route>,
    patterns: HashMap<Box<[u8]>, Route>,
    queues: Vec<Inbox>,
}

struct Route {
    /// The subscription's name, which an exact channel's messages share.
    name: Arc<str>,
    targets: Vec<Target>,
}

/// A queue, as a place in [`Routes::queues`], and the subscription's place in the component's list.
#[derive(Clone, Copy)]
struct Target {
    queue: usize,
    place: usize,
}

/// A component's subscriptions, channels first: the order of [`Queue::subscriptions`].
pub fn subscriptions(component: &Component) -> Vec<Subscription> {
    let channels = component.channels.iter().cloned().map(Subscription::Channel);
    channels.chain(component.patterns.iter().cloned().map(Subscription::Pattern)).collect()
}

impl Routes {
    /// Adds a component's subscription, which has this place in its list.
    pub fn add(&mut self, subscription: Subscription, place: usize, inbox: &Inbox) {
        let known = self.queues.iter().position(|known| Arc::ptr_eq(known.queue(), inbox.queue()));
        let target = Target { queue: known.unwrap_or(self.queues.len()), place };
        if known.is_none() {
            self.queues.push(inbox.clone());
        }
        let (routes, name) = match &subscription {
            Subscription::Channel(name) => (&mut self.channels, name),
            Subscription::Pattern(name) => (&mut self.patterns, name),
        };
        let route = routes.entry(name.as_bytes().into()).or_insert_with(|| Route { name: name.as_str().into(), targets: Vec::new() });
        route.targets.push(target);
        self.subscriptions.insert(subscription);
    }

    /// Every subscription, each once.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.iter()
    }

    /// A batch for messages from this server, which the queues get when it is [flushed](Batch::flush).
    pub fn batch(&self, address: Arc<str>) -> Batch<'_> {
        let waiting = self.queues.iter().map(|_| Vec::new()).collect();
        Batch { routes: self, address, received: Instant::now(), first_received: SystemTime::now(), waiting, touched: Vec::new() }
    }
}

/// Messages that were read together and wait for their queues, in the order they came.
pub struct Batch<'a> {
    routes: &'a Routes,
    address: Arc<str>,
    received: Instant,
    first_received: SystemTime,
    /// For each of [`Routes::queues`].
    waiting: Vec<Vec<Message>>,
    /// The queues that messages wait for.
    touched: Vec<usize>,
}

impl Batch<'_> {
    /// Begins: what is added from now on was received at this time. One look at each clock serves all that was read at
    /// once.
    pub fn begin(&mut self, received: Instant) {
        self.received = received;
        self.first_received = SystemTime::now();
    }

    /// Adds a message for every component that asked for its subscription. One that nobody asked for is none of ours.
    pub fn add(&mut self, message: Published<'_>) {
        let route = match message.pattern {
            Some(pattern) => self.routes.patterns.get(pattern),
            None => self.routes.channels.get(message.channel),
        };
        let Some(route) = route else { return };
        let payload = match message.payload {
            Payload::Small(bytes) => Bytes::copy_from_slice(bytes),
            Payload::Large(bytes) => bytes,
            Payload::TooLarge(length) => return self.too_large(route, message.channel, length),
        };
        let channel = match message.pattern {
            Some(_) => String::from_utf8_lossy(message.channel).into(),
            None => route.name.clone(),
        };
        let Some((last, others)) = route.targets.split_last() else { return };
        for target in others {
            self.put(*target, channel.clone(), payload.clone());
        }
        self.put(*last, channel, payload);
    }

    fn put(&mut self, target: Target, channel: Arc<str>, payload: Bytes) {
        let waiting = &mut self.waiting[target.queue];
        if waiting.is_empty() {
            self.touched.push(target.queue);
        }
        waiting.push(Message::new(channel, payload, target.place, self.address.clone(), self.received, self.first_received));
    }

    fn too_large(&self, route: &Route, channel: &[u8], length: u64) {
        let channel = String::from_utf8_lossy(channel);
        for target in &route.targets {
            let queue = self.routes.queues[target.queue].queue();
            tracing::warn!(
                component = queue.component(),
                %channel,
                length,
                "a message is larger than a message may be, or its channel's name is, and was skipped"
            );
            queue.count_too_large(target.place);
        }
    }

    /// Hands everything over.
    pub fn flush(&mut self) {
        let alone = self.touched.len() == 1;
        for queue in self.touched.drain(..) {
            let messages = &mut self.waiting[queue];
            self.routes.queues[queue].deliver(messages.drain(..));
            // The room is kept for a queue that gets everything, and not for each of a thousand.
            if !alone {
                *messages = Vec::new();
            }
        }
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
