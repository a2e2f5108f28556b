//! What was being done, and with whom.

use std::fmt;
use std::sync::Arc;

/// What the transport was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Reading settings and certificates, before anything is sent.
    Configure,
    /// Resolving, connecting, TLS handshake, exchange of versions.
    Connect,
    /// Asking for brokers, topics, leaders.
    Metadata,
    /// Asking which broker coordinates a group.
    FindCoordinator,
    /// Writing records.
    Produce,
    /// Asking for a producer id.
    InitProducerId,
    /// Reading records.
    Fetch,
    /// Asking for first, last or timed offsets.
    ListOffsets,
    /// Asking where the time of a leader ends in the log.
    OffsetForLeaderEpoch,
    /// Entering a group.
    JoinGroup,
    /// Receiving the group's assignment.
    SyncGroup,
    /// Staying in a group.
    Heartbeat,
    /// Leaving a group.
    LeaveGroup,
    /// Storing positions of a group.
    OffsetCommit,
    /// Reading positions of a group.
    OffsetFetch,
    /// Asking for groups.
    ListGroups,
    /// Asking for the members of a group.
    DescribeGroups,
    /// Deleting groups.
    DeleteGroups,
    /// Making topics.
    CreateTopics,
    /// Deleting topics.
    DeleteTopics,
    /// Giving topics more partitions.
    CreatePartitions,
    /// Deleting the oldest records of partitions.
    DeleteRecords,
    /// Reading configurations.
    DescribeConfigs,
    /// Changing configurations.
    AlterConfigs,
}

impl Operation {
    /// Whether asking twice does no harm.
    pub fn only_reads(self) -> bool {
        match self {
            Self::Produce
            | Self::OffsetCommit
            | Self::DeleteGroups
            | Self::CreateTopics
            | Self::DeleteTopics
            | Self::CreatePartitions
            | Self::DeleteRecords
            | Self::AlterConfigs => false,
            // A second producer id is as good as the first, and a second place in a group is the
            // coordinator's to sort out: neither leaves a doubt behind.
            Self::InitProducerId | Self::JoinGroup | Self::SyncGroup | Self::LeaveGroup => true,
            Self::Configure
            | Self::Connect
            | Self::Metadata
            | Self::FindCoordinator
            | Self::Fetch
            | Self::ListOffsets
            | Self::OffsetForLeaderEpoch
            | Self::Heartbeat
            | Self::OffsetFetch
            | Self::ListGroups
            | Self::DescribeGroups
            | Self::DescribeConfigs => true,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configure => "configure",
            Self::Connect => "connect",
            Self::Metadata => "read metadata",
            Self::FindCoordinator => "find coordinator",
            Self::Produce => "produce",
            Self::InitProducerId => "get a producer id",
            Self::Fetch => "fetch",
            Self::ListOffsets => "list offsets",
            Self::OffsetForLeaderEpoch => "find where leader epochs end",
            Self::JoinGroup => "join group",
            Self::SyncGroup => "sync group",
            Self::Heartbeat => "heartbeat",
            Self::LeaveGroup => "leave group",
            Self::OffsetCommit => "commit offsets",
            Self::OffsetFetch => "fetch committed offsets",
            Self::ListGroups => "list groups",
            Self::DescribeGroups => "describe groups",
            Self::DeleteGroups => "delete groups",
            Self::CreateTopics => "create topics",
            Self::DeleteTopics => "delete topics",
            Self::CreatePartitions => "create partitions",
            Self::DeleteRecords => "delete records",
            Self::DescribeConfigs => "describe configs",
            Self::AlterConfigs => "alter configs",
        })
    }
}

/// With whom and what an operation had to do; whatever is known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Target {
    broker: Option<Arc<str>>,
    topic: Option<Arc<str>>,
    partition: Option<i32>,
    group: Option<Arc<str>>,
}

impl Target {
    /// A broker, by the address it was called at.
    pub fn broker(address: impl fmt::Display) -> Self {
        Self {
            broker: Some(address.to_string().into()),
            ..Self::default()
        }
    }

    /// The same with a topic.
    pub fn topic(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// The same with a partition of a topic.
    pub fn partition(mut self, topic: impl Into<Arc<str>>, partition: i32) -> Self {
        self.topic = Some(topic.into());
        self.partition = Some(partition);
        self
    }

    /// The same with a consumer group.
    pub fn group(mut self, group: impl Into<Arc<str>>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// The broker's address, if one was involved.
    pub fn broker_address(&self) -> Option<&str> {
        self.broker.as_deref()
    }

    /// The topic's name, if one was involved.
    pub fn topic_name(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// The partition, if one was involved.
    pub fn partition_index(&self) -> Option<i32> {
        self.partition
    }

    /// The consumer group, if one was involved.
    pub fn group_id(&self) -> Option<&str> {
        self.group.as_deref()
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn or(self, more: Self) -> Self {
        Self {
            broker: self.broker.or(more.broker),
            topic: self.topic.or(more.topic),
            partition: self.partition.or(more.partition),
            group: self.group.or(more.group),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(topic) = &self.topic {
            write!(f, "{topic}")?;
            separator = ", ";
        }
        if let Some(partition) = self.partition {
            let space = if self.topic.is_some() { " " } else { "" };
            write!(f, "{space}partition {partition}")?;
            separator = ", ";
        }
        if let Some(group) = &self.group {
            write!(f, "{separator}group {group}")?;
            separator = ", ";
        }
        if let Some(broker) = &self.broker {
            write!(f, "{separator}broker {broker}")?;
        }
        Ok(())
    }
}
