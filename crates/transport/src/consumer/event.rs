//! What a consumer tells its caller.

use crate::{
    consumer::Position,
    error::TransportError,
    record::{CorruptRecord, FetchedRecord, TopicPartition},
    wire::TopicId,
};

/// What happened since the last call of `next`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// These partitions are ours now, besides those that were. None is read before `begin` is called for it.
    Assigned {
        /// The generation that gave them; the member's epoch where the coordinator divides (KIP-848).
        generation: i32,
        /// With what the group last committed. None where a generation gave nothing new.
        partitions: Vec<AssignedPartition>,
    },
    /// These are to be given up: nothing more of them is delivered. Finish what is running, commit, then call
    /// `release`, within the rebalance timeout; heartbeats go on meanwhile.
    Revoked {
        /// All that are held in an eager rebalance; in a cooperative one (KIP-429), and where the coordinator divides, only
        /// those that go to others, while the rest is read, handled and committed as before.
        partitions: Vec<TopicPartition>,
    },
    /// These are no longer ours, and others may have them already: commits for them would be refused.
    Lost {
        /// All that were held, revoked and not yet released ones too.
        partitions: Vec<TopicPartition>,
        /// How that came to light.
        reason: TransportError,
    },
    /// Records of one partition, in order.
    Records(RecordBatch),
    /// What lay at the position is not what it was when the position was come by: reading goes on from another.
    Reset {
        /// Where.
        partition: TopicPartition,
        /// The position before: the offset after the last record delivered, or the one begun at.
        from: i64,
        /// The position it was replaced by.
        to: i64,
        /// Why.
        cause: ResetCause,
    },
    /// A batch or record cannot be read; what came before it has been delivered. The partition stands until
    /// `seek`, for example to [`CorruptRecord::resume_at`].
    Corrupt {
        /// Where.
        partition: TopicPartition,
        /// What and at which offset.
        fault: CorruptRecord,
    },
    /// Something failed. What is retriable is being retried; what is [fatal](crate::Class::Fatal) for the group
    /// ends the consumer, what is fatal for a partition leaves that partition standing.
    Failed(TransportError),
}

/// Why a position was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetCause {
    /// It was out of range: below the oldest record, or beyond the end. Reading goes on where the start policy says.
    OutOfRange,
    /// The log was cut before it, and may have been written anew from there: a leader was elected that did not have all of
    /// it (KIP-320).
    Truncated {
        /// The offset up to which the log is still the one that was read: reading goes on there. `None` where no leader
        /// knows of the time of our last record any more: reading goes on where the start policy says.
        diverged_at: Option<i64>,
    },
    /// The topic was deleted and made again, as its id tells (KIP-516). Reading goes on at the first record of the new
    /// one, whatever the start policy: all there is came after we began to read. Commits of the old one's positions are
    /// refused ([`ErrorCode::UnknownTopicId`](crate::ErrorCode)) until this event has been given out; those after it must
    /// be of the new one.
    TopicRecreated,
}

/// A partition as it is handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignedPartition {
    /// Which.
    pub partition: TopicPartition,
    /// What the group committed for it last.
    pub committed: Option<Committed>,
    /// The committed offset, else what the start policy says; `None` under [`StartPolicy::None`](super::StartPolicy),
    /// which an [`Event::Failed`] with [`ErrorKind::NoOffset`](crate::ErrorKind) says of the partition too.
    pub start: Option<Position>,
    /// The id of the topic that the group was asked about. `None` where the coordinator was asked by name: it takes no ids
    /// before version 10 of OffsetFetch, and this client may not have known one.
    pub topic_id: Option<TopicId>,
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the next record to be read.
    pub offset: i64,
    /// The leader epoch of the last record read, where one was committed.
    pub leader_epoch: Option<i32>,
    /// The text stored with it; empty where there is none.
    pub metadata: String,
}

/// Records of one partition, and how far the partition goes.
#[derive(Debug, Clone)]
pub struct RecordBatch {
    /// Which partition.
    pub partition: TopicPartition,
    /// In ascending order of offsets, which may have gaps; may be empty where all of a stretch was control batches,
    /// aborted or compacted.
    pub records: Vec<FetchedRecord>,
    /// The position after this event: offsets before it that are not among the records do not exist.
    pub next_offset: i64,
    /// The offset after the last record that all in-sync replicas have, as of the fetch.
    pub high_watermark: i64,
    /// The offset before which all transactions have ended, as of the fetch.
    pub last_stable_offset: i64,
    /// The oldest offset there is, as of the fetch.
    pub log_start_offset: i64,
}

/// A position to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetToCommit {
    /// Which partition.
    pub partition: TopicPartition,
    /// The offset of the next record to be read: that of the last one done, plus one.
    pub offset: i64,
    /// The leader epoch of the last record done. Where it is `None` the consumer puts in the one it read that record in,
    /// if it still knows.
    pub leader_epoch: Option<i32>,
    /// Text stored with it; the broker bounds it (`offset.metadata.max.bytes`, 4096 by default).
    pub metadata: String,
}
