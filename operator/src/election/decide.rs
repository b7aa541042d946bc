//! What to do about a lease, as a pure function of what was seen of it and when. The clocks of two machines are never
//! compared: how old a renewal is, is measured from when this replica first saw it, as client-go does.

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};

/// How long a lease lasts, and how often it is looked at. The defaults are those of Kubernetes' own components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// So long after its last renewal another replica may take the lease. Whole seconds.
    pub duration: Duration,
    /// A leader that could not renew for so long stops; shorter than the duration, so that it has stopped before another begins.
    pub renew_deadline: Duration,
    /// Between two looks at the lease, and between two renewals.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { duration: Duration::from_secs(15), renew_deadline: Duration::from_secs(10), retry: Duration::from_secs(2) }
    }
}

/// A lease as it was last seen, and since when it looks like that.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The lease.
    pub lease: Lease,
    since: Instant,
}

impl Seen {
    /// The lease as it is seen now; one that has not changed since the last look is as old as it was.
    pub fn now(lease: Lease, before: Option<&Seen>, now: Instant) -> Self {
        let since = before.filter(|before| before.lease.spec == lease.spec && before.lease.metadata.uid == lease.metadata.uid);
        Self { since: since.map_or(now, |before| before.since), lease }
    }

    /// Who holds the lease.
    pub fn holder(&self) -> Option<&str> {
        self.lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }
}

/// What to do about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is none: make one.
    Create,
    /// Nobody holds it, or its holder did not renew it in time.
    Take,
    /// It is this replica's.
    Renew,
    /// Another replica holds it.
    Wait,
}

/// What to do about a lease.
pub fn step(seen: Option<&Seen>, identity: &str, now: Instant) -> Step {
    let Some(seen) = seen else { return Step::Create };
    match seen.holder() {
        None => Step::Take,
        Some(holder) if holder == identity => Step::Renew,
        Some(_) => {
            let seconds = seen.lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
            let duration = Duration::from_secs(seconds.and_then(|seconds| seconds.try_into().ok()).unwrap_or(0));
            if now.saturating_duration_since(seen.since) >= duration { Step::Take } else { Step::Wait }
        }
    }
}

/// The lease as this replica holds it from now on. It carries the version that was seen, so that only one of two that try
/// at once succeeds.
pub fn held(seen: Option<&Seen>, identity: &str, timing: &Timing, time: Timestamp) -> Lease {
    let mut lease = seen.map(|seen| seen.lease.clone()).unwrap_or_default();
    let before = lease.spec.take().unwrap_or_default();
    let is_mine = before.holder_identity.as_deref() == Some(identity);
    let transitions = before.lease_transitions.unwrap_or(0);
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(timing.duration.as_secs().try_into().unwrap_or(i32::MAX)),
        acquire_time: before.acquire_time.filter(|_| is_mine).or(Some(MicroTime(time))),
        renew_time: Some(MicroTime(time)),
        lease_transitions: Some(if is_mine || seen.is_none() { transitions } else { transitions.saturating_add(1) }),
        ..before
    });
    lease
}

/// The lease given up, so that the next replica need not wait for it to run out.
pub fn released(mut lease: Lease, time: Timestamp) -> Lease {
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(String::new());
    spec.lease_duration_seconds = Some(1);
    spec.renew_time = Some(MicroTime(time));
    lease
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn held_by(identity: &str, time: i64) -> Lease {
        held(None, identity, &Timing::default(), Timestamp::from_second(time).unwrap())
    }

    #[test]
    fn a_lease_that_does_not_exist_or_that_nobody_holds_is_taken_at_once() {
        let now = Instant::now();
        assert_eq!(step(None, "a", now), Step::Create);
        let free = Seen::now(released(held_by("b", 0), Timestamp::UNIX_EPOCH), None, now);
        assert_eq!(step(Some(&free), "a", now), Step::Take);
    }

    #[test]
    fn a_lease_is_taken_from_its_holder_only_after_it_was_seen_unchanged_for_its_whole_duration() {
        let start = Instant::now();
        // By the holder's clock it ran out decades ago: that says nothing.
        let first = Seen::now(held_by("b", 0), None, start);
        assert_eq!(step(Some(&first), "a", start), Step::Wait);
        let again = Seen::now(held_by("b", 0), Some(&first), start + 14 * SECOND);
        assert_eq!(step(Some(&again), "a", start + 14 * SECOND), Step::Wait);
        assert_eq!(step(Some(&again), "a", start + 15 * SECOND), Step::Take);
        let renewed = Seen::now(held_by("b", 2), Some(&again), start + 14 * SECOND);
        assert_eq!(step(Some(&renewed), "a", start + 28 * SECOND), Step::Wait);
    }

    #[test]
    fn a_holder_renews_and_keeps_the_time_it_began() {
        let now = Instant::now();
        let mine = Seen::now(held_by("a", 5), None, now);
        assert_eq!(step(Some(&mine), "a", now + 100 * SECOND), Step::Renew);
        let spec = held(Some(&mine), "a", &Timing::default(), Timestamp::from_second(9).unwrap()).spec.unwrap();
        assert_eq!(spec.acquire_time, Some(MicroTime(Timestamp::from_second(5).unwrap())));
        assert_eq!(spec.renew_time, Some(MicroTime(Timestamp::from_second(9).unwrap())));
        assert_eq!(spec.lease_transitions, Some(0));
    }

    #[test]
    fn a_lease_that_changes_hands_counts_that_and_carries_the_version_that_was_seen() {
        let mut lease = held_by("b", 0);
        lease.metadata.resource_version = Some("7".to_owned());
        let seen = Seen::now(lease, None, Instant::now());
        let taken = held(Some(&seen), "a", &Timing::default(), Timestamp::from_second(20).unwrap());
        assert_eq!(taken.metadata.resource_version.as_deref(), Some("7"));
        let spec = taken.spec.unwrap();
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("a"), Some(1)));
        assert_eq!(spec.acquire_time, Some(MicroTime(Timestamp::from_second(20).unwrap())));
    }
}
