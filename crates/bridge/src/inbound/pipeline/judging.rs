//! Judging: what waits for a worker, and what the worker does.
//!
//! Records of one partition go to a worker a few at a time. Where their kind's signatures are
//! verified in batches, a batch is what waits when a worker comes for it: nothing waits for company.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::rejection::{DecodeFault, Reason, Rejection};

use super::works::{Finished, Place};
use crate::inbound::effect::Judged;
use crate::inbound::judge::Judge;
use crate::inbound::origin::{Origin, TopicPartition};
use crate::settings::VerifyMode;
use crate::telemetry::Metrics;

/// Records a worker judges before it reports.
const CHUNK_RECORDS: usize = 16;
/// Records a worker judges together, where signatures are verified in batches: an equation over more
/// of them saves little beyond that.
const BATCH_RECORDS: usize = 64;

/// Records of one partition, for one worker.
pub(super) struct Chunk<J: Judge> {
    partition: TopicPartition,
    assignment: u64,
    kind: Kind,
    trust: Arc<J::Trust>,
    wall_ms: i64,
    records: Vec<Arc<Origin>>,
}

/// The records that no worker has taken yet, oldest first.
pub(super) struct Waiting<J: Judge>(VecDeque<Chunk<J>>);

impl<J: Judge> Default for Waiting<J> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<J: Judge> Waiting<J> {
    pub(super) fn put(
        &mut self,
        place: &Place<'_>,
        trust: &Arc<J::Trust>,
        wall_ms: i64,
        mode: VerifyMode,
        mut records: Vec<Arc<Origin>>,
    ) {
        let most = match mode {
            VerifyMode::Strict => CHUNK_RECORDS,
            VerifyMode::Batch => {
                self.fill_last(place, trust, wall_ms, &mut records);
                BATCH_RECORDS
            }
        };
        while !records.is_empty() {
            let rest = records.split_off(records.len().min(most));
            self.0.push_back(Chunk {
                partition: place.partition.clone(),
                assignment: place.assignment,
                kind: place.kind,
                trust: Arc::clone(trust),
                wall_ms,
                records: std::mem::replace(&mut records, rest),
            });
        }
    }

    /// Fills up the last batch of this partition.
    fn fill_last(
        &mut self,
        place: &Place<'_>,
        trust: &Arc<J::Trust>,
        wall_ms: i64,
        records: &mut Vec<Arc<Origin>>,
    ) {
        let last = self.0.iter_mut().rev().find(|chunk| {
            chunk.partition == *place.partition && chunk.assignment == place.assignment
        });
        if let Some(last) = last.filter(|chunk| Arc::ptr_eq(&chunk.trust, trust)) {
            let room = BATCH_RECORDS.saturating_sub(last.records.len());
            last.records
                .extend(records.drain(..room.min(records.len())));
            last.wall_ms = wall_ms;
        }
    }

    pub(super) fn take(&mut self) -> Option<Chunk<J>> {
        self.0.pop_front()
    }

    /// Drops what waits of a partition that is gone.
    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        self.0.retain(|chunk| chunk.partition != *partition);
    }
}

/// Judges records, together where their kind's mode says so.
pub(super) fn judge_chunk<J: Judge>(
    judge: &J,
    metrics: &Metrics,
    chunk: Chunk<J>,
) -> Finished<J::Message> {
    let together = match judge.mode(chunk.kind) {
        VerifyMode::Batch => judge_together(judge, metrics, &chunk),
        VerifyMode::Strict => None,
    };
    let judged = together.unwrap_or_else(|| {
        let each = chunk.records.iter();
        each.map(|origin| judge_one(judge, metrics, &chunk, origin))
            .collect()
    });
    for (origin, judged) in chunk.records.iter().zip(&judged) {
        if let Err(rejection) = judged
            && let Some(id) = judge.formerly_trusted(chunk.kind, origin, rejection, chunk.wall_ms)
        {
            metrics.formerly_trusted(&origin.topic, &id);
        }
    }
    Finished::Judged {
        partition: chunk.partition,
        assignment: chunk.assignment,
        results: chunk.records.into_iter().zip(judged).collect(),
    }
}

/// Judges one record. A fault of ours on it must not stop the partition: whoever may write to the
/// topic could stop us with it.
fn judge_one<J: Judge>(
    judge: &J,
    metrics: &Metrics,
    chunk: &Chunk<J>,
    origin: &Origin,
) -> Judged<J::Message> {
    let started = std::time::Instant::now();
    let judged = if let Some(fault) = &origin.unreadable {
        Err(undecodable(fault.as_ref()))
    } else {
        std::panic::catch_unwind(AssertUnwindSafe(|| {
            judge.judge(&chunk.trust, chunk.kind, origin, chunk.wall_ms)
        }))
        .unwrap_or_else(|_payload| {
            tracing::error!(partition = %chunk.partition, offset = origin.offset,
                "verification panicked; the record is buried");
            Err(undecodable("verification failed on it"))
        })
    };
    metrics.verified(started.elapsed());
    judged
}

/// Judges the records of a chunk together; `None` where that came to nothing, so that each is judged
/// by itself and one at fault is found.
fn judge_together<J: Judge>(
    judge: &J,
    metrics: &Metrics,
    chunk: &Chunk<J>,
) -> Option<Vec<Judged<J::Message>>> {
    let started = std::time::Instant::now();
    let readable = chunk.records.iter().map(Arc::as_ref);
    let readable: Vec<&Origin> = readable
        .filter(|origin| origin.unreadable.is_none())
        .collect();
    let judged = std::panic::catch_unwind(AssertUnwindSafe(|| {
        judge.judge_batch(&chunk.trust, chunk.kind, &readable, chunk.wall_ms)
    }));
    let judged = judged
        .ok()
        .filter(|judged| judged.len() == readable.len())
        .or_else(|| {
            tracing::error!(partition = %chunk.partition,
                "verification of a batch failed; its records are judged one by one");
            None
        })?;
    let records = u32::try_from(chunk.records.len()).unwrap_or(u32::MAX);
    let share = started.elapsed() / records.max(1);
    let mut judged = judged.into_iter();
    let each = chunk.records.iter().map(|origin| {
        metrics.verified(share);
        match &origin.unreadable {
            Some(fault) => Err(undecodable(fault.as_ref())),
            None => judged
                .next()
                .unwrap_or_else(|| Err(undecodable("verification failed on it"))),
        }
    });
    Some(each.collect())
}

fn undecodable(fault: &str) -> Rejection {
    let fault = DecodeFault::Malformed(fault.to_owned());
    Rejection::new(Reason::Decode(fault), None)
}

#[cfg(test)]
mod tests;
