//! A message as it is kept while it is undecided who handles it, and what goes with one that this replica handles.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use spinredis_crds::defaults::QUEUE_ENTRY_OVERHEAD;
use spinredis_sharing::{progress::Claim, ring, trial::Trial};

use super::{tenure::Tenure, trials::Turn};
use crate::dead_letters::advance::Advance;

/// A message that was received by a subscription, before it is put into queues.
#[derive(Debug)]
pub struct Parcel {
    /// The subscription, as [`Routes`](crate::redis::routes::Routes) number theirs.
    pub subscription: usize,
    /// The channel.
    pub channel: Arc<str>,
    /// What was published.
    pub payload: Bytes,
    /// When it was received.
    pub received: Instant,
    /// The same by the clock on the wall.
    pub first_received: SystemTime,
    /// After so many crashes the most impatient of its components gives it up.
    pub most_crashes: u32,
}

impl ring::Parcel for Parcel {
    type Holder = Tenure;

    fn bytes(&self) -> u64 {
        (self.payload.len() + self.channel.len()) as u64 + QUEUE_ENTRY_OVERHEAD
    }

    fn most_crashes(&self) -> u32 {
        self.most_crashes
    }
}

/// Goes with a message that this replica owns, to its end.
pub struct Owned(Copies);

/// Most messages are for one component, and spared an allocation.
enum Copies {
    One(Whole),
    Several(Arc<Whole>),
}

struct Whole {
    claim: Claim<Tenure>,
    /// Of one that replicas have died with.
    suspect: Option<Box<Suspect>>,
}

struct Suspect {
    crashes: u32,
    trial: Trial,
    /// When it came into the queues.
    since: Instant,
    advances: Mutex<BTreeMap<String, Advance>>,
}

/// The right to begin a message, to be kept until its handler has ended.
pub struct Begun {
    _turn: Option<Turn>,
}

impl Owned {
    /// Of a message that so many replicas have died with.
    pub(super) fn new(claim: Claim<Tenure>, crashes: u32, trial: Option<Trial>) -> Self {
        let suspect = |trial| Box::new(Suspect { crashes, trial, since: Instant::now(), advances: Mutex::default() });
        Self(Copies::One(Whole { claim, suspect: trial.map(suspect) }))
    }

    /// So many, one for each component that handles the message.
    pub fn copies(self, count: usize) -> impl Iterator<Item = Self> {
        let (one, several) = match self.0 {
            Copies::One(whole) if count == 1 => (Some(Self(Copies::One(whole))), None),
            Copies::One(whole) => (None, Some(Arc::new(whole))),
            Copies::Several(whole) => (None, Some(whole)),
        };
        let several = several.into_iter().flat_map(move |whole| std::iter::repeat_n(whole, count));
        one.into_iter().chain(several.map(|whole| Self(Copies::Several(whole))))
    }

    fn whole(&self) -> &Whole {
        match &self.0 {
            Copies::One(whole) => whole,
            Copies::Several(whole) => whole,
        }
    }

    fn claim(&self) -> &Claim<Tenure> {
        &self.whole().claim
    }

    fn suspect(&self) -> Option<&Suspect> {
        self.whole().suspect.as_deref()
    }

    /// How many replicas died while they may have been handling it.
    pub fn crashes(&self) -> u32 {
        self.suspect().map_or(0, |suspect| suspect.crashes)
    }

    /// The right to begin it now, if there is nothing to wait for.
    pub fn begin_at(&self, now: Instant) -> Option<Begun> {
        let claim = self.claim();
        let may_begin = self.suspect().is_none() && claim.holder().lease.holds_at(now) && !claim.is_handed_over();
        may_begin.then_some(Begun { _turn: None })
    }

    /// Waits until the group certainly counts on us, and, when its handler `is_called` and replicas have died with the message, until the
    /// group has heard that it is tried. `None` when others handle it.
    pub async fn begin(&self, is_called: bool) -> Option<Begun> {
        let turn = match self.suspect().filter(|_| is_called) {
            Some(suspect) => Some(self.turn(suspect).await?),
            None => None,
        };
        let may_begin = self.claim().holder().lease.granted().await && !self.claim().is_handed_over();
        may_begin.then_some(Begun { _turn: turn })
    }

    async fn turn(&self, suspect: &Suspect) -> Option<Turn> {
        let tenure = self.claim().holder();
        tokio::select! {
            turn = tenure.turn(suspect.trial, suspect.since) => Some(turn),
            () = tenure.lease.revoked() => None,
        }
    }

    /// Takes back the dead letter that a component left in advance of it.
    pub fn take_advance(&self, component: &str) -> Option<Advance> {
        self.suspect()?.advances().remove(component)
    }

    /// Whether a dead letter is to be left in advance of it, by this component: a replica has died with it, no other has it any more, and
    /// the component has left none.
    pub fn wants_advance(&self, component: &str) -> bool {
        self.claim().is_last() && self.suspect().is_some_and(|suspect| !suspect.advances().contains_key(component))
    }

    /// A component has left a dead letter in advance.
    pub fn keep_advance(&self, component: &str, advance: Advance) {
        if let Some(suspect) = self.suspect() {
            suspect.advances().insert(component.to_owned(), advance);
        }
    }

    /// Whether it is left to others: they have taken over, or this replica has given up and somebody is there who has the message too.
    pub fn is_handed_over(&self) -> bool {
        self.claim().holder().lease.is_revoked() || self.claim().is_handed_over()
    }
}

impl Suspect {
    fn advances(&self) -> MutexGuard<'_, BTreeMap<String, Advance>> {
        self.advances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Owned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owned").field("crashes", &self.crashes()).finish_non_exhaustive()
    }
}
