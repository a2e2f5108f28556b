//! Produce: record batches to the leaders of their partitions.

use bytes::Bytes;

use super::{Api, Malformed, Reader, Request, Unencodable, VersionRange, Writer};

/// Asks a leader to append batches, acknowledged by all in-sync replicas.
#[derive(Debug, Clone)]
pub(crate) struct ProduceRequest {
    /// How long the leader may wait for the in-sync replicas.
    pub(crate) timeout_ms: i32,
    /// Topics with their partitions; each topic, and each partition of it, at most once.
    pub(crate) topics: Vec<(String, Vec<ProducePartition>)>,
}

/// What goes to one partition.
#[derive(Debug, Clone)]
pub(crate) struct ProducePartition {
    pub(crate) partition: i32,
    /// Exactly one record batch (format 2), written as it is.
    pub(crate) batch: Bytes,
}

/// How it went for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProducedPartition {
    pub(crate) partition: i32,
    pub(crate) error_code: i16,
    /// -1 where nothing was appended, or the broker no longer knows.
    pub(crate) base_offset: i64,
    /// -1 on topics with the producer's timestamps.
    pub(crate) log_append_time_ms: i64,
    /// -1 before version 5.
    pub(crate) log_start_offset: i64,
    /// Records that made the broker refuse the batch, by their index in it (KIP-467); from version 8 on.
    pub(crate) record_errors: Vec<(i32, Option<String>)>,
    pub(crate) error_message: Option<String>,
}

impl ProduceRequest {
    /// An upper bound of the bytes it takes on the wire.
    fn size_bound(&self) -> usize {
        const OF_REQUEST: usize = 32;
        const OF_TOPIC: usize = 16;
        const OF_PARTITION: usize = 16;
        let topics = self.topics.iter().map(|(topic, partitions)| {
            let batches: usize = partitions
                .iter()
                .map(|partition| OF_PARTITION + partition.batch.len())
                .sum();
            OF_TOPIC + topic.len() + batches
        });
        OF_REQUEST + topics.sum::<usize>()
    }
}

impl Request for ProduceRequest {
    type Response = Vec<(String, Vec<ProducedPartition>)>;

    const API: Api = Api::Produce;
    const VERSIONS: VersionRange = VersionRange::new(3, 9);
    const FLEXIBLE_FROM: i16 = 9;

    fn encode(&self, _version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        // At once, since a frame that grows takes up to twice its size while it waits for the socket.
        writer.reserve(self.size_bound());
        let transactional_id = None;
        writer.nullable_string(transactional_id)?;
        let acks_of_all_in_sync_replicas = -1;
        writer.i16(acks_of_all_in_sync_replicas);
        writer.i32(self.timeout_ms);
        writer.array(&self.topics, |writer, (topic, partitions)| {
            writer.string(topic)?;
            writer.array(partitions, |writer, partition| {
                writer.i32(partition.partition);
                writer.bytes(&partition.batch)?;
                writer.tags();
                Ok(())
            })?;
            writer.tags();
            Ok(())
        })?;
        writer.tags();
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<Self::Response, Malformed> {
        let topics = reader.array(|reader| {
            let topic = reader.string()?;
            let partitions = reader.array(|reader| partition(version, reader))?;
            reader.skip_tags()?;
            Ok((topic, partitions))
        })?;
        reader.throttle_time()?;
        reader.skip_tags()?;
        Ok(topics)
    }
}

fn partition(version: i16, reader: &mut Reader) -> Result<ProducedPartition, Malformed> {
    let mut partition = ProducedPartition {
        partition: reader.i32()?,
        error_code: reader.i16()?,
        base_offset: reader.i64()?,
        log_append_time_ms: reader.i64()?,
        log_start_offset: if version >= 5 { reader.i64()? } else { -1 },
        record_errors: Vec::new(),
        error_message: None,
    };
    if version >= 8 {
        partition.record_errors = reader.array(|reader| {
            let error = (reader.i32()?, reader.nullable_string()?);
            reader.skip_tags()?;
            Ok(error)
        })?;
        partition.error_message = reader.nullable_string()?;
    }
    reader.skip_tags()?;
    Ok(partition)
}
