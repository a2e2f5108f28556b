//! Any bytes as the response to any request: for fuzz targets, and for tests that leave no parser out.

use bytes::Bytes;

use super::*;

/// Reads bytes as the response of this kind and version; whether they make sense as one.
pub(crate) fn reads_as(api: Api, version: i16, body: Bytes) -> bool {
    fn reads<R: Request>(version: i16, body: Bytes) -> bool {
        R::decode_body(version, body).is_ok()
    }
    let reads = match api {
        Api::Produce => reads::<ProduceRequest>,
        Api::Fetch => reads::<FetchRequest>,
        Api::ListOffsets => reads::<ListOffsetsRequest>,
        Api::Metadata => reads::<MetadataRequest>,
        Api::OffsetCommit => reads::<OffsetCommitRequest>,
        Api::OffsetFetch => reads::<OffsetFetchRequest>,
        Api::FindCoordinator => reads::<FindCoordinatorRequest>,
        Api::JoinGroup => reads::<JoinGroupRequest>,
        Api::Heartbeat => reads::<HeartbeatRequest>,
        Api::LeaveGroup => reads::<LeaveGroupRequest>,
        Api::SyncGroup => reads::<SyncGroupRequest>,
        Api::DescribeGroups => reads::<DescribeGroupsRequest>,
        Api::ListGroups => reads::<ListGroupsRequest>,
        Api::SaslHandshake => reads::<SaslHandshakeRequest>,
        Api::ApiVersions => reads::<ApiVersionsRequest>,
        Api::CreateTopics => reads::<CreateTopicsRequest>,
        Api::DeleteTopics => reads::<DeleteTopicsRequest>,
        Api::DeleteRecords => reads::<DeleteRecordsRequest>,
        Api::InitProducerId => reads::<InitProducerIdRequest>,
        Api::OffsetForLeaderEpoch => reads::<OffsetForLeaderEpochRequest>,
        Api::DescribeConfigs => reads::<DescribeConfigsRequest>,
        Api::SaslAuthenticate => reads::<SaslAuthenticateRequest>,
        Api::CreatePartitions => reads::<CreatePartitionsRequest>,
        Api::DeleteGroups => reads::<DeleteGroupsRequest>,
        Api::IncrementalAlterConfigs => reads::<IncrementalAlterConfigsRequest>,
        Api::ConsumerGroupHeartbeat => reads::<ConsumerGroupHeartbeatRequest>,
        Api::ConsumerGroupDescribe => reads::<ConsumerGroupDescribeRequest>,
    };
    reads(version, body)
}
