//! Partitions that were assigned and are not handled yet: the order of their messages is being found
//! out. Others go on meanwhile.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use cybermesh_contracts::kind::Kind;
use cybermesh_transport::host;
use futures_util::FutureExt;
use tokio::task::{AbortHandle, JoinError};
use tokio::time::Instant;

use super::Pipeline;
use crate::inbound::group::{Assignment, GroupCommand, Life, TopicId};
use crate::inbound::judge::{Judge, JudgeOrder, Opening};
use crate::inbound::origin::TopicPartition;

/// Between an attempt that came to nothing and the next: doubled each time, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// One partition that waits for its order.
pub(super) struct Opened {
    /// Which attempt this is about; answers to an earlier one are dropped.
    serial: u64,
    kind: Kind,
    assignment: Assignment,
    attempt: Attempt,
    failures: u32,
    /// Why the last attempt came to nothing.
    pub(super) reason: Option<String>,
}

enum Attempt {
    Reading(AbortHandle),
    AgainAt(Instant),
}

/// How an attempt ended.
pub(super) struct Read<M> {
    partition: TopicPartition,
    serial: u64,
    result: Result<Box<dyn JudgeOrder<M>>, String>,
}

impl Opened {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.attempt {
            Attempt::Reading(_) => None,
            Attempt::AgainAt(at) => Some(at),
        }
    }

    fn cancel(&self) {
        if let Attempt::Reading(task) = &self.attempt {
            task.abort();
        }
    }

    fn failed(&mut self, reason: String, now: Instant) {
        let doubled = FIRST_WAIT * 2_u32.saturating_pow(self.failures.min(16));
        self.failures += 1;
        self.attempt = Attempt::AgainAt(now + doubled.min(LONGEST_WAIT));
        self.reason = Some(reason);
    }
}

impl<J: Judge> Pipeline<J> {
    /// Begins with a partition: at once where the order of its messages is known.
    pub(super) fn open(&mut self, kind: Kind, assignment: Assignment) {
        let opening = self.orders.open(kind, &assignment);
        self.go_on(kind, assignment, opening, 0, None);
    }

    fn go_on(
        &mut self,
        kind: Kind,
        assignment: Assignment,
        opening: Opening<J::Message>,
        failures: u32,
        reason: Option<String>,
    ) {
        let reading = match opening {
            Opening::Known(order) => return self.begin(kind, &assignment, order),
            Opening::ToBeRead(reading) => reading,
        };
        self.serial += 1;
        let (partition, serial) = (assignment.partition.clone(), self.serial);
        let task = self.reading.spawn(host::bound(async move {
            let result = match AssertUnwindSafe(reading).catch_unwind().await {
                Ok(result) => result,
                Err(_payload) => Err("a fault of ours".to_owned()),
            };
            Read {
                partition,
                serial,
                result,
            }
        }));
        let opened = Opened {
            serial,
            kind,
            attempt: Attempt::Reading(task),
            failures,
            reason,
            assignment,
        };
        self.opening
            .insert(opened.assignment.partition.clone(), opened);
    }

    fn begin(
        &mut self,
        kind: Kind,
        assignment: &Assignment,
        order: Box<dyn JudgeOrder<J::Message>>,
    ) {
        let partition = &assignment.partition;
        let committed = assignment.committed.as_ref();
        let stands = committed.map(|(offset, _)| *offset);
        let start = stands.unwrap_or(0);
        self.hold(partition, assignment.life, kind, start, order);
        if let Some(held) = self.held.get_mut(partition) {
            held.stands = stands;
        }
        tracing::info!(%partition, start, "assigned");
        self.group.tell(GroupCommand::Begin(partition.clone()));
        // A pause of its former assignment may still be in force.
        self.group.tell(GroupCommand::Resume(partition.clone()));
    }

    /// An attempt ended.
    pub(super) fn on_read(&mut self, read: Result<Read<J::Message>, JoinError>) {
        // One that was cancelled.
        let Ok(read) = read else { return };
        let is_current = |opened: &Opened| opened.serial == read.serial;
        if !self.opening.get(&read.partition).is_some_and(is_current) {
            return;
        }
        match read.result {
            Ok(order) => {
                if let Some(opened) = self.opening.remove(&read.partition) {
                    self.begin(opened.kind, &opened.assignment, order);
                }
            }
            Err(reason) => {
                tracing::warn!(partition = %read.partition, reason,
                    "what was accepted before cannot be found out now; the partition waits and it is tried again");
                if let Some(opened) = self.opening.get_mut(&read.partition) {
                    opened.failed(reason, Instant::now());
                }
            }
        }
    }

    /// Tries again what is due.
    pub(super) fn open_again(&mut self, now: Instant) {
        let due = |opened: &Opened| opened.deadline().is_some_and(|at| at <= now);
        let due: Vec<TopicPartition> = self
            .opening
            .iter()
            .filter(|(_, opened)| due(opened))
            .map(|(partition, _)| partition.clone())
            .collect();
        for partition in due {
            if let Some(opened) = self.opening.remove(&partition) {
                let opening = self.orders.open(opened.kind, &opened.assignment);
                let (failures, reason) = (opened.failures, opened.reason);
                self.go_on(opened.kind, opened.assignment, opening, failures, reason);
            }
        }
    }

    /// The partition is gone before it was begun with.
    pub(super) fn close_opening(&mut self, partition: &TopicPartition) {
        if let Some(opened) = self.opening.remove(partition) {
            opened.cancel();
        }
    }

    /// What is read back is not what will be read: begun with anew, from `to`. Answers whether the
    /// partition is being opened at all.
    pub(super) fn open_elsewhere(
        &mut self,
        partition: &TopicPartition,
        to: i64,
        topic_id: Option<TopicId>,
        life: Life,
    ) -> bool {
        let Some(opened) = self.opening.remove(partition) else {
            return false;
        };
        opened.cancel();
        let assignment = Assignment {
            committed: Some((to, String::new())),
            topic_id,
            life,
            ..opened.assignment
        };
        self.open(opened.kind, assignment);
        true
    }
}
