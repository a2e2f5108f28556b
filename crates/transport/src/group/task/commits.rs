//! Offsets on their way to the coordinator: one commit after the other, so that none overtakes a later one.
//!
//! While the group divides anew a commit may be refused only because the generation went on. Where its partitions are
//! held without a break it is made again in the next one, and the caller hears of it when that is done.

use std::{collections::VecDeque, sync::Arc};

use tokio::{sync::oneshot, time::Instant};

use super::{GroupTask, Outcome, requests::within};
use crate::{
    consumer::OffsetToCommit,
    error::{ErrorCode, Operation, Target, TransportError},
    fetch::Tenure,
    group::{
        member::{Refused, Wait},
        membership::MayCommit,
        offsets::{self, Committer, Identified},
    },
    record::TopicPartition,
};

type Done = oneshot::Sender<Result<(), TransportError>>;

/// Commits that are not answered yet, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Commits {
    waiting: VecDeque<Commit>,
    /// Whether the first of them was sent.
    is_sent: bool,
    /// What the first of them waits for, if it was refused and is to be made again.
    waits: Option<Refused>,
}

#[derive(Debug)]
struct Commit {
    /// Each with the id of the topic that was being read when it was made.
    offsets: Vec<Identified<OffsetToCommit>>,
    /// For each, which of the assignments that the caller heard of it is made under.
    tenures: Vec<Tenure>,
    done: Done,
}

impl Commits {
    pub(super) fn are_done(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl GroupTask {
    pub(super) fn commit(&mut self, offsets: Vec<OffsetToCommit>, done: Done) {
        let identified = |mut one: OffsetToCommit| {
            // What the group's next owner holds against the log before it goes on there (KIP-320).
            let epoch = || self.fetch.leader_epoch(&one.partition, one.offset);
            one.leader_epoch = one.leader_epoch.or_else(epoch);
            let topic_id = self.fetch.topic_id(&one.partition);
            (one, topic_id)
        };
        let offsets: Vec<_> = offsets.into_iter().map(identified).collect();
        match self.tenures(&offsets) {
            Ok(tenures) => self.commits.waiting.push_back(Commit {
                offsets,
                tenures,
                done,
            }),
            // Whoever stopped waiting does not want to know.
            Err(error) => drop(done.send(Err(error))),
        }
    }

    /// The coordinator does not look whose partitions they are, and takes lower offsets too: what is not held, or is
    /// held again without the caller knowing, may have been committed further by others. Nor does it look which topic of
    /// the name they are of, where it is not told an id.
    fn tenures(
        &self,
        offsets: &[Identified<OffsetToCommit>],
    ) -> Result<Vec<Tenure>, TransportError> {
        let tenure = |(one, _): &Identified<OffsetToCommit>| {
            if self.fetch.is_recreated(&one.partition) {
                return Err(self.of_another_topic(&one.partition));
            }
            let heard = self.fetch.tenure(&one.partition);
            heard
                .filter(|_| self.member.holds(&one.partition))
                .ok_or_else(|| {
                    let (topic, partition) = (&one.partition.topic, one.partition.partition);
                    self.not_held(self.target().partition(Arc::clone(topic), partition))
                })
        };
        offsets.iter().map(tenure).collect()
    }

    /// Why a commit is not taken in: since it was made, or before that and unheard, what it is of was reset.
    pub(super) fn void(
        &self,
        offsets: &[OffsetToCommit],
        said: &[Option<Tenure>],
    ) -> Option<TransportError> {
        let mut void = offsets
            .iter()
            .zip(said)
            .filter(|(one, said)| self.fetch.is_void(&one.partition, **said));
        void.next()
            .map(|(one, _)| self.of_another_topic(&one.partition))
    }

    /// Of another topic of the name, or another log: the position that was read up to is not there any more.
    fn of_another_topic(&self, partition: &TopicPartition) -> TransportError {
        let topic = Arc::clone(&partition.topic);
        let code = match self.fetch.was_recreated(partition) {
            true => ErrorCode::UnknownTopicId,
            false => ErrorCode::FencedLeaderEpoch,
        };
        TransportError::code(
            Operation::OffsetCommit,
            self.target().partition(topic, partition.partition),
            code,
        )
    }

    /// Why a commit may not be sent though what it is of is held: since it was made, that was given anew, or its topic
    /// made again.
    fn out_of_date(&self, commit: &Commit, tenures: &[Tenure]) -> TransportError {
        let changed = commit
            .offsets
            .iter()
            .zip(commit.tenures.iter().zip(tenures));
        let mut recreated = changed
            .filter(|(_, (then, now))| then != now)
            .map(|((one, _), (then, now))| (one, then.assignment == now.assignment));
        match recreated.next() {
            Some((one, true)) => self.of_another_topic(&one.partition),
            _ => self.not_held(self.target()),
        }
    }

    fn not_held(&self, target: Target) -> TransportError {
        TransportError::code(
            Operation::OffsetCommit,
            target,
            ErrorCode::IllegalGeneration,
        )
    }

    /// Sends the next commit, unless one is on its way or it has to wait for the group.
    pub(super) fn commit_next(&mut self) {
        if let Some(refused) = &self.commits.waits {
            match self.member.wait(refused) {
                Wait::On => return,
                Wait::Over => {}
                Wait::InVain(error) => self.answer_commit(Err(error)),
            }
            self.commits.waits = None;
        }
        while !self.commits.is_sent {
            let Some(commit) = self.commits.waiting.front() else {
                return;
            };
            let lost = match self.tenures(&commit.offsets) {
                Ok(tenures) if tenures == commit.tenures => None,
                Ok(tenures) => Some(self.out_of_date(commit, &tenures)),
                Err(error) => Some(error),
            };
            let lost = match (lost, self.member.may_commit()) {
                (Some(error), _) => error,
                (None, MayCommit::No) => self.not_held(self.target()),
                (None, MayCommit::Later) => return,
                (None, MayCommit::As(member_id, generation)) => {
                    let committer = Committer {
                        group: Arc::clone(&self.config.group),
                        generation,
                        member_id: member_id.to_owned(),
                        instance_id: self.config.instance_id.clone(),
                    };
                    let offsets = commit.offsets.clone();
                    return self.send_commit(committer, offsets);
                }
            };
            self.answer_commit(Err(lost));
        }
    }

    fn answer_commit(&mut self, answer: Result<(), TransportError>) {
        if let Some(commit) = self.commits.waiting.pop_front() {
            // A caller that stopped waiting has its reasons.
            let _ = commit.done.send(answer);
        }
    }

    fn send_commit(&mut self, committer: Committer, offsets: Vec<Identified<OffsetToCommit>>) {
        let (coordinator, target) = (Arc::clone(&self.coordinator), self.target());
        let deadline = self.client.request_deadline();
        self.commits.is_sent = true;
        self.doing.push(Box::pin(async move {
            let request = offsets::commit_request(&committer, &offsets);
            let answer = async {
                let connections = within(deadline, coordinator.connections()).await?;
                let answer = offsets::commit(&connections.rest, request, deadline).await?;
                offsets::commit_outcome(&committer.group, &offsets, answer)
            };
            let answer = answer
                .await
                .map_err(|error| error.during(Operation::OffsetCommit).about(target));
            Outcome::Committed {
                generation: committer.generation,
                answer: answer.inspect_err(|error| coordinator.doubt(error)),
            }
        }));
    }

    pub(super) fn committed(
        &mut self,
        now: Instant,
        generation: i32,
        answer: Result<(), TransportError>,
    ) {
        self.commits.is_sent = false;
        if let Err(error) = &answer {
            self.commits.waits = self.member.commit_refused(now, generation, error);
            if self.commits.waits.is_some() {
                return;
            }
        }
        self.answer_commit(answer);
    }
}
