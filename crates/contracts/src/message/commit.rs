//! Commits: blocks that the backend committed.

use std::ops::RangeInclusive;

use super::event::Event;
use super::invalid::Invalid;
use super::rules::{demand, entries, fixed, lowercase_uuid_v4, uuid_v4};
use super::seal::ControlSeal;
use crate::proto::CommitEvent;
use crate::rejection::Violation;

/// How many anomalies a commit may name.
pub(super) const ANOMALY_IDS: RangeInclusive<usize> = 0..=10_000;

/// A valid commit.
#[derive(Clone, PartialEq, Eq)]
pub struct Commit {
    height: i64,
    block_hash: [u8; 32],
    state_root: [u8; 32],
    tx_count: u32,
    anomaly_count: u32,
    evidence_count: u32,
    policy_count: u32,
    anomaly_ids: Vec<String>,
    seal: ControlSeal,
}

accessors!(Commit {
    /// The block's height, at least 0.
    height: i64 = |this| this.height;
    /// The block's hash.
    block_hash: &[u8; 32] = |this| &this.block_hash;
    /// The root of the state after it.
    state_root: &[u8; 32] = |this| &this.state_root;
    /// Transactions in it, of every sort.
    tx_count: u32 = |this| this.tx_count;
    /// Anomalies among them.
    anomaly_count: u32 = |this| this.anomaly_count;
    /// Evidence among them.
    evidence_count: u32 = |this| this.evidence_count;
    /// Policies among them.
    policy_count: u32 = |this| this.policy_count;
    /// Version-4 UUIDs of anomalies in it, hyphenated, in either case; at most 10000.
    anomaly_ids: &[String] = |this| this.anomaly_ids.as_slice();
    /// What signing added.
    seal: &ControlSeal = |this| &this.seal;
});

impl Commit {
    pub(crate) fn parse(mut event: CommitEvent) -> Result<Self, Violation> {
        let seal = ControlSeal::read(&mut event)?;
        check(&event)?;
        Ok(Self {
            height: event.height,
            block_hash: fixed("block_hash", &event.block_hash)?,
            state_root: fixed("state_root", &event.state_root)?,
            tx_count: event.tx_count,
            anomaly_count: event.anomaly_count,
            evidence_count: event.evidence_count,
            policy_count: event.policy_count,
            anomaly_ids: event.anomaly_ids,
            seal,
        })
    }

    /// The wire's own struct, with all its fields.
    #[must_use]
    pub fn to_event(&self) -> CommitEvent {
        let mut event = CommitEvent {
            height: self.height,
            block_hash: self.block_hash.to_vec(),
            state_root: self.state_root.to_vec(),
            tx_count: self.tx_count,
            anomaly_count: self.anomaly_count,
            evidence_count: self.evidence_count,
            policy_count: self.policy_count,
            anomaly_ids: self.anomaly_ids.clone(),
            ..CommitEvent::default()
        };
        self.seal.write(&mut event);
        event
    }
}

impl std::fmt::Debug for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commit")
            .field("height", &self.height)
            .field("seal", &self.seal)
            .finish_non_exhaustive()
    }
}

/// Lengths and ranges.
fn check(event: &CommitEvent) -> Result<(), Violation> {
    demand(event.height >= 0, "height", "at least 0")?;
    fixed::<32>("block_hash", &event.block_hash)?;
    fixed::<32>("state_root", &event.state_root)?;
    let typed = [
        event.anomaly_count,
        event.evidence_count,
        event.policy_count,
    ];
    let typed: u64 = typed.into_iter().map(u64::from).sum();
    demand(
        typed <= u64::from(event.tx_count),
        "tx_count",
        "at least the sum of anomaly_count, evidence_count and policy_count",
    )?;
    entries("anomaly_ids", event.anomaly_ids.len(), ANOMALY_IDS)?;
    event
        .anomaly_ids
        .iter()
        .try_for_each(|id| uuid_v4("anomaly_ids", id))
}

draft!(
    /// A commit to be sent.
    CommitDraft of CommitEvent
);

impl CommitDraft {
    /// Starts a commit of the block with this height, hash and state root.
    #[must_use]
    pub fn builder(height: i64, block_hash: [u8; 32], state_root: [u8; 32]) -> CommitBuilder {
        CommitBuilder::from(CommitEvent {
            height,
            block_hash: block_hash.to_vec(),
            state_root: state_root.to_vec(),
            ..CommitEvent::default()
        })
    }
}

/// Builds a [`CommitDraft`] by the rules for emitting.
#[derive(Clone, Debug)]
pub struct CommitBuilder {
    event: CommitEvent,
}

impl From<CommitEvent> for CommitBuilder {
    /// Starts from fields read elsewhere; those that signing fills are dropped.
    fn from(mut event: CommitEvent) -> Self {
        event.clear_seal();
        Self { event }
    }
}

setters!(CommitBuilder {
    /// Transactions in the block, of every sort; at least the sum of the three sorts.
    tx_count(u32) = |event, value| event.tx_count = value;
    /// Anomalies among them.
    anomaly_count(u32) = |event, value| event.anomaly_count = value;
    /// Evidence among them.
    evidence_count(u32) = |event, value| event.evidence_count = value;
    /// Policies among them.
    policy_count(u32) = |event, value| event.policy_count = value;
    /// Adds the identifier of an anomaly in it, a lowercase hyphenated version-4 UUID; at most 10000.
    anomaly_id(impl Into<String>) = |event, value| event.anomaly_ids.push(value.into());
});

impl CommitBuilder {
    /// Checks everything.
    ///
    /// # Errors
    /// [`Invalid`], naming the field.
    pub fn build(self) -> Result<CommitDraft, Invalid> {
        check(&self.event)?;
        for id in &self.event.anomaly_ids {
            lowercase_uuid_v4("anomaly_ids", id)?;
        }
        Ok(CommitDraft { event: self.event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_summed_without_overflow() {
        let builder = CommitDraft::builder(0, [1; 32], [2; 32])
            .tx_count(u32::MAX)
            .policy_count(u32::MAX);
        assert!(builder.clone().build().is_ok());
        assert!(builder.anomaly_count(1).build().is_err());
    }
}
