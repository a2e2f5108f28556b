//! What a consumer tells its caller.

use crate::{
    consumer::Position,
    error::TransportError,
    record::{CorruptRecord, FetchedRecord, TopicPartition},
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
    /// The position was out of range and has been reset by the start policy.
    Reset {
        /// Where.
        partition: TopicPartition,
        /// The position that was out of range.
        from: i64,
        /// The position it was replaced by.
        to: i64,
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
    /// The leader epoch of the last record done, where known.
    pub leader_epoch: Option<i32>,
    /// Text stored with it; the broker bounds it (`offset.metadata.max.bytes`, 4096 by default).
    pub metadata: String,
}
