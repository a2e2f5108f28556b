//! What a test sees of a log.

use bytes::Bytes;

use super::batch::BatchHeader;
use super::partition::PartitionLog;
use super::settings::TimestampType;
use crate::record;

/// One record as it stands in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogRecord {
    /// Partition it stands in.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970, of the kind `timestamp_type` says.
    pub timestamp_ms: i64,
    /// Whose time the timestamp is.
    pub timestamp_type: TimestampType,
    /// Key; `None` is null.
    pub key: Option<Bytes>,
    /// Value; `None` is null.
    pub value: Option<Bytes>,
    /// Headers in order, with duplicates and nulls.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Who wrote it; `None` where the producer was not idempotent.
    pub producer: Option<ProducerStamp>,
    /// Base offset of the batch it came in.
    pub batch_offset: i64,
}

/// The idempotent producer's numbers on a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ProducerStamp {
    /// Producer id.
    pub id: i64,
    /// Producer epoch.
    pub epoch: i16,
    /// The record's own sequence.
    pub sequence: i32,
}

/// The records of a topic, by partition and offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicLog {
    records: Vec<LogRecord>,
}

impl TopicLog {
    /// All records.
    pub fn records(&self) -> &[LogRecord] {
        &self.records
    }

    /// The values, null ones left out.
    pub fn values(&self) -> Vec<Bytes> {
        self.records
            .iter()
            .filter_map(|record| record.value.clone())
            .collect()
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Adds what a partition holds. A batch that cannot be decoded, which only
    /// unchecked appends can bring in, is left out.
    pub(crate) fn extend(&mut self, partition: i32, log: &PartitionLog) {
        for (batch_offset, bytes) in log.batches() {
            let Some(header) = BatchHeader::read(bytes) else {
                continue;
            };
            let decoded = record::decode_batch(bytes).unwrap_or_default();
            let kept = decoded
                .into_iter()
                .filter(|record| record.offset >= log.start_offset());
            self.records.extend(kept.map(|record| LogRecord {
                partition,
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                timestamp_type: if header.is_log_append_time() {
                    TimestampType::LogAppendTime
                } else {
                    TimestampType::CreateTime
                },
                key: record.key,
                value: record.value,
                headers: record.headers,
                producer: header.has_producer().then(|| ProducerStamp {
                    id: header.producer_id,
                    epoch: header.producer_epoch,
                    sequence: header.sequence_at(record.offset),
                }),
                batch_offset,
            }));
        }
    }
}
