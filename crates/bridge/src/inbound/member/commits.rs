//! Commits on their way from the pipeline to the consumer, which takes all of one or nothing.
//!
//! What the pipeline commits it decided before it saw what it is being told: of a partition that has been assigned anew
//! or reset since, the offset may be one of another log, and is refused here. One partition that cannot be committed
//! does not hold the others up either.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use cybermesh_transport::{Class, ErrorCode, OffsetToCommit, TopicPartition, TransportError};

use crate::inbound::group::{Commit, CommitError, Life};

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

/// Has `send` commit what may be committed. What is refused for the sake of one partition is sent again at once
/// without it.
pub(super) async fn commit<F>(
    lives: &Lives,
    mut commits: Vec<Commit>,
    mut send: impl FnMut(Vec<OffsetToCommit>) -> F,
) -> Result<(), CommitError>
where
    F: Future<Output = Result<(), TransportError>>,
{
    let mut left_out = Vec::new();
    let mut why = None;
    loop {
        for former in commits.extract_if(.., |commit| lives.is_over(commit)) {
            why = Some(CommitError::NotNow(format!(
                "{} was assigned anew or reset since",
                former.partition
            )));
            left_out.push(former.partition);
        }
        if commits.is_empty() {
            return why.map_or(Ok(()), Err);
        }
        let offsets = commits.iter().map(to_commit).collect();
        let Err(error) = send(offsets).await else {
            let partly = |why| CommitError::Partly {
                left_out,
                why: Box::new(why),
            };
            return why.map(partly).map_or(Ok(()), Err);
        };
        let Some(named) = commits.iter().position(|one| is_because_of(&error, one)) else {
            return Err(error.into());
        };
        left_out.push(commits.swap_remove(named).partition);
        // What may come through another time is what is worth another try.
        if why.is_none() || error.class() == Class::Retriable {
            why = Some(error.into());
        }
    }
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

fn to_commit(commit: &Commit) -> OffsetToCommit {
    OffsetToCommit {
        partition: commit.partition.clone(),
        offset: commit.offset,
        leader_epoch: None,
        metadata: commit.metadata.clone(),
    }
}

#[cfg(test)]
mod tests;
