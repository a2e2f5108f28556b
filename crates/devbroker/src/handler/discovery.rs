//! What the broker offers and where things are: ApiVersions, Metadata, FindCoordinator.

use std::io;

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, DescribeClusterResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{Context, text};
use crate::api::Api;
use crate::broker::{Identity, State};
use crate::error_code::ErrorCode;
use crate::log::{LEADER_EPOCH, Topic, name_is_legal};
use crate::wire::encode_response;

const GROUP_KEY: i8 = 0;

pub(super) fn api_versions(context: &Context<'_>) -> ApiVersionsResponse {
    match context.injected.instead_of_all() {
        Some(code) => ApiVersionsResponse::default().with_error_code(code.0),
        None => ApiVersionsResponse::default().with_api_keys(offered()),
    }
}

/// The answer to an ApiVersions request of a version that is not offered: version 0, which every
/// client reads (KIP-511).
pub(crate) fn unsupported_api_versions(correlation_id: i32) -> io::Result<Bytes> {
    let response = ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UNSUPPORTED_VERSION.0)
        .with_api_keys(offered());
    encode_response(Api::ApiVersions, 0, correlation_id, &response).map_err(io::Error::other)
}

fn offered() -> Vec<ApiVersion> {
    Api::all()
        .map(|api| {
            ApiVersion::default()
                .with_api_key(api.key())
                .with_min_version(api.min_version())
                .with_max_version(api.max_version())
        })
        .collect()
}

pub(super) fn metadata(context: &Context<'_>, request: MetadataRequest) -> MetadataResponse {
    context.shared.read(|state| {
        let identity = &state.identity;
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(identity.broker_id))
            .with_host(text(identity.host.clone()))
            .with_port(identity.port.into());
        MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(text(identity.cluster_id.clone())))
            .with_controller_id(BrokerId(identity.broker_id))
            .with_topics(described(context, state, request))
    })
}

fn described(
    context: &Context<'_>,
    state: &State,
    request: MetadataRequest,
) -> Vec<MetadataResponseTopic> {
    // Version 0 has no null: there an empty list asks for all.
    let asked = request
        .topics
        .filter(|topics| context.version > 0 || !topics.is_empty());
    match asked {
        Some(topics) => topics
            .into_iter()
            .map(|topic| asked_topic(context, state, topic))
            .collect(),
        None => state
            .topics
            .iter()
            .map(|(name, topic)| existing(context, &state.identity, name, topic))
            .collect(),
    }
}

fn asked_topic(
    context: &Context<'_>,
    state: &State,
    asked: MetadataRequestTopic,
) -> MetadataResponseTopic {
    let name = asked.name.clone().unwrap_or_default();
    let found = match state.topic_name(&name, asked.topic_id) {
        Some(name) => state.topics.get_key_value(&name),
        None => None,
    };
    if let Some((name, topic)) = found {
        return existing(context, &state.identity, name, topic);
    }
    let code = if !asked.topic_id.is_nil() {
        ErrorCode::UNKNOWN_TOPIC_ID
    } else if name_is_legal(&name) {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    } else {
        ErrorCode::INVALID_TOPIC_EXCEPTION
    };
    let shown = asked
        .name
        .or_else(|| (context.version < 12).then(TopicName::default));
    MetadataResponseTopic::default()
        .with_error_code(code.0)
        .with_name(shown)
        .with_topic_id(asked.topic_id)
}

fn existing(
    context: &Context<'_>,
    identity: &Identity,
    name: &str,
    topic: &Topic,
) -> MetadataResponseTopic {
    let response = MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(name))))
        .with_topic_id(topic.id);
    if let Some(code) = context.injected.instead_of_topic(name) {
        return response.with_error_code(code.0);
    }
    let broker = BrokerId(identity.broker_id);
    let partitions = (0..).zip(&topic.partitions).map(|(index, _)| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(broker)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![broker])
            .with_isr_nodes(vec![broker])
    });
    response.with_partitions(partitions.collect())
}

pub(super) fn describe_cluster(context: &Context<'_>) -> DescribeClusterResponse {
    if let Some(code) = context.injected.instead_of_all() {
        return DescribeClusterResponse::default().with_error_code(code.0);
    }
    context.shared.read(|state| {
        let identity = &state.identity;
        let broker = DescribeClusterBroker::default()
            .with_broker_id(BrokerId(identity.broker_id))
            .with_host(text(identity.host.clone()))
            .with_port(identity.port.into());
        DescribeClusterResponse::default()
            .with_cluster_id(text(identity.cluster_id.clone()))
            .with_controller_id(BrokerId(identity.broker_id))
            .with_brokers(vec![broker])
    })
}

/// The coordinator of every group is this broker; of transactions there is none.
pub(super) fn find_coordinator(
    context: &Context<'_>,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let code = match context.injected.instead_of_all() {
        Some(code) => code,
        None if request.key_type == GROUP_KEY => ErrorCode::NONE,
        None => ErrorCode::INVALID_REQUEST,
    };
    context.shared.read(|state| {
        let identity = &state.identity;
        let (node, host, port) = if code.is_none() {
            let host = text(identity.host.clone());
            (BrokerId(identity.broker_id), host, i32::from(identity.port))
        } else {
            (BrokerId(-1), StrBytes::default(), -1)
        };
        if context.version < 4 {
            return FindCoordinatorResponse::default()
                .with_error_code(code.0)
                .with_node_id(node)
                .with_host(host)
                .with_port(port);
        }
        let coordinators = request.coordinator_keys.into_iter().map(|key| {
            Coordinator::default()
                .with_key(key)
                .with_error_code(code.0)
                .with_node_id(node)
                .with_host(host.clone())
                .with_port(port)
        });
        FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
    })
}
