//! Waiting for something that others change.

use tokio::sync::Notify;

/// Waits until `look` finds what it looks for: now, or after one of the changes.
pub(super) async fn until<T>(changes: &Notify, mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        let changed = changes.notified();
        tokio::pin!(changed);
        // Before the look, so that a change after it is not missed.
        changed.as_mut().enable();
        if let Some(found) = look() {
            return found;
        }
        changed.await;
    }
}
