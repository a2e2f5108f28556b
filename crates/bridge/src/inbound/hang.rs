//! Hung handlers: work is in flight and nothing gets done.
//!
//! Heartbeats go on beside handlers, so the group does not notice: only the watermark tells. A
//! partition that stands still for a reason that is already known is not looked at.

use std::time::Duration;

use tokio::time::Instant;

/// Looks at the watermark of one partition.
#[derive(Debug)]
pub(crate) struct HangWatch {
    after: Duration,
    /// The watermark, and since when it has stood there with work in flight.
    stands: Option<(i64, Instant)>,
}

impl HangWatch {
    /// What makes no progress for `after` hangs.
    pub(crate) fn new(after: Duration) -> Self {
        Self {
            after,
            stands: None,
        }
    }

    /// Looks at the message that holds the watermark back; `None` where nothing is in flight, or it
    /// is known why it stands still. Answers that message's offset where it hangs.
    pub(crate) fn look(&mut self, oldest: Option<i64>, now: Instant) -> Option<i64> {
        let (offset, since) = match (oldest, self.stands) {
            (None, _) => {
                self.stands = None;
                return None;
            }
            (Some(offset), Some((before, since))) if before == offset => (offset, since),
            (Some(offset), _) => (offset, now),
        };
        self.stands = Some((offset, since));
        (now.saturating_duration_since(since) >= self.after).then_some(offset)
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
        assert_eq!(watch.look(Some(7), now), None);
        assert_eq!(
            watch.look(Some(7), now + AFTER - Duration::from_millis(1)),
            None
        );
        assert_eq!(watch.look(Some(7), now + AFTER), Some(7));
        assert_eq!(watch.look(Some(8), now + AFTER), None);
    }

    #[test]
    fn an_idle_partition_hangs_never_and_begins_anew_with_the_next_message() {
        let mut watch = HangWatch::new(AFTER);
        let now = Instant::now();
        watch.look(Some(7), now);
        watch.look(None, now + AFTER / 2);
        assert_eq!(watch.look(Some(7), now + AFTER), None);
    }

    proptest! {
        /// The model keeps every look and goes back to the last one that saw something else.
        #[test]
        fn it_hangs_exactly_while_one_message_has_stood_there_all_the_time(
            steps in proptest::collection::vec((0_u64..200, proptest::option::of(0_i64..3)), 1..100)
        ) {
            let mut watch = HangWatch::new(AFTER);
            let (mut now, mut looks) = (Instant::now(), Vec::new());
            for (wait, oldest) in steps {
                now += Duration::from_secs(wait);
                looks.push((now, oldest));
                let since = looks.iter().rev().take_while(|(_, seen)| *seen == oldest).last();
                let expected = oldest.filter(|_| since.is_some_and(|(at, _)| now - *at >= AFTER));
                prop_assert_eq!(watch.look(oldest, now), expected);
            }
        }
    }
}
