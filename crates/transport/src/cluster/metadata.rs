//! A view of the cluster, made from one answer of a broker or a few of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::config::Address;
use crate::error::{ErrorCode, ErrorKind, Operation, Target, TransportError};
use crate::wire::{MetadataResponse, MetadataTopic, TopicId};

/// Counts the answers a view was made from: who was misled by one view asks for a later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Generation(pub(crate) u64);

/// What is known of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMetadata {
    name: Arc<str>,
    id: Option<TopicId>,
    partitions: Vec<PartitionMetadata>,
}

/// What is known of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Its index, from 0.
    pub partition: i32,
    /// Who leads it; `None` while nobody does.
    pub leader: Option<Leader>,
    /// The ids of the brokers that keep it.
    pub replicas: Vec<i32>,
    /// The ids of those that are in sync with the leader.
    pub in_sync: Vec<i32>,
    /// The ids of those that cannot be read now; empty with brokers before Kafka 1.0, which do not tell.
    pub offline: Vec<i32>,
}

/// Who leads a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Leader {
    /// The broker's id.
    pub broker_id: i32,
    /// Since which change of leaders; -1 with brokers that do not tell.
    pub epoch: i32,
}

impl TopicMetadata {
    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// The topic's id (KIP-516), which outlives no deletion; `None` with brokers before Kafka 2.8.
    pub fn id(&self) -> Option<TopicId> {
        self.id
    }

    /// The partitions, by ascending index without gaps.
    pub fn partitions(&self) -> &[PartitionMetadata] {
        &self.partitions
    }

    /// How many partitions it has.
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// Whether every partition has a leader.
    pub fn is_led(&self) -> bool {
        self.partitions
            .iter()
            .all(|partition| partition.leader.is_some())
    }

    /// Who leads a partition.
    pub(crate) fn leader(&self, partition: i32) -> Result<Leader, TransportError> {
        let target = || Target::default().partition(Arc::clone(&self.name), partition);
        let found = usize::try_from(partition)
            .ok()
            .and_then(|index| self.partitions.get(index))
            .ok_or_else(|| {
                let kind = ErrorKind::NoSuchPartition {
                    partitions: self.partition_count(),
                };
                TransportError::new(Operation::Metadata, target(), kind)
            })?;
        found.leader.ok_or_else(|| {
            TransportError::code(Operation::Metadata, target(), ErrorCode::LeaderNotAvailable)
        })
    }
}

/// A view of the cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) generation: Generation,
    pub(super) cluster_id: Option<Arc<str>>,
    pub(super) controller_id: Option<i32>,
    pub(super) brokers: HashMap<i32, Address>,
    pub(super) topics: HashMap<Arc<str>, Result<Arc<TopicMetadata>, TopicError>>,
}

/// Why a topic is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TopicError {
    Code(ErrorCode),
    Malformed(&'static str),
}

impl TopicError {
    pub(super) fn about(&self, topic: &str) -> TransportError {
        let kind = match self {
            Self::Code(code) => ErrorKind::Code {
                code: *code,
                message: None,
            },
            Self::Malformed(reason) => ErrorKind::Malformed {
                reason: (*reason).into(),
            },
        };
        TransportError::new(Operation::Metadata, Target::default().topic(topic), kind)
    }
}

impl View {
    /// The view after an answer. It holds the topics that are wanted and no others, whatever the broker
    /// names; brokers are those of the answer, which always names all of them.
    pub(super) fn after(&self, response: MetadataResponse, wanted: &BTreeSet<String>) -> Self {
        let mut topics = self.topics.clone();
        topics.retain(|name, _| wanted.contains(&**name));
        for topic in response.topics {
            let Some(name) = topic.name.as_deref().filter(|name| wanted.contains(*name)) else {
                continue;
            };
            let name = Arc::<str>::from(name);
            let known = topic_metadata(Arc::clone(&name), topic).map(Arc::new);
            let known = known.map(|new| self.not_older(&new));
            topics.insert(name, known);
        }
        let brokers = response
            .brokers
            .into_iter()
            .filter_map(|broker| Some((broker.id, Address::advertised(&broker.host, broker.port)?)))
            .collect();
        Self {
            generation: Generation(self.generation.0 + 1),
            cluster_id: response
                .cluster_id
                .filter(|id| is_plain_text(id))
                .map(Arc::from)
                .or_else(|| self.cluster_id.clone()),
            controller_id: Some(response.controller_id).filter(|id| *id >= 0),
            brokers,
            topics,
        }
    }

    /// A broker that lags behind may name the leader of yesterday: a partition's leader epoch never goes
    /// back while the topic is the same (KIP-320).
    fn not_older(&self, new: &Arc<TopicMetadata>) -> Arc<TopicMetadata> {
        let Some(Ok(old)) = self.topics.get(&new.name) else {
            return Arc::clone(new);
        };
        if old.id.is_none() || old.id != new.id {
            return Arc::clone(new);
        }
        let mut merged = TopicMetadata::clone(new);
        for (partition, before) in merged.partitions.iter_mut().zip(&old.partitions) {
            if let (Some(now), Some(then)) = (partition.leader, before.leader)
                && now.epoch >= 0
                && now.epoch < then.epoch
            {
                partition.leader = before.leader;
            }
        }
        Arc::new(merged)
    }
}

/// Whether text from a broker may be shown to people as it is.
fn is_plain_text(text: &str) -> bool {
    text.len() <= 255 && !text.chars().any(char::is_control)
}

fn topic_metadata(name: Arc<str>, topic: MetadataTopic) -> Result<TopicMetadata, TopicError> {
    if let Some(code) = ErrorCode::from_code(topic.error_code) {
        return Err(TopicError::Code(code));
    }
    let mut partitions: Vec<_> = topic
        .partitions
        .into_iter()
        .map(|partition| PartitionMetadata {
            partition: partition.partition,
            leader: (partition.leader_id >= 0).then_some(Leader {
                broker_id: partition.leader_id,
                epoch: partition.leader_epoch,
            }),
            replicas: partition.replicas,
            in_sync: partition.in_sync,
            offline: partition.offline,
        })
        .collect();
    partitions.sort_by_key(|partition| partition.partition);
    let gapless = partitions
        .iter()
        .zip(0..)
        .all(|(partition, index)| partition.partition == index);
    if !gapless {
        return Err(TopicError::Malformed(
            "the partitions of the topic are not numbered without gaps from 0",
        ));
    }
    if partitions.is_empty() {
        return Err(TopicError::Malformed("the topic has no partitions"));
    }
    Ok(TopicMetadata {
        name,
        id: Some(topic.id).filter(|id| *id != TopicId::default()),
        partitions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MetadataBroker, MetadataPartition};

    fn partition(index: i32, leader_id: i32, leader_epoch: i32) -> MetadataPartition {
        MetadataPartition {
            error_code: 0,
            partition: index,
            leader_id,
            leader_epoch,
            replicas: vec![1, 2],
            in_sync: vec![1],
            offline: vec![2],
        }
    }

    fn answer(id: u8, partitions: Vec<MetadataPartition>) -> MetadataResponse {
        MetadataResponse {
            brokers: vec![MetadataBroker {
                id: 1,
                host: "kafka-1".into(),
                port: 9092,
                rack: None,
            }],
            cluster_id: Some("c".into()),
            controller_id: -1,
            topics: vec![MetadataTopic {
                error_code: 0,
                name: Some("t".into()),
                id: [id; 16],
                is_internal: false,
                partitions,
            }],
        }
    }

    impl View {
        fn after_answer(&self, response: MetadataResponse) -> Self {
            self.after(response, &BTreeSet::from(["t".to_owned()]))
        }
    }

    fn topic(view: &View) -> Arc<TopicMetadata> {
        view.topics["t"].clone().unwrap()
    }

    #[test]
    fn partitions_come_in_any_order_and_without_a_leader_are_told_as_such() {
        let view =
            View::default().after_answer(answer(1, vec![partition(1, -1, 3), partition(0, 1, 5)]));
        let topic = topic(&view);
        assert_eq!(topic.partition_count(), 2);
        assert_eq!(topic.leader(0).unwrap().broker_id, 1);
        let error = topic.leader(1).unwrap_err();
        assert_eq!(error.error_code(), Some(ErrorCode::LeaderNotAvailable));
        let error = topic.leader(2).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::NoSuchPartition { partitions: 2 });
        assert!(topic.leader(-1).is_err());
    }

    #[test]
    fn partitions_with_gaps_or_doubles_are_malformed() {
        for indexes in [vec![1], vec![0, 2], vec![0, 0], vec![-1, 0]] {
            let partitions = indexes.into_iter().map(|i| partition(i, 1, 1)).collect();
            let view = View::default().after_answer(answer(1, partitions));
            assert!(matches!(view.topics["t"], Err(TopicError::Malformed(_))));
        }
    }

    #[test]
    fn a_lagging_broker_does_not_bring_back_a_deposed_leader() {
        let view = View::default().after_answer(answer(1, vec![partition(0, 2, 7)]));
        let view = view.after_answer(answer(1, vec![partition(0, 1, 6)]));
        assert_eq!(
            topic(&view).leader(0).unwrap(),
            Leader {
                broker_id: 2,
                epoch: 7
            }
        );
        let view = view.after_answer(answer(1, vec![partition(0, 1, 8)]));
        assert_eq!(
            topic(&view).leader(0).unwrap(),
            Leader {
                broker_id: 1,
                epoch: 8
            }
        );
    }

    #[test]
    fn a_topic_made_anew_starts_its_leader_epochs_anew() {
        let view = View::default().after_answer(answer(1, vec![partition(0, 2, 7)]));
        let view = view.after_answer(answer(9, vec![partition(0, 1, 0)]));
        assert_eq!(
            topic(&view).leader(0).unwrap(),
            Leader {
                broker_id: 1,
                epoch: 0
            }
        );
    }

    #[test]
    fn a_broker_whose_address_is_none_is_left_out() {
        for (host, port) in [
            ("kafka-1", 70_000),
            ("kafka-1", 0),
            ("", 9092),
            ("kafka-1\nforged line of a log", 9092),
        ] {
            let mut response = answer(1, vec![partition(0, 1, 0)]);
            response.brokers[0].host = host.into();
            response.brokers[0].port = port;
            assert!(View::default().after_answer(response).brokers.is_empty());
        }
    }

    #[test]
    fn topics_nobody_asked_for_are_not_kept() {
        let response = || answer(1, vec![partition(0, 1, 0)]);
        let wanted = BTreeSet::from(["other".to_owned()]);
        assert!(View::default().after(response(), &wanted).topics.is_empty());
        let view = View::default().after_answer(response());
        assert!(view.after(response(), &wanted).topics.is_empty());
    }
}
