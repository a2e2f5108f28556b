//! ListOffsets.

use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::Context;
use super::fetch::READ_COMMITTED;
use crate::broker::State;
use crate::error_code::ErrorCode;

/// Timestamps that stand for something else (`ListOffsetsRequest` and KIP-734, KIP-405).
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;

pub(super) fn list_offsets(
    context: &Context<'_>,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let isolation = request.isolation_level;
    let topics = context.shared.read(|state| {
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter();
            let partitions = partitions
                .map(|asked| partition(context, state, isolation, &topic.name, asked))
                .collect();
            ListOffsetsTopicResponse::default()
                .with_partitions(partitions)
                .with_name(topic.name)
        });
        topics.collect()
    });
    ListOffsetsResponse::default().with_topics(topics)
}

fn partition(
    context: &Context<'_>,
    state: &State,
    isolation: i8,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    let response =
        ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
    match find(context, state, isolation, topic, asked) {
        Ok((found, epoch)) => {
            let (offset, timestamp) = found.unwrap_or((-1, -1));
            response
                .with_offset(offset)
                .with_timestamp(timestamp)
                .with_leader_epoch(if context.version >= 4 { epoch } else { -1 })
        }
        Err(code) => response
            .with_error_code(code.0)
            .with_offset(-1)
            .with_timestamp(-1),
    }
}

/// Offset and timestamp, nothing where no record is that late; and the offset's leader epoch.
fn find(
    context: &Context<'_>,
    state: &State,
    isolation: i8,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> Result<(Option<(i64, i64)>, i32), ErrorCode> {
    if let Some(code) = context.injected.instead(topic, asked.partition_index) {
        return Err(code);
    }
    let log = state
        .topics
        .get(topic)
        .and_then(|topic| topic.partition(asked.partition_index))
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let leadership = log.leadership();
    leadership.admit(context.came_in.broker, asked.current_leader_epoch)?;
    let found = match asked.timestamp {
        LATEST if isolation == READ_COMMITTED => Some((log.last_stable_offset(), -1)),
        LATEST => Some((log.end_offset(), -1)),
        EARLIEST | EARLIEST_LOCAL => Some((log.start_offset(), -1)),
        MAX_TIMESTAMP => log.max_timestamp(),
        negative if negative < 0 => None,
        timestamp => log.at_timestamp(timestamp),
    };
    let epoch = found.map_or(-1, |(offset, _)| leadership.epoch_at(offset));
    Ok((found, epoch))
}
