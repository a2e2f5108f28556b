//! ListGroups, DescribeGroups, DeleteGroups: what administrators ask of groups.

use bytes::Bytes;

use super::{Api, Malformed, Reader, Request, Unencodable, VersionRange, Writer};

/// Asks a broker for the groups it coordinates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListGroupsRequest;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListGroupsResponse {
    pub(crate) error_code: i16,
    pub(crate) groups: Vec<ListedGroup>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedGroup {
    pub(crate) group_id: String,
    /// `consumer` for those that read; empty where nobody has joined it.
    pub(crate) protocol_type: String,
    /// Told by brokers from Kafka 2.6 on (KIP-518).
    pub(crate) state: Option<String>,
    /// `classic` or `consumer`, told by brokers from Kafka 4.0 on (KIP-848).
    pub(crate) group_type: Option<String>,
}

impl Request for ListGroupsRequest {
    type Response = ListGroupsResponse;

    const API: Api = Api::ListGroups;
    const VERSIONS: VersionRange = VersionRange::new(0, 5);
    const FLEXIBLE_FROM: i16 = 3;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        let every: &[&str] = &[];
        if version >= 4 {
            let states = every;
            writer.array(states, |writer, state| writer.string(state))?;
        }
        if version >= 5 {
            let types = every;
            writer.array(types, |writer, kind| writer.string(kind))?;
        }
        writer.tags();
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<ListGroupsResponse, Malformed> {
        if version >= 1 {
            reader.throttle_time()?;
        }
        let error_code = reader.i16()?;
        let groups = reader.array(|reader| {
            let group = ListedGroup {
                group_id: reader.string()?,
                protocol_type: reader.string()?,
                state: (version >= 4).then(|| reader.string()).transpose()?,
                group_type: (version >= 5).then(|| reader.string()).transpose()?,
            };
            reader.skip_tags()?;
            Ok(group)
        })?;
        reader.skip_tags()?;
        Ok(ListGroupsResponse { error_code, groups })
    }
}

/// Asks a group's coordinator for its members.
#[derive(Debug, Clone)]
pub(crate) struct DescribeGroupsRequest {
    pub(crate) groups: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribedGroup {
    pub(crate) error_code: i16,
    pub(crate) group_id: String,
    pub(crate) state: String,
    pub(crate) protocol_type: String,
    /// The assignor.
    pub(crate) protocol: String,
    pub(crate) members: Vec<DescribedMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribedMember {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    /// As another member wrote it, which may be anything.
    pub(crate) assignment: Bytes,
}

impl DescribedMember {
    /// Topics and partitions, where the assignment is one of consumers.
    pub(crate) fn assigned(&self) -> Option<Vec<(String, Vec<i32>)>> {
        if self.assignment.is_empty() {
            return Some(Vec::new());
        }
        let mut reader = Reader::new(self.assignment.clone(), false);
        let _version = reader.i16().ok()?;
        let topic = |reader: &mut Reader| Ok((reader.string()?, reader.array(Reader::i32)?));
        reader.array(topic).ok()
    }
}

impl Request for DescribeGroupsRequest {
    type Response = Vec<DescribedGroup>;

    const API: Api = Api::DescribeGroups;
    const VERSIONS: VersionRange = VersionRange::new(0, 5);
    const FLEXIBLE_FROM: i16 = 5;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.array(&self.groups, |writer, group| writer.string(group))?;
        if version >= 3 {
            let include_authorized_operations = false;
            writer.bool(include_authorized_operations);
        }
        writer.tags();
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<Self::Response, Malformed> {
        if version >= 1 {
            reader.throttle_time()?;
        }
        let groups = reader.array(|reader| {
            let group = DescribedGroup {
                error_code: reader.i16()?,
                group_id: reader.string()?,
                state: reader.string()?,
                protocol_type: reader.string()?,
                protocol: reader.string()?,
                members: reader.array(|reader| member(version, reader))?,
            };
            if version >= 3 {
                let _authorized_operations = reader.i32()?;
            }
            reader.skip_tags()?;
            Ok(group)
        })?;
        reader.skip_tags()?;
        Ok(groups)
    }
}

fn member(version: i16, reader: &mut Reader) -> Result<DescribedMember, Malformed> {
    let member_id = reader.string()?;
    let instance_id = if version >= 4 {
        reader.nullable_string()?
    } else {
        None
    };
    let (client_id, client_host) = (reader.string()?, reader.string()?);
    let _subscription = reader.bytes()?;
    let assignment = reader.bytes()?;
    reader.skip_tags()?;
    Ok(DescribedMember {
        member_id,
        instance_id,
        client_id,
        client_host,
        assignment,
    })
}

/// Deletes groups that have no members, with all they have committed.
#[derive(Debug, Clone)]
pub(crate) struct DeleteGroupsRequest {
    pub(crate) groups: Vec<String>,
}

impl Request for DeleteGroupsRequest {
    /// Groups with their error codes.
    type Response = Vec<(String, i16)>;

    const API: Api = Api::DeleteGroups;
    const VERSIONS: VersionRange = VersionRange::new(0, 2);
    const FLEXIBLE_FROM: i16 = 2;

    fn encode(&self, _version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.array(&self.groups, |writer, group| writer.string(group))?;
        writer.tags();
        Ok(())
    }

    fn decode(_version: i16, reader: &mut Reader) -> Result<Self::Response, Malformed> {
        reader.throttle_time()?;
        let results = reader.array(|reader| {
            let result = (reader.string()?, reader.i16()?);
            reader.skip_tags()?;
            Ok(result)
        })?;
        reader.skip_tags()?;
        Ok(results)
    }
}
