//! The pipeline's tasks: judging, handling, burying.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::rejection::Rejection;
use cybermesh_transport::host;
use futures_util::FutureExt;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;

use super::PipelineConfig;
use super::judging::{Waiting, judge_chunk};
use crate::handler::Context;
use crate::inbound::attempts::Ended;
use crate::inbound::burial::Burial;
use crate::inbound::dispatch::Start;
use crate::inbound::effect::Job;
use crate::inbound::judge::{Bury, Handle, Judge};
use crate::inbound::origin::{Origin, TopicPartition};
use crate::telemetry::{Audit, Metrics};

/// Whose work it is.
pub(super) struct Place<'a> {
    pub(super) partition: &'a TopicPartition,
    pub(super) assignment: u64,
    pub(super) kind: Kind,
}

/// Whether a dead letter is written for the first time; only then it is counted and audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Try {
    First,
    Again,
}

/// A report of one task.
pub(super) enum Finished<M> {
    Judged {
        partition: TopicPartition,
        assignment: u64,
        results: Vec<(Arc<Origin>, crate::inbound::effect::Judged<M>)>,
    },
    Handled {
        partition: TopicPartition,
        assignment: u64,
        job: Arc<Job<M>>,
        attempt: u32,
        ended: Ended,
        took: Duration,
    },
    /// A handler that was cancelled with its partition is gone.
    Cancelled {
        partition: TopicPartition,
        assignment: u64,
    },
    Buried {
        partition: TopicPartition,
        assignment: u64,
        offset: i64,
        result: Result<(), String>,
    },
}

impl<M> Finished<M> {
    pub(super) fn place(&self) -> (&TopicPartition, u64) {
        match self {
            Self::Judged {
                partition,
                assignment,
                ..
            }
            | Self::Handled {
                partition,
                assignment,
                ..
            }
            | Self::Cancelled {
                partition,
                assignment,
            }
            | Self::Buried {
                partition,
                assignment,
                ..
            } => (partition, *assignment),
        }
    }
}

struct Running<M> {
    partition: TopicPartition,
    assignment: u64,
    job: Arc<Job<M>>,
    attempt: u32,
    started: Instant,
    abort: AbortHandle,
}

/// Every task the pipeline has; dropping it cancels them all.
pub(super) struct Works<J: Judge> {
    judge: Arc<J>,
    handlers: Arc<dyn Handle<J::Message>>,
    pub(super) dead_letters: Arc<dyn Bury>,
    pub(super) metrics: Metrics,
    audit: Audit,
    handler_timeout: Duration,
    workers: NonZeroUsize,
    to_judge: Waiting<J>,
    judging: JoinSet<Finished<J::Message>>,
    handling: JoinSet<Ended>,
    running: HashMap<Id, Running<J::Message>>,
    pub(super) burying: JoinSet<Finished<J::Message>>,
    inflight_shown: i64,
}

impl<J: Judge> Works<J> {
    pub(super) fn new(
        config: &PipelineConfig,
        judge: Arc<J>,
        handlers: Arc<dyn Handle<J::Message>>,
        dead_letters: Arc<dyn Bury>,
        metrics: Metrics,
        audit: Audit,
    ) -> Self {
        Self {
            judge,
            handlers,
            dead_letters,
            metrics,
            audit,
            handler_timeout: config.handler_timeout,
            workers: config.workers,
            to_judge: Waiting::default(),
            judging: JoinSet::new(),
            handling: JoinSet::new(),
            running: HashMap::new(),
            burying: JoinSet::new(),
            inflight_shown: 0,
        }
    }

    /// The next report; `None` while nothing is at work. Dropping this future loses none.
    pub(super) async fn next(&mut self) -> Option<Finished<J::Message>> {
        loop {
            tokio::select! {
                Some(judged) = self.judging.join_next() => match judged {
                    Ok(finished) => return Some(finished),
                    Err(error) => tracing::error!(%error, "a verification worker is gone"),
                },
                Some(ended) = self.handling.join_next_with_id() => {
                    let finished = match ended {
                        Ok((id, ended)) => self.ended(id, ended),
                        Err(error) if error.is_panic() => self.ended(error.id(), Ended::Panicked),
                        Err(error) => self.cancelled(error.id()),
                    };
                    if let Some(finished) = finished {
                        return Some(finished);
                    }
                }
                Some(buried) = self.burying.join_next() => match buried {
                    Ok(finished) => return Some(finished),
                    Err(error) => tracing::error!(%error, "a dead letter's task is gone"),
                },
                else => return None,
            }
        }
    }

    fn ended(&mut self, id: Id, ended: Ended) -> Option<Finished<J::Message>> {
        let running = self.running.remove(&id)?;
        Some(Finished::Handled {
            partition: running.partition,
            assignment: running.assignment,
            job: running.job,
            attempt: running.attempt,
            ended,
            took: running.started.elapsed(),
        })
    }

    fn cancelled(&mut self, id: Id) -> Option<Finished<J::Message>> {
        let running = self.running.remove(&id)?;
        Some(Finished::Cancelled {
            partition: running.partition,
            assignment: running.assignment,
        })
    }

    pub(super) fn trust(&self) -> Arc<J::Trust> {
        self.judge.trust()
    }

    pub(super) fn has_keys(&self, trust: &J::Trust, kind: Kind) -> bool {
        self.judge.has_keys(trust, kind)
    }

    /// Counts a message whose key was withdrawn while it waited.
    pub(super) fn note_former_trust(
        &self,
        place: &Place<'_>,
        origin: &Origin,
        rejection: &Rejection,
        wall_ms: i64,
    ) {
        let former = self
            .judge
            .formerly_trusted(place.kind, origin, rejection, wall_ms);
        if let Some(id) = former {
            self.metrics.formerly_trusted(&origin.topic, &id);
        }
    }

    pub(super) fn recheck(&self, trust: &J::Trust, message: &J::Message) -> Result<(), Rejection> {
        self.judge.recheck(trust, message)
    }

    /// Queues records for the workers, all under the same trust.
    pub(super) fn judge(
        &mut self,
        place: &Place<'_>,
        trust: &Arc<J::Trust>,
        wall_ms: i64,
        records: Vec<Arc<Origin>>,
    ) {
        for origin in &records {
            self.metrics
                .received(&origin.topic, origin.partition, place.kind);
        }
        self.judge_again(place, trust, wall_ms, records);
    }

    /// The same for records that were judged before, and were counted then.
    pub(super) fn judge_again(
        &mut self,
        place: &Place<'_>,
        trust: &Arc<J::Trust>,
        wall_ms: i64,
        records: Vec<Arc<Origin>>,
    ) {
        let mode = self.judge.mode(place.kind);
        self.to_judge.put(place, trust, wall_ms, mode, records);
    }

    /// Gives queued records to workers that are free.
    pub(super) fn spawn_judging(&mut self) {
        while self.judging.len() < self.workers.get() {
            let Some(chunk) = self.to_judge.take() else {
                return;
            };
            let judge = Arc::clone(&self.judge);
            let metrics = self.metrics.clone();
            host::spawn_blocking_on(&mut self.judging, move || {
                judge_chunk(judge.as_ref(), &metrics, chunk)
            });
        }
    }

    /// Calls a handler in a task of its own, bounded by its deadline.
    pub(super) fn handle(
        &mut self,
        place: &Place<'_>,
        start: Start<Arc<Job<J::Message>>>,
        now: Instant,
    ) {
        let Start { attempt, item, .. } = start;
        let (handlers, job, kind) = (Arc::clone(&self.handlers), Arc::clone(&item), place.kind);
        let deadline = self.handler_timeout;
        let call = async move {
            let context = Context {
                origin: Arc::clone(&job.origin),
                attempt,
            };
            let message = job.message.clone();
            drop(job);
            handlers.call(kind, message, context).await
        };
        let abort = self.handling.spawn(host::bound(async move {
            let bounded = tokio::time::timeout(deadline, call);
            match AssertUnwindSafe(bounded).catch_unwind().await {
                Ok(Ok(result)) => Ended::Returned(result),
                Ok(Err(_elapsed)) => Ended::TimedOut,
                Err(_payload) => Ended::Panicked,
            }
        }));
        self.running.insert(
            abort.id(),
            Running {
                partition: place.partition.clone(),
                assignment: place.assignment,
                job: item,
                attempt,
                started: now,
                abort,
            },
        );
    }

    /// Cancels the handlers of a partition, and forgets what waits for a worker.
    pub(super) fn cancel(&mut self, partition: &TopicPartition) {
        for running in self.running.values() {
            if running.partition == *partition {
                running.abort.abort();
            }
        }
        self.to_judge.forget(partition);
    }

    /// Whether a handler of an earlier assignment of this partition has not ended yet.
    pub(super) fn former_handler_runs(&self, partition: &TopicPartition, assignment: u64) -> bool {
        self.running
            .values()
            .any(|running| running.partition == *partition && running.assignment != assignment)
    }

    /// Writes a dead letter in a task of its own.
    pub(super) fn bury(&mut self, place: &Place<'_>, burial: Arc<Burial>, attempt: Try) {
        let (partition, assignment) = (place.partition.clone(), place.assignment);
        let dead_letters = Arc::clone(&self.dead_letters);
        let (metrics, trail) = (self.metrics.clone(), self.audit.clone());
        if attempt == Try::First {
            metrics.dead_letter_requested();
            // What a summary stands for was counted one by one.
            if burial.summary.is_none() {
                metrics.rejected(&partition.topic, burial.disposition);
                metrics.receive_failed(&partition.topic, place.kind);
            }
        }
        self.burying.spawn(host::bound(async move {
            if attempt == Try::First {
                super::effects::audit(&trail, &burial);
            }
            let offset = burial.origin.offset;
            let disposition = burial.disposition;
            if host::bug("burial-not-awaited") {
                host::spawn(async move { dead_letters.bury(burial).await });
                return Finished::Buried {
                    partition,
                    assignment,
                    offset,
                    result: Ok(()),
                };
            }
            let result = match AssertUnwindSafe(dead_letters.bury(burial))
                .catch_unwind()
                .await
            {
                Ok(result) => result,
                Err(_payload) => Err("the dead-letter writer panicked".to_owned()),
            };
            if let Err(reason) = &result {
                metrics.dead_letter_failed();
                tracing::error!(%partition, offset, %disposition, reason,
                    "dead letter not written; the partition pauses and it is tried again");
            }
            Finished::Buried {
                partition,
                assignment,
                offset,
                result,
            }
        }));
    }

    pub(super) fn gauge_inflight(&mut self, messages: usize) {
        let messages = i64::try_from(messages).unwrap_or(i64::MAX);
        if messages != self.inflight_shown {
            self.metrics.inflight(messages - self.inflight_shown);
            self.inflight_shown = messages;
        }
    }

    pub(super) fn gauge_oldest(&self, age: Duration) {
        self.metrics.oldest_unfinished(age);
    }

    pub(super) fn partition_gauges(
        &self,
        partition: &TopicPartition,
    ) -> crate::telemetry::PartitionGauges {
        self.metrics
            .partition(&partition.topic, partition.partition)
    }
}

impl<J: Judge> Drop for Works<J> {
    fn drop(&mut self) {
        self.gauge_inflight(0);
    }
}
