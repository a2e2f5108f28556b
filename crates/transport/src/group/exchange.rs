//! What members hear from the coordinator and, leading, divide among themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    assignor::{Assignor, Member},
    membership::Joined,
    offsets::Identified,
    protocol,
};
use crate::{
    cluster::Client,
    error::{Class, ErrorCode, ErrorKind, Operation, Target, TransportError},
    record::TopicPartition,
    wire::{JoinGroupResponse, TopicId},
};

/// Partitions by topic, as the leader divides them.
pub(super) type Counts = BTreeMap<String, i32>;

/// What the coordinator says, to a member that offered these assignors.
pub(super) fn understand_join(
    answer: JoinGroupResponse,
    offered: &[Assignor],
) -> Result<Joined, TransportError> {
    let error = |kind| TransportError::new(Operation::JoinGroup, Target::default(), kind);
    match ErrorCode::from_code(answer.error_code) {
        Some(ErrorCode::MemberIdRequired) => return Ok(Joined::MemberIdRequired(answer.member_id)),
        Some(code) => {
            return Err(error(ErrorKind::Code {
                code,
                message: None,
            }));
        }
        None => {}
    }
    let chosen = answer.protocol_name.as_deref();
    let Some(&assignor) = offered.iter().find(|one| chosen == Some(one.name())) else {
        let reason = "the group uses an assignor that was not offered";
        return Err(error(ErrorKind::Malformed {
            reason: reason.into(),
        }));
    };
    let leads = answer.leader == answer.member_id && !answer.skip_assignment;
    let members: Result<Vec<Member>, _> = answer
        .members
        .into_iter()
        .map(|member| {
            let subscription = protocol::decode_subscription(member.metadata)?;
            Ok(Member {
                id: member.member_id,
                instance_id: member.group_instance_id,
                topics: subscription.topics,
                owned: subscription.owned,
                generation: subscription.generation,
            })
        })
        .collect();
    let led = match members {
        Ok(members) => leads.then_some(members),
        Err(malformed) if leads => {
            let malformed: protocol::MalformedMember = malformed;
            return Err(error(ErrorKind::Malformed {
                reason: malformed.to_string().into(),
            }));
        }
        Err(_) => None,
    };
    Ok(Joined::In {
        member_id: answer.member_id,
        generation: answer.generation_id,
        assignor,
        led,
    })
}

/// What the leader gave this member, of the topics it subscribes to. Whoever may join may come to lead the group,
/// and must not make others read what they did not ask for.
pub(super) fn understand_assignment(
    assignment: bytes::Bytes,
    subscribed: &[Arc<str>],
) -> Result<Vec<TopicPartition>, TransportError> {
    let topics = protocol::decode_assignment(assignment).map_err(|malformed| {
        let kind = ErrorKind::Malformed {
            reason: malformed.to_string().into(),
        };
        TransportError::new(Operation::SyncGroup, Target::default(), kind)
    })?;
    // A leader that names a partition twice must not have it delivered twice.
    let unique: BTreeSet<TopicPartition> = topics
        .into_iter()
        .filter_map(|(topic, partitions)| {
            let known = subscribed.iter().find(|known| ***known == *topic);
            if known.is_none() {
                tracing::warn!(
                    ?topic,
                    "the group's leader assigned a topic that was not subscribed to"
                );
            }
            Some((Arc::clone(known?), partitions))
        })
        .flat_map(|(topic, partitions)| {
            partitions
                .into_iter()
                .map(move |partition| TopicPartition::new(Arc::clone(&topic), partition))
        })
        .collect();
    Ok(unique.into_iter().collect())
}

/// How many partitions the topics have; those that do not exist are left out.
pub(super) async fn count(
    client: &Client,
    topics: impl IntoIterator<Item = &String>,
) -> Result<Counts, TransportError> {
    let topics: BTreeSet<&String> = topics.into_iter().collect();
    let mut counts = Counts::new();
    // All at once, so that one look-up answers for all that are not known yet.
    let asking = topics
        .into_iter()
        .map(|topic| async move { (topic, client.partition_count(topic).await) });
    for (topic, counted) in futures_util::future::join_all(asking).await {
        match counted {
            Ok(partitions) => {
                counts.insert(topic.clone(), partitions);
            }
            Err(error)
                if error.error_code().is_some() && error.class() != Class::UnknownOutcome =>
            {
                tracing::warn!(topic = %topic, %error, "a topic the group subscribes to is left out");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(counts)
}

/// Has the client know of all these partitions: whoever divided may have seen a topic grow before it did.
pub(super) async fn learn(
    client: &Client,
    partitions: &[TopicPartition],
) -> Result<(), TransportError> {
    let mut last: BTreeMap<&Arc<str>, i32> = BTreeMap::new();
    for one in partitions {
        let last = last.entry(&one.topic).or_insert(one.partition);
        *last = one.partition.max(*last);
    }
    for (topic, partition) in last {
        // What is wrong with a topic is found out, and told, by whoever reads it.
        let Ok(mut count) = client.partition_count(topic).await else {
            continue;
        };
        if count <= partition {
            count = match client.refresh_topic(topic).await {
                Ok(known) => known.partition_count(),
                Err(error) if error.class() == Class::Fatal => continue,
                Err(error) => return Err(error),
            };
        }
        if count <= partition {
            let target = Target::default().partition(Arc::clone(topic), partition);
            let code = ErrorCode::UnknownTopicOrPartition;
            return Err(TransportError::code(Operation::Metadata, target, code));
        }
    }
    Ok(())
}

/// With the ids of their topics as this client knows them; without where it does not know the topic.
pub(super) async fn identify(
    client: &Client,
    partitions: &[TopicPartition],
) -> Vec<Identified<TopicPartition>> {
    let mut ids: BTreeMap<&Arc<str>, Option<TopicId>> = BTreeMap::new();
    for one in partitions {
        if !ids.contains_key(&one.topic) {
            let known = client.topic(&one.topic).await;
            ids.insert(&one.topic, known.ok().and_then(|topic| topic.id()));
        }
    }
    let id = |one: &TopicPartition| ids.get(&one.topic).copied().flatten();
    partitions
        .iter()
        .map(|one| (one.clone(), id(one)))
        .collect()
}

pub(super) fn divide(
    assignor: Assignor,
    members: &[Member],
    counts: &Counts,
) -> Result<Vec<(String, bytes::Bytes)>, TransportError> {
    assignor
        .divide(members, counts)
        .into_iter()
        .map(
            |(member, partitions)| match protocol::encode_assignment(&partitions) {
                Some(bytes) => Ok((member, bytes.into())),
                None => {
                    let kind = ErrorKind::Unencodable {
                        reason: "a topic's name is too long".into(),
                    };
                    Err(TransportError::new(
                        Operation::SyncGroup,
                        Target::default(),
                        kind,
                    ))
                }
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_partitions_of_subscribed_topics_are_taken_each_once() {
        let given = BTreeMap::from([
            ("ours".to_owned(), vec![1, 0, 1]),
            ("theirs".to_owned(), vec![0]),
        ]);
        let bytes = protocol::encode_assignment(&given).unwrap();
        let taken = understand_assignment(bytes.into(), &["ours".into()]).unwrap();
        assert_eq!(
            taken,
            [
                TopicPartition::new("ours", 0),
                TopicPartition::new("ours", 1)
            ]
        );
    }
}
