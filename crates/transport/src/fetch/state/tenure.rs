//! What the caller of a member speaks of when it speaks of a partition.
//!
//! A partition may be taken and given again, its topic made again, and its log cut, before the caller has heard of it:
//! what it says until then is about what is over.

use super::FetchState;
use crate::{
    consumer::{AssignedPartition, Event, ResetCause},
    record::TopicPartition,
    wire::TopicId,
};

/// Which assignment a partition is held by, and how often its topic was made again and its positions made void since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tenure {
    pub(crate) assignment: u64,
    recreations: u64,
    /// Resets for another reason: what was read is not in the log any more.
    cuts: u64,
}

#[derive(Debug)]
pub(super) struct Given {
    tenure: Tenure,
    /// Whether the partition was dropped before the caller heard of a cut: it never will.
    is_cut_unheard: bool,
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
                cuts: 0,
            },
            is_cut_unheard: false,
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
        self.resets_to_tell(partition) > 0
    }

    /// How many do.
    pub(super) fn resets_to_tell(&self, partition: &TopicPartition) -> usize {
        let resets = self.events.iter().filter_map(|event| match event {
            Event::Reset { partition, .. } => Some(partition),
            _ => None,
        });
        resets.filter(|of| *of == partition).count()
    }

    /// The positions of a partition were made void, though the topic is the same.
    pub(super) fn note_cut(&mut self, partition: &TopicPartition) {
        if let Some(given) = self.given.get_mut(partition) {
            given.tenure.cuts += 1;
        }
    }

    /// Whether a reset is on its way to the caller, or never gets there, and what it says of the partition until then is
    /// about what was read before: the epoch that such a position would go by now is of another record.
    pub(crate) fn is_reset(&self, partition: &TopicPartition) -> bool {
        let read = self.partitions.get(partition);
        let given = self.given.get(partition);
        self.has_reset_to_tell(partition)
            || read.is_some_and(|read| read.reset.is_some())
            || given.is_some_and(|given| given.is_cut_unheard || given.is_recreated())
    }

    /// Whether the topic was made again since the partition was assigned.
    pub(crate) fn was_recreated(&self, partition: &TopicPartition) -> bool {
        let given = self.given.get(partition);
        given.is_some_and(|given| given.tenure.recreations > 0)
    }

    /// What is told of a partition that is dropped, the caller never hears.
    pub(super) fn note_unheard(&mut self, partition: &TopicPartition) {
        let is_reset = self.is_reset(partition);
        if let Some(given) = self.given.get_mut(partition) {
            given.is_cut_unheard |= is_reset;
        }
    }

    /// As [`tenure`](Self::tenure), where the caller speaks of what is read now; `None` while a reset is on its way to it.
    pub(crate) fn said_of(&self, partition: &TopicPartition) -> Option<Tenure> {
        self.tenure(partition).filter(|_| !self.is_reset(partition))
    }

    /// Whether what was said of a partition some time ago is not about what is read now: a reset may have been given to the
    /// caller since, and is then not on its way any more.
    pub(crate) fn is_void(&self, partition: &TopicPartition, said: Option<Tenure>) -> bool {
        let of_this_assignment = self
            .tenure(partition)
            .filter(|now| said.is_none_or(|said| said.assignment == now.assignment));
        self.is_reset(partition) || of_this_assignment.is_some_and(|now| said != Some(now))
    }
}
