//! Making, deleting and describing topics; `changing` grows, changes and empties them, `groups` looks after groups.

mod changing;
mod groups;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::Purpose;
use crate::cluster::{Client, TopicMetadata};
use crate::consumer::{Committed, StartPolicy};
use crate::error::{ErrorCode, ErrorKind, Operation, Target, TransportError};
use crate::group::offsets;
use crate::record::{TimestampType, TopicPartition};
use crate::wire::{
    ConfigResource, CreateTopic, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    MetadataRequest, Request,
};

pub use changing::{ConfigChange, DeleteUpTo};
pub use groups::{GroupDescription, GroupListing, GroupMember, GroupState};

/// A topic to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    name: String,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
    configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic with the cluster's default for everything else.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions: None,
            replication_factor: None,
            configs: BTreeMap::new(),
        }
    }

    /// How many partitions, 1 or more.
    pub fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// On how many brokers each partition is kept, 1 or more.
    pub fn replication_factor(mut self, factor: i16) -> Self {
        self.replication_factor = Some(factor);
        self
    }

    /// A configuration of the topic, such as `message.timestamp.type`.
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.insert(name.into(), value.into());
        self
    }
}

/// A topic with its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Partitions, leaders, topic id.
    pub metadata: TopicMetadata,
    /// All configurations by name; no value for those the broker keeps secret.
    pub configs: BTreeMap<String, Option<String>>,
}

impl TopicDescription {
    /// What sets a record's timestamp; `None` if the broker does not say.
    pub fn timestamp_type(&self) -> Option<TimestampType> {
        match self.configs.get("message.timestamp.type")?.as_deref()? {
            "CreateTime" => Some(TimestampType::CreateTime),
            "LogAppendTime" => Some(TimestampType::LogAppendTime),
            _ => None,
        }
    }
}

/// Makes, grows, changes, empties, deletes and describes topics; lists, describes, moves and deletes groups.
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
}

impl Admin {
    /// Administration through this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Makes a topic and waits until every partition of it has a leader.
    ///
    /// # Errors
    /// [`ErrorCode::TopicAlreadyExists`], [`ErrorCode::InvalidReplicationFactor`] and others of the broker;
    /// a retriable error if the topic was made but has no leaders by the request deadline.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<TopicMetadata, TransportError> {
        let deadline = self.client.request_deadline();
        let name = topic.name.clone();
        let target = || Target::default().topic(name.as_str());
        let request = CreateTopicsRequest {
            topics: vec![CreateTopic {
                name: name.clone(),
                partitions: topic.partitions.unwrap_or(-1),
                replication_factor: topic.replication_factor.unwrap_or(-1),
                configs: topic.configs.into_iter().collect(),
            }],
            timeout_ms: remaining_ms(deadline),
        };
        let created = self
            .at_controller(request, deadline, |created| {
                created.first().map(|topic| topic.error_code)
            })
            .await
            .map_err(|error| error.about(target()))?;
        let created = only(Operation::CreateTopics, target(), created)?;
        answered(
            Operation::CreateTopics,
            target(),
            created.error_code,
            created.error_message,
        )?;
        let found = self.client.await_topic(&name, deadline).await?;
        Ok(TopicMetadata::clone(&found))
    }

    /// Deletes a topic and all that is in it.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopicOrPartition`], [`ErrorCode::TopicAuthorizationFailed`] and others of the
    /// broker.
    pub async fn delete_topic(&self, name: &str) -> Result<(), TransportError> {
        let deadline = self.client.request_deadline();
        let target = || Target::default().topic(name);
        let request = DeleteTopicsRequest {
            topics: vec![name.to_owned()],
            timeout_ms: remaining_ms(deadline),
        };
        let deleted = self
            .at_controller(request, deadline, |deleted| {
                deleted.first().map(|topic| topic.error_code)
            })
            .await
            .map_err(|error| error.about(target()))?;
        let deleted = only(Operation::DeleteTopics, target(), deleted)?;
        answered(
            Operation::DeleteTopics,
            target(),
            deleted.error_code,
            deleted.error_message,
        )
    }

    /// Partitions, leaders, topic id and all configurations of a topic.
    ///
    /// # Errors
    /// As [`Client::topic`], and [`ErrorCode::TopicAuthorizationFailed`] if this client may not read the
    /// topic's configuration.
    pub async fn describe_topic(&self, name: &str) -> Result<TopicDescription, TransportError> {
        let metadata = self.client.refresh_topic(name).await?;
        let target = || Target::default().topic(name);
        let described = self
            .client
            .ask_any(DescribeConfigsRequest {
                resources: vec![ConfigResource {
                    topic: name.to_owned(),
                    names: None,
                }],
            })
            .await
            .map_err(|error| error.about(target()))?;
        let described = only(Operation::DescribeConfigs, target(), described)?;
        answered(
            Operation::DescribeConfigs,
            target(),
            described.error_code,
            described.error_message,
        )?;
        Ok(TopicDescription {
            metadata: TopicMetadata::clone(&metadata),
            configs: described.configs.into_iter().collect(),
        })
    }

    /// The names of the topics this client may know of, sorted; not those that are internal to Kafka.
    ///
    /// # Errors
    /// If no broker answers.
    pub async fn list_topics(&self) -> Result<Vec<String>, TransportError> {
        let response = self
            .client
            .ask_any(MetadataRequest { topics: None })
            .await?;
        let mut names: Vec<_> = response
            .topics
            .into_iter()
            .filter(|topic| !topic.is_internal)
            .filter_map(|topic| topic.name)
            .filter(|name| is_topic_name(name))
            .collect();
        names.sort();
        Ok(names)
    }

    /// What a group has committed for each of these partitions, in their order; `None` where it has not.
    ///
    /// # Errors
    /// [`ErrorCode::GroupAuthorizationFailed`], [`ErrorCode::CoordinatorLoadInProgress`] and others of the
    /// coordinator.
    pub async fn committed(
        &self,
        group: &str,
        partitions: Vec<TopicPartition>,
    ) -> Result<Vec<(TopicPartition, Option<Committed>)>, TransportError> {
        let deadline = self.client.request_deadline();
        let group: Arc<str> = group.into();
        let coordinator = self.client.find_coordinator(&group).await?;
        // By name: of whichever topic has it now.
        let partitions: Vec<_> = partitions.into_iter().map(|one| (one, None)).collect();
        let request = offsets::fetch_request(&group, &partitions, None);
        let broker = self.client.broker(coordinator, Purpose::Coordinator)?;
        let answer = offsets::fetch(&broker, request, deadline).await?;
        let fetched = offsets::fetch_outcome(&group, partitions, StartPolicy::None, answer)?;
        Ok(fetched
            .into_iter()
            .map(|one| (one.partition, one.committed))
            .collect())
    }

    /// Asks the controller; once more if it has just moved, which is certain to have done nothing.
    async fn at_controller<R: Request + Clone>(
        &self,
        request: R,
        deadline: Instant,
        error_code: impl Fn(&R::Response) -> Option<i16>,
    ) -> Result<R::Response, TransportError> {
        let mut asked = 0;
        loop {
            let generation = self.client.generation();
            let controller = self.client.controller().ok_or_else(|| {
                let kind = ErrorKind::Unreachable {
                    reason: "no broker is known".into(),
                };
                TransportError::new(R::API.operation(), Target::default(), kind)
            })?;
            let response = controller.request(request.clone(), deadline).await?;
            let moved = error_code(&response) == Some(ErrorCode::NotController.code());
            if !moved || asked >= 2 {
                return Ok(response);
            }
            asked += 1;
            self.client.refresh(generation).await?;
        }
    }
}

/// What Kafka accepts as a topic's name; a broker that tells others is not to be repeated.
fn is_topic_name(name: &str) -> bool {
    let is_topic_character = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=249).contains(&name.len()) && name.chars().all(is_topic_character)
}

fn only<T>(operation: Operation, target: Target, answers: Vec<T>) -> Result<T, TransportError> {
    let count = answers.len();
    answers
        .into_iter()
        .next()
        .filter(|_| count == 1)
        .ok_or_else(|| {
            let reason = format!("{count} answers to one question").into();
            TransportError::new(operation, target, ErrorKind::Malformed { reason })
        })
}

fn answered(
    operation: Operation,
    target: Target,
    code: i16,
    message: Option<String>,
) -> Result<(), TransportError> {
    match ErrorCode::from_code(code) {
        None => Ok(()),
        Some(code) => {
            let kind = ErrorKind::told_by_broker(code, message);
            Err(TransportError::new(operation, target, kind))
        }
    }
}

/// What the broker may take, a little less than we wait.
fn remaining_ms(deadline: Instant) -> i32 {
    let left = deadline.saturating_duration_since(Instant::now());
    let less = left.saturating_sub(Duration::from_secs(1)).max(left / 2);
    i32::try_from(less.as_millis()).unwrap_or(i32::MAX)
}
