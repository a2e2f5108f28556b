//! The task of a group's member: carries out what the membership decides, and commits on the caller's behalf.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    ASSIGNOR,
    assignor::Member,
    coordinator::Coordinator,
    exchange::{Counts, count, divide, understand_assignment, understand_join},
    membership::{Action, Joined, Membership, News, Times},
    offsets::{self, Committer},
    protocol,
};
use crate::{
    cluster::Client,
    consumer::{AssignedPartition, ConsumerConfig, Event, OffsetToCommit},
    error::{Class, ErrorCode, ErrorKind, Operation, Target, TransportError},
    fetch,
    record::TopicPartition,
    wire::{
        HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, LeavingMember, SyncGroupRequest,
    },
};

const PROTOCOL_TYPE: &str = "consumer";
/// JoinGroup and SyncGroup wait for the slowest member, and a little longer.
const BEYOND_REBALANCE: Duration = Duration::from_secs(5);
/// Between two attempts to leave.
const LEAVE_RETRY_AFTER: Duration = Duration::from_millis(50);

/// What a caller asks of the member.
#[derive(Debug)]
pub(crate) enum GroupCommand {
    /// The partitions are drained.
    Release(Vec<TopicPartition>),
    /// Store these positions.
    Commit {
        offsets: Vec<OffsetToCommit>,
        done: oneshot::Sender<Result<(), TransportError>>,
    },
    /// Leave the group by this time, and end.
    Leave {
        deadline: Instant,
        done: oneshot::Sender<Result<(), TransportError>>,
    },
}

enum Outcome {
    Joined(Result<Joined, TransportError>),
    Synced {
        answer: Result<Vec<TopicPartition>, TransportError>,
        counted: Option<Counts>,
    },
    Heartbeat {
        generation: i32,
        answer: Result<(), TransportError>,
    },
    Offsets {
        generation: i32,
        answer: Result<Vec<AssignedPartition>, TransportError>,
    },
    Committed {
        generation: i32,
        answer: Result<(), TransportError>,
        done: oneshot::Sender<Result<(), TransportError>>,
    },
    Recounted {
        generation: i32,
        counts: Counts,
    },
}

type Doing = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One member of a group.
pub(crate) struct GroupTask {
    client: Client,
    config: Arc<ConsumerConfig>,
    coordinator: Arc<Coordinator>,
    membership: Membership,
    fetch: Arc<fetch::Shared>,
    commands: mpsc::UnboundedReceiver<GroupCommand>,
    doing: FuturesUnordered<Doing>,
    /// What this member divided, if it leads, and when to look whether that still holds.
    led: Option<(Counts, Instant)>,
    /// Commits on their way.
    commits: usize,
}

impl GroupTask {
    pub(crate) fn new(
        client: Client,
        config: Arc<ConsumerConfig>,
        fetch: Arc<fetch::Shared>,
        commands: mpsc::UnboundedReceiver<GroupCommand>,
    ) -> Self {
        let times = Times {
            session_timeout: config.session_timeout,
            heartbeat_interval: config.heartbeat_interval,
            rebalance_timeout: config.rebalance_timeout,
        };
        Self {
            coordinator: Arc::new(Coordinator::new(client.clone(), Arc::clone(&config.group))),
            membership: Membership::new(Arc::clone(&config.group), times, Instant::now()),
            client,
            config,
            fetch,
            commands,
            doing: FuturesUnordered::new(),
            led: None,
            commits: 0,
        }
    }

    /// Runs until the member has left, its membership has ended for good, or the consumer is gone.
    pub(crate) async fn run(mut self) {
        loop {
            let now = Instant::now();
            while let Some(action) = self.membership.poll(now) {
                self.carry_out(action);
            }
            if self.membership.has_ended() && self.doing.is_empty() {
                self.fetch.change(fetch::FetchState::end);
                self.refuse_commands().await;
                return;
            }
            self.recount_if_due(now);
            let recount_at = self
                .led
                .as_ref()
                .filter(|_| self.membership.identity().is_some())
                .map(|led| led.1);
            let wakeup = self
                .membership
                .next_wakeup()
                .into_iter()
                .chain(recount_at)
                .min();
            tokio::select! {
                Some(outcome) = self.doing.next() => self.take_in(outcome),
                command = self.commands.recv() => match command {
                    Some(GroupCommand::Leave { deadline, done }) => {
                        let outcome = self.leave(deadline).await;
                        self.fetch.change(fetch::FetchState::end);
                        // Whoever stopped waiting does not want to know.
                        let _ = done.send(outcome);
                        return;
                    }
                    Some(command) => self.obey(command),
                    None => return,
                },
                () = sleep_until(wakeup) => {}
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Tell(news) => self.tell(news),
            Action::Join { member_id } => self.join(member_id),
            Action::Sync {
                member_id,
                generation,
                led,
            } => self.sync(member_id, generation, led),
            Action::Heartbeat {
                member_id,
                generation,
            } => self.heartbeat(member_id, generation),
            Action::FetchOffsets {
                generation,
                partitions,
            } => self.fetch_offsets(generation, partitions),
        }
    }

    fn tell(&mut self, news: News) {
        self.fetch.change(|state| match news {
            News::Assigned { generation, partitions } => {
                tracing::info!(group = %self.config.group, generation, partitions = partitions.len(), "partitions assigned");
                state.hold(partitions.iter().map(|assigned| assigned.partition.clone()));
                state.tell(Event::Assigned { generation, partitions });
            }
            News::Revoked(partitions) => {
                tracing::info!(group = %self.config.group, partitions = partitions.len(), "partitions revoked");
                state.drop_partitions(&partitions);
                state.tell(Event::Revoked { partitions });
            }
            News::Lost { partitions, reason } => {
                tracing::warn!(group = %self.config.group, partitions = partitions.len(), %reason, "partitions lost");
                state.drop_partitions(&partitions);
                state.tell(Event::Lost { partitions, reason });
            }
            News::Failed(error) => state.tell(Event::Failed(error)),
        });
    }

    fn target(&self) -> Target {
        Target::default().group(Arc::clone(&self.config.group))
    }

    fn instance_id(&self) -> Option<String> {
        self.config.instance_id.as_ref().map(ToString::to_string)
    }

    fn rebalance_deadline(&self) -> Instant {
        Instant::now() + self.config.rebalance_timeout + BEYOND_REBALANCE
    }

    fn join(&mut self, member_id: String) {
        self.led = None;
        let target = self.target();
        let Some(subscription) = protocol::encode_subscription(&self.config.topics) else {
            let kind = ErrorKind::Unencodable {
                reason: "a topic's name is too long".into(),
            };
            let error = TransportError::new(Operation::JoinGroup, target, kind);
            self.membership.joined(Instant::now(), Err(error));
            return;
        };
        let request = JoinGroupRequest {
            group_id: self.config.group.to_string(),
            session_timeout_ms: millis(self.config.session_timeout),
            rebalance_timeout_ms: millis(self.config.rebalance_timeout),
            member_id,
            group_instance_id: self.instance_id(),
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocols: vec![(ASSIGNOR.to_owned(), subscription.into())],
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
                .and_then(understand_join)
                .map_err(|error| error.about(target));
            Outcome::Joined(answer.inspect_err(|error| coordinator.doubt(error)))
        }));
    }

    fn sync(&mut self, member_id: String, generation: i32, led: Option<Vec<Member>>) {
        let (client, coordinator) = (self.client.clone(), Arc::clone(&self.coordinator));
        let (target, deadline) = (self.target(), self.rebalance_deadline());
        let subscribed = self.config.topics.clone();
        let mut request = SyncGroupRequest {
            group_id: self.config.group.to_string(),
            generation_id: generation,
            member_id,
            group_instance_id: self.instance_id(),
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocol_name: ASSIGNOR.to_owned(),
            assignments: Vec::new(),
        };
        self.doing.push(Box::pin(async move {
            let mut counted = None;
            let answer = async {
                if let Some(members) = led {
                    let counts =
                        count(&client, members.iter().flat_map(|member| &member.topics)).await?;
                    request.assignments = divide(&members, &counts)?;
                    counted = Some(counts);
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
                counted,
            }
        }));
    }

    fn heartbeat(&mut self, member_id: String, generation: i32) {
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

    fn fetch_offsets(&mut self, generation: i32, partitions: Vec<TopicPartition>) {
        let request = offsets::fetch_request(&self.config.group, &partitions);
        let (coordinator, config) = (Arc::clone(&self.coordinator), Arc::clone(&self.config));
        let deadline = self.client.request_deadline();
        let target = self.target();
        self.doing.push(Box::pin(async move {
            let answer = async {
                let answer = coordinator
                    .connections()
                    .await?
                    .rest
                    .request(request, deadline)
                    .await?;
                offsets::fetch_outcome(&config.group, partitions, config.start, answer)
            };
            let answer = answer.await.map_err(|error| error.about(target));
            Outcome::Offsets {
                generation,
                answer: answer.inspect_err(|error| coordinator.doubt(error)),
            }
        }));
    }

    fn obey(&mut self, command: GroupCommand) {
        match command {
            GroupCommand::Release(partitions) => {
                self.membership.released(Instant::now(), &partitions)
            }
            GroupCommand::Commit { offsets, done } => self.commit(offsets, done),
            // Handled where the task ends.
            GroupCommand::Leave { .. } => {}
        }
    }

    fn commit(
        &mut self,
        offsets: Vec<OffsetToCommit>,
        done: oneshot::Sender<Result<(), TransportError>>,
    ) {
        // The coordinator does not look whose partitions they are, and takes lower offsets too: what is not held,
        // or is held again without the caller knowing, may have been committed further by others.
        let stray = offsets
            .iter()
            .find(|one| !self.membership.holds(&one.partition))
            .map(|one| {
                self.target()
                    .partition(Arc::clone(&one.partition.topic), one.partition.partition)
            });
        let identity = self
            .membership
            .identity()
            .filter(|(_, generation)| stray.is_none() && self.fetch.has_heard(*generation));
        let Some((member_id, generation)) = identity else {
            let _ = done.send(Err(TransportError::code(
                Operation::OffsetCommit,
                stray.unwrap_or_else(|| self.target()),
                ErrorCode::IllegalGeneration,
            )));
            return;
        };
        let committer = Committer {
            group: Arc::clone(&self.config.group),
            generation,
            member_id: member_id.to_owned(),
            instance_id: self.config.instance_id.clone(),
        };
        let (coordinator, target) = (Arc::clone(&self.coordinator), self.target());
        let deadline = self.client.request_deadline();
        self.commits += 1;
        self.doing.push(Box::pin(async move {
            let request = offsets::commit_request(&committer, &offsets);
            let answer = async {
                let answer = within(deadline, coordinator.connections())
                    .await?
                    .rest
                    .request(request, deadline)
                    .await?;
                offsets::commit_outcome(&committer.group, &offsets, answer)
            };
            let answer = answer
                .await
                .map_err(|error| error.during(Operation::OffsetCommit).about(target));
            Outcome::Committed {
                generation,
                answer: answer.inspect_err(|error| coordinator.doubt(error)),
                done,
            }
        }));
    }

    fn take_in(&mut self, outcome: Outcome) {
        let now = Instant::now();
        match outcome {
            Outcome::Joined(answer) => self.membership.joined(now, answer),
            Outcome::Synced { answer, counted } => {
                self.led =
                    counted.map(|counts| (counts, now + self.client.config().metadata_max_age));
                self.membership.synced(now, answer);
            }
            Outcome::Heartbeat { generation, answer } => {
                self.membership.heartbeat(now, generation, answer)
            }
            Outcome::Offsets { generation, answer } => {
                self.membership.offsets(now, generation, answer)
            }
            Outcome::Committed {
                generation,
                answer,
                done,
            } => {
                self.commits -= 1;
                if let Err(error) = &answer {
                    self.membership.commit_refused(now, generation, error);
                }
                // A caller that stopped waiting has its reasons.
                let _ = done.send(answer);
            }
            Outcome::Recounted { generation, counts } => {
                let is_current = self
                    .membership
                    .identity()
                    .is_some_and(|(_, current)| current == generation);
                if let Some((divided, check_at)) = &mut self.led {
                    *check_at = now + self.client.config().metadata_max_age;
                    if is_current && *divided != counts {
                        self.membership.rebalance(now);
                    }
                }
            }
        }
    }

    /// The leader divides anew when topics have got more partitions.
    fn recount_if_due(&mut self, now: Instant) {
        let Some((_, generation)) = self.membership.identity() else {
            return;
        };
        let Some((divided, check_at)) = &mut self.led else {
            return;
        };
        if *check_at > now {
            return;
        }
        *check_at = now + self.client.config().metadata_max_age;
        let (client, before) = (self.client.clone(), divided.clone());
        let topics: Vec<String> = self
            .config
            .topics
            .iter()
            .map(ToString::to_string)
            .chain(before.keys().cloned())
            .collect();
        self.doing.push(Box::pin(async move {
            // Metadata that cannot be read now is read at the next turn.
            let counts = count(&client, &topics).await.unwrap_or(before);
            Outcome::Recounted { generation, counts }
        }));
    }

    /// Leaving twice does no harm, so what may pass is tried again.
    async fn leave(&mut self, deadline: Instant) -> Result<(), TransportError> {
        // Commits on their way are for partitions we still hold; they go first.
        while self.commits > 0 {
            match tokio::time::timeout_at(deadline, self.doing.next()).await {
                Ok(Some(outcome)) => self.take_in(outcome),
                Ok(None) | Err(_) => break,
            }
        }
        let Some(member_id) = self
            .membership
            .member_id()
            .filter(|_| self.config.instance_id.is_none())
        else {
            return Ok(());
        };
        let request = LeaveGroupRequest {
            group_id: self.config.group.to_string(),
            member: LeavingMember {
                member_id: member_id.to_owned(),
                group_instance_id: None,
                reason: None,
            },
        };
        let (coordinator, target) = (Arc::clone(&self.coordinator), self.target());
        loop {
            let answer = leave_once(&coordinator, request.clone(), deadline)
                .await
                .map_err(|error| error.about(target.clone()));
            let Err(error) = answer else {
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

    async fn refuse_commands(&mut self) {
        while let Some(command) = self.commands.recv().await {
            match command {
                GroupCommand::Release(_) => {}
                GroupCommand::Commit { done, .. } => {
                    let error = TransportError::new(
                        Operation::OffsetCommit,
                        self.target(),
                        ErrorKind::Closed,
                    );
                    let _ = done.send(Err(error));
                }
                // The membership has ended here; the coordinator may still count it.
                GroupCommand::Leave { deadline, done } => {
                    let outcome = self.leave(deadline).await;
                    let _ = done.send(outcome);
                    return;
                }
            }
        }
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

async fn sleep_until(wakeup: Option<Instant>) {
    match wakeup {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Looking the coordinator up counts against the deadline too.
async fn within<T>(
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

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
