//! The script that changes a group in Redis: its text, its key, and the words it takes.
//!
//! Rights it needs of a Redis user: the group's key and channel (both begin with [`prefix`]), and the commands `EVAL`, `EVALSHA`,
//! `TIME`, `INFO`, `HGETALL`, `HSET`, `HDEL`, `PEXPIRE` and `PUBLISH`.

use std::time::Duration;

use sha1::{Digest, Sha1};

use crate::wire::Report;

/// The script. It is sent once and then called by its SHA-1, as `EVALSHA` wants it.
pub const TEXT: &str = include_str!("group.lua");

/// Its SHA-1 in hexadecimal digits.
pub fn name() -> String {
    crate::wire::hex(&Sha1::digest(TEXT))
}

/// What a replica asks of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// To be a member from the next marker on.
    Join,
    /// It lives.
    Beat,
    /// To own nothing new from the next marker on.
    Leave,
    /// The same, after its connection broke: others do what it has not seen.
    Cut,
    /// To be known again as one that only finishes what it owned. One whose connection broke says [`Cut`](Self::Cut) again after it.
    Return,
    /// It has finished everything.
    Final,
    /// It stops, and others do what it has not finished.
    Gave,
}

impl Operation {
    /// As the script calls it.
    pub fn word(self) -> &'static str {
        match self {
            Operation::Join => "join",
            Operation::Beat => "beat",
            Operation::Leave => "leave",
            Operation::Cut => "cut",
            Operation::Return => "return",
            Operation::Final => "final",
            Operation::Gave => "gave",
        }
    }
}

/// What all keys and channels of an app begin with.
pub fn prefix(namespace: &str, app: &str) -> String {
    format!("spinredis:{namespace}/{app}:")
}

/// A group as its replicas name it in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Key of the hash.
    pub key: String,
    /// The control channel, on which markers are published.
    pub channel: String,
    /// What markers are signed with.
    pub signing_key: String,
}

impl Place {
    /// Of an app on a server. Apps that have only their name in common, one after the other or in two clusters, have different keys
    /// to sign with and different groups. `database` tells two servers of one app apart that are one; else it is 0, whichever the address
    /// names, since channels know no databases.
    pub fn of(namespace: &str, app: &str, signing_key: String, database: i64) -> Self {
        let prefix = prefix(namespace, app);
        let name = format!("{prefix}group-{}-{database}", &crate::wire::hex(&Sha1::digest(&signing_key))[..8]);
        Self { key: name.clone(), channel: name, signing_key }
    }
}

/// The field of a group in which a replica tells what it tries after a crash ([`Trials::text`](crate::trial::Trials::text)).
pub fn trials_field(id: &str) -> String {
    format!("t:{id}")
}

/// How long a group is kept after the last call, as the script keeps it too.
pub fn kept_for(expiry: Duration) -> Duration {
    (expiry * 20).max(Duration::from_secs(60))
}

/// One call of the script.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// What is asked.
    pub operation: Operation,
    /// By whom.
    pub id: &'a str,
    /// How long it may be silent.
    pub expiry: Duration,
    /// The name of what it subscribes to.
    pub set: &'a str,
    /// What that holds; only [`Operation::Join`] needs it.
    pub set_text: &'a str,
    /// What it tells of itself.
    pub report: &'a Report,
    /// The group's birth as it knows it; empty when it knows none.
    pub birth: &'a str,
    /// The last epoch it knows.
    pub epoch: u64,
    /// Who else it knew ([`known`](crate::group::Group::known)), when it joins or returns because its group was forgotten; otherwise empty.
    pub known: &'a str,
}

impl Call<'_> {
    /// The script's `ARGV`.
    pub fn arguments(&self, place: &Place) -> [String; 11] {
        [
            self.operation.word().to_owned(),
            self.id.to_owned(),
            place.channel.clone(),
            place.signing_key.clone(),
            self.expiry.as_millis().to_string(),
            self.set.to_owned(),
            self.report.text(),
            self.birth.to_owned(),
            self.epoch.to_string(),
            self.set_text.to_owned(),
            self.known.to_owned(),
        ]
    }
}
