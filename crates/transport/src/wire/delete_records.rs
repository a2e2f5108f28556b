//! DeleteRecords: the oldest records of partitions (KIP-107). Asked of the leaders.

use super::{Api, Malformed, Reader, Request, Unencodable, VersionRange, Writer};

/// Deletes the records before an offset, of one partition.
#[derive(Debug, Clone)]
pub(crate) struct DeleteRecordsRequest {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// The first that stays; -1 for the high watermark.
    pub(crate) before_offset: i64,
    pub(crate) timeout_ms: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeletedRecords {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// The first offset that is still there.
    pub(crate) low_watermark: i64,
    pub(crate) error_code: i16,
}

impl Request for DeleteRecordsRequest {
    type Response = Vec<DeletedRecords>;

    const API: Api = Api::DeleteRecords;
    const VERSIONS: VersionRange = VersionRange::new(0, 2);
    const FLEXIBLE_FROM: i16 = 2;

    fn encode(&self, _version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.array(std::slice::from_ref(self), |writer, asked| {
            writer.string(&asked.topic)?;
            writer.array(std::slice::from_ref(asked), |writer, asked| {
                writer.i32(asked.partition);
                writer.i64(asked.before_offset);
                writer.tags();
                Ok(())
            })?;
            writer.tags();
            Ok(())
        })?;
        writer.i32(self.timeout_ms);
        writer.tags();
        Ok(())
    }

    fn decode(_version: i16, reader: &mut Reader) -> Result<Vec<DeletedRecords>, Malformed> {
        reader.throttle_time()?;
        let topics = reader.array(|reader| {
            let topic = reader.string()?;
            // Asked about one partition: the name is not copied for as many as a frame claims.
            let partitions = reader.array(|reader| {
                let deleted = (reader.i32()?, reader.i64()?, reader.i16()?);
                reader.skip_tags()?;
                Ok(deleted)
            })?;
            reader.skip_tags()?;
            match partitions[..] {
                [(partition, low_watermark, error_code)] => Ok(DeletedRecords {
                    topic,
                    partition,
                    low_watermark,
                    error_code,
                }),
                _ => Err(reader.malformed("not one partition in the answer about one")),
            }
        })?;
        reader.skip_tags()?;
        Ok(topics)
    }
}
