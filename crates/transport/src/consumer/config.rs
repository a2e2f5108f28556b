//! What a consumer is told.

use std::{sync::Arc, time::Duration};

use crate::{
    error::{ErrorKind, Operation, Target, TransportError},
    group::Assignor,
    wire::IsolationLevel,
};

/// How a consumer joins its group and reads.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// The group's id.
    pub group: Arc<str>,
    /// The topics subscribed to.
    pub topics: Vec<Arc<str>>,
    /// Topics besides those that are named: all whose whole name this regular expression matches, in the syntax of
    /// RE2/J. The coordinator matches, so it takes [`GroupProtocol::Consumer`] and Kafka 4.0 (KIP-848). Default none.
    pub topic_pattern: Option<Arc<str>>,
    /// Who divides the partitions, and how it is agreed on. Default classic.
    pub protocol: GroupProtocol,
    /// By what the coordinator divides where it is the one who does: `uniform` or `range` with Kafka's. Default none:
    /// its own choice, or that of most of the members.
    pub server_assignor: Option<Arc<str>>,
    /// Where to begin in a partition without a committed offset, and where to go on when an offset is out of range.
    /// Default earliest.
    pub start: StartPolicy,
    /// How the partitions are read.
    pub fetch: FetchConfig,
    /// How the members of a classic group may divide partitions, in order of preference; all members must have one in common, and the group
    /// takes the one that most of them prefer (Java's `partition.assignment.strategy`). To change it in a running group,
    /// first add the new one behind the old one everywhere. Rebalances are cooperative where all that are named here
    /// are: to come from range to cooperative-sticky, first name both everywhere, then take range away. Default range
    /// alone.
    pub assignors: Vec<Assignor>,
    /// How long the coordinator waits for a sign of life. Default 45 s. Where the coordinator divides (KIP-848) it goes by
    /// a time of its own (`group.consumer.session.timeout.ms`, 45 s): this is then how long the member believes in what
    /// it has without an answer, and must not be longer than that.
    pub session_timeout: Duration,
    /// How often one is given. Default 3 s. The coordinator says it where it divides.
    pub heartbeat_interval: Duration,
    /// How long members may take to rejoin in a rebalance: the longest that draining may take. Default 60 s.
    pub rebalance_timeout: Duration,
    /// Makes this a static member (KIP-345): on `leave` it keeps its place until its session is over. Default none.
    pub instance_id: Option<Arc<str>>,
}

impl ConsumerConfig {
    /// A consumer of `topics` in `group`, with the defaults.
    pub fn new(
        group: impl Into<Arc<str>>,
        topics: impl IntoIterator<Item = impl Into<Arc<str>>>,
    ) -> Self {
        Self {
            group: group.into(),
            topics: topics.into_iter().map(Into::into).collect(),
            topic_pattern: None,
            protocol: GroupProtocol::Classic,
            server_assignor: None,
            start: StartPolicy::Earliest,
            fetch: FetchConfig::default(),
            assignors: vec![Assignor::Range],
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            rebalance_timeout: Duration::from_secs(60),
            instance_id: None,
        }
    }
}

impl ConsumerConfig {
    /// Whether the protocol has what is asked of it.
    pub(super) fn check(&self) -> Result<(), TransportError> {
        let (what, reason) = if self.assignors.is_empty()
            && self.protocol != GroupProtocol::Consumer
        {
            let some =
                "there is none; name at least one of range, roundrobin and cooperative-sticky";
            ("assignors", some)
        } else if self.topic_pattern.is_some() && self.protocol != GroupProtocol::Consumer {
            let reason =
                "members of a classic group subscribe by name; take the group protocol consumer";
            ("topic pattern", reason)
        } else if self.server_assignor.is_some() && self.protocol == GroupProtocol::Classic {
            let reason = "members of a classic group divide by themselves; name their assignors";
            ("server assignor", reason)
        } else {
            return Ok(());
        };
        let kind = ErrorKind::Settings {
            what: what.into(),
            reason: reason.into(),
        };
        let target = Target::default().group(Arc::clone(&self.group));
        Err(TransportError::new(Operation::Configure, target, kind))
    }
}

/// Who divides the partitions of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GroupProtocol {
    /// The members: one of them leads, and in each rebalance all join anew. Every broker has it.
    #[default]
    Classic,
    /// The coordinator, which tells each member what is its (KIP-848). Only what moves stands still, and nobody waits for
    /// the slowest. Kafka has it from 4.0 on by default. A classic group whose members read is taken over as it is, where
    /// `group.consumer.migration.policy` allows it.
    Consumer,
    /// The coordinator where it can and the members where it cannot: the broker does not have that protocol, it is
    /// switched off, or the group may not be taken over.
    Auto,
}

/// How partitions are read; the same for consumer and reader.
#[derive(Debug, Clone)]
pub struct FetchConfig {
    /// Which records are delivered. Default read committed.
    pub isolation: IsolationLevel,
    /// How long a broker may hold a fetch back for want of records. Default 500 ms.
    pub max_wait: Duration,
    /// Bytes of one answer, over all its partitions. A single larger batch is sent nevertheless. Default 8 MiB.
    pub max_bytes: i32,
    /// Bytes of one partition in one answer. Default 1 MiB.
    pub partition_max_bytes: i32,
    /// Undelivered bytes, as fetched, over all partitions, at which fetching stops. Default 32 MiB.
    pub buffer_bytes: usize,
    /// What one batch may decompress to. Default 32 MiB.
    pub max_batch_bytes: usize,
    /// Records in one event at most. Default 500.
    pub max_records: usize,
    /// Where this reader is, as brokers call it in `broker.rack`: leaders that choose replicas by racks
    /// (`replica.selector.class`) then send it to one that is near (KIP-392), for as long as the client's
    /// `metadata_max_age` or until that replica fails; then for as long the leader is read from. Default none: leaders alone are read from.
    pub rack: Option<Arc<str>>,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            isolation: IsolationLevel::ReadCommitted,
            max_wait: Duration::from_millis(500),
            max_bytes: 8 * 1024 * 1024,
            partition_max_bytes: 1024 * 1024,
            buffer_bytes: 32 * 1024 * 1024,
            max_batch_bytes: 32 * 1024 * 1024,
            max_records: 500,
            rack: None,
        }
    }
}

/// Where to begin without an offset, or with one that is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartPolicy {
    /// At the oldest record.
    #[default]
    Earliest,
    /// At the end.
    Latest,
    /// Nowhere: [`Event::Failed`](super::Event::Failed) says so, and the partition stands until a seek. So it does where
    /// the log was cut before the position, with [`ErrorKind::LogTruncated`](crate::ErrorKind).
    None,
}

impl StartPolicy {
    /// Where that is.
    pub(crate) fn position(self) -> Option<Position> {
        match self {
            Self::Earliest => Some(Position::Earliest),
            Self::Latest => Some(Position::Latest),
            Self::None => None,
        }
    }
}

/// A place in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The record of this offset, or the first after it.
    Offset(i64),
    /// The oldest record there is when asked.
    Earliest,
    /// Behind the newest record there is when asked.
    Latest,
}
