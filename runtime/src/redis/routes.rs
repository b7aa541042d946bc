//! Which queues a message goes to: fixed when the app is loaded, from the components' channels and patterns.
//!
//! A channel is found by its bytes as they stand in the read buffer, so a message costs one look into a table, one copy of
//! its payload, and its place in a [`Batch`], which is handed to each queue at once.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use spinredis_crds::Component;

use super::{
    item::{Payload, Published},
    subscription::Subscription,
};
use crate::{
    queue::{Inbox, Message, Queue},
    sharing::{Desk, Owned, parcel::Parcel, stay::Ours},
};

/// The queues of each subscription, with the place it has in the component's list.
#[derive(Default)]
pub struct Routes {
    /// Every subscription once; its place here is its number.
    routes: Vec<Route>,
    channels: HashMap<Box<[u8]>, usize>,
    patterns: HashMap<Box<[u8]>, usize>,
    queues: Vec<Inbox>,
}

struct Route {
    subscription: Subscription,
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
        let numbers = match &subscription {
            Subscription::Channel(_) => &mut self.channels,
            Subscription::Pattern(_) => &mut self.patterns,
        };
        let number = *numbers.entry(subscription.name().as_bytes().into()).or_insert(self.routes.len());
        if number == self.routes.len() {
            let name = subscription.name().into();
            self.routes.push(Route { subscription, name, targets: Vec::new() });
        }
        self.routes[number].targets.push(target);
    }

    /// Every subscription, each once, in the order of their numbers.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.routes.iter().map(|route| &route.subscription)
    }

    /// Whether a component that has a subscription wants each channel's messages in their order, by the subscription's number.
    pub fn is_ordered(&self, number: usize) -> bool {
        self.queues_of(number).any(Queue::is_ordered)
    }

    fn queues_of(&self, number: usize) -> impl Iterator<Item = &Queue> {
        self.routes[number].targets.iter().map(|target| &**self.queues[target.queue].queue())
    }

    /// After so many crashes with a message the most impatient component of a subscription gives it up.
    fn most_crashes(&self, number: usize) -> u32 {
        self.queues_of(number).map(Queue::most_crashes).min().unwrap_or(u32::MAX)
    }

    /// A batch for messages from this server, which the queues get when it is [flushed](Batch::flush).
    pub fn batch(&self, address: Arc<str>) -> Batch<'_> {
        let waiting = self.queues.iter().map(|_| Vec::new()).collect();
        Batch { routes: self, address, received: Instant::now(), first_received: SystemTime::now(), waiting, touched: Vec::new() }
    }

    /// Puts messages that this replica owns into their queues.
    pub fn deliver(&self, address: &Arc<str>, messages: Vec<Ours>) {
        if messages.is_empty() {
            return;
        }
        let mut batch = self.batch(address.clone());
        messages.into_iter().for_each(|message| batch.add_ours(message));
        batch.flush();
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

    /// Adds a message for every component that asked for its subscription. One that nobody asked for is none of ours. Of those
    /// that replicas `share` only what this one owns.
    pub fn add(&mut self, message: Published<'_>, share: Option<&mut Desk>) {
        let number = match message.pattern {
            Some(pattern) => self.routes.patterns.get(pattern),
            None => self.routes.channels.get(message.channel),
        };
        let Some(&number) = number else { return };
        let route = &self.routes.routes[number];
        let channel = || match message.pattern {
            Some(_) => String::from_utf8_lossy(message.channel).into(),
            None => route.name.clone(),
        };
        let (received, first_received) = (self.received, self.first_received);
        let parcel = |payload| Parcel {
            subscription: number,
            channel: channel(),
            payload,
            received,
            first_received,
            beyond: 0,
            most_crashes: self.routes.most_crashes(number),
        };
        match (message.payload, share) {
            (Payload::TooLarge(length), None) => self.too_large(route, message.channel, length),
            (Payload::TooLarge(length), Some(desk)) => {
                if desk.too_large(number, message.channel) {
                    self.too_large(route, message.channel, length);
                }
            }
            (Payload::Small(bytes), None) => self.put_all(number, channel(), Bytes::copy_from_slice(bytes), 0, None),
            (Payload::Large(bytes), None) => self.put_all(number, channel(), bytes, 0, None),
            (Payload::Small(bytes), Some(desk)) => {
                let ours = desk.message(number, message.channel, bytes, || parcel(Bytes::copy_from_slice(bytes)));
                ours.into_iter().for_each(|ours| self.add_ours(ours));
            }
            (Payload::Large(bytes), Some(desk)) => {
                let ours = desk.message(number, message.channel, &bytes, || parcel(bytes.clone()));
                ours.into_iter().for_each(|ours| self.add_ours(ours));
            }
        }
    }

    /// Adds a message that this replica owns, for every component that asked for its subscription.
    pub fn add_ours(&mut self, (parcel, owned): Ours) {
        let Parcel { subscription, channel, payload, received, first_received, beyond, .. } = parcel;
        let present = (self.received, self.first_received);
        (self.received, self.first_received) = (received, first_received);
        self.put_all(subscription, channel, payload, beyond, Some(owned));
        (self.received, self.first_received) = present;
    }

    fn put_all(&mut self, number: usize, channel: Arc<str>, payload: Bytes, beyond: u64, owned: Option<Owned>) {
        let routes = self.routes;
        let targets = &routes.routes[number].targets;
        let Some((last, others)) = targets.split_last() else { return };
        let mut copies = owned.into_iter().flat_map(|owned| owned.copies(targets.len()));
        for target in others {
            self.put(*target, channel.clone(), payload.clone(), beyond, copies.next());
        }
        self.put(*last, channel, payload, beyond, copies.next());
    }

    fn put(&mut self, target: Target, channel: Arc<str>, payload: Bytes, beyond: u64, owned: Option<Owned>) {
        let waiting = &mut self.waiting[target.queue];
        if waiting.is_empty() {
            self.touched.push(target.queue);
        }
        let message = Message::new(channel, payload, target.place, self.address.clone(), self.received, self.first_received);
        waiting.push(Message { owned, beyond, ..message });
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
