//! What a request needs to be allowed, as Kafka's `KafkaApis` asks its authorizer.

use crate::api::Api;
use crate::error_code::ErrorCode;

/// What somebody wants to do with a resource (`AclOperation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Fetch from a topic; be a member of a group.
    Read,
    /// Produce to a topic.
    Write,
    /// Create topics.
    Create,
    /// Delete topics, records or groups.
    Delete,
    /// Add partitions.
    Alter,
    /// See that it is there.
    Describe,
    /// Read settings.
    DescribeConfigs,
    /// Change settings.
    AlterConfigs,
    /// Get a producer id.
    IdempotentWrite,
}

/// What it is done to (`ResourceType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Topics; [`Fault::topic`](super::Fault::topic) says which.
    Topic,
    /// Groups; [`Fault::group`](super::Fault::group) says which.
    Group,
    /// The cluster as a whole.
    Cluster,
}

impl Resource {
    pub(super) fn refusal(self) -> ErrorCode {
        match self {
            Self::Topic => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            Self::Group => ErrorCode::GROUP_AUTHORIZATION_FAILED,
            Self::Cluster => ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
        }
    }
}

/// Whether a request of this type needs this right.
pub(super) fn needs(api: Api, operation: Operation, resource: Resource) -> bool {
    let topic: &[Operation] = match api {
        Api::Produce => &[Operation::Write],
        Api::Fetch | Api::OffsetCommit | Api::OffsetDelete => &[Operation::Read],
        Api::ListOffsets | Api::Metadata | Api::OffsetForLeaderEpoch => &[Operation::Describe],
        Api::CreateTopics => &[Operation::Create],
        Api::DeleteTopics | Api::DeleteRecords => &[Operation::Delete],
        Api::CreatePartitions => &[Operation::Alter],
        Api::DescribeConfigs => &[Operation::DescribeConfigs],
        Api::AlterConfigs | Api::IncrementalAlterConfigs => &[Operation::AlterConfigs],
        _ => &[],
    };
    let group: &[Operation] = match api {
        Api::OffsetCommit
        | Api::JoinGroup
        | Api::SyncGroup
        | Api::Heartbeat
        | Api::LeaveGroup
        | Api::ConsumerGroupHeartbeat => &[Operation::Read],
        Api::OffsetFetch
        | Api::FindCoordinator
        | Api::DescribeGroups
        | Api::ConsumerGroupDescribe => &[Operation::Describe],
        Api::DeleteGroups | Api::OffsetDelete => &[Operation::Delete],
        _ => &[],
    };
    let cluster: &[Operation] = match api {
        Api::InitProducerId => &[Operation::IdempotentWrite],
        Api::ListGroups | Api::DescribeCluster => &[Operation::Describe],
        _ => &[],
    };
    let needed = match resource {
        Resource::Topic => topic,
        Resource::Group => group,
        Resource::Cluster => cluster,
    };
    needed.contains(&operation)
}
