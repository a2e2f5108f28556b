//! ListOffsets: the first and the last offset of a partition, and the first of a time.

use super::{Api, IsolationLevel, Malformed, Reader, Request, Unencodable, VersionRange, Writer};

/// Which offset of a partition is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OffsetSpec {
    /// The first one still there.
    Earliest,
    /// The one the next record gets; with read-committed the last stable offset.
    Latest,
    /// The first whose record has this timestamp or a later one, in milliseconds since the Unix epoch, 0 or later. With
    /// read-committed only of what lies before the last stable offset.
    AtTime(i64),
}

/// Negative timestamps mean other things to the broker.
const BEFORE_THE_EPOCH: Unencodable = Unencodable("offsets can be asked for by times from 1970 on");

#[derive(Debug, Clone)]
pub(crate) struct ListOffsetsRequest {
    pub(crate) isolation: IsolationLevel,
    pub(crate) topics: Vec<(String, Vec<ListOffsetsPartition>)>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ListOffsetsPartition {
    pub(crate) partition: i32,
    /// -1 for none.
    pub(crate) current_leader_epoch: i32,
    pub(crate) spec: OffsetSpec,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedOffset {
    pub(crate) partition: i32,
    pub(crate) error_code: i16,
    pub(crate) timestamp_ms: i64,
    /// -1 where no record is that late.
    pub(crate) offset: i64,
    /// -1 before version 4.
    pub(crate) leader_epoch: i32,
}

impl Request for ListOffsetsRequest {
    type Response = Vec<(String, Vec<ListedOffset>)>;

    const API: Api = Api::ListOffsets;
    const VERSIONS: VersionRange = VersionRange::new(2, 6);
    const FLEXIBLE_FROM: i16 = 6;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        let not_a_replica = -1;
        writer.i32(not_a_replica);
        writer.i8(self.isolation.code());
        writer.array(&self.topics, |writer, (topic, partitions)| {
            writer.string(topic)?;
            writer.array(partitions, |writer, partition| {
                writer.i32(partition.partition);
                if version >= 4 {
                    writer.i32(partition.current_leader_epoch);
                }
                writer.i64(match partition.spec {
                    OffsetSpec::Latest => -1,
                    OffsetSpec::Earliest => -2,
                    OffsetSpec::AtTime(timestamp_ms) if timestamp_ms >= 0 => timestamp_ms,
                    OffsetSpec::AtTime(_) => return Err(BEFORE_THE_EPOCH),
                });
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
        reader.throttle_time()?;
        let topics = reader.array(|reader| {
            let topic = reader.string()?;
            let partitions = reader.array(|reader| {
                let listed = ListedOffset {
                    partition: reader.i32()?,
                    error_code: reader.i16()?,
                    timestamp_ms: reader.i64()?,
                    offset: reader.i64()?,
                    leader_epoch: if version >= 4 { reader.i32()? } else { -1 },
                };
                reader.skip_tags()?;
                Ok(listed)
            })?;
            reader.skip_tags()?;
            Ok((topic, partitions))
        })?;
        reader.skip_tags()?;
        Ok(topics)
    }
}
