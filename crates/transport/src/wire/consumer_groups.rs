//! ConsumerGroupHeartbeat and ConsumerGroupDescribe: groups whose coordinator divides (KIP-848).

use super::{Api, Malformed, Reader, Request, TopicId, Unencodable, VersionRange, Writer};

/// Topics by their id, with some of their partitions.
pub(crate) type PartitionsById = Vec<(TopicId, Vec<i32>)>;

/// Joins, stays in or leaves a group; says what is owned and hears what is to be.
///
/// What is `None` is as it was in the last request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerGroupHeartbeatRequest {
    pub(crate) group_id: String,
    /// Made by the member, for as long as it lives (KIP-1082).
    pub(crate) member_id: String,
    /// 0 to join, -1 to leave, -2 for a static member that leaves to come back.
    pub(crate) member_epoch: i32,
    /// The name of a static member (KIP-345).
    pub(crate) instance_id: Option<String>,
    pub(crate) rack_id: Option<String>,
    pub(crate) rebalance_timeout_ms: Option<i32>,
    pub(crate) topic_names: Option<Vec<String>>,
    /// In the syntax of RE2/J, which the coordinator matches with the names of topics; since version 1.
    pub(crate) topic_pattern: Option<String>,
    /// By what the coordinator is to divide; `None` also for its own choice.
    pub(crate) server_assignor: Option<String>,
    pub(crate) owned: Option<PartitionsById>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerGroupHeartbeatResponse {
    pub(crate) error_code: i16,
    pub(crate) error_message: Option<String>,
    pub(crate) member_epoch: i32,
    pub(crate) heartbeat_interval_ms: i32,
    /// What the member is to have; `None` where that has not changed.
    pub(crate) assignment: Option<PartitionsById>,
}

const NOT_GIVEN: i32 = -1;

impl Request for ConsumerGroupHeartbeatRequest {
    type Response = ConsumerGroupHeartbeatResponse;

    const API: Api = Api::ConsumerGroupHeartbeat;
    const VERSIONS: VersionRange = VersionRange::new(0, 1);
    const FLEXIBLE_FROM: i16 = 0;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.string(&self.group_id)?;
        writer.string(&self.member_id)?;
        writer.i32(self.member_epoch);
        writer.nullable_string(self.instance_id.as_deref())?;
        writer.nullable_string(self.rack_id.as_deref())?;
        writer.i32(self.rebalance_timeout_ms.unwrap_or(NOT_GIVEN));
        writer.nullable_array(self.topic_names.as_deref(), |writer, name| {
            writer.string(name)
        })?;
        if version >= 1 {
            writer.nullable_string(self.topic_pattern.as_deref())?;
        } else if self.topic_pattern.is_some() {
            return Err(Unencodable(
                "a pattern of topics was given, but the broker is older than such subscriptions (Kafka 4.0)",
            ));
        }
        writer.nullable_string(self.server_assignor.as_deref())?;
        writer.nullable_array(self.owned.as_deref(), |writer, (topic, partitions)| {
            writer.uuid(topic);
            writer.array(partitions, |writer, partition| {
                writer.i32(*partition);
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
        let error_code = reader.i16()?;
        let error_message = reader.nullable_string()?;
        let _member_id = reader.nullable_string()?;
        let member_epoch = reader.i32()?;
        let heartbeat_interval_ms = reader.i32()?;
        let assignment = nullable(reader, |reader| reader.array(by_id))?;
        reader.skip_tags()?;
        Ok(ConsumerGroupHeartbeatResponse {
            error_code,
            error_message,
            member_epoch,
            heartbeat_interval_ms,
            assignment,
        })
    }
}

/// A structure that may be null: a byte below 0, and nothing more, where it is.
fn nullable<T>(
    reader: &mut Reader,
    structure: impl FnOnce(&mut Reader) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    if reader.i8()? < 0 {
        return Ok(None);
    }
    let read = structure(reader)?;
    reader.skip_tags()?;
    Ok(Some(read))
}

fn by_id(reader: &mut Reader) -> Result<(TopicId, Vec<i32>), Malformed> {
    let topic = (reader.uuid()?, reader.array(Reader::i32)?);
    reader.skip_tags()?;
    Ok(topic)
}

/// Asks a group's coordinator for its members.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerGroupDescribeRequest {
    pub(crate) groups: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribedConsumerGroup {
    pub(crate) error_code: i16,
    pub(crate) error_message: Option<String>,
    pub(crate) group_id: String,
    pub(crate) state: String,
    pub(crate) epoch: i32,
    pub(crate) assignor: String,
    pub(crate) members: Vec<DescribedConsumer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribedConsumer {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) rack_id: Option<String>,
    pub(crate) member_epoch: i32,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) assigned: Vec<(String, Vec<i32>)>,
    /// What it will have once others have given it up.
    pub(crate) target: Vec<(String, Vec<i32>)>,
}

impl Request for ConsumerGroupDescribeRequest {
    type Response = Vec<DescribedConsumerGroup>;

    const API: Api = Api::ConsumerGroupDescribe;
    const VERSIONS: VersionRange = VersionRange::new(0, 1);
    const FLEXIBLE_FROM: i16 = 0;

    fn encode(&self, _version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.array(&self.groups, |writer, group| writer.string(group))?;
        let include_authorized_operations = false;
        writer.bool(include_authorized_operations);
        writer.tags();
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<Self::Response, Malformed> {
        reader.throttle_time()?;
        let groups = reader.array(|reader| {
            let error_code = reader.i16()?;
            let error_message = reader.nullable_string()?;
            let group_id = reader.string()?;
            let state = reader.string()?;
            let epoch = reader.i32()?;
            let _assignment_epoch = reader.i32()?;
            let assignor = reader.string()?;
            let members = reader.array(|reader| member(version, reader))?;
            let _authorized_operations = reader.i32()?;
            reader.skip_tags()?;
            Ok(DescribedConsumerGroup {
                error_code,
                error_message,
                group_id,
                state,
                epoch,
                assignor,
                members,
            })
        })?;
        reader.skip_tags()?;
        Ok(groups)
    }
}

fn member(version: i16, reader: &mut Reader) -> Result<DescribedConsumer, Malformed> {
    let member_id = reader.string()?;
    let instance_id = reader.nullable_string()?;
    let rack_id = reader.nullable_string()?;
    let member_epoch = reader.i32()?;
    let (client_id, client_host) = (reader.string()?, reader.string()?);
    let _subscribed_names = reader.array(Reader::string)?;
    let _subscribed_pattern = reader.nullable_string()?;
    let (assigned, target) = (by_name(reader)?, by_name(reader)?);
    if version >= 1 {
        let _member_type = reader.i8()?;
    }
    reader.skip_tags()?;
    Ok(DescribedConsumer {
        member_id,
        instance_id,
        rack_id,
        member_epoch,
        client_id,
        client_host,
        assigned,
        target,
    })
}

fn by_name(reader: &mut Reader) -> Result<Vec<(String, Vec<i32>)>, Malformed> {
    let topics = reader.array(|reader| {
        let _topic_id = reader.uuid()?;
        let topic = (reader.string()?, reader.array(Reader::i32)?);
        reader.skip_tags()?;
        Ok(topic)
    })?;
    reader.skip_tags()?;
    Ok(topics)
}
