//! Metadata: brokers, topics, partitions and their leaders.

use super::{Api, Malformed, Reader, Request, TopicId, Unencodable, VersionRange, Writer};

/// Asks for brokers and topics. Never makes a topic by asking for it.
#[derive(Debug, Clone)]
pub(crate) struct MetadataRequest {
    /// The topics; `None` for all of them.
    pub(crate) topics: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetadataResponse {
    pub(crate) brokers: Vec<MetadataBroker>,
    pub(crate) cluster_id: Option<String>,
    /// -1 where the broker does not know one.
    pub(crate) controller_id: i32,
    pub(crate) topics: Vec<MetadataTopic>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetadataBroker {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: i32,
    pub(crate) rack: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetadataTopic {
    pub(crate) error_code: i16,
    pub(crate) name: Option<String>,
    /// All zero before version 10.
    pub(crate) id: TopicId,
    pub(crate) is_internal: bool,
    pub(crate) partitions: Vec<MetadataPartition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetadataPartition {
    pub(crate) error_code: i16,
    pub(crate) partition: i32,
    /// -1 where there is none.
    pub(crate) leader_id: i32,
    /// -1 before version 7.
    pub(crate) leader_epoch: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) in_sync: Vec<i32>,
    /// Empty before version 5.
    pub(crate) offline: Vec<i32>,
}

impl Request for MetadataRequest {
    type Response = MetadataResponse;

    const API: Api = Api::Metadata;
    const VERSIONS: VersionRange = VersionRange::new(4, 12);
    const FLEXIBLE_FROM: i16 = 9;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.nullable_array(self.topics.as_deref(), |writer, name| {
            if version >= 10 {
                writer.uuid(&[0; 16]);
            }
            writer.string(name)?;
            writer.tags();
            Ok(())
        })?;
        let allow_auto_topic_creation = false;
        writer.bool(allow_auto_topic_creation);
        let include_authorized_operations = false;
        if (8..=10).contains(&version) {
            writer.bool(include_authorized_operations);
        }
        if version >= 8 {
            writer.bool(include_authorized_operations);
        }
        writer.tags();
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<MetadataResponse, Malformed> {
        reader.throttle_time()?;
        let brokers = reader.array(|reader| {
            let broker = MetadataBroker {
                id: reader.i32()?,
                host: reader.string()?,
                port: reader.i32()?,
                rack: reader.nullable_string()?,
            };
            reader.skip_tags()?;
            Ok(broker)
        })?;
        let cluster_id = reader.nullable_string()?;
        let controller_id = reader.i32()?;
        let topics = reader.array(|reader| topic(version, reader))?;
        if (8..=10).contains(&version) {
            let _cluster_authorized_operations = reader.i32()?;
        }
        reader.skip_tags()?;
        Ok(MetadataResponse {
            brokers,
            cluster_id,
            controller_id,
            topics,
        })
    }
}

fn topic(version: i16, reader: &mut Reader) -> Result<MetadataTopic, Malformed> {
    let error_code = reader.i16()?;
    let name = if version >= 12 {
        reader.nullable_string()?
    } else {
        Some(reader.string()?)
    };
    let id = if version >= 10 {
        reader.uuid()?
    } else {
        [0; 16]
    };
    let is_internal = reader.bool()?;
    let partitions = reader.array(|reader| partition(version, reader))?;
    if version >= 8 {
        let _topic_authorized_operations = reader.i32()?;
    }
    reader.skip_tags()?;
    Ok(MetadataTopic {
        error_code,
        name,
        id,
        is_internal,
        partitions,
    })
}

fn partition(version: i16, reader: &mut Reader) -> Result<MetadataPartition, Malformed> {
    let partition = MetadataPartition {
        error_code: reader.i16()?,
        partition: reader.i32()?,
        leader_id: reader.i32()?,
        leader_epoch: if version >= 7 { reader.i32()? } else { -1 },
        replicas: reader.array(Reader::i32)?,
        in_sync: reader.array(Reader::i32)?,
        offline: match version {
            5.. => reader.array(Reader::i32)?,
            _ => Vec::new(),
        },
    };
    reader.skip_tags()?;
    Ok(partition)
}
