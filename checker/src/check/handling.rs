//! What handlers were given: only what was sent and verified, and a second time only with a cause.

use std::collections::BTreeMap;

use super::Court;
use crate::index::{Group, Handling};
use crate::{Answer, Place, Verdict, Why};

impl Court<'_> {
    pub(super) fn handling(&mut self) {
        let index = self.index;
        for group in index.groups.values() {
            let mut offsets_of: BTreeMap<&str, BTreeMap<&Place, usize>> = BTreeMap::new();
            for (place, handlings) in &group.handled {
                for handling in handlings {
                    self.is_believed(group, place, handling);
                    let places = offsets_of.entry(handling.id).or_default();
                    places.entry(place).or_insert(handling.at);
                }
                for pair in handlings.windows(2) {
                    self.has_cause(group, place, &pair[0], &pair[1]);
                }
            }
            for (id, places) in offsets_of {
                self.is_no_copy(group, id, &places);
            }
        }
    }

    fn is_believed(&mut self, group: &Group<'_>, place: &Place, handling: &Handling<'_>) {
        self.report.look(Verdict::Unverified);
        let Handling { id, at, .. } = *handling;
        if let Some(forged) = self.index.forged.get(place) {
            let proof = [forged.at, at];
            // Where nothing else of the message was ever handled (its first record was buried for a clock that was
            // wrong, say), the copy is the message.
            let mut elsewhere = group.handled.iter().filter(|(other, _)| **other != place);
            let mut elsewhere = elsewhere.by_ref().flat_map(|(_, handlings)| handlings);
            if forged.copy && !elsewhere.any(|handled| handled.id == id) {
                return;
            }
            if forged.copy {
                let what = format!("{place}, a copy of {id}, was handled");
                self.breach(Verdict::CopyHandled, what, proof);
            } else {
                let what = format!("{place}, forged, was handled");
                self.breach(Verdict::Unverified, what, proof);
            }
            return;
        }
        if handling.verified_by.is_none() {
            let what = format!("{id} at {place} was handled unverified");
            self.breach(Verdict::Unverified, what, [at]);
        }
        self.is_its_signers(handling, place);
        let log = self
            .index
            .logs
            .get(&(place.topic.as_str(), place.partition));
        match log.map(|log| (log, log.records.get(&place.offset))) {
            Some((log, None)) if place.offset >= log.start => {
                let what = format!("{id} was handled at {place}, where nothing stands");
                self.breach(Verdict::Phantom, what, [at, log.at]);
            }
            Some((log, Some(record))) if record.id.as_deref() != Some(id) => {
                let what = format!("{id} was handled at {place}, where another stands");
                self.breach(Verdict::Phantom, what, [at, log.at]);
            }
            // Judged with the log.
            Some(_) => {}
            None => self.was_sent(id, place, at),
        }
    }

    /// Whoever a message is said to be from has signed it, where that is known.
    fn is_its_signers(&mut self, handling: &Handling<'_>, place: &Place) {
        let Handling { id, at, .. } = *handling;
        let tries = self.index.sends.get(id).into_iter();
        let sends: Vec<_> = tries.flat_map(BTreeMap::values).collect();
        let signers: Option<Vec<_>> = sends.iter().map(|send| send.signer).collect();
        if let (Some(by), Some(signers)) = (handling.verified_by, signers)
            && !signers.is_empty()
            && !signers.contains(&by)
        {
            let what = format!("{id} at {place} was taken for one of {by}, who did not sign it");
            let sent = sends.iter().map(|send| send.at);
            self.breach(Verdict::Unverified, what, sent.chain([at]));
        }
    }

    /// One message may stand at as many offsets as it was sent; all others are copies.
    fn is_no_copy(&mut self, group: &Group<'_>, id: &str, places: &BTreeMap<&Place, usize>) {
        self.report.look(Verdict::CopyHandled);
        let forged = &self.index.forged;
        let honest = places
            .iter()
            .filter(|(place, _)| !forged.contains_key(*place));
        let honest: Vec<(&&Place, &usize)> = honest.collect();
        let tries = self.index.sends.get(id).map_or(0, BTreeMap::len);
        let redriven = |place: &Place| {
            let partition = (place.topic.as_str(), place.partition);
            group.cause_between(partition, 0, usize::MAX, &[Why::Redrive])
        };
        if tries > 0 && honest.len() > tries && !honest.iter().any(|(place, _)| redriven(place)) {
            let where_at: Vec<String> = honest.iter().map(|(p, _)| p.to_string()).collect();
            let what = format!(
                "{id}, sent {tries} times, was handled at {}",
                where_at.join(", ")
            );
            let proof: Vec<usize> = honest.iter().map(|(_, at)| **at).collect();
            self.breach(Verdict::CopyHandled, what, proof);
        }
    }

    /// A second handling at the same place needs a reason: the first one's own answer, the end of its process, what
    /// the history names, or one ahead of it that was not done and held up the commit; and once the offset was
    /// committed, only what sets offsets back.
    fn has_cause(
        &mut self,
        group: &Group<'_>,
        place: &Place,
        first: &Handling<'_>,
        again: &Handling<'_>,
    ) {
        self.report.look(Verdict::WithoutCause);
        let partition = (place.topic.as_str(), place.partition);
        // One that has lost the partition to the first, and does not know yet.
        if again.process != first.process
            && group.may_have_lost(self.index, partition, again.process, again.at)
        {
            return;
        }
        let commits = group.commits.get(&partition).into_iter().flatten();
        // A commit that comes late, after one that was sent behind it, takes the offset back: the last one counts.
        let before = commits.take_while(|(at, _)| *at < again.at).last();
        let set_back = [Why::OffsetReset, Why::Redrive];
        if let Some((committed, _)) = before.filter(|(_, offset)| *offset > place.offset) {
            if !group.cause_between(partition, *committed, again.at, &set_back) {
                let what = format!("{place} was handled again though it had been committed");
                let proof = [first.at, *committed, again.at];
                self.breach(Verdict::WithoutCause, what, proof);
            }
            return;
        }
        let own = matches!(
            first.answer,
            Some((at, Answer::Retry | Answer::Failed | Answer::Cancelled)) if at < again.at
        );
        let ended = self.index.ended_between(first.process, first.at, again.at);
        let any = [Why::LostSession, Why::OffsetReset, Why::Redrive];
        let named = group.cause_between(partition, first.at, again.at, &any);
        let held_up = group.was_held_up(self.index, place, first.at, again.at);
        if !(own || ended || named || held_up) {
            let what = format!("{place} was handled again");
            let answered = first.answer.map(|(at, _)| at);
            let proof = [first.at, again.at].into_iter().chain(answered);
            self.breach(Verdict::WithoutCause, what, proof);
        }
    }
}
