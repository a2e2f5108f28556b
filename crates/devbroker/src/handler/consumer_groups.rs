//! Groups that their coordinator divides (KIP-848): ConsumerGroupHeartbeat and ConsumerGroupDescribe.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::messages::consumer_group_describe_response::{
    self as described, DescribedGroup,
};
use kafka_protocol::messages::consumer_group_heartbeat_response as beaten;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, TopicName,
};
use uuid::Uuid;

use super::{Context, optional_string, text};
use crate::broker::State;
use crate::error_code::ErrorCode;
use crate::group::{Assignor, Beat, Beaten, ConsumerGroup, Place, Topics};

/// An error and what there is to say about it.
type Refusal = (ErrorCode, &'static str);

pub(super) fn heartbeat(
    context: &Context<'_>,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let now = context.shared.now().instant;
    let group_id = request.group_id.to_string();
    let outcome = context.shared.update(|state| {
        if let Some(code) = context.refuses_group(state, &group_id) {
            return Err((code, ""));
        }
        let beat = understand(context, request)?;
        let topics = topics(state);
        let beaten = state.coordinator.beat(now, &group_id, &topics, beat);
        beaten.map_err(|code| (code, ""))
    });
    match outcome {
        Ok(beaten) => {
            let told = context.injected.tell_of_all(ErrorCode::NONE);
            response(beaten).with_error_code(told.0)
        }
        Err((code, message)) => ConsumerGroupHeartbeatResponse::default()
            .with_error_code(code.0)
            .with_error_message(Some(message).filter(|text| !text.is_empty()).map(text)),
    }
}

/// The rules of Kafka's `throwIfConsumerGroupHeartbeatRequestIsInvalid`.
fn understand(
    context: &Context<'_>,
    request: ConsumerGroupHeartbeatRequest,
) -> Result<Beat, Refusal> {
    let invalid = |message| Err((ErrorCode::INVALID_REQUEST, message));
    let is_empty = |text: &Option<_>| text.as_ref().is_some_and(String::is_empty);
    let instance_id = optional_string(request.instance_id);
    if request.group_id.is_empty() || request.member_id.is_empty() || is_empty(&instance_id) {
        return invalid("group id, member id and instance id can't be empty");
    }
    if request
        .subscribed_topic_regex
        .is_some_and(|pattern| !pattern.is_empty())
    {
        let message = "this broker matches no patterns with the names of topics";
        return Err((ErrorCode::INVALID_REGULAR_EXPRESSION, message));
    }
    let rebalance_timeout = u64::try_from(request.rebalance_timeout_ms).ok();
    let names = request.subscribed_topic_names.map(|names| {
        let names = names.iter().map(|name| name.to_string());
        names.collect::<BTreeSet<_>>()
    });
    let owned = request.topic_partitions.map(|topics| {
        let topics = topics.into_iter();
        let places = topics.flat_map(|topic| {
            let partitions = topic.partitions.into_iter();
            partitions.map(move |partition| (topic.topic_id, partition))
        });
        places.collect::<BTreeSet<Place>>()
    });
    match request.member_epoch {
        0 if rebalance_timeout.is_none() => {
            return invalid("the rebalance timeout must be given in the first request");
        }
        0 if owned.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            return invalid("who joins owns nothing, and says so");
        }
        0 if names.as_ref().is_none_or(BTreeSet::is_empty) => {
            return invalid("topics must be named in the first request");
        }
        -2 if instance_id.is_none() => {
            return invalid("only static members leave to come back");
        }
        ..=-3 => return invalid("no such member epoch"),
        _ => {}
    }
    let assignor = match &request.server_assignor {
        None => None,
        Some(name) => match Assignor::named(name) {
            None => return Err((ErrorCode::UNSUPPORTED_ASSIGNOR, "uniform and range are")),
            known => known,
        },
    };
    Ok(Beat {
        member_id: request.member_id.to_string(),
        epoch: request.member_epoch,
        instance_id,
        rack: request.rack_id.as_ref().map(ToString::to_string),
        client_id: context.client_id.clone(),
        client_host: format!("/{}", context.came_in.peer.ip()),
        rebalance_timeout: rebalance_timeout.map(Duration::from_millis),
        names,
        assignor,
        owned,
    })
}

fn topics(state: &State) -> Topics {
    let topics = state.topics.iter().map(|(name, topic)| {
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        (name.clone(), (topic.id, count))
    });
    topics.collect()
}

fn response(answer: Beaten) -> ConsumerGroupHeartbeatResponse {
    let assignment = answer.assignment.map(|places| {
        let topics = by_topic(&places).into_iter().map(|(id, partitions)| {
            beaten::TopicPartitions::default()
                .with_topic_id(id)
                .with_partitions(partitions)
        });
        beaten::Assignment::default().with_topic_partitions(topics.collect())
    });
    ConsumerGroupHeartbeatResponse::default()
        .with_member_id(Some(text(answer.member_id)))
        .with_member_epoch(answer.epoch)
        .with_heartbeat_interval_ms(i32::try_from(answer.interval.as_millis()).unwrap_or(i32::MAX))
        .with_assignment(assignment)
}

fn by_topic(places: &BTreeSet<Place>) -> BTreeMap<Uuid, Vec<i32>> {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in places {
        topics.entry(*topic).or_default().push(*partition);
    }
    topics
}

pub(super) fn describe(
    context: &Context<'_>,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let groups = context.shared.read(|state| {
        let groups = request.group_ids.into_iter().map(|id| {
            let answer = DescribedGroup::default().with_group_id(id.clone());
            if let Some(code) = context.refuses_group(state, &id) {
                return answer.with_error_code(code.0);
            }
            let group = state.coordinator.group(&id);
            match group.and_then(|group| group.divided_here()) {
                Some(group) => fill(context, state, answer, group),
                None => answer.with_error_code(ErrorCode::GROUP_ID_NOT_FOUND.0),
            }
        });
        groups.collect()
    });
    ConsumerGroupDescribeResponse::default().with_groups(groups)
}

fn fill(
    context: &Context<'_>,
    state: &State,
    answer: DescribedGroup,
    group: &ConsumerGroup,
) -> DescribedGroup {
    let assignment = |places: &BTreeSet<Place>| {
        let topics = by_topic(places).into_iter().map(|(id, partitions)| {
            let name = state.topic_by_id(id).map(|(name, _)| name.clone());
            described::TopicPartitions::default()
                .with_topic_id(id)
                .with_topic_name(TopicName(text(name.unwrap_or_default())))
                .with_partitions(partitions)
        });
        described::Assignment::default().with_topic_partitions(topics.collect())
    };
    const OF_THIS_PROTOCOL: i8 = 1;
    let members = group.members().map(|(id, member)| {
        let names = member.names.iter();
        let names = names.map(|name| TopicName(text(name.clone())));
        let described = described::Member::default()
            .with_member_id(text(id.clone()))
            .with_instance_id(member.instance_id.clone().map(text))
            .with_rack_id(member.rack.clone().map(text))
            .with_member_epoch(member.epoch)
            .with_client_id(text(member.client_id.clone()))
            .with_client_host(text(member.client_host.clone()))
            .with_subscribed_topic_names(names.collect())
            .with_assignment(assignment(&member.assigned))
            .with_target_assignment(assignment(&group.target(id)));
        match context.version {
            1.. => described.with_member_type(OF_THIS_PROTOCOL),
            _ => described,
        }
    });
    answer
        .with_group_state(text(group.state().as_str()))
        .with_group_epoch(group.epoch())
        .with_assignment_epoch(group.epoch())
        .with_assignor_name(text(group.assignor().name()))
        .with_members(members.collect())
}
