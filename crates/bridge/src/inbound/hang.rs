//! Hung handlers: work is in flight and nothing gets done.
//!
//! Heartbeats go on beside handlers, so the group does not notice: only the watermark tells, and the
//! attempts at the message that holds it. An attempt that ended is progress too: a message that uses its
//! attempts up takes longer than any one of them, and is buried in the end. A partition that stands still
//! for a reason that is already known, or waits for the next attempt, is not looked at.

use std::time::Duration;

use tokio::time::Instant;

/// The offset of the message that holds the watermark back, and which attempt at it is under way.
pub(crate) type UnderWay = (i64, u32);

/// Looks at the watermark of one partition.
#[derive(Debug)]
pub(crate) struct HangWatch {
    after: Duration,
    /// The attempt that holds the watermark, and since when.
    stands: Option<(UnderWay, Instant)>,
}

impl HangWatch {
    /// What makes no progress for `after` hangs.
    pub(crate) fn new(after: Duration) -> Self {
        Self {
            after,
            stands: None,
        }
    }

    /// Looks at what holds the watermark back; `None` where nothing is in flight, or it is known why it
    /// stands still. Answers that message's offset where it hangs.
    pub(crate) fn look(&mut self, oldest: Option<UnderWay>, now: Instant) -> Option<i64> {
        let (attempt, since) = match (oldest, self.stands) {
            (None, _) => {
                self.stands = None;
                return None;
            }
            (Some(attempt), Some((before, since))) if before == attempt => (attempt, since),
            (Some(attempt), _) => (attempt, now),
        };
        self.stands = Some((attempt, since));
        (now.saturating_duration_since(since) >= self.after).then_some(attempt.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AFTER: Duration = Duration::from_secs(300);

    #[test]
    fn a_message_that_holds_the_watermark_as_long_hangs_and_not_a_moment_before() {
        let mut watch = HangWatch::new(AFTER);
        let now = Instant::now();
        assert_eq!(watch.look(Some((7, 1)), now), None);
        assert_eq!(
            watch.look(Some((7, 1)), now + AFTER - Duration::from_millis(1)),
            None
        );
        assert_eq!(watch.look(Some((7, 1)), now + AFTER), Some(7));
        assert_eq!(watch.look(Some((8, 1)), now + AFTER), None);
    }

    #[test]
    fn an_idle_partition_hangs_never_and_begins_anew_with_the_next_message() {
        let mut watch = HangWatch::new(AFTER);
        let now = Instant::now();
        watch.look(Some((7, 1)), now);
        watch.look(None, now + AFTER / 2);
        assert_eq!(watch.look(Some((7, 1)), now + AFTER), None);
    }

    proptest! {
        /// The model keeps every look and goes back to the last one that saw something else.
        #[test]
        fn it_hangs_exactly_while_one_attempt_at_one_message_has_stood_there_all_the_time(
            steps in proptest::collection::vec((0_u64..200, proptest::option::of((0_i64..3, 1_u32..3))), 1..100)
        ) {
            let mut watch = HangWatch::new(AFTER);
            let (mut now, mut looks) = (Instant::now(), Vec::new());
            for (wait, oldest) in steps {
                now += Duration::from_secs(wait);
                looks.push((now, oldest));
                let since = looks.iter().rev().take_while(|(_, seen)| *seen == oldest).last();
                let hangs = since.is_some_and(|(at, _)| now - *at >= AFTER);
                let expected = oldest.filter(|_| hangs).map(|(offset, _)| offset);
                prop_assert_eq!(watch.look(oldest, now), expected);
            }
        }
    }
}
