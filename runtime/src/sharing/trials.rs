//! Messages that may have brought a replica down are begun one by one, and not before the group has heard of each: so that whoever
//! finds the next dead replica knows what it had in hand.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use spinredis_sharing::trial::{self, Trial};
use tokio::{sync::Notify, time::sleep_until};

use super::tenure::Tenure;

/// So long a message waits to be tried without company. What brings a process down does so at once as a rule, and after this time
/// what is left of a long queue is tried side by side, so that a crash does not cost more than that.
const PATIENCE: Duration = Duration::from_secs(2);

/// What one stay has in hand of such messages.
pub struct Trials {
    state: Mutex<State>,
    changed: Notify,
    /// Wakes the one who tells the group.
    wake: Arc<Notify>,
}

#[derive(Default)]
struct State {
    trials: trial::Trials,
    /// The last change that the group has heard of.
    told: u64,
    /// The last change that somebody waits for.
    awaited: u64,
}

/// What is to be told.
pub struct Untold {
    /// The places, as one word.
    pub text: String,
    /// [`Trials::told`] takes it.
    pub change: u64,
    /// Whether a message waits for that.
    pub is_awaited: bool,
}

/// The right to have a message in hand: dropped at the end of its handler.
pub struct Turn {
    tenure: Tenure,
    trial: Trial,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let trials = &self.tenure.trials;
        trials.state().trials.end(self.trial);
        trials.changed.notify_waiters();
        trials.wake.notify_one();
    }
}

impl Tenure {
    /// Waits until a message that came into its queue at this time may be taken in hand and the group has heard of it.
    pub async fn turn(&self, trial: Trial, since: Instant) -> Turn {
        let (turn, change) = self.take_turn(trial, since + PATIENCE).await;
        self.trials.until(|state| (state.told >= change).then_some(())).await;
        turn
    }

    async fn take_turn(&self, trial: Trial, patient_until: Instant) -> (Turn, u64) {
        let take = |state: &mut State| {
            state.trials.admits(trial, Instant::now() >= patient_until).then(|| {
                state.awaited = state.trials.begin(trial);
                (Turn { tenure: self.clone(), trial }, state.awaited)
            })
        };
        let taken = tokio::select! {
            taken = self.trials.until(take) => taken,
            () = sleep_until(patient_until.into()) => self.trials.until(take).await,
        };
        self.trials.wake.notify_one();
        taken
    }
}

impl Trials {
    /// Nothing in hand. `wake` wakes the one who tells the group.
    pub fn new(wake: Arc<Notify>) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), wake }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Before the look, so that a change after it is not missed.
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.state()) {
                return found;
            }
            changed.await;
        }
    }

    /// What the group has not heard of yet.
    pub fn untold(&self) -> Option<Untold> {
        let state = self.state();
        let change = state.trials.changes();
        (change > state.told).then(|| Untold { text: state.trials.text(), change, is_awaited: state.awaited > state.told })
    }

    /// The group has heard of everything up to this change.
    pub fn told(&self, change: u64) {
        self.state().told = change;
        self.changed.notify_waiters();
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

    fn tenure() -> Tenure {
        Tenure::new(Arc::default(), Arc::default())
    }

    #[tokio::test]
    async fn a_message_is_begun_when_the_group_has_heard_of_it_and_the_next_when_it_has_ended() {
        let tenure = tenure();
        let begin = |position| {
            let tenure = tenure.clone();
            let since = Instant::now() + Duration::from_secs(3600);
            tokio::spawn(async move { tenure.turn(trial(position, Company::NoneAtFirst), since).await })
        };
        let first = begin(1);
        tokio::task::yield_now().await;
        let untold = tenure.trials.untold().unwrap();
        assert!(untold.text == "1.1.1" && untold.is_awaited && !first.is_finished());
        tenure.trials.told(untold.change);
        let turn = first.await.unwrap();
        let second = begin(2);
        tokio::task::yield_now().await;
        assert!(tenure.trials.untold().is_none());
        drop(turn);
        tokio::task::yield_now().await;
        let untold = tenure.trials.untold().unwrap();
        assert_eq!(untold.text, "1.1.2");
        tenure.trials.told(untold.change);
        drop(second.await.unwrap());
        let untold = tenure.trials.untold().unwrap();
        assert!(untold.text == "-" && !untold.is_awaited);
    }

    #[tokio::test]
    async fn one_that_has_waited_long_enough_is_begun_beside_another() {
        let tenure = tenure();
        let long_ago = Instant::now().checked_sub(PATIENCE).unwrap();
        let one = tenure.take_turn(trial(1, Company::NoneAtFirst), long_ago).await;
        let other = tenure.take_turn(trial(2, Company::NoneAtFirst), long_ago).await;
        assert_eq!(tenure.trials.untold().unwrap().text, "1.1.1,1.1.2");
        drop((one, other));
    }
}
