//! What really happened, which no replica knows, and what has to be true of it.

use std::collections::BTreeMap;

use spinredis_sharing::group::{Delivery, Stage};

use crate::{
    plan::Theme,
    replica::{Drops, Key, Message, Pod, Stay, Work},
    world::World,
};

/// One time that a message was handled.
pub struct Handling {
    pub stay: usize,
    pub begin: u64,
    pub end: Option<u64>,
    pub is_aborted: bool,
    /// Whether its stay has told the group that it is finished.
    pub is_told: bool,
}

/// One message by one subscription.
pub struct Fact {
    channel: usize,
    poison: bool,
    /// Who was a member and received when it was published.
    members: Vec<usize>,
    published_at: u64,
    handlings: Vec<Handling>,
    given_up: Option<u64>,
    kills: u32,
}

impl Fact {
    fn is_finished(&self) -> bool {
        self.given_up.is_some() || self.handlings.iter().any(|handling| handling.end.is_some())
    }
}

/// When something that was kept was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    Received,
    Marker,
    Reply,
}

/// All of it.
#[derive(Default)]
pub struct Facts {
    facts: BTreeMap<Key, Fact>,
    pub failure: Option<String>,
    pub overflow: bool,
    /// Whether Redis was flushed or restarted.
    pub has_forgotten: bool,
    pub again: u64,
    pub replays: u64,
    pub lost: u64,
    /// Replicas that died with a message named.
    pub blamed: u64,
    pub innocents: u64,
}

impl Facts {
    fn fail(&mut self, words: String) {
        self.failure.get_or_insert(words);
    }

    pub fn published(&mut self, key: Key, channel: usize, poison: bool, members: Vec<usize>, now: u64) {
        let fact = Fact { channel, poison, members, published_at: now, handlings: Vec::new(), given_up: None, kills: 0 };
        self.facts.insert(key, fact);
    }

    pub fn handed_out(&mut self, delivery: &Delivery<Message>) {
        self.replays += u64::from(delivery.claim.is_replay());
    }

    pub fn begun(&mut self, work: &Work, now: u64, stays: &[Stay]) {
        let key = work.delivery.parcel.key;
        let is_replay = work.delivery.claim.is_replay();
        let Some(fact) = self.facts.get_mut(&key) else { return };
        let is_excused = stays[work.stay].is_excused;
        let mut wrong = None;
        for earlier in &fact.handlings {
            let stay = &stays[earlier.stay];
            // Only one that was lost may have begun it before.
            if !stay.is_lost && !is_excused {
                wrong = Some(format!("{key:?} is begun by {} while {} has it and lives", stays[work.stay].id, stay.id));
            }
            if !is_replay && !is_excused {
                wrong = Some(format!("{key:?} is begun again by {} and counts as no replay", stays[work.stay].id));
            }
        }
        let is_told = fact.handlings.iter().any(|earlier| earlier.is_told);
        if is_told && !self.has_forgotten && !self.overflow {
            wrong = Some(format!("{key:?} is begun again by {}, and the group was told that it is finished", stays[work.stay].id));
        }
        if fact.given_up.is_some() && !is_replay {
            wrong = Some(format!("{key:?} was given up and is begun"));
        }
        if !fact.handlings.is_empty() {
            self.again += 1;
        }
        fact.handlings.push(Handling { stay: work.stay, begin: now, end: None, is_aborted: false, is_told: false });
        if let Some(wrong) = wrong {
            self.fail(wrong);
        }
    }

    pub fn ended(&mut self, key: Key, now: u64) {
        if let Some(last) =
            self.facts.get_mut(&key).and_then(|fact| fact.handlings.iter_mut().rev().find(|one| one.end.is_none() && !one.is_aborted))
        {
            last.end = Some(now);
        }
    }

    /// The group has heard what a stay had finished at this time. A report that had too much to name counts for nothing.
    pub fn told(&mut self, stay: usize, time: u64, is_complete: bool) {
        let handlings = self.facts.values_mut().flat_map(|fact| &mut fact.handlings);
        for one in handlings.filter(|one| one.stay == stay) {
            one.is_told = is_complete && one.end.is_some_and(|end| end < time);
        }
    }

    pub fn aborted(&mut self, key: Key) {
        if let Some(last) = self.facts.get_mut(&key).and_then(|fact| fact.handlings.iter_mut().rev().find(|one| one.end.is_none())) {
            last.is_aborted = true;
        }
    }

    pub fn given_up(&mut self, key: Key, now: u64) {
        if let Some(fact) = self.facts.get_mut(&key) {
            fact.given_up = Some(now);
        }
    }

    pub fn killed_by(&mut self, key: Key) {
        if let Some(fact) = self.facts.get_mut(&key) {
            fact.kills += 1;
        }
    }

    pub fn overflowed(&mut self, drops: &Drops) {
        self.overflow = true;
        drops.borrow_mut().clear();
    }

    /// Nothing is let go before its owner has finished it, as long as rings are large enough for all.
    pub fn check_drops(&self, dropped: &[Key], when: Dropped, id: &str) -> Result<(), String> {
        for key in dropped {
            if !self.overflow && self.facts.get(key).is_some_and(|fact| !fact.is_finished()) {
                return Err(format!("{id} lets {key:?} go that nobody has finished ({when:?})"));
            }
        }
        Ok(())
    }

    /// All that live agree on who the members are, and are themselves members.
    pub fn check_agreement(&self, pods: &[Pod], stays: &[Stay]) -> Result<(), String> {
        let living: Vec<&Stay> = pods.iter().filter(|pod| pod.is_alive && !pod.is_leaving).map(|pod| &stays[pod.current]).collect();
        for stay in &living {
            let (stage, members) = (stay.group.stage(), stay.group.members());
            if stage != Stage::Member || members != living.len() || stay.group.epoch() != living[0].group.epoch() {
                let epoch = stay.group.epoch();
                return Err(format!("{} is {stage:?} of {members} members in epoch {epoch}, and {} live", stay.id, living.len()));
            }
        }
        if let Some(pod) = pods.iter().position(|pod| pod.is_alive && pod.is_leaving) {
            let waiting: Vec<String> =
                pods[pod].stays.iter().map(|stay| &stays[*stay]).filter(|stay| !stay.is_over).map(|stay| stay.id.to_string()).collect();
            return Err(format!("pod {pod} should have left and has {waiting:?}"));
        }
        Ok(())
    }
}

/// Whether a member died in the very moment when Redis forgot it, before anybody knew of it who could have told: nobody is told of its
/// death, and what it had is lost.
fn has_unknown_dead(world: &World) -> bool {
    let is_unknown = |stay: &Stay| stay.has_joined && stay.is_lost && !stay.has_departed && !world.pods[stay.pod].is_alive;
    world.facts.has_forgotten && world.stays.iter().any(is_unknown)
}

/// Whether everything has come to rest: nobody has, keeps or waits for anything, and all agree.
pub fn check_rest(world: &World) -> Result<(), String> {
    world.facts.check_agreement(&world.pods, &world.stays)?;
    for pod in world.pods.iter().filter(|pod| pod.is_alive) {
        for stay in pod.stays.iter().map(|stay| &world.stays[*stay]).filter(|stay| !stay.is_over) {
            let group = &stay.group;
            let (unfinished, kept, held) = (stay.progress.unfinished(), group.ring().len(), group.held());
            let keeps = !has_unknown_dead(world) && (kept > 0 || group.ring().bytes() > 0);
            if stay.is_leaving() || keeps || group.is_waiting() || unfinished > 0 {
                let stage = group.stage();
                return Err(format!("{} ({stage:?}) comes to no rest: has {unfinished} unfinished, keeps {kept}, holds {held}", stay.id));
            }
        }
    }
    Ok(())
}

/// What has to be true at the end.
pub fn check_end(world: &mut World) -> Result<(), String> {
    check_rest(world)?;
    let hurried: u64 = world.stays.iter().map(|stay| stay.group.counts().hurried).sum();
    let overflow = world.facts.overflow || world.stays.iter().any(|stay| stay.group.ring().overflowed() > 0);
    let theme = world.plan.theme;
    let mut order: BTreeMap<(usize, usize), (Key, u64)> = BTreeMap::new();
    let (mut lost, mut innocents) = (0, 0);
    for (key, fact) in &world.facts.facts {
        let times = fact.handlings.len();
        let members: Vec<&Stay> = fact.members.iter().map(|stay| &world.stays[*stay]).collect();
        let is_probe = fact.published_at > world.plan.steps.last().map_or(0, |step| step.at);
        if !fact.is_finished() && !members.is_empty() {
            let still = members.iter().find(|stay| !stay.is_deaf);
            let names: Vec<&str> = members.iter().map(|stay| &*stay.id).collect();
            if let Some(still) = still
                && !overflow
                && !has_unknown_dead(world)
            {
                return Err(format!("{key:?} is lost though {} received it and still does; members were {names:?}", still.id));
            }
            let exact = matches!(theme, Theme::Calm | Theme::Flush) || is_probe;
            if exact {
                return Err(format!("{key:?} is lost without a fault; members were {names:?}"));
            }
            lost += 1;
        }
        if times > 1 && (theme.is_exact() || is_probe) {
            return Err(format!("{key:?} is handled {times} times without a crash"));
        }
        // One more when others were tried beside it, and one more when Redis has forgotten what was.
        if fact.kills > world.plan.most_crashes.max(2) + 1 + u32::from(world.facts.has_forgotten) {
            return Err(format!("{key:?} has killed {} pods", fact.kills));
        }
        innocents += u64::from(fact.given_up.is_some() && !fact.poison);
        let is_ordered = world.plan.ordered[key.1] && matches!(theme, Theme::Calm | Theme::Cuts) && hurried == 0 && !overflow;
        if is_ordered && let Some(handling) = fact.handlings.first() {
            let lane = order.entry((fact.channel, key.1)).or_insert((*key, 0));
            if handling.begin < lane.1 {
                return Err(format!("{key:?} begins at {} before {:?} has ended at {}", handling.begin, lane.0, lane.1));
            }
            *lane = (*key, handling.end.unwrap_or_default());
        }
    }
    // A replica that dies makes one message look guilty, the one that it had named, whatever killed it.
    if innocents > world.facts.blamed {
        return Err(format!("{innocents} innocent messages are given up, and {} were named by one that died", world.facts.blamed));
    }
    (world.facts.lost, world.facts.innocents) = (lost, innocents);
    Ok(())
}
