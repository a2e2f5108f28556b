//! CreateTopics and DeleteTopics.

use super::{Api, Malformed, Reader, Request, TopicId, Unencodable, VersionRange, Writer};

#[derive(Debug, Clone)]
pub(crate) struct CreateTopicsRequest {
    pub(crate) topics: Vec<CreateTopic>,
    pub(crate) timeout_ms: i32,
}

#[derive(Debug, Clone)]
pub(crate) struct CreateTopic {
    pub(crate) name: String,
    /// -1 for the broker's default (from version 4 on, KIP-464).
    pub(crate) partitions: i32,
    /// -1 for the broker's default (from version 4 on, KIP-464).
    pub(crate) replication_factor: i16,
    pub(crate) configs: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CreatedTopic {
    pub(crate) name: String,
    /// All zero before version 7.
    pub(crate) id: TopicId,
    pub(crate) error_code: i16,
    pub(crate) error_message: Option<String>,
}

impl Request for CreateTopicsRequest {
    type Response = Vec<CreatedTopic>;

    const API: Api = Api::CreateTopics;
    const VERSIONS: VersionRange = VersionRange::new(2, 7);
    const FLEXIBLE_FROM: i16 = 5;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.array(&self.topics, |writer, topic| {
            if version < 4 && (topic.partitions < 0 || topic.replication_factor < 0) {
                return Err(Unencodable(
                    "brokers older than Kafka 2.4 have no defaults: name partitions and replication factor",
                ));
            }
            writer.string(&topic.name)?;
            writer.i32(topic.partitions);
            writer.i16(topic.replication_factor);
            let assignments: &[()] = &[];
            writer.array(assignments, |_, ()| Ok(()))?;
            writer.array(&topic.configs, |writer, (name, value)| {
                writer.string(name)?;
                writer.nullable_string(Some(value))?;
                writer.tags();
                Ok(())
            })?;
            writer.tags();
            Ok(())
        })?;
        writer.i32(self.timeout_ms);
        let validate_only = false;
        writer.bool(validate_only);
        writer.tags();
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<Vec<CreatedTopic>, Malformed> {
        reader.throttle_time()?;
        let topics = reader.array(|reader| {
            let topic = CreatedTopic {
                name: reader.string()?,
                id: if version >= 7 {
                    reader.uuid()?
                } else {
                    [0; 16]
                },
                error_code: reader.i16()?,
                error_message: reader.nullable_string()?,
            };
            if version >= 5 {
                let _partitions = reader.i32()?;
                let _replication_factor = reader.i16()?;
                let _configs = reader.nullable_array(|reader| {
                    reader.string()?;
                    reader.nullable_string()?;
                    reader.bool()?;
                    reader.i8()?;
                    reader.bool()?;
                    reader.skip_tags()
                })?;
            }
            reader.skip_tags()?;
            Ok(topic)
        })?;
        reader.skip_tags()?;
        Ok(topics)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct DeleteTopicsRequest {
    pub(crate) topics: Vec<String>,
    pub(crate) timeout_ms: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeletedTopic {
    pub(crate) name: String,
    pub(crate) error_code: i16,
    /// From version 5 on.
    pub(crate) error_message: Option<String>,
}

impl Request for DeleteTopicsRequest {
    type Response = Vec<DeletedTopic>;

    const API: Api = Api::DeleteTopics;
    const VERSIONS: VersionRange = VersionRange::new(1, 5);
    const FLEXIBLE_FROM: i16 = 4;

    fn encode(&self, _version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.array(&self.topics, |writer, topic| writer.string(topic))?;
        writer.i32(self.timeout_ms);
        writer.tags();
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<Vec<DeletedTopic>, Malformed> {
        reader.throttle_time()?;
        let topics = reader.array(|reader| {
            let topic = DeletedTopic {
                name: reader.string()?,
                error_code: reader.i16()?,
                error_message: if version >= 5 {
                    reader.nullable_string()?
                } else {
                    None
                },
            };
            reader.skip_tags()?;
            Ok(topic)
        })?;
        reader.skip_tags()?;
        Ok(topics)
    }
}
