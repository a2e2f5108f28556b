//! Positions of a group: what goes to the coordinator, and what comes back.

use std::sync::Arc;

use crate::{
    consumer::{AssignedPartition, Committed, OffsetToCommit, Position, StartPolicy},
    error::{ErrorCode, ErrorKind, Operation, Target, TransportError},
    record::TopicPartition,
    wire::{OffsetCommitPartition, OffsetCommitRequest, OffsetFetchRequest, Request},
};

/// Who commits.
#[derive(Debug, Clone)]
pub(super) struct Committer {
    pub(super) group: Arc<str>,
    pub(super) generation: i32,
    pub(super) member_id: String,
    pub(super) instance_id: Option<Arc<str>>,
}

pub(super) fn commit_request(
    committer: &Committer,
    offsets: &[OffsetToCommit],
) -> OffsetCommitRequest {
    let mut topics: Vec<(String, Vec<OffsetCommitPartition>)> = Vec::new();
    for one in offsets {
        let partition = OffsetCommitPartition {
            partition: one.partition.partition,
            offset: one.offset,
            leader_epoch: one.leader_epoch.unwrap_or(-1),
            metadata: Some(one.metadata.clone()),
        };
        match topics
            .iter_mut()
            .find(|(topic, _)| **topic == *one.partition.topic)
        {
            Some((_, partitions)) => partitions.push(partition),
            None => topics.push((one.partition.topic.to_string(), vec![partition])),
        }
    }
    OffsetCommitRequest {
        group_id: committer.group.to_string(),
        generation_id: committer.generation,
        member_id: committer.member_id.clone(),
        group_instance_id: committer.instance_id.as_ref().map(ToString::to_string),
        topics,
    }
}

/// The first refusal, or a partition that was left without an answer.
pub(super) fn commit_outcome(
    group: &Arc<str>,
    asked: &[OffsetToCommit],
    answer: <OffsetCommitRequest as Request>::Response,
) -> Result<(), TransportError> {
    for one in asked {
        let TopicPartition { topic, partition } = &one.partition;
        let code = answer
            .iter()
            .filter(|(name, _)| **name == **topic)
            .flat_map(|(_, partitions)| partitions)
            .find_map(|(index, code)| (index == partition).then_some(*code));
        let kind = match code.map(ErrorCode::from_code) {
            Some(None) => continue,
            Some(Some(code)) => ErrorKind::Code {
                code,
                message: None,
            },
            None => ErrorKind::Malformed {
                reason: "the answer leaves a partition out".into(),
            },
        };
        let target = Target::default()
            .partition(topic.clone(), *partition)
            .group(group.clone());
        return Err(TransportError::new(Operation::OffsetCommit, target, kind));
    }
    Ok(())
}

/// `member` is who asks and in which epoch, where the coordinator is to check that (KIP-848).
pub(crate) fn fetch_request(
    group: &Arc<str>,
    partitions: &[TopicPartition],
    member: Option<(String, i32)>,
) -> OffsetFetchRequest {
    let mut topics: Vec<(String, Vec<i32>)> = Vec::new();
    for one in partitions {
        match topics.iter_mut().find(|(topic, _)| **topic == *one.topic) {
            Some((_, partitions)) => partitions.push(one.partition),
            None => topics.push((one.topic.to_string(), vec![one.partition])),
        }
    }
    OffsetFetchRequest {
        group_id: group.to_string(),
        member,
        topics: Some(topics),
        require_stable: true,
    }
}

/// What was committed for each of `partitions`, in their order.
pub(crate) fn fetch_outcome(
    group: &Arc<str>,
    partitions: Vec<TopicPartition>,
    start: StartPolicy,
    answer: <OffsetFetchRequest as Request>::Response,
) -> Result<Vec<AssignedPartition>, TransportError> {
    let error = |target: Target, kind| {
        Err(TransportError::new(
            Operation::OffsetFetch,
            target.group(group.clone()),
            kind,
        ))
    };
    if let Some(code) = ErrorCode::from_code(answer.error_code) {
        return error(
            Target::default(),
            ErrorKind::Code {
                code,
                message: None,
            },
        );
    }
    let mut assigned = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let target = || Target::default().partition(partition.topic.clone(), partition.partition);
        let found = answer
            .topics
            .iter()
            .filter(|(topic, _)| **topic == *partition.topic)
            .flat_map(|(_, fetched)| fetched)
            .find(|fetched| fetched.partition == partition.partition);
        let Some(found) = found else {
            return error(
                target(),
                ErrorKind::Malformed {
                    reason: "the answer leaves a partition out".into(),
                },
            );
        };
        if let Some(code) = ErrorCode::from_code(found.error_code) {
            return error(
                target(),
                ErrorKind::Code {
                    code,
                    message: None,
                },
            );
        }
        let committed = (found.offset >= 0).then(|| Committed {
            offset: found.offset,
            leader_epoch: (found.leader_epoch >= 0).then_some(found.leader_epoch),
            metadata: found.metadata.clone().unwrap_or_default(),
        });
        let start = match (&committed, start) {
            (Some(committed), _) => Some(Position::Offset(committed.offset)),
            (None, StartPolicy::Earliest) => Some(Position::Earliest),
            (None, StartPolicy::Latest) => Some(Position::Latest),
            (None, StartPolicy::None) => None,
        };
        assigned.push(AssignedPartition {
            partition,
            committed,
            start,
        });
    }
    Ok(assigned)
}
