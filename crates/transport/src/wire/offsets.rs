//! OffsetCommit and OffsetFetch: how far a group has come.

use super::{Api, Malformed, Reader, Request, Unencodable, VersionRange, Writer};

/// Stores positions of a group, as a member of it or, with generation -1 and no member id, from outside.
#[derive(Debug, Clone)]
pub(crate) struct OffsetCommitRequest {
    pub(crate) group_id: String,
    pub(crate) generation_id: i32,
    pub(crate) member_id: String,
    pub(crate) group_instance_id: Option<String>,
    pub(crate) topics: Vec<(String, Vec<OffsetCommitPartition>)>,
}

#[derive(Debug, Clone)]
pub(crate) struct OffsetCommitPartition {
    pub(crate) partition: i32,
    /// The offset of the next record to be read.
    pub(crate) offset: i64,
    /// Of the last record read, -1 for none.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: Option<String>,
}

impl Request for OffsetCommitRequest {
    /// Topics with partitions and their error codes.
    type Response = Vec<(String, Vec<(i32, i16)>)>;

    const API: Api = Api::OffsetCommit;
    const VERSIONS: VersionRange = VersionRange::new(2, 8);
    const FLEXIBLE_FROM: i16 = 8;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.string(&self.group_id)?;
        writer.i32(self.generation_id);
        writer.string(&self.member_id)?;
        if version >= 7 {
            writer.nullable_string(self.group_instance_id.as_deref())?;
        } else if self.group_instance_id.is_some() {
            return Err(Unencodable(
                "a group instance id was given, but the broker is older than static membership (Kafka 2.3)",
            ));
        }
        if version <= 4 {
            let retention_by_the_brokers_setting = -1;
            writer.i64(retention_by_the_brokers_setting);
        }
        writer.array(&self.topics, |writer, (topic, partitions)| {
            writer.string(topic)?;
            writer.array(partitions, |writer, partition| {
                writer.i32(partition.partition);
                writer.i64(partition.offset);
                if version >= 6 {
                    writer.i32(partition.leader_epoch);
                }
                writer.nullable_string(partition.metadata.as_deref())?;
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
        if version >= 3 {
            reader.throttle_time()?;
        }
        let topics = reader.array(|reader| {
            let topic = reader.string()?;
            let partitions = reader.array(|reader| {
                let partition = (reader.i32()?, reader.i16()?);
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

/// A topic and some of its partitions.
type TopicPartitions = (String, Vec<i32>);

/// Reads positions of a group.
#[derive(Debug, Clone)]
pub(crate) struct OffsetFetchRequest {
    pub(crate) group_id: String,
    /// `None` for all the group has.
    pub(crate) topics: Option<Vec<TopicPartitions>>,
    /// Whether to be told (error 88) of offsets that an open transaction may still change (KIP-447).
    pub(crate) require_stable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OffsetFetchResponse {
    pub(crate) error_code: i16,
    pub(crate) topics: Vec<(String, Vec<FetchedOffset>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchedOffset {
    pub(crate) partition: i32,
    /// -1 where the group has committed none.
    pub(crate) offset: i64,
    /// -1 for none.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: Option<String>,
    pub(crate) error_code: i16,
}

impl Request for OffsetFetchRequest {
    type Response = OffsetFetchResponse;

    const API: Api = Api::OffsetFetch;
    const VERSIONS: VersionRange = VersionRange::new(2, 7);
    const FLEXIBLE_FROM: i16 = 6;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.string(&self.group_id)?;
        writer.nullable_array(self.topics.as_deref(), |writer, (topic, partitions)| {
            writer.string(topic)?;
            writer.array(partitions, |writer, partition| {
                writer.i32(*partition);
                Ok(())
            })?;
            writer.tags();
            Ok(())
        })?;
        if version >= 7 {
            writer.bool(self.require_stable);
        }
        writer.tags();
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<OffsetFetchResponse, Malformed> {
        if version >= 3 {
            reader.throttle_time()?;
        }
        let topics = reader.array(|reader| {
            let topic = reader.string()?;
            let partitions = reader.array(|reader| {
                let fetched = FetchedOffset {
                    partition: reader.i32()?,
                    offset: reader.i64()?,
                    leader_epoch: if version >= 5 { reader.i32()? } else { -1 },
                    metadata: reader.nullable_string()?,
                    error_code: reader.i16()?,
                };
                reader.skip_tags()?;
                Ok(fetched)
            })?;
            reader.skip_tags()?;
            Ok((topic, partitions))
        })?;
        let error_code = reader.i16()?;
        reader.skip_tags()?;
        Ok(OffsetFetchResponse { error_code, topics })
    }
}
