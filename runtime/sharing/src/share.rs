//! Whose a message is: decided by what every replica sees alike, the message itself and the members, and by nothing else. A
//! counter would go wrong for ever once one replica had missed one message; this cannot.
//!
//! The owner is found by rendezvous hashing (Thaler and Ravishankar, 1998): each member gets a weight for each key, the heaviest
//! owns it. When a member comes or goes only its own keys move, unlike with a remainder of the number of members.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

/// The key of a channel: messages with the same key have the same owner, so a channel's messages keep their order.
pub fn channel_key(channel: &[u8]) -> u64 {
    xxh3_64(channel)
}

/// The key of a message whose order does not matter: channel and payload, so that one busy channel is split too.
pub fn content_key(channel: &[u8], payload: &[u8]) -> u64 {
    mix(xxh3_64(channel).rotate_left(1) ^ xxh3_64(payload))
}

/// A member's part of its weights.
pub fn weigh(id: &str) -> u64 {
    xxh3_64(id.as_bytes())
}

/// The place of the member that owns a key; `None` without members. `weights` are those of [`weigh`].
pub fn owner(weights: impl Iterator<Item = u64>, key: u64) -> Option<usize> {
    // Two members with one weight have one owner all the same: the later one, and all agree on the order.
    weights.enumerate().max_by_key(|(_, weight)| mix(weight ^ key)).map(|(place, _)| place)
}

/// Spreads bits (the finalizer of SplitMix64: Steele, Lea and Flood, 2014).
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A channel or pattern, as replicas with other subscriptions tell it from others: a number for its kind and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Print(u64);

impl Print {
    /// Of a channel or a pattern.
    pub fn of(name: &str, is_pattern: bool) -> Self {
        let seed = if is_pattern { "pattern " } else { "channel " };
        Self(xxh3_64(format!("{seed}{name}").as_bytes()))
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}

/// What a replica subscribes to: each subscription, and whether its messages keep their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions(BTreeMap<Print, bool>);

/// Digits of a print in [`Subscriptions::text`], and one sign.
const TEXT: usize = 17;

impl Subscriptions {
    /// Those of a replica.
    pub fn new(subscriptions: impl IntoIterator<Item = (Print, bool)>) -> Self {
        Self(subscriptions.into_iter().collect())
    }

    /// Whether its messages keep their order; `None` for one that is not subscribed.
    pub fn is_ordered(&self, print: Print) -> Option<bool> {
        self.0.get(&print).copied()
    }

    /// All of them as text.
    pub fn text(&self) -> String {
        self.0.iter().map(|(print, ordered)| format!("{:016x}{}", print.0, if *ordered { '+' } else { '-' })).collect()
    }

    /// Reads [`text`](Self::text).
    pub fn parse(text: &str) -> Option<Self> {
        if !text.is_ascii() || !text.len().is_multiple_of(TEXT) {
            return None;
        }
        let read = |place: usize| {
            let (digits, sign) = text[place..place + TEXT].split_at(TEXT - 1);
            let ordered = match sign {
                "+" => true,
                "-" => false,
                _ => return None,
            };
            Some((Print(u64::from_str_radix(digits, 16).ok()?), ordered))
        };
        (0..text.len()).step_by(TEXT).map(read).collect::<Option<BTreeMap<_, _>>>().map(Self)
    }

    /// A name for them: equal for the same subscriptions.
    pub fn name(&self) -> String {
        format!("{:016x}", xxh3_64(self.text().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_goes_gives_its_keys_away_and_takes_none() {
        let weights: Vec<u64> = ["a", "b", "c", "d"].map(weigh).to_vec();
        let mut counts = [0; 4];
        for key in (0..4_000_u64).map(|number| channel_key(&number.to_le_bytes())) {
            let before = owner(weights.iter().copied(), key).unwrap();
            counts[before] += 1;
            let after = owner(weights[..3].iter().copied(), key).unwrap();
            assert!(before == after || before == 3);
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn messages_of_one_channel_have_one_key_or_many() {
        assert_eq!(content_key(b"c", b"1"), content_key(b"c", b"1"));
        assert_ne!(content_key(b"c", b"1"), content_key(b"c", b"2"));
        assert_ne!(content_key(b"c", b"1"), content_key(b"1", b"c"));
    }

    #[test]
    fn subscriptions_are_read_back_and_a_pattern_is_not_the_channel_of_its_name() {
        let all = Subscriptions::new([(Print::of("a", false), true), (Print::of("a", true), false)]);
        assert_eq!(Subscriptions::parse(&all.text()), Some(all.clone()));
        assert_eq!((all.is_ordered(Print::of("a", false)), all.is_ordered(Print::of("a", true))), (Some(true), Some(false)));
        assert_eq!(all.is_ordered(Print::of("b", true)), None);
        for wrong in ["0", "000000000000000g+", "0000000000000001*", "ää"] {
            assert_eq!(Subscriptions::parse(wrong), None, "{wrong}");
        }
    }
}
