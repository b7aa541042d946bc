//! Messages that may have brought a replica down. Nobody can tell what a process died of, but the group can be told of each such
//! message before it is begun again: what is not named then was not begun and has brought down nobody.
//!
//! A message is given up when it was the only one named. So the last try of each is without company, as far as that does not take
//! too long; whoever dies with several named has them tried once more, each strictly alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::wire::{Place, places_text};

/// What a message may have beside it while it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Company {
    /// Others that are tried.
    Any,
    /// Nothing, unless it has waited for that long enough.
    NoneAtFirst,
    /// Nothing.
    Nothing,
}

/// A message that is tried after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The message.
    pub place: Place,
    /// What may be tried beside it.
    pub company: Company,
}

/// What one replica has in hand of such messages, in all its stays in the group. One message may be in hand several times, once for each
/// component.
#[derive(Debug, Default)]
pub struct Trials {
    in_hand: BTreeMap<Place, Vec<Company>>,
    changes: u64,
}

impl Trials {
    /// Whether a message may be begun now, which has or has not waited for that long enough.
    pub fn admits(&self, trial: Trial, has_waited: bool) -> bool {
        let mut others = self.in_hand.iter().filter(|(place, _)| **place != trial.place).flat_map(|(_, all)| all).peekable();
        if others.peek().is_none() {
            return true;
        }
        let strictest = others.max().copied().unwrap_or(Company::Any).max(trial.company);
        match strictest {
            Company::Any => true,
            Company::NoneAtFirst => has_waited,
            Company::Nothing => false,
        }
    }

    /// A message is taken in hand. Returns the number of this change: once the group has heard of it, the message may be begun.
    pub fn begin(&mut self, trial: Trial) -> u64 {
        self.in_hand.entry(trial.place).or_default().push(trial.company);
        self.changed()
    }

    /// It is no longer in hand.
    pub fn end(&mut self, trial: Trial) {
        if let Some(all) = self.in_hand.get_mut(&trial.place) {
            if let Some(one) = all.iter().position(|company| *company == trial.company) {
                all.swap_remove(one);
            }
            if all.is_empty() {
                self.in_hand.remove(&trial.place);
            }
        }
        self.changed();
    }

    /// What there is to tell is told once more, to a group that may have forgotten it.
    pub fn changed(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    /// The number of the last change.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// What each stay is to tell: the places of all in hand, as one word. Those of other stays too, since they die together.
    pub fn text(&self) -> String {
        places_text(&self.in_hand.keys().copied().collect())
    }
}

/// What a death says of a message that its owner had not finished: how many owners have died with it now, and whether it must be tried
/// strictly alone. `named` are the messages that were in hand of those that were tried.
pub(crate) fn verdict(place: Place, crashes: u32, is_alone: bool, named: &BTreeSet<Place>, most_crashes: u32) -> (u32, bool) {
    match named.contains(&place) {
        // Nobody names a message that nobody has died with: it may have been in hand.
        _ if crashes == 0 => (1, false),
        false => (crashes, is_alone),
        true if named.len() == 1 || crashes + 1 < most_crashes => (crashes + 1, is_alone),
        true => (crashes, true),
    }
}

/// How a message is tried with which so many owners have died.
pub(crate) fn company(crashes: u32, is_alone: bool, most_crashes: u32) -> Company {
    match crashes + 1 < most_crashes {
        _ if is_alone => Company::Nothing,
        true => Company::Any,
        false => Company::NoneAtFirst,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(position: u64) -> Place {
        Place { epoch: 1, class: 1, position }
    }

    fn trial(position: u64, company: Company) -> Trial {
        Trial { place: place(position), company }
    }

    #[test]
    fn the_last_try_is_alone_at_first_and_one_that_had_company_is_alone_to_the_end() {
        let mut trials = Trials::default();
        let (any, last, strict) = (trial(1, Company::Any), trial(2, Company::NoneAtFirst), trial(3, Company::Nothing));
        assert_eq!(trials.begin(any), 1);
        assert!(trials.admits(trial(4, Company::Any), false) && !trials.admits(last, false));
        assert!(trials.admits(last, true) && !trials.admits(strict, true));
        trials.begin(last);
        assert!(!trials.admits(trial(4, Company::Any), false) && trials.admits(trial(4, Company::Any), true));
        trials.end(any);
        trials.end(last);
        trials.begin(strict);
        assert!(!trials.admits(any, true) && trials.admits(trial(3, Company::NoneAtFirst), false));
    }

    #[test]
    fn a_message_is_in_hand_until_its_last_component_has_ended() {
        let mut trials = Trials::default();
        let one = trial(7, Company::NoneAtFirst);
        trials.begin(one);
        trials.begin(one);
        trials.end(one);
        trials.begin(trial(9, Company::Any));
        assert_eq!((trials.text().as_str(), trials.changes()), ("1.1.7,1.1.9", 4));
        trials.end(one);
        assert_eq!(trials.text(), "1.1.9");
    }

    #[test]
    fn only_a_message_that_was_named_alone_is_to_blame() {
        let named = |positions: &[u64]| positions.iter().map(|position| place(*position)).collect::<BTreeSet<_>>();
        // The first death: everything that was not finished may have been in hand.
        assert_eq!(verdict(place(1), 0, false, &named(&[2]), 2), (1, false));
        assert_eq!(company(1, false, 2), Company::NoneAtFirst);
        assert_eq!(company(1, false, 3), Company::Any);
        // Later ones: what was not named was not begun.
        assert_eq!(verdict(place(1), 1, false, &named(&[2]), 2), (1, false));
        assert_eq!(verdict(place(1), 1, false, &named(&[1]), 2), (2, false));
        assert_eq!(verdict(place(1), 1, false, &named(&[1, 2]), 2), (1, true));
        assert_eq!(verdict(place(1), 1, false, &named(&[1, 2]), 3), (2, false));
        assert_eq!(company(1, true, 2), Company::Nothing);
        assert_eq!(verdict(place(1), 1, true, &named(&[1]), 2), (2, true));
    }
}
