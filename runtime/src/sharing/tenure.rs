//! What goes with every message of one stay in the group: how far all are finished, the right to begin one, and those that are tried
//! after a crash. Held together, since a count of holders that two threads change costs as much as anything else done for a message.

use std::sync::{Arc, atomic::AtomicBool};

use spinredis_sharing::progress::Progress;
use tokio::sync::Notify;

use super::{lease::Lease, trials::Trials};

/// What one stay and its messages have in common.
#[derive(Clone)]
pub struct Tenure(Arc<Shared>);

/// See [`Tenure`].
pub struct Shared {
    /// What is finished.
    pub progress: Progress,
    /// The right to begin.
    pub lease: Lease,
    /// Whether a worker waits for the lease.
    pub is_awaited: AtomicBool,
    /// Whether one has waited for it in vain, and the group has not answered since.
    pub is_far_away: AtomicBool,
    /// What is tried after a crash, in all stays of this replica.
    pub trials: Arc<Trials>,
}

impl Tenure {
    /// Of a new stay. `wake` is woken when the group is to be told of an end.
    pub fn new(wake: Arc<Notify>, trials: Arc<Trials>) -> Self {
        let progress = Progress::new(move || wake.notify_one());
        Self(Arc::new(Shared {
            progress,
            lease: Lease::new(),
            is_awaited: AtomicBool::new(false),
            is_far_away: AtomicBool::new(false),
            trials,
        }))
    }
}

impl std::ops::Deref for Tenure {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl AsRef<Progress> for Tenure {
    fn as_ref(&self) -> &Progress {
        &self.0.progress
    }
}
