//! What is asked of a running pipeline.

use std::collections::BTreeSet;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::stop::SubscriberReport;
use super::{Held, Pipeline};
use crate::inbound::judge::Judge;
use crate::inbound::origin::TopicPartition;
use crate::inbound::pause::Pause;
use crate::telemetry::AuditEvent;

/// What is asked.
#[derive(Debug)]
pub(crate) enum Request {
    /// To stop.
    Stop(StopRequest),
    /// To let a partition go on that stands still until somebody says so.
    Resume(ResumeRequest),
}

/// A wish to stop by a deadline.
#[derive(Debug)]
pub(crate) struct StopRequest {
    pub(crate) deadline: Instant,
    pub(crate) reply: oneshot::Sender<SubscriberReport>,
}

/// A wish to resume; answered with the pauses that it ended, or `None` where the partition is not held.
#[derive(Debug)]
pub(crate) struct ResumeRequest {
    pub(crate) partition: TopicPartition,
    pub(crate) reply: oneshot::Sender<Option<Vec<Pause>>>,
}

impl<J: Judge> Pipeline<J> {
    pub(super) fn on_resume(&mut self, request: ResumeRequest) {
        let ended = self.resume(&request.partition);
        if let Some(ended) = ended.as_deref().filter(|ended| !ended.is_empty()) {
            self.health.audit().record(&AuditEvent::ResumeOrdered {
                topic: &request.partition.topic,
                partition: request.partition.partition,
                ended,
            });
        }
        if request.reply.send(ended).is_err() {
            tracing::debug!("nobody waits for the partition to resume any more");
        }
    }

    fn resume(&mut self, partition: &TopicPartition) -> Option<Vec<Pause>> {
        let now = Instant::now();
        if self.opening.contains_key(partition) {
            return Some(Vec::new());
        }
        let held = self.held.get_mut(partition)?;
        let mut ended: BTreeSet<Pause> = held.flow.resume_by_command().into_iter().collect();
        if held.is_paused_by(Pause::Clock) && self.faults.clock.overrule(now) {
            ended.insert(Pause::Clock);
        }
        Some(ended.into_iter().collect())
    }
}

impl<M: crate::inbound::judge::Believed> Held<M> {
    fn is_paused_by(&self, reason: Pause) -> bool {
        self.flow.pauses().any(|pause| pause == reason)
    }
}
