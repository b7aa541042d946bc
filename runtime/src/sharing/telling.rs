//! Tells the group what this replica tries after a crash: by a field of the group's hash that only this replica writes. The script would
//! do that too, and read and answer everything else with it; here a message waits for the answer.

use std::{sync::Arc, time::Duration};

use rand::RngExt;
use redis::pipe;
use spinredis_sharing::script::{kept_for, trials_field};
use tokio::time::{sleep, timeout};

use super::{
    beats::{self, Patience},
    member::Sharing,
};
use crate::dead_letters::link::{Link, LinkError};

/// So long the end of a message may stay untold: mostly the next begins meanwhile, and both are told at once.
const AT_LEISURE: Duration = Duration::from_millis(5);

/// Tells for as long as it is polled.
pub async fn run(sharing: Arc<Sharing>, link: Arc<Link>) {
    let limits = sharing.settings.limits;
    let mut failures = 0;
    loop {
        match sharing.trials.untold() {
            None => {
                sharing.trials.news().await;
                continue;
            }
            Some(untold) if !untold.is_awaited => {
                let _ = timeout(AT_LEISURE, sharing.trials.news()).await;
            }
            Some(_) => {}
        }
        // In this order: what is told is at least as new as the change that is said to be told.
        let Some(untold) = sharing.trials.untold() else { continue };
        let answer = timeout(Patience::of(limits.expiry).new, tell(&sharing, &link)).await;
        let error = match answer {
            Ok(Ok(())) => {
                sharing.trials.told(untold.change);
                failures = 0;
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                link.forget().await;
                "no answer".to_owned()
            }
        };
        sharing.trials.unheard();
        failures += 1;
        if failures == 3 && untold.is_awaited {
            tracing::warn!("messages that replicas have died with wait until the group can be told of them: {error}");
        }
        let jitter = rand::rng().random_range(0.5..1.0);
        sleep(beats::backoff(limits, failures, jitter)).await;
    }
}

async fn tell(sharing: &Sharing, link: &Link) -> Result<(), LinkError> {
    let tried = sharing.tried();
    if tried.is_empty() {
        return Ok(());
    }
    let key = &sharing.settings.place.key;
    let mut commands = pipe();
    // Not by `hset_multiple`, which is HMSET: the user may HSET, as the script does.
    let fields: Vec<(String, &str)> = tried.iter().map(|(id, text)| (trials_field(id), text.as_str())).collect();
    commands.cmd("HSET").arg(key).arg(&fields);
    // A group that was forgotten meanwhile does not stay for ever because of this.
    commands.pexpire(key, i64::try_from(kept_for(sharing.settings.limits.expiry).as_millis()).unwrap_or(i64::MAX));
    link.each(&mut commands).await?.into_iter().find_map(Result::err).map_or(Ok(()), |error| Err(error.into()))
}
