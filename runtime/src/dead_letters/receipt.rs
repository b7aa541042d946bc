//! What goes with a message that is handled again, to its end: whether its entry has done its work.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::mpsc::UnboundedSender;

use super::entry::Entry;

/// A message to be handled again.
#[derive(Debug)]
pub struct Redriven {
    /// What it was when it failed; [`Entry::attempts`] are those of its earlier lives.
    pub entry: Entry,
    /// To be kept with the message until its end.
    pub receipt: Arc<Receipt>,
    /// How often it was handed out to be handled again, this time included.
    pub deliveries: u64,
}

/// Goes with a message to its end. When the last copy is dropped and nobody has called [`settle`](Receipt::settle), the message
/// was dropped, and its entry comes again later.
#[derive(Debug)]
pub struct Receipt {
    id: String,
    settled: AtomicBool,
    ends: UnboundedSender<End>,
}

/// What became of an entry that was handed out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The entry.
    pub(super) id: String,
    /// Whether it has done its work; else it comes again.
    pub(super) settled: bool,
}

impl Receipt {
    /// For an entry that is handed out. Its end is told on this channel.
    pub(super) fn new(id: String, ends: UnboundedSender<End>) -> Self {
        Self { id, settled: AtomicBool::new(false), ends }
    }

    /// The message was handled, or its letter is written anew: the entry has done its work.
    pub fn settle(&self) {
        self.settled.store(true, Ordering::Release);
    }

    /// The id of the entry.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let _ = self.ends.send(End { id: std::mem::take(&mut self.id), settled: self.settled.load(Ordering::Acquire) });
    }
}
