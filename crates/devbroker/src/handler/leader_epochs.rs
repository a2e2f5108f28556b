//! OffsetForLeaderEpoch: where a reader finds out whether what it read was cut off (KIP-320).

use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::Context;
use crate::broker::State;
use crate::error_code::ErrorCode;

pub(super) fn ends(
    context: &Context<'_>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = context.shared.read(|state| {
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let answer = EpochEndOffset::default().with_partition(asked.partition);
                match end(context, state, &topic.topic, asked) {
                    Ok((epoch, offset)) => answer.with_leader_epoch(epoch).with_end_offset(offset),
                    Err(code) => answer
                        .with_error_code(code.0)
                        .with_leader_epoch(-1)
                        .with_end_offset(-1),
                }
            });
            let partitions = partitions.collect();
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic)
                .with_partitions(partitions)
        });
        topics.collect()
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

fn end(
    context: &Context<'_>,
    state: &State,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<(i32, i64), ErrorCode> {
    if let Some(code) = context.injected.instead(topic, asked.partition) {
        return Err(code);
    }
    let log = state
        .topics
        .get(topic)
        .and_then(|topic| topic.partition(asked.partition))
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let leadership = log.leadership();
    leadership.admit(context.came_in.broker, asked.current_leader_epoch)?;
    Ok(leadership.end_of(asked.leader_epoch, log.end_offset()))
}
