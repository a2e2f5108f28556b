//! Positions of a group: what goes to the coordinator, and what comes back.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    broker::Broker,
    consumer::{AssignedPartition, Committed, OffsetToCommit, Position, StartPolicy},
    error::{ErrorCode, ErrorKind, Operation, Target, TransportError},
    record::TopicPartition,
    wire::{
        OffsetCommitByNameRequest, OffsetCommitPartition, OffsetCommitRequest,
        OffsetFetchByNameRequest, OffsetFetchRequest, Request, TopicId, TopicKey,
    },
};

/// With the id of its topic, where that is known.
pub(crate) type Identified<T> = (T, Option<TopicId>);

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
    offsets: &[Identified<OffsetToCommit>],
) -> OffsetCommitRequest {
    let partitions = offsets.iter().map(|(one, id)| {
        let partition = OffsetCommitPartition {
            partition: one.partition.partition,
            offset: one.offset,
            leader_epoch: one.leader_epoch.unwrap_or(-1),
            metadata: Some(one.metadata.clone()),
        };
        (key(&one.partition, *id), partition)
    });
    OffsetCommitRequest {
        group_id: committer.group.to_string(),
        generation_id: committer.generation,
        member_id: committer.member_id.clone(),
        group_instance_id: committer.instance_id.as_ref().map(ToString::to_string),
        topics: by_topic(partitions),
    }
}

/// Commits by the ids of the topics where all are known and the broker takes them, else by their names.
pub(super) async fn commit(
    broker: &Broker,
    request: OffsetCommitRequest,
    deadline: Instant,
) -> Result<<OffsetCommitRequest as Request>::Response, TransportError> {
    if are_known(&request.topics) {
        broker.request(request, deadline).await
    } else {
        let request = OffsetCommitByNameRequest(request);
        broker.request(request, deadline).await
    }
}

/// The first refusal, or a partition that was left without an answer. That a topic is not known by its id comes last:
/// the coordinator finds that before it looks who commits, and why it refused the others says more.
pub(super) fn commit_outcome(
    group: &Arc<str>,
    asked: &[Identified<OffsetToCommit>],
    answer: <OffsetCommitRequest as Request>::Response,
) -> Result<(), TransportError> {
    let mut unknown = Ok(());
    for (one, id) in asked {
        let TopicPartition { topic, partition } = &one.partition;
        let key = key(&one.partition, *id);
        let code = answer
            .iter()
            .filter(|(answered, _)| key.is_answered_by(answered))
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
        let error = TransportError::new(Operation::OffsetCommit, target, kind);
        if error.error_code() != Some(ErrorCode::UnknownTopicId) {
            return Err(error);
        }
        unknown = unknown.and(Err(error));
    }
    unknown
}

/// `member` is who asks and in which epoch, where the coordinator is to check that (KIP-848).
pub(crate) fn fetch_request(
    group: &Arc<str>,
    partitions: &[Identified<TopicPartition>],
    member: Option<(String, i32)>,
) -> OffsetFetchRequest {
    let partitions = partitions
        .iter()
        .map(|(one, id)| (key(one, *id), one.partition));
    OffsetFetchRequest {
        group_id: group.to_string(),
        member,
        topics: Some(by_topic(partitions)),
        require_stable: true,
    }
}

/// Asks by the ids of the topics where all are known and the broker takes them, else by their names.
pub(crate) async fn fetch(
    broker: &Broker,
    request: OffsetFetchRequest,
    deadline: Instant,
) -> Result<<OffsetFetchRequest as Request>::Response, TransportError> {
    if request.topics.as_deref().is_some_and(are_known) {
        broker.request(request, deadline).await
    } else {
        let request = OffsetFetchByNameRequest(request);
        broker.request(request, deadline).await
    }
}

/// What was committed for each of `partitions`, in their order.
pub(crate) fn fetch_outcome(
    group: &Arc<str>,
    partitions: Vec<Identified<TopicPartition>>,
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
    for (partition, id) in partitions {
        let key = key(&partition, id);
        let target = || Target::default().partition(partition.topic.clone(), partition.partition);
        let mut found = answer
            .topics
            .iter()
            .filter(|(answered, _)| key.is_answered_by(answered))
            .flat_map(|(answered, fetched)| fetched.iter().map(move |one| (answered, one)));
        let found = found.find(|(_, fetched)| fetched.partition == partition.partition);
        let Some((answered, found)) = found else {
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
            topic_id: Some(answered.id).filter(|id| *id != TopicId::default()),
        });
    }
    Ok(assigned)
}

fn key(partition: &TopicPartition, id: Option<TopicId>) -> TopicKey {
    TopicKey {
        name: partition.topic.to_string(),
        id: id.unwrap_or_default(),
    }
}

fn are_known<T>(topics: &[(TopicKey, T)]) -> bool {
    topics
        .iter()
        .all(|(topic, _)| topic.id != TopicId::default())
}

fn by_topic<T>(partitions: impl Iterator<Item = (TopicKey, T)>) -> Vec<(TopicKey, Vec<T>)> {
    let mut topics: Vec<(TopicKey, Vec<T>)> = Vec::new();
    for (topic, partition) in partitions {
        match topics.iter_mut().find(|(known, _)| *known == topic) {
            Some((_, partitions)) => partitions.push(partition),
            None => topics.push((topic, vec![partition])),
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::TopicKey;

    const OLD: TopicId = [7; 16];

    fn to_commit(topic: &str, id: Option<TopicId>) -> Identified<OffsetToCommit> {
        let offset = OffsetToCommit {
            partition: TopicPartition::new(topic, 0),
            offset: 3,
            leader_epoch: None,
            metadata: String::new(),
        };
        (offset, id)
    }

    fn answered(topics: &[(TopicId, i16)]) -> Vec<(TopicKey, Vec<(i32, i16)>)> {
        let answered = |(id, code): &(TopicId, i16)| {
            let name = String::new();
            (TopicKey { name, id: *id }, vec![(0, *code)])
        };
        topics.iter().map(answered).collect()
    }

    fn refusal(answer: &[(TopicId, i16)]) -> Option<i16> {
        let asked = [
            to_commit("gone", Some(OLD)),
            to_commit("there", Some([8; 16])),
        ];
        let outcome = commit_outcome(&"g".into(), &asked, answered(answer));
        outcome.err()?.error_code().map(ErrorCode::code)
    }

    #[test]
    fn why_a_member_is_refused_is_told_before_that_a_topic_is_unknown() {
        let there = [8; 16];
        assert_eq!(refusal(&[(OLD, 0), (there, 0)]), None);
        assert_eq!(refusal(&[(OLD, 100), (there, 0)]), Some(100));
        assert_eq!(refusal(&[(there, 0), (OLD, 100)]), Some(100));
        assert_eq!(refusal(&[(OLD, 100), (there, 22)]), Some(22));
    }

    #[test]
    fn an_answer_for_another_topic_of_the_name_is_none() {
        let asked = [to_commit("gone", Some(OLD))];
        let outcome = commit_outcome(&"g".into(), &asked, answered(&[([9; 16], 0)]));
        assert!(matches!(
            outcome.unwrap_err().kind(),
            ErrorKind::Malformed { .. }
        ));
    }

    #[test]
    fn topics_go_by_their_ids_only_where_all_of_a_request_have_one() {
        for (id, are_all) in [(Some([8; 16]), true), (None, false)] {
            let partitions = [
                (TopicPartition::new("t", 0), Some(OLD)),
                (TopicPartition::new("t", 2), Some(OLD)),
                (TopicPartition::new("u", 0), id),
            ];
            let request = fetch_request(&"g".into(), &partitions, None);
            let topics = request.topics.unwrap();
            assert_eq!(topics.len(), 2);
            assert_eq!(topics[0].1, [0, 2]);
            assert_eq!(are_known(&topics), are_all);
        }
    }

    #[test]
    fn what_was_given_by_an_id_is_of_that_topic_and_what_was_given_by_name_of_any() {
        for (id, name) in [(OLD, ""), (TopicId::default(), "t")] {
            let fetched = crate::wire::FetchedOffset {
                partition: 0,
                offset: 3,
                leader_epoch: -1,
                metadata: None,
                error_code: 0,
            };
            let name = name.to_owned();
            let answer = crate::wire::OffsetFetchResponse {
                error_code: 0,
                topics: vec![(TopicKey { name, id }, vec![fetched])],
            };
            let asked = vec![(TopicPartition::new("t", 0), Some(OLD))];
            let given = fetch_outcome(&"g".into(), asked, StartPolicy::Earliest, answer).unwrap();
            assert_eq!(given[0].start, Some(Position::Offset(3)));
            assert_eq!(given[0].topic_id, Some(id).filter(|id| *id == OLD));
        }
    }
}
