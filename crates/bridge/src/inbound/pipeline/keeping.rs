//! Copies of replay states, kept where they outlive the process.

use std::time::Duration;

use tokio::time::Instant;

use super::Pipeline;
use crate::inbound::judge::{Judge, Kept};
use crate::inbound::origin::TopicPartition;

/// How often a partition's copy is written while it moves.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// What a partition's last copy was of.
#[derive(Debug, Default)]
pub(super) struct LastKept {
    /// The committed offset, where it had been read to, and how much was in flight then.
    of: Option<(i64, i64, usize)>,
    at: Option<Instant>,
}

impl<J: Judge> Pipeline<J> {
    /// Has copies kept of what moved since the last ones.
    pub(super) fn keep_copies(&mut self, now: Instant) {
        if !self.orders.keeps_copies() {
            return;
        }
        let is_due = |last: &LastKept| last.at.is_none_or(|at| now >= at + KEEP_EVERY);
        let due = self.held.iter().filter(|(_, held)| is_due(&held.kept));
        let due: Vec<TopicPartition> = due.map(|(partition, _)| partition.clone()).collect();
        for partition in due {
            self.keep_copy(&partition, now);
        }
    }

    /// Has the last copy kept of a partition that goes.
    pub(super) fn keep_copy(&mut self, partition: &TopicPartition, now: Instant) {
        if !self.orders.keeps_copies() {
            return;
        }
        let Some(held) = self.held.get_mut(partition) else {
            return;
        };
        let Some(offset) = held.stands else {
            return;
        };
        let of = (offset, held.flow.position(), held.flow.in_flight());
        if held.kept.of == Some(of) {
            return;
        }
        let Some(state) = held.flow.state(offset) else {
            return;
        };
        let copy = Kept {
            partition: partition.clone(),
            offset,
            state,
            handled: held.flow.handled_from(offset),
        };
        if self.orders.keep(copy) {
            held.kept = LastKept {
                of: Some(of),
                at: Some(now),
            };
        }
    }
}
