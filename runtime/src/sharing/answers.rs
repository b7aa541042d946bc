//! What this replica tells its group with each beat, and what it makes of the answers.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use spinredis_sharing::{
    group::Stage,
    script::Operation,
    wire::{Reply, Standing},
};

use super::{
    desk::Desk,
    member::Sharing,
    stay::{Stay, Told},
};

/// See [`Sharing::marker_patience`].
const MARKER_EXPIRIES: u32 = 5;

impl Sharing {
    /// The group answered a stay.
    pub(super) fn answered(&self, id: &str, operation: Operation, sent: Instant, reply: &Reply) {
        let mut desk = self.desk();
        desk.beats += 1;
        let is_current = desk.current.as_ref().is_some_and(|stay| &**stay.group.id() == id);
        let Some(stay) = desk.stay_mut(id) else { return };
        match reply.standing {
            Standing::Unknown if matches!(operation, Operation::Final | Operation::Gave) => self.drop_stay(&mut desk, id),
            // Others know of it what it told last, which was less: what was finished since is told before it says so again.
            Standing::Reborn if operation == Operation::Gave => self.drop_stay(&mut desk, id),
            Standing::Unknown if is_current => self.expelled(&mut desk),
            Standing::Unknown => {
                stay.revoke();
                desk.expulsions += 1;
                self.drop_stay(&mut desk, id);
            }
            Standing::Reborn => self.reborn(&mut desk, id, is_current, reply),
            Standing::Known => {
                stay.birth.clone_from(&reply.birth);
                stay.answered = Some(Instant::now());
                if matches!(operation, Operation::Final | Operation::Gave) {
                    self.drop_stay(&mut desk, id);
                } else {
                    stay.group.holder().lease.extend(sent, self.settings.limits.expiry);
                    stay.group.holder().is_far_away.store(false, Ordering::Release);
                    if std::mem::take(&mut stay.is_reborn) {
                        stay.group.holder().trials.tell_again();
                    }
                    // What came up meanwhile is still to be told.
                    stay.wanted.pop_front_if(|told| *told == operation);
                    stay.group.reply(reply);
                    let is_outside = stay.group.stage() == Stage::Outside;
                    let is_behind = is_outside || (stay.group.stage() == Stage::Member && reply.epoch > stay.group.epoch());
                    stay.behind = is_behind.then(|| stay.behind.unwrap_or_else(Instant::now));
                    let waits = stay.behind.is_some_and(|since| since.elapsed() >= self.marker_patience());
                    if is_current && stay.group.stage() == Stage::Member && !waits {
                        self.announce(stay.group.members(), self.state.share_taken(stay.group.members()));
                    }
                    let ready = stay.take_ready();
                    (self.deliver)(ready);
                }
            }
        }
        let is_leaving = desk.is_leaving && self.stopping.load(Ordering::Acquire);
        if desk.current.iter().any(|stay| stay.has_news(is_leaving)) || desk.former.iter().any(|stay| stay.has_news(false)) {
            self.wake.notify_one();
        }
        drop(desk);
        self.changed.notify_waiters();
    }

    /// The group has forgotten everything. Where the connection lived through that, so did the place in the order.
    fn reborn(&self, desk: &mut Desk, id: &str, is_current: bool, reply: &Reply) {
        let is_leaving = desk.is_leaving;
        let Some(stay) = desk.stay_mut(id) else { return };
        let same_server = stay.birth.is_empty() || stay.birth.split('-').next() == Some(reply.run());
        stay.birth.clone_from(&reply.birth);
        stay.is_reborn = true;
        if stay.wanted.front() == Some(&Operation::Gave) {
            return;
        }
        let is_present = is_current && same_server && !is_leaving;
        let is_nobody = stay.group.epoch() == 0;
        if is_current && !same_server && !is_leaving {
            // Another server answers than the one this stay began on.
            let again = desk.current.as_ref().map(|stay| self.again(stay));
            desk.cut();
            desk.current = again;
            self.state.share_missing(None);
        }
        if is_nobody && !is_present {
            return self.drop_stay(desk, id);
        }
        let Some(stay) = desk.stay_mut(id) else { return };
        stay.wanted = [if is_present { Operation::Join } else { Operation::Return }].into();
        if stay.has_been_cut {
            stay.wanted.push_back(Operation::Cut);
        }
    }

    fn drop_stay(&self, desk: &mut Desk, id: &str) {
        if let Some(place) = desk.former.iter().position(|stay| &**stay.group.id() == id)
            && let Some(stay) = desk.former.remove(place)
        {
            desk.retire(stay);
        } else if desk.current.as_ref().is_some_and(|stay| &**stay.group.id() == id)
            && let Some(stay) = desk.current.take()
        {
            desk.retire(stay);
        }
    }

    /// What each stay is to tell the group now.
    pub(super) fn told(&self) -> Vec<Told> {
        let mut desk = self.desk();
        let is_stopping = self.stopping.load(Ordering::Acquire);
        let is_leaving = desk.is_leaving;
        let present = desk.current.iter_mut().map(|stay| (stay, is_leaving && is_stopping));
        let told = |(stay, is_leaving): (&mut Stay, bool)| {
            let operation = stay.operation(is_leaving);
            stay.has_joined |= operation == Operation::Join;
            Told {
                id: stay.group.id().to_string(),
                operation,
                set: stay.set.clone(),
                birth: stay.birth.clone(),
                epoch: stay.group.epoch(),
                report: stay.group.report(operation),
                known: if stay.is_reborn { stay.group.known() } else { String::new() },
            }
        };
        let mut all: Vec<Told> = present.map(told).collect();
        all.extend(desk.former.iter_mut().map(|stay| told((stay, is_stopping))));
        all
    }

    /// A marker that the group has published is on its way for so long; after that it does not come.
    pub(super) fn marker_patience(&self) -> Duration {
        self.settings.limits.expiry * MARKER_EXPIRIES
    }

    /// Since when a marker is missing that the present stay knows of; `None` when none is.
    pub(super) fn behind(&self) -> Option<Instant> {
        self.desk().current.as_ref().and_then(|stay| stay.behind)
    }
}
