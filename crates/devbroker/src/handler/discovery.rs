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
use uuid::Uuid;

use super::{Context, text};
use crate::api::Api;
use crate::broker::State;
use crate::error_code::ErrorCode;
use crate::log::{Topic, name_is_legal};
use crate::wire::encode_response;

const GROUP_KEY: i8 = 0;

pub(super) fn api_versions(context: &Context<'_>) -> ApiVersionsResponse {
    match context.injected.instead_of_all() {
        Some(code) => ApiVersionsResponse::default().with_error_code(code.0),
        None => {
            let hidden = context.shared.read(|state| state.hidden.clone());
            ApiVersionsResponse::default().with_api_keys(offered(&hidden))
        }
    }
}

/// The answer to an ApiVersions request of a version that is not offered: version 0, which every
/// client reads (KIP-511).
pub(crate) fn unsupported_api_versions(correlation_id: i32) -> io::Result<Bytes> {
    let response = ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UNSUPPORTED_VERSION.0)
        .with_api_keys(offered(&[]));
    encode_response(Api::ApiVersions, 0, correlation_id, &response).map_err(io::Error::other)
}

fn offered(hidden: &[Api]) -> Vec<ApiVersion> {
    Api::all()
        .filter(|api| !hidden.contains(api))
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
        let brokers = state.nodes.up().map(|node| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(node.id))
                .with_host(text(node.host.clone()))
                .with_port(node.port.into())
                .with_rack(node.rack.clone().map(text))
        });
        MetadataResponse::default()
            .with_brokers(brokers.collect())
            .with_cluster_id(Some(text(state.cluster_id.clone())))
            .with_controller_id(BrokerId(state.nodes.controller()))
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
            .map(|(name, topic)| existing(context, state, name, topic))
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
        return existing(context, state, name, topic);
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
    state: &State,
    name: &str,
    topic: &Topic,
) -> MetadataResponseTopic {
    let nodes = &state.nodes;
    let id = match state.tells_topic_ids {
        true => topic.id,
        false => Uuid::nil(),
    };
    let response = MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(name))))
        .with_topic_id(id);
    if let Some(code) = context.injected.instead_of_topic(name) {
        return response.with_error_code(code.0);
    }
    let ids = |replicas: &mut dyn Iterator<Item = &i32>| -> Vec<BrokerId> {
        replicas.copied().map(BrokerId).collect()
    };
    let partitions = (0..).zip(&topic.partitions).map(|(index, log)| {
        let leadership = log.leadership();
        let replicas = || leadership.replicas().iter();
        let code = match leadership.leader() {
            Some(_) => ErrorCode::NONE,
            None => ErrorCode::LEADER_NOT_AVAILABLE,
        };
        MetadataResponsePartition::default()
            .with_error_code(code.0)
            .with_partition_index(index)
            .with_leader_id(BrokerId(leadership.leader().unwrap_or(-1)))
            .with_leader_epoch(leadership.epoch())
            .with_replica_nodes(ids(&mut replicas()))
            .with_isr_nodes(ids(&mut replicas().filter(|id| nodes.is_up(**id))))
            .with_offline_replicas(ids(&mut replicas().filter(|id| !nodes.is_called_up(**id))))
    });
    response.with_partitions(partitions.collect())
}

pub(super) fn describe_cluster(context: &Context<'_>) -> DescribeClusterResponse {
    if let Some(code) = context.injected.instead_of_all() {
        return DescribeClusterResponse::default().with_error_code(code.0);
    }
    context.shared.read(|state| {
        let brokers = state.nodes.up().map(|node| {
            DescribeClusterBroker::default()
                .with_broker_id(BrokerId(node.id))
                .with_host(text(node.host.clone()))
                .with_port(node.port.into())
                .with_rack(node.rack.clone().map(text))
        });
        DescribeClusterResponse::default()
            .with_cluster_id(text(state.cluster_id.clone()))
            .with_controller_id(BrokerId(state.nodes.controller()))
            .with_brokers(brokers.collect())
    })
}

/// Groups are spread over the brokers.
pub(super) fn find_coordinator(
    context: &Context<'_>,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let refused = match context.injected.instead_of_all() {
        Some(code) => Some(code),
        None if request.key_type == GROUP_KEY => None,
        None => Some(ErrorCode::INVALID_REQUEST),
    };
    context.shared.read(|state| {
        let find = |key: StrBytes| {
            let found = match refused {
                Some(code) => Err(code),
                None => state
                    .nodes
                    .coordinator(&key)
                    .ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE),
            };
            let answer = Coordinator::default().with_key(key);
            match found {
                Ok(node) => answer
                    .with_node_id(BrokerId(node.id))
                    .with_host(text(node.host.clone()))
                    .with_port(node.port.into()),
                Err(code) => answer
                    .with_error_code(code.0)
                    .with_node_id(BrokerId(-1))
                    .with_port(-1),
            }
        };
        if context.version >= 4 {
            let coordinators = request.coordinator_keys.into_iter().map(find);
            return FindCoordinatorResponse::default().with_coordinators(coordinators.collect());
        }
        let found = find(request.key);
        FindCoordinatorResponse::default()
            .with_error_code(found.error_code)
            .with_node_id(found.node_id)
            .with_host(found.host)
            .with_port(found.port)
    })
}
