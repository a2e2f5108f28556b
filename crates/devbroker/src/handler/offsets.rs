//! Offsets of groups: OffsetCommit and OffsetFetch.

use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};

use super::{Context, optional_string, text};
use crate::broker::State;
use crate::error_code::ErrorCode;
use crate::group::{CommitRequest, CommittedOffset, PartitionCommit};

pub(super) fn commit(context: &Context<'_>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let now = context.shared.now().instant;
    let topics = context.shared.update(|state| {
        let (accepted, outcomes) = sort_out(context, state, &request.group_id, &request.topics);
        let codes = state.coordinator.commit(
            now,
            CommitRequest {
                group_id: request.group_id.to_string(),
                member_id: request.member_id.to_string(),
                instance_id: optional_string(request.group_instance_id),
                generation: request.generation_id_or_member_epoch,
                partitions: accepted,
            },
        );
        let mut codes = codes.into_iter();
        let mut outcomes = outcomes.into_iter();
        let mut next_code = || match outcomes.next().flatten() {
            Some(code) => code,
            None => codes.next().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR),
        };
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let index = partition.partition_index;
                let code = context.injected.tell(&topic.name, index, next_code());
                OffsetCommitResponsePartition::default()
                    .with_partition_index(index)
                    .with_error_code(code.0)
            });
            let partitions = partitions.collect();
            OffsetCommitResponseTopic::default()
                .with_name(topic.name)
                .with_partitions(partitions)
        });
        topics.collect::<Vec<_>>()
    });
    OffsetCommitResponse::default().with_topics(topics)
}

/// Splits a request into what the group is asked to store, and per partition in order the error
/// it has already got, or nothing where the group decides.
fn sort_out(
    context: &Context<'_>,
    state: &State,
    group: &str,
    topics: &[OffsetCommitRequestTopic],
) -> (Vec<PartitionCommit>, Vec<Option<ErrorCode>>) {
    let elsewhere = context.is_elsewhere(state, group);
    let mut accepted = Vec::new();
    let mut outcomes = Vec::new();
    for topic in topics {
        for partition in &topic.partitions {
            let index = partition.partition_index;
            let exists = state
                .topics
                .get(topic.name.as_str())
                .is_some_and(|topic| topic.partition(index).is_some());
            let unknown = (!exists).then_some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            let injected = context.injected.instead(&topic.name, index);
            let outcome = injected.or(elsewhere).or(unknown);
            if outcome.is_none() {
                accepted.push(PartitionCommit {
                    topic: topic.name.to_string(),
                    partition: index,
                    committed: CommittedOffset {
                        offset: partition.committed_offset,
                        leader_epoch: partition.committed_leader_epoch,
                        metadata: partition
                            .committed_metadata
                            .as_ref()
                            .map(ToString::to_string)
                            .unwrap_or_default(),
                    },
                });
            }
            outcomes.push(outcome);
        }
    }
    (accepted, outcomes)
}

pub(super) fn fetch(context: &Context<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if context.version >= 8 {
        return fetch_groups(context, request);
    }
    let asked = request.topics.map(|topics| {
        let topics = topics.into_iter();
        topics
            .map(|topic| (topic.name, topic.partition_indexes))
            .collect()
    });
    let refused = context
        .shared
        .read(|state| context.refuses_group(state, &request.group_id));
    let code = refused.unwrap_or(ErrorCode::NONE);
    if !code.is_none() && context.version >= 2 {
        return OffsetFetchResponse::default().with_error_code(code.0);
    }
    let found = context
        .shared
        .read(|state| look_up(state, &request.group_id, asked));
    let topics = found.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, committed)| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(index)
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch)
                .with_metadata(Some(text(committed.metadata)))
                .with_error_code(code.0)
        });
        OffsetFetchResponseTopic::default()
            .with_name(name)
            .with_partitions(partitions.collect())
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn fetch_groups(context: &Context<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let groups = request.groups.into_iter().map(|group| {
        let response = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
        let refused = context
            .shared
            .read(|state| context.refuses_group(state, &group.group_id));
        let member = group.member_id.as_deref().unwrap_or_default();
        let refused = refused.or_else(|| {
            context.shared.read(|state| {
                let found = state.coordinator.group(&group.group_id)?;
                found.admit_fetch(member, group.member_epoch).err()
            })
        });
        if let Some(code) = refused {
            return response.with_error_code(code.0);
        }
        let asked = group.topics.map(|topics| {
            let topics = topics.into_iter();
            topics
                .map(|topic| (topic.name, topic.partition_indexes))
                .collect()
        });
        let found = context
            .shared
            .read(|state| look_up(state, &group.group_id, asked));
        let topics = found.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, committed)| {
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(index)
                    .with_committed_offset(committed.offset)
                    .with_committed_leader_epoch(committed.leader_epoch)
                    .with_metadata(Some(text(committed.metadata)))
            });
            OffsetFetchResponseTopics::default()
                .with_name(name)
                .with_partitions(partitions.collect())
        });
        response.with_topics(topics.collect())
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

type Found = Vec<(TopicName, Vec<(i32, CommittedOffset)>)>;

/// What a group has committed, for the partitions asked for or for all. What it has not
/// committed, or a group nobody knows, comes as offset -1 without an error, as with Kafka.
fn look_up(state: &State, group: &str, asked: Option<Vec<(TopicName, Vec<i32>)>>) -> Found {
    let offsets = state.coordinator.group(group).map(|group| group.offsets());
    let none = CommittedOffset {
        offset: -1,
        leader_epoch: -1,
        metadata: String::new(),
    };
    match asked {
        Some(topics) => topics
            .into_iter()
            .map(|(name, partitions)| {
                let found = partitions.into_iter().map(|index| {
                    let committed = offsets.and_then(|offsets| offsets.get(&name, index));
                    (index, committed.unwrap_or(&none).clone())
                });
                let found = found.collect();
                (name, found)
            })
            .collect(),
        None => offsets
            .into_iter()
            .flat_map(|offsets| offsets.topics())
            .map(|(name, partitions)| {
                let found = partitions.iter().map(|(index, c)| (*index, c.clone()));
                (TopicName(text(name.clone())), found.collect())
            })
            .collect(),
    }
}
