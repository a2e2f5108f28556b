//! DeleteRecords.

use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::Context;
use crate::broker::State;
use crate::error_code::ErrorCode;

/// Stands for the high watermark: all records of now.
const HIGH_WATERMARK: i64 = -1;

pub(super) fn delete(
    context: &Context<'_>,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let topics = context.shared.update(|state| {
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let outcome = delete_one(context, state, &topic.name, asked);
                let (low_watermark, code) = match outcome {
                    Ok(start) => (start, ErrorCode::NONE),
                    Err(code) => (-1, code),
                };
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(asked.partition_index)
                    .with_low_watermark(low_watermark)
                    .with_error_code(code.0)
            });
            let partitions = partitions.collect();
            DeleteRecordsTopicResult::default()
                .with_name(topic.name)
                .with_partitions(partitions)
        });
        topics.collect()
    });
    DeleteRecordsResponse::default().with_topics(topics)
}

/// The log's new start. Records that are gone already are no error.
fn delete_one(
    context: &Context<'_>,
    state: &mut State,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<i64, ErrorCode> {
    if let Some(code) = context.injected.instead(topic, asked.partition_index) {
        return Err(code);
    }
    let (settings, log) = state
        .topics
        .get_mut(topic)
        .and_then(|topic| topic.partition_mut(asked.partition_index))
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    log.leadership().admit(context.came_in.broker, -1)?;
    if !settings.deletes() {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let offset = match asked.offset {
        HIGH_WATERMARK => log.end_offset(),
        offset => offset,
    };
    if !(0..=log.end_offset()).contains(&offset) {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    log.delete_before(offset);
    match context.injected.told(topic, asked.partition_index) {
        Some(code) => Err(code),
        None => Ok(log.start_offset()),
    }
}
