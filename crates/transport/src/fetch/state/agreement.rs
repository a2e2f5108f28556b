//! Whether a partition's log is still the one that was read: the same topic, and not cut before the position.

use tokio::time::Instant;

use super::{
    Epochs, FetchState, Incarnation, LeaderView, Position, RETRY_FROM, Wanted,
    partition::offset_of, replica::Nearby,
};
use crate::{
    consumer::{Event, ResetCause, StartPolicy},
    error::{ErrorKind, Operation, Target, TransportError},
    record::TopicPartition,
    wire::{EpochEnd, TopicId},
};

impl FetchState {
    /// What is to be asked about a wanted partition, now that its leader is known: as Java does, the position is held
    /// against the log of each new leader before anything is fetched from it.
    pub(in crate::fetch) fn meets(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
        leader: LeaderView,
    ) -> Option<Wanted> {
        let found = self.partitions.get_mut(partition)?;
        // A leader that does not know the topic may only be late. What tells is that the topic has another id.
        if found.disowned
            && let (Some(ours), Some(theirs)) = (found.topic_id, leader.topic_id)
            && ours != theirs
        {
            return self.begin_again(now, partition, theirs);
        }
        if found.led_in != Some(leader.epoch) {
            found.led_in = Some(leader.epoch);
            found.nearby = Nearby::default();
        }
        // Epochs are asked about by name, and say nothing of a topic that was made again. Records are asked for by our id:
        // what is answered to that decides which it is.
        let is_ours = found
            .topic_id
            .zip(leader.topic_id)
            .is_none_or(|(ours, theirs)| ours == theirs);
        Some(match (found.fetch_from, found.epochs.last()) {
            (Position::Offset(_), Some(epoch))
                if is_ours && leader.epoch >= 0 && found.valid_in != Some(leader.epoch) =>
            {
                Wanted::Validate(epoch)
            }
            (Position::Offset(offset), _) => Wanted::Fetch(found.next(offset, now)),
            (unresolved, _) => Wanted::Resolve(unresolved),
        })
    }

    /// The topic was deleted and made again. What was fetched of the old one is delivered first; nothing of it is
    /// committed any more.
    fn begin_again(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
        id: TopicId,
    ) -> Option<Wanted> {
        self.recreated(partition, id);
        let found = self.partitions.get_mut(partition)?;
        if found.has_undelivered() {
            found.retry_at = Some(now + RETRY_FROM);
            return None;
        }
        let from = found.position.or(offset_of(found.fetch_from));
        found.reset = Some((from.unwrap_or(0), ResetCause::TopicRecreated));
        found.begin_at(Position::Earliest);
        (found.topic_id, found.disowned) = (None, false);
        (found.led_in, found.nearby) = (None, Nearby::default());
        Some(Wanted::Resolve(Position::Earliest))
    }

    /// A broker knows no topic of the id it was asked for.
    pub(in crate::fetch) fn disowned(
        &mut self,
        partition: &TopicPartition,
        incarnation: Incarnation,
    ) {
        let found = self.partitions.get_mut(partition);
        if let Some(found) = found.filter(|found| found.incarnation == incarnation) {
            found.disowned = true;
        }
    }

    /// Where the epoch that was read last ends in the log of a leader, or that this cannot be asked: then the position
    /// is taken as it is.
    pub(in crate::fetch) fn validated(
        &mut self,
        partition: &TopicPartition,
        incarnation: Incarnation,
        leader_epoch: i32,
        end: Option<EpochEnd>,
        start: StartPolicy,
    ) {
        let Some(found) = self.same(partition, incarnation) else {
            return;
        };
        (found.retry_at, found.failures) = (None, 0);
        let Position::Offset(from) = found.fetch_from else {
            return;
        };
        match end {
            Some(end) if end.leader_epoch < 0 || end.end_offset < 0 => {
                self.begin_by_policy(partition, start);
            }
            Some(end) if found.epochs.agree_up_to(end) < from => {
                self.cut(partition, leader_epoch, end, start);
            }
            Some(_) | None => found.valid_in = Some(leader_epoch),
        }
    }

    /// The log is not the one that was read, from an offset on. Nothing has happened as far as the caller is concerned
    /// if that was not delivered yet.
    fn cut(
        &mut self,
        partition: &TopicPartition,
        leader_epoch: i32,
        end: EpochEnd,
        start: StartPolicy,
    ) {
        let incarnation = self.new_incarnation();
        let Some(found) = self.partitions.get_mut(partition) else {
            return;
        };
        let agree_up_to = found.epochs.agree_up_to(end).max(0);
        found.give_up_buffer(incarnation);
        // Held against the log once more if that is from an earlier epoch than the leader spoke of.
        found.valid_in = None;
        let Some(from) = found.position.filter(|position| agree_up_to < *position) else {
            return;
        };
        if start == StartPolicy::None {
            return self.halt_truncated(partition, from, Some(agree_up_to));
        }
        found.position = Some(agree_up_to);
        found.fetch_from = Position::Offset(agree_up_to);
        found.epochs.cut(agree_up_to);
        if found.epochs.last().is_none() && agree_up_to == end.end_offset {
            found.epochs = Epochs::before(agree_up_to, end.leader_epoch);
        }
        if found.epochs.last() == Some(end.leader_epoch) {
            found.valid_in = Some(leader_epoch);
        }
        self.note_cut(partition);
        self.events.push_back(Event::Reset {
            partition: partition.clone(),
            from,
            to: agree_up_to,
            cause: ResetCause::Truncated {
                diverged_at: Some(agree_up_to),
            },
        });
    }

    /// The leader has nothing of the time of our last record.
    fn begin_by_policy(&mut self, partition: &TopicPartition, start: StartPolicy) {
        let incarnation = self.new_incarnation();
        let Some(found) = self.partitions.get_mut(partition) else {
            return;
        };
        found.give_up_buffer(incarnation);
        let Some(from) = found.position else {
            return;
        };
        match start.position() {
            Some(position) => {
                let cause = ResetCause::Truncated { diverged_at: None };
                found.reset = Some((from, cause));
                found.begin_at(position);
                self.note_cut(partition);
            }
            None => self.halt_truncated(partition, from, None),
        }
    }

    fn halt_truncated(
        &mut self,
        partition: &TopicPartition,
        offset: i64,
        diverged_at: Option<i64>,
    ) {
        if let Some(found) = self.partitions.get_mut(partition) {
            found.halted = true;
        }
        let target = Target::default().partition(partition.topic.clone(), partition.partition);
        let kind = ErrorKind::LogTruncated {
            offset,
            diverged_at,
        };
        let error = TransportError::new(Operation::OffsetForLeaderEpoch, target, kind);
        self.events.push_back(Event::Failed(error));
    }

    pub(super) fn new_incarnation(&mut self) -> Incarnation {
        let incarnation = Incarnation(self.next_incarnation);
        self.next_incarnation += 1;
        incarnation
    }
}

#[cfg(test)]
#[path = "agreement_tests.rs"]
mod tests;
