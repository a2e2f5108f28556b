//! The dead-letter topic, through the transport's producer.

use std::sync::Arc;

use cybermesh_contracts::dead_letter::DeadLetterRecord;
use cybermesh_contracts::partition::partition_for_key;
use cybermesh_transport::{Class, Client, ErrorCode, Header, Producer, Record, TransportError};
use futures_util::future::BoxFuture;

use super::writer::{AppendError, AppendLetter, DeadLetterConfig, DeadLetterSigning, DeadLetters};

/// Dead letters go to the partition of their key, as any producer's would.
struct DeadLetterTopic {
    client: Client,
    producer: Producer,
    topic: Arc<str>,
}

impl DeadLetters {
    /// Writes to a topic of this cluster.
    ///
    /// The producer's schedule, deadline and gate apply; what it gives up is tried again by whoever
    /// awaits the dead letter.
    #[must_use]
    pub fn new(
        client: Client,
        producer: Producer,
        config: DeadLetterConfig,
        signing: Option<DeadLetterSigning>,
    ) -> Self {
        let topic = DeadLetterTopic {
            client,
            producer,
            topic: Arc::clone(&config.topic),
        };
        Self::over(topic, config, signing)
    }
}

impl AppendLetter for DeadLetterTopic {
    fn append(
        &self,
        letter: DeadLetterRecord,
        timestamp_ms: i64,
    ) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async move {
            let partitions = self
                .client
                .partition_count(&self.topic)
                .await
                .map_err(|error| refused_or_not(&error))?;
            let partition = u32::try_from(partitions)
                .ok()
                .and_then(std::num::NonZeroU32::new)
                .map(|partitions| partition_for_key(&letter.key, partitions))
                .ok_or_else(|| AppendError::Unavailable("the topic has no partitions".into()))?;
            let record = Record {
                key: Some(letter.key.into()),
                value: letter.value.map(Into::into),
                headers: letter
                    .headers
                    .into_iter()
                    .map(|header| Header {
                        name: header.name,
                        value: header.value.map(Into::into),
                    })
                    .collect(),
                timestamp_ms,
            };
            let reservation = self
                .producer
                .reserve(&self.topic, partition, record.size_bound())
                .await
                .map_err(|error| refused_or_not(&error))?;
            match reservation.append(record).await {
                Ok(_) => Ok(()),
                Err(error) if is_too_large(error.error()) => Err(AppendError::TooLarge),
                Err(error) if error.class() == Class::Fatal => {
                    Err(AppendError::Refused(error.to_string()))
                }
                Err(error) => Err(AppendError::Unavailable(error.to_string())),
            }
        })
    }
}

fn is_too_large(error: &TransportError) -> bool {
    matches!(
        error.error_code(),
        Some(ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge)
    )
}

/// A topic that is not there is never made by us: that it comes is nobody's promise.
fn refused_or_not(error: &TransportError) -> AppendError {
    match error.class() {
        _ if error.error_code() == Some(ErrorCode::UnknownTopicOrPartition) => {
            AppendError::Refused(error.to_string())
        }
        Class::Fatal => AppendError::Refused(error.to_string()),
        _ => AppendError::Unavailable(error.to_string()),
    }
}
