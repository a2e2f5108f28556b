//! Fetch, with its long poll.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, ProducerId};

use super::{Context, leads_elsewhere, text};
use crate::broker::{Node, SessionKind, State};
use crate::error_code::ErrorCode;
use crate::log::PartitionLog;

/// The isolation level of readers that want committed records alone.
pub(super) const READ_COMMITTED: i8 = 1;

/// Kafka's `fetch.max.bytes` of the broker.
const MAX_RESPONSE_BYTES: usize = 55 * 1024 * 1024;

/// From this version on followers may be read from (KIP-392).
const FOLLOWERS_FROM: i16 = 11;
/// From this version on topics go by their ids (KIP-516).
const IDS_FROM: i16 = 13;

/// Reads, waiting up to the client's `max_wait` for `min_bytes` to be there. An error in any
/// partition ends the wait, and so does what sends the reader elsewhere.
pub(super) async fn fetch(context: &Context<'_>, request: FetchRequest) -> FetchResponse {
    let (broker, by_id) = (context.came_in.broker, context.version >= IDS_FROM);
    let opened = context.shared.update(|state| {
        let now = context.shared.now().instant;
        state.fetch_sessions.open(broker, &request, by_id, now)
    });
    let (topics, kind) = match opened {
        Ok(opened) => opened,
        Err(code) => return FetchResponse::default().with_error_code(code.0),
    };
    let request = request.with_topics(topics);
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = tokio::time::sleep(wait);
    tokio::pin!(deadline);
    let mut changes = context.shared.changes();
    loop {
        let attempt = context
            .shared
            .read(|state| Attempt::read(context, state, &request));
        if attempt.is_enough(&request) || deadline.is_elapsed() {
            let topics = &request.topics;
            return attempt.response(context, topics, kind, by_id);
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
    /// An error, or what else a reader has to know at once.
    is_urgent: bool,
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
            is_urgent: false,
            isolation: request.isolation_level,
            leaders: BTreeSet::new(),
        };
        for topic in &request.topics {
            let name = state.topic_name(&topic.topic, topic.topic_id);
            let partitions = topic.partitions.iter();
            let partitions = partitions
                .map(|partition| {
                    let rack = request.rack_id.as_str();
                    attempt.partition(context, state, name.as_deref(), topic, partition, rack)
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

    fn response(
        self,
        context: &Context<'_>,
        asked: &[FetchTopic],
        kind: SessionKind,
        by_id: bool,
    ) -> FetchResponse {
        let broker = context.came_in.broker;
        let now = context.shared.now().instant;
        let topics = self.topics;
        let (id, topics) = match kind {
            SessionKind::Sessionless => (0, topics),
            SessionKind::Begins => context.shared.update(|state| {
                let sessions = &mut state.fetch_sessions;
                (sessions.begin(broker, asked, &topics, by_id, now), topics)
            }),
            SessionKind::Incremental(id) => context
                .shared
                .update(|state| (id, state.fetch_sessions.only_news(broker, id, topics))),
        };
        let response = FetchResponse::default().with_responses(topics);
        let response = match context.version {
            7.. => response.with_session_id(id),
            _ => response,
        };
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
    fn until(&self, log: &PartitionLog, broker: i32) -> i64 {
        match self.isolation {
            READ_COMMITTED => log.last_stable_offset().min(log.end_at(broker)),
            _ => log.end_at(broker),
        }
    }

    fn is_enough(&self, request: &FetchRequest) -> bool {
        let wanted = bytes(request.min_bytes).min(self.limit);
        self.is_urgent || self.topics.is_empty() || self.bytes >= wanted
    }

    fn partition(
        &mut self,
        context: &Context<'_>,
        state: &State,
        name: Option<&str>,
        topic: &FetchTopic,
        asked: &FetchPartition,
        rack: &str,
    ) -> PartitionData {
        let broker = context.came_in.broker;
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
        let found = match (injected, log) {
            (Some(code), _) => Err(code),
            (None, None) => Err(unknown),
            (None, Some(log)) => admitted(log, context, asked).and_then(|()| {
                let room = self.limit.saturating_sub(self.bytes);
                let room = room.min(bytes(asked.partition_max_bytes));
                let diverging = diverging(log, broker, asked)?;
                if diverging.is_some() {
                    return Ok(Found {
                        diverging,
                        ..Found::default()
                    });
                }
                if asked.fetch_offset > log.end_at(broker) {
                    return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
                }
                let until = self.until(log, broker);
                let records = log.read(asked.fetch_offset, until, room, self.bytes == 0)?;
                let elsewhere = near(context, state, log, asked, rack);
                Ok(Found {
                    records: match elsewhere {
                        Some(_) => Bytes::new(),
                        None => records,
                    },
                    diverging: None,
                    elsewhere,
                })
            }),
        };
        match (found, log) {
            (Ok(found), Some(log)) => {
                let Found {
                    records,
                    diverging,
                    elsewhere,
                } = found;
                self.is_urgent |= diverging.is_some() || elsewhere.is_some();
                self.bytes += records.len();
                let response = match self.isolation {
                    READ_COMMITTED => {
                        let until = self.until(log, broker);
                        let aborted = log.aborted_within(asked.fetch_offset, until);
                        let told = aborted.iter().map(|aborted| {
                            AbortedTransaction::default()
                                .with_producer_id(ProducerId(aborted.producer_id))
                                .with_first_offset(aborted.first_offset)
                        });
                        response.with_aborted_transactions(Some(told.collect()))
                    }
                    _ => response,
                };
                let response = match diverging {
                    Some((epoch, end_offset)) => response.with_diverging_epoch(
                        EpochEndOffset::default()
                            .with_epoch(epoch)
                            .with_end_offset(end_offset),
                    ),
                    None => response,
                };
                let response = match elsewhere {
                    Some(replica) => response.with_preferred_read_replica(BrokerId(replica)),
                    None => response,
                };
                let end = log.end_at(broker);
                response
                    .with_high_watermark(end)
                    .with_last_stable_offset(log.last_stable_offset().min(end))
                    .with_log_start_offset(log.start_offset())
                    .with_records(Some(records))
            }
            (found, log) => {
                self.is_urgent = true;
                let code = found.err().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR);
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
    let (leadership, broker) = (log.leadership(), context.came_in.broker);
    match context.version {
        FOLLOWERS_FROM.. => leadership.admit_reader(broker, asked.current_leader_epoch),
        _ => leadership.admit(broker, asked.current_leader_epoch),
    }
}

/// What a partition has to say besides an error.
#[derive(Default)]
struct Found {
    records: Bytes,
    diverging: Option<(i32, i64)>,
    /// Another replica that the reader is to go to.
    elsewhere: Option<i32>,
}

/// Where the log and what the reader has part ways before its offset, by the epoch of its last record
/// (`Partition.readRecords`).
fn diverging(
    log: &PartitionLog,
    broker: i32,
    asked: &FetchPartition,
) -> Result<Option<(i32, i64)>, ErrorCode> {
    if asked.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let leadership = log.leadership();
    let (epoch, end) = leadership.end_of(asked.last_fetched_epoch, log.end_at(broker));
    if epoch < 0 || asked.fetch_offset < log.start_offset() {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    let diverges = epoch < asked.last_fetched_epoch || end < asked.fetch_offset;
    Ok(diverges.then_some((epoch, end)))
}

/// The replica that a leader sends a reader of this rack to, which has what the reader asks for.
fn near(
    context: &Context<'_>,
    state: &State,
    log: &PartitionLog,
    asked: &FetchPartition,
    rack: &str,
) -> Option<i32> {
    let leader = log.leadership().leader()?;
    if rack.is_empty() || context.version < FOLLOWERS_FROM || leader != context.came_in.broker {
        return None;
    }
    let replicas = log.leadership().replicas().iter().copied();
    let caught_up = replicas.filter(|replica| log.end_at(*replica) >= asked.fetch_offset);
    state.nodes.nearest(rack, leader, caught_up)
}

fn bytes(count: i32) -> usize {
    usize::try_from(count).unwrap_or(0)
}
