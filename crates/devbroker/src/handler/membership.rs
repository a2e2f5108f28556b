//! Which group and which of its members a request names, for faults that ask.

use crate::wire::Body;

/// The first group a request names.
pub(crate) fn group(body: &Body) -> Option<&str> {
    let id = match body {
        Body::OffsetCommit(body) => body.group_id.as_str(),
        Body::OffsetFetch(body) => match body.groups.first() {
            Some(group) => group.group_id.as_str(),
            None => body.group_id.as_str(),
        },
        Body::FindCoordinator(body) => match body.coordinator_keys.first() {
            Some(key) => key.as_str(),
            None => body.key.as_str(),
        },
        Body::JoinGroup(body) => body.group_id.as_str(),
        Body::SyncGroup(body) => body.group_id.as_str(),
        Body::Heartbeat(body) => body.group_id.as_str(),
        Body::LeaveGroup(body) => body.group_id.as_str(),
        Body::ConsumerGroupHeartbeat(body) => body.group_id.as_str(),
        Body::ConsumerGroupDescribe(body) => body.group_ids.first()?.as_str(),
        Body::DescribeGroups(body) => body.groups.first()?.as_str(),
        Body::DeleteGroups(body) => body.groups_names.first()?.as_str(),
        Body::OffsetDelete(body) => body.group_id.as_str(),
        _ => return None,
    };
    Some(id)
}

/// The member a request comes from, after its group.
pub(crate) fn member(body: &Body) -> Option<(&str, &str)> {
    let id = match body {
        Body::OffsetCommit(body) => body.member_id.as_str(),
        Body::JoinGroup(body) => body.member_id.as_str(),
        Body::SyncGroup(body) => body.member_id.as_str(),
        Body::Heartbeat(body) => body.member_id.as_str(),
        Body::ConsumerGroupHeartbeat(body) => body.member_id.as_str(),
        _ => return None,
    };
    Some((group(body)?, id))
}
