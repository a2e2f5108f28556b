//! A commit says that everything before it is done.

use std::collections::BTreeSet;

use super::Court;
use crate::index::{Group, Partition};
use crate::{Place, Verdict};

impl Court<'_> {
    pub(super) fn commits(&mut self) {
        let index = self.index;
        for (name, group) in &index.groups {
            let committed = group.commits.keys().chain(group.last.keys());
            for (topic, partition) in committed.collect::<BTreeSet<_>>() {
                let key = (*topic, *partition);
                let Some(log) = index.logs.get(&key) else {
                    continue;
                };
                let commits = group.commits.get(&key).into_iter().flatten();
                // Whoever looked may have missed the last one: what the group had in the end, it had committed.
                let commits = commits.chain(group.last.get(&key));
                let mut done_below = log.start;
                for (at, offset) in commits {
                    self.report.look(Verdict::CommittedPast);
                    let passed = (done_below.min(*offset), *offset);
                    self.passes(name, group, key, log, *at, passed);
                    done_below = done_below.max(*offset);
                }
            }
        }
    }

    fn passes(
        &mut self,
        name: &str,
        group: &Group<'_>,
        (topic, partition): (&str, i32),
        log: &Partition<'_>,
        committed_at: usize,
        (from, to): (i64, i64),
    ) {
        if to > log.end {
            let what = format!("{name} committed {to} of {topic}[{partition}], which ends before");
            self.breach(Verdict::CommittedPast, what, [committed_at, log.at]);
        }
        for offset in log.records.range(from..to).map(|(offset, _)| *offset) {
            let place = Place::new(topic, partition, offset);
            let done = group.done_at(self.index, &place);
            if done.is_some_and(|done| done < committed_at) {
                continue;
            }
            let handled = group.handled.get(&place).into_iter().flatten();
            let handled = handled.flat_map(|h| [Some(h.at), h.answer.map(|(at, _)| at)]);
            let proof: Vec<_> = handled.flatten().chain(done).collect();
            let proof = proof.into_iter().chain([committed_at, log.at]);
            let what = format!("{name} committed {to} over {place}, which was not done");
            let proof: Vec<_> = proof.collect();
            self.breach(Verdict::CommittedPast, what, proof);
            if done.is_none() {
                self.is_lost(&place, committed_at);
            }
        }
    }

    /// What was acknowledged and will now never be handled, is lost to the group.
    fn is_lost(&mut self, place: &Place, committed_at: usize) {
        let log = self
            .index
            .logs
            .get(&(place.topic.as_str(), place.partition));
        let record = log.and_then(|log| log.records.get(&place.offset));
        let Some(id) = record.and_then(|record| record.id.as_deref()) else {
            return;
        };
        let tries = self.index.sends.get(id);
        let acknowledged = tries.into_iter().flat_map(|tries| tries.values());
        let acknowledged = acknowledged.filter_map(|send| send.ended);
        let mut acknowledged = acknowledged.filter(|(_, outcome)| {
            matches!(
                outcome,
                crate::Outcome::Logged { .. } | crate::Outcome::Spooled { .. }
            )
        });
        if let (Some((ended, _)), false) =
            (acknowledged.next(), self.index.forged.contains_key(place))
        {
            let what = format!("{id} at {place} was acknowledged, and passed by unhandled");
            self.breach(Verdict::LostAcknowledged, what, [ended, committed_at]);
        }
    }
}
