//! Tells the group in Redis, again and again, that this replica lives and what it has finished, and hears the same of the others.

use std::{sync::Arc, time::Duration};

use rand::RngExt;
use spinredis_crds::{Reason, sharing::SharingLimits};
use spinredis_sharing::script::{Call, Operation};
use tokio::{
    select,
    time::{Instant, sleep_until},
};

use super::{
    member::Sharing,
    script::{Script, ScriptError},
    stay::Told,
};
use crate::dead_letters::link::Link;

/// Between two calls there is at least this time, whatever wakes them: one for each message would be no use.
const AT_LEAST: Duration = Duration::from_millis(2);
/// An answer on a new connection is waited for at least so long: connecting and signing in are part of it.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest wait between two calls that fail, as a part of the expiry time. The first call after an outage excuses the silence of all,
/// once: whoever is not back within the expiry time after it is taken for dead.
const LONGEST_BACKOFF: u32 = 4;
/// An answer on a connection that has worked is waited for this part of the expiry time, so that a connection that hangs does not cost the
/// lease: there is time to make another.
const LONGEST_ANSWER: u32 = 2;

/// Beats for as long as it is polled.
pub async fn run(sharing: Arc<Sharing>, link: Arc<Link>) {
    let limits = sharing.settings.limits;
    let patience = Patience::of(limits.expiry);
    let script = Script::new(link, sharing.settings.place.clone(), patience);
    let mut trouble: Option<Instant> = None;
    let mut failures = 0;
    loop {
        let begun = Instant::now();
        let told = sharing.told();
        let mut failed = None;
        for told in &told {
            if let Err(error) = tell(&sharing, &script, told).await {
                let is_away = error.is_away();
                failed = Some(error);
                if is_away {
                    // To wait for it once more for each former stay would cost the present one its lease.
                    break;
                }
            }
        }
        sharing.desk().is_unanswered = failed.is_some();
        match failed {
            Some(error) => {
                failures += 1;
                sharing.desk().failed_beats += 1;
                let since = *trouble.get_or_insert(begun);
                // One beat that fails costs nothing: only after the expiry time is the replica taken for dead.
                report(&sharing, &error, since.elapsed() >= limits.expiry);
            }
            None => {
                failures = 0;
                if trouble.take().is_some() {
                    tracing::info!("the group of replicas is reached again");
                }
            }
        }
        look_for_markers(&sharing);
        // Whoever waits for something to be finished need not wait for an answer.
        sharing.changed.notify_waiters();
        let pause = match failures {
            0 => pause(&sharing, limits.beat, !told.is_empty()),
            _ => backoff(limits, failures, rand::rng().random_range(0.5..1.0)),
        };
        let wake = async {
            sharing.wake.notified().await;
            // What is news for the group cannot make a server answer that does not.
            sleep_until(begun + if failures == 0 { AT_LEAST } else { pause }).await;
        };
        select! {
            () = wake => {}
            () = sleep_until(begun + pause) => {}
        }
    }
}

async fn tell(sharing: &Sharing, script: &Script, told: &Told) -> Result<(), ScriptError> {
    let call = Call {
        operation: told.operation,
        id: &told.id,
        expiry: sharing.settings.limits.expiry,
        set: &told.set.0,
        set_text: if told.operation == Operation::Join { &told.set.1 } else { "" },
        report: &told.report,
        birth: &told.birth,
        epoch: told.epoch,
        known: &told.known,
    };
    let sent = std::time::Instant::now();
    let reply = script.call(&call).await?;
    sharing.answered(&told.id, told.operation, sent, &reply);
    Ok(())
}

/// How long an answer is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// On a connection that has to be made first.
    pub(super) new: Duration,
    /// On one that is there.
    pub(super) open: Duration,
}

impl Patience {
    pub(super) fn of(expiry: Duration) -> Self {
        Self { new: expiry.max(PATIENCE), open: expiry / LONGEST_ANSWER }
    }
}

/// Until the next try after so many failures in a row. The first come soon: a lease runs out within a few beats. `jitter` from 0.5 to 1
/// keeps replicas from coming back at once.
pub(super) fn backoff(limits: SharingLimits, failures: u32, jitter: f64) -> Duration {
    (limits.beat / 4 * 2_u32.pow(failures.min(10))).min(limits.expiry / LONGEST_BACKOFF).mul_f64(jitter)
}

/// Until the next beat: sooner while messages wait for what others tell.
fn pause(sharing: &Sharing, beat: Duration, any: bool) -> Duration {
    let desk = sharing.desk();
    if any && desk.stays().any(|stay| stay.has_news(false)) {
        // Something is to be told that was not there when this round began, or could not be told.
        return beat / 8;
    }
    if desk.stays().any(|stay| stay.group.is_waiting()) { beat / 4 } else { beat }
}

fn report(sharing: &Sharing, error: &ScriptError, is_long: bool) {
    let message = error.to_string();
    let is_member = sharing.desk().current.as_ref().is_some_and(|stay| stay.group.holder().lease.holds());
    let problem = Some((error.reason(), message.clone()));
    if (is_long || !is_member) && sharing.state.share_missing(problem) {
        tracing::warn!("{message}");
    }
}

/// Names what is wrong when the group's markers do not come on the connection that brings the messages.
fn look_for_markers(sharing: &Sharing) {
    let Some(since) = sharing.behind() else { return };
    if since.elapsed() < sharing.marker_patience() {
        return;
    }
    let channel = sharing.channel();
    let message = format!(
        "this replica is told of markers on the control channel {channel} that have not come for {} s: the user may not be permitted to \
         publish there (ACL SETUSER … &{channel} +publish +subscribe), the address leads to different servers, or this replica is far \
         behind with what it receives",
        since.elapsed().as_secs()
    );
    if sharing.state.share_missing(Some((Reason::RedisPermission, message.clone()))) {
        tracing::warn!("{message}");
    }
}
