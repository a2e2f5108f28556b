//! Partitions come and go.

use cybermesh_contracts::kind::Kind;
use cybermesh_transport::host;
use tokio::time::Instant;

use super::keeping::LastKept;
use super::{Held, Pipeline};
use crate::inbound::flow::{Flow, FlowPolicy};
use crate::inbound::group::{Assignment, GroupCommand, Life, TopicId};
use crate::inbound::hang::HangWatch;
use crate::inbound::judge::{Judge, JudgeOrder};
use crate::inbound::origin::TopicPartition;
use crate::inbound::pause::Pause;

/// Partitions on their way out: drained until a deadline, committed, then released.
#[derive(Debug)]
pub(super) struct Revocation {
    serial: u64,
    partitions: Vec<TopicPartition>,
    until: Instant,
    committing: bool,
}

impl Revocation {
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.committing).then_some(self.until)
    }
}

impl<J: Judge> Pipeline<J> {
    pub(super) fn on_assigned(&mut self, assignments: Vec<Assignment>) {
        self.assigned = true;
        self.was_assigned = true;
        for assignment in assignments {
            let partition = assignment.partition.clone();
            let Some(kind) = self.config.kinds.get(&partition.topic).copied() else {
                tracing::error!(%partition, "assigned a partition of a topic that was not asked for");
                continue;
            };
            self.forget(&partition);
            self.open(kind, assignment);
        }
    }

    pub(super) fn hold(
        &mut self,
        partition: &TopicPartition,
        life: Life,
        kind: Kind,
        start: i64,
        order: Box<dyn JudgeOrder<J::Message>>,
    ) {
        self.serial += 1;
        let policy = FlowPolicy {
            retry: self.config.retry,
            guard: self.config.guard,
            try_every: self.config.try_every,
        };
        let mut flow = Flow::new(partition.clone(), start, order, policy, Instant::now());
        if self.works.former_handler_runs(partition, self.serial) {
            flow.pause(Pause::FormerHandler);
        }
        let held = Held {
            assignment: self.serial,
            life,
            kind,
            flow,
            cut: None,
            committed: start,
            stands: None,
            is_uncommitted: false,
            unheard: None,
            kept: LastKept::default(),
            high_watermark: start,
            fetching: true,
            closing: false,
            hang: HangWatch::new(self.config.hang_after),
            hung_at: None,
            gauges: self.works.partition_gauges(partition),
        };
        self.budget.join(partition.clone());
        self.held.insert(partition.clone(), held);
    }

    /// Reading goes on from `to`. Ahead of what was read that is a gap like any other. Below it the
    /// topic was made again or its log was cut: other messages stand at these offsets now, so what
    /// is in flight is dropped, and a lower offset may be committed; what is in flight before `to` is [finished
    /// first](super::cut). Of a partition on its way out nothing is committed any more: its next owner begins where the
    /// log does.
    pub(super) fn on_reset(
        &mut self,
        partition: TopicPartition,
        to: i64,
        topic_id: Option<TopicId>,
        life: Life,
    ) {
        if self.open_elsewhere(&partition, to, topic_id, life) {
            return;
        }
        let Some(held) = self.held.get_mut(&partition) else {
            return;
        };
        if held.cut(to, topic_id, life) {
            tracing::warn!(%partition, to, "the log was cut; what lies before that is finished first");
            return;
        }
        if to >= held.flow.position() {
            held.life = life;
            return;
        }
        tracing::error!(%partition, to,
            "the log begins again below what was read; what was accepted before will not pass again");
        if held.closing || held.flow.is_draining() {
            return self.forget_log(&partition, topic_id);
        }
        self.begin_again(partition, to, topic_id, life);
    }

    /// Drops what is in flight, and goes on from `to`.
    pub(super) fn begin_again(
        &mut self,
        partition: TopicPartition,
        to: i64,
        topic_id: Option<TopicId>,
        life: Life,
    ) {
        self.works.cancel(&partition);
        self.budget.leave(&partition);
        let Some(former) = self.held.remove(&partition) else {
            return;
        };
        let mut order = former.flow.into_order();
        order.log_begins_again(topic_id);
        self.hold(&partition, life, former.kind, to, order);
        if let Some(held) = self.held.get_mut(&partition) {
            held.unheard = former.unheard;
        }
        self.group.tell(GroupCommand::Resume(partition));
    }

    /// Stops dispatching these partitions; [`advance_revocations`](Self::advance_revocations) goes on.
    pub(super) fn on_revoked(&mut self, partitions: Vec<TopicPartition>) {
        for partition in &partitions {
            self.close_opening(partition);
            if let Some(held) = self.held.get_mut(partition) {
                held.flow.drain();
            }
        }
        self.serial += 1;
        self.revocations.push(Revocation {
            serial: self.serial,
            partitions,
            until: Instant::now() + self.config.revoke_timeout,
            committing: false,
        });
    }

    /// Drops everything: somebody else may have these partitions already.
    pub(super) fn on_lost(&mut self, partitions: &[TopicPartition]) {
        self.assigned = false;
        // What was revoked and is lost before it was released must not be taken away once more when
        // it has come back by the time its last commit is answered.
        for revocation in &mut self.revocations {
            revocation
                .partitions
                .retain(|partition| !partitions.contains(partition));
        }
        self.revocations
            .retain(|revocation| !revocation.partitions.is_empty());
        for partition in partitions {
            if self.held.contains_key(partition) {
                tracing::warn!(%partition, "lost; what was in flight will be handled again by its next owner");
            }
            self.forget(partition);
        }
    }

    /// Commits and then releases what is drained, or has had its time.
    pub(super) fn advance_revocations(&mut self, now: Instant) {
        let due: Vec<(u64, Vec<TopicPartition>)> = self
            .revocations
            .iter_mut()
            .filter(|revocation| !revocation.committing)
            .filter(|revocation| {
                now >= revocation.until
                    || revocation.partitions.iter().all(|partition| {
                        self.held
                            .get(partition)
                            .is_none_or(|held| held.flow.is_drained())
                    })
            })
            .map(|revocation| {
                revocation.committing = true;
                (revocation.serial, revocation.partitions.clone())
            })
            .collect();
        for (serial, partitions) in due {
            for partition in &partitions {
                self.works.cancel(partition);
                if let Some(held) = self.held.get_mut(partition) {
                    held.closing = true;
                }
            }
            let commits = !host::bug("revoked-uncommitted");
            if !(commits && self.commit(partitions.into_iter(), Some(serial), true)) {
                self.release(serial);
            }
        }
    }

    /// Ends a revocation whose commit was answered, either way: what was not committed is
    /// delivered again to the next owner.
    pub(super) fn release(&mut self, serial: u64) {
        let Some(index) = self
            .revocations
            .iter()
            .position(|revocation| revocation.serial == serial)
        else {
            return;
        };
        let revocation = self.revocations.swap_remove(index);
        for partition in &revocation.partitions {
            self.keep_copy(partition, Instant::now());
            self.forget(partition);
        }
        self.group
            .tell(GroupCommand::Release(revocation.partitions));
    }

    /// Cancels what runs of a partition and lets go of it.
    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        self.close_opening(partition);
        self.works.cancel(partition);
        self.budget.leave(partition);
        if let Some(held) = self.held.remove(partition) {
            self.orders.close(partition.clone(), held.flow.into_order());
        }
    }

    /// As [`forget`](Self::forget), where the log is not the one any more that was read: nothing of it is committed.
    pub(super) fn forget_log(&mut self, partition: &TopicPartition, topic_id: Option<TopicId>) {
        self.works.cancel(partition);
        self.budget.leave(partition);
        if let Some(held) = self.held.remove(partition) {
            let mut order = held.flow.into_order();
            order.log_begins_again(topic_id);
            self.orders.close(partition.clone(), order);
        }
    }
}
