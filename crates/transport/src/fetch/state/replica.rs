//! The follower that a leader says is the one to be read from (KIP-392).

use tokio::time::Instant;

/// A replica nearby, until the leader is to be asked again whether it still is the one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Preferred {
    broker_id: i32,
    until: Instant,
}

impl Preferred {
    pub(super) fn new(broker_id: i32, until: Instant) -> Self {
        Self { broker_id, until }
    }

    /// Which, unless its time is over.
    pub(super) fn at(&self, now: Instant) -> Option<i32> {
        (now < self.until).then_some(self.broker_id)
    }
}
