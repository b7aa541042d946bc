//! What pods do: they connect, receive, call the script, begin and end messages, leave, and are killed.

use std::{collections::VecDeque, sync::Arc, sync::atomic::Ordering};

use spinredis_sharing::{
    group::{Delivery, Stage, Taken},
    script::Operation,
    trial::Trials,
    wire::{Marker, Reply, Standing},
};

use crate::{
    facts::Dropped,
    replica::{Message, Pod, Stay, Work, has},
    script_model::Call,
    trace,
    world::{Connection, Event, Item, KEY, World},
};

/// So long a message waits to be tried without company.
const TRIAL_PATIENCE: u64 = 400;

impl World {
    pub fn start(&mut self, generation: usize) {
        let pod = self.pods.len();
        trace!(self, "pod {pod} of generation {generation} starts");
        self.pods.push(Pod {
            generation,
            is_alive: true,
            paused_until: 0,
            is_leaving: false,
            current: 0,
            queue: VecDeque::new(),
            trials: Trials::default(),
            told: 0,
            is_telling: false,
            running: Vec::new(),
            stays: Vec::new(),
        });
        self.connect(pod);
    }

    /// A connection of its own, and a stay that joins when it has subscribed.
    pub fn connect(&mut self, pod: usize) {
        let connection = self.connections.len();
        let slowness = self.rng.below(self.plan.slowest_link + 1);
        self.connections.push(Connection {
            stay: 0,
            generation: self.pods[pod].generation,
            is_subscribed: false,
            is_broken: false,
            pipe: VecDeque::new(),
            last_arrival: 0,
            slowness,
        });
        self.stay(pod, connection);
        self.soon(slowness, Event::Subscribe(connection));
    }

    /// A new stay on this connection.
    fn stay(&mut self, pod: usize, connection: usize) -> usize {
        let number = self.stays.len();
        let id: Arc<str> = format!("p{pod}-{number}").into();
        self.stays.push(Stay::new(id, pod, &self.plan, self.pods[pod].generation, connection));
        self.pods[pod].stays.push(number);
        self.pods[pod].current = number;
        self.connections[connection].stay = number;
        number
    }

    pub fn break_connection(&mut self, connection: usize) {
        let stay = self.connections[connection].stay;
        self.connections[connection].is_broken = true;
        self.connections[connection].pipe.clear();
        let pod = self.stays[stay].pod;
        if !self.pods[pod].is_alive {
            return;
        }
        trace!(self, "the connection of {} breaks", self.stays[stay].id);
        self.stays[stay].group.cut();
        self.stays[stay].connection = None;
        (self.stays[stay].is_deaf, self.stays[stay].has_been_cut) = (true, true);
        self.drops.borrow_mut().clear();
        if !self.stays[stay].is_over {
            self.stays[stay].wanted.push_back(Operation::Cut);
            self.call(stay);
        }
        self.soon(200, Event::Reconnect { pod });
    }

    pub fn leave(&mut self, pod: usize, patient: bool) {
        trace!(self, "pod {pod} is to leave");
        self.pods[pod].is_leaving = true;
        let stay = self.pods[pod].current;
        if !patient {
            let after = self.rng.below(300);
            self.at(self.now + after, Event::GiveUp { pod });
        }
        if !self.stays[stay].has_joined {
            self.stays[stay].is_over = true;
        } else if !self.stays[stay].is_over && !self.stays[stay].is_deaf {
            self.stays[stay].wanted.push_back(Operation::Leave);
            self.call(stay);
        }
        self.exit_when_done(pod);
    }

    pub fn give_up(&mut self, pod: usize) {
        trace!(self, "pod {pod} gives up");
        for stay in self.pods[pod].stays.clone() {
            if self.stays[stay].is_over {
                continue;
            }
            let records = self.stays[stay].group.records().to_vec();
            let heirs = records.into_iter().filter(|record| record.is_member).map(|record| record.id).collect();
            self.stays[stay].group.give_up(heirs);
            self.stays[stay].progress.freeze();
            drop(self.stays[stay].group.take_ready());
            self.stays[stay].is_lost = true;
            self.stays[stay].is_deaf = true;
            self.stays[stay].wanted = [Operation::Gave].into();
            if let Some(connection) = self.stays[stay].connection.take() {
                self.connections[connection].is_broken = true;
                self.connections[connection].pipe.clear();
            }
            self.call(stay);
        }
        self.pods[pod].queue.clear();
        self.drops.borrow_mut().clear();
        for work in std::mem::take(&mut self.pods[pod].running) {
            self.facts.aborted(work.delivery.parcel.key);
        }
        self.exit_when_done(pod);
    }

    /// kill -9.
    pub fn kill(&mut self, pod: usize) {
        trace!(self, "pod {pod} is killed");
        self.stop(pod);
        let generation = self.pods[pod].generation;
        self.soon(400, Event::Start { generation });
    }

    fn stop(&mut self, pod: usize) {
        self.pods[pod].is_alive = false;
        self.pods[pod].queue.clear();
        for work in std::mem::take(&mut self.pods[pod].running) {
            self.facts.aborted(work.delivery.parcel.key);
        }
        for stay in &self.pods[pod].stays {
            let stay = &mut self.stays[*stay];
            stay.is_deaf = true;
            stay.is_lost |= !stay.is_over;
            if let Some(connection) = stay.connection {
                self.connections[connection].is_broken = true;
            }
        }
    }

    fn exit_when_done(&mut self, pod: usize) {
        let is_done = |stay: &usize| self.stays[*stay].is_over;
        if self.pods[pod].is_alive && self.pods[pod].is_leaving && self.pods[pod].stays.iter().all(is_done) {
            trace!(self, "pod {pod} exits");
            self.stop(pod);
        }
    }

    // Receiving.

    pub fn arrive(&mut self, connection: usize) -> Result<(), String> {
        let Some(item) = self.connections[connection].pipe.pop_front() else { return Ok(()) };
        let number = self.connections[connection].stay;
        match item {
            Item::Message { number: message, channel, subscription, poison } => {
                let generation = self.connections[connection].generation;
                // As this pod counts its own.
                let own = (0..subscription).filter(|earlier| has(&self.plan, generation, *earlier)).count();
                let key = (message, subscription);
                let most_crashes = self.plan.most_crashes;
                let drops = self.drops.clone();
                let stay = &mut self.stays[number];
                let overflowed = stay.group.ring().overflowed();
                let make = || Message { key, channel, poison, most_crashes, drops: Some(drops) };
                let name = crate::plan::CHANNELS[channel];
                let taken = stay.group.message(own, name.as_bytes(), &message.to_le_bytes(), make);
                if stay.group.ring().overflowed() > overflowed {
                    self.facts.overflowed(&self.drops);
                }
                self.check_drops(Dropped::Received, number)?;
                if let Taken::Ours(delivery) = taken {
                    self.enqueue(number, vec![delivery]);
                }
            }
            Item::Marker(text) => {
                let marker = Marker::parse(text.as_bytes(), KEY).map_err(|error| error.to_string())?;
                let stay = &mut self.stays[number];
                let overflowed = stay.group.ring().overflowed();
                stay.group.marker(&marker);
                if stay.group.ring().overflowed() > overflowed {
                    self.facts.overflowed(&self.drops);
                }
                let stay = &mut self.stays[number];
                trace!(self, "{} goes by marker {} and is {:?}", stay.id, marker.epoch, stay.group.stage());
                match stay.group.stage() {
                    Stage::Member => self.check_drops(Dropped::Marker, number)?,
                    Stage::Outside => {}
                    Stage::Left => {
                        stay.is_deaf = true;
                        self.drops.borrow_mut().clear();
                    }
                    Stage::Expelled => self.expelled(number),
                }
                self.take_ready(number);
                self.look_again(number);
            }
        }
        Ok(())
    }

    /// What is removed by the others comes back as another, on the same connection.
    fn expelled(&mut self, number: usize) {
        self.drops.borrow_mut().clear();
        let stay = &mut self.stays[number];
        if stay.is_over {
            return;
        }
        trace!(self, "{} is expelled", stay.id);
        (stay.is_over, stay.is_lost, stay.is_deaf) = (true, true, true);
        stay.wanted.clear();
        let pod = stay.pod;
        // What was not begun is left to others.
        self.pods[pod].queue.retain(|work| work.stay != number);
        self.pods[pod].running.retain(|work| work.stay != number || work.is_begun);
        self.drops.borrow_mut().clear();
        if let Some(connection) = self.stays[number].connection
            && self.pods[pod].current == number
            && !self.pods[pod].is_leaving
        {
            self.stays[number].connection = None;
            let next = self.stay(pod, connection);
            self.stays[next].wanted.push_back(Operation::Join);
            self.call(next);
        }
        self.exit_when_done(pod);
    }

    fn take_ready(&mut self, number: usize) {
        let ready = self.stays[number].group.take_ready();
        self.enqueue(number, ready);
    }

    fn check_drops(&mut self, when: Dropped, number: usize) -> Result<(), String> {
        let dropped = std::mem::take(&mut *self.drops.borrow_mut());
        self.facts.check_drops(&dropped, when, &self.stays[number].id)
    }

    // Handling.

    fn enqueue(&mut self, stay: usize, deliveries: Vec<Delivery<Message>>) {
        let pod = self.stays[stay].pod;
        for mut delivery in deliveries {
            delivery.parcel.drops = None;
            self.works += 1;
            self.facts.handed_out(&delivery);
            let (number, since) = (self.works, self.now);
            self.pods[pod].queue.push_back(Work { stay, delivery, number, since, once_told: None, is_begun: false, is_timed: false });
        }
        self.begin(pod);
    }

    /// Begins what may be begun: one at a time of each channel whose order counts.
    pub fn begin(&mut self, pod: usize) {
        if self.pods[pod].paused_until > self.now {
            return;
        }
        let mut queue = std::mem::take(&mut self.pods[pod].queue);
        let mut kept = VecDeque::new();
        while let Some(mut work) = queue.pop_front() {
            let lane = (work.delivery.parcel.channel, work.delivery.parcel.key.1);
            let same = |other: &Work| (other.delivery.parcel.channel, other.delivery.parcel.key.1) == lane;
            let is_ordered = self.plan.ordered[lane.1];
            let waits = self.pods[pod].running.len() >= self.plan.concurrency
                || (is_ordered && (self.pods[pod].running.iter().any(same) || kept.iter().any(same)))
                || self.now >= self.stays[work.stay].lease;
            if waits {
                kept.push_back(work);
                continue;
            }
            let parcel = &work.delivery.parcel;
            if work.delivery.crashes >= parcel.most_crashes {
                trace!(self, "{} gives {:?} up", self.stays[work.stay].id, parcel.key);
                self.facts.given_up(parcel.key, self.now);
                drop(work);
                continue;
            }
            if let Some(trial) = work.delivery.trial {
                let patient_until = work.since + TRIAL_PATIENCE;
                if !self.pods[pod].trials.admits(trial, self.now >= patient_until) {
                    if !std::mem::replace(&mut work.is_timed, true) {
                        self.at(patient_until, Event::Begin { pod });
                    }
                    kept.push_back(work);
                    continue;
                }
                trace!(self, "{} tries {:?}: {:?}", self.stays[work.stay].id, parcel.key, trial.company);
                work.once_told = Some(self.pods[pod].trials.begin(trial));
                self.pods[pod].running.push(work);
                self.tell_trials(pod);
                continue;
            }
            self.pods[pod].running.push(work);
            let last = self.pods[pod].running.len() - 1;
            self.really_begin(pod, last);
        }
        self.pods[pod].queue = kept;
    }

    fn really_begin(&mut self, pod: usize, place: usize) {
        self.pods[pod].running[place].is_begun = true;
        let work = &self.pods[pod].running[place];
        trace!(self, "{} begins {:?} crashes {}", self.stays[work.stay].id, work.delivery.parcel.key, work.delivery.crashes);
        let number = work.number;
        self.facts.begun(work, self.now, &self.stays);
        let slowest = if self.rng.one_in(40) { self.plan.slowest_handler } else { self.plan.slowest_handler.min(20) };
        let end = self.now + self.rng.below(slowest + 1);
        self.at(end, Event::HandlerEnds { pod, number });
    }

    /// Tells the group what is tried in all stays, one call after the other.
    fn tell_trials(&mut self, number: usize) {
        let pod = &mut self.pods[number];
        if pod.is_telling || !pod.is_alive || pod.trials.changes() <= pod.told {
            return;
        }
        pod.is_telling = true;
        let stays = pod.stays.iter().map(|stay| &self.stays[*stay]).filter(|stay| !stay.is_over);
        let texts = stays.map(|stay| (stay.id.clone(), pod.trials.text())).collect();
        let (change, slowest) = (pod.trials.changes(), self.plan.slowest_call);
        self.soon(slowest, Event::Tell { pod: number, change, texts });
    }

    /// The group has heard of a change, or did not answer.
    pub fn told(&mut self, pod: usize, change: Option<u64>) {
        self.pods[pod].is_telling = false;
        if let Some(change) = change {
            self.pods[pod].told = change;
        }
        self.begin_told(pod);
        self.tell_trials(pod);
    }

    /// Begins what the group has heard of, as far as leases last.
    fn begin_told(&mut self, pod: usize) {
        let waiting = |work: &Work| {
            let stay = &self.stays[work.stay];
            !work.is_begun && self.now < stay.lease && work.once_told.is_some_and(|change| change <= self.pods[pod].told)
        };
        let ready: Vec<usize> = (0..self.pods[pod].running.len()).filter(|place| waiting(&self.pods[pod].running[*place])).collect();
        for place in ready {
            self.really_begin(pod, place);
        }
    }

    pub fn ended(&mut self, pod: usize, number: u64) {
        let Some(place) = self.pods[pod].running.iter().position(|work| work.number == number) else { return };
        if self.pods[pod].running[place].delivery.parcel.poison {
            trace!(self, "{:?} kills pod {pod}", self.pods[pod].running[place].delivery.parcel.key);
            self.facts.killed_by(self.pods[pod].running[place].delivery.parcel.key);
            return self.kill(pod);
        }
        let work = self.pods[pod].running.swap_remove(place);
        trace!(self, "{} ends {:?}", self.stays[work.stay].id, work.delivery.parcel.key);
        self.facts.ended(work.delivery.parcel.key, self.now);
        let stay = work.stay;
        if let Some(trial) = work.delivery.trial {
            self.pods[pod].trials.end(trial);
            self.tell_trials(pod);
        }
        drop(work);
        self.begin(pod);
        self.look_again(stay);
    }

    // Calling.

    /// Calls soon when there is a reason not to wait for the next beat.
    fn look_again(&mut self, number: usize) {
        let stay = &self.stays[number];
        let is_finished = stay.is_leaving() && stay.group.is_finished();
        if stay.wake.swap(false, Ordering::Relaxed) || is_finished {
            self.call(number);
        }
    }

    pub fn call(&mut self, number: usize) {
        let stay = &self.stays[number];
        if stay.is_calling || stay.is_over || !self.pods[stay.pod].is_alive {
            return;
        }
        let operation = match stay.wanted.front() {
            Some(operation) => *operation,
            // It has not subscribed yet.
            None if stay.group.stage() == Stage::Outside && stay.birth.is_empty() => return,
            None if stay.is_leaving() && stay.group.is_finished() => Operation::Final,
            None => Operation::Beat,
        };
        self.stays[number].has_joined |= operation == Operation::Join;
        let stay = &self.stays[number];
        let report = stay.group.report(operation);
        let call = Call {
            operation: operation.word().to_owned(),
            id: stay.id.to_string(),
            signing_key: KEY.to_owned(),
            expiry: i64::try_from(self.plan.expiry).unwrap_or_default(),
            set: stay.set.clone(),
            report: report.text(),
            birth: stay.birth.clone(),
            epoch: stay.group.epoch(),
            set_text: if operation == Operation::Join { stay.set_text.clone() } else { String::new() },
            known: if stay.is_reborn { stay.group.known() } else { String::new() },
        };
        let is_complete = report.own.from.is_none() && report.replays.from.is_none();
        self.stays[number].is_calling = true;
        let sent = self.now;
        let slowest = self.plan.slowest_call;
        self.soon(slowest, Event::Call { stay: number, operation, call: Box::new(call), is_complete, sent });
    }

    pub fn answered(&mut self, number: usize, operation: Operation, text: Option<String>, sent: u64) -> Result<(), String> {
        let pod = self.stays[number].pod;
        self.stays[number].is_calling = false;
        if self.stays[number].is_over {
            return Ok(());
        }
        let Some(text) = text else {
            self.timer(number);
            return Ok(());
        };
        let reply = Reply::parse(&text).ok_or_else(|| format!("no reply: {text}"))?;
        let stay = &mut self.stays[number];
        stay.group.reply(&reply);
        match reply.standing {
            Standing::Unknown => {
                self.expelled(number);
                return Ok(());
            }
            Standing::Reborn => {
                let is_current = stay.connection.is_some() && self.pods[pod].current == number && !self.pods[pod].is_leaving;
                let again = if is_current { Operation::Join } else { Operation::Return };
                stay.birth = reply.birth;
                stay.is_reborn = true;
                if stay.wanted.front() != Some(&Operation::Gave) {
                    stay.wanted = [again].into();
                    if stay.has_been_cut {
                        stay.wanted.push_back(Operation::Cut);
                    }
                }
                self.call(number);
                return Ok(());
            }
            Standing::Known => {
                stay.lease = sent + self.plan.expiry;
                if std::mem::take(&mut stay.is_reborn) {
                    self.pods[pod].trials.changed();
                }
                stay.birth = reply.birth;
                if stay.wanted.front() == Some(&operation) {
                    stay.wanted.pop_front();
                }
            }
        }
        self.check_drops(Dropped::Reply, number)?;
        if matches!(operation, Operation::Final | Operation::Gave) {
            self.stays[number].is_over = true;
            self.exit_when_done(pod);
            return Ok(());
        }
        self.take_ready(number);
        self.begin(pod);
        self.begin_told(pod);
        if !self.stays[number].wanted.is_empty() {
            self.call(number);
        }
        self.look_again(number);
        self.timer(number);
        Ok(())
    }

    fn timer(&mut self, number: usize) {
        if !std::mem::replace(&mut self.stays[number].has_timer, true) {
            let at = self.now + self.plan.beat;
            self.at(at, Event::Timer(number));
        }
    }
}
