//! What a test holds of a fault it injected.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A fault that was injected. It works on when the handle is dropped.
#[derive(Clone, Debug)]
pub struct FaultHandle {
    hits: Arc<watch::Sender<u64>>,
    released: CancellationToken,
    removed: CancellationToken,
}

impl FaultHandle {
    pub(super) fn new() -> Self {
        Self {
            hits: Arc::new(watch::Sender::new(0)),
            released: CancellationToken::new(),
            removed: CancellationToken::new(),
        }
    }

    /// How many requests it has hit.
    pub fn hits(&self) -> u64 {
        *self.hits.borrow()
    }

    /// Waits until it has hit so many requests.
    pub async fn wait_for_hits(&self, hits: u64) {
        let mut seen = self.hits.subscribe();
        // The sender lives in `self`, so this ends only by the condition.
        let _ = seen.wait_for(|count| *count >= hits).await;
    }

    /// Lets go what [`Fault::hold`](super::Fault::hold) keeps, now and from now on.
    pub fn release(&self) {
        self.released.cancel();
    }

    /// Ends the fault, and lets go what it keeps.
    pub fn remove(&self) {
        self.removed.cancel();
        self.release();
    }

    pub(super) fn is_removed(&self) -> bool {
        self.removed.is_cancelled()
    }

    pub(super) fn hit(&self) {
        self.hits.send_modify(|count| *count += 1);
    }

    pub(super) fn released(&self) -> CancellationToken {
        self.released.clone()
    }
}
