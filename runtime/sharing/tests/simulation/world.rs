//! The simulated world: time, one Redis, connections with delays of their own, pods. Everything follows from the plan.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    rc::Rc,
    sync::Arc,
};

use spinredis_sharing::{
    script::Operation,
    wire::{Departed, Departure, Marker},
};

use crate::{
    facts::Facts,
    plan::{CHANNELS, Kind, Plan, Rng, SUBSCRIPTIONS, comes_by},
    replica::{Drops, Pod, Stay, has},
    script_model::{Call, ScriptModel},
};

pub const KEY: &str = "signing key";

/// What a connection carries.
#[derive(Clone)]
pub enum Item {
    Message { number: u32, channel: usize, subscription: usize, poison: bool },
    Marker(Rc<str>),
}

/// A subscription connection.
pub struct Connection {
    pub stay: usize,
    pub generation: usize,
    /// Whether the server has registered it.
    pub is_subscribed: bool,
    pub is_broken: bool,
    /// Sent by the server and not received yet.
    pub pipe: VecDeque<Item>,
    pub last_arrival: u64,
    /// The longest delay of a message on it.
    pub slowness: u64,
}

pub enum Event {
    Step(usize),
    Subscribe(usize),
    Subscribed(usize),
    Arrive(usize),
    Timer(usize),
    Call {
        stay: usize,
        operation: Operation,
        call: Box<Call>,
        /// Whether its report tells everything.
        is_complete: bool,
        sent: u64,
    },
    Answer {
        stay: usize,
        operation: Operation,
        text: Option<String>,
        sent: u64,
    },
    /// What a replica tries after a crash, as of this change.
    Tell {
        pod: usize,
        change: u64,
        texts: Vec<(Arc<str>, String)>,
    },
    /// The group has heard of it, or did not answer.
    Told {
        pod: usize,
        change: Option<u64>,
    },
    Begin {
        pod: usize,
    },
    HandlerEnds {
        pod: usize,
        number: u64,
    },
    Start {
        generation: usize,
    },
    Reconnect {
        pod: usize,
    },
    GiveUp {
        pod: usize,
    },
    Up,
    /// Whether nothing more is to happen: then the end, or once before it the last messages.
    LookForRest,
}

pub struct World {
    pub plan: Plan,
    pub now: u64,
    pub facts: Facts,
    pub stays: Vec<Stay>,
    pub pods: Vec<Pod>,
    pub script: ScriptModel,
    pub rng: Rng,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    what: BTreeMap<u64, Event>,
    next: u64,
    pub connections: Vec<Connection>,
    pub is_up: bool,
    pub run: u32,
    pub published: u32,
    pub drops: Drops,
    pub works: u64,
    /// From here on no fault happens and nothing is published.
    calm_from: u64,
    end: u64,
    has_probed: bool,
    pub trace: Option<Vec<String>>,
}

/// So long it may take until everything has come to rest.
const LONGEST_REST: u64 = 400_000;

/// Writes down what happens, when somebody wants to read it.
#[macro_export]
macro_rules! trace {
    ($world:expr, $($words:tt)*) => {
        if let Some(trace) = &mut $world.trace {
            let line = format!($($words)*);
            trace.push(format!("{:>6} {line}", $world.now));
        }
    };
}

impl World {
    pub fn new(plan: Plan, traced: bool) -> Self {
        let calm_from = plan.steps.last().map_or(0, |step| step.at);
        let mut world = Self {
            rng: Rng(plan.seed),
            now: 0,
            facts: Facts::default(),
            stays: Vec::new(),
            pods: Vec::new(),
            script: ScriptModel::default(),
            events: BinaryHeap::new(),
            what: BTreeMap::new(),
            next: 0,
            connections: Vec::new(),
            is_up: true,
            run: 1,
            published: 0,
            drops: Drops::default(),
            works: 0,
            calm_from,
            end: calm_from + LONGEST_REST,
            has_probed: false,
            trace: traced.then(Vec::new),
            plan,
        };
        for _ in 0..world.plan.initial {
            let at = world.rng.below(200);
            world.at(at, Event::Start { generation: 0 });
        }
        for step in 0..world.plan.steps.len() {
            world.at(world.plan.steps[step].at, Event::Step(step));
        }
        world
    }

    /// Runs everything. Says what is wrong, if anything is.
    pub fn run(&mut self) -> Result<(), String> {
        self.at(self.calm_from + 2_000, Event::LookForRest);
        while let Some(Reverse((at, number))) = self.events.pop() {
            if at > self.end {
                break;
            }
            self.now = at;
            let Some(event) = self.what.remove(&number) else { continue };
            self.happen(event)?;
            self.facts.failure.take().map_or(Ok(()), Err)?;
        }
        crate::facts::check_end(self)
    }

    pub fn at(&mut self, at: u64, event: Event) {
        self.next += 1;
        self.events.push(Reverse((at, self.next)));
        self.what.insert(self.next, event);
    }

    pub fn soon(&mut self, longest: u64, event: Event) {
        let delay = self.rng.below(longest + 1);
        self.at(self.now + delay, event);
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        // A process that stands still does everything later.
        let pod = match &event {
            Event::Arrive(connection) | Event::Subscribed(connection) => Some(self.stays[self.connections[*connection].stay].pod),
            Event::Timer(stay) | Event::Answer { stay, .. } => Some(self.stays[*stay].pod),
            Event::HandlerEnds { pod, .. }
            | Event::Told { pod, .. }
            | Event::Begin { pod }
            | Event::Reconnect { pod }
            | Event::GiveUp { pod } => Some(*pod),
            _ => None,
        };
        if let Some(pod) = pod {
            if !self.pods[pod].is_alive {
                return Ok(());
            }
            if self.pods[pod].paused_until > self.now {
                let at = self.pods[pod].paused_until;
                self.at(at, event);
                return Ok(());
            }
        }
        match event {
            Event::Step(step) => self.step(step),
            Event::Start { generation } => self.start(generation),
            Event::Subscribe(connection) => self.subscribe(connection),
            Event::Subscribed(connection) => {
                if !self.connections[connection].is_broken {
                    let stay = self.connections[connection].stay;
                    self.stays[stay].wanted.push_back(Operation::Join);
                    self.call(stay);
                }
            }
            Event::Arrive(connection) => self.arrive(connection)?,
            Event::Timer(stay) => {
                self.stays[stay].has_timer = false;
                self.call(stay);
            }
            Event::Call { stay, operation, call, is_complete, sent } => self.called(stay, operation, &call, is_complete, sent),
            Event::Answer { stay, operation, text, sent } => self.answered(stay, operation, text, sent)?,
            Event::Tell { pod, change, texts } => {
                for (id, text) in texts.iter().filter(|_| self.is_up) {
                    trace!(self, "{id} tells that it tries {text}");
                    self.script.tell_trials(id, text);
                }
                let (change, slowest) = (self.is_up.then_some(change), self.plan.slowest_call.max(10));
                self.soon(slowest, Event::Told { pod, change });
            }
            Event::Told { pod, change } => self.told(pod, change),
            Event::Begin { pod } => self.begin(pod),
            Event::HandlerEnds { pod, number } => self.ended(pod, number),
            Event::Reconnect { pod } => {
                if !self.pods[pod].is_leaving {
                    self.connect(pod);
                }
            }
            Event::GiveUp { pod } => self.give_up(pod),
            Event::Up => self.is_up = true,
            Event::LookForRest => self.look_for_rest()?,
        }
        Ok(())
    }

    fn look_for_rest(&mut self) -> Result<(), String> {
        if crate::facts::check_rest(self).is_err() {
            self.at(self.now + 500, Event::LookForRest);
        } else if self.has_probed {
            self.end = self.now;
        } else {
            self.has_probed = true;
            for channel in 0..CHANNELS.len() {
                for _ in 0..4 {
                    self.publish(channel, false);
                }
            }
            self.at(self.now + 1_000, Event::LookForRest);
        }
        Ok(())
    }

    fn living(&self, number: usize) -> Option<usize> {
        let living: Vec<usize> = (0..self.pods.len()).filter(|pod| self.pods[*pod].is_alive && !self.pods[*pod].is_leaving).collect();
        living.get(number % living.len().max(1)).copied()
    }

    fn step(&mut self, step: usize) {
        let kind = self.plan.steps[step].kind.clone();
        if !matches!(kind, Kind::Publish { .. }) {
            trace!(self, "-- {kind:?}");
        }
        if matches!(kind, Kind::Flush | Kind::Restart { .. }) {
            self.facts.has_forgotten = true;
            self.stays.iter_mut().for_each(|stay| stay.is_excused |= stay.is_lost);
        }
        match kind {
            Kind::Publish { channel, poison } => self.publish(channel, poison),
            Kind::Start { generation } => self.start(generation),
            Kind::Leave { pod, patient } => {
                if let Some(pod) = self.living(pod) {
                    self.leave(pod, patient);
                }
            }
            Kind::Kill { pod } => {
                if let Some(pod) = self.living(pod) {
                    self.kill(pod);
                }
            }
            Kind::Pause { pod, ms } => {
                if let Some(pod) = self.living(pod) {
                    trace!(self, "pod {pod} stands still for {ms}");
                    self.pods[pod].paused_until = self.now + ms;
                }
            }
            Kind::Cut { pod } => {
                if let Some(pod) = self.living(pod)
                    && let Some(connection) = self.stays[self.pods[pod].current].connection
                {
                    self.break_connection(connection);
                }
            }
            Kind::Flush => {
                self.script.hash = None;
            }
            Kind::Restart { down_ms } => {
                self.script.hash = None;
                self.run += 1;
                self.is_up = false;
                self.at(self.now + down_ms, Event::Up);
                for connection in 0..self.connections.len() {
                    if !self.connections[connection].is_broken {
                        self.break_connection(connection);
                    }
                }
            }
        }
    }

    // The server.

    fn publish(&mut self, channel: usize, poison: bool) {
        if !self.is_up {
            return;
        }
        self.published += 1;
        let number = self.published;
        let list = self.script.hash.as_ref().map_or_else(Vec::new, |hash| hash.list.clone());
        for (subscription, (name, _)) in SUBSCRIPTIONS.iter().enumerate() {
            if !comes_by(channel, subscription) {
                continue;
            }
            // Who is a member, subscribed to it, and receives.
            let receives = |stay: &usize| {
                let stay = &self.stays[*stay];
                let is_member = list.iter().any(|(id, _)| **id == *stay.id);
                is_member && has(&self.plan, self.pods[stay.pod].generation, subscription) && !stay.is_deaf && self.pods[stay.pod].is_alive
            };
            let members: Vec<usize> = (0..self.stays.len()).filter(receives).collect();
            trace!(self, "published {number} to {} by {}", CHANNELS[channel], name);
            self.facts.published((number, subscription), channel, poison, members, self.now);
            self.send(&Item::Message { number, channel, subscription, poison }, Some(subscription));
        }
    }

    fn send(&mut self, item: &Item, subscription: Option<usize>) {
        for number in 0..self.connections.len() {
            let connection = &mut self.connections[number];
            let comes = subscription.is_none_or(|subscription| has(&self.plan, connection.generation, subscription));
            if connection.is_broken || !connection.is_subscribed || !comes {
                continue;
            }
            connection.pipe.push_back(item.clone());
            let delay = self.rng.below(connection.slowness + 1);
            let at = connection.last_arrival.max(self.now + delay);
            connection.last_arrival = at;
            self.at(at, Event::Arrive(number));
        }
    }

    fn subscribe(&mut self, connection: usize) {
        if self.connections[connection].is_broken {
            return;
        }
        if !self.is_up {
            return self.at(self.now + 50, Event::Subscribe(connection));
        }
        self.connections[connection].is_subscribed = true;
        let slowness = self.connections[connection].slowness;
        self.soon(slowness, Event::Subscribed(connection));
    }

    fn called(&mut self, stay: usize, operation: Operation, call: &Call, is_complete: bool, sent: u64) {
        let mut text = None;
        if self.is_up {
            let outcome = self.script.call(i64::try_from(self.now).unwrap() + 1_000_000, &format!("run{}", self.run), call);
            trace!(self, "{} calls {} {} -> {}", call.id, call.operation, call.report, outcome.reply.replace('\n', " | "));
            if outcome.reply.starts_with("known") {
                self.facts.told(stay, sent, is_complete);
            }
            if let Some(text) = outcome.published {
                trace!(self, "marker {}", text[41..].replace('\n', " | "));
                let marker = Marker::parse(text.as_bytes(), KEY).unwrap_or_else(|error| panic!("{error}: {text}"));
                for departed in marker.departed.iter().filter(|departed| departed.how != Departure::Cut) {
                    self.stays.iter_mut().filter(|stay| stay.id == departed.id).for_each(|stay| stay.has_departed = true);
                }
                self.facts.blamed += died(&marker).filter(|departed| departed.trying.len() == 1).count() as u64;
                for departed in marker.departed.iter().filter(|departed| matches!(departed.how, Departure::Died | Departure::Gave)) {
                    self.stays.iter_mut().filter(|stay| stay.id == departed.id).for_each(|stay| stay.is_lost = true);
                }
                self.send(&Item::Marker(text.into()), None);
            }
            text = Some(outcome.reply);
        }
        let slowest = self.plan.slowest_call;
        self.soon(slowest, Event::Answer { stay, operation, text, sent });
    }
}

fn died(marker: &Marker) -> impl Iterator<Item = &Departed> {
    marker.departed.iter().filter(|departed| departed.how == Departure::Died)
}
