//! Membership of the classic group protocol: join, sync, heartbeat, leave.

use bytes::Bytes;

use super::{Api, Malformed, Reader, Request, Unencodable, VersionRange, Writer};

/// Asks to become, or to stay, a member of the next generation.
#[derive(Debug, Clone)]
pub(crate) struct JoinGroupRequest {
    pub(crate) group_id: String,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    /// Empty at first; the coordinator gives one out with error 79 (KIP-394).
    pub(crate) member_id: String,
    /// The name of a static member (KIP-345).
    pub(crate) group_instance_id: Option<String>,
    /// `consumer` for consumer groups.
    pub(crate) protocol_type: String,
    /// Assignors in order of preference, each with its subscription.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// Why, for the broker's log (KIP-800).
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinGroupResponse {
    pub(crate) error_code: i16,
    pub(crate) generation_id: i32,
    pub(crate) protocol_name: Option<String>,
    /// The member id of the one who assigns.
    pub(crate) leader: String,
    /// Whether the leader is to leave the assignment as it is (KIP-814).
    pub(crate) skip_assignment: bool,
    pub(crate) member_id: String,
    /// Everybody, for the leader; nobody for the others.
    pub(crate) members: Vec<JoinedMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinedMember {
    pub(crate) member_id: String,
    pub(crate) group_instance_id: Option<String>,
    /// Its subscription.
    pub(crate) metadata: Bytes,
}

impl Request for JoinGroupRequest {
    type Response = JoinGroupResponse;

    const API: Api = Api::JoinGroup;
    const VERSIONS: VersionRange = VersionRange::new(2, 9);
    const FLEXIBLE_FROM: i16 = 6;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.string(&self.group_id)?;
        writer.i32(self.session_timeout_ms);
        writer.i32(self.rebalance_timeout_ms);
        writer.string(&self.member_id)?;
        instance_id(self.group_instance_id.as_deref(), version >= 5, writer)?;
        writer.string(&self.protocol_type)?;
        writer.array(&self.protocols, |writer, (name, metadata)| {
            writer.string(name)?;
            writer.bytes(metadata)?;
            writer.tags();
            Ok(())
        })?;
        if version >= 8 {
            writer.nullable_string(self.reason.as_deref())?;
        }
        writer.tags();
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<JoinGroupResponse, Malformed> {
        reader.throttle_time()?;
        let error_code = reader.i16()?;
        let generation_id = reader.i32()?;
        if version >= 7 {
            let _protocol_type = reader.nullable_string()?;
        }
        let response = JoinGroupResponse {
            error_code,
            generation_id,
            protocol_name: if version >= 7 {
                reader.nullable_string()?
            } else {
                Some(reader.string()?)
            },
            leader: reader.string()?,
            skip_assignment: version >= 9 && reader.bool()?,
            member_id: reader.string()?,
            members: reader.array(|reader| {
                let member = JoinedMember {
                    member_id: reader.string()?,
                    group_instance_id: if version >= 5 {
                        reader.nullable_string()?
                    } else {
                        None
                    },
                    metadata: reader.bytes()?,
                };
                reader.skip_tags()?;
                Ok(member)
            })?,
        };
        reader.skip_tags()?;
        Ok(response)
    }
}

/// Hands in (as leader) and receives the assignment of a generation.
#[derive(Debug, Clone)]
pub(crate) struct SyncGroupRequest {
    pub(crate) group_id: String,
    pub(crate) generation_id: i32,
    pub(crate) member_id: String,
    pub(crate) group_instance_id: Option<String>,
    pub(crate) protocol_type: String,
    pub(crate) protocol_name: String,
    /// By member id, from the leader; empty from the others.
    pub(crate) assignments: Vec<(String, Bytes)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyncGroupResponse {
    pub(crate) error_code: i16,
    pub(crate) assignment: Bytes,
}

impl Request for SyncGroupRequest {
    type Response = SyncGroupResponse;

    const API: Api = Api::SyncGroup;
    const VERSIONS: VersionRange = VersionRange::new(1, 5);
    const FLEXIBLE_FROM: i16 = 4;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.string(&self.group_id)?;
        writer.i32(self.generation_id);
        writer.string(&self.member_id)?;
        instance_id(self.group_instance_id.as_deref(), version >= 3, writer)?;
        if version >= 5 {
            writer.string(&self.protocol_type)?;
            writer.string(&self.protocol_name)?;
        }
        writer.array(&self.assignments, |writer, (member_id, assignment)| {
            writer.string(member_id)?;
            writer.bytes(assignment)?;
            writer.tags();
            Ok(())
        })?;
        writer.tags();
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<SyncGroupResponse, Malformed> {
        reader.throttle_time()?;
        let error_code = reader.i16()?;
        if version >= 5 {
            let _protocol_type = reader.nullable_string()?;
            let _protocol_name = reader.nullable_string()?;
        }
        let assignment = reader.bytes()?;
        reader.skip_tags()?;
        Ok(SyncGroupResponse {
            error_code,
            assignment,
        })
    }
}

/// Tells the coordinator that the member is alive; the answer, an error code, tells of a rebalance.
#[derive(Debug, Clone)]
pub(crate) struct HeartbeatRequest {
    pub(crate) group_id: String,
    pub(crate) generation_id: i32,
    pub(crate) member_id: String,
    pub(crate) group_instance_id: Option<String>,
}

impl Request for HeartbeatRequest {
    /// The error code.
    type Response = i16;

    const API: Api = Api::Heartbeat;
    const VERSIONS: VersionRange = VersionRange::new(1, 4);
    const FLEXIBLE_FROM: i16 = 4;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.string(&self.group_id)?;
        writer.i32(self.generation_id);
        writer.string(&self.member_id)?;
        instance_id(self.group_instance_id.as_deref(), version >= 3, writer)?;
        writer.tags();
        Ok(())
    }

    fn decode(_version: i16, reader: &mut Reader) -> Result<i16, Malformed> {
        reader.throttle_time()?;
        let error_code = reader.i16()?;
        reader.skip_tags()?;
        Ok(error_code)
    }
}

/// Leaves a group, so that it need not wait for the session to time out.
#[derive(Debug, Clone)]
pub(crate) struct LeaveGroupRequest {
    pub(crate) group_id: String,
    /// Exactly one before version 3, which is all this client ever names.
    pub(crate) member: LeavingMember,
}

#[derive(Debug, Clone)]
pub(crate) struct LeavingMember {
    pub(crate) member_id: String,
    pub(crate) group_instance_id: Option<String>,
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaveGroupResponse {
    pub(crate) error_code: i16,
    /// Member id and error code; empty before version 3.
    pub(crate) members: Vec<(String, i16)>,
}

impl Request for LeaveGroupRequest {
    type Response = LeaveGroupResponse;

    const API: Api = Api::LeaveGroup;
    const VERSIONS: VersionRange = VersionRange::new(1, 5);
    const FLEXIBLE_FROM: i16 = 4;

    fn encode(&self, version: i16, writer: &mut Writer) -> Result<(), Unencodable> {
        writer.string(&self.group_id)?;
        if version >= 3 {
            writer.array(std::slice::from_ref(&self.member), |writer, member| {
                writer.string(&member.member_id)?;
                writer.nullable_string(member.group_instance_id.as_deref())?;
                if version >= 5 {
                    writer.nullable_string(member.reason.as_deref())?;
                }
                writer.tags();
                Ok(())
            })?;
        } else {
            writer.string(&self.member.member_id)?;
        }
        writer.tags();
        Ok(())
    }

    fn decode(version: i16, reader: &mut Reader) -> Result<LeaveGroupResponse, Malformed> {
        reader.throttle_time()?;
        let error_code = reader.i16()?;
        let mut members = Vec::new();
        if version >= 3 {
            members = reader.array(|reader| {
                let member_id = reader.string()?;
                let _group_instance_id = reader.nullable_string()?;
                let error_code = reader.i16()?;
                reader.skip_tags()?;
                Ok((member_id, error_code))
            })?;
        }
        reader.skip_tags()?;
        Ok(LeaveGroupResponse {
            error_code,
            members,
        })
    }
}

/// Static membership cannot be had from a broker too old for it, and must not be dropped in silence.
fn instance_id(id: Option<&str>, known: bool, writer: &mut Writer) -> Result<(), Unencodable> {
    match (id, known) {
        (id, true) => writer.nullable_string(id),
        (None, false) => Ok(()),
        (Some(_), false) => Err(Unencodable(
            "a group instance id was given, but the broker is older than static membership (Kafka 2.3)",
        )),
    }
}
