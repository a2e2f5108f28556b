//! What the pipeline hears from its consumer group, and asks of it.
//!
//! The group is owned by a task of its own, so that a slow coordinator never stands in the way of
//! verdicts. Commands are carried out one after the other in the order they were given: a release
//! that follows a commit is made after it.

use std::sync::Arc;

use cybermesh_contracts::replay::Snapshot;
use cybermesh_transport::{Class, Position, TransportError};
use tokio::sync::{mpsc, oneshot};

use super::origin::{Origin, TopicPartition};

/// What happened in the group.
#[derive(Debug)]
pub(crate) enum GroupEvent {
    /// These partitions are ours; each waits for [`GroupCommand::Begin`].
    Assigned(Vec<Assignment>),
    /// To be given up in order: drain, commit, release.
    Revoked(Vec<TopicPartition>),
    /// No longer ours: nothing of them may be committed.
    Lost(Vec<TopicPartition>),
    /// Reading goes on from this offset, which may lie below what was read: the position was out of range, the log was
    /// cut, or the topic made again.
    Reset {
        partition: TopicPartition,
        to: i64,
        /// The id that its topic has now, where it is known.
        topic_id: Option<TopicId>,
        /// The life of the partition that begins with this.
        life: Life,
    },
    /// Records of one partition.
    Fetched(Fetched),
    /// The broker refuses to let this partition be read, for this reason; it stands still.
    Refused(TopicPartition, String),
    /// The group is at its end and cannot go on.
    Ended(String),
}

/// What a topic is known by beyond its name (KIP-516): another after it was deleted and made again.
pub(crate) type TopicId = [u8; 16];

/// Counts what a partition's positions were made void by, over the whole time of a member: its assignments and its
/// resets. An offset of an earlier life may be of another log than the one that is read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Life(pub(crate) u64);

/// A partition that was handed over.
#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    pub(crate) partition: TopicPartition,
    /// What the group committed for it last, with the text stored beside it.
    pub(crate) committed: Option<(i64, String)>,
    /// Where reading begins; `None` where it does not.
    pub(crate) start: Option<Position>,
    /// The id of its topic, where the coordinator tells.
    pub(crate) topic_id: Option<TopicId>,
    /// The life of the partition that begins with this.
    pub(crate) life: Life,
}

/// Records of one partition, in offset order.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) partition: TopicPartition,
    pub(crate) records: Vec<Arc<Origin>>,
    /// Offsets below that are not among the records do not exist.
    pub(crate) end: i64,
    pub(crate) high_watermark: i64,
}

/// What is asked of the group.
#[derive(Debug)]
pub(crate) enum GroupCommand {
    /// Start reading an assigned partition.
    Begin(TopicPartition),
    /// Fetch no more of it for now.
    Pause(TopicPartition),
    /// Fetch it again.
    Resume(TopicPartition),
    /// Commit these offsets with their replay states.
    Commit(Vec<Commit>, oneshot::Sender<Result<(), CommitError>>),
    /// Revoked partitions are through: the rebalance may go on.
    Release(Vec<TopicPartition>),
    /// Leave the group.
    Leave(oneshot::Sender<()>),
}

/// One partition's offset to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) partition: TopicPartition,
    pub(crate) offset: i64,
    /// What is known of the order as of this offset; it goes with the commit as far as it fits.
    pub(crate) state: Option<State>,
    /// The life of the partition that the offset is of.
    pub(crate) life: Life,
}

/// The replay state that belongs to one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) snapshot: Snapshot,
    pub(crate) topic_id: TopicId,
}

/// A commit that was not acknowledged, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommitError {
    /// The same again may be acknowledged.
    #[error("offsets were not committed: {0}")]
    NotNow(String),
    /// The same again would be refused again: the partitions are no longer ours, or we may not.
    #[error("offsets may not be committed: {0}")]
    Refused(String),
    /// All but these were acknowledged.
    #[error("{} partitions were left out: {why}", left_out.len())]
    Partly {
        left_out: Vec<TopicPartition>,
        why: Box<CommitError>,
    },
}

impl CommitError {
    /// Whether the same again would be refused again.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::NotNow(_) => false,
            Self::Refused(_) => true,
            Self::Partly { why, .. } => why.is_final(),
        }
    }
}

impl From<TransportError> for CommitError {
    fn from(error: TransportError) -> Self {
        match error.class() {
            Class::Fatal | Class::Fenced => Self::Refused(error.to_string()),
            Class::Retriable | Class::UnknownOutcome => Self::NotNow(error.to_string()),
        }
    }
}

/// The pipeline's end of the group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) events: mpsc::Receiver<GroupEvent>,
    pub(crate) commands: mpsc::UnboundedSender<GroupCommand>,
}

impl Group {
    /// Gives a command. A group that is gone cannot be told anything, and says so by its events.
    pub(crate) fn tell(&self, command: GroupCommand) {
        if self.commands.send(command).is_err() {
            tracing::debug!("the consumer group is gone; a command to it came to nothing");
        }
    }
}
