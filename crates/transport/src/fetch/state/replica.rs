//! The follower that a leader says is the one to be read from (KIP-392).

use std::time::Duration;

use tokio::time::Instant;

/// How long a follower is left alone that is not to be found: the view of the cluster may be late, and the next look at
/// it is not to be paid for with every fetch.
const LEFT_ALONE_FOR: Duration = Duration::from_secs(5);

/// Whom a partition is read from: the leader, a replica nearby, or the leader because that replica failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Nearby {
    /// The leader may send us elsewhere.
    #[default]
    Unknown,
    /// This broker, until the leader is to be asked again whether it still is the one.
    Follower {
        broker_id: i32,
        until: Instant,
        /// Whether it was missed just before.
        was_missed: bool,
    },
    /// This broker was to be read from, and is not in our view of the cluster or down by it.
    Missed { broker_id: i32 },
    /// The follower failed: the leader is asked for records itself, or it would send us there again. It sees what is
    /// between brokers, not what is between us and one of them.
    Shunned { until: Instant },
}

impl Nearby {
    /// The follower to be asked, if one is.
    pub(super) fn follower(self, now: Instant) -> Option<i32> {
        match self {
            Self::Follower {
                broker_id, until, ..
            } if now < until => Some(broker_id),
            _ => None,
        }
    }

    /// Whether the leader may send us elsewhere.
    pub(super) fn is_asked_for(self, now: Instant) -> bool {
        !matches!(self, Self::Shunned { until } if now < until)
    }

    /// The leader sends us to this broker.
    pub(super) fn preferred(self, broker_id: i32, until: Instant) -> Self {
        Self::Follower {
            broker_id,
            until,
            was_missed: self == Self::Missed { broker_id },
        }
    }

    /// The follower to be asked is not to be found. The leader, who knows it, would send us there again: once that is
    /// worth another look at the cluster, and after that it is left alone for a while.
    pub(super) fn missed(self, now: Instant) -> Self {
        match self {
            Self::Follower {
                broker_id,
                was_missed: false,
                ..
            } => Self::Missed { broker_id },
            _ => Self::Shunned {
                until: now + LEFT_ALONE_FOR,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_that_is_not_to_be_found_is_looked_for_once_and_then_left_alone_for_a_while() {
        let now = Instant::now();
        let until = now + Duration::from_secs(300);
        let mut nearby = Nearby::default();
        for at in [now, now + LEFT_ALONE_FOR] {
            nearby = nearby.preferred(2, until);
            assert_eq!(nearby.follower(at), Some(2));
            nearby = nearby.missed(at);
            assert!(nearby.follower(at).is_none() && nearby.is_asked_for(at));
            nearby = nearby.preferred(2, until).missed(at);
            assert!(nearby.follower(at).is_none() && !nearby.is_asked_for(at));
            assert!(nearby.is_asked_for(at + LEFT_ALONE_FOR));
        }
    }

    #[test]
    fn another_follower_than_the_one_that_was_missed_is_looked_for_too() {
        let now = Instant::now();
        let missed = Nearby::default()
            .preferred(2, now + LEFT_ALONE_FOR)
            .missed(now);
        let other = missed.preferred(3, now + LEFT_ALONE_FOR);
        assert_eq!(other.missed(now), Nearby::Missed { broker_id: 3 });
    }
}
