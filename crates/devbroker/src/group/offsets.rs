//! What groups commit.

use std::collections::BTreeMap;
use std::time::Instant;

use super::rebalance::{Group, GroupState};
use crate::error_code::ErrorCode;

/// Kafka's default of `offset.metadata.max.bytes`, compared with the number of characters.
pub(super) const MAX_METADATA_CHARS: usize = 4096;
/// A commit becomes one batch of the offsets topic, which takes this much (measured on Kafka
/// 4.1: a request near 1 MiB fails whole, with -1 for every partition).
const MAX_REQUEST_BYTES: usize = 1_048_588;
/// What a stored offset takes beside names and metadata.
const ENTRY_OVERHEAD_BYTES: usize = 60;

/// A committed offset as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedOffset {
    /// Offset of the next record to be read.
    pub offset: i64,
    /// Leader epoch of the last record read, -1 where the client did not tell.
    pub leader_epoch: i32,
    /// The client's own text.
    pub metadata: String,
}

/// Offsets by topic and partition.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    by_topic: BTreeMap<String, BTreeMap<i32, CommittedOffset>>,
}

impl Offsets {
    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.by_topic.get(topic)?.get(&partition)
    }

    pub(crate) fn topics(
        &self,
    ) -> impl Iterator<Item = (&String, &BTreeMap<i32, CommittedOffset>)> {
        self.by_topic.iter()
    }

    pub(crate) fn forget(&mut self, topic: &str, partition: i32) {
        if let Some(partitions) = self.by_topic.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.by_topic.remove(topic);
            }
        }
    }

    pub(crate) fn forget_topic(&mut self, topic: &str) {
        self.by_topic.remove(topic);
    }
}

/// What OffsetCommit asks for.
#[derive(Clone, Debug)]
pub(crate) struct CommitRequest {
    pub(crate) group_id: String,
    /// Empty for a client that manages its partitions itself.
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    /// Negative for such a client.
    pub(crate) generation: i32,
    pub(crate) partitions: Vec<PartitionCommit>,
}

#[derive(Clone, Debug)]
pub(crate) struct PartitionCommit {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) committed: CommittedOffset,
}

impl Group {
    pub(crate) fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    pub(crate) fn offsets_mut(&mut self) -> &mut Offsets {
        &mut self.offsets
    }

    /// Commits offsets; one code per partition, in order.
    pub(crate) fn commit(
        &mut self,
        now: Instant,
        request: CommitRequest,
        max_metadata_chars: usize,
    ) -> Vec<ErrorCode> {
        let count = request.partitions.len();
        if let Err(error) = self.admit_commit(now, &request) {
            return vec![error; count];
        }
        let fits = |entry: &PartitionCommit| {
            entry.committed.metadata.chars().count() <= max_metadata_chars
        };
        let bytes: usize = request
            .partitions
            .iter()
            .filter(|entry| fits(entry))
            .map(|entry| {
                ENTRY_OVERHEAD_BYTES
                    + request.group_id.len()
                    + entry.topic.len()
                    + entry.committed.metadata.len()
            })
            .sum();
        if bytes > MAX_REQUEST_BYTES {
            return vec![ErrorCode::UNKNOWN_SERVER_ERROR; count];
        }
        let store = |entry: PartitionCommit| {
            if !fits(&entry) {
                return ErrorCode::OFFSET_METADATA_TOO_LARGE;
            }
            self.offsets
                .by_topic
                .entry(entry.topic)
                .or_default()
                .insert(entry.partition, entry.committed);
            ErrorCode::NONE
        };
        request.partitions.into_iter().map(store).collect()
    }

    /// Whether a member may read what was committed; anybody may who does not say to be one.
    pub(crate) fn admit_fetch(&self, member_id: &str, epoch: i32) -> Result<(), ErrorCode> {
        match &self.consumer {
            Some(consumer) if !member_id.is_empty() || epoch >= 0 => {
                consumer.check_epoch_of(member_id, epoch)
            }
            _ => Ok(()),
        }
    }

    /// The rules of `ClassicGroup.validateOffsetCommit`, and of `ConsumerGroup`'s.
    fn admit_commit(&mut self, now: Instant, request: &CommitRequest) -> Result<(), ErrorCode> {
        if let Some(consumer) = &self.consumer {
            if request.generation < 0 && consumer.is_empty() {
                return Ok(());
            }
            return consumer.check_epoch_of(&request.member_id, request.generation);
        }
        if request.generation < 0 && self.state == GroupState::Empty {
            return Ok(());
        }
        let names_member = request.generation >= 0
            || !request.member_id.is_empty()
            || request.instance_id.is_some();
        if !names_member {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        if self.state == GroupState::CompletingRebalance {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        if let Some(member) = self.members.get_mut(&request.member_id) {
            member.heard_of(now);
        }
        Ok(())
    }
}
