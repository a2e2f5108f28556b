//! OffsetForLeaderEpoch: where a leader's time ends in the log (KIP-320).

use super::{Api, Malformed, Reader, Request, Unencodable, VersionRange, Writer};

/// Where a leader epoch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EpochEnd {
    /// The largest epoch of the log that is not above the one asked for; -1 where it has none.
    pub(crate) leader_epoch: i32,
    /// The offset after its last record; -1 where it has none.
    pub(crate) end_offset: i64,
}

/// Asks leaders up to where their logs are those that were read.
#[derive(Debug, Clone)]
pub(crate) struct OffsetForLeaderEpochRequest {
    pub(crate) topics: Vec<(String, Vec<EpochPartition>)>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct EpochPartition {
    pub(crate) partition: i32,
    /// -1 for none.
    pub(crate) current_leader_epoch: i32,
    /// Of the last record read.
    pub(crate) leader_epoch: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EpochEndOfPartition {
    pub(crate) partition: i32,
    pub(crate) error_code: i16,
    pub(crate) end: EpochEnd,
}

impl Request for OffsetForLeaderEpochRequest {
    type Response = Vec<(String, Vec<EpochEndOfPartition>)>;

    const API: Api = Api::OffsetForLeaderEpoch;
    // Version 2 was for brokers alone: it asks for a right on the cluster (KIP-320, Kafka 2.1 and 2.2).
    const VERSIONS: VersionRange = VersionRange::new(3, 4);
    const FLEXIBLE_FROM: i16 = 4;

    fn encode(&self, _version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        let not_a_replica = -1;
        writer.i32(not_a_replica);
        writer.array(&self.topics, |writer, (topic, partitions)| {
            writer.string(topic)?;
            writer.array(partitions, |writer, partition| {
                writer.i32(partition.partition);
                writer.i32(partition.current_leader_epoch);
                writer.i32(partition.leader_epoch);
                writer.tags();
                Ok(())
            })?;
            writer.tags();
            Ok(())
        })?;
        writer.tags();
        Ok(())
    }

    fn decode(_version: i16, reader: &mut Reader) -> Result<Self::Response, Malformed> {
        reader.throttle_time()?;
        let topics = reader.array(|reader| {
            let topic = reader.string()?;
            let partitions = reader.array(|reader| {
                let error_code = reader.i16()?;
                let partition = EpochEndOfPartition {
                    partition: reader.i32()?,
                    error_code,
                    end: EpochEnd {
                        leader_epoch: reader.i32()?,
                        end_offset: reader.i64()?,
                    },
                };
                reader.skip_tags()?;
                Ok(partition)
            })?;
            reader.skip_tags()?;
            Ok((topic, partitions))
        })?;
        reader.skip_tags()?;
        Ok(topics)
    }
}
