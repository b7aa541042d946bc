//! Who was a member when, as one replica sees it: which members have each of its subscriptions, and so whose its messages are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    Id,
    share::{Print, Subscriptions, owner, weigh},
    wire::{Lane, Marker, Named, Place},
};

/// A member, and what it weighs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: Id,
    weight: u64,
}

/// Subscriptions that the same members have. While an app rolls out with other channels, old and new replicas have different
/// subscriptions, and a message is owned by one that has its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// The sets that hold it, one bit for each, in the order of their names: the same on all replicas.
    pub mask: u64,
    /// Who has it.
    pub members: Vec<Member>,
}

impl Class {
    /// Who owns a key.
    pub fn owner(&self, key: u64) -> Option<&Id> {
        owner(self.members.iter().map(|member| member.weight), key).map(|place| &self.members[place].id)
    }

    /// Who of those that `may` owns a key.
    pub fn owner_among(&self, key: u64, may: impl Fn(&Id) -> bool) -> Option<&Id> {
        let among: Vec<&Member> = self.members.iter().filter(|member| may(&member.id)).collect();
        owner(among.iter().map(|member| member.weight), key).map(|place| &among[place].id)
    }
}

/// One subscription of this replica.
#[derive(Clone, Copy, Debug)]
struct Subscribed {
    print: Print,
    class: usize,
    /// Whether its messages keep their order.
    is_ordered: bool,
}

/// The members from one marker to the next.
#[derive(Clone, Debug, Default)]
pub struct Members {
    ids: BTreeSet<Id>,
    classes: Vec<Class>,
    /// Of each subscription of this replica.
    of: Vec<Subscribed>,
}

impl Members {
    /// Those that are named, for a replica with these subscriptions. `sets` says what the sets of others hold; a set that it does
    /// not know is taken as this replica's own, which it is when all have the same.
    pub fn new(named: &[Named], sets: &BTreeMap<String, Subscriptions>, own: &Subscriptions, subscriptions: &[Print]) -> Self {
        let mut names: Vec<&str> = named.iter().map(|member| member.set.as_str()).chain(sets.keys().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        // More than 64 sets at once cannot be told apart; that many rollouts at once do not happen, and the last share a bit.
        let bit = |name: &str| 1_u64 << names.binary_search(&name).unwrap_or_default().min(63);
        let holds = |name: &str, print| sets.get(name).unwrap_or(own).is_ordered(print);
        let mut classes: Vec<Class> = Vec::new();
        let mut of = Vec::new();
        let mut by_mask: BTreeMap<u64, usize> = BTreeMap::new();
        for &print in subscriptions {
            let with: Vec<(&str, bool)> = names.iter().filter_map(|name| Some((*name, holds(name, print)?))).collect();
            let mask = with.iter().fold(0, |mask, (name, _)| mask | bit(name));
            let ordered = with.iter().any(|(_, ordered)| *ordered);
            let class = *by_mask.entry(mask).or_insert_with(|| {
                let members = named.iter().filter(|member| with.iter().any(|(name, _)| *name == member.set));
                let members = members.map(|member| Member { id: member.id.clone(), weight: weigh(&member.id) }).collect();
                classes.push(Class { mask, members });
                classes.len() - 1
            });
            of.push(Subscribed { print, class, is_ordered: ordered });
        }
        Self { ids: named.iter().map(|member| member.id.clone()).collect(), classes, of }
    }

    /// Their ids.
    pub fn ids(&self) -> &BTreeSet<Id> {
        &self.ids
    }

    /// The class of one of this replica's subscriptions.
    pub fn class(&self, subscription: usize) -> &Class {
        &self.classes[self.of[subscription].class]
    }

    /// Who has the subscriptions of a class; nobody, when none of this replica's is of it.
    pub fn of_class(&self, mask: u64) -> &[Member] {
        self.classes.iter().find(|class| class.mask == mask).map_or(&[], |class| &class.members)
    }

    /// Whether the messages of a subscription keep their order.
    pub fn is_ordered(&self, subscription: usize) -> bool {
        self.of[subscription].is_ordered
    }

    /// The lane of the message at a place that came by a subscription, whose owner is decided by this key.
    pub fn lane(&self, subscription: usize, key: u64, place: Place) -> Lane {
        let Subscribed { print, is_ordered, .. } = self.of[subscription];
        if is_ordered { Lane::of_channel(print, key) } else { Lane::of_one(place) }
    }

    /// Whether those of any do.
    pub fn any_ordered(&self) -> bool {
        self.of.iter().any(|subscribed| subscribed.is_ordered)
    }
}

/// What a marker changes, as one replica sees it.
#[derive(Debug)]
pub struct Epoch {
    /// Its number.
    pub number: u64,
    /// The members from the marker on.
    pub members: Arc<Members>,
    /// The members up to it.
    pub before: Arc<Members>,
}

impl Epoch {
    /// Reads a marker with the eyes of a replica with these subscriptions. Who knows the members `before` need not be told.
    pub fn new(marker: &Marker, before: Option<Arc<Members>>, own: &Subscriptions, subscriptions: &[Print]) -> Self {
        let members = |named| Arc::new(Members::new(named, &marker.sets, own, subscriptions));
        let before = before.unwrap_or_else(|| members(&marker.before));
        Self { number: marker.epoch, members: members(&marker.members), before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_owned_by_one_that_has_its_subscription() {
        let print = |name: &str| Print::of(name, false);
        let set = |names: &[&str]| Subscriptions::new(names.iter().map(|name| (print(name), false)));
        let (old, new) = (set(&["a", "b"]), set(&["b", "c"]));
        let named = |id: &str, set: &Subscriptions| Named { id: id.into(), set: set.name() };
        let all = [named("old-1", &old), named("old-2", &old), named("new-1", &new)];
        let sets: BTreeMap<String, Subscriptions> = [(old.name(), old.clone()), (new.name(), new.clone())].into();
        let seen_by_old = Members::new(&all, &sets, &old, &[print("a"), print("b")]);
        let seen_by_new = Members::new(&all, &sets, &new, &[print("b"), print("c")]);
        assert_eq!(seen_by_old.class(1), seen_by_new.class(0));
        let ids = |members: &Members, place| members.class(place).members.iter().map(|member| member.id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(&seen_by_old, 0), ["old-1", "old-2"]);
        assert_eq!(ids(&seen_by_old, 1), ["old-1", "old-2", "new-1"]);
        assert_eq!(ids(&seen_by_new, 1), ["new-1"]);
    }

    #[test]
    fn order_is_kept_when_anyone_wants_it_kept() {
        let print = Print::of("a", false);
        let (loose, strict) = (Subscriptions::new([(print, false)]), Subscriptions::new([(print, true)]));
        let named = [Named { id: "x".into(), set: loose.name() }, Named { id: "y".into(), set: strict.name() }];
        let sets: BTreeMap<String, Subscriptions> = [(loose.name(), loose.clone()), (strict.name(), strict)].into();
        assert!(Members::new(&named, &sets, &loose, &[print]).any_ordered());
        assert!(!Members::new(&named[..1], &BTreeMap::new(), &loose, &[print]).any_ordered());
    }
}
