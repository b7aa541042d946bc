//! `spinredis dead-letters`: what a person does with messages that failed for good. It reads the app's manifest to know where
//! they are, on a laptop or in a pod of the app; what it finds goes to stdout, and what it has to say about it to stderr.

mod act;
mod print;
mod whose;

use std::{io::Write, process::ExitCode};

use super::{CommandError, say};
use crate::{
    cli::dead_letters::{DeadLettersCommand, ListArgs, ShowArgs},
    dead_letters::{
        archive::{Archive, ArchiveError, From},
        entry::EntryError,
        place::PlaceError,
    },
};
use whose::Whose;

/// Why nothing could be shown or done.
#[derive(Debug, thiserror::Error)]
enum DeadLettersError {
    /// No file, and this is not a pod.
    #[error("name the app's manifest with -f FILE")]
    NoManifest,
    /// Manifest or references cannot be read.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// An address that cannot be used.
    #[error("--address: {0}")]
    Address(String),
    /// A component's letters have no server.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The app keeps none.
    #[error("no component of app {0} has deadLetter, so messages that fail are counted and logged and not kept: set deadLetter.stream")]
    NotKept(String),
    /// The component keeps none.
    #[error("component {0} has no deadLetter, so messages that fail are counted and logged and not kept: set deadLetter.stream")]
    NotKeptBy(String),
    /// There is no such component.
    #[error("--component {given}: the app has no component of that id, it has {known}")]
    UnknownComponent {
        /// As given.
        given: String,
        /// The ids of the app.
        known: String,
    },
    /// Components keep their letters in different streams.
    #[error("the components of this app keep their dead letters in different streams: name one with --component: {0}")]
    Several(String),
    /// Redis cannot be asked.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// There is no such entry.
    #[error("stream {stream} has no entry {ids}: `spinredis dead-letters list` shows what it has")]
    NoEntry {
        /// Key of the stream.
        stream: String,
        /// As given.
        ids: String,
    },
    /// The entry is no dead letter.
    #[error("entry {id} is no dead letter: {error}")]
    NotALetter {
        /// Its id.
        id: String,
        /// Why.
        error: EntryError,
    },
    /// The entry belongs to somebody else.
    #[error("entry {id} is of component {component} of app {app}: nothing was done")]
    NotOwn {
        /// Its id.
        id: String,
        /// The component it is of.
        component: String,
        /// And its app.
        app: String,
    },
    /// Removing needs a yes.
    #[error("nothing was removed: add --yes to remove {0}")]
    Unconfirmed(String),
}

pub(super) fn run(command: &DeadLettersCommand) -> ExitCode {
    // Commands for Redis wait; nothing here is worth a second thread.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("starting threads: {error}")),
    };
    let result = runtime.block_on(async {
        match command {
            DeadLettersCommand::List(args) => list(args).await,
            DeadLettersCommand::Show(args) => show(args).await,
            DeadLettersCommand::Redrive(args) => act::redrive(args).await,
            DeadLettersCommand::Purge(args) => act::purge(args).await,
        }
    });
    // A name lookup cannot be cancelled and would be waited for.
    runtime.shutdown_background();
    result.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

async fn list(args: &ListArgs) -> Result<(), DeadLettersError> {
    let whose = Whose::of(&args.whose)?;
    let (mut rows, mut unread, mut more) = (Vec::new(), Unread::default(), false);
    let archive = Archive::new(&whose.place);
    archive
        .scan(From::Newest, None, |(id, entry)| {
            match entry {
                Ok(entry) if whose.owner().has(&entry) && rows.len() == args.limit => more = true,
                Ok(entry) if whose.owner().has(&entry) => rows.push(print::Row::of(id, &entry)),
                Ok(_) => {}
                Err(error) => unread.add(id, error),
            }
            !more
        })
        .await?;
    match (args.json, rows.is_empty()) {
        (true, _) => rows.iter().for_each(|row| say(row.json())),
        (false, true) => say(format!("there are no dead letters in stream {} of {}", whose.place.stream, whose.place.link.server())),
        (false, false) => say(print::table(&rows).trim_end()),
    }
    if more {
        note(format!("these are the newest {}; --limit NUMBER shows more", rows.len()));
    }
    unread.note();
    // Only a help: whoever may not read the other stream sees this one all the same.
    if let Ok(waiting @ 1..) = archive.waiting().await {
        note(format!("{} in stream {} to be handled again", print::entries(waiting, "is", "are"), whose.place.redrive_stream()));
    }
    Ok(())
}

async fn show(args: &ShowArgs) -> Result<(), DeadLettersError> {
    let whose = Whose::of(&args.whose)?;
    let (id, entry) = whose.entry(&args.id).await?;
    let mut stdout = std::io::stdout().lock();
    // Nobody is helped by an error about a closed pipe.
    let _ = match args.raw {
        true => stdout.write_all(&entry.payload),
        false => stdout.write_all(print::whole(&id, &entry).as_bytes()),
    };
    let _ = stdout.flush();
    Ok(())
}

/// Entries that are no dead letters: somebody else's, or of a version to come.
#[derive(Default)]
struct Unread {
    count: u64,
    first: Option<(String, EntryError)>,
}

impl Unread {
    fn add(&mut self, id: String, error: EntryError) {
        self.count += 1;
        self.first.get_or_insert((id, error));
    }

    fn note(&self) {
        if let Some((id, error)) = &self.first {
            note(format!("{} left out, the first is {id}: {error}", print::entries(self.count, "was", "were")));
        }
    }
}

/// Says something about the output beside it.
fn note(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn fail(error: &impl std::fmt::Display) -> ExitCode {
    note(error);
    ExitCode::FAILURE
}
