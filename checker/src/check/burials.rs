//! A dead letter has a cause, and what is a cause has a dead letter.

use super::Court;
use crate::index::{Group, Partition};
use crate::{Answer, Fate, Place, Verdict};

/// What a handler's answers lead to.
const REJECTED: &str = "handler-rejected";
const GIVEN_UP: [&str; 2] = ["attempts-exhausted", "handler-panic"];
/// What a wrong clock leads to.
const FUTURE: &str = "future";
/// What a copy that comes after more than a ring leads to.
const REPLAY: &str = "replay";
/// What the withdrawal of a key leads to.
const WITHDRAWN: [&str; 4] = [
    "key-revoked",
    "unknown-key",
    "key-not-authorised",
    "key-expired",
];

impl Court<'_> {
    pub(super) fn burials(&mut self) {
        let index = self.index;
        for group in index.groups.values() {
            for (place, burials) in &group.buried {
                for (at, disposition, _) in burials {
                    self.report.look(Verdict::WronglyBuried);
                    self.was_due(group, place, *at, disposition);
                }
            }
            let Some((_, topics)) = group.reads else {
                continue;
            };
            for ((topic, partition), log) in &index.logs {
                if topics.iter().any(|read| read == topic) {
                    self.are_buried(group, (topic, *partition), log);
                }
            }
        }
    }

    fn was_due(&mut self, group: &Group<'_>, place: &Place, at: usize, disposition: &str) {
        if let Some(forged) = self.index.forged.get(place) {
            let is = |fate: &Fate| matches!(fate, Fate::Buried(as_what) if as_what == disposition);
            // Its key is looked up before its signature and its place.
            let withdrawn = WITHDRAWN.contains(&disposition) && self.was_withdrawn(place, at);
            let stepped = disposition == FUTURE && self.was_clock_wrong(at);
            if !(withdrawn || stepped || forged.fates.iter().any(is)) {
                let what = format!("{place}, forged, was buried as {disposition}");
                self.breach(Verdict::WronglyBuried, what, [forged.at, at]);
            }
            return;
        }
        let answers = || {
            let handled = group.handled.get(place).into_iter().flatten();
            let answers = handled.filter_map(|handling| handling.answer);
            answers.filter(|(answered, _)| *answered < at)
        };
        let tried_again = [Answer::Retry, Answer::Failed, Answer::Cancelled];
        let due = match disposition {
            REJECTED => answers().any(|(_, answer)| answer == Answer::Reject),
            // A panic or a deadline cuts a handler off before it can say so itself.
            of if GIVEN_UP.contains(&of) => {
                answers().any(|(_, answer)| tried_again.contains(&answer))
                    || group.handled.contains_key(place)
            }
            // Whose clock it was cannot be told: the sender's, or the receiver's.
            FUTURE => self.was_clock_wrong(at),
            // Its own sender wrote it again, not knowing that it had been written.
            REPLAY => self.index.copy_of(place).is_some(),
            of if WITHDRAWN.contains(&of) => self.was_withdrawn(place, at),
            _ => false,
        };
        if !due {
            let what = format!("{place} was buried as {disposition}, which nothing called for");
            let log = self
                .index
                .logs
                .get(&(place.topic.as_str(), place.partition));
            let proof = answers().map(|(answered, _)| answered);
            let proof: Vec<_> = proof.chain([at]).chain(log.map(|log| log.at)).collect();
            self.breach(Verdict::WronglyBuried, what, proof);
        }
    }

    fn was_clock_wrong(&self, by: usize) -> bool {
        self.index.clock_stepped.is_some_and(|step| step < by)
    }

    fn was_withdrawn(&self, place: &Place, by: usize) -> bool {
        let index = self.index;
        let log = index.logs.get(&(place.topic.as_str(), place.partition));
        let record = log.and_then(|log| log.records.get(&place.offset));
        let id = record.and_then(|record| record.id.as_deref());
        let tries = id.and_then(|id| index.sends.get(id));
        let mut signers = tries
            .into_iter()
            .flat_map(|tries| tries.values())
            .filter_map(|send| send.signer);
        signers.any(|signer| index.withdrawn.get(signer).is_some_and(|at| *at < by))
    }

    /// Once an offset is passed, what had to be buried is.
    fn are_buried(
        &mut self,
        group: &Group<'_>,
        (topic, partition): (&str, i32),
        log: &Partition<'_>,
    ) {
        let passed = group.last.get(&(topic, partition));
        let commits = group.commits.get(&(topic, partition));
        let passed = passed.or_else(|| commits.and_then(|commits| commits.last()));
        let Some((passed_at, passed)) = passed else {
            return;
        };
        for offset in log.records.range(..*passed).map(|(offset, _)| *offset) {
            let place = Place::new(topic, partition, offset);
            let Some(due) = self.buries(group, &place) else {
                continue;
            };
            self.report.look(Verdict::NotBuried);
            let burials = group.buried.get(&place).into_iter().flatten();
            let mut acknowledged = burials.filter(|(_, _, acknowledged)| *acknowledged);
            if acknowledged.next().is_none() {
                let what = format!("{place} is passed by and has no dead letter");
                self.breach(Verdict::NotBuried, what, [due, *passed_at]);
            }
        }
    }

    /// What calls for this record's dead letter, where nothing else may become of it.
    fn buries(&self, group: &Group<'_>, place: &Place) -> Option<usize> {
        if let Some(forged) = self.index.forged.get(place) {
            let skipped = forged.fates.contains(&Fate::Skipped);
            return (!skipped).then_some(forged.at);
        }
        let handled = group.handled.get(place).into_iter().flatten();
        let answers: Vec<_> = handled.filter_map(|handling| handling.answer).collect();
        let done = |(_, answer): &(usize, Answer)| matches!(answer, Answer::Done | Answer::Skip);
        if answers.iter().any(done) {
            return None;
        }
        let rejected = answers.iter().find(|(_, answer)| *answer == Answer::Reject);
        rejected.map(|(at, _)| *at)
    }
}
