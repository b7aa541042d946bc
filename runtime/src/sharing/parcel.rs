//! A message as it is kept while it is undecided who handles it, and what goes with one that this replica handles.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use spinredis_crds::defaults::QUEUE_ENTRY_OVERHEAD;
use spinredis_sharing::{progress::Claim, ring, trial::Trial};
use tokio::time::timeout;

use super::{
    tenure::Tenure,
    trials::{NoTurn, Trials, Turn},
};
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
    /// See [`Message::beyond`](crate::queue::Message::beyond).
    pub beyond: u64,
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
    /// Where it is counted.
    trials: Arc<Trials>,
    crashes: u32,
    trial: Trial,
    /// When it came into the queues.
    since: Instant,
    advances: Mutex<BTreeMap<String, Advance>>,
}

/// Whether a message may be begun.
pub enum Beginning {
    /// It is.
    Begun(Begun),
    /// Not before this time: others wait already, and a worker that waits handles nothing else.
    Later(Duration),
    /// Others handle it.
    Moved,
}

/// A message that was begun: to be kept until its handler has ended.
pub struct Begun {
    _turn: Option<Turn>,
}

/// A worker waits for the lease.
struct Waiting<'a>(&'a Tenure);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.is_awaited.store(false, Ordering::Release);
    }
}

/// Until a message is looked at again that replicas have died with, while another of those waits for its turn. With many of them it is
/// longer, so that looking at all takes no more than a tenth of a processor.
fn until_a_turn(suspects: usize) -> Duration {
    const EACH: Duration = Duration::from_micros(10);
    let all = EACH.saturating_mul(u32::try_from(suspects).unwrap_or(u32::MAX));
    all.clamp(Duration::from_millis(5), Duration::from_secs(5))
}

/// So long a worker waits until the group certainly counts on this replica, and until a message is looked at again while it does not: so an
/// app's messages from another server go on.
const UNTIL_A_LEASE: Duration = Duration::from_millis(500);

impl Owned {
    /// Of a message that so many replicas have died with.
    pub(super) fn new(claim: Claim<Tenure>, crashes: u32, trial: Option<Trial>) -> Self {
        let suspect = |trial| {
            let trials = claim.holder().trials.clone();
            trials.count(true);
            Box::new(Suspect { trials, crashes, trial, since: Instant::now(), advances: Mutex::default() })
        };
        let suspect = trial.map(suspect);
        Self(Copies::One(Whole { claim, suspect }))
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

    /// Whether it may be begun now, if there is nothing to wait for.
    pub fn begin_at(&self, now: Instant) -> Option<Beginning> {
        let claim = self.claim();
        let may_begin = self.suspect().is_none() && claim.holder().lease.holds_at(now) && !claim.is_handed_over();
        may_begin.then_some(Beginning::Begun(Begun { _turn: None }))
    }

    /// Waits until the group certainly counts on us, and, when its handler `is_called` and replicas have died with the message, until the
    /// group has heard that it is tried. Only one worker waits for each, and none for long.
    pub async fn begin(&self, is_called: bool) -> Beginning {
        let tenure = self.claim().holder();
        let mut turn = None;
        if let Some(suspect) = self.suspect().filter(|_| is_called) {
            let taken = tokio::select! {
                taken = suspect.trials.turn(suspect.trial, suspect.since) => taken,
                () = tenure.lease.revoked() => return Beginning::Moved,
            };
            match taken {
                Ok(taken) => turn = Some(taken),
                Err(NoTurn::Taken) => return Beginning::Later(until_a_turn(suspect.trials.suspects())),
                Err(NoTurn::WaitedInVain) => return Beginning::Later(UNTIL_A_LEASE),
            }
        }
        if !tenure.lease.holds() && !tenure.lease.is_revoked() {
            if tenure.is_far_away.load(Ordering::Acquire) || tenure.is_awaited.swap(true, Ordering::AcqRel) {
                return Beginning::Later(UNTIL_A_LEASE);
            }
            let _waiting = Waiting(tenure);
            if timeout(UNTIL_A_LEASE, tenure.lease.granted()).await.is_err() {
                tenure.is_far_away.store(true, Ordering::Release);
                return Beginning::Later(UNTIL_A_LEASE);
            }
        }
        match tenure.lease.is_revoked() || self.claim().is_handed_over() {
            true => Beginning::Moved,
            false => Beginning::Begun(Begun { _turn: turn }),
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

impl Drop for Suspect {
    fn drop(&mut self) {
        self.trials.count(false);
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
