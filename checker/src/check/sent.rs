//! A lane stands in the log as it was sent.

use std::collections::BTreeMap;

use super::Court;
use crate::index::Send;
use crate::{Outcome, Place, Verdict};

/// A sender, a topic, a partition and a key.
type Lane<'a> = (&'a str, &'a str, i32, &'a str);

impl Court<'_> {
    /// Of one sender's messages with the same key, those that were acknowledged stand in the order they were handed over,
    /// on disk meanwhile or not. One of unknown outcome may be written whenever its request arrives.
    pub(super) fn sent_order(&mut self) {
        let index = self.index;
        let mut first: BTreeMap<&str, Place> = BTreeMap::new();
        for ((topic, partition), log) in &index.logs {
            for (offset, record) in &log.records {
                let place = Place::new(topic, *partition, *offset);
                if let (Some(id), false) = (&record.id, index.forged.contains_key(&place)) {
                    let known = first.entry(id).or_insert_with(|| place.clone());
                    *known = place.min(known.clone());
                }
            }
        }
        let mut lanes: BTreeMap<Lane<'_>, Vec<(usize, &Place)>> = BTreeMap::new();
        for (id, tries) in &index.sends {
            let (1, Some(send), Some(place)) = (tries.len(), tries.values().next(), first.get(id))
            else {
                continue;
            };
            if let (Some(key), true) = (send.lane, is_acknowledged(send)) {
                let lane = (send.process, place.topic.as_str(), place.partition, key);
                lanes.entry(lane).or_default().push((send.at, place));
            }
        }
        for ((process, _, _, key), mut sent) in lanes {
            sent.sort_unstable();
            let mut furthest: Option<(usize, &Place)> = None;
            for (at, place) in sent {
                self.report.look(Verdict::OutOfOrder);
                match furthest {
                    Some((before, further)) if place < further => {
                        let what = format!(
                            "{process} sent {place} after {further}, and both have the key {key}"
                        );
                        self.breach(Verdict::OutOfOrder, what, [before, at]);
                    }
                    _ => furthest = Some((at, place)),
                }
            }
        }
    }
}

fn is_acknowledged(send: &Send<'_>) -> bool {
    matches!(
        send.ended,
        Some((_, Outcome::Logged { .. } | Outcome::Spooled { .. }))
    )
}
