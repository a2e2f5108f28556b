//! Produce and InitProducerId.

use std::collections::BTreeSet;

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    TopicProduceResponse,
};
use kafka_protocol::messages::{
    BrokerId, InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse,
    ProducerId,
};

use super::{Context, leads_elsewhere, text};
use crate::broker::{Node, Now, State};
use crate::error_code::ErrorCode;
use crate::log::{AppendRefused, Appended, BadRecord};

const ACKS_NONE: i16 = 0;
const ACKS_ALL: i16 = -1;

/// Appends; nothing is answered where the client wants no answer.
pub(super) fn produce(context: &Context<'_>, request: ProduceRequest) -> Option<ProduceResponse> {
    let acks = request.acks;
    let now = context.shared.now();
    let responses: Vec<_> = context.shared.update(|state| {
        let topics = request.topic_data.into_iter();
        topics
            .map(|topic| produce_topic(context, state, now, acks, topic))
            .collect()
    });
    (acks != ACKS_NONE).then(|| {
        let response = ProduceResponse::default();
        let endpoints = endpoints(context, &responses);
        response
            .with_responses(responses)
            .with_node_endpoints(endpoints)
    })
}

/// Where the brokers are that the answers point to.
fn endpoints(context: &Context<'_>, responses: &[TopicProduceResponse]) -> Vec<NodeEndpoint> {
    let partitions = responses.iter().flat_map(|t| &t.partition_responses);
    let leaders: BTreeSet<i32> = partitions.map(|p| p.current_leader.leader_id.0).collect();
    context.shared.read(|state| {
        let nodes = leaders.iter().filter_map(|id| state.nodes.find(*id));
        let endpoint = |node: &Node| {
            NodeEndpoint::default()
                .with_node_id(BrokerId(node.id))
                .with_host(text(node.host.clone()))
                .with_port(node.port.into())
        };
        nodes.map(endpoint).collect()
    })
}

fn produce_topic(
    context: &Context<'_>,
    state: &mut State,
    now: Now,
    acks: i16,
    topic: TopicProduceData,
) -> TopicProduceResponse {
    let name = state.topic_name(&topic.name, topic.topic_id);
    let partitions = topic.partition_data.into_iter().map(|partition| {
        let index = partition.index;
        let outcome = match &name {
            None => Err(refused(ErrorCode::UNKNOWN_TOPIC_ID, "no such topic id")),
            Some(name) => append(context, state, now, acks, name, &partition),
        };
        let name = name.as_deref().unwrap_or_default();
        answer(context, state, name, index, outcome)
    });
    TopicProduceResponse::default()
        .with_partition_responses(partitions.collect())
        .with_name(topic.name)
        .with_topic_id(topic.topic_id)
}

fn append(
    context: &Context<'_>,
    state: &mut State,
    now: Now,
    acks: i16,
    topic: &str,
    partition: &PartitionProduceData,
) -> Result<Appended, AppendRefused> {
    if let Some(code) = context.injected.instead(topic, partition.index) {
        let records = context.injected.bad_records(topic, partition.index);
        let records = records.iter().map(|index| BadRecord {
            index: *index,
            reason: "injected fault".to_owned(),
        });
        return Err(AppendRefused {
            records: records.collect(),
            ..refused(code, "injected fault")
        });
    }
    if !(ACKS_ALL..=1).contains(&acks) {
        return Err(refused(
            ErrorCode::INVALID_REQUIRED_ACKS,
            "acks is none of -1, 0, 1",
        ));
    }
    let nodes = &state.nodes;
    let place = state.topics.get_mut(topic);
    let (settings, log) = place
        .and_then(|topic| topic.partition_mut(partition.index))
        .ok_or_else(|| {
            refused(
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                "no such topic or partition",
            )
        })?;
    log.leadership()
        .admit(context.came_in.broker, -1)
        .map_err(|code| refused(code, "another broker leads the partition"))?;
    let in_sync = log.leadership().replicas().iter();
    let in_sync = in_sync.filter(|id| nodes.is_up(**id)).count();
    if acks == ACKS_ALL && in_sync < settings.min_insync_replicas {
        let reason = format!(
            "{in_sync} replicas are in sync; {} are required",
            settings.min_insync_replicas
        );
        return Err(refused(ErrorCode::NOT_ENOUGH_REPLICAS, &reason));
    }
    let records = partition
        .records
        .as_ref()
        .filter(|records| !records.is_empty())
        .ok_or_else(|| refused(ErrorCode::INVALID_RECORD, "a batch is required"))?;
    log.append(records, settings, now.unix_ms)
}

fn refused(code: ErrorCode, reason: &str) -> AppendRefused {
    AppendRefused {
        code,
        reason: reason.to_owned(),
        records: Vec::new(),
    }
}

fn answer(
    context: &Context<'_>,
    state: &State,
    topic: &str,
    index: i32,
    outcome: Result<Appended, AppendRefused>,
) -> PartitionProduceResponse {
    let truth = outcome
        .as_ref()
        .err()
        .map_or(ErrorCode::NONE, |error| error.code);
    let told = context.injected.tell(topic, index, truth);
    let response = PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(told.0);
    if !told.is_none() {
        let response = response
            .with_base_offset(-1)
            .with_log_append_time_ms(-1)
            .with_log_start_offset(-1)
            .with_current_leader(current_leader(context, state, topic, index, told));
        return match outcome {
            Err(error) if context.version >= 8 => response
                .with_record_errors(error.records.into_iter().map(record_error).collect())
                .with_error_message(Some(text(error.reason))),
            _ => response,
        };
    }
    let start = state
        .topics
        .get(topic)
        .and_then(|topic| topic.partition(index))
        .map_or(-1, |log| log.start_offset());
    match outcome {
        Ok(appended) => response
            .with_base_offset(appended.base_offset)
            .with_log_append_time_ms(appended.append_time_ms.unwrap_or(-1))
            .with_log_start_offset(start),
        // Success was injected over an error: the client is told what it wants to hear.
        Err(_) => response.with_base_offset(-1).with_log_append_time_ms(-1),
    }
}

/// Who leads the partition, for a client that asked another broker; unset otherwise.
fn current_leader(
    context: &Context<'_>,
    state: &State,
    topic: &str,
    index: i32,
    told: ErrorCode,
) -> LeaderIdAndEpoch {
    let log = state.topics.get(topic).and_then(|t| t.partition(index));
    match log.filter(|_| context.version >= 10 && leads_elsewhere(told)) {
        Some(log) => LeaderIdAndEpoch::default()
            .with_leader_id(BrokerId(log.leadership().leader().unwrap_or(-1)))
            .with_leader_epoch(log.leadership().epoch()),
        None => LeaderIdAndEpoch::default(),
    }
}

fn record_error(record: BadRecord) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage::default()
        .with_batch_index(record.index)
        .with_batch_index_error_message(Some(text(record.reason)))
}

/// Gives out a producer id. Without a transactional id always a new one, whatever id and epoch
/// the request names (as Kafka does); transactions are not supported.
pub(super) fn init_producer_id(
    context: &Context<'_>,
    request: &InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refuse = |code: ErrorCode| {
        InitProducerIdResponse::default()
            .with_error_code(code.0)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    if let Some(code) = context.injected.instead_of_all() {
        return refuse(code);
    }
    if request.transactional_id.is_some() {
        return refuse(ErrorCode::INVALID_REQUEST);
    }
    let id = context.shared.update(State::new_producer_id);
    let told = context.injected.tell_of_all(ErrorCode::NONE);
    if !told.is_none() {
        return refuse(told);
    }
    InitProducerIdResponse::default()
        .with_producer_id(ProducerId(id))
        .with_producer_epoch(0)
}
