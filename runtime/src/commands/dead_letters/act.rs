//! Moves and removes dead letters.

use std::time::SystemTime;

use super::{DeadLettersError, Unread, print, whose::Whose};
use crate::{
    cli::dead_letters::{PurgeArgs, RedriveArgs},
    commands::say,
    dead_letters::{
        archive::{Archive, From},
        entry::milliseconds,
    },
};

pub(super) async fn redrive(args: &RedriveArgs) -> Result<(), DeadLettersError> {
    let whose = Whose::of(&args.whose)?;
    let ids = which(&whose, &args.which.ids, None).await?;
    let stream = whose.place.redrive_stream();
    if args.dry_run {
        ids.iter().for_each(say);
        say(format!("{} be moved to stream {stream}", print::entries(ids.len() as u64, "would", "would")));
        return Ok(());
    }
    let moved = Archive::new(&whose.place).redrive(&ids).await?;
    say(format!("{} moved to stream {stream}, from which a running pod takes what it handles again", print::entries(moved, "was", "were")));
    gone(ids.len() as u64, moved);
    Ok(())
}

pub(super) async fn purge(args: &PurgeArgs) -> Result<(), DeadLettersError> {
    let whose = Whose::of(&args.whose)?;
    let older_than = args.which.older_than.map(|age| milliseconds(SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH)));
    let ids = which(&whose, &args.which.ids, older_than).await?;
    let count = ids.len() as u64;
    if args.dry_run {
        ids.iter().for_each(say);
        say(format!("{} be removed from stream {}", print::entries(count, "would", "would"), whose.place.stream));
        return Ok(());
    }
    if !args.yes && count > 0 {
        return Err(DeadLettersError::Unconfirmed(format!("{} from stream {}", print::number(count), whose.place.stream)));
    }
    let removed = Archive::new(&whose.place).remove(&ids).await?;
    say(format!("{} removed from stream {}", print::entries(removed, "was", "were"), whose.place.stream));
    gone(count, removed);
    Ok(())
}

/// Somebody else was faster.
fn gone(wanted: u64, done: u64) {
    if let Some(gone @ 1..) = wanted.checked_sub(done) {
        super::note(format!("{} gone before", print::entries(gone, "was", "were")));
    }
}

/// The entries that are meant: those that are named, which must all be there and be the owner's; else all of the owner's, or
/// those of them that are from before a time.
async fn which(whose: &Whose, named: &[String], until_ms: Option<u64>) -> Result<Vec<String>, DeadLettersError> {
    let mut ids = Vec::new();
    let mut missing = Vec::new();
    for id in named {
        match whose.entry(id).await {
            Ok((id, _)) if ids.contains(&id) => {}
            Ok((id, _)) => ids.push(id),
            Err(DeadLettersError::NoEntry { ids, .. }) => missing.push(ids),
            Err(other) => return Err(other),
        }
    }
    if !missing.is_empty() {
        return Err(DeadLettersError::NoEntry { stream: whose.place.stream.clone(), ids: missing.join(", ") });
    }
    if named.is_empty() {
        let mut unread = Unread::default();
        Archive::new(&whose.place)
            .scan(From::Oldest, until_ms, |(id, entry)| {
                match entry {
                    Ok(entry) if whose.owner().has(&entry) => ids.push(id),
                    Ok(_) => {}
                    Err(error) => unread.add(id, error),
                }
                true
            })
            .await?;
        unread.note();
    }
    Ok(ids)
}
