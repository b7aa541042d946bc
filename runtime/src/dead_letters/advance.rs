//! A dead letter in advance: of a message that one replica died with and that only this one still has. Should it bring this one down
//! as well, its letter is there; it is taken back when the message has had its end, and not between two attempts.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use redis::cmd;

use super::{
    entry::Entry,
    writer::{DeadLetters, Room},
};

/// A letter that was left in advance.
#[derive(Debug)]
pub struct Advance {
    /// Its id in the stream.
    id: String,
    count: Arc<AtomicU64>,
}

impl Advance {
    fn new(id: String, count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self { id, count: count.clone() }
    }
}

impl Drop for Advance {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl DeadLetters {
    /// Leaves a letter and waits until it is written. `None` when it could not be: the message is handled all the same, and a second
    /// crash would lose it.
    pub async fn leave_in_advance(&self, entry: &Entry) -> Option<Advance> {
        // It is here for a moment, as a rule: no letter of a message that has failed must make room for it.
        self.leave(entry, Room::AsItIs).await.map(|id| Advance::new(id, &self.in_advance))
    }

    /// Writes a letter at once, and gives its id.
    async fn leave(&self, entry: &Entry, room: Room) -> Option<String> {
        let place = self.place();
        match place.link.query(&self.command(entry, room)).await {
            Ok(id) => Some(id),
            Err(error) => {
                tracing::warn!(
                    app = %place.app, component = %place.component, channel = %entry.channel,
                    "a message that a replica died with has no dead letter in advance: {error}"
                );
                None
            }
        }
    }

    /// Takes a letter back: its message was handled. What cannot be taken back is a letter of a message that was handled, which is
    /// better than none of one that was not.
    pub async fn take_back(&self, advance: Advance) {
        let place = self.place();
        let deleted: Result<u64, _> = place.link.query(cmd("XDEL").arg(&place.stream).arg(&advance.id)).await;
        if let Err(error) = deleted {
            tracing::warn!(app = %place.app, component = %place.component, id = advance.id, "a dead letter of a handled message cannot be taken back: {error}");
        }
    }

    /// Leaves the letter there, with the room in the stream that it was given, for as long as this process lives.
    pub fn keep(&self, advance: Advance) {
        self.in_advance.fetch_add(1, Ordering::Relaxed);
        drop(advance);
    }

    /// Puts the letter of a message that failed for good in the place of the one in advance. Returns whether that was done.
    pub async fn replace(&self, advance: Advance, entry: &Entry) -> bool {
        let written = self.leave(entry, Room::Bounded).await.is_some();
        if written {
            self.written.fetch_add(1, Ordering::Relaxed);
        }
        self.take_back(advance).await;
        written
    }
}
