//! When the faults have ended, everything goes on and comes to its end.

use std::collections::BTreeMap;

use super::Court;
use crate::index::Send;
use crate::{Outcome, Verdict};

impl Court<'_> {
    pub(super) fn progress(&mut self) {
        let index = self.index;
        let Some(end) = index.quiescent else {
            return;
        };
        for (name, group) in &index.groups {
            let Some((_, topics)) = group.reads else {
                continue;
            };
            for ((topic, partition), log) in &index.logs {
                if !topics.iter().any(|read| read == topic) {
                    continue;
                }
                self.report.look(Verdict::Stuck);
                let committed = group.last.get(&(*topic, *partition));
                let at = committed.map(|(at, _)| *at);
                let offset = committed.map_or(log.start, |(_, offset)| *offset);
                if log.records.range(offset..).next().is_some() {
                    let of = log.end;
                    let what = format!("{name} stands at {offset} of {of} in {topic}[{partition}]");
                    let proof = [log.at, end].into_iter().chain(at);
                    self.breach(Verdict::Stuck, what, proof);
                }
            }
        }
        for (id, tries) in &index.sends {
            self.gets_through(id, tries);
            for send in tries.values() {
                self.report.look(Verdict::Stuck);
                // Who ends in order has told of everything.
                let was_cut_off = index.ended_between(send.process, send.at, end);
                if send.ended.is_none() && !was_cut_off {
                    let what = format!("nobody was told what became of {id}");
                    self.breach(Verdict::Stuck, what, [send.at, end]);
                }
            }
        }
    }

    /// Once faults have ended, whoever tries often enough is acknowledged.
    fn gets_through(&mut self, id: &str, tries: &BTreeMap<u32, Send<'_>>) {
        let (Some(healed), Some(first)) = (self.index.healed, tries.values().next()) else {
            return;
        };
        let is_told = |send: &Send<'_>| send.ended.is_some();
        let gets_through = |send: &Send<'_>| {
            let outcome = send.ended.map(|(_, outcome)| outcome);
            matches!(
                outcome,
                Some(Outcome::Logged { .. } | Outcome::Spooled { .. })
            )
        };
        if first.at > healed && tries.values().all(is_told) && !tries.values().any(gets_through) {
            let what = format!("{id} did not get through though the faults had ended");
            let ends = tries.values().filter_map(|send| send.ended);
            let proof: Vec<_> = ends.map(|(at, _)| at).chain([healed, first.at]).collect();
            self.breach(Verdict::Stuck, what, proof);
        }
    }
}
