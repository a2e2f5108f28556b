//! What was acknowledged is there; what is there was sent.

use std::collections::BTreeMap;

use super::Court;
use crate::index::Send;
use crate::{Outcome, Place, Verdict};

impl Court<'_> {
    pub(super) fn sending(&mut self) {
        let index = self.index;
        for (id, tries) in &index.sends {
            for send in tries.values() {
                self.acknowledged(id, send);
            }
        }
        self.records();
        self.once();
    }

    /// Judged where the log was read; what was spooled, only where it had time to be drained.
    fn acknowledged(&mut self, id: &str, send: &Send<'_>) {
        let index = self.index;
        let Some((ended, outcome)) = send.ended else {
            return;
        };
        match outcome {
            Outcome::Logged {
                topic,
                partition,
                offset,
            } => {
                self.report.look(Verdict::LostAcknowledged);
                let Some(log) = index.logs.get(&(topic.as_str(), *partition)) else {
                    return;
                };
                let is_there = match offset {
                    // What retention deleted was not lost by us.
                    Some(offset) if *offset < log.start => true,
                    Some(offset) => {
                        let record = log.records.get(offset);
                        record.is_some_and(|record| record.id.as_deref() == Some(id))
                    }
                    None => log.records.values().any(|r| r.id.as_deref() == Some(id)),
                };
                if !is_there {
                    let what = format!("{id} was acknowledged and is not where it was said to be");
                    let proof = [send.at, ended, log.at];
                    self.breach(Verdict::LostAcknowledged, what, proof);
                }
            }
            Outcome::Spooled { .. } => {
                self.report.look(Verdict::LostAcknowledged);
                if let (Some(end), true) = (index.quiescent, index.places_of(id).is_empty()) {
                    let what = format!("{id} was spooled and never came to the log");
                    self.breach(Verdict::LostAcknowledged, what, [send.at, ended, end]);
                }
            }
            Outcome::Unknown | Outcome::NotSent => {}
        }
    }

    /// Every record of a topic that somebody reads is a send's or a forger's, and its nonce its own.
    fn records(&mut self) {
        let index = self.index;
        let mut nonces: BTreeMap<&str, (&Option<String>, usize, Place)> = BTreeMap::new();
        for ((topic, partition), log) in &index.logs {
            let groups = index.groups.values();
            let mut reads = groups.filter_map(|group| group.reads);
            if !reads.any(|(_, topics)| topics.iter().any(|read| read == topic)) {
                continue;
            }
            for (offset, record) in &log.records {
                let place = Place::new(topic, *partition, *offset);
                if index.forged.contains_key(&place) {
                    continue;
                }
                self.report.look(Verdict::Phantom);
                match &record.id {
                    Some(id) => self.was_sent(id, &place, log.at),
                    None => {
                        let what = format!("nobody knows what stands at {place}");
                        self.breach(Verdict::Phantom, what, [log.at]);
                    }
                }
                let Some(nonce) = &record.nonce else {
                    continue;
                };
                self.report.look(Verdict::NonceReused);
                let first = (&record.identity, log.at, place.clone());
                let first = nonces.entry(nonce).or_insert(first);
                if *first.0 != record.identity {
                    let what = format!("{place} has the nonce of {}", first.2);
                    let proof = [first.1, log.at];
                    self.breach(Verdict::NonceReused, what, proof);
                }
            }
        }
    }

    /// Whether this id, met at `place`, was sent, in a try that may be written.
    pub(super) fn was_sent(&mut self, id: &str, place: &Place, met_at: usize) {
        let Some(tries) = self.index.sends.get(id) else {
            let what = format!("{id}, at {place}, was never sent");
            self.breach(Verdict::Phantom, what, [met_at]);
            return;
        };
        let not_sent = |send: &Send<'_>| match send.ended {
            Some((at, Outcome::NotSent)) => Some(at),
            _ => None,
        };
        let ends: Option<Vec<usize>> = tries.values().map(not_sent).collect();
        if let Some(ends) = ends {
            let what = format!("{id}, at {place}, was told not to be sent");
            let sent = tries.values().map(|send| send.at);
            let proof: Vec<_> = sent.chain(ends).chain([met_at]).collect();
            self.breach(Verdict::Phantom, what, proof);
        }
    }

    /// An idempotent producer writes once what it resends. What lay on disk meanwhile may go again after a crash.
    fn once(&mut self) {
        let index = self.index;
        let mut first: BTreeMap<&str, Place> = BTreeMap::new();
        for ((topic, partition), log) in &index.logs {
            for (offset, record) in &log.records {
                let place = Place::new(topic, *partition, *offset);
                let (Some(identity), Some(id)) = (&record.identity, &record.id) else {
                    continue;
                };
                if index.forged.contains_key(&place) {
                    continue;
                }
                self.report.look(Verdict::WrittenTwice);
                let tries = index.sends.get(id.as_str()).into_iter();
                let mut ends = tries.flat_map(BTreeMap::values).map(|send| send.ended);
                let plain = ends.all(|ended| {
                    matches!(ended, Some((_, Outcome::Logged { .. } | Outcome::NotSent)))
                });
                if let (Some(before), true) = (first.get(identity.as_str()), plain) {
                    let what = format!("{place} holds {id}, as {before} does");
                    self.breach(Verdict::WrittenTwice, what, [log.at]);
                }
                first.entry(identity).or_insert(place);
            }
        }
    }
}
