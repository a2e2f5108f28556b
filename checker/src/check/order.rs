//! A lane is handled in the log's order, one after the other.

use std::collections::BTreeMap;

use super::Court;
use crate::index::{Group, Handling};
use crate::{Answer, Place, Verdict, Why};

/// A process, a topic, a partition and a key. Of two that handle one partition, one has lost it and does not know yet.
type Lane<'a> = (&'a str, &'a str, i32, Option<&'a str>);

/// The furthest that a lane has come: where, and how it stands there.
struct Front<'a> {
    place: &'a Place,
    handling: &'a Handling<'a>,
}

impl Court<'_> {
    pub(super) fn order(&mut self) {
        let index = self.index;
        for group in index.groups.values() {
            let mut fronts: BTreeMap<Lane<'_>, Front<'_>> = BTreeMap::new();
            for (at, place) in &group.in_order {
                let handlings = group.handled.get(*place).into_iter().flatten();
                let Some(handling) = handlings.into_iter().find(|h| h.at == *at) else {
                    continue;
                };
                self.report.look(Verdict::OutOfOrder);
                let topic = place.topic.as_str();
                let lane = (handling.process, topic, place.partition, handling.lane);
                let now = Front { place, handling };
                if let Some(front) = fronts.get(&lane) {
                    self.follows(group, front, &now);
                }
                fronts.insert(lane, now);
            }
        }
    }

    /// Whether `now` may come when it did, after `front` of the same lane.
    fn follows(&mut self, group: &Group<'_>, front: &Front<'_>, now: &Front<'_>) {
        let (before, this) = (front.handling, now.handling);
        let partition = (now.place.topic.as_str(), now.place.partition);
        let set_back = self.index.ended_between(before.process, before.at, this.at)
            || group.cause_between(
                partition,
                before.at,
                this.at,
                &[
                    Why::Rebalanced,
                    Why::LostSession,
                    Why::OffsetReset,
                    Why::Redrive,
                ],
            );
        let (earlier, later) = (front.place, now.place);
        if later.offset < earlier.offset {
            if !set_back {
                let what = format!("{later} was handled after {earlier} of the same lane");
                self.breach(Verdict::OutOfOrder, what, [before.at, this.at]);
            }
            return;
        }
        if later.offset == earlier.offset || set_back {
            return;
        }
        let what = match before.answer {
            Some((answered, _)) if answered > this.at => "had not answered",
            None if before.process == this.process => "had not answered",
            // Somebody else may have had it meanwhile.
            Some((_, Answer::Retry | Answer::Failed | Answer::Cancelled))
                if group
                    .done_at(self.index, earlier)
                    .is_some_and(|done| done < this.at) =>
            {
                return;
            }
            Some((_, Answer::Retry | Answer::Failed | Answer::Cancelled)) => {
                let buried = group.buried.get(earlier).into_iter().flatten();
                let mut buried = buried.filter(|(at, ..)| *at < this.at);
                match buried.next() {
                    Some(_) => return,
                    None => "was to be tried again",
                }
            }
            _ => return,
        };
        let what = format!("{later} was handled while {earlier}, ahead of it in its lane, {what}");
        let answered = before.answer.map(|(at, _)| at);
        let proof = [before.at, this.at].into_iter().chain(answered);
        self.breach(Verdict::OutOfOrder, what, proof);
    }
}
