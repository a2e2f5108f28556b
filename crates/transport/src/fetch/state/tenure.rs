//! What the caller of a member speaks of when it speaks of a partition.
//!
//! A partition may be taken and given again, and its topic made again, before the caller has heard of it: what it says
//! until then is about what is over.

use super::FetchState;
use crate::{
    consumer::{AssignedPartition, Event, ResetCause},
    record::TopicPartition,
    wire::TopicId,
};

/// Which assignment a partition is held by, and how often its topic was made again since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tenure {
    pub(crate) assignment: u64,
    recreations: u64,
}

#[derive(Debug)]
pub(super) struct Given {
    tenure: Tenure,
    /// Recreations the caller has heard of.
    heard: u64,
    /// What the group had committed for it, with the epoch of the record before.
    committed: Option<(i64, i32)>,
    /// The topic it was given of, or the last that was met in its place.
    topic_id: Option<TopicId>,
}

impl Given {
    pub(super) fn new(assignment: u64, assigned: &AssignedPartition) -> Self {
        let committed = assigned.committed.as_ref();
        Self {
            tenure: Tenure {
                assignment,
                recreations: 0,
            },
            heard: 0,
            committed: committed
                .and_then(|committed| Some((committed.offset, committed.leader_epoch?))),
            topic_id: assigned.topic_id,
        }
    }

    pub(super) fn committed(&self) -> Option<(i64, i32)> {
        self.committed
    }

    pub(super) fn topic_id(&self) -> Option<TopicId> {
        self.topic_id
    }

    fn is_recreated(&self) -> bool {
        self.heard < self.tenure.recreations
    }
}

impl FetchState {
    /// Which of its assignments the caller speaks of when it speaks of this partition; `None` before it has heard of
    /// the last one: until then it speaks of one that is over.
    pub(crate) fn tenure(&self, partition: &TopicPartition) -> Option<Tenure> {
        let tenure = self.given.get(partition)?.tenure;
        (tenure.assignment <= self.heard).then_some(tenure)
    }

    /// Whether the topic was made again and the caller has not heard of it: what it says is about the old one.
    pub(crate) fn is_recreated(&self, partition: &TopicPartition) -> bool {
        self.given.get(partition).is_some_and(Given::is_recreated)
    }

    /// The topic that the offsets of this partition are of: the one that is read, or, where nothing was read, the one
    /// that the coordinator gave the partition's offset for. `None` where brokers go by its name.
    pub(crate) fn topic_id(&self, partition: &TopicPartition) -> Option<TopicId> {
        let read = self.partitions.get(partition).and_then(|one| one.topic_id);
        read.or_else(|| self.given.get(partition)?.topic_id())
    }

    /// The leader epoch of the record before an offset, where it was read in this assignment.
    pub(crate) fn leader_epoch(&self, partition: &TopicPartition, offset: i64) -> Option<i32> {
        let read = self.partitions.get(partition)?;
        read.epochs.of_record_before(offset)
    }

    /// The topic was made again and has this id now; to be said once.
    pub(super) fn recreated(&mut self, partition: &TopicPartition, id: TopicId) {
        let Some(given) = self.given.get_mut(partition) else {
            return;
        };
        given.topic_id = Some(id);
        if !given.is_recreated() {
            given.tenure.recreations += 1;
            given.committed = None;
        }
    }

    /// The caller is given an event.
    pub(super) fn hear(&mut self, event: &Event) {
        match event {
            Event::Assigned { .. } => self.heard += 1,
            Event::Reset {
                partition,
                cause: ResetCause::TopicRecreated,
                ..
            } => {
                if let Some(given) = self.given.get_mut(partition) {
                    given.heard = given.tenure.recreations;
                }
            }
            _ => {}
        }
    }

    /// Whether a reset of the partition waits to be given to the caller.
    pub(super) fn has_reset_to_tell(&self, partition: &TopicPartition) -> bool {
        let mut resets = self.events.iter().filter_map(|event| match event {
            Event::Reset { partition, .. } => Some(partition),
            _ => None,
        });
        resets.any(|of| of == partition)
    }
}
