//! CreateTopics and DeleteTopics.

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
};

use super::{Context, configs, text};
use crate::broker::State;
use crate::error_code::ErrorCode;
use crate::log::{TopicSettings, name_is_legal};

/// Partitions of a topic whose creator does not say (`num.partitions`).
const DEFAULT_PARTITIONS: i32 = 1;
/// One request may not take the machine's memory with partitions.
pub(super) const MAX_PARTITIONS: i32 = 10_000;

type Refused = (ErrorCode, String);

pub(super) fn create(context: &Context<'_>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let validate_only = request.validate_only;
    let topics = context.shared.update(|state| {
        let topics = request.topics.into_iter();
        topics
            .map(|topic| create_one(context, state, &topic, validate_only))
            .collect()
    });
    CreateTopicsResponse::default().with_topics(topics)
}

fn create_one(
    context: &Context<'_>,
    state: &mut State,
    topic: &CreatableTopic,
    validate_only: bool,
) -> CreatableTopicResult {
    let response = CreatableTopicResult::default().with_name(topic.name.clone());
    let admitted = match context.injected.instead_of_topic(&topic.name) {
        Some(code) => Err((code, "injected fault".to_owned())),
        None => admit(state, topic),
    };
    let (partitions, replication, settings) = match admitted {
        Ok(admitted) => admitted,
        Err((code, reason)) => {
            let reason = (context.version >= 1).then(|| text(reason));
            let refused = response.with_error_code(code.0).with_error_message(reason);
            return match context.version {
                5.. => refused.with_num_partitions(-1).with_replication_factor(-1),
                _ => refused,
            };
        }
    };
    let rows = configs::topic_rows(&settings).map(|row| {
        CreatableTopicConfigs::default()
            .with_name(text(row.name))
            .with_value(Some(text(row.value)))
            .with_config_source(configs::source(row.is_default))
    });
    let response = match context.version {
        5.. => response
            .with_num_partitions(partitions)
            .with_replication_factor(i16::try_from(replication).unwrap_or(i16::MAX))
            .with_configs(Some(rows.collect())),
        _ => {
            drop(rows);
            response
        }
    };
    if validate_only {
        return response;
    }
    let count = usize::try_from(partitions).unwrap_or(0);
    state.create_topic(&topic.name, count, replication, settings);
    match (context.version, state.topics.get(topic.name.as_str())) {
        (7.., Some(created)) => response.with_topic_id(created.id),
        _ => response,
    }
}

fn admit(state: &State, topic: &CreatableTopic) -> Result<(i32, usize, TopicSettings), Refused> {
    let name = topic.name.as_str();
    if !name_is_legal(name) {
        return Err((
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            "not a legal topic name".to_owned(),
        ));
    }
    if state.topics.contains_key(name) {
        return Err((
            ErrorCode::TOPIC_ALREADY_EXISTS,
            format!("topic '{name}' already exists"),
        ));
    }
    let partitions = if topic.assignments.is_empty() {
        match topic.num_partitions {
            -1 => DEFAULT_PARTITIONS,
            partitions => partitions,
        }
    } else {
        i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX)
    };
    if !(1..=MAX_PARTITIONS).contains(&partitions) {
        return Err((
            ErrorCode::INVALID_PARTITIONS,
            format!("{partitions} partitions; 1 to {MAX_PARTITIONS} are possible"),
        ));
    }
    let brokers = state.nodes.up().count();
    let replication = match (topic.assignments.first(), topic.replication_factor) {
        (Some(assignment), _) => assignment.broker_ids.len(),
        (None, -1) => state.default_replication(),
        (None, factor) => usize::try_from(factor).unwrap_or(0),
    };
    if !(1..=brokers).contains(&replication) {
        return Err((
            ErrorCode::INVALID_REPLICATION_FACTOR,
            format!("replication factor {replication}; {brokers} brokers are up"),
        ));
    }
    let mut settings = TopicSettings::default();
    for config in &topic.configs {
        let value = config.value.as_ref().ok_or_else(|| {
            let reason = format!("null value for configuration {}", config.name.as_str());
            (ErrorCode::INVALID_CONFIG, reason)
        })?;
        settings.set(&config.name, value)?;
    }
    Ok((partitions, replication, settings))
}

pub(super) fn delete(context: &Context<'_>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let named = request.topic_names.into_iter();
    let asked: Vec<DeleteTopicState> = named
        .map(|name| DeleteTopicState::default().with_name(Some(name)))
        .chain(request.topics)
        .collect();
    let responses = context.shared.update(|state| {
        let asked = asked.into_iter();
        asked
            .map(|topic| delete_one(context, state, topic))
            .collect()
    });
    DeleteTopicsResponse::default().with_responses(responses)
}

fn delete_one(
    context: &Context<'_>,
    state: &mut State,
    asked: DeleteTopicState,
) -> DeletableTopicResult {
    let given = asked.name.clone().unwrap_or_default();
    let name = state.topic_name(&given, asked.topic_id);
    let injected = name
        .as_deref()
        .and_then(|name| context.injected.instead_of_topic(name));
    let mut id = asked.topic_id;
    let code = match (injected, &name) {
        (Some(code), _) => code,
        (None, None) => ErrorCode::UNKNOWN_TOPIC_ID,
        (None, Some(name)) => match state.delete_topic(name) {
            Some(deleted) => {
                id = deleted;
                ErrorCode::NONE
            }
            None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        },
    };
    let response = DeletableTopicResult::default()
        .with_name(name.map(|name| TopicName(text(name))))
        .with_error_code(code.0);
    match context.version {
        6.. => response.with_topic_id(id),
        _ => response,
    }
}
