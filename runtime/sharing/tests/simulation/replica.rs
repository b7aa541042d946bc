//! Pods and their stays in the group, as the edge of the runtime runs them: one loop for each stay that beats, and one queue for each
//! pod that begins messages while the lease of their stay lasts.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use spinredis_sharing::{
    group::{Delivery, Group, Stage},
    progress::Progress,
    ring::Parcel,
    script::Operation,
    share::{Print, Subscriptions},
    trial::Trials,
};

use crate::plan::{Plan, SUBSCRIPTIONS};

/// A message by one of the subscriptions it came by: number, and subscription.
pub type Key = (u32, usize);

/// What was let go, with nobody having been told to handle it.
pub type Drops = Rc<RefCell<Vec<Key>>>;

/// A message as a replica keeps it.
pub struct Message {
    pub key: Key,
    pub channel: usize,
    pub poison: bool,
    pub most_crashes: u32,
    /// Taken when it is handed out.
    pub drops: Option<Drops>,
}

impl Parcel for Message {
    type Holder = Arc<Progress>;

    fn bytes(&self) -> u64 {
        20
    }

    fn most_crashes(&self) -> u32 {
        self.most_crashes
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        if let Some(drops) = &self.drops {
            drops.borrow_mut().push(self.key);
        }
    }
}

/// One stay in the group.
pub struct Stay {
    pub id: Arc<str>,
    pub pod: usize,
    pub set: String,
    pub set_text: String,
    pub group: Group<Message>,
    pub progress: Arc<Progress>,
    pub connection: Option<usize>,
    pub birth: String,
    /// Operations to be called before it beats again.
    pub wanted: VecDeque<Operation>,
    pub is_calling: bool,
    pub has_joined: bool,
    /// Whether a marker has said that it departed.
    pub has_departed: bool,
    /// Whether the group has forgotten it.
    pub is_reborn: bool,
    pub has_been_cut: bool,
    pub has_timer: bool,
    /// Nothing is begun from this time on.
    pub lease: u64,
    /// Its name in Redis is gone, or it is.
    pub is_over: bool,
    /// Whether it was killed, removed or gave up: others may handle what it has handled.
    pub is_lost: bool,
    /// Whether it was lost before Redis forgot everything, that it is dead too: should it live, it may go on with what it has.
    pub is_excused: bool,
    /// Whether it has stopped receiving.
    pub is_deaf: bool,
    pub wake: Arc<AtomicBool>,
}

impl Stay {
    pub fn new(id: Arc<str>, pod: usize, plan: &Plan, generation: usize, connection: usize) -> Self {
        let wake = Arc::new(AtomicBool::new(false));
        let waker = wake.clone();
        let progress = Arc::new(Progress::new(move || waker.store(true, Ordering::Relaxed)));
        let (own, prints) = (own(plan, generation), prints(plan, generation));
        let (set, set_text) = (own.name(), own.text());
        let group = Group::new(id.clone(), own, prints, plan.ring_bytes, progress.clone());
        let group = group.with_most_unsettled([64, 0, 2][usize::try_from(plan.seed % 3).unwrap()]);
        Self {
            id,
            pod,
            set,
            set_text,
            group,
            progress,
            connection: Some(connection),
            birth: String::new(),
            wanted: VecDeque::new(),
            is_calling: false,
            has_joined: false,
            has_departed: false,
            is_reborn: false,
            has_been_cut: false,
            has_timer: false,
            lease: 0,
            is_over: false,
            is_lost: false,
            is_excused: false,
            is_deaf: false,
            wake,
        }
    }

    /// Whether it only finishes.
    pub fn is_leaving(&self) -> bool {
        self.group.stage() == Stage::Left
    }
}

/// The subscriptions of a generation, by the numbers it gives them.
pub fn subscriptions(plan: &Plan, generation: usize) -> Vec<usize> {
    (0..SUBSCRIPTIONS.len()).filter(|subscription| has(plan, generation, *subscription)).collect()
}

/// Whether that generation has that subscription.
pub fn has(plan: &Plan, generation: usize, subscription: usize) -> bool {
    plan.generations[generation] & (1 << subscription) != 0
}

pub fn prints(plan: &Plan, generation: usize) -> Vec<Print> {
    subscriptions(plan, generation).iter().map(|subscription| print(*subscription)).collect()
}

pub fn print(subscription: usize) -> Print {
    let (name, is_pattern) = SUBSCRIPTIONS[subscription];
    Print::of(name, is_pattern)
}

pub fn own(plan: &Plan, generation: usize) -> Subscriptions {
    let all = subscriptions(plan, generation);
    Subscriptions::new(all.iter().map(|subscription| (print(*subscription), plan.ordered[*subscription])))
}

/// A message that is queued or handled in a pod.
pub struct Work {
    pub stay: usize,
    pub delivery: Delivery<Message>,
    pub number: u64,
    /// When it came into the queue.
    pub since: u64,
    /// It is begun when the group has heard of this change.
    pub once_told: Option<u64>,
    pub is_begun: bool,
    /// Whether it is looked at again when it has waited long enough to be tried in company.
    pub is_timed: bool,
}

/// A pod: one process.
pub struct Pod {
    pub generation: usize,
    pub is_alive: bool,
    pub paused_until: u64,
    pub is_leaving: bool,
    pub current: usize,
    pub queue: VecDeque<Work>,
    /// What is tried after a crash, and the last change of it that the group has heard of.
    pub trials: Trials,
    pub told: u64,
    pub is_telling: bool,
    pub running: Vec<Work>,
    pub stays: Vec<usize>,
}
