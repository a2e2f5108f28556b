//! Watermarks on their way to the group, and their acknowledgement.

use cybermesh_transport::host;
use tokio::time::Instant;

use super::Pipeline;
use crate::inbound::group::{Commit, CommitError, GroupCommand};
use crate::inbound::judge::Judge;
use crate::inbound::origin::TopicPartition;

/// An answer to a commit.
pub(super) struct Committed {
    pub(super) offsets: Vec<(Commit, u64)>,
    pub(super) begun: Instant,
    pub(super) revocation: Option<u64>,
    pub(super) result: Result<(), CommitError>,
}

impl Committed {
    fn is_acknowledged(&self, commit: &Commit) -> bool {
        match &self.result {
            Ok(()) => true,
            Err(CommitError::Partly { left_out, .. }) => !left_out.contains(&commit.partition),
            Err(CommitError::NotNow(_) | CommitError::Refused(_)) => false,
        }
    }
}

impl<J: Judge> Pipeline<J> {
    /// Asks for a commit of what moved, and of what is to be committed once more: where this `is_last`, before its time
    /// too. Answers whether there was anything.
    pub(super) fn commit(
        &mut self,
        partitions: impl Iterator<Item = TopicPartition>,
        revocation: Option<u64>,
        is_last: bool,
    ) -> bool {
        let begun = Instant::now();
        let offsets: Vec<(Commit, u64)> = partitions
            .filter_map(|partition| {
                let held = self.held.get(&partition)?;
                let mut offset = held.flow.watermark();
                if host::bug("commit-one-past") {
                    offset += 1;
                }
                held.is_to_be_committed(begun, is_last).then(|| {
                    let state = held.flow.state(offset);
                    let commit = Commit {
                        partition,
                        offset,
                        state,
                        life: held.life,
                    };
                    (commit, held.assignment)
                })
            })
            .collect();
        if offsets.is_empty() {
            return false;
        }
        let (reply, answer) = tokio::sync::oneshot::channel();
        let commits = offsets.iter().map(|(commit, _)| commit.clone()).collect();
        self.group.tell(GroupCommand::Commit(commits, reply));
        self.committing.push(Box::pin(async move {
            let gone = || CommitError::Refused("the consumer group is gone".to_owned());
            let result = answer.await.unwrap_or_else(|_| Err(gone()));
            Committed {
                offsets,
                begun,
                revocation,
                result,
            }
        }));
        true
    }

    pub(super) fn commit_periodically(&mut self) {
        if self.committing.is_empty() {
            let partitions: Vec<_> = self.held.keys().cloned().collect();
            self.commit(partitions.into_iter(), None, false);
        }
    }

    pub(super) fn on_committed(&mut self, committed: Committed) {
        let wall_ms = self.wall_ms();
        if let Err(error) = &committed.result {
            tracing::warn!(%error, "what is held on to will be committed again");
        }
        for (commit, assignment) in &committed.offsets {
            let is_acknowledged = committed.is_acknowledged(commit);
            let Some(held) = self.held.get_mut(&commit.partition) else {
                continue;
            };
            // Of whichever assignment: it is the same offset of the group.
            if !is_acknowledged {
                held.unheard = Some(Instant::now());
            }
            if held.assignment != *assignment {
                continue;
            }
            held.is_uncommitted = !is_acknowledged;
            if !is_acknowledged {
                continue;
            }
            if held.is_unheard_until(committed.begun) {
                held.unheard = None;
            }
            held.committed = held.committed.max(commit.offset);
            held.stands = Some(held.committed);
            held.flow.committed(commit.offset, wall_ms);
        }
        if let Some(revocation) = committed.revocation {
            self.release(revocation);
        }
    }
}
