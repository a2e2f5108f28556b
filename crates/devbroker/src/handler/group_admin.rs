//! What administrators ask of groups: DescribeGroups, ListGroups, DeleteGroups, OffsetDelete.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    GroupId, ListGroupsRequest, ListGroupsResponse, OffsetDeleteRequest, OffsetDeleteResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{Context, text};
use crate::error_code::ErrorCode;
use crate::group::Group;

/// The types of group there are here: who divides them, their members or their coordinator (KIP-848).
const CLASSIC: &str = "classic";
const CONSUMER: &str = "consumer";

fn group_type(group: &Group) -> &'static str {
    match group.divided_here() {
        Some(_) => CONSUMER,
        None => CLASSIC,
    }
}

pub(super) fn describe(
    context: &Context<'_>,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let groups = context.shared.read(|state| {
        let groups = request.groups.into_iter().map(|id| {
            let described = DescribedGroup::default().with_group_id(id.clone());
            if let Some(code) = context.refuses_group(state, &id) {
                return described.with_error_code(code.0);
            }
            let group = state.coordinator.group(&id);
            let Some(group) = group.filter(|group| group.divided_here().is_none()) else {
                return described.with_group_state(text("Dead"));
            };
            let view = group.view();
            let members = view.members.into_iter().map(|member| {
                DescribedGroupMember::default()
                    .with_member_id(text(member.member_id))
                    .with_group_instance_id(
                        member
                            .instance_id
                            .filter(|_| context.version >= 4)
                            .map(text),
                    )
                    .with_client_id(text(member.client_id))
                    .with_client_host(text(member.client_host))
                    .with_member_metadata(member.metadata)
                    .with_member_assignment(member.assignment)
            });
            described
                .with_group_state(text(group.state().as_str()))
                .with_protocol_type(text(group.protocol_type().unwrap_or_default()))
                .with_protocol_data(text(group.protocol().unwrap_or_default()))
                .with_members(members.collect())
        });
        groups.collect()
    });
    DescribeGroupsResponse::default().with_groups(groups)
}

/// The groups whose state and type are asked for; an empty list asks for all. Java spells types
/// and states in its own case, so case does not count.
pub(super) fn list(context: &Context<'_>, request: &ListGroupsRequest) -> ListGroupsResponse {
    if let Some(code) = context.injected.instead_of_all() {
        return ListGroupsResponse::default().with_error_code(code.0);
    }
    let wanted = |filter: &[StrBytes], is: &str| {
        filter.is_empty() || filter.iter().any(|asked| asked.eq_ignore_ascii_case(is))
    };
    let groups = context.shared.read(|state| {
        let groups = state.coordinator.groups().filter(|(id, group)| {
            context.is_elsewhere(state, id).is_none()
                && wanted(&request.states_filter, group.state().as_str())
                && wanted(&request.types_filter, group_type(group))
        });
        let groups = groups.map(|(id, group)| {
            let listed = ListedGroup::default()
                .with_group_id(GroupId(text(id.clone())))
                .with_protocol_type(text(group.protocol_type().unwrap_or_default()));
            let listed = match context.version {
                4.. => listed.with_group_state(text(group.state().as_str())),
                _ => listed,
            };
            match context.version {
                5.. => listed.with_group_type(text(group_type(group))),
                _ => listed,
            }
        });
        groups.collect()
    });
    ListGroupsResponse::default().with_groups(groups)
}

/// Deletes groups that have no members, with what they committed.
pub(super) fn delete(context: &Context<'_>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = context.shared.update(|state| {
        let groups = request.groups_names.into_iter().map(|id| {
            let code = match context.refuses_group(state, &id) {
                Some(code) => code,
                None => state.coordinator.delete(&id),
            };
            DeletableGroupResult::default()
                .with_group_id(id)
                .with_error_code(code.0)
        });
        groups.collect()
    });
    DeleteGroupsResponse::default().with_results(results)
}

/// Deletes what a group committed for topics that none of its members reads.
pub(super) fn delete_offsets(
    context: &Context<'_>,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let group_id = request.group_id;
    context.shared.update(|state| {
        let admitted = match context.refuses_group(state, &group_id) {
            Some(code) => Err(code),
            None => state.coordinator.admit_offset_delete(&group_id),
        };
        if let Err(code) = admitted {
            return OffsetDeleteResponse::default().with_error_code(code.0);
        }
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let index = partition.partition_index;
                let exists = state
                    .topics
                    .get(topic.name.as_str())
                    .is_some_and(|topic| topic.partition(index).is_some());
                let code = if let Some(code) = context.injected.instead(&topic.name, index) {
                    code
                } else if exists {
                    let coordinator = &mut state.coordinator;
                    coordinator.delete_offset(&group_id, &topic.name, index)
                } else {
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                };
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(index)
                    .with_error_code(code.0)
            });
            let partitions = partitions.collect();
            OffsetDeleteResponseTopic::default()
                .with_name(topic.name)
                .with_partitions(partitions)
        });
        OffsetDeleteResponse::default().with_topics(topics.collect())
    })
}
