//! Records, and the batches they travel in.
//!
//! What a caller sees is a [`Record`] on the way out and a [`FetchedRecord`] on the way in. On the wire and on the
//! broker's disk they lie in batches of format version 2 (KIP-98): `encode` builds one, `decode` takes one apart with a
//! bound on everything, `codec` is their compression, `aborted` knows which batches belong to an aborted transaction.
//! `segment` does both without a connection.

mod aborted;
mod codec;
mod decode;
mod encode;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod segment;
mod varint;

use std::sync::Arc;

use bytes::Bytes;

pub(crate) use aborted::AbortedFilter;
pub use codec::Compression;
pub(crate) use decode::{Batches, RawBatch, Records};
pub use decode::{CorruptReason, CorruptRecord};
pub use encode::EncodeError;
pub(crate) use encode::{BATCH_HEADER_BYTES, EncodedBatch, ProducerStamp, encode};
pub use segment::{decode_batches, encode_batch};

/// A partition of a topic. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// A record header. A record may carry several of one name; their order is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The name. What arrives as invalid UTF-8 has the bad bytes replaced by U+FFFD, as in the Java client.
    pub name: String,
    /// The value; `None` is the protocol's null, which is not the same as empty.
    pub value: Option<Bytes>,
}

impl Header {
    /// A header with a value.
    pub fn new(name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self {
            name: name.into(),
            value: Some(value.into()),
        }
    }
}

/// A record to be produced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The key; `None` is null.
    pub key: Option<Bytes>,
    /// The value; `None` is null (a tombstone on compacted topics).
    pub value: Option<Bytes>,
    /// Headers, in the order they are to be written.
    pub headers: Vec<Header>,
    /// Creation time in milliseconds since the Unix epoch. Topics with `LogAppendTime` replace it.
    pub timestamp_ms: i64,
}

impl Record {
    /// An upper bound of the bytes this record takes up in a batch, before compression.
    ///
    /// It is what a [`Reservation`](crate::producer::Reservation) must cover.
    pub fn size_bound(&self) -> usize {
        // Six varints of at most ten bytes and the attributes; a batch header is shared and charged to nobody.
        let fixed = 61;
        let key = self.key.as_ref().map_or(0, Bytes::len);
        let value = self.value.as_ref().map_or(0, Bytes::len);
        let headers: usize = self
            .headers
            .iter()
            .map(|header| 10 + header.name.len() + header.value.as_ref().map_or(0, Bytes::len))
            .sum();
        fixed + key + value + headers
    }
}

/// Whose clock a record's timestamp is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's: `message.timestamp.type=CreateTime`.
    CreateTime,
    /// The broker's, at the append: `message.timestamp.type=LogAppendTime`.
    LogAppendTime,
}

/// A record that was read from a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedRecord {
    /// Its place in the partition.
    pub offset: i64,
    /// The key; `None` is null.
    pub key: Option<Bytes>,
    /// The value; `None` is null.
    pub value: Option<Bytes>,
    /// Headers in the order written, with duplicates and nulls.
    pub headers: Vec<Header>,
    /// Milliseconds since the Unix epoch, of the clock that `timestamp_type` names.
    pub timestamp_ms: i64,
    /// Whose clock the timestamp is from.
    pub timestamp_type: TimestampType,
    /// The leader epoch of the append; `None` where the broker did not record one.
    pub leader_epoch: Option<i32>,
}

impl FetchedRecord {
    /// The broker's time of the append, where the topic records it.
    pub fn append_time_ms(&self) -> Option<i64> {
        match self.timestamp_type {
            TimestampType::LogAppendTime => Some(self.timestamp_ms),
            TimestampType::CreateTime => None,
        }
    }

    /// Bytes of memory the record takes up, roughly: a header without name and value is two bytes on the wire and
    /// many times that here.
    pub(crate) fn memory_len(&self) -> usize {
        size_of::<Self>() + self.headers.len() * size_of::<Header>() + self.payload_len()
    }

    /// Bytes of key, value and headers.
    pub fn payload_len(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|header| header.name.len() + header.value.as_ref().map_or(0, Bytes::len))
            .sum();
        self.key.as_ref().map_or(0, Bytes::len)
            + self.value.as_ref().map_or(0, Bytes::len)
            + headers
    }
}
