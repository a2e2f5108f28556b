//! Which topics and partitions a request names, for faults that ask.

use kafka_protocol::messages::TopicName;
use uuid::Uuid;

use super::configs::TOPIC;
use crate::broker::State;
use crate::fault::Target;
use crate::wire::Body;

pub(crate) fn targets(state: &State, broker: i32, body: &Body) -> Vec<Target> {
    match body {
        Body::Produce(body) => body
            .topic_data
            .iter()
            .flat_map(|topic| {
                let partitions = topic.partition_data.iter().map(|p| p.index);
                places(state, &topic.name, topic.topic_id, partitions)
            })
            .collect(),
        Body::Fetch(body) => state
            .fetch_sessions
            .covered(broker, body)
            .iter()
            .flat_map(|topic| {
                let partitions = topic.partitions.iter().map(|p| p.partition);
                places(state, &topic.topic, topic.topic_id, partitions)
            })
            .collect(),
        Body::ListOffsets(body) => body
            .topics
            .iter()
            .flat_map(|topic| {
                let partitions = topic.partitions.iter().map(|p| p.partition_index);
                places(state, &topic.name, Uuid::nil(), partitions)
            })
            .collect(),
        Body::OffsetDelete(body) => body
            .topics
            .iter()
            .flat_map(|topic| {
                let partitions = topic.partitions.iter().map(|p| p.partition_index);
                places(state, &topic.name, Uuid::nil(), partitions)
            })
            .collect(),
        Body::OffsetForLeaderEpoch(body) => body
            .topics
            .iter()
            .flat_map(|topic| {
                let partitions = topic.partitions.iter().map(|p| p.partition);
                places(state, &topic.topic, Uuid::nil(), partitions)
            })
            .collect(),
        Body::OffsetCommit(body) => body
            .topics
            .iter()
            .flat_map(|topic| {
                let partitions = topic.partitions.iter().map(|p| p.partition_index);
                places(state, &topic.name, Uuid::nil(), partitions)
            })
            .collect(),
        Body::Metadata(body) if body.topics.is_none() => {
            state.topics.keys().cloned().map(whole).collect()
        }
        Body::Metadata(body) => body
            .topics
            .iter()
            .flatten()
            .filter_map(|topic| {
                let name = topic.name.as_ref().map_or("", |name| name.as_str());
                state.topic_name(name, topic.topic_id)
            })
            .map(whole)
            .collect(),
        Body::CreateTopics(body) => {
            let names = body.topics.iter().map(|topic| topic.name.to_string());
            names.map(whole).collect()
        }
        Body::DeleteTopics(body) => {
            let by_state = body.topics.iter().filter_map(|topic| topic.name.as_ref());
            let names = body.topic_names.iter().chain(by_state);
            names.map(|name| whole(name.to_string())).collect()
        }
        Body::CreatePartitions(body) => {
            let names = body.topics.iter().map(|topic| topic.name.to_string());
            names.map(whole).collect()
        }
        Body::DeleteRecords(body) => body
            .topics
            .iter()
            .flat_map(|topic| {
                let partitions = topic.partitions.iter().map(|p| p.partition_index);
                places(state, &topic.name, Uuid::nil(), partitions)
            })
            .collect(),
        Body::DescribeConfigs(body) => body
            .resources
            .iter()
            .filter(|resource| resource.resource_type == TOPIC)
            .map(|resource| whole(resource.resource_name.to_string()))
            .collect(),
        Body::AlterConfigs(body) => body
            .resources
            .iter()
            .filter(|resource| resource.resource_type == TOPIC)
            .map(|resource| whole(resource.resource_name.to_string()))
            .collect(),
        Body::IncrementalAlterConfigs(body) => body
            .resources
            .iter()
            .filter(|resource| resource.resource_type == TOPIC)
            .map(|resource| whole(resource.resource_name.to_string()))
            .collect(),
        _ => Vec::new(),
    }
}

fn whole(topic: String) -> Target {
    Target {
        topic,
        partition: None,
    }
}

fn places(
    state: &State,
    name: &TopicName,
    id: Uuid,
    partitions: impl Iterator<Item = i32>,
) -> Vec<Target> {
    let Some(topic) = state.topic_name(name, id) else {
        return Vec::new();
    };
    partitions
        .map(|partition| Target {
            topic: topic.clone(),
            partition: Some(partition),
        })
        .collect()
}
