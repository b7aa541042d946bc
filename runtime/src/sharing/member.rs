//! This replica in its group on one server: its present stay, and earlier ones that still have something to finish.
//!
//! A stay begins when everything is subscribed and ends when its place in the order of messages is lost: the connection breaks, the
//! subscriptions change, or the group has removed it. What was received goes on to its end all the same, so an earlier stay goes
//! on telling what it has finished until it can say that it is done.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use rand::RngExt;
use spinredis_crds::Reason;
use spinredis_sharing::{
    group::{Counts, Delivery, Group, Stage, Taken},
    progress::Progress,
    script::Operation,
    share::{Print, Subscriptions},
    wire::{Marker, NoMarker, Reply, Report, Standing},
};
use tokio::sync::Notify;

use super::{
    Settings,
    lease::Lease,
    parcel::{Owned, Parcel},
};
use crate::redis::state::SubscriptionState;

/// One stay in the group.
pub(super) struct Stay {
    pub(super) group: Group<Parcel>,
    pub(super) lease: Arc<Lease>,
    progress: Arc<Progress>,
    /// What it is to tell the group beside that it lives, in this order.
    wanted: VecDeque<Operation>,
    /// Whether it has asked to be a member.
    has_joined: bool,
    /// Whether its connection broke.
    has_been_cut: bool,
    /// Whether the group has forgotten everything and was not told yet who there was.
    is_reborn: bool,
    /// The name and the text of what it subscribes to.
    pub(super) set: (String, String),
    /// The group's birth, as it last heard of it.
    pub(super) birth: String,
    /// Since when it knows of a marker that has not come.
    behind: Option<Instant>,
}

/// A message for the queues, with what goes with it to its end.
pub type Ours = (Parcel, Arc<Owned>, u32);

impl Stay {
    /// What it tells the group now; `None` when there is nothing to tell yet.
    fn operation(&self, is_leaving: bool) -> Operation {
        let has_left = self.group.stage() == Stage::Left || is_leaving;
        match self.wanted.front() {
            Some(operation) => *operation,
            None if has_left && self.group.is_finished() => Operation::Final,
            None => Operation::Beat,
        }
    }

    /// Whether there is something to tell that need not wait for the next beat.
    pub(super) fn has_news(&self, is_leaving: bool) -> bool {
        self.operation(is_leaving) != Operation::Beat || self.group.wants_beat()
    }

    fn ours(&self, delivery: Delivery<Parcel>) -> Ours {
        let Delivery { parcel, claim, crashes } = delivery;
        (parcel, Arc::new(Owned::new(self.lease.clone(), self.progress.clone(), claim)), crashes)
    }

    fn take_ready(&mut self) -> Vec<Ours> {
        let ready = self.group.take_ready();
        ready.into_iter().map(|delivery| self.ours(delivery)).collect()
    }

    fn revoke(&mut self) {
        self.group.expelled();
        self.lease.revoke();
    }
}

/// What one stay tells.
pub(super) struct Told {
    pub(super) id: String,
    pub(super) operation: Operation,
    pub(super) set: (String, String),
    pub(super) birth: String,
    pub(super) epoch: u64,
    pub(super) report: Report,
    pub(super) known: String,
}

/// What both sides work on, one at a time.
#[derive(Default)]
pub struct Desk {
    pub(super) current: Option<Stay>,
    pub(super) former: VecDeque<Stay>,
    pub(super) is_leaving: bool,
    /// What happened in stays that are over.
    pub(super) past: Counts,
    pub(super) past_overflowed: u64,
    pub(super) expulsions: u64,
    pub(super) cuts: u64,
    pub(super) forged: u64,
    pub(super) beats: u64,
    pub(super) failed_beats: u64,
    /// When a message on the control channel that is no marker was named in the log last.
    told_forged: Option<Instant>,
}

impl Desk {
    /// A message was received. Gives it back when this replica handles it, now.
    pub fn message(&mut self, subscription: usize, channel: &[u8], payload: &[u8], make: impl FnOnce() -> Parcel) -> Option<Ours> {
        let stay = self.current.as_mut()?;
        match stay.group.message(subscription, channel, payload, make) {
            Taken::Ours(delivery) => Some(stay.ours(delivery)),
            Taken::Kept => None,
        }
    }

    /// A message that is too large was received. Whether this replica counts it.
    pub fn too_large(&mut self, subscription: usize, channel: &[u8]) -> bool {
        self.current.as_mut().is_some_and(|stay| stay.group.too_large(subscription, channel))
    }

    fn retire(&mut self, stay: Stay) {
        let Counts { owned, others, replayed, hurried } = stay.group.counts();
        self.past.owned += owned;
        self.past.others += others;
        self.past.replayed += replayed;
        self.past.hurried += hurried;
        self.past_overflowed += stay.group.ring().overflowed();
    }

    /// The present stay has lost its place.
    fn cut(&mut self) {
        let Some(mut stay) = self.current.take() else { return };
        self.cuts += u64::from(stay.group.stage() != Stage::Outside);
        stay.group.cut();
        stay.has_been_cut = true;
        if !stay.has_joined {
            return self.retire(stay);
        }
        stay.wanted.push_back(Operation::Cut);
        self.former.push_back(stay);
    }

    /// Whether everything of all stays is finished.
    fn is_finished(&self) -> bool {
        self.stays().all(|stay| stay.group.is_finished())
    }

    pub(super) fn stays(&self) -> impl Iterator<Item = &Stay> {
        self.current.iter().chain(&self.former)
    }

    pub(super) fn stay_mut(&mut self, id: &str) -> Option<&mut Stay> {
        self.current.iter_mut().chain(&mut self.former).find(|stay| &**stay.group.id() == id)
    }
}

/// This replica's part in sharing the messages of one server.
pub struct Sharing {
    pub(super) settings: Settings,
    desk: Mutex<Desk>,
    state: Arc<SubscriptionState>,
    /// Puts messages into the queues.
    deliver: Box<dyn Fn(Vec<Ours>) + Send + Sync>,
    /// Wakes the beats.
    pub(super) wake: Arc<Notify>,
    /// Something that others wait for has changed.
    pub(super) changed: Notify,
    stopping: AtomicBool,
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
        let channel = self.channel();
        let message = format!(
            "Redis refuses the control channel {channel} ({error}), without which replicas cannot share messages: permit it for this user \
             (ACL SETUSER … &{channel} +subscribe), or set delivery: EachReplica"
        );
        if self.state.share_missing(Some((Reason::RedisPermission, message.clone()))) {
            tracing::warn!("{message}");
        }
    }

    /// Whether the control channel is subscribed.
    pub fn is_heard(&self) -> bool {
        self.is_heard.load(Ordering::Acquire)
    }

    pub(super) fn state(&self) -> &SubscriptionState {
        &self.state
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
        desk.cut();
        let stay = self.stay(own, prints.iter().map(|(print, _, _)| *print).collect(), set);
        desk.current = Some(stay);
        drop(desk);
        self.wake.notify_one();
    }

    fn stay(&self, own: Subscriptions, prints: Vec<Print>, set: (String, String)) -> Stay {
        let id = format!("{}.{:08x}", self.settings.replica, rand::rng().random::<u32>());
        let wake = self.wake.clone();
        let progress = Arc::new(Progress::new(move || wake.notify_one()));
        let group = Group::new(id.into(), own, prints, self.settings.limits.ring_bytes, progress.clone());
        Stay {
            group,
            lease: Arc::default(),
            progress,
            wanted: [Operation::Join].into(),
            has_joined: false,
            has_been_cut: false,
            is_reborn: false,
            set,
            birth: String::new(),
            behind: None,
        }
    }

    /// The same subscriptions in a new stay, after the group has removed the one before.
    fn again(&self, old: &Stay) -> Stay {
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
        let before = stay.group.stage();
        if !stay.group.marker(&marker) {
            return Vec::new();
        }
        let (stage, epoch, members) = (stay.group.stage(), marker.epoch, marker.members.len());
        tracing::debug!(epoch, members, ?stage, departed = marker.departed.len(), "the group of replicas has changed");
        match stage {
            Stage::Member => self.announce(members, self.state.share_taken(members)),
            Stage::Expelled => self.expelled(desk),
            Stage::Left | Stage::Outside => {}
        }
        if before != stage {
            self.changed.notify_waiters();
        }
        // Everybody tells at once where it stands now, so that nobody waits longer than need be for what moved to it.
        self.wake.notify_one();
        desk.current.as_mut().map(Stay::take_ready).unwrap_or_default()
    }

    fn announce(&self, members: usize, missing: Option<std::time::Duration>) {
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
        const EVERY: std::time::Duration = std::time::Duration::from_secs(60);
        if desk.told_forged.is_none_or(|told| told.elapsed() > EVERY) {
            desk.told_forged = Some(Instant::now());
            tracing::warn!(channel = self.channel(), ignored = desk.forged, "a message on the control channel is ignored: {error}");
        }
    }

    /// The group has removed the present stay: a new one begins on the same connection.
    fn expelled(&self, desk: &mut Desk) {
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
        let left = self.until(|desk| desk.current.as_ref().is_none_or(|stay| stay.group.stage() == Stage::Left));
        if tokio::time::timeout(patience, left).await.is_err() {
            tracing::warn!(
                "the group did not let this replica go within {patience:?}: what it is sent from now on is done by others once they miss it"
            );
        }
    }

    /// Waits until everything that this replica owned is finished.
    pub async fn finished(&self) {
        // The last message wakes the beats, which tell of the change.
        self.desk().stays().for_each(|stay| stay.progress.watch());
        self.until(Desk::is_finished).await;
    }

    /// The time to finish is up: others, if there are any, do what is left. Returns whether there are.
    pub fn give_up(&self) -> bool {
        let mut desk = self.desk();
        let others = desk.stays().any(|stay| stay.group.records().iter().any(|record| record.is_member && record.id != *stay.group.id()));
        let stays = desk.current.take().into_iter().chain(std::mem::take(&mut desk.former)).collect::<Vec<_>>();
        let mut ready = Vec::new();
        for mut stay in stays {
            if others {
                stay.progress.freeze();
                stay.group.abandon();
                stay.wanted = [Operation::Gave].into();
            } else {
                stay.group.hurry();
                ready.extend(stay.take_ready());
            }
            desk.former.push_back(stay);
        }
        (self.deliver)(ready);
        drop(desk);
        self.wake.notify_one();
        others
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
        self.until(|desk| desk.current.is_none() && desk.former.is_empty()).await;
    }

    async fn until(&self, is: impl Fn(&Desk) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if is(&self.desk()) {
                return;
            }
            changed.await;
        }
    }

    /// The group answered a stay.
    pub(super) fn answered(&self, id: &str, operation: Operation, sent: (&Report, Instant), reply: &Reply) {
        let mut desk = self.desk();
        desk.beats += 1;
        let is_current = desk.current.as_ref().is_some_and(|stay| &**stay.group.id() == id);
        let Some(stay) = desk.stay_mut(id) else { return };
        match reply.standing {
            Standing::Unknown | Standing::Reborn if matches!(operation, Operation::Final | Operation::Gave) => {
                self.drop_stay(&mut desk, id)
            }
            Standing::Unknown if is_current => self.expelled(&mut desk),
            Standing::Unknown => {
                stay.revoke();
                desk.expulsions += 1;
                self.drop_stay(&mut desk, id);
            }
            Standing::Reborn => self.reborn(&mut desk, id, is_current, reply),
            Standing::Known => {
                stay.birth.clone_from(&reply.birth);
                if matches!(operation, Operation::Final | Operation::Gave) {
                    self.drop_stay(&mut desk, id);
                } else {
                    stay.lease.extend(sent.1, self.settings.limits.expiry);
                    stay.is_reborn = false;
                    // What came up meanwhile is still to be told.
                    stay.wanted.pop_front_if(|told| *told == operation);
                    stay.group.reply(reply, sent.0);
                    if is_current && stay.group.stage() == Stage::Member {
                        self.announce(stay.group.members(), self.state.share_taken(stay.group.members()));
                    }
                    let behind =
                        stay.group.stage() == Stage::Member && reply.epoch > stay.group.epoch() || stay.group.stage() == Stage::Outside;
                    stay.behind = behind.then(|| stay.behind.unwrap_or_else(Instant::now));
                    let ready = stay.take_ready();
                    (self.deliver)(ready);
                }
            }
        }
        let is_leaving = desk.is_leaving;
        if desk.current.iter().any(|stay| stay.has_news(is_leaving)) || desk.former.iter().any(|stay| stay.has_news(false)) {
            self.wake.notify_one();
        }
        drop(desk);
        self.changed.notify_waiters();
    }

    /// The group has forgotten everything. Where the connection lived through that, so did the place in the order.
    fn reborn(&self, desk: &mut Desk, id: &str, is_current: bool, reply: &Reply) {
        let is_leaving = desk.is_leaving;
        let Some(stay) = desk.stay_mut(id) else { return };
        let same_server = stay.birth.is_empty() || stay.birth.split('-').next() == Some(reply.run());
        stay.birth.clone_from(&reply.birth);
        stay.is_reborn = true;
        if stay.wanted.front() == Some(&Operation::Gave) {
            return;
        }
        let is_present = is_current && same_server && !is_leaving;
        if stay.group.epoch() == 0 && !is_present {
            return self.drop_stay(desk, id);
        }
        if is_current && !same_server && !is_leaving {
            // Another server answers than the one this stay began on.
            let again = desk.current.as_ref().map(|stay| self.again(stay));
            desk.cut();
            desk.current = again;
            self.state.share_missing(None);
        }
        let Some(stay) = desk.stay_mut(id) else { return };
        stay.wanted = [if is_present { Operation::Join } else { Operation::Return }].into();
        if stay.has_been_cut {
            stay.wanted.push_back(Operation::Cut);
        }
    }

    fn drop_stay(&self, desk: &mut Desk, id: &str) {
        if let Some(place) = desk.former.iter().position(|stay| &**stay.group.id() == id)
            && let Some(stay) = desk.former.remove(place)
        {
            desk.retire(stay);
        } else if desk.current.as_ref().is_some_and(|stay| &**stay.group.id() == id)
            && let Some(stay) = desk.current.take()
        {
            desk.retire(stay);
        }
    }

    /// What each stay is to tell the group now.
    pub(super) fn told(&self) -> Vec<Told> {
        let mut desk = self.desk();
        let is_stopping = self.stopping.load(Ordering::Acquire);
        let is_leaving = desk.is_leaving;
        let present = desk.current.iter_mut().map(|stay| (stay, is_leaving && is_stopping));
        let told = |(stay, is_leaving): (&mut Stay, bool)| {
            let operation = stay.operation(is_leaving);
            stay.has_joined |= operation == Operation::Join;
            Told {
                id: stay.group.id().to_string(),
                operation,
                set: stay.set.clone(),
                birth: stay.birth.clone(),
                epoch: stay.group.epoch(),
                report: stay.group.report(),
                known: if stay.is_reborn { stay.group.known() } else { String::new() },
            }
        };
        let mut all: Vec<Told> = present.map(told).collect();
        all.extend(desk.former.iter_mut().map(|stay| told((stay, is_stopping))));
        all
    }

    /// Since when a marker is missing that the present stay knows of; `None` when none is.
    pub(super) fn behind(&self) -> Option<Instant> {
        self.desk().current.as_ref().and_then(|stay| stay.behind)
    }
}
