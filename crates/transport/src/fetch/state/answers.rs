//! Answers to what was asked about partitions: positions, records, refusals.

use tokio::time::Instant;

use super::{
    Chunk, CutOff, FetchState, Incarnation, RETRY_FROM,
    partition::{Item, offset_of},
    replica::Nearby,
};
use crate::{
    consumer::{Event, Position, ResetCause},
    record::{AbortedFilter, Batches, TopicPartition},
};

impl FetchState {
    /// A position was looked up.
    pub(in crate::fetch) fn resolved(
        &mut self,
        partition: &TopicPartition,
        incarnation: Incarnation,
        offset: i64,
    ) {
        let Some(found) = self.same(partition, incarnation) else {
            return;
        };
        (found.retry_at, found.failures) = (None, 0);
        found.fetch_from = Position::Offset(offset);
        found.position = Some(offset);
        if let Some((from, cause)) = found.reset.take() {
            self.events.push_back(Event::Reset {
                partition: partition.clone(),
                from,
                to: offset,
                cause,
            });
        }
    }

    /// Takes an answer in. One that holds bytes but no whole batch gets nobody any further: asking again at once
    /// would be answered the same for ever, so that is an error, and asked again after a wait.
    pub(in crate::fetch) fn fetched(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
        incarnation: Incarnation,
        chunk: Chunk,
    ) -> Result<(), CutOff> {
        let Some(found) = self.same(partition, incarnation) else {
            return Ok(());
        };
        let Position::Offset(from) = found.fetch_from else {
            return Ok(());
        };
        let is_empty = chunk.records.is_empty();
        found.ends.update(now, &chunk);
        found.valid_in = (chunk.leader_epoch >= 0).then_some(chunk.leader_epoch);
        if chunk.topic_id.is_some() {
            found.topic_id = chunk.topic_id;
            found.disowned = false;
        }
        let mut filter = AbortedFilter::new(chunk.aborted);
        let mut next = from;
        let mut batches = Batches::new(chunk.records, from);
        let mut progressed = false;
        while let Some(batch) = batches.next_batch() {
            let item = match batch {
                Ok(batch) => {
                    let from = batch.base_offset().max(next);
                    found.epochs.read(batch.leader_epoch(), from);
                    next = batch.next_offset();
                    if filter.passes(&batch) {
                        Item::Batch(batch)
                    } else {
                        Item::Skip(next)
                    }
                }
                Err(fault) => Item::Fault(fault),
            };
            let size = match &item {
                Item::Batch(batch) => batch.len(),
                Item::Skip(_) | Item::Fault(_) => 0,
            };
            found.buffered_bytes += size;
            found.faulty |= matches!(item, Item::Fault(_));
            found.items.push_back((item, size));
            progressed = true;
        }
        found.fetch_from = Position::Offset(next);
        if progressed || is_empty {
            (found.retry_at, found.failures) = (None, 0);
            return Ok(());
        }
        found.wait_after_failure(now);
        Err(CutOff { offset: from })
    }

    /// The offset is out of range: begin at `position` instead, or halt where there is none.
    pub(in crate::fetch) fn out_of_range(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
        incarnation: Incarnation,
        reset_to: Option<Position>,
        halted: Event,
    ) {
        let Some(found) = self.same(partition, incarnation) else {
            return;
        };
        match reset_to {
            // What was fetched before is delivered first; the next answer will say the same.
            _ if found.has_undelivered() => found.retry_at = Some(now + RETRY_FROM),
            Some(position) => {
                let from = offset_of(found.fetch_from);
                found.reset = from.map(|from| (from, ResetCause::OutOfRange));
                found.begin_at(position);
                self.note_cut(partition);
            }
            None => {
                found.halted = true;
                self.events.push_back(halted);
            }
        }
    }

    /// It was asked for, and has nothing new.
    pub(in crate::fetch) fn unchanged(
        &mut self,
        partition: &TopicPartition,
        incarnation: Incarnation,
    ) {
        if let Some(found) = self.same(partition, incarnation) {
            (found.retry_at, found.failures) = (None, 0);
        }
    }

    /// It was asked for, and nobody has looked: it may be asked for at once.
    pub(in crate::fetch) fn unanswered(
        &mut self,
        partition: &TopicPartition,
        incarnation: Incarnation,
    ) {
        let _ = self.same(partition, incarnation);
    }

    /// The leader says that this broker is to be read from, up to a time.
    pub(in crate::fetch) fn prefer(
        &mut self,
        partition: &TopicPartition,
        incarnation: Incarnation,
        broker_id: i32,
        until: Instant,
    ) {
        if let Some(found) = self
            .partitions
            .get_mut(partition)
            .filter(|found| found.incarnation == incarnation)
        {
            found.nearby = found.nearby.preferred(broker_id, until);
        }
    }

    /// The follower that was to be read from does not have what is asked for: the leader is asked again, and may know
    /// another.
    pub(in crate::fetch) fn leave_follower(&mut self, partition: &TopicPartition) {
        if let Some(found) = self.partitions.get_mut(partition) {
            found.nearby = Nearby::Unknown;
        }
    }

    /// The follower that was to be read from is not where we can find it; answers whether it is worth another look at the
    /// cluster.
    pub(in crate::fetch) fn miss_follower(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
    ) -> bool {
        let Some(found) = self.partitions.get_mut(partition) else {
            return false;
        };
        found.nearby = found.nearby.missed(now);
        matches!(found.nearby, Nearby::Missed { .. })
    }

    /// The follower that was to be read from failed: up to a time the leader is read from.
    pub(in crate::fetch) fn shun_follower(&mut self, partition: &TopicPartition, until: Instant) {
        if let Some(found) = self.partitions.get_mut(partition) {
            found.nearby = Nearby::Shunned { until };
        }
    }

    /// Asking failed in a way that may pass.
    pub(in crate::fetch) fn failed(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
        incarnation: Incarnation,
    ) {
        if let Some(found) = self.same(partition, incarnation) {
            found.wait_after_failure(now);
        }
    }

    /// Asking failed in a way that will not pass by itself. What was fetched before is delivered first.
    pub(in crate::fetch) fn halted(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
        incarnation: Incarnation,
        event: Event,
    ) {
        let Some(found) = self.same(partition, incarnation) else {
            return;
        };
        if found.has_undelivered() {
            found.retry_at = Some(now + RETRY_FROM);
        } else {
            found.halted = true;
            self.events.push_back(event);
        }
    }
}
