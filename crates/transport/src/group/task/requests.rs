//! What a member asks of its coordinator: each request, and what its answer means as an outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;

use super::{Divided, GroupTask, Outcome, beats, sleep_until};
use crate::{
    error::{Class, ErrorCode, ErrorKind, Operation, Target, TransportError},
    group::{
        assignor::{Assignor, Member},
        coordinator::Coordinator,
        exchange::{count, divide, identify, learn, understand_assignment, understand_join},
        member::Member as EitherMember,
        membership::Membership,
        offsets,
        protocol::{self, Subscription},
    },
    record::TopicPartition,
    wire::{
        ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
        LeavingMember, SyncGroupRequest,
    },
};

const PROTOCOL_TYPE: &str = "consumer";
/// JoinGroup and SyncGroup wait for the slowest member, and a little longer.
const BEYOND_REBALANCE: Duration = Duration::from_secs(5);
/// How often the coordinator is asked for offsets while it does not know the ids of topics, before that is told.
const OFFSET_ROUNDS: u32 = 3;
/// Between two attempts to leave.
const LEAVE_RETRY_AFTER: Duration = Duration::from_millis(50);

impl GroupTask {
    pub(super) fn target(&self) -> Target {
        Target::default().group(Arc::clone(&self.config.group))
    }

    fn instance_id(&self) -> Option<String> {
        self.config.instance_id.as_ref().map(ToString::to_string)
    }

    fn rebalance_deadline(&self) -> Instant {
        Instant::now() + self.config.rebalance_timeout + BEYOND_REBALANCE
    }

    pub(super) fn join(&mut self, member_id: String, owned: &[TopicPartition], generation: i32) {
        self.led = None;
        let target = self.target();
        let subscription = Subscription {
            topics: self.config.topics.iter().map(ToString::to_string).collect(),
            owned: by_topic(owned),
            generation,
        };
        let encoded = |one: &Assignor| {
            let subscription = protocol::encode_subscription(&subscription, one.is_cooperative())?;
            Some((one.name().to_owned(), bytes::Bytes::from(subscription)))
        };
        let offered = self.config.assignors.clone();
        let Some(protocols) = offered.iter().map(encoded).collect() else {
            let kind = ErrorKind::Unencodable {
                reason: "a topic's name is too long".into(),
            };
            let error = TransportError::new(Operation::JoinGroup, target, kind);
            if let EitherMember::Classic(membership) = &mut self.member {
                membership.joined(Instant::now(), Err(error));
            }
            return;
        };
        let request = JoinGroupRequest {
            group_id: self.config.group.to_string(),
            session_timeout_ms: millis(self.config.session_timeout),
            rebalance_timeout_ms: millis(self.config.rebalance_timeout),
            member_id,
            group_instance_id: self.instance_id(),
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocols,
            reason: None,
        };
        let (coordinator, deadline) = (Arc::clone(&self.coordinator), self.rebalance_deadline());
        self.doing.push(Box::pin(async move {
            let answer = async {
                coordinator
                    .connections()
                    .await?
                    .join
                    .request(request, deadline)
                    .await
            };
            let answer = answer
                .await
                .and_then(|answer| understand_join(answer, &offered))
                .map_err(|error| error.about(target));
            Outcome::Joined(answer.inspect_err(|error| coordinator.doubt(error)))
        }));
    }

    pub(super) fn sync(
        &mut self,
        member_id: String,
        generation: i32,
        assignor: Assignor,
        led: Option<Vec<Member>>,
    ) {
        let (client, coordinator) = (self.client.clone(), Arc::clone(&self.coordinator));
        let (target, deadline) = (self.target(), self.rebalance_deadline());
        let subscribed = self.config.topics.clone();
        let mut request = SyncGroupRequest {
            group_id: self.config.group.to_string(),
            generation_id: generation,
            member_id,
            group_instance_id: self.instance_id(),
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocol_name: assignor.name().to_owned(),
            assignments: Vec::new(),
        };
        self.doing.push(Box::pin(async move {
            let mut divided = None;
            let answer = async {
                if let Some(members) = led {
                    let topics = members
                        .iter()
                        .flat_map(|member| member.topics.iter().cloned());
                    let topics: BTreeSet<String> = topics.collect();
                    let counts = count(&client, &topics).await?;
                    request.assignments = divide(assignor, &members, &counts)?;
                    divided = Some(Divided { topics, counts });
                }
                let answer = coordinator
                    .connections()
                    .await?
                    .join
                    .request(request, deadline)
                    .await?;
                match ErrorCode::from_code(answer.error_code) {
                    Some(code) => Err(TransportError::code(
                        Operation::SyncGroup,
                        Target::default(),
                        code,
                    )),
                    None => understand_assignment(answer.assignment, &subscribed),
                }
            };
            let answer = answer.await.map_err(|error| error.about(target));
            Outcome::Synced {
                answer: answer.inspect_err(|error| coordinator.doubt(error)),
                divided,
            }
        }));
    }

    pub(super) fn heartbeat(&mut self, member_id: String, generation: i32) {
        let request = HeartbeatRequest {
            group_id: self.config.group.to_string(),
            generation_id: generation,
            member_id,
            group_instance_id: self.instance_id(),
        };
        let (coordinator, target) = (Arc::clone(&self.coordinator), self.target());
        // Two more fit into the session if this one is not answered.
        let deadline = self
            .client
            .request_deadline()
            .min(Instant::now() + self.config.session_timeout / 3);
        self.doing.push(Box::pin(async move {
            let answer = async {
                let connections = within(deadline, coordinator.connections()).await?;
                let code = connections.rest.request(request, deadline).await?;
                match ErrorCode::from_code(code) {
                    Some(code) => Err(TransportError::code(
                        Operation::Heartbeat,
                        Target::default(),
                        code,
                    )),
                    None => Ok(()),
                }
            };
            let answer = answer.await.map_err(|error| error.about(target));
            Outcome::Heartbeat {
                generation,
                answer: answer.inspect_err(|error| coordinator.doubt(error)),
            }
        }));
    }

    /// `member` is who asks and in which epoch, where the coordinator is to check that (KIP-848).
    pub(super) fn fetch_offsets(
        &mut self,
        generation: i32,
        partitions: Vec<TopicPartition>,
        member: Option<(String, i32)>,
    ) {
        let (coordinator, config) = (Arc::clone(&self.coordinator), Arc::clone(&self.config));
        let client = self.client.clone();
        let deadline = self.client.request_deadline();
        let target = self.target();
        self.doing.push(Box::pin(async move {
            let answer = async {
                learn(&client, &partitions).await?;
                let mut rounds = 1;
                loop {
                    let view = client.generation();
                    let identified = identify(&client, &partitions).await;
                    let request =
                        offsets::fetch_request(&config.group, &identified, member.clone());
                    let connections = coordinator.connections().await?;
                    let answer = offsets::fetch(&connections.rest, request, deadline).await?;
                    let outcome =
                        offsets::fetch_outcome(&config.group, identified, config.start, answer);
                    // Made again since this client looked, or the coordinator has not heard of it yet.
                    let is_unknown = |error: &TransportError| {
                        error.error_code() == Some(ErrorCode::UnknownTopicId)
                    };
                    if rounds >= OFFSET_ROUNDS || !outcome.as_ref().is_err_and(is_unknown) {
                        return outcome;
                    }
                    rounds += 1;
                    client.refresh(view).await?;
                }
            };
            let answer = answer.await.map_err(|error| error.about(target));
            Outcome::Offsets {
                generation,
                answer: answer.inspect_err(|error| coordinator.doubt(error)),
            }
        }));
    }

    /// Leaving twice does no harm, so what may pass is tried again.
    pub(super) async fn leave(&mut self, deadline: Instant) -> Result<(), TransportError> {
        // Commits on their way are for partitions we still hold; they go first, if need be in the next generation.
        loop {
            self.act(Instant::now());
            if self.commits.are_done() {
                break;
            }
            let wakeup = self.member.next_wakeup();
            tokio::select! {
                Some(outcome) = self.doing.next() => self.take_in(outcome),
                () = sleep_until(wakeup) => {}
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        if let EitherMember::Consumer(member) = &self.member {
            let Some(member_id) = member.member_id() else {
                return Ok(());
            };
            let leaving = Leaving::Consumer(beats::leaving(&self.config, member_id));
            return leave_by(deadline, &self.coordinator, &leaving, self.target()).await;
        }
        if self.config.instance_id.is_some() {
            return Ok(());
        }
        // The coordinator may count a member already whose id is still on its way (KIP-394).
        let given = deadline.saturating_duration_since(Instant::now());
        while self.classic().is_some_and(Membership::awaits_member_id) {
            match tokio::time::timeout_at(deadline, self.doing.next()).await {
                Ok(Some(outcome)) => self.take_in(outcome),
                Ok(None) => break,
                Err(_) => {
                    let kind = ErrorKind::TimedOut {
                        after: given,
                        sent: false,
                    };
                    let target = self.target();
                    return Err(TransportError::new(Operation::LeaveGroup, target, kind));
                }
            }
        }
        let Some(member_id) = self.classic().and_then(Membership::member_id) else {
            return Ok(());
        };
        let leaving = Leaving::Classic(LeaveGroupRequest {
            group_id: self.config.group.to_string(),
            member: LeavingMember {
                member_id: member_id.to_owned(),
                group_instance_id: None,
                reason: None,
            },
        });
        leave_by(deadline, &self.coordinator, &leaving, self.target()).await
    }

    fn classic(&self) -> Option<&Membership> {
        match &self.member {
            EitherMember::Classic(membership) => Some(membership),
            EitherMember::Consumer(_) => None,
        }
    }
}

/// How a member takes its leave, by protocol.
enum Leaving {
    Classic(LeaveGroupRequest),
    Consumer(ConsumerGroupHeartbeatRequest),
}

async fn leave_by(
    deadline: Instant,
    coordinator: &Coordinator,
    leaving: &Leaving,
    target: Target,
) -> Result<(), TransportError> {
    loop {
        let answer = match leaving {
            Leaving::Classic(request) => leave_once(coordinator, request.clone(), deadline).await,
            Leaving::Consumer(request) => {
                match beats::leave_once(coordinator, request.clone(), deadline).await {
                    // Somebody else is this static member already.
                    Err(error) if error.error_code() == Some(ErrorCode::FencedInstanceId) => Ok(()),
                    left => left,
                }
            }
        };
        let Err(error) = answer.map_err(|error| error.about(target.clone())) else {
            return Ok(());
        };
        coordinator.doubt(&error);
        let again_at = Instant::now() + LEAVE_RETRY_AFTER;
        if error.class() == Class::Fatal || again_at >= deadline {
            return Err(error);
        }
        tracing::debug!(%error, "leaving is tried again");
        tokio::time::sleep_until(again_at).await;
    }
}

async fn leave_once(
    coordinator: &Coordinator,
    request: LeaveGroupRequest,
    deadline: Instant,
) -> Result<(), TransportError> {
    let connections = within(deadline, coordinator.connections()).await?;
    let answer = connections.rest.request(request, deadline).await?;
    let refused = answer
        .members
        .first()
        .map_or(answer.error_code, |(_, code)| *code);
    match ErrorCode::from_code(if answer.error_code == 0 {
        refused
    } else {
        answer.error_code
    }) {
        // The coordinator has forgotten us already: that is what was wanted.
        None | Some(ErrorCode::UnknownMemberId) => Ok(()),
        Some(code) => Err(TransportError::code(
            Operation::LeaveGroup,
            Target::default(),
            code,
        )),
    }
}

fn by_topic(partitions: &[TopicPartition]) -> BTreeMap<String, Vec<i32>> {
    let mut by_topic: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for one in partitions {
        let numbers = by_topic.entry(one.topic.to_string()).or_default();
        numbers.push(one.partition);
    }
    by_topic
}

/// Looking the coordinator up counts against the deadline too.
pub(super) async fn within<T>(
    deadline: Instant,
    future: impl Future<Output = Result<T, TransportError>>,
) -> Result<T, TransportError> {
    let given = deadline.saturating_duration_since(Instant::now());
    tokio::time::timeout_at(deadline, future)
        .await
        .unwrap_or_else(|_| {
            let kind = ErrorKind::TimedOut {
                after: given,
                sent: false,
            };
            Err(TransportError::new(
                Operation::FindCoordinator,
                Target::default(),
                kind,
            ))
        })
}

pub(super) fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
