//! What metrics and `spinredis status` show of a replica's part in its group.

use spinredis_sharing::{
    group::{Counts, Stage},
    wire::{Report, SEEN_ALL},
};

use super::member::Sharing;
use crate::report::{GroupReport, MemberReport};

/// The numbers of one group, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Whether this replica owns a share and may begin messages of it.
    pub is_member: bool,
    /// Number of the last marker.
    pub epoch: u64,
    /// Members that it named.
    pub members: u64,
    /// What happened.
    pub counts: Counts,
    /// Messages of others that are kept, in bytes.
    pub ring_bytes: u64,
    /// The bound of those.
    pub ring_max_bytes: u64,
    /// Messages of others that had to go before they were finished.
    pub overflowed: u64,
    /// Messages of its own that wait for others.
    pub held: u64,
    /// Messages that replicas have died with and that it has not finished.
    pub suspects: u64,
    /// How often the group has removed this replica.
    pub expulsions: u64,
    /// How often it has lost its place in the order.
    pub cuts: u64,
    /// Messages on the control channel that are no markers.
    pub ignored: u64,
    /// Calls of the script that were answered.
    pub beats: u64,
    /// Calls that were not.
    pub failed_beats: u64,
}

impl Sharing {
    /// The numbers as of now.
    pub fn numbers(&self) -> Numbers {
        let desk = self.desk();
        let (mut counts, mut overflowed, mut held) = (desk.past, desk.past_overflowed, 0);
        for stay in desk.stays() {
            counts += stay.group.counts();
            overflowed += stay.group.ring().overflowed();
            held += stay.group.held() as u64;
        }
        let current = desk.current.as_ref().map(|stay| &stay.group);
        Numbers {
            is_member: current.is_some_and(|group| group.stage() == Stage::Member && group.holder().lease.holds()),
            epoch: current.map_or(0, |group| group.epoch()),
            members: current.map_or(0, |group| group.members() as u64),
            counts,
            ring_bytes: current.map_or(0, |group| group.ring().bytes()),
            ring_max_bytes: self.settings.limits.ring_bytes,
            overflowed,
            held,
            suspects: self.trials.suspects() as u64,
            expulsions: desk.expulsions,
            cuts: desk.cuts,
            ignored: desk.forged,
            beats: desk.beats,
            failed_beats: desk.failed_beats,
        }
    }

    /// The group as this replica knows it, for a person.
    pub fn report(&self) -> GroupReport {
        let numbers = self.numbers();
        let desk = self.desk();
        let own: Vec<String> = desk.stays().map(|stay| stay.group.id().to_string()).collect();
        let known = desk.stays().find(|stay| !stay.group.records().is_empty());
        let records = known.map(|stay| stay.group.records());
        // Since the group's last answer nobody is heard of.
        let unheard = known.and_then(|stay| stay.answered).map_or(0, |answered| answered.elapsed().as_millis() as u64);
        // One that has left goes by no marker any more.
        let told = |epoch| if epoch == SEEN_ALL { numbers.epoch } else { epoch };
        let members = records.unwrap_or_default().iter().map(|record| {
            let report = &record.report;
            let received: u64 = report.seen.values().sum();
            let (finished_epoch, finished) = match report.own.oldest() {
                Some(place) if place.epoch != report.seen_epoch => (place.epoch, place.position.saturating_sub(1)),
                _ => (report.seen_epoch, finished_in_epoch(report)),
            };
            MemberReport {
                id: record.id.to_string(),
                is_self: own.iter().any(|id| **id == *record.id),
                owns: record.is_member,
                silent_ms: record.silent_ms.saturating_add(unheard),
                epoch: told(report.seen_epoch),
                received,
                finished_epoch: told(finished_epoch),
                finished,
                replaying: report.replays.oldest().is_some(),
            }
        });
        GroupReport {
            key: self.settings.place.key.clone(),
            epoch: numbers.epoch,
            member: numbers.is_member,
            members: members.collect(),
            owned: numbers.counts.owned,
            others: numbers.counts.others,
            replayed: numbers.counts.replayed,
            hurried: numbers.counts.hurried,
            held: numbers.held,
            ring_bytes: numbers.ring_bytes,
            ring_max_bytes: numbers.ring_max_bytes,
            overflowed: numbers.overflowed,
            expulsions: numbers.expulsions,
            cuts: numbers.cuts,
            ignored: numbers.ignored,
            failed_beats: numbers.failed_beats,
        }
    }
}

/// How many of the messages of its present epoch a replica has finished without a gap: in each class, in which they are counted, up to the
/// first that it names, or all that it has seen.
fn finished_in_epoch(report: &Report) -> u64 {
    let of_class = |(class, seen): (&u64, &u64)| {
        let places = report.own.places().filter(|place| place.epoch == report.seen_epoch && place.class == *class);
        places.map(|place| place.position.saturating_sub(1)).min().unwrap_or(*seen)
    };
    report.seen.iter().map(of_class).sum()
}
