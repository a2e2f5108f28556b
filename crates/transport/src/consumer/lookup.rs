//! Offsets without reading: the first, the last, the first of a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::broker::{Broker, Purpose};
use crate::cluster::Client;
use crate::error::{Class, ErrorCode, ErrorKind, Operation, Target, TransportError};
use crate::record::TopicPartition;
use crate::wire::{
    IsolationLevel, ListOffsetsPartition, ListOffsetsRequest, ListedOffset, OffsetSpec,
};

/// How often leaders are asked: of several moves one after the other the last is the caller's to wait for.
const ROUNDS: u32 = 3;

/// An offset that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: i64,
    /// The timestamp of the record there, where it was asked for by time.
    pub timestamp_ms: Option<i64>,
    /// The leader epoch the record was written in, where the broker tells.
    pub leader_epoch: Option<i32>,
}

type Found = BTreeMap<TopicPartition, Option<FoundOffset>>;

/// Partitions of one leader, with the epoch it leads in.
type Asked = Vec<(TopicPartition, i32, OffsetSpec)>;

impl Client {
    /// Looks offsets up, all partitions of a broker in one request: what Java's consumer calls `beginningOffsets`,
    /// `endOffsets` and `offsetsForTimes`. The answer has all that were asked for, with `None` where no record is as
    /// late as the time asked for.
    ///
    /// # Errors
    /// The first that does not pass: a topic or partition does not exist or may not be read, a leader cannot be
    /// reached within the request timeout, a time lies before 1970. Leaders that have moved are looked up again.
    pub async fn list_offsets(
        &self,
        isolation: IsolationLevel,
        wanted: impl IntoIterator<Item = (TopicPartition, OffsetSpec)>,
    ) -> Result<BTreeMap<TopicPartition, Option<FoundOffset>>, TransportError> {
        let deadline = self.request_deadline();
        let mut open: BTreeMap<TopicPartition, OffsetSpec> = wanted.into_iter().collect();
        let mut found = Found::new();
        for round in 1.. {
            let generation = self.generation();
            let mut moved = None;
            for answer in self.ask_leaders(isolation, &open, deadline).await {
                match answer {
                    Ok((partition, offset)) => {
                        open.remove(&partition);
                        found.insert(partition, offset);
                    }
                    Err(error) if error.class() == Class::Fatal || round >= ROUNDS => {
                        return Err(error);
                    }
                    Err(error) => moved = Some(error),
                }
            }
            let Some(error) = moved else { break };
            tracing::debug!(%error, "looking the leaders up again");
            self.refresh(generation).await?;
        }
        Ok(found)
    }

    async fn ask_leaders(
        &self,
        isolation: IsolationLevel,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
        deadline: Instant,
    ) -> Vec<Answer> {
        let mut leaders: BTreeMap<String, (Broker, Asked)> = BTreeMap::new();
        let mut answers = Vec::new();
        for (partition, spec) in wanted {
            let led = self
                .leader_broker(&partition.topic, partition.partition, Purpose::Control)
                .await;
            match led {
                Ok((leader, broker)) => {
                    let name = broker.address().to_string();
                    let (_, asked) = leaders.entry(name).or_insert((broker, Vec::new()));
                    asked.push((partition.clone(), leader.epoch, *spec));
                }
                Err(error) => answers.push(Err(error.about(target_of(partition)))),
            }
        }
        let asking = leaders.into_values().map(|(broker, asked)| async move {
            let pending = broker.request(request(isolation, &asked), deadline);
            understand(&asked, pending.await)
        });
        answers.extend(join_all(asking).await.into_iter().flatten());
        answers
    }
}

type Answer = Result<(TopicPartition, Option<FoundOffset>), TransportError>;

fn request(isolation: IsolationLevel, asked: &Asked) -> ListOffsetsRequest {
    let mut topics: BTreeMap<String, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for (partition, epoch, spec) in asked {
        let topic = topics.entry(partition.topic.to_string()).or_default();
        topic.push(ListOffsetsPartition {
            partition: partition.partition,
            current_leader_epoch: *epoch,
            spec: *spec,
        });
    }
    ListOffsetsRequest {
        isolation,
        topics: topics.into_iter().collect(),
    }
}

fn understand(
    asked: &Asked,
    answer: Result<Vec<(String, Vec<ListedOffset>)>, TransportError>,
) -> Vec<Answer> {
    let topics = match answer {
        Ok(topics) => topics,
        Err(error) => {
            let about = |(partition, ..): &(TopicPartition, i32, OffsetSpec)| {
                Err(error.clone().about(target_of(partition)))
            };
            return asked.iter().map(about).collect();
        }
    };
    let listed = |partition: &TopicPartition| {
        let of_topic = topics
            .iter()
            .filter(|(topic, _)| **topic == *partition.topic);
        let mut listed = of_topic.flat_map(|(_, listed)| listed);
        listed.find(|listed| listed.partition == partition.partition)
    };
    asked
        .iter()
        .map(|(partition, _, spec)| {
            let offset = found(listed(partition), *spec, partition)?;
            Ok((partition.clone(), offset))
        })
        .collect()
}

fn found(
    listed: Option<&ListedOffset>,
    spec: OffsetSpec,
    partition: &TopicPartition,
) -> Result<Option<FoundOffset>, TransportError> {
    let malformed = |reason: &str| {
        let kind = ErrorKind::Malformed {
            reason: reason.into(),
        };
        TransportError::new(Operation::ListOffsets, target_of(partition), kind)
    };
    let listed = listed.ok_or_else(|| malformed("the answer leaves the partition out"))?;
    if let Some(code) = ErrorCode::from_code(listed.error_code) {
        let target = target_of(partition);
        return Err(TransportError::code(Operation::ListOffsets, target, code));
    }
    match (listed.offset, spec) {
        (0.., _) => Ok(Some(FoundOffset {
            offset: listed.offset,
            timestamp_ms: (listed.timestamp_ms >= 0).then_some(listed.timestamp_ms),
            leader_epoch: (listed.leader_epoch >= 0).then_some(listed.leader_epoch),
        })),
        (_, OffsetSpec::AtTime(_)) => Ok(None),
        (_, OffsetSpec::Earliest | OffsetSpec::Latest) => {
            Err(malformed("a partition without a first or last offset"))
        }
    }
}

fn target_of(partition: &TopicPartition) -> Target {
    Target::default().partition(Arc::clone(&partition.topic), partition.partition)
}
