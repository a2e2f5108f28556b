//! A frame as a typed request, and a typed response as a frame.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages as m;
use kafka_protocol::protocol::{Decodable, Encodable};
use thiserror::Error;

use super::{guard, schema};
use crate::api::Api;

/// A decoded request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) api: Api,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: Option<String>,
    pub(crate) body: Body,
}

/// The bodies of all requests this broker reads.
#[derive(Debug)]
pub(crate) enum Body {
    Produce(m::ProduceRequest),
    Fetch(m::FetchRequest),
    ListOffsets(m::ListOffsetsRequest),
    Metadata(m::MetadataRequest),
    OffsetCommit(m::OffsetCommitRequest),
    OffsetFetch(m::OffsetFetchRequest),
    FindCoordinator(m::FindCoordinatorRequest),
    JoinGroup(m::JoinGroupRequest),
    Heartbeat(m::HeartbeatRequest),
    LeaveGroup(m::LeaveGroupRequest),
    SyncGroup(m::SyncGroupRequest),
    DescribeGroups(m::DescribeGroupsRequest),
    ListGroups(m::ListGroupsRequest),
    SaslHandshake(m::SaslHandshakeRequest),
    ApiVersions,
    CreateTopics(m::CreateTopicsRequest),
    DeleteTopics(m::DeleteTopicsRequest),
    DeleteRecords(m::DeleteRecordsRequest),
    InitProducerId(m::InitProducerIdRequest),
    OffsetForLeaderEpoch(m::OffsetForLeaderEpochRequest),
    DescribeConfigs(m::DescribeConfigsRequest),
    AlterConfigs(m::AlterConfigsRequest),
    SaslAuthenticate(m::SaslAuthenticateRequest),
    CreatePartitions(m::CreatePartitionsRequest),
    DeleteGroups(m::DeleteGroupsRequest),
    IncrementalAlterConfigs(m::IncrementalAlterConfigsRequest),
    OffsetDelete(m::OffsetDeleteRequest),
    DescribeCluster,
    ConsumerGroupHeartbeat(m::ConsumerGroupHeartbeatRequest),
    ConsumerGroupDescribe(m::ConsumerGroupDescribeRequest),
}

/// Why a frame is not a request.
#[derive(Debug, Error)]
pub(crate) enum Malformed {
    #[error("request header cut short")]
    Header,
    #[error("request with api key {0}, which is not offered")]
    UnknownApi(i16),
    #[error("{api} request in version {version}, which is not offered")]
    UnsupportedVersion {
        api: Api,
        version: i16,
        correlation_id: i32,
    },
    #[error("{api} request in version {version}: {reason}")]
    Body {
        api: Api,
        version: i16,
        reason: String,
    },
}

/// Parses a frame; nothing is allocated by a count before the frame is known to hold as much.
pub(crate) fn parse_request(mut frame: Bytes) -> Result<Request, Malformed> {
    let key = frame.try_get_i16().map_err(|_| Malformed::Header)?;
    let version = frame.try_get_i16().map_err(|_| Malformed::Header)?;
    let correlation_id = frame.try_get_i32().map_err(|_| Malformed::Header)?;
    let api = Api::from_key(key).ok_or(Malformed::UnknownApi(key))?;
    if !api.offers(version) {
        return Err(Malformed::UnsupportedVersion {
            api,
            version,
            correlation_id,
        });
    }
    let malformed = |reason: String| Malformed::Body {
        api,
        version,
        reason,
    };
    let client_id = client_id(&mut frame)?;
    if api.request_header_version(version) >= 2 {
        skip_header_tags(&mut frame).ok_or(Malformed::Header)?;
    }
    guard::check(&frame, schema::of(api), version, api.is_flexible(version))
        .map_err(|refusal| malformed(refusal.to_string()))?;
    let body = decode(api, &mut frame, version).map_err(|error| malformed(error.to_string()))?;
    if frame.has_remaining() {
        return Err(malformed(format!(
            "{} bytes follow the end of the request",
            frame.remaining()
        )));
    }
    Ok(Request {
        api,
        version,
        correlation_id,
        client_id,
        body,
    })
}

fn client_id(frame: &mut Bytes) -> Result<Option<String>, Malformed> {
    let length = frame.try_get_i16().map_err(|_| Malformed::Header)?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| Malformed::Header)?;
    if frame.remaining() < length {
        return Err(Malformed::Header);
    }
    Ok(Some(
        String::from_utf8_lossy(&frame.split_to(length)).into_owned(),
    ))
}

fn skip_header_tags(frame: &mut Bytes) -> Option<()> {
    for _ in 0..varint(frame)? {
        varint(frame)?;
        let size = usize::try_from(varint(frame)?).ok()?;
        if frame.remaining() < size {
            return None;
        }
        frame.advance(size);
    }
    Some(())
}

fn varint(frame: &mut Bytes) -> Option<u32> {
    let mut value = 0_u32;
    for shift in [0, 7, 14, 21, 28] {
        let byte = frame.try_get_u8().ok()?;
        value |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

type DecodeError = Box<dyn std::error::Error + Send + Sync>;

fn decode(api: Api, frame: &mut Bytes, version: i16) -> Result<Body, DecodeError> {
    fn read<T: Decodable>(frame: &mut Bytes, version: i16) -> Result<T, DecodeError> {
        T::decode(frame, version).map_err(Into::into)
    }
    Ok(match api {
        Api::Produce => Body::Produce(read(frame, version)?),
        Api::Fetch => Body::Fetch(read(frame, version)?),
        Api::ListOffsets => Body::ListOffsets(read(frame, version)?),
        Api::Metadata => Body::Metadata(read(frame, version)?),
        Api::OffsetCommit => Body::OffsetCommit(read(frame, version)?),
        Api::OffsetFetch => Body::OffsetFetch(read(frame, version)?),
        Api::FindCoordinator => Body::FindCoordinator(read(frame, version)?),
        Api::JoinGroup => Body::JoinGroup(read(frame, version)?),
        Api::Heartbeat => Body::Heartbeat(read(frame, version)?),
        Api::LeaveGroup => Body::LeaveGroup(read(frame, version)?),
        Api::SyncGroup => Body::SyncGroup(read(frame, version)?),
        Api::DescribeGroups => Body::DescribeGroups(read(frame, version)?),
        Api::ListGroups => Body::ListGroups(read(frame, version)?),
        Api::SaslHandshake => Body::SaslHandshake(read(frame, version)?),
        Api::ApiVersions => {
            read::<m::ApiVersionsRequest>(frame, version)?;
            Body::ApiVersions
        }
        Api::CreateTopics => Body::CreateTopics(read(frame, version)?),
        Api::DeleteTopics => Body::DeleteTopics(read(frame, version)?),
        Api::DeleteRecords => Body::DeleteRecords(read(frame, version)?),
        Api::InitProducerId => Body::InitProducerId(read(frame, version)?),
        Api::OffsetForLeaderEpoch => Body::OffsetForLeaderEpoch(read(frame, version)?),
        Api::DescribeConfigs => Body::DescribeConfigs(read(frame, version)?),
        Api::AlterConfigs => Body::AlterConfigs(read(frame, version)?),
        Api::SaslAuthenticate => Body::SaslAuthenticate(read(frame, version)?),
        Api::CreatePartitions => Body::CreatePartitions(read(frame, version)?),
        Api::DeleteGroups => Body::DeleteGroups(read(frame, version)?),
        Api::IncrementalAlterConfigs => Body::IncrementalAlterConfigs(read(frame, version)?),
        Api::OffsetDelete => Body::OffsetDelete(read(frame, version)?),
        Api::DescribeCluster => {
            read::<m::DescribeClusterRequest>(frame, version)?;
            Body::DescribeCluster
        }
        Api::ConsumerGroupHeartbeat => Body::ConsumerGroupHeartbeat(read(frame, version)?),
        Api::ConsumerGroupDescribe => Body::ConsumerGroupDescribe(read(frame, version)?),
    })
}

/// Encodes a response with its header, without the length prefix.
///
/// # Errors
/// Where a field is set that the version does not have: a mistake of this crate, not of the peer.
pub(crate) fn encode_response<T: Encodable>(
    api: Api,
    version: i16,
    correlation_id: i32,
    response: &T,
) -> Result<Bytes, String> {
    let mut frame = BytesMut::new();
    frame.put_i32(correlation_id);
    if api.response_header_version(version) >= 1 {
        frame.put_u8(0);
    }
    response
        .encode(&mut frame, version)
        .map_err(|error| format!("{api} response in version {version}: {error:#}"))?;
    Ok(frame.freeze())
}
