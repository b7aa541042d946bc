//! Replicas that share what is published on plain Redis channels: the edge of `runtime/sharing`, which has the protocol itself.
//!
//! | what | module |
//! |---|---|
//! | a message as it is kept, and what goes with one that is ours | [`parcel`] |
//! | what goes with every message of one stay | [`tenure`] |
//! | the right to begin what is ours, for as long as the group counts on us | [`lease`] |
//! | messages that are tried after a crash, one by one | [`trials`] |
//! | one stay in the group | `stay` |
//! | the present stay and those before it, under one lock | [`desk`] |
//! | what happens to this replica: it enters, hears markers, is cut off, leaves | [`member`] |
//! | what it tells the group and what it makes of the answers | `answers` |
//! | tells the group in Redis that we live, and hears of the others | [`beats`] |
//! | tells the group what is tried after a crash | `telling` |
//! | calls the script | `script` |
//! | waits for a change | `until` |
//! | what metrics and `spinredis status` show | [`report`] |
//!
//! The receiver brings what Redis sends, in its order; beats come from the control thread. Both meet under one lock, and under
//! it messages go into the queues, so that what is released by a beat cannot overtake what was received before.

mod answers;
mod beats;
pub mod desk;
pub mod lease;
pub mod member;
pub mod parcel;
pub mod report;
mod script;
pub mod stay;
mod telling;
pub mod tenure;
pub mod trials;
mod until;

pub use desk::Desk;
pub use member::Sharing;
pub use parcel::{Beginning, Owned};

use std::sync::Arc;

use spinredis_crds::sharing::SharingLimits;
use spinredis_sharing::script::Place;

use crate::dead_letters::link::Link;

/// Talks with the group for as long as it is polled.
pub async fn run(sharing: Arc<Sharing>, link: Link) {
    let link = Arc::new(link);
    tokio::join!(beats::run(sharing.clone(), link.clone()), telling::run(sharing, link));
}

/// How the replicas of an app share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where their group is kept on one server.
    pub place: Place,
    /// Beat, expiry and what is kept of others' messages.
    pub limits: SharingLimits,
    /// What the ids of this replica begin with: its pod.
    pub replica: String,
}
