//! The requests of a producer, and what their answers mean: produce, leaders, producer ids.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use super::{
    Happened, Produced, SHORTEST_REQUEST, Sender, SentBatch, admitted::Admitted, clocks::Clocks,
};
use crate::{
    broker::{Broker, Purpose},
    cluster::{Client, Generation},
    error::{ErrorCode, ErrorKind, Operation, Target, TransportError},
    hooks::{BatchWritten, HooksInUse},
    producer::{
        queue::{Answer, Attempt},
        shared::State,
    },
    record::TopicPartition,
    wire::{
        InitProducerIdRequest, InitProducerIdResponse, ProducePartition, ProduceRequest,
        ProducedPartition,
    },
};

impl Sender {
    pub(super) fn send(
        &mut self,
        now: Instant,
        broker: Broker,
        by: Generation,
        attempts: Vec<(TopicPartition, Attempt)>,
        admitted: Admitted,
    ) {
        let latest = attempts
            .iter()
            .map(|(_, attempt)| attempt.deadline)
            .max()
            .unwrap_or(now);
        let deadline = latest
            .max(now + SHORTEST_REQUEST)
            .min(self.client.request_deadline());
        // The broker is to say that it ran out of time before we stop listening.
        let patience = deadline.saturating_duration_since(now).mul_f32(0.8);
        let mut topics: BTreeMap<String, Vec<ProducePartition>> = BTreeMap::new();
        let mut sent = Vec::with_capacity(attempts.len());
        for (partition, attempt) in attempts {
            sent.push(SentBatch {
                partition: partition.clone(),
                attempt: attempt.id,
                records: attempt.records,
                bytes: attempt.bytes.len(),
            });
            let produce = ProducePartition {
                partition: partition.partition,
                batch: attempt.bytes,
            };
            topics
                .entry(partition.topic.to_string())
                .or_default()
                .push(produce);
        }
        let request = ProduceRequest {
            timeout_ms: i32::try_from(patience.as_millis()).unwrap_or(i32::MAX),
            topics: topics.into_iter().collect(),
        };
        // Submitting is what fixes the order on the connection; waiting comes after.
        let pending = broker.submit(request, deadline);
        let (client, unasked) = (self.client.clone(), self.clocks.unasked());
        self.events.push(Box::pin(async move {
            let answer = pending.await;
            let doubted = match &answer {
                Err(error) if error.is_unreachable() => Some(admitted),
                answer => {
                    admitted.record(answer.as_ref().err());
                    None
                }
            };
            let told = match &answer {
                Ok(topics) => unasked.ask_about(&client, topics).await,
                Err(_) => Vec::new(),
            };
            Happened::Produced {
                sent,
                by,
                broker,
                answer,
                told,
                doubted,
            }
        }));
    }

    /// What the answer to a request says of each batch in it.
    pub(super) fn understand(
        &mut self,
        sent: Vec<SentBatch>,
        broker: &Broker,
        answer: Produced,
    ) -> Vec<(SentBatch, Answer)> {
        let mut answers: HashMap<(String, i32), ProducedPartition> = HashMap::new();
        let failure = match answer {
            Ok(topics) => {
                for (topic, partitions) in topics {
                    answers.extend(
                        partitions
                            .into_iter()
                            .map(|answer| ((topic.clone(), answer.partition), answer)),
                    );
                }
                None
            }
            Err(error) => Some(error),
        };
        let understand = |batch: SentBatch| {
            let SentBatch { partition, .. } = &batch;
            let target = Target::broker(broker.address())
                .partition(partition.topic.clone(), partition.partition);
            let answer = match (
                &failure,
                answers.remove(&(partition.topic.to_string(), partition.partition)),
            ) {
                (Some(error), _) => Answer::Failed(error.about(target)),
                (None, Some(answer)) => {
                    understand(answer, target, &mut self.clocks, &partition.topic)
                }
                (None, None) => {
                    let kind = ErrorKind::Malformed {
                        reason: "the answer leaves a partition out".into(),
                    };
                    Answer::Failed(TransportError::new(Operation::Produce, target, kind))
                }
            };
            (batch, answer)
        };
        sent.into_iter().map(understand).collect()
    }

    pub(super) fn produced(
        &mut self,
        now: Instant,
        state: &mut State,
        by: Generation,
        answers: Vec<(SentBatch, Answer)>,
    ) {
        for (batch, answer) in answers {
            if points_elsewhere(&answer) {
                self.routes.misled(&batch.partition, by);
            }
            if let Some(queue) = state.queues.get_mut(&batch.partition) {
                queue.answered(now, batch.attempt, answer);
            }
        }
    }
}

/// Tells what came of each batch.
pub(super) fn tell(hooks: &HooksInUse, answers: &[(SentBatch, Answer)]) {
    for (batch, answer) in answers {
        hooks.tell(|hooks| {
            hooks.batch_written(&BatchWritten {
                partition: &batch.partition,
                records: batch.records,
                bytes: batch.bytes,
                outcome: match answer {
                    Answer::Written { .. } => Ok(()),
                    Answer::Refused { error, .. } | Answer::Failed(error) => Err(error),
                },
            });
        });
    }
}

fn understand(
    answer: ProducedPartition,
    target: Target,
    clocks: &mut Clocks,
    topic: &str,
) -> Answer {
    let known = |number: i64| (number >= 0).then_some(number);
    match ErrorCode::from_code(answer.error_code) {
        None | Some(ErrorCode::DuplicateSequenceNumber) => Answer::Written {
            base_offset: known(answer.base_offset),
            append_time: clocks.understand(topic, known(answer.log_append_time_ms)),
        },
        Some(code) => {
            let named = answer
                .record_errors
                .iter()
                .filter_map(|(index, _)| usize::try_from(*index).ok());
            Answer::Refused {
                code,
                records: named.collect(),
                appended_at: known(answer.base_offset),
                error: TransportError::new(
                    Operation::Produce,
                    target,
                    ErrorKind::told_by_broker(code, answer.error_message),
                ),
            }
        }
    }
}

/// Whether the answer says that another broker may be the right one.
fn points_elsewhere(answer: &Answer) -> bool {
    match answer {
        Answer::Written { .. } => false,
        Answer::Failed(_) => true,
        Answer::Refused { code, .. } => matches!(
            code,
            ErrorCode::UnknownTopicOrPartition
                | ErrorCode::LeaderNotAvailable
                | ErrorCode::NotLeaderOrFollower
                | ErrorCode::ReplicaNotAvailable
                | ErrorCode::KafkaStorageError
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::UnknownLeaderEpoch
                | ErrorCode::UnknownTopicId
        ),
    }
}

pub(super) async fn ask_for_producer_id(client: &Client) -> Result<i64, TransportError> {
    producer_id_of(client.ask_any(InitProducerIdRequest).await?)
}

fn producer_id_of(answer: InitProducerIdResponse) -> Result<i64, TransportError> {
    match ErrorCode::from_code(answer.error_code) {
        // A negative id would mean none, and with it no protection from duplicates.
        None if answer.producer_id < 0 => Err(TransportError::new(
            Operation::InitProducerId,
            Target::default(),
            ErrorKind::Malformed {
                reason: "a producer id is negative".into(),
            },
        )),
        None => Ok(answer.producer_id),
        Some(code) => Err(TransportError::code(
            Operation::InitProducerId,
            Target::default(),
            code,
        )),
    }
}

pub(super) async fn find_leader(
    client: &Client,
    partition: &TopicPartition,
    misled_by: Option<Generation>,
) -> Result<Broker, TransportError> {
    if let Some(misled_by) = misled_by {
        client.refresh(misled_by).await?;
    }
    let (_, broker) = client
        .leader_broker(&partition.topic, partition.partition, Purpose::Produce)
        .await?;
    Ok(broker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

    #[test]
    fn a_producer_id_that_would_mean_none_is_not_taken() {
        let answer = |producer_id| InitProducerIdResponse {
            error_code: 0,
            producer_id,
            producer_epoch: 0,
        };
        assert_eq!(producer_id_of(answer(0)), Ok(0));
        let refused = producer_id_of(answer(-1)).unwrap_err();
        assert_ne!(refused.class(), Class::Fatal);
    }
}
