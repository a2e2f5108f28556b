//! OffsetCommit and OffsetFetch: how far a group has come. From version 9 on both know members of groups whose
//! coordinator divides, from version 10 on topics go by their ids (KIP-848).

use super::{Api, Malformed, Reader, Request, TopicId, Unencodable, VersionRange, Writer};

/// The last version that names topics; from the next on they go by their ids.
const LAST_BY_NAME: i16 = 9;

/// What a topic goes by in a request or a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicKey {
    /// Empty in responses from version 10 on.
    pub(crate) name: String,
    /// All zero where it is not known, and in responses before version 10.
    pub(crate) id: TopicId,
}

impl TopicKey {
    /// Whether a response is about this topic, which was asked for by `self`.
    pub(crate) fn is_answered_by(&self, answered: &Self) -> bool {
        match answered.id == TopicId::default() {
            true => self.name == answered.name,
            false => self.id == answered.id,
        }
    }

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        if version <= LAST_BY_NAME {
            writer.string(&self.name)
        } else if self.id == TopicId::default() {
            Err(Unencodable(
                "a topic is to go by its id, which is not known",
            ))
        } else {
            writer.uuid(&self.id);
            Ok(())
        }
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(if version <= LAST_BY_NAME {
            Self {
                name: reader.string()?,
                id: TopicId::default(),
            }
        } else {
            Self {
                name: String::new(),
                id: reader.uuid()?,
            }
        })
    }
}

/// Stores positions of a group, as a member of it or, with generation -1 and no member id, from outside.
#[derive(Debug, Clone)]
pub(crate) struct OffsetCommitRequest {
    pub(crate) group_id: String,
    /// Or the member's epoch (KIP-848).
    pub(crate) generation_id: i32,
    pub(crate) member_id: String,
    pub(crate) group_instance_id: Option<String>,
    pub(crate) topics: Vec<(TopicKey, Vec<OffsetCommitPartition>)>,
}

/// As [`OffsetCommitRequest`], for topics of which not all have an id: in the versions that go by names.
#[derive(Debug, Clone)]
pub(crate) struct OffsetCommitByNameRequest(pub(crate) OffsetCommitRequest);

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
    type Response = Vec<(TopicKey, Vec<(i32, i16)>)>;

    const API: Api = Api::OffsetCommit;
    const VERSIONS: VersionRange = VersionRange::new(2, 10);
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
            topic.encode(version, writer)?;
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
            let topic = TopicKey::decode(version, reader)?;
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

impl Request for OffsetCommitByNameRequest {
    type Response = <OffsetCommitRequest as Request>::Response;

    const API: Api = Api::OffsetCommit;
    const VERSIONS: VersionRange =
        VersionRange::new(OffsetCommitRequest::VERSIONS.min, LAST_BY_NAME);
    const FLEXIBLE_FROM: i16 = OffsetCommitRequest::FLEXIBLE_FROM;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        self.0.encode(version, writer)
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<Self::Response, Malformed> {
        OffsetCommitRequest::decode(version, reader)
    }
}

/// A topic and some of its partitions.
type TopicPartitions = (TopicKey, Vec<i32>);

/// Reads positions of a group.
#[derive(Debug, Clone)]
pub(crate) struct OffsetFetchRequest {
    pub(crate) group_id: String,
    /// Who asks and in which epoch, where that is to be checked (KIP-848); told from version 9 on.
    pub(crate) member: Option<(String, i32)>,
    /// `None` for all the group has.
    pub(crate) topics: Option<Vec<TopicPartitions>>,
    /// Whether to be told (error 88) of offsets that an open transaction may still change (KIP-447).
    pub(crate) require_stable: bool,
}

/// As [`OffsetFetchRequest`], for topics of which not all have an id: in the versions that go by names.
#[derive(Debug, Clone)]
pub(crate) struct OffsetFetchByNameRequest(pub(crate) OffsetFetchRequest);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OffsetFetchResponse {
    pub(crate) error_code: i16,
    pub(crate) topics: Vec<(TopicKey, Vec<FetchedOffset>)>,
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
    const VERSIONS: VersionRange = VersionRange::new(2, 10);
    const FLEXIBLE_FROM: i16 = 6;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        if version >= 8 {
            return self.encode_as_one_of_many(version, writer);
        }
        writer.string(&self.group_id)?;
        self.encode_topics(version, writer)?;
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
        let response = if version >= 8 {
            let groups = reader.array(|reader| {
                let _group_id = reader.string()?;
                let group = fetched_group(version, reader)?;
                reader.skip_tags()?;
                Ok(group)
            })?;
            match <[OffsetFetchResponse; 1]>::try_from(groups) {
                Ok([group]) => group,
                Err(_) => return Err(reader.malformed("not one group was answered for")),
            }
        } else {
            fetched_group(version, reader)?
        };
        reader.skip_tags()?;
        Ok(response)
    }
}

impl Request for OffsetFetchByNameRequest {
    type Response = OffsetFetchResponse;

    const API: Api = Api::OffsetFetch;
    const VERSIONS: VersionRange =
        VersionRange::new(OffsetFetchRequest::VERSIONS.min, LAST_BY_NAME);
    const FLEXIBLE_FROM: i16 = OffsetFetchRequest::FLEXIBLE_FROM;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        self.0.encode(version, writer)
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<OffsetFetchResponse, Malformed> {
        OffsetFetchRequest::decode(version, reader)
    }
}

impl OffsetFetchRequest {
    /// From version 8 on a request can name several groups; this client names one.
    fn encode_as_one_of_many(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.array(std::slice::from_ref(self), |writer, group| {
            writer.string(&group.group_id)?;
            if version >= 9 {
                let member = group.member.as_ref();
                writer.nullable_string(member.map(|(id, _)| id.as_str()))?;
                writer.i32(member.map_or(-1, |(_, epoch)| *epoch));
            }
            group.encode_topics(version, writer)?;
            writer.tags();
            Ok(())
        })?;
        writer.bool(self.require_stable);
        writer.tags();
        Ok(())
    }

    fn encode_topics(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.nullable_array(self.topics.as_deref(), |writer, (topic, partitions)| {
            topic.encode(version, writer)?;
            writer.array(partitions, |writer, partition| {
                writer.i32(*partition);
                Ok(())
            })?;
            writer.tags();
            Ok(())
        })
    }
}

fn fetched_group(version: i16, reader: &mut Reader) -> Result<OffsetFetchResponse, Malformed> {
    let topics = reader.array(|reader| {
        let topic = TopicKey::decode(version, reader)?;
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
    Ok(OffsetFetchResponse { error_code, topics })
}
