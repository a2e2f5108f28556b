//! The topics that each reading of metadata asks for: those that someone has asked for.

use std::collections::{BTreeMap, BTreeSet};

/// More topics than this are a leak, or the doing of a member of our group that subscribes to whatever comes to
/// its mind: those asked for longest ago are let go.
const MOST_TOPICS: usize = 10_000;

/// Names, by when they were last asked for.
#[derive(Debug, Default)]
pub(super) struct WantedTopics {
    asked_at: BTreeMap<String, u64>,
    clock: u64,
}

impl WantedTopics {
    pub(super) fn want(&mut self, topic: &str) {
        self.clock += 1;
        if let Some(asked_at) = self.asked_at.get_mut(topic) {
            *asked_at = self.clock;
            return;
        }
        if self.asked_at.len() >= MOST_TOPICS {
            let oldest = self.asked_at.iter().min_by_key(|(_, asked_at)| **asked_at);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.and_then(|name| self.asked_at.remove(&name));
        }
        self.asked_at.insert(topic.to_owned(), self.clock);
    }

    pub(super) fn names(&self) -> BTreeSet<String> {
        self.asked_at.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_names_does_not_drive_out_what_is_in_use() {
        let mut topics = WantedTopics::default();
        topics.want("ai.anomalies.v1");
        for number in 0..2 * MOST_TOPICS {
            topics.want(&format!("noise-{number}"));
            if number % 100 == 0 {
                topics.want("ai.anomalies.v1");
            }
        }
        let names = topics.names();
        assert_eq!(names.len(), MOST_TOPICS);
        assert!(names.contains("ai.anomalies.v1") && !names.contains("noise-0"));
    }
}
