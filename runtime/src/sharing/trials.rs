//! Messages that may have brought a replica down are not begun before the group has heard of each, and the last try of each by itself, if
//! that does not take too long: so that whoever finds the next dead replica knows what it had in hand.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use spinredis_sharing::trial::{self, Trial};
use tokio::{sync::Notify, time::timeout};

use super::until::until;

/// So long a message waits to be tried without company. What brings a process down does so at once as a rule, and after this time
/// what is left of a long queue is tried side by side, so that a crash does not cost more than that.
const PATIENCE: Duration = Duration::from_secs(2);
/// So long a worker waits for its turn, and again until the group has heard of its message.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// What this replica has in hand of such messages, in all its stays in the group.
#[derive(Default)]
pub struct Trials {
    state: Mutex<State>,
    changed: Notify,
    /// Wakes the one who tells the group.
    wake: Notify,
    /// Such messages that are not finished.
    suspects: AtomicUsize,
}

#[derive(Default)]
struct State {
    trials: trial::Trials,
    /// The last change that the group has heard of.
    told: u64,
    /// The last change that somebody waits for.
    awaited: u64,
    /// Whether somebody waits for a turn.
    is_awaited: bool,
    /// Whether the group did not hear what it was told last.
    is_mute: bool,
}

/// Changes that the group has not heard of.
#[derive(Clone, Copy, Debug)]
pub struct Untold {
    /// The last of them: [`Trials::told`] takes it.
    pub change: u64,
    /// Whether a message waits for that.
    pub is_awaited: bool,
}

/// The right to have a message in hand: dropped at the end of its handler.
pub struct Turn {
    trials: Arc<Trials>,
    trial: Trial,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.trials.state().trials.end(self.trial);
        self.trials.changed.notify_waiters();
        self.trials.wake.notify_one();
    }
}

/// Why a message cannot be taken in hand now: a worker that waits handles nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// Another worker waits already, or the group does not hear.
    Taken,
    /// This one has waited long enough.
    WaitedInVain,
}

/// A worker waits for its turn.
struct Waiting<'a>(&'a Trials);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().is_awaited = false;
    }
}

impl Trials {
    /// Waits until a message that came into its queue at this time may be taken in hand and the group has heard of it.
    pub async fn turn(self: &Arc<Self>, trial: Trial, since: Instant) -> Result<Turn, NoTurn> {
        let (turn, change) = self.take_turn(trial, since + PATIENCE).await?;
        let told = self.until(|state| (state.told >= change).then_some(()));
        timeout(LONGEST_WAIT, told).await.map_err(|_| NoTurn::WaitedInVain)?;
        Ok(turn)
    }

    async fn take_turn(self: &Arc<Self>, trial: Trial, patient_until: Instant) -> Result<(Turn, u64), NoTurn> {
        let mut take = |state: &mut State| self.take(state, trial, patient_until);
        let taken = match self.now_or_waiting(&mut take).ok_or(NoTurn::Taken)? {
            Ok(taken) => taken,
            Err(_waiting) => {
                let patience = patient_until.saturating_duration_since(Instant::now());
                let wait = if patience.is_zero() { LONGEST_WAIT } else { patience.min(LONGEST_WAIT) };
                match timeout(wait, self.until(&mut take)).await {
                    Ok(taken) => taken,
                    // It may be begun beside others from now on, or its worker has waited long enough.
                    Err(_) => take(&mut self.state()).ok_or(NoTurn::WaitedInVain)?,
                }
            }
        };
        self.wake.notify_one();
        Ok(taken)
    }

    /// What can be taken now, or the right to wait for it; `None` when somebody waits already.
    fn now_or_waiting<T>(&self, take: &mut impl FnMut(&mut State) -> Option<T>) -> Option<Result<T, Waiting<'_>>> {
        let mut state = self.state();
        if state.is_awaited || state.is_mute {
            return None;
        }
        if let Some(taken) = take(&mut state) {
            return Some(Ok(taken));
        }
        state.is_awaited = true;
        Some(Err(Waiting(self)))
    }

    fn take(self: &Arc<Self>, state: &mut State, trial: Trial, patient_until: Instant) -> Option<(Turn, u64)> {
        state.trials.admits(trial, Instant::now() >= patient_until).then(|| {
            state.awaited = state.trials.begin(trial);
            (Turn { trials: self.clone(), trial }, state.awaited)
        })
    }

    /// There is one more of such messages, or one less.
    pub fn count(&self, is_new: bool) {
        match is_new {
            true => self.suspects.fetch_add(1, Ordering::Relaxed),
            false => self.suspects.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// How many there are.
    pub fn suspects(&self) -> usize {
        self.suspects.load(Ordering::Relaxed)
    }

    /// Waits until there may be something to tell.
    pub async fn news(&self) {
        self.wake.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        until(&self.changed, || look(&mut self.state())).await
    }

    /// What the group has not heard of yet.
    pub fn untold(&self) -> Option<Untold> {
        let state = self.state();
        let change = state.trials.changes();
        (change > state.told).then(|| Untold { change, is_awaited: state.awaited > state.told })
    }

    /// What each stay is to tell, as one word.
    pub fn text(&self) -> String {
        self.state().trials.text()
    }

    /// The group has heard of everything up to this change.
    pub fn told(&self, change: u64) {
        let mut state = self.state();
        (state.told, state.is_mute) = (change, false);
        drop(state);
        self.changed.notify_waiters();
    }

    /// The group did not hear: nothing is tried until it does.
    pub fn unheard(&self) {
        self.state().is_mute = true;
    }

    /// The group may have forgotten what it was told.
    pub fn tell_again(&self) {
        self.state().trials.changed();
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use spinredis_sharing::{trial::Company, wire::Place};

    use super::*;

    fn trial(position: u64, company: Company) -> Trial {
        Trial { place: Place { epoch: 1, class: 1, position }, company }
    }

    #[tokio::test]
    async fn a_message_is_begun_when_the_group_has_heard_of_it_and_the_next_when_it_has_ended() {
        let trials: Arc<Trials> = Arc::default();
        let begin = |position| {
            let trials = trials.clone();
            let since = Instant::now() + Duration::from_secs(3600);
            tokio::spawn(async move { trials.turn(trial(position, Company::NoneAtFirst), since).await })
        };
        let told = || (trials.text(), trials.untold());
        let first = begin(1);
        tokio::task::yield_now().await;
        let (text, untold) = told();
        assert!(text == "1.1.1" && untold.unwrap().is_awaited && !first.is_finished());
        trials.told(untold.unwrap().change);
        let turn = first.await.unwrap();
        let second = begin(2);
        tokio::task::yield_now().await;
        assert!(told().1.is_none());
        assert!(begin(3).await.unwrap().err() == Some(NoTurn::Taken), "one waits already");
        drop(turn);
        tokio::task::yield_now().await;
        let (text, untold) = told();
        assert_eq!(text, "1.1.2");
        trials.told(untold.unwrap().change);
        drop(second.await.unwrap());
        let (text, untold) = told();
        assert!(text == "-" && !untold.unwrap().is_awaited);
    }

    #[tokio::test]
    async fn one_that_has_waited_long_enough_is_begun_beside_another() {
        let trials: Arc<Trials> = Arc::default();
        let long_ago = Instant::now().checked_sub(PATIENCE).unwrap();
        let one = trials.take_turn(trial(1, Company::NoneAtFirst), long_ago).await.unwrap();
        let other = trials.take_turn(trial(2, Company::NoneAtFirst), long_ago).await.unwrap();
        assert_eq!(trials.text(), "1.1.1,1.1.2");
        drop((one, other));
    }

    #[tokio::test]
    async fn a_group_that_does_not_hear_holds_no_worker() {
        let trials: Arc<Trials> = Arc::default();
        assert!(
            trials.turn(trial(1, Company::Any), Instant::now()).await.err() == Some(NoTurn::WaitedInVain),
            "it is not told within the time"
        );
        assert_eq!(trials.text(), "-");
        trials.unheard();
        assert!(trials.take_turn(trial(2, Company::Any), Instant::now()).await.err() == Some(NoTurn::Taken));
        trials.told(trials.untold().unwrap().change);
        assert!(trials.take_turn(trial(2, Company::Any), Instant::now()).await.is_ok());
    }
}
