//! The Kafka protocol: requests and responses, and the one place that names the engine below.
//!
//! A message type says how it is written and read in every version it speaks ([`Request`]); [`Writer`] and
//! [`Reader`] know strings, arrays and tagged fields in both encodings of the protocol, and check every
//! length against what is left of the frame before memory is taken for it. [`Engine`] carries requests over
//! a stream. Versions are those that Kafka 2.1 to 4.1 have in common (KIP-896 removed older ones).
//!
//! Sources: <https://kafka.apache.org/protocol> and the message definitions in Kafka's repository.

mod api;
mod engine;
mod frame_guard;
mod reader;
mod request;
mod writer;

mod api_versions;
mod configs;
mod consumer_groups;
mod coordinator;
mod delete_records;
mod fetch;
mod group;
mod groups;
mod leader_epochs;
mod list_offsets;
mod metadata;
mod offsets;
mod partitions;
mod produce;
mod producer_id;
mod sasl;
mod topic_names;
mod topics;

#[cfg(any(test, feature = "fuzzing"))]
mod any_response;
#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use any_response::reads_as;
pub(crate) use api::Api;
pub(crate) use api_versions::ApiVersionsRequest;
pub(crate) use configs::{
    ConfigChange, ConfigResource, DescribeConfigsRequest, DescribedResource,
    IncrementalAlterConfigsRequest,
};
pub(crate) use consumer_groups::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    DescribedConsumerGroup, PartitionsById,
};
pub(crate) use coordinator::FindCoordinatorRequest;
pub(crate) use delete_records::DeleteRecordsRequest;
pub(crate) use engine::{Engine, EngineError};
pub use fetch::IsolationLevel;
pub(crate) use fetch::{
    FetchByNameRequest, FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchedPartition,
    ForgottenTopic,
};
pub(crate) use frame_guard::{FrameGuard, FrameViolation};
pub(crate) use group::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeavingMember,
    SyncGroupRequest,
};
pub(crate) use groups::{
    DeleteGroupsRequest, DescribeGroupsRequest, DescribedGroup, ListGroupsRequest,
};
pub(crate) use leader_epochs::{EpochEnd, EpochPartition, OffsetForLeaderEpochRequest};
pub use list_offsets::OffsetSpec;
pub(crate) use list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListedOffset};
#[cfg(test)]
pub(crate) use metadata::{MetadataBroker, MetadataPartition};
pub(crate) use metadata::{MetadataRequest, MetadataResponse, MetadataTopic};
#[cfg(test)]
pub(crate) use offsets::{FetchedOffset, OffsetFetchResponse};
pub(crate) use offsets::{
    OffsetCommitByNameRequest, OffsetCommitPartition, OffsetCommitRequest,
    OffsetFetchByNameRequest, OffsetFetchRequest, TopicKey,
};
pub(crate) use partitions::CreatePartitionsRequest;
pub(crate) use produce::{ProducePartition, ProduceRequest, ProducedPartition};
pub(crate) use producer_id::{InitProducerIdRequest, InitProducerIdResponse};
pub(crate) use reader::{Malformed, Reader};
pub(crate) use request::{Answer, Request, VersionRange};
pub(crate) use sasl::{SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest};
pub(crate) use topic_names::TopicNamesRequest;
pub(crate) use topics::{CreateTopic, CreateTopicsRequest, DeleteTopicsRequest};
pub(crate) use writer::{Unencodable, Writer};

/// A topic's 16-byte id (KIP-516); all zero where the broker has none.
pub(crate) type TopicId = [u8; 16];
