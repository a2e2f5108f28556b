//! What a test sees of a group.

use bytes::Bytes;

use super::consumer::ConsumerGroup;
use super::rebalance::{Group, GroupState};

/// A group as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupView {
    /// Its state.
    pub state: GroupState,
    /// Its generation, or its epoch where the coordinator divides (KIP-848); 0 before the first.
    pub generation: i32,
    /// The assignment strategy the members agreed on, or the coordinator's.
    pub protocol: Option<String>,
    /// Member id of the leader; none where the coordinator divides.
    pub leader: Option<String>,
    /// Its members, by member id.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupMember {
    /// The id the broker gave it; its own where the coordinator divides.
    pub member_id: String,
    /// Its own id, where it is a static member.
    pub instance_id: Option<String>,
    /// Client id of its requests.
    pub client_id: String,
    /// Address it comes from.
    pub client_host: String,
    /// Its subscription, as the assignment strategy encodes it; empty where the coordinator divides.
    pub metadata: Bytes,
    /// Its assignment, likewise.
    pub assignment: Bytes,
}

impl Group {
    pub(crate) fn view(&self) -> GroupView {
        if let Some(consumer) = &self.consumer {
            return view_of_divided(consumer);
        }
        let protocol = self.protocol.clone().unwrap_or_default();
        GroupView {
            state: self.state,
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: self
                .members
                .iter()
                .map(|(id, member)| GroupMember {
                    member_id: id.clone(),
                    instance_id: member.instance_id.clone(),
                    client_id: member.client_id.clone(),
                    client_host: member.client_host.clone(),
                    metadata: member.metadata(&protocol),
                    assignment: member.assignment.clone(),
                })
                .collect(),
        }
    }
}

fn view_of_divided(group: &ConsumerGroup) -> GroupView {
    let members = group.members().map(|(id, member)| GroupMember {
        member_id: id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        metadata: Bytes::new(),
        assignment: Bytes::new(),
    });
    GroupView {
        state: group.state(),
        generation: group.epoch(),
        protocol: Some(group.assignor().name().to_owned()),
        leader: None,
        members: members.collect(),
    }
}
