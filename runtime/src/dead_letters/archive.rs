//! What a person does with the dead letters of an app: look at them, move them to where their component takes them from, remove
//! them. A stream may hold the letters of several apps and components; only those that were asked for are touched.

use redis::{Value, cmd};

use super::{
    entry::{Entry, EntryError},
    link::{Link, LinkError},
    place::Place,
    reply::{self, NotEntries, Record},
    stride::Stride,
    trouble::Trouble,
};

/// Entries in one answer.
const MOST_AT_ONCE: usize = 256;
/// Entries moved or removed by one command: a script of this length holds Redis up for no more than a moment.
const MOVED_AT_ONCE: usize = 32;

/// Adds an entry to the stream it goes to and removes it from the one it is in, as one step, so that of two people who move it
/// one does. The order matters: what cannot be added stays. Gives how many there were.
const MOVE: &str = r"
local moved = 0
for _, id in ipairs(ARGV) do
  local found = redis.call('XRANGE', KEYS[1], id, id)
  if found[1] then
    redis.call('XADD', KEYS[2], '*', unpack(found[1][2]))
    redis.call('XDEL', KEYS[1], id)
    moved = moved + 1
  end
end
return moved";

/// Why nothing can be done.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Redis cannot be reached, or refuses.
    #[error("stream {stream} of {server}: {sentence}")]
    Redis {
        /// Key of the stream.
        stream: String,
        /// The server, without credentials.
        server: String,
        /// Why.
        sentence: String,
    },
    /// Redis answers with something else than entries.
    #[error(transparent)]
    NotEntries(#[from] NotEntries),
}

/// An entry that is no dead letter, or one.
pub type Found = (String, Result<Entry, EntryError>);

/// Which letters are meant.
#[derive(Clone, Debug)]
pub struct Owner<'a> {
    /// `namespace/name` of the app.
    pub app: &'a str,
    /// Id of the component; all of them without one.
    pub component: Option<&'a str>,
}

impl Owner<'_> {
    /// Whether a letter is one of those.
    pub fn has(&self, entry: &Entry) -> bool {
        *entry.app == *self.app && self.component.is_none_or(|component| *entry.component == *component)
    }
}

/// The stream of dead letters of a component, or of several that keep them together.
pub struct Archive<'a> {
    link: &'a Link,
    stream: &'a str,
    redrive_stream: String,
}

/// From which end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The oldest entry first.
    Oldest,
    /// The newest entry first.
    Newest,
}

impl<'a> Archive<'a> {
    /// The archive at a place.
    pub fn new(place: &'a Place) -> Self {
        Self { link: &place.link, stream: &place.stream, redrive_stream: place.redrive_stream() }
    }

    /// Looks at the entries one after the other until `look` says that it has seen enough. With `until_ms` only at those that
    /// were written before that time, in milliseconds since 1970-01-01T00:00:00Z. It sees no more entries than there were when it
    /// began, so that it ends while letters are being written.
    pub async fn scan(&self, from: From, until_ms: Option<u64>, mut look: impl FnMut(Found) -> bool) -> Result<(), ArchiveError> {
        let mut left = self.count(cmd("XLEN").arg(self.stream)).await?;
        let mut stride = Stride::new(MOST_AT_ONCE);
        let end = until_ms.map_or_else(|| "+".to_owned(), |ms| format!("({ms}-0"));
        let mut next: Option<String> = None;
        loop {
            let mut command = cmd(if from == From::Oldest { "XRANGE" } else { "XREVRANGE" });
            command.arg(self.stream);
            match from {
                From::Oldest => command.arg(next.as_deref().unwrap_or("-")).arg(&end),
                From::Newest => command.arg(next.as_deref().unwrap_or(&end)).arg("-"),
            };
            let records = reply::records(self.query(command.arg("COUNT").arg(stride.count())).await?)?;
            stride.answered(records.iter().map(Record::bytes).sum());
            let Some(last) = records.last() else { return Ok(()) };
            next = Some(format!("({}", last.id));
            for Record { id, fields } in records {
                if left == 0 {
                    return Ok(());
                }
                left -= 1;
                if let Some(fields) = fields
                    && !look((id, Entry::parse(&fields)))
                {
                    return Ok(());
                }
            }
        }
    }

    /// One entry by its id.
    pub async fn get(&self, id: &str) -> Result<Option<Found>, ArchiveError> {
        let records = reply::records(self.query(cmd("XRANGE").arg(self.stream).arg(id).arg(id)).await?)?;
        let found = records.into_iter().find_map(|record| Some((record.id, record.fields?)));
        Ok(found.map(|(id, fields)| (id, Entry::parse(&fields))))
    }

    /// Moves entries to where their component takes them from, and gives how many were still there.
    pub async fn redrive(&self, ids: &[String]) -> Result<u64, ArchiveError> {
        let mut moved = 0;
        for ids in ids.chunks(MOVED_AT_ONCE) {
            let mut command = cmd("EVAL");
            command.arg(MOVE).arg(2).arg(self.stream).arg(&self.redrive_stream).arg(ids);
            moved += self.count(&command).await.map_err(|error| match error {
                // Either of the two may be what is wrong.
                ArchiveError::Redis { stream, server, sentence } => {
                    ArchiveError::Redis { stream: format!("{stream} or {}", self.redrive_stream), server, sentence }
                }
                other => other,
            })?;
        }
        Ok(moved)
    }

    /// Removes entries, and gives how many were still there.
    pub async fn remove(&self, ids: &[String]) -> Result<u64, ArchiveError> {
        let mut removed = 0;
        for ids in ids.chunks(MOVED_AT_ONCE) {
            removed += self.count(cmd("XDEL").arg(self.stream).arg(ids)).await?;
        }
        Ok(removed)
    }

    /// How many entries wait in the stream from which components take them.
    pub async fn waiting(&self) -> Result<u64, ArchiveError> {
        self.count(cmd("XLEN").arg(&self.redrive_stream)).await
    }

    async fn count(&self, command: &redis::Cmd) -> Result<u64, ArchiveError> {
        match self.query(command).await? {
            Value::Int(number) => Ok(u64::try_from(number).unwrap_or(0)),
            _ => Err(NotEntries.into()),
        }
    }

    async fn query(&self, command: &redis::Cmd) -> Result<Value, ArchiveError> {
        self.link.query(command).await.map_err(|error: LinkError| ArchiveError::Redis {
            stream: self.stream.to_owned(),
            server: self.link.server(),
            sentence: Trouble::of(&error, self.stream).sentence,
        })
    }
}
