//! What is asked of brokers: who leads a partition, which offset a position is, records.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;

use super::{Asked, Driver, Happened, Led};
use crate::{
    broker::{Broker, Pending, Purpose},
    cluster::{Client, Generation},
    config::Address,
    consumer::Position,
    error::{ErrorCode, ErrorKind, Operation, Target, TransportError},
    fetch::{
        session::{Held, Step},
        state::{Incarnation, LeaderView},
    },
    record::TopicPartition,
    wire::{
        EpochPartition, FetchByNameRequest, FetchPartition, FetchRequest, FetchTopic,
        ForgottenTopic, ListOffsetsPartition, ListOffsetsRequest, OffsetForLeaderEpochRequest,
        OffsetSpec, Request, TopicId,
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
            current_leader_epoch: led.view.epoch,
            spec,
        };
        let request = ListOffsetsRequest {
            isolation: self.config.isolation,
            topics: vec![(partition.topic.to_string(), vec![asked])],
        };
        let pending = self.ask(led, request);
        let target =
            Target::broker(&led.address).partition(partition.topic.clone(), partition.partition);
        self.happenings.push(Box::pin(async move {
            let offset = async {
                let answer = pending?
                    .await
                    .map_err(|error| error.about(target.clone()))?;
                let error =
                    |kind| TransportError::new(Operation::ListOffsets, target.clone(), kind);
                let mut listed = answer.into_iter().flat_map(|(_, partitions)| partitions);
                let listed = listed.find(|listed| listed.partition == partition.partition);
                let listed = listed
                    .filter(|listed| listed.error_code != 0 || listed.offset >= 0)
                    .ok_or_else(|| error(left_out()))?;
                match ErrorCode::from_code(listed.error_code) {
                    Some(code) => Err(error(ErrorKind::Code {
                        code,
                        message: None,
                    })),
                    None => Ok(listed.offset),
                }
            };
            let offset = offset.await;
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
        let held = |one: &Asked| Held {
            topic_id: one.topic_id,
            partition: FetchPartition {
                partition: one.partition.partition,
                // A broker that leads in another epoch refuses, rather than give what may not be in the log (KIP-320).
                current_leader_epoch: one.leader_epoch,
                fetch_offset: one.offset,
                last_fetched_epoch: one.last_epoch.unwrap_or(-1),
                max_bytes: self.config.partition_max_bytes,
            },
        };
        let wanted = asked.iter().map(|one| (one.partition.clone(), held(one)));
        let wanted = wanted.collect();
        let session = self.sessions.entry(address.clone()).or_default();
        if asked
            .iter()
            .any(|one| !one.knows_its_end && session.holds(&one.partition))
        {
            session.begin_anew();
        }
        let step = session.ask(wanted);
        let by_id = step.by_id;
        // A leader that knows where we are gives nothing to whom it sends on, and that is one for all of a request.
        let may_be_sent_on = asked.iter().all(|one| one.may_be_sent_on);
        let rack_id = self.config.rack.clone().filter(|_| may_be_sent_on);
        let request = self.request(step, rack_id.unwrap_or_default());
        let deadline = self.client.request_deadline() + self.config.max_wait;
        let broker = self.broker(&address);
        let pending = if by_id {
            broker.submit(request, deadline).left_future()
        } else {
            broker
                .submit(FetchByNameRequest(request), deadline)
                .right_future()
        };
        self.busy.insert(address.clone());
        self.happenings.push(Box::pin(async move {
            Happened::Fetched {
                answer: pending.await,
                address,
                asked,
            }
        }));
    }

    fn request(&self, step: Step, rack_id: Arc<str>) -> FetchRequest {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for (name, held) in step.send {
            match topics.iter_mut().find(|topic| *topic.name == *name.topic) {
                Some(topic) => topic.partitions.push(held.partition),
                None => topics.push(FetchTopic {
                    name: name.topic.to_string(),
                    id: held.topic_id.unwrap_or_default(),
                    partitions: vec![held.partition],
                }),
            }
        }
        FetchRequest {
            max_wait_ms: millis(self.config.max_wait),
            min_bytes: 1,
            max_bytes: self.config.max_bytes,
            isolation: self.config.isolation,
            session_id: step.session_id,
            session_epoch: step.epoch,
            topics,
            forgotten: forgotten(step.forget),
            replaced: forgotten(step.replace),
            rack_id,
        }
    }

    /// Asks a leader where the epoch that was read last ends in its log.
    pub(super) fn validate(
        &mut self,
        partition: TopicPartition,
        incarnation: Incarnation,
        epoch: i32,
        led: &Led,
        by: Generation,
    ) {
        let leader_epoch = led.view.epoch;
        let asked = EpochPartition {
            partition: partition.partition,
            current_leader_epoch: leader_epoch,
            leader_epoch: epoch,
        };
        let request = OffsetForLeaderEpochRequest {
            topics: vec![(partition.topic.to_string(), vec![asked])],
        };
        let pending = self.ask(led, request);
        let target =
            Target::broker(&led.address).partition(partition.topic.clone(), partition.partition);
        self.happenings.push(Box::pin(async move {
            let end = async {
                let answer = pending?
                    .await
                    .map_err(|error| error.about(target.clone()))?;
                let error = |kind| {
                    TransportError::new(Operation::OffsetForLeaderEpoch, target.clone(), kind)
                };
                let mut ends = answer.into_iter().flat_map(|(_, partitions)| partitions);
                let found = ends.find(|end| end.partition == partition.partition);
                let found = found.ok_or_else(|| error(left_out()))?;
                match ErrorCode::from_code(found.error_code) {
                    Some(code) => Err(error(ErrorKind::Code {
                        code,
                        message: None,
                    })),
                    None => Ok(found.end),
                }
            };
            Happened::Validated {
                end: end.await,
                partition,
                incarnation,
                by,
                leader_epoch,
            }
        }));
    }

    /// Asks a leader over a connection on which no fetch waits.
    fn ask<R: Request>(&self, led: &Led, request: R) -> Result<Pending<R>, TransportError> {
        let broker = self.client.broker(led.broker_id, Purpose::Control)?;
        Ok(broker.submit(request, self.client.request_deadline()))
    }

    /// Where a replica is that a leader has sent us to.
    pub(super) fn replica(&self, partition: &TopicPartition, id: i32) -> Option<Address> {
        self.client
            .replica_address(&partition.topic, partition.partition, id)
    }
}

/// By topic, or by what went by a topic's name.
fn forgotten(partitions: Vec<(TopicPartition, Option<TopicId>)>) -> Vec<ForgottenTopic> {
    let mut topics: Vec<ForgottenTopic> = Vec::new();
    for (name, id) in partitions {
        let id = id.unwrap_or_default();
        match topics
            .iter_mut()
            .find(|topic| *topic.name == *name.topic && topic.id == id)
        {
            Some(topic) => topic.partitions.push(name.partition),
            None => topics.push(ForgottenTopic {
                name: name.topic.to_string(),
                id,
                partitions: vec![name.partition],
            }),
        }
    }
    topics
}

fn left_out() -> ErrorKind {
    ErrorKind::Malformed {
        reason: "the answer leaves the partition out".into(),
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
    let topic = client.topic(&partition.topic).await?;
    let leader = topic.leader(partition.partition)?;
    let broker = client.broker(leader.broker_id, Purpose::Control)?;
    Ok(Led {
        address: broker.address().clone(),
        broker_id: leader.broker_id,
        view: LeaderView {
            topic_id: topic.id(),
            epoch: leader.epoch,
        },
    })
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
