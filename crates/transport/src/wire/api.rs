//! The requests this client makes, by their key.

use crate::error::Operation;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i16)]
#[expect(clippy::enum_variant_names, reason = "the names are the protocol's")]
pub(crate) enum Api {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    DescribeGroups = 15,
    ListGroups = 16,
    SaslHandshake = 17,
    ApiVersions = 18,
    CreateTopics = 19,
    DeleteTopics = 20,
    DeleteRecords = 21,
    InitProducerId = 22,
    OffsetForLeaderEpoch = 23,
    DescribeConfigs = 32,
    SaslAuthenticate = 36,
    CreatePartitions = 37,
    DeleteGroups = 42,
    IncrementalAlterConfigs = 44,
    ConsumerGroupHeartbeat = 68,
    ConsumerGroupDescribe = 69,
}

impl Api {
    pub(crate) const ALL: [Self; 27] = [
        Self::Produce,
        Self::Fetch,
        Self::ListOffsets,
        Self::Metadata,
        Self::OffsetCommit,
        Self::OffsetFetch,
        Self::FindCoordinator,
        Self::JoinGroup,
        Self::Heartbeat,
        Self::LeaveGroup,
        Self::SyncGroup,
        Self::DescribeGroups,
        Self::ListGroups,
        Self::SaslHandshake,
        Self::ApiVersions,
        Self::CreateTopics,
        Self::DeleteTopics,
        Self::DeleteRecords,
        Self::InitProducerId,
        Self::OffsetForLeaderEpoch,
        Self::DescribeConfigs,
        Self::SaslAuthenticate,
        Self::CreatePartitions,
        Self::DeleteGroups,
        Self::IncrementalAlterConfigs,
        Self::ConsumerGroupHeartbeat,
        Self::ConsumerGroupDescribe,
    ];

    /// The key in the request header.
    pub(crate) const fn key(self) -> i16 {
        self as i16
    }

    pub(crate) fn from_key(key: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.key() == key)
    }

    /// The protocol's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Produce => "Produce",
            Self::Fetch => "Fetch",
            Self::ListOffsets => "ListOffsets",
            Self::Metadata => "Metadata",
            Self::OffsetCommit => "OffsetCommit",
            Self::OffsetFetch => "OffsetFetch",
            Self::FindCoordinator => "FindCoordinator",
            Self::JoinGroup => "JoinGroup",
            Self::Heartbeat => "Heartbeat",
            Self::LeaveGroup => "LeaveGroup",
            Self::SyncGroup => "SyncGroup",
            Self::DescribeGroups => "DescribeGroups",
            Self::ListGroups => "ListGroups",
            Self::SaslHandshake => "SaslHandshake",
            Self::ApiVersions => "ApiVersions",
            Self::CreateTopics => "CreateTopics",
            Self::DeleteTopics => "DeleteTopics",
            Self::DeleteRecords => "DeleteRecords",
            Self::InitProducerId => "InitProducerId",
            Self::OffsetForLeaderEpoch => "OffsetForLeaderEpoch",
            Self::DescribeConfigs => "DescribeConfigs",
            Self::SaslAuthenticate => "SaslAuthenticate",
            Self::CreatePartitions => "CreatePartitions",
            Self::DeleteGroups => "DeleteGroups",
            Self::IncrementalAlterConfigs => "IncrementalAlterConfigs",
            Self::ConsumerGroupHeartbeat => "ConsumerGroupHeartbeat",
            Self::ConsumerGroupDescribe => "ConsumerGroupDescribe",
        }
    }

    /// What it is called in errors.
    pub(crate) const fn operation(self) -> Operation {
        match self {
            Self::Produce => Operation::Produce,
            Self::Fetch => Operation::Fetch,
            Self::ListOffsets => Operation::ListOffsets,
            Self::Metadata => Operation::Metadata,
            Self::OffsetCommit => Operation::OffsetCommit,
            Self::OffsetFetch => Operation::OffsetFetch,
            Self::FindCoordinator => Operation::FindCoordinator,
            Self::JoinGroup => Operation::JoinGroup,
            Self::Heartbeat | Self::ConsumerGroupHeartbeat => Operation::Heartbeat,
            Self::LeaveGroup => Operation::LeaveGroup,
            Self::SyncGroup => Operation::SyncGroup,
            Self::DescribeGroups | Self::ConsumerGroupDescribe => Operation::DescribeGroups,
            Self::ListGroups => Operation::ListGroups,
            Self::ApiVersions | Self::SaslHandshake | Self::SaslAuthenticate => Operation::Connect,
            Self::CreateTopics => Operation::CreateTopics,
            Self::DeleteTopics => Operation::DeleteTopics,
            Self::DeleteRecords => Operation::DeleteRecords,
            Self::InitProducerId => Operation::InitProducerId,
            Self::OffsetForLeaderEpoch => Operation::OffsetForLeaderEpoch,
            Self::DescribeConfigs => Operation::DescribeConfigs,
            Self::CreatePartitions => Operation::CreatePartitions,
            Self::DeleteGroups => Operation::DeleteGroups,
            Self::IncrementalAlterConfigs => Operation::AlterConfigs,
        }
    }
}
