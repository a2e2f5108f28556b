//! What a consumer is told.

use std::{sync::Arc, time::Duration};

use crate::{group::Assignor, wire::IsolationLevel};

/// How a consumer joins its group and reads.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// The group's id.
    pub group: Arc<str>,
    /// The topics subscribed to.
    pub topics: Vec<Arc<str>>,
    /// Where to begin in a partition without a committed offset, and where to go on when an offset is out of range.
    /// Default earliest.
    pub start: StartPolicy,
    /// How the partitions are read.
    pub fetch: FetchConfig,
    /// How the group may divide partitions, in order of preference; all members must have one in common, and the group
    /// takes the one that most of them prefer (Java's `partition.assignment.strategy`). To change it in a running group,
    /// first add the new one behind the old one everywhere. Rebalances are cooperative where all that are named here
    /// are: to come from range to cooperative-sticky, first name both everywhere, then take range away. Default range
    /// alone.
    pub assignors: Vec<Assignor>,
    /// How long the coordinator waits for a sign of life. Default 45 s.
    pub session_timeout: Duration,
    /// How often one is given. Default 3 s.
    pub heartbeat_interval: Duration,
    /// How long members may take to rejoin in a rebalance: the longest that draining may take. Default 60 s.
    pub rebalance_timeout: Duration,
    /// Makes this a static member (KIP-345): it does not leave on `leave`. Default none.
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
    /// Nowhere: [`Event::Failed`](super::Event::Failed) says so, and the partition stands until a seek.
    None,
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
