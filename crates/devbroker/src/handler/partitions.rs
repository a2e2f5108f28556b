//! CreatePartitions.

use std::collections::BTreeMap;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::topics::MAX_PARTITIONS;
use super::{Context, text};
use crate::broker::State;
use crate::error_code::ErrorCode;

type Refused = (ErrorCode, String);

/// Gives topics more partitions. A topic named twice is refused, as with Kafka.
pub(super) fn create(
    context: &Context<'_>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    for topic in &request.topics {
        *named.entry(topic.name.to_string()).or_default() += 1;
    }
    let validate_only = request.validate_only;
    let results = context.shared.update(|state| {
        let topics = request.topics.into_iter().map(|topic| {
            let outcome = match context.injected.instead_of_topic(&topic.name) {
                Some(code) => Err((code, "injected fault".to_owned())),
                None if named.get(topic.name.as_str()) > Some(&1) => Err((
                    ErrorCode::INVALID_REQUEST,
                    "duplicate topic name".to_owned(),
                )),
                None => admit(state, &topic),
            };
            let refused = match outcome {
                Ok(count) if !validate_only => {
                    state.grow_topic(&topic.name, count);
                    None
                }
                Ok(_) => None,
                Err(refused) => Some(refused),
            };
            let (code, reason) = refused.unzip();
            CreatePartitionsTopicResult::default()
                .with_name(topic.name)
                .with_error_code(code.unwrap_or(ErrorCode::NONE).0)
                .with_error_message(reason.map(text))
        });
        topics.collect()
    });
    CreatePartitionsResponse::default().with_results(results)
}

/// The number of partitions the topic is to have.
fn admit(state: &State, asked: &CreatePartitionsTopic) -> Result<usize, Refused> {
    let name = asked.name.as_str();
    let topic = state.topics.get(name).ok_or_else(|| {
        let reason = "this topic does not exist".to_owned();
        (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, reason)
    })?;
    let present = topic.partitions.len();
    let invalid = |reason: String| (ErrorCode::INVALID_PARTITIONS, reason);
    let count = usize::try_from(asked.count)
        .ok()
        .filter(|count| *count > present)
        .ok_or_else(|| {
            invalid(format!(
                "the topic has {present} partitions; {} would not be more",
                asked.count
            ))
        })?;
    if asked.count > MAX_PARTITIONS {
        return Err(invalid(format!(
            "{count} partitions; at most {MAX_PARTITIONS} are possible"
        )));
    }
    match &asked.assignments {
        Some(assignments) if assignments.len() != count - present => Err((
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            format!(
                "{} assignments for {} new partitions",
                assignments.len(),
                count - present
            ),
        )),
        _ => Ok(count),
    }
}
