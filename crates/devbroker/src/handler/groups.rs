//! Membership of groups: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

use std::time::Duration;

use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};

use super::{Context, optional_string, text};
use crate::error_code::ErrorCode;
use crate::group::{JoinRequest, Joined, JoinedMember, Replies, Reply, SyncRequest, Synced};

/// Waits for the group's next generation; nothing where the request was superseded.
pub(super) async fn join(
    context: &Context<'_>,
    request: JoinGroupRequest,
) -> Option<JoinGroupResponse> {
    let code = context
        .shared
        .read(|state| context.refuses_group(state, &request.group_id));
    if let Some(code) = code {
        let refused = Joined::refused(code, &request.member_id);
        return Some(join_response(context, refused));
    }
    let group = request.group_id.to_string();
    let request = join_request(context, request);
    let now = context.shared.now().instant;
    let answer = context.shared.update(|state| {
        let (ticket, answer) = state.ticket();
        let mut replies = Replies::new();
        state
            .coordinator
            .join(now, ticket, &group, &request, &mut replies);
        state.deliver(replies);
        answer
    });
    match answer.await {
        Ok(Reply::Join(mut joined)) => {
            joined.error = context.injected.tell_of_all(joined.error);
            Some(join_response(context, joined))
        }
        _ => None,
    }
}

fn join_request(context: &Context<'_>, request: JoinGroupRequest) -> JoinRequest {
    let client_id = if context.client_id.is_empty() {
        "client"
    } else {
        &context.client_id
    };
    let instance_id = optional_string(request.group_instance_id);
    let prefix = instance_id.as_deref().unwrap_or(client_id);
    JoinRequest {
        member_id: request.member_id.to_string(),
        fresh_member_id: format!("{prefix}-{}", context.shared.read(|state| state.ids.next())),
        instance_id,
        client_id: context.client_id.clone(),
        client_host: format!("/{}", context.came_in.peer.ip()),
        session_timeout: millis(request.session_timeout_ms),
        rebalance_timeout: millis(request.rebalance_timeout_ms),
        protocol_type: request.protocol_type.to_string(),
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| (protocol.name.to_string(), protocol.metadata))
            .collect(),
        member_id_required: context.version >= 4,
        can_skip_assignment: context.version >= 9,
    }
}

fn millis(milliseconds: i32) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

fn join_response(context: &Context<'_>, joined: Joined) -> JoinGroupResponse {
    let version = context.version;
    // Nullable since version 7 only.
    let protocol = joined.protocol.or_else(|| (version < 7).then(String::new));
    let member = |member: JoinedMember| {
        JoinGroupResponseMember::default()
            .with_member_id(text(member.member_id))
            .with_group_instance_id(member.instance_id.filter(|_| version >= 5).map(text))
            .with_metadata(member.metadata)
    };
    JoinGroupResponse::default()
        .with_error_code(joined.error.0)
        .with_generation_id(joined.generation)
        .with_protocol_type(joined.protocol_type.filter(|_| version >= 7).map(text))
        .with_protocol_name(protocol.map(text))
        .with_leader(text(joined.leader))
        .with_skip_assignment(joined.skip_assignment && version >= 9)
        .with_member_id(text(joined.member_id))
        .with_members(joined.members.into_iter().map(member).collect())
}

/// Waits for the leader's assignment; nothing where the request was superseded.
pub(super) async fn sync(
    context: &Context<'_>,
    request: SyncGroupRequest,
) -> Option<SyncGroupResponse> {
    let code = context
        .shared
        .read(|state| context.refuses_group(state, &request.group_id));
    if let Some(code) = code {
        return Some(sync_response(context, Synced::refused(code)));
    }
    let group = request.group_id.to_string();
    let request = SyncRequest {
        member_id: request.member_id.to_string(),
        instance_id: optional_string(request.group_instance_id),
        generation: request.generation_id,
        protocol_type: optional_string(request.protocol_type),
        protocol: optional_string(request.protocol_name),
        assignments: request
            .assignments
            .into_iter()
            .map(|given| (given.member_id.to_string(), given.assignment))
            .collect(),
    };
    let now = context.shared.now().instant;
    let answer = context.shared.update(|state| {
        let (ticket, answer) = state.ticket();
        let mut replies = Replies::new();
        state
            .coordinator
            .sync(now, ticket, &group, request, &mut replies);
        state.deliver(replies);
        answer
    });
    match answer.await {
        Ok(Reply::Sync(mut synced)) => {
            synced.error = context.injected.tell_of_all(synced.error);
            Some(sync_response(context, synced))
        }
        _ => None,
    }
}

fn sync_response(context: &Context<'_>, synced: Synced) -> SyncGroupResponse {
    let told = |name: Option<String>| name.filter(|_| context.version >= 5).map(text);
    SyncGroupResponse::default()
        .with_error_code(synced.error.0)
        .with_protocol_type(told(synced.protocol_type))
        .with_protocol_name(told(synced.protocol))
        .with_assignment(synced.assignment)
}

pub(super) fn heartbeat(context: &Context<'_>, request: &HeartbeatRequest) -> HeartbeatResponse {
    let now = context.shared.now().instant;
    let code = context.shared.update(|state| {
        let refused = context.refuses_group(state, &request.group_id);
        refused.unwrap_or_else(|| {
            state.coordinator.heartbeat(
                now,
                &request.group_id,
                &request.member_id,
                request.group_instance_id.as_deref(),
                request.generation_id,
            )
        })
    });
    HeartbeatResponse::default().with_error_code(context.injected.tell_of_all(code).0)
}

pub(super) fn leave(context: &Context<'_>, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let code = context
        .shared
        .read(|state| context.refuses_group(state, &request.group_id));
    if let Some(code) = code {
        return LeaveGroupResponse::default().with_error_code(code.0);
    }
    let now = context.shared.now().instant;
    let leave_one = |member_id: &str, instance_id: Option<&str>| {
        context.shared.update(|state| {
            let mut replies = Replies::new();
            let group = &request.group_id;
            let code = state
                .coordinator
                .leave(now, group, member_id, instance_id, &mut replies);
            state.deliver(replies);
            code
        })
    };
    if context.version < 3 {
        let code = leave_one(&request.member_id, None);
        let told = context.injected.tell_of_all(code);
        return LeaveGroupResponse::default().with_error_code(told.0);
    }
    let members = request.members.iter().map(|member| {
        let code = leave_one(&member.member_id, member.group_instance_id.as_deref());
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(code.0)
    });
    LeaveGroupResponse::default()
        .with_members(members.collect())
        .with_error_code(context.injected.tell_of_all(ErrorCode::NONE).0)
}
