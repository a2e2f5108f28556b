//! Whose clock stamps a topic's records: without that an append time in an answer means nothing.
//!
//! Asked of the topic's configuration (`message.timestamp.type`), and only when an answer carries a time: a topic with
//! the producers' timestamps answers an append with none, so most topics are never asked about. Without the right to
//! read the configuration (`DescribeConfigs`) what the topic has answered before decides; a topic that has always
//! answered with a time is taken at its word.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use crate::{
    cluster::Client,
    error::{Class, ErrorCode, Operation, Target, TransportError},
    producer::queue::AppendTime,
    record::TimestampType,
    wire::{ConfigResource, DescribeConfigsRequest, DescribedResource, ProducedPartition},
};

const SETTING: &str = "message.timestamp.type";

/// What is known of the topics written to.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    topics: HashMap<String, TimestampType>,
    /// Topics that need no question: the broker's time is known to be theirs, or we may not ask.
    settled: Arc<HashSet<String>>,
}

/// An answer to the question.
pub(super) type Told = (String, Result<TimestampType, TransportError>);

/// The topics not to be asked about, at the time of a request.
pub(super) struct Unasked(Arc<HashSet<String>>);

impl Clocks {
    pub(super) fn unasked(&self) -> Unasked {
        Unasked(Arc::clone(&self.settled))
    }

    pub(super) fn told(&mut self, told: Vec<Told>) {
        for (topic, answer) in told {
            let settled = match &answer {
                Ok(clock) => *clock == TimestampType::LogAppendTime,
                Err(error) => error.class() == Class::Fatal,
            };
            if let Err(error) = &answer {
                tracing::debug!(topic, %error, "whose clock stamps the records is not told");
            }
            if settled {
                Arc::make_mut(&mut self.settled).insert(topic.clone());
            }
            if let Ok(clock) = answer {
                self.topics.insert(topic, clock);
            }
        }
    }

    /// What the append time of a successful answer means.
    pub(super) fn understand(&mut self, topic: &str, append_time_ms: Option<i64>) -> AppendTime {
        match append_time_ms {
            None => {
                if self.topics.get(topic) != Some(&TimestampType::CreateTime) {
                    let before = self
                        .topics
                        .insert(topic.to_owned(), TimestampType::CreateTime);
                    // It was changed, and may be changed back.
                    if before.is_some() {
                        Arc::make_mut(&mut self.settled).remove(topic);
                    }
                }
                AppendTime::Unset
            }
            Some(time_ms) => match self.topics.get(topic) {
                Some(TimestampType::CreateTime) => AppendTime::EarlierBatch(time_ms),
                Some(TimestampType::LogAppendTime) | None => AppendTime::Broker(time_ms),
            },
        }
    }
}

impl Unasked {
    /// Asks about each topic that was appended to with a time, and is not settled.
    pub(super) async fn ask_about(
        &self,
        client: &Client,
        answers: &[(String, Vec<ProducedPartition>)],
    ) -> Vec<Told> {
        let has_time =
            |answer: &ProducedPartition| answer.error_code == 0 && answer.log_append_time_ms >= 0;
        let topics: BTreeSet<&String> = answers
            .iter()
            .filter(|(topic, partitions)| {
                !self.0.contains(topic) && partitions.iter().any(has_time)
            })
            .map(|(topic, _)| topic)
            .collect();
        if topics.is_empty() {
            return Vec::new();
        }
        let resources = topics.iter().map(|topic| ConfigResource {
            topic: (*topic).clone(),
            names: Some(vec![SETTING.to_owned()]),
        });
        let request = DescribeConfigsRequest {
            resources: resources.collect(),
        };
        match client.ask_any(request).await {
            Ok(described) => described
                .into_iter()
                .filter(|resource| topics.contains(&resource.topic))
                .filter_map(clock_of)
                .collect(),
            Err(error) => topics
                .into_iter()
                .map(|topic| (topic.clone(), Err(error.clone())))
                .collect(),
        }
    }
}

fn clock_of(described: DescribedResource) -> Option<Told> {
    let topic = described.topic;
    if let Some(code) = ErrorCode::from_code(described.error_code) {
        let target = Target::default().topic(topic.as_str());
        let error = TransportError::code(Operation::DescribeConfigs, target, code);
        return Some((topic, Err(error)));
    }
    let (_, value) = described
        .configs
        .into_iter()
        .find(|(name, _)| name == SETTING)?;
    match value.as_deref() {
        Some("CreateTime") => Some((topic, Ok(TimestampType::CreateTime))),
        Some("LogAppendTime") => Some((topic, Ok(TimestampType::LogAppendTime))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Result<TimestampType, TransportError> {
        Err(TransportError::code(
            Operation::DescribeConfigs,
            Target::default(),
            ErrorCode::TopicAuthorizationFailed,
        ))
    }

    #[test]
    fn a_time_on_a_topic_with_the_producers_timestamps_is_that_of_an_earlier_batch() {
        let mut clocks = Clocks::default();
        clocks.told(vec![("t".to_owned(), Ok(TimestampType::CreateTime))]);
        assert_eq!(clocks.understand("t", Some(7)), AppendTime::EarlierBatch(7));
    }

    #[test]
    fn a_topic_with_the_brokers_timestamps_is_asked_about_once() {
        let mut clocks = Clocks::default();
        clocks.told(vec![("t".to_owned(), Ok(TimestampType::LogAppendTime))]);
        assert_eq!(clocks.understand("t", Some(7)), AppendTime::Broker(7));
        assert!(clocks.unasked().0.contains("t"));
    }

    #[test]
    fn a_topic_whose_configuration_may_not_be_read_is_judged_by_what_it_answered_before() {
        let mut clocks = Clocks::default();
        clocks.told(vec![("t".to_owned(), refused())]);
        assert_eq!(clocks.understand("t", Some(7)), AppendTime::Broker(7));
        assert_eq!(clocks.understand("t", None), AppendTime::Unset);
        assert_eq!(clocks.understand("t", Some(7)), AppendTime::EarlierBatch(7));
        assert!(clocks.unasked().0.contains("t"));
    }
}
