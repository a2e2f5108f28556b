//! The task of a group's member: carries out what the membership decides. [`requests`] are what it asks of the
//! coordinator by the classic protocol, [`beats`] by that of KIP-848; [`commits`] is what it does so on the caller's
//! behalf.

mod beats;
mod commits;
mod requests;

use std::{collections::BTreeSet, pin::Pin, sync::Arc};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    consumer_membership::Answer,
    coordinator::Coordinator,
    exchange::{Counts, count},
    member::{self, Member},
    membership::{Action, Joined, News},
};
use crate::hooks::Rebalanced;
use crate::{
    cluster::Client,
    consumer::{AssignedPartition, ConsumerConfig, Event, OffsetToCommit},
    error::{ErrorKind, Operation, Target, TransportError},
    fetch::{self, Tenure},
    record::TopicPartition,
    wire::TopicId,
};
use commits::Commits;

/// What a caller asks of the member.
#[derive(Debug)]
pub(crate) enum GroupCommand {
    /// The partitions are drained.
    Release(Vec<TopicPartition>),
    /// Store these positions.
    Commit {
        offsets: Vec<OffsetToCommit>,
        /// For each, what the caller spoke of when it said so.
        said: Vec<Option<Tenure>>,
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
        divided: Option<Divided>,
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
    },
    Recounted {
        generation: i32,
        counts: Counts,
    },
    Beat {
        number: u64,
        answer: Result<Answer, TransportError>,
    },
    Withdrawn(Result<(), TransportError>),
    Named(Result<Vec<(TopicId, Arc<str>)>, TransportError>),
}

/// What this member divided as the group's leader.
struct Divided {
    /// What the members subscribe to, whether it exists or not.
    topics: BTreeSet<String>,
    counts: Counts,
}

type Doing = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One member of a group.
pub(crate) struct GroupTask {
    client: Client,
    config: Arc<ConsumerConfig>,
    coordinator: Arc<Coordinator>,
    member: Member,
    fetch: Arc<fetch::Shared>,
    commands: mpsc::UnboundedReceiver<GroupCommand>,
    doing: FuturesUnordered<Doing>,
    /// What this member divided, if it leads, and when to look whether that still holds.
    led: Option<(Divided, Instant)>,
    commits: Commits,
}

impl GroupTask {
    pub(crate) fn new(
        client: Client,
        config: Arc<ConsumerConfig>,
        fetch: Arc<fetch::Shared>,
        commands: mpsc::UnboundedReceiver<GroupCommand>,
        member_id: String,
    ) -> Self {
        Self {
            coordinator: Arc::new(Coordinator::new(client.clone(), Arc::clone(&config.group))),
            member: Member::new(&config, member_id, Instant::now()),
            client,
            config,
            fetch,
            commands,
            doing: FuturesUnordered::new(),
            led: None,
            commits: Commits::default(),
        }
    }

    /// Runs until the member has left, its membership has ended for good, or the consumer is gone.
    pub(crate) async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.act(now);
            if self.member.has_ended() && self.doing.is_empty() {
                self.fetch.change(fetch::FetchState::end);
                self.refuse_commands().await;
                return;
            }
            self.recount_if_due(now);
            let recount_at = self
                .led
                .as_ref()
                .filter(|_| self.member.classic_generation().is_some())
                .map(|led| led.1);
            let wakeup = self
                .member
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

    fn act(&mut self, now: Instant) {
        while let Some(action) = self.member.poll(now) {
            match action {
                member::Action::Classic(action) => self.carry_out(action),
                member::Action::Consumer(action) => self.carry_out_of_consumer(action),
            }
        }
        self.commit_next();
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Tell(news) => self.tell(news),
            Action::Join {
                member_id,
                owned,
                generation,
            } => self.join(member_id, &owned, generation),
            Action::Sync {
                member_id,
                generation,
                assignor,
                led,
            } => self.sync(member_id, generation, assignor, led),
            Action::Heartbeat {
                member_id,
                generation,
            } => self.heartbeat(member_id, generation),
            Action::FetchOffsets {
                generation,
                partitions,
            } => {
                self.fetch_offsets(generation, partitions, None);
            }
        }
    }

    fn tell(&mut self, news: News) {
        self.tell_hooks(&news);
        self.fetch.change(|state| match news {
            News::Assigned { generation, partitions } => {
                tracing::info!(group = %self.config.group, generation, partitions = partitions.len(), "partitions assigned");
                let nowhere: Vec<TopicPartition> = partitions.iter().filter(|assigned| assigned.start.is_none())
                    .map(|assigned| assigned.partition.clone()).collect();
                state.assign(generation, partitions);
                for partition in nowhere {
                    let target = Target::default().partition(partition.topic, partition.partition)
                        .group(Arc::clone(&self.config.group));
                    state.tell(Event::Failed(TransportError::new(Operation::OffsetFetch, target, ErrorKind::NoOffset)));
                }
            }
            News::Revoked(partitions) => {
                tracing::info!(group = %self.config.group, partitions = partitions.len(), "partitions revoked");
                state.drop_partitions(&partitions);
                state.tell(Event::Revoked { partitions });
            }
            News::Lost { partitions, reason } => {
                tracing::warn!(group = %self.config.group, partitions = partitions.len(), %reason, "partitions lost");
                state.lose(&partitions);
                state.tell(Event::Lost { partitions, reason });
            }
            News::Failed(error) => state.tell(Event::Failed(error)),
        });
    }

    fn tell_hooks(&self, news: &News) {
        let assigned: Vec<TopicPartition>;
        let rebalanced = match news {
            News::Assigned {
                generation,
                partitions,
            } => {
                assigned = partitions.iter().map(|one| one.partition.clone()).collect();
                Rebalanced::Assigned {
                    generation: *generation,
                    partitions: &assigned,
                }
            }
            News::Revoked(partitions) => Rebalanced::Revoked { partitions },
            News::Lost { partitions, reason } => Rebalanced::Lost { partitions, reason },
            News::Failed(_) => return,
        };
        let hooks = &self.client.config().hooks;
        hooks.tell(|hooks| hooks.rebalanced(&self.config.group, &rebalanced));
    }

    fn obey(&mut self, command: GroupCommand) {
        match command {
            GroupCommand::Release(partitions) => self.member.released(Instant::now(), &partitions),
            GroupCommand::Commit {
                offsets,
                said,
                done,
            } => match self.void(&offsets, &said) {
                None => self.commit(offsets, done),
                // Whoever stopped waiting does not want to know.
                Some(error) => drop(done.send(Err(error))),
            },
            // Handled where the task ends.
            GroupCommand::Leave { .. } => {}
        }
    }

    fn take_in(&mut self, outcome: Outcome) {
        let now = Instant::now();
        match outcome {
            Outcome::Committed { generation, answer } => self.committed(now, generation, answer),
            outcome => match &mut self.member {
                Member::Classic(_) => self.take_in_of_classic(now, outcome),
                Member::Consumer(member) => match outcome {
                    Outcome::Beat { number, answer } => member.answered(now, number, answer),
                    Outcome::Withdrawn(answer) => member.withdrawn(now, answer),
                    Outcome::Named(answer) => member.named(now, answer),
                    Outcome::Offsets { generation, answer } => {
                        member.offsets(now, generation, answer);
                    }
                    _ => {}
                },
            },
        }
    }

    fn take_in_of_classic(&mut self, now: Instant, outcome: Outcome) {
        let Member::Classic(membership) = &mut self.member else {
            return;
        };
        match outcome {
            Outcome::Joined(answer) => membership.joined(now, answer),
            Outcome::Synced { answer, divided } => {
                let check_at = now + self.client.config().metadata_max_age;
                self.led = divided.map(|divided| (divided, check_at));
                membership.synced(now, answer);
            }
            Outcome::Heartbeat { generation, answer } => {
                membership.heartbeat(now, generation, answer);
            }
            Outcome::Offsets { generation, answer } => {
                membership.offsets(now, generation, answer);
            }
            Outcome::Recounted { generation, counts } => {
                let is_current = membership.generation() == Some(generation);
                if let Some((divided, check_at)) = &mut self.led {
                    *check_at = now + self.client.config().metadata_max_age;
                    if is_current && divided.counts != counts {
                        membership.rebalance(now);
                    }
                }
            }
            _ => {}
        }
    }

    /// The leader divides anew when topics have got more partitions.
    fn recount_if_due(&mut self, now: Instant) {
        let Some(generation) = self.member.classic_generation() else {
            return;
        };
        let Some((divided, check_at)) = &mut self.led else {
            return;
        };
        if *check_at > now {
            return;
        }
        *check_at = now + self.client.config().metadata_max_age;
        let (client, before) = (self.client.clone(), divided.counts.clone());
        let topics = divided.topics.clone();
        self.doing.push(Box::pin(async move {
            // Metadata that cannot be read now is read at the next turn.
            let counts = count(&client, &topics).await.unwrap_or(before);
            Outcome::Recounted { generation, counts }
        }));
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

async fn sleep_until(wakeup: Option<Instant>) {
    match wakeup {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
