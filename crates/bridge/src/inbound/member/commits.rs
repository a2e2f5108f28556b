//! Commits on their way from the pipeline to the consumer, which takes all of one or nothing.
//!
//! What the pipeline commits it decided before it saw what it is being told: of a partition that has been assigned anew
//! or reset since, the offset may be one of another log, and is refused here. One partition that cannot be committed
//! does not hold the others up either, and no commit fails because of the replay states that go with it: they are cut to
//! what the broker takes, and left out where that is nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cybermesh_transport::{Class, ErrorCode, OffsetToCommit, TopicPartition, TransportError};
use tokio::time::{Instant, timeout_at};

use crate::inbound::group::{Commit, CommitError, Life};
use crate::inbound::replay::{Sealed, Sealing};

/// The life of each partition that the pipeline was told of last.
#[derive(Debug, Default)]
pub(super) struct Lives(Mutex<HashMap<TopicPartition, Life>>);

impl Lives {
    /// Another begins; the pipeline is to be told.
    pub(super) fn begin(&self, partition: &TopicPartition) -> Life {
        let mut lives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let life = lives.entry(partition.clone()).or_default();
        life.0 += 1;
        *life
    }

    fn is_over(&self, commit: &Commit) -> bool {
        let lives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = lives.get(&commit.partition);
        last.is_some_and(|last| commit.life < *last)
    }
}

/// What was not committed, and why.
#[derive(Default)]
struct LeftOut {
    partitions: Vec<TopicPartition>,
    why: Option<CommitError>,
}

/// Has `send` commit what may be committed, in as many requests as that takes. What is refused for the sake of one
/// partition is sent again at once without it; what
/// is not answered `within` that time is left out.
pub(super) async fn commit<F>(
    lives: &Lives,
    sealing: &Arc<Sealing>,
    commits: Vec<Commit>,
    within: Duration,
    mut send: impl FnMut(Vec<OffsetToCommit>) -> F,
) -> Result<(), CommitError>
where
    F: Future<Output = Result<(), TransportError>>,
{
    let mut left_out = LeftOut::default();
    let mut is_any_committed = false;
    let deadline = Instant::now() + within;
    let mut waiting = VecDeque::from(commits);
    while !waiting.is_empty() {
        let request = sealing.request(&mut waiting).await;
        let asked: Vec<_> = request.iter().map(partition_of).collect();
        let committing = commit_request(lives, sealing, request, &mut left_out, &mut send);
        let (not_done, why) = match timeout_at(deadline, committing).await {
            Ok(Ok(is_committed)) => {
                is_any_committed |= is_committed;
                continue;
            }
            Ok(Err((error, request))) => (request.iter().map(partition_of).collect(), error.into()),
            Err(_elapsed) => {
                let why = format!("no answer within {} s", within.as_secs());
                (asked, CommitError::NotNow(why))
            }
        };
        let rest = waiting.drain(..).map(|commit| commit.partition);
        for partition in not_done.into_iter().chain(rest) {
            if !left_out.partitions.contains(&partition) {
                left_out.partitions.push(partition);
            }
        }
        left_out.why = Some(why);
    }
    match left_out.why {
        None => Ok(()),
        Some(why) if is_any_committed => Err(CommitError::Partly {
            left_out: left_out.partitions,
            why: Box::new(why),
        }),
        Some(why) => Err(why),
    }
}

/// Answers whether anything was committed; an error is about the whole of what could not be.
async fn commit_request<F>(
    lives: &Lives,
    sealing: &Arc<Sealing>,
    mut request: Vec<Sealed>,
    left_out: &mut LeftOut,
    send: &mut impl FnMut(Vec<OffsetToCommit>) -> F,
) -> Result<bool, (TransportError, Vec<Sealed>)>
where
    F: Future<Output = Result<(), TransportError>>,
{
    let mut whole = Whole::default();
    loop {
        for former in request.extract_if(.., |sealed| lives.is_over(&sealed.commit)) {
            let partition = former.commit.partition;
            left_out.why = Some(CommitError::NotNow(format!(
                "{partition} was assigned anew or reset since"
            )));
            left_out.partitions.push(partition);
        }
        if request.is_empty() {
            return Ok(false);
        }
        let Err(error) = send(request.iter().map(to_commit).collect()).await else {
            sealing.stand(&request);
            return Ok(true);
        };
        let named = request
            .iter()
            .position(|one| is_because_of(&error, &one.commit));
        let is_about_states = request.iter().any(|one| !one.text.is_empty());
        match named {
            Some(named) if is_its_state(&error) && is_state_of(&request, named) => {
                sealing.refused();
                request = sealing.again(request).await;
            }
            Some(named) => {
                let refused = request.swap_remove(named).commit.partition;
                left_out.partitions.push(refused);
                // What may come through another time is what is worth another try.
                if left_out.why.is_none() || error.class() == Class::Retriable {
                    left_out.why = Some(error.into());
                }
            }
            None if may_be_its_size(&error) && is_about_states => {
                request = whole.another_way(&error, sealing, request).await;
            }
            None => {
                whole.was_not_it(sealing);
                return Err((error, request));
            }
        }
    }
}

/// What is done about a request that is refused whole: perhaps it is too large.
#[derive(Default)]
struct Whole {
    is_sent_again: bool,
    before: Option<crate::inbound::replay::Room>,
}

impl Whole {
    /// First as it is, where the error may be one that passes: room that is given up does not come back. Then with half
    /// the room for states, then without them.
    async fn another_way(
        &mut self,
        error: &TransportError,
        sealing: &Arc<Sealing>,
        request: Vec<Sealed>,
    ) -> Vec<Sealed> {
        let may_pass = error.error_code() == Some(ErrorCode::UnknownServerError);
        if may_pass && !self.is_sent_again && self.before.is_none() {
            self.is_sent_again = true;
            return request;
        }
        if self.before.is_none() {
            self.before = Some(sealing.refused());
            return sealing.again(request).await;
        }
        sealing.without(request)
    }

    /// It is refused without states as well.
    fn was_not_it(&self, sealing: &Arc<Sealing>) {
        if let Some(before) = self.before {
            sealing.restore(before);
        }
    }
}

fn partition_of(sealed: &Sealed) -> TopicPartition {
    sealed.commit.partition.clone()
}

fn is_state_of(request: &[Sealed], named: usize) -> bool {
    request.get(named).is_some_and(|one| !one.text.is_empty())
}

fn is_its_state(error: &TransportError) -> bool {
    error.error_code() == Some(ErrorCode::OffsetMetadataTooLarge)
}

/// A request near a mebibyte fails whole: with 28 at older brokers, with -1 for every partition at later ones
/// (measured on Kafka 4.1), which may mean something else as well.
fn may_be_its_size(error: &TransportError) -> bool {
    matches!(
        error.error_code(),
        Some(ErrorCode::InvalidCommitOffsetSize | ErrorCode::UnknownServerError)
    )
}

/// Whether the error says of this partition, and of no other, that it cannot be committed. What is wrong with the
/// member or the coordinator is answered for each partition too, and left to hold for all.
fn is_because_of(error: &TransportError, commit: &Commit) -> bool {
    let target = error.target();
    let is_named = target.topic_name() == Some(&*commit.partition.topic)
        && target.partition_index() == Some(commit.partition.partition);
    let is_its_own = matches!(
        error.error_code(),
        Some(
            ErrorCode::UnknownTopicId
                | ErrorCode::InconsistentTopicId
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::TopicAuthorizationFailed
                | ErrorCode::OffsetMetadataTooLarge
        )
    );
    is_named && is_its_own
}

fn to_commit(sealed: &Sealed) -> OffsetToCommit {
    OffsetToCommit {
        partition: sealed.commit.partition.clone(),
        offset: sealed.commit.offset,
        leader_epoch: None,
        metadata: sealed.text.clone(),
    }
}

#[cfg(test)]
mod tests;
