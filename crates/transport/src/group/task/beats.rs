//! What a member asks of a coordinator that divides (KIP-848): heartbeats, names of topics, and leaving.

use std::{collections::BTreeSet, sync::Arc};

use tokio::time::Instant;

use super::{
    GroupTask, Outcome,
    requests::{millis, within},
};
use crate::{
    cluster::Client,
    consumer::ConsumerConfig,
    error::{Class, ErrorCode, ErrorKind, Operation, Target, TransportError},
    group::{
        consumer_membership::{Action, Answer},
        coordinator::Coordinator,
        member::{self, Member},
        pulse::Beat,
    },
    wire::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicId, TopicNamesRequest,
    },
};

const LEAVES: i32 = -1;
/// Leaves, and comes back as the same static member.
const LEAVES_FOR_A_WHILE: i32 = -2;

impl GroupTask {
    pub(super) fn carry_out_of_consumer(&mut self, action: Action) {
        match action {
            Action::Tell(news) => self.tell(news),
            Action::Beat(beat) => self.beat(beat),
            Action::Withdraw => self.withdraw(),
            Action::Name(ids) => self.name(ids),
            Action::FetchOffsets { epoch, partitions } => {
                let Member::Consumer(member) = &self.member else {
                    return;
                };
                let asked_by = Some((member.own_id().to_owned(), epoch));
                self.fetch_offsets(epoch, partitions, asked_by);
            }
            Action::FallBack(reason) => {
                tracing::info!(group = %self.config.group, %reason, "going on with the classic group protocol");
                self.member = Member::classic(&self.config, Instant::now());
            }
        }
    }

    fn beat(&mut self, beat: Beat) {
        let Member::Consumer(member) = &self.member else {
            return;
        };
        let number = beat.number;
        let operation = match beat.epoch {
            0 => Operation::JoinGroup,
            _ => Operation::Heartbeat,
        };
        let request = request(&self.config, member.own_id(), beat);
        let (coordinator, target) = (Arc::clone(&self.coordinator), self.target());
        // Two more fit into the session if this one is not answered.
        let deadline = self
            .client
            .request_deadline()
            .min(Instant::now() + self.config.session_timeout / 3);
        self.doing.push(Box::pin(async move {
            let answer = ask(&coordinator, request, deadline).await;
            let answer = answer.map(|answer| Answer {
                epoch: answer.member_epoch,
                interval: member::interval(answer.heartbeat_interval_ms),
                assignment: answer.assignment,
            });
            let answer = answer.map_err(|error| error.during(operation).about(target));
            Outcome::Beat {
                number,
                answer: answer.inspect_err(|error| coordinator.doubt(error)),
            }
        }));
    }

    fn withdraw(&mut self) {
        let Member::Consumer(member) = &self.member else {
            return;
        };
        let request = leaving(&self.config, member.own_id());
        let (coordinator, target) = (Arc::clone(&self.coordinator), self.target());
        let deadline = self
            .client
            .request_deadline()
            .min(Instant::now() + self.config.session_timeout / 3);
        self.doing.push(Box::pin(async move {
            let answer = leave_once(&coordinator, request, deadline).await;
            let answer = answer.map_err(|error| error.about(target));
            Outcome::Withdrawn(answer.inspect_err(|error| coordinator.doubt(error)))
        }));
    }

    fn name(&mut self, ids: Vec<TopicId>) {
        let (client, config) = (self.client.clone(), Arc::clone(&self.config));
        self.doing.push(Box::pin(async move {
            Outcome::Named(names(&client, &config, ids).await)
        }));
    }
}

/// Everything in full heartbeats, else what has changed.
fn request(config: &ConsumerConfig, member_id: &str, beat: Beat) -> ConsumerGroupHeartbeatRequest {
    let is_full = beat.is_full;
    let names = || config.topics.iter().map(ToString::to_string).collect();
    let text = |text: &Option<Arc<str>>| text.as_ref().map(ToString::to_string);
    ConsumerGroupHeartbeatRequest {
        group_id: config.group.to_string(),
        member_id: member_id.to_owned(),
        member_epoch: beat.epoch,
        instance_id: text(&config.instance_id),
        rack_id: text(&config.fetch.rack).filter(|_| is_full),
        rebalance_timeout_ms: is_full.then(|| millis(config.rebalance_timeout)),
        topic_names: is_full.then(names),
        topic_pattern: text(&config.topic_pattern).filter(|_| is_full),
        server_assignor: text(&config.server_assignor).filter(|_| is_full),
        owned: beat.owned,
    }
}

/// Static members keep their place until their session is over.
pub(super) fn leaving(config: &ConsumerConfig, member_id: &str) -> ConsumerGroupHeartbeatRequest {
    let instance_id = config.instance_id.as_ref().map(ToString::to_string);
    ConsumerGroupHeartbeatRequest {
        group_id: config.group.to_string(),
        member_id: member_id.to_owned(),
        member_epoch: match instance_id {
            Some(_) => LEAVES_FOR_A_WHILE,
            None => LEAVES,
        },
        instance_id,
        rack_id: None,
        rebalance_timeout_ms: None,
        topic_names: None,
        topic_pattern: None,
        server_assignor: None,
        owned: None,
    }
}

async fn ask(
    coordinator: &Coordinator,
    request: ConsumerGroupHeartbeatRequest,
    deadline: Instant,
) -> Result<ConsumerGroupHeartbeatResponse, TransportError> {
    let connections = within(deadline, coordinator.connections()).await?;
    let answer = connections.rest.request(request, deadline).await?;
    match ErrorCode::from_code(answer.error_code) {
        None => Ok(answer),
        Some(code) => {
            let kind = ErrorKind::told_by_broker(code, answer.error_message);
            let target = Target::default();
            Err(TransportError::new(Operation::Heartbeat, target, kind))
        }
    }
}

/// Leaves; done too where the coordinator does not count this member, or anybody by this protocol.
pub(super) async fn leave_once(
    coordinator: &Coordinator,
    request: ConsumerGroupHeartbeatRequest,
    deadline: Instant,
) -> Result<(), TransportError> {
    match ask(coordinator, request, deadline).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::UnsupportedVersion { .. }) => Ok(()),
        Err(error) => match error.error_code() {
            Some(
                ErrorCode::UnknownMemberId
                | ErrorCode::GroupIdNotFound
                | ErrorCode::UnsupportedVersion,
            ) => Ok(()),
            _ => Err(error.during(Operation::LeaveGroup)),
        },
    }
}

/// What the topics are called, of those that were subscribed to and are there.
async fn names(
    client: &Client,
    config: &ConsumerConfig,
    ids: Vec<TopicId>,
) -> Result<Vec<(TopicId, Arc<str>)>, TransportError> {
    let request = TopicNamesRequest { ids };
    let answer = client.ask_any(request.clone()).await?;
    let asked: BTreeSet<TopicId> = request.ids.into_iter().collect();
    let mut names = Vec::new();
    for topic in answer.topics {
        if !asked.contains(&topic.id) {
            continue;
        }
        let error = ErrorCode::from_code(topic.error_code)
            .map(|code| TransportError::code(Operation::Metadata, Target::default(), code));
        match (error, topic.name) {
            (None, Some(name)) => {
                let known = config.topics.iter().find(|known| ***known == *name);
                let is_named = config.topic_pattern.is_none();
                match known {
                    Some(known) => names.push((topic.id, Arc::clone(known))),
                    None if is_named => tracing::warn!(
                        topic = ?name,
                        "the coordinator assigned a topic that was not subscribed to"
                    ),
                    None => names.push((topic.id, name.into())),
                }
            }
            (Some(error), _) if error.class() == Class::Fatal => return Err(error),
            // Not every broker knows a new topic yet; one that was deleted is about to be taken away.
            (error, _) => tracing::debug!(?error, "a topic that was assigned has no name yet"),
        }
    }
    Ok(names)
}
