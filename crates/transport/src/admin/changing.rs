//! Topics that get more partitions, other configurations, or lose their oldest records.

use std::collections::BTreeMap;

use super::{Admin, answered, only, remaining_ms};
use crate::broker::Purpose;
use crate::cluster::TopicMetadata;
use crate::error::{ErrorCode, ErrorKind, Operation, Target, TransportError};
use crate::record::TopicPartition;
use crate::wire::{
    ConfigChange as Change, CreatePartitionsRequest, DeleteRecordsRequest,
    IncrementalAlterConfigsRequest,
};

/// What becomes of one configuration of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// It gets this value.
    Set(String),
    /// It goes back to the default of the cluster.
    Reset,
}

/// Up to where a partition is emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteUpTo {
    /// All that comes before this offset, which becomes the first; 0 or more.
    Offset(i64),
    /// All that is in it now and replicated.
    HighWatermark,
}

/// How often a leader that is none is looked for again.
const MOST_MOVES: u32 = 2;

impl Admin {
    /// Gives a topic partitions until it has `count`, and waits until each has a leader. Records with a
    /// key may land in another partition from then on.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidPartitions`] if it has as many or more already,
    /// [`ErrorCode::UnknownTopicOrPartition`] and others of the broker; a retriable error if they were made
    /// but have no leaders by the request deadline.
    pub async fn create_partitions(
        &self,
        topic: &str,
        count: i32,
    ) -> Result<TopicMetadata, TransportError> {
        let deadline = self.client.request_deadline();
        let target = || Target::default().topic(topic);
        let request = CreatePartitionsRequest {
            topic: topic.to_owned(),
            count,
            timeout_ms: remaining_ms(deadline),
        };
        let grown = self
            .at_controller(request, deadline, |grown| {
                grown.first().map(|topic| topic.error_code)
            })
            .await
            .map_err(|error| error.about(target()))?;
        let grown = only(Operation::CreatePartitions, target(), grown)?;
        answered(
            Operation::CreatePartitions,
            target(),
            grown.error_code,
            grown.error_message,
        )?;
        let found = self.client.await_partitions(topic, count, deadline).await?;
        Ok(TopicMetadata::clone(&found))
    }

    /// Changes configurations of a topic, all of these or none; what is not named stays as it is (KIP-339).
    ///
    /// # Errors
    /// [`ErrorCode::InvalidConfig`] with the broker's words, [`ErrorCode::UnknownTopicOrPartition`],
    /// [`ErrorCode::TopicAuthorizationFailed`] and others of the broker. Brokers older than Kafka 2.3
    /// cannot: [`ErrorKind::UnsupportedVersion`].
    pub async fn alter_topic_configs(
        &self,
        topic: &str,
        changes: BTreeMap<String, ConfigChange>,
    ) -> Result<(), TransportError> {
        let deadline = self.client.request_deadline();
        let target = || Target::default().topic(topic);
        let changes = changes.into_iter().map(|(name, change)| match change {
            ConfigChange::Set(value) => (name, Change::Set(value)),
            ConfigChange::Reset => (name, Change::Reset),
        });
        let request = IncrementalAlterConfigsRequest {
            topic: topic.to_owned(),
            changes: changes.collect(),
        };
        let altered = self
            .at_controller(request, deadline, |altered| {
                altered.first().map(|resource| resource.error_code)
            })
            .await
            .map_err(|error| error.about(target()))?;
        let altered = only(Operation::AlterConfigs, target(), altered)?;
        answered(
            Operation::AlterConfigs,
            target(),
            altered.error_code,
            altered.error_message,
        )
    }

    /// Deletes the oldest records of a partition for good, at its leader, and tells the first offset that
    /// is still there (KIP-107). What is gone already is no error.
    ///
    /// # Errors
    /// [`ErrorCode::OffsetOutOfRange`] beyond the high watermark, [`ErrorCode::PolicyViolation`] for a
    /// compacted topic, [`ErrorCode::TopicAuthorizationFailed`] and others of the broker; as
    /// [`Client::topic`](crate::Client::topic).
    pub async fn delete_records(
        &self,
        partition: &TopicPartition,
        up_to: DeleteUpTo,
    ) -> Result<i64, TransportError> {
        const OPERATION: Operation = Operation::DeleteRecords;
        const HIGH_WATERMARK: i64 = -1;
        let deadline = self.client.request_deadline();
        let (topic, number) = (&*partition.topic, partition.partition);
        let target = || Target::default().partition(topic, number);
        let before_offset = match up_to {
            DeleteUpTo::HighWatermark => HIGH_WATERMARK,
            DeleteUpTo::Offset(offset) if offset >= 0 => offset,
            DeleteUpTo::Offset(offset) => {
                let reason = format!("{offset} is no offset").into();
                let kind = ErrorKind::Unencodable { reason };
                return Err(TransportError::new(OPERATION, target(), kind));
            }
        };
        let mut moves = 0;
        loop {
            let generation = self.client.generation();
            let (_, leader) = self
                .client
                .leader_broker(topic, number, Purpose::Control)
                .await
                .map_err(|error| error.about(target()))?;
            let request = DeleteRecordsRequest {
                topic: topic.to_owned(),
                partition: number,
                before_offset,
                timeout_ms: remaining_ms(deadline),
            };
            let answer = leader.request(request, deadline).await;
            let deleted = answer.map_err(|error| error.about(target()))?;
            let deleted = only(OPERATION, target(), deleted)?;
            if (deleted.topic.as_str(), deleted.partition) != (topic, number) {
                let reason = "the answer is about another partition".into();
                let kind = ErrorKind::Malformed { reason };
                return Err(TransportError::new(OPERATION, target(), kind));
            }
            let has_moved = deleted.error_code == ErrorCode::NotLeaderOrFollower.code();
            if !has_moved || moves >= MOST_MOVES {
                answered(OPERATION, target(), deleted.error_code, None)?;
                return Ok(deleted.low_watermark);
            }
            moves += 1;
            self.client.refresh(generation).await?;
        }
    }
}
