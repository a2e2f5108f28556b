//! The follower that a leader says is the one to be read from (KIP-392).

use tokio::time::Instant;

/// Whom a partition is read from: the leader, a replica nearby, or the leader because that replica failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Nearby {
    /// The leader may send us elsewhere.
    #[default]
    Unknown,
    /// This broker, until the leader is to be asked again whether it still is the one.
    Follower { broker_id: i32, until: Instant },
    /// The follower failed: the leader is asked for records itself, or it would send us there again. It sees what is
    /// between brokers, not what is between us and one of them.
    Shunned { until: Instant },
}

impl Nearby {
    /// The follower to be asked, if one is.
    pub(super) fn follower(self, now: Instant) -> Option<i32> {
        match self {
            Self::Follower { broker_id, until } if now < until => Some(broker_id),
            _ => None,
        }
    }

    /// Whether the leader may send us elsewhere.
    pub(super) fn is_asked_for(self, now: Instant) -> bool {
        !matches!(self, Self::Shunned { until } if now < until)
    }
}
