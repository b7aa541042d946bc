//! This replica in its group on one server: its present stay, and earlier ones that still have something to finish.
//!
//! A stay begins when everything is subscribed and ends when its place in the order of messages is lost: the connection breaks, the
//! subscriptions change, or the group has removed it. What was received goes on to its end all the same, so an earlier stay goes
//! on telling what it has finished until it can say that it is done.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rand::RngExt;
use spinredis_crds::Reason;
use spinredis_sharing::{
    Id,
    group::{Group, Stage},
    script::Operation,
    share::{Print, Subscriptions},
    wire::{Departure, Marker, NoMarker},
};
use tokio::sync::Notify;

use super::{
    Settings,
    desk::Desk,
    script,
    stay::{Ours, Stay},
    tenure::Tenure,
    trials::Trials,
    until::until,
};
use crate::redis::state::SubscriptionState;

/// This replica's part in sharing the messages of one server.
pub struct Sharing {
    pub(super) settings: Settings,
    desk: Mutex<Desk>,
    pub(super) state: Arc<SubscriptionState>,
    /// Puts messages into the queues.
    pub(super) deliver: Box<dyn Fn(Vec<Ours>) + Send + Sync>,
    /// Wakes the beats.
    pub(super) wake: Arc<Notify>,
    /// What is tried after a crash.
    pub(super) trials: Arc<Trials>,
    /// Something that others wait for has changed.
    pub(super) changed: Notify,
    pub(super) stopping: AtomicBool,
    /// Whether the control channel is subscribed.
    is_heard: AtomicBool,
}

impl Sharing {
    /// Of a server whose subscriptions are in `state`. `deliver` puts messages into their queues.
    pub fn new(settings: Settings, state: Arc<SubscriptionState>, deliver: impl Fn(Vec<Ours>) + Send + Sync + 'static) -> Self {
        Self {
            settings,
            desk: Mutex::default(),
            state,
            deliver: Box::new(deliver),
            wake: Arc::default(),
            trials: Arc::default(),
            changed: Notify::new(),
            stopping: AtomicBool::new(false),
            is_heard: AtomicBool::new(false),
        }
    }

    /// The desk, for what is received together: whoever has it delivers before giving it back.
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The control channel.
    pub fn channel(&self) -> &str {
        &self.settings.place.channel
    }

    /// Redis has acknowledged the control channel, or refused it with these words.
    pub fn heard(&self, refused: Option<&str>) {
        self.is_heard.store(refused.is_none(), Ordering::Release);
        let Some(error) = refused else { return };
        let (channel, permit) = (self.channel(), script::permit(&self.settings.place.key));
        let message =
            format!("Redis refuses the control channel {channel} ({error}), without which replicas cannot share messages: {permit}");
        if self.state.share_missing(Some((Reason::RedisPermission, message.clone()))) {
            tracing::warn!("{message}");
        }
    }

    /// Whether the control channel is subscribed.
    pub fn is_heard(&self) -> bool {
        self.is_heard.load(Ordering::Acquire)
    }

    /// Everything that Redis permits is subscribed, the control channel too: from the next marker on this replica may be a member.
    /// `prints` are the subscriptions by their numbers, each with whether its messages keep their order and whether it is there.
    pub fn enter(&self, prints: &[(Print, bool, bool)]) {
        let own = Subscriptions::new(prints.iter().filter(|(_, _, there)| *there).map(|(print, ordered, _)| (*print, *ordered)));
        let set = (own.name(), own.text());
        let mut desk = self.desk();
        if desk.is_leaving || desk.current.as_ref().is_some_and(|stay| stay.set == set) {
            return;
        }
        if desk.current.is_some() {
            self.state.share_missing(None);
        }
        desk.cut();
        let stay = self.stay(own, prints.iter().map(|(print, _, _)| *print).collect(), set);
        desk.current = Some(stay);
        drop(desk);
        self.wake.notify_one();
    }

    fn stay(&self, own: Subscriptions, prints: Vec<Print>, set: (String, String)) -> Stay {
        let id = format!("{}.{:08x}", self.settings.replica, rand::rng().random::<u32>());
        let id: Id = id.into();
        let tenure = Tenure::new(self.wake.clone(), self.trials.clone());
        let group = Group::new(id, own, prints, self.settings.limits.ring_bytes, tenure);
        Stay {
            group,
            wanted: [Operation::Join].into(),
            has_joined: false,
            answered: None,
            has_been_cut: false,
            is_reborn: false,
            set,
            birth: String::new(),
            behind: None,
        }
    }

    /// The same subscriptions in a new stay, after the group has removed the one before.
    pub(super) fn again(&self, old: &Stay) -> Stay {
        let (own, prints) = old.group.subscriptions();
        self.stay(own.clone(), prints.to_vec(), old.set.clone())
    }

    /// A message on the control channel was received, by the one who has the desk. Gives what is to be handled from here on.
    pub fn control(&self, desk: &mut Desk, message: &[u8]) -> Vec<Ours> {
        let marker = match Marker::parse(message, &self.settings.place.signing_key) {
            Ok(marker) => marker,
            Err(error) => {
                desk.forged += 1;
                self.tell_forged(desk, error);
                return Vec::new();
            }
        };
        let Some(stay) = desk.current.as_mut() else { return Vec::new() };
        let (before, replayed) = (stay.group.stage(), stay.group.counts().replayed);
        if !stay.group.marker(&marker) {
            return Vec::new();
        }
        stay.behind = None;
        let (stage, epoch, members) = (stay.group.stage(), marker.epoch, marker.members.len());
        tracing::debug!(epoch, members, ?stage, departed = marker.departed.len(), "the group of replicas has changed");
        if (before, stage) == (Stage::Member, Stage::Member) {
            tell_change(&marker, stay.group.counts().replayed - replayed);
        }
        match stage {
            Stage::Member => self.announce(members, self.state.share_taken(members)),
            Stage::Expelled => self.expelled(desk),
            // A group that has forgotten everything does not name this replica yet.
            Stage::Outside => drop(self.state.share_missing(None)),
            Stage::Left => {}
        }
        if before != stage {
            self.changed.notify_waiters();
        }
        // Everybody tells at once where it stands now, so that nobody waits longer than need be for what moved to it.
        self.wake.notify_one();
        desk.current.as_mut().map(Stay::take_ready).unwrap_or_default()
    }

    pub(super) fn announce(&self, members: usize, missing: Option<Duration>) {
        let Some(missing) = missing else { return };
        if missing.is_zero() {
            tracing::info!("ready: shares the messages as one of {members}");
        } else {
            tracing::warn!(
                ?missing,
                "ready again: shares the messages as one of {members}; what was published while no replica was subscribed is lost"
            );
        }
    }

    fn tell_forged(&self, desk: &mut Desk, error: NoMarker) {
        const EVERY: Duration = Duration::from_secs(60);
        if desk.told_forged.is_none_or(|told| told.elapsed() > EVERY) {
            desk.told_forged = Some(Instant::now());
            tracing::warn!(channel = self.channel(), ignored = desk.forged, "a message on the control channel is ignored: {error}");
        }
    }

    /// The group has removed the present stay: a new one begins on the same connection.
    pub(super) fn expelled(&self, desk: &mut Desk) {
        let Some(mut old) = desk.current.take() else { return };
        old.revoke();
        desk.expulsions += 1;
        tracing::warn!(
            replica = %old.group.id(),
            "this replica was silent for too long, and others have taken over what it had not finished; it comes back as a new member"
        );
        self.state.share_missing(None);
        if !desk.is_leaving {
            desk.current = Some(self.again(&old));
        }
        desk.retire(old);
    }

    /// The connection broke, and with it the place in the order.
    pub fn disconnected(&self) {
        self.is_heard.store(false, Ordering::Release);
        self.desk().cut();
        self.state.share_missing(None);
        self.wake.notify_one();
        self.changed.notify_waiters();
    }

    /// The process stops: from the marker that follows on this replica owns nothing new. Waits for that marker, or until there is
    /// none to wait for.
    pub async fn leave(&self) {
        {
            let mut desk = self.desk();
            desk.is_leaving = true;
            match desk.current.take() {
                Some(stay) if !stay.has_joined => desk.retire(stay),
                Some(mut stay) => {
                    stay.wanted.push_back(Operation::Leave);
                    desk.current = Some(stay);
                }
                None => {}
            }
        }
        self.wake.notify_one();
        let patience = self.settings.limits.expiry * 3;
        let left = self.until(|desk| desk.is_stranger() || desk.current.as_ref().is_none_or(|stay| stay.group.stage() == Stage::Left));
        if tokio::time::timeout(patience, left).await.is_err() {
            tracing::warn!(
                "the group did not let this replica go within {patience:?}: what it is sent from now on is done by others once they miss it"
            );
        }
    }

    /// Waits until everything that this replica owned is finished.
    pub async fn finished(&self) {
        // The last message wakes the beats, which tell of the change.
        self.desk().stays().for_each(|stay| stay.group.holder().progress.watch());
        self.until(Desk::is_finished).await;
    }

    /// The time to finish is up: others do what is left of what they have as well, and the rest is handed out, to be counted and kept
    /// by whoever gives up the queues after this. Then nothing more is to be begun, so the right to do that is to be revoked of these.
    pub fn give_up(&self) -> Vec<Tenure> {
        let mut desk = self.desk();
        let own: Vec<Id> = desk.stays().map(|stay| stay.group.id().clone()).collect();
        let members = desk.stays().flat_map(|stay| stay.group.records()).filter(|record| record.is_member && !own.contains(&record.id));
        let heirs: BTreeSet<Id> = members.map(|record| record.id.clone()).collect();
        let present = desk.current.take();
        desk.former.extend(present);
        let mut ready = Vec::new();
        for stay in &mut desk.former {
            stay.group.give_up(heirs.clone());
            if !heirs.is_empty() {
                stay.wanted = [Operation::Gave].into();
            }
            ready.extend(stay.take_ready());
        }
        (self.deliver)(ready);
        let tenures = desk.stays().map(|stay| stay.group.holder().clone()).collect();
        drop(desk);
        self.wake.notify_one();
        tenures
    }

    /// Waits until the group knows that this replica is gone.
    pub async fn gone(&self) {
        self.stopping.store(true, Ordering::Release);
        {
            let mut desk = self.desk();
            if let Some(stay) = desk.current.take() {
                desk.former.push_back(stay);
            }
        }
        self.wake.notify_one();
        self.until(|desk| desk.is_stranger() || (desk.current.is_none() && desk.former.is_empty())).await;
    }

    /// What the group is to be told of what is tried after a crash: each stay, with the same word.
    pub(super) fn tried(&self) -> Vec<(Id, String)> {
        let ids: Vec<Id> = self.desk().stays().map(|stay| stay.group.id().clone()).collect();
        let text = self.trials.text();
        ids.into_iter().map(|id| (id, text.clone())).collect()
    }

    async fn until(&self, is: impl Fn(&Desk) -> bool) {
        until(&self.changed, || is(&self.desk()).then_some(())).await;
    }
}

/// What a marker changes for a replica that was a member and is one, which has taken over so many messages by it.
fn tell_change(marker: &Marker, taken_over: u64) {
    let members = marker.members.len();
    let dead: Vec<&str> = marker.departed.iter().filter(|one| one.how == Departure::Died).map(|one| &*one.id).collect();
    let dead = dead.join(" ");
    match taken_over {
        _ if dead.is_empty() => tracing::info!("shares the messages as one of {members}"),
        // After a restart of Redis these are stays of replicas that have come back as others.
        0 => tracing::info!(
            "{dead} was silent for too long and is forgotten; this one takes nothing over and shares the messages as one of {members}"
        ),
        _ => tracing::warn!(
            taken_over,
            "{dead} was silent for too long and is taken for dead: of what it had not finished, this one does {taken_over}; it shares the \
             messages as one of {members} now"
        ),
    }
}
