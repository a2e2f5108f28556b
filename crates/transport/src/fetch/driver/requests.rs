//! What is asked of brokers: who leads a partition, which offset a position is, records.

use std::{sync::Arc, time::Duration};

use super::{Asked, Driver, Happened, Led};
use crate::{
    broker::{Broker, Purpose},
    cluster::{Client, Generation},
    config::Address,
    consumer::Position,
    error::{ErrorCode, ErrorKind, Operation, Target, TransportError},
    fetch::state::Incarnation,
    record::TopicPartition,
    wire::{
        FetchPartition, FetchRequest, FetchTopic, ListOffsetsPartition, ListOffsetsRequest,
        OffsetSpec,
    },
};

impl Driver {
    pub(super) fn find_leader(&mut self, partition: TopicPartition) {
        let misled_by = self.routes.ask(&partition);
        let client = self.client.clone();
        self.happenings.push(Box::pin(async move {
            let found = find_leader(&client, &partition, misled_by).await;
            let by = client.generation();
            Happened::Routed {
                partition,
                found,
                by,
            }
        }));
    }

    fn broker(&mut self, address: &Address) -> Broker {
        let config = self.client.config();
        self.brokers
            .entry(address.clone())
            .or_insert_with(|| Broker::new(address.clone(), Purpose::Fetch, Arc::clone(config)))
            .clone()
    }

    pub(super) fn resolve(
        &mut self,
        partition: TopicPartition,
        incarnation: Incarnation,
        position: Position,
        led: &Led,
        by: Generation,
    ) {
        let spec = match position {
            Position::Latest => OffsetSpec::Latest,
            Position::Earliest | Position::Offset(_) => OffsetSpec::Earliest,
        };
        let asked = ListOffsetsPartition {
            partition: partition.partition,
            current_leader_epoch: led.epoch,
            spec,
        };
        let request = ListOffsetsRequest {
            isolation: self.config.isolation,
            topics: vec![(partition.topic.to_string(), vec![asked])],
        };
        let pending = self
            .broker(&led.address)
            .submit(request, self.client.request_deadline());
        let target =
            Target::broker(&led.address).partition(partition.topic.clone(), partition.partition);
        self.happenings.push(Box::pin(async move {
            let offset = pending
                .await
                .map_err(|error| error.about(target.clone()))
                .and_then(|topics| {
                    let mut listed = topics.into_iter().flat_map(|(_, partitions)| partitions);
                    let listed = listed.find(|listed| listed.partition == partition.partition);
                    let error =
                        |kind| TransportError::new(Operation::ListOffsets, target.clone(), kind);
                    let malformed = || {
                        error(ErrorKind::Malformed {
                            reason: "the answer leaves the partition out".into(),
                        })
                    };
                    let listed = listed.ok_or_else(malformed)?;
                    match ErrorCode::from_code(listed.error_code) {
                        Some(code) => Err(error(ErrorKind::Code {
                            code,
                            message: None,
                        })),
                        None if listed.offset < 0 => Err(malformed()),
                        None => Ok(listed.offset),
                    }
                });
            Happened::Resolved {
                partition,
                incarnation,
                by,
                offset,
            }
        }));
    }

    pub(super) fn fetch(&mut self, address: Address, mut asked: Vec<Asked>) {
        // The broker fills its answer from the front: everybody gets to stand there.
        let len = asked.len();
        let turn = self.turns.entry(address.clone()).or_default();
        *turn = turn.wrapping_add(1);
        asked.rotate_left(turn.checked_rem(len).unwrap_or(0));
        let mut topics: Vec<FetchTopic> = Vec::new();
        for one in &asked {
            let partition = &one.partition;
            let wanted = FetchPartition {
                partition: partition.partition,
                // A broker that leads in another epoch refuses, rather than give what may not be in the log (KIP-320).
                current_leader_epoch: one.leader_epoch,
                fetch_offset: one.offset,
                max_bytes: self.config.partition_max_bytes,
            };
            match topics
                .iter_mut()
                .find(|topic| *topic.name == *partition.topic)
            {
                Some(topic) => topic.partitions.push(wanted),
                None => topics.push(FetchTopic {
                    name: partition.topic.to_string(),
                    id: [0; 16],
                    partitions: vec![wanted],
                }),
            }
        }
        let request = FetchRequest {
            max_wait_ms: millis(self.config.max_wait),
            min_bytes: 1,
            max_bytes: self.config.max_bytes,
            isolation: self.config.isolation,
            topics,
            rack_id: String::new(),
        };
        let deadline = self.client.request_deadline() + self.config.max_wait;
        let pending = self.broker(&address).submit(request, deadline);
        self.busy.insert(address.clone());
        self.happenings.push(Box::pin(async move {
            let answer = pending.await.and_then(|response| {
                match ErrorCode::from_code(response.error_code) {
                    Some(code) => Err(TransportError::code(
                        Operation::Fetch,
                        Target::broker(&address),
                        code,
                    )),
                    None => Ok(response
                        .topics
                        .into_iter()
                        .flat_map(|topic| {
                            let name: Arc<str> = topic.name.into();
                            topic.partitions.into_iter().map(move |answer| {
                                (
                                    TopicPartition::new(Arc::clone(&name), answer.partition),
                                    answer,
                                )
                            })
                        })
                        .collect()),
                }
            });
            Happened::Fetched {
                address,
                asked,
                answer,
            }
        }));
    }
}

async fn find_leader(
    client: &Client,
    partition: &TopicPartition,
    misled_by: Option<Generation>,
) -> Result<Led, TransportError> {
    if let Some(misled_by) = misled_by {
        client.refresh(misled_by).await?;
    }
    let leader = client.leader(&partition.topic, partition.partition).await?;
    let broker = client.broker(leader.broker_id, Purpose::Control)?;
    Ok(Led {
        address: broker.address().clone(),
        epoch: leader.epoch,
    })
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
