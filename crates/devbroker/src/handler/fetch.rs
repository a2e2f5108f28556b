//! Fetch, with its long poll.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, ProducerId};

use super::{Context, leads_elsewhere, text};
use crate::broker::{Node, State};
use crate::error_code::ErrorCode;
use crate::log::PartitionLog;

/// The isolation level of readers that want committed records alone.
pub(super) const READ_COMMITTED: i8 = 1;

/// Kafka's `fetch.max.bytes` of the broker.
const MAX_RESPONSE_BYTES: usize = 55 * 1024 * 1024;

/// Reads, waiting up to the client's `max_wait` for `min_bytes` to be there. An error in any
/// partition ends the wait. Sessions (KIP-227) are not kept: every fetch is a full one.
pub(super) async fn fetch(context: &Context<'_>, request: &FetchRequest) -> FetchResponse {
    let session_error = match (request.session_id, request.session_epoch) {
        (0, -1 | 0) => ErrorCode::NONE,
        (0, _) => ErrorCode::INVALID_FETCH_SESSION_EPOCH,
        // Epoch -1 closes the session and fetches in full.
        (_, -1) => ErrorCode::NONE,
        _ => ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
    };
    if !session_error.is_none() {
        return FetchResponse::default().with_error_code(session_error.0);
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = tokio::time::sleep(wait);
    tokio::pin!(deadline);
    let mut changes = context.shared.changes();
    loop {
        let attempt = context
            .shared
            .read(|state| Attempt::read(context, state, request));
        if attempt.is_enough(request) || deadline.is_elapsed() {
            return attempt.response(context);
        }
        tokio::select! {
            () = &mut deadline => {}
            // The sender lives as long as the broker.
            _ = changes.changed() => {}
        }
    }
}

/// What a fetch would be answered right now.
struct Attempt {
    topics: Vec<FetchableTopicResponse>,
    bytes: usize,
    limit: usize,
    has_error: bool,
    isolation: i8,
    /// Brokers that partitions were refused in favour of.
    leaders: BTreeSet<i32>,
}

impl Attempt {
    fn read(context: &Context<'_>, state: &State, request: &FetchRequest) -> Self {
        let mut attempt = Self {
            topics: Vec::new(),
            bytes: 0,
            limit: bytes(request.max_bytes).min(MAX_RESPONSE_BYTES),
            has_error: false,
            isolation: request.isolation_level,
            leaders: BTreeSet::new(),
        };
        for topic in &request.topics {
            let name = state.topic_name(&topic.topic, topic.topic_id);
            let partitions = topic.partitions.iter();
            let partitions = partitions
                .map(|partition| {
                    attempt.partition(context, state, name.as_deref(), topic, partition)
                })
                .collect();
            attempt.topics.push(
                FetchableTopicResponse::default()
                    .with_topic(topic.topic.clone())
                    .with_topic_id(topic.topic_id)
                    .with_partitions(partitions),
            );
        }
        attempt
    }

    fn response(self, context: &Context<'_>) -> FetchResponse {
        let response = FetchResponse::default().with_responses(self.topics);
        if context.version < 16 || self.leaders.is_empty() {
            return response;
        }
        let endpoints = context.shared.read(|state| {
            let leaders = self.leaders.iter().filter_map(|id| state.nodes.find(*id));
            let endpoint = |node: &Node| {
                NodeEndpoint::default()
                    .with_node_id(BrokerId(node.id))
                    .with_host(text(node.host.clone()))
                    .with_port(node.port.into())
            };
            leaders.map(endpoint).collect()
        });
        response.with_node_endpoints(endpoints)
    }

    /// The offset that reading ends before.
    fn until(&self, log: &PartitionLog) -> i64 {
        match self.isolation {
            READ_COMMITTED => log.last_stable_offset(),
            _ => log.end_offset(),
        }
    }

    fn is_enough(&self, request: &FetchRequest) -> bool {
        let wanted = bytes(request.min_bytes).min(self.limit);
        self.has_error || self.topics.is_empty() || self.bytes >= wanted
    }

    fn partition(
        &mut self,
        context: &Context<'_>,
        state: &State,
        name: Option<&str>,
        topic: &FetchTopic,
        asked: &FetchPartition,
    ) -> PartitionData {
        let response = PartitionData::default()
            .with_partition_index(asked.partition)
            .with_high_watermark(-1)
            .with_last_stable_offset(-1)
            .with_log_start_offset(-1)
            .with_records(Some(Bytes::new()));
        let log = name
            .and_then(|name| state.topics.get(name))
            .and_then(|topic| topic.partition(asked.partition));
        let unknown = if topic.topic_id.is_nil() {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        } else if name.is_none() {
            ErrorCode::UNKNOWN_TOPIC_ID
        } else {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        };
        let injected = context
            .injected
            .instead(name.unwrap_or_default(), asked.partition);
        let read = match (injected, log) {
            (Some(code), _) => Err(code),
            (None, None) => Err(unknown),
            (None, Some(log)) => admitted(log, context, asked).and_then(|()| {
                let room = self.limit.saturating_sub(self.bytes);
                let room = room.min(bytes(asked.partition_max_bytes));
                log.read(asked.fetch_offset, self.until(log), room, self.bytes == 0)
            }),
        };
        match (read, log) {
            (Ok(records), Some(log)) => {
                self.bytes += records.len();
                let response = match self.isolation {
                    READ_COMMITTED => {
                        let aborted = log.aborted_within(asked.fetch_offset, self.until(log));
                        let told = aborted.iter().map(|aborted| {
                            AbortedTransaction::default()
                                .with_producer_id(ProducerId(aborted.producer_id))
                                .with_first_offset(aborted.first_offset)
                        });
                        response.with_aborted_transactions(Some(told.collect()))
                    }
                    _ => response,
                };
                response
                    .with_high_watermark(log.end_offset())
                    .with_last_stable_offset(log.last_stable_offset())
                    .with_log_start_offset(log.start_offset())
                    .with_records(Some(records))
            }
            (read, log) => {
                self.has_error = true;
                let code = read.err().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR);
                let response = response.with_error_code(code.0);
                match log.filter(|_| context.version >= 12 && leads_elsewhere(code)) {
                    Some(log) => {
                        let leader = log.leadership().leader();
                        self.leaders.extend(leader);
                        let leader = LeaderIdAndEpoch::default()
                            .with_leader_id(BrokerId(leader.unwrap_or(-1)))
                            .with_leader_epoch(log.leadership().epoch());
                        response.with_current_leader(leader)
                    }
                    None => response,
                }
            }
        }
    }
}

fn admitted(
    log: &PartitionLog,
    context: &Context<'_>,
    asked: &FetchPartition,
) -> Result<(), ErrorCode> {
    let leadership = log.leadership();
    leadership.admit(context.came_in.broker, asked.current_leader_epoch)
}

fn bytes(count: i32) -> usize {
    usize::try_from(count).unwrap_or(0)
}
