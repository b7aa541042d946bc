//! Tells the group what this replica tries after a crash: by a field of the group's hash that only this replica writes. The script would
//! do that too, and read and answer everything else with it; here a message waits for the answer.

use std::{sync::Arc, time::Duration};

use redis::pipe;
use spinredis_sharing::script::{kept_for, trials_field};
use tokio::time::{sleep, timeout};

use super::member::Sharing;
use crate::dead_letters::link::{Link, LinkError};

/// An answer is waited for so long.
const PATIENCE: Duration = Duration::from_secs(1);
/// Until it is tried again. What is wrong is told by the beats, which fail as well.
const AGAIN: Duration = Duration::from_millis(50);
/// So long the end of a message may stay untold: mostly the next begins meanwhile, and both are told at once.
const AT_LEISURE: Duration = Duration::from_millis(5);

/// Tells for as long as it is polled.
pub async fn run(sharing: Arc<Sharing>, link: Arc<Link>) {
    loop {
        let woken = sharing.untold.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        let untold = sharing.untold();
        match untold.iter().any(|(_, _, untold)| untold.is_awaited) {
            true => {}
            false if untold.is_empty() => {
                woken.await;
                continue;
            }
            false => {
                let _ = timeout(AT_LEISURE, woken).await;
            }
        }
        let untold = sharing.untold();
        if untold.is_empty() {
            continue;
        }
        let key = &sharing.settings.place.key;
        let mut commands = pipe();
        commands.hset_multiple(key, &untold.iter().map(|(id, _, untold)| (trials_field(id), &*untold.text)).collect::<Vec<_>>());
        // A group that was forgotten meanwhile does not stay for ever because of this.
        commands.pexpire(key, i64::try_from(kept_for(sharing.settings.limits.expiry).as_millis()).unwrap_or(i64::MAX));
        match timeout(PATIENCE, link.each(&mut commands)).await {
            Ok(Ok(answers)) if answers.iter().all(Result::is_ok) => {
                untold.iter().for_each(|(_, tenure, untold)| tenure.trials.told(untold.change));
            }
            Ok(Ok(answers)) => again(answers.into_iter().find_map(Result::err).map(LinkError::from)).await,
            Ok(Err(error)) => again(Some(error)).await,
            Err(_) => {
                link.forget().await;
                again(None).await;
            }
        }
    }
}

async fn again(error: Option<LinkError>) {
    tracing::debug!(
        "what is tried after a crash could not be told: {}",
        error.map_or_else(|| "no answer".to_owned(), |error| error.to_string())
    );
    sleep(AGAIN).await;
}
