//! Reading records: as a member of a group ([`Consumer`]), or alone ([`Reader`]).
//!
//! Both tell what happens as [`Event`]s, one at a time, at the pace of the caller; `config` and `event` are what they
//! are told and tell.

mod config;
mod event;
mod lookup;
mod progress;
mod reader;

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

pub use config::{ConsumerConfig, FetchConfig, GroupProtocol, Position, StartPolicy};
pub use event::{AssignedPartition, Committed, Event, OffsetToCommit, RecordBatch, ResetCause};
pub use lookup::FoundOffset;
pub use progress::Progress;
pub use reader::Reader;

pub use crate::group::{Assignor, UnknownAssignor};
use crate::{
    cluster::Client,
    config::finite,
    error::{ErrorKind, Operation, Target, TransportError},
    fetch::{FetchState, Fetcher},
    group::{GroupCommand, GroupTask, new_member_id},
    record::TopicPartition,
};

/// A member of a consumer group, by either [protocol](GroupProtocol). In a classic group rebalances are cooperative
/// (KIP-429) where all assignors it is configured with are, else eager; where the coordinator divides (KIP-848) only what
/// moves is given up, and a generation is an epoch of the member.
///
/// Joining, heartbeats and fetching go on in tasks of their own while the caller is busy. All methods take `&self`; one
/// caller at a time may wait in [`next`](Self::next). Dropped without [`leave`](Self::leave), it stays a member until
/// its session times out.
#[derive(Debug)]
pub struct Consumer {
    group: Arc<str>,
    fetcher: Fetcher,
    commands: mpsc::UnboundedSender<GroupCommand>,
    _task: AbortOnDropHandle<()>,
}

impl Consumer {
    /// Begins to join the group; [`Event::Assigned`] tells when that is done.
    ///
    /// # Errors
    /// A topic does not exist or may not be read, the cluster cannot be reached, no assignor is configured, or the
    /// configuration asks of a classic group what it does not have.
    pub async fn join(client: Client, config: ConsumerConfig) -> Result<Self, TransportError> {
        config.check()?;
        let member_id = new_member_id().map_err(|error| {
            let reason = format!("no random member id: {error}").into();
            let target = Target::default().group(Arc::clone(&config.group));
            TransportError::new(
                Operation::Configure,
                target,
                ErrorKind::Unencodable { reason },
            )
        })?;
        for topic in &config.topics {
            client.partition_count(topic).await?;
        }
        let config = ConsumerConfig {
            session_timeout: finite(config.session_timeout),
            heartbeat_interval: finite(config.heartbeat_interval),
            rebalance_timeout: finite(config.rebalance_timeout),
            ..config
        };
        let (commands, received) = mpsc::unbounded_channel();
        let state = FetchState::of_member(config.fetch.clone());
        let fetcher = Fetcher::new(client.clone(), config.fetch.clone(), config.start, state);
        let group = Arc::clone(&config.group);
        let config = Arc::new(config);
        let task = GroupTask::new(client, config, fetcher.shared(), received, member_id);
        let task = AbortOnDropHandle::new(crate::host::spawn(task.run()));
        Ok(Self {
            group,
            fetcher,
            commands,
            _task: task,
        })
    }

    /// What happens next; `None` once the consumer has ended. Dropping the future loses nothing.
    pub async fn next(&self) -> Option<Event> {
        self.fetcher.next().await
    }

    /// Begins to read an assigned partition. Does nothing for one that is not, or no longer, assigned.
    pub fn begin(&self, partition: &TopicPartition, position: Position) {
        self.fetcher.begin(partition, position);
    }

    /// Reads on from another position; what was fetched before is not delivered any more.
    pub fn seek(&self, partition: &TopicPartition, position: Position) {
        self.fetcher.begin(partition, position);
    }

    /// Delivers and fetches nothing more of a partition until it is resumed. It stays assigned.
    pub fn pause(&self, partition: &TopicPartition) {
        self.fetcher.pause(partition);
    }

    /// Ends a pause.
    pub fn resume(&self, partition: &TopicPartition) {
        self.fetcher.resume(partition);
    }

    /// The offset after the last record delivered; `None` for a partition that is not being read, or whose position is
    /// still being looked up.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.fetcher.position(partition)
    }

    /// How far each partition that has been begun was read and goes, in order of their names: lag, watermarks. It is
    /// what the last fetches said, at no cost: to be looked at as often as it is wanted.
    pub fn progress(&self) -> Vec<Progress> {
        self.fetcher.progress()
    }

    /// Stores positions for the group, all of partitions that are held: assigned by an [`Event::Assigned`] that
    /// [`next`](Self::next) has given out, and neither released nor lost since.
    ///
    /// # Errors
    /// [`ErrorCode::IllegalGeneration`](crate::ErrorCode) if one of them is not held, and
    /// [`ErrorCode::UnknownTopicId`](crate::ErrorCode) if the topic of one was made again, of which an [`Event::Reset`]
    /// tells that has not been given out yet, or only after this was called; nothing is stored then. Nor is it where the
    /// reset has another cause: that is [`ErrorCode::FencedLeaderEpoch`](crate::ErrorCode). Otherwise the first
    /// refusal of the coordinator; what it did not refuse is stored. It too says
    /// [`ErrorCode::UnknownTopicId`](crate::ErrorCode), where it takes commits by topic ids (version 10 of OffsetCommit)
    /// and knows no topic of the id that is being read: that was made again, of which an [`Event::Reset`] tells when the
    /// partition is fetched from next, or is so new that the coordinator has not heard of it. [`Class::Fenced`](crate::Class::Fenced) (22, 25, 82) means that the partitions are lost, and
    /// [`Event::Lost`] follows; 27 (retriable) that the group is rebalancing. Through a cooperative rebalance a commit
    /// of what is kept waits and is made in the new generation, up to the rebalance timeout; later commits wait behind
    /// it. Where the coordinator divides a commit is made again in the same way when the member's epoch has gone on (113,
    /// retriable, is told where it has not). Dropping the future takes nothing back.
    pub async fn commit(&self, offsets: Vec<OffsetToCommit>) -> Result<(), TransportError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let said = offsets
            .iter()
            .map(|one| self.fetcher.said_of(&one.partition))
            .collect();
        let (done, outcome) = oneshot::channel();
        self.ask(
            GroupCommand::Commit {
                offsets,
                said,
                done,
            },
            outcome,
            Operation::OffsetCommit,
        )
        .await
    }

    /// Gives revoked partitions up, once they are drained and committed. When all that were revoked are, the member joins
    /// again, or tells the coordinator that divides, and others get them.
    pub fn release(&self, partitions: Vec<TopicPartition>) {
        // A member that has ended has nothing to release.
        let _ = self.commands.send(GroupCommand::Release(partitions));
    }

    /// Leaves the group, so that others get the partitions at once, and ends. A static member keeps its place until its
    /// session is over.
    ///
    /// # Errors
    /// The coordinator could not be told by `deadline`; it will notice when the session times out.
    pub async fn leave(&self, deadline: Instant) -> Result<(), TransportError> {
        let (done, outcome) = oneshot::channel();
        self.ask(
            GroupCommand::Leave { deadline, done },
            outcome,
            Operation::LeaveGroup,
        )
        .await
    }

    async fn ask(
        &self,
        command: GroupCommand,
        outcome: oneshot::Receiver<Result<(), TransportError>>,
        operation: Operation,
    ) -> Result<(), TransportError> {
        let closed = || {
            TransportError::new(
                operation,
                Target::default().group(Arc::clone(&self.group)),
                ErrorKind::Closed,
            )
        };
        self.commands.send(command).map_err(|_| closed())?;
        outcome.await.map_err(|_| closed())?
    }
}
