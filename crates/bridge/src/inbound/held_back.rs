//! Open transactions that hide what comes after them.
//!
//! Whoever may write to a topic may leave a transaction open, and readers of what is committed then
//! see nothing behind it. Nothing is paused for it, it is said aloud: where the last stable offset has
//! stood still below the high watermark for a while, once for each time it does.

use std::collections::BTreeMap;
use std::time::Duration;

use cybermesh_transport::{Progress, TopicPartition};
use tokio::time::Instant;

/// Which partitions are held back, as far as it was said.
#[derive(Debug)]
pub(super) struct HeldBack {
    /// How long the last stable offset may stand still below the high watermark.
    patience: Duration,
    /// Since when each was held back when it was said: since then anew is another time.
    said: BTreeMap<TopicPartition, Instant>,
}

impl HeldBack {
    /// Nothing is held back yet.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            said: BTreeMap::new(),
        }
    }

    /// Those that are held back since the last look, and long enough to be said so.
    pub(super) fn look<'a>(&mut self, progress: &'a [Progress], now: Instant) -> Vec<&'a Progress> {
        let held: Vec<&Progress> = progress
            .iter()
            .filter(|partition| {
                partition
                    .held_back_since
                    .is_some_and(|since| now.saturating_duration_since(since) >= self.patience)
            })
            .collect();
        self.said
            .retain(|said, _| held.iter().any(|held| held.partition == *said));
        held.into_iter()
            .filter(|held| {
                let since = held.held_back_since.unwrap_or(now);
                let before = self.said.insert(held.partition.clone(), since);
                before != Some(since)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(partition: i32, held_back_since: Option<Instant>) -> Progress {
        Progress {
            partition: TopicPartition::new("t", partition),
            position: Some(0),
            lag: Some(0),
            high_watermark: Some(9),
            last_stable_offset: Some(3),
            log_start_offset: Some(0),
            held_back_since,
        }
    }

    #[test]
    fn an_open_transaction_is_said_after_a_minute_once_and_again_when_it_is_another() {
        let begun = Instant::now();
        let mut watch = HeldBack::new(Duration::from_secs(60));
        let held = [progress(0, Some(begun)), progress(1, None)];
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert!(watch.look(&held, at(59)).is_empty());
        assert_eq!(watch.look(&held, at(60)), [&held[0]]);
        assert!(watch.look(&held, at(120)).is_empty(), "said once");
        assert!(watch.look(&[progress(0, None)], at(121)).is_empty());
        let again = [progress(0, Some(at(130)))];
        assert!(watch.look(&again, at(131)).is_empty());
        assert_eq!(watch.look(&again, at(190)), [&again[0]]);
        let next = [progress(0, Some(at(200)))];
        assert_eq!(
            watch.look(&next, at(260)),
            [&next[0]],
            "another one, though no look fell between them"
        );
    }
}
