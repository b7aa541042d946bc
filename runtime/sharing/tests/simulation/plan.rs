//! What happens in one schedule: drawn from its seed, and a list of steps so that a failing one can be made shorter.

use std::fmt;

/// Numbers that follow from a seed (SplitMix64), the same on every machine and with every version of every crate.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From 0 up to and without `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to + 1 - from)
    }

    /// Once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// What may happen beside joins and graceful leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Nothing else.
    Calm,
    /// Subscription connections break.
    Cuts,
    /// Pods are killed, or stand still.
    Crashes,
    /// Pods leave that cannot finish in time.
    GivingUp,
    /// Messages kill the pod that handles them.
    Poison,
    /// FLUSHALL.
    Flush,
    /// Redis restarts.
    Restart,
    /// All of it.
    Everything,
}

pub const THEMES: [Theme; 8] =
    [Theme::Calm, Theme::Cuts, Theme::Crashes, Theme::GivingUp, Theme::Poison, Theme::Flush, Theme::Restart, Theme::Everything];

impl Theme {
    /// Whether every message that has a member to own it is handled, and once.
    pub fn is_exact(self) -> bool {
        matches!(self, Theme::Calm | Theme::Cuts | Theme::Flush)
    }
}

#[derive(Clone, Debug)]
pub enum Kind {
    Publish {
        channel: usize,
        poison: bool,
    },
    Start {
        generation: usize,
    },
    /// SIGTERM; `patient` ones finish, others give up.
    Leave {
        pod: usize,
        patient: bool,
    },
    Kill {
        pod: usize,
    },
    Pause {
        pod: usize,
        ms: u64,
    },
    Cut {
        pod: usize,
    },
    Flush,
    Restart {
        down_ms: u64,
    },
}

#[derive(Clone)]
pub struct Step {
    pub at: u64,
    pub kind: Kind,
}

impl fmt::Debug for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:>6} {:?}", self.at, self.kind)
    }
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub theme: Theme,
    pub beat: u64,
    pub expiry: u64,
    pub slowest_link: u64,
    pub slowest_call: u64,
    pub slowest_handler: u64,
    pub concurrency: usize,
    pub ring_bytes: u64,
    pub most_crashes: u32,
    /// For each subscription whether its messages keep their order.
    pub ordered: [bool; 4],
    /// What pods of each generation subscribe to, one bit for each subscription.
    pub generations: [u8; 2],
    pub initial: usize,
    pub steps: Vec<Step>,
}

/// Channels, each one letter and one digit.
pub const CHANNELS: [&str; 4] = ["a1", "a2", "b1", "b2"];

/// Subscriptions: name, and whether it is a pattern.
pub const SUBSCRIPTIONS: [(&str, bool); 4] = [("a1", false), ("b1", false), ("a*", true), ("*", true)];

/// Whether a message of this channel comes by this subscription.
pub fn comes_by(channel: usize, subscription: usize) -> bool {
    match SUBSCRIPTIONS[subscription] {
        ("*", true) => true,
        ("a*", true) => CHANNELS[channel].starts_with('a'),
        (name, _) => CHANNELS[channel] == name,
    }
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5eed);
        let theme = THEMES[usize::try_from(seed % THEMES.len() as u64).unwrap()];
        let mixed = rng.below(3);
        let ordered = [0; 4].map(|_| match mixed {
            0 => false,
            1 => true,
            _ => rng.one_in(2),
        });
        let both = u8::try_from(rng.between(1, 15)).unwrap();
        let generations = if rng.one_in(2) { [both; 2] } else { [both, u8::try_from(rng.between(1, 15)).unwrap()] };
        let (beat, busy) = (100, rng.between(2, 40));
        let slow = rng.one_in(3);
        let mut plan = Self {
            seed,
            theme,
            beat,
            expiry: 500,
            slowest_link: [2, 20, 150, 600][usize::try_from(rng.below(4)).unwrap()],
            slowest_call: [1, 10, 80][usize::try_from(rng.below(3)).unwrap()],
            slowest_handler: if slow { 1_500 } else { rng.between(1, 80) },
            concurrency: usize::try_from(rng.between(1, 8)).unwrap(),
            ring_bytes: if rng.one_in(12) { 400 } else { 1 << 20 },
            most_crashes: u32::try_from(rng.between(2, 3)).unwrap(),
            ordered,
            generations,
            initial: usize::try_from(rng.between(1, 5)).unwrap(),
            steps: Vec::new(),
        };
        let length = rng.between(1_500, 5_000);
        let mut at = 300;
        while at < length {
            let burst = if rng.one_in(10) { 8 } else { 1 };
            for _ in 0..burst {
                let poison = theme == Theme::Poison && rng.one_in(90) || theme == Theme::Everything && rng.one_in(400);
                plan.steps.push(Step { at, kind: Kind::Publish { channel: usize::try_from(rng.below(4)).unwrap(), poison } });
            }
            at += rng.between(1, busy);
        }
        let pod = |rng: &mut Rng| usize::try_from(rng.below(8)).unwrap();
        for _ in 0..rng.between(1, 7) {
            let at = rng.between(200, length);
            let everything = theme == Theme::Everything;
            let kind = match rng.below(if everything { 10 } else { 6 }) {
                0 | 1 => Kind::Start { generation: usize::try_from(rng.below(2)).unwrap() },
                2 => Kind::Leave { pod: pod(&mut rng), patient: theme != Theme::GivingUp },
                _ => match theme {
                    Theme::Calm | Theme::Poison => Kind::Leave { pod: pod(&mut rng), patient: true },
                    Theme::Cuts => Kind::Cut { pod: pod(&mut rng) },
                    Theme::Crashes if rng.one_in(3) => Kind::Pause { pod: pod(&mut rng), ms: rng.between(50, 1_500) },
                    Theme::Crashes => Kind::Kill { pod: pod(&mut rng) },
                    Theme::GivingUp => Kind::Leave { pod: pod(&mut rng), patient: false },
                    Theme::Flush => Kind::Flush,
                    Theme::Restart => Kind::Restart { down_ms: rng.between(1, 900) },
                    Theme::Everything => match rng.below(7) {
                        0 | 1 => Kind::Kill { pod: pod(&mut rng) },
                        2 => Kind::Pause { pod: pod(&mut rng), ms: rng.between(50, 1_500) },
                        3 => Kind::Cut { pod: pod(&mut rng) },
                        4 => Kind::Leave { pod: pod(&mut rng), patient: false },
                        5 => Kind::Flush,
                        _ => Kind::Restart { down_ms: rng.between(1, 900) },
                    },
                },
            };
            plan.steps.push(Step { at, kind });
        }
        plan.steps.sort_by_key(|step| step.at);
        plan
    }
}
