//! Flow: one assigned partition on its way from fetched records to a watermark.
//!
//! Joins the parts that decide: records wait in the backlog until the budget has room, are judged
//! elsewhere, come back in offset order, are checked for replay, stand in lanes, are handled
//! elsewhere, and end done, skipped or buried. It answers what is to be done and does none of it.
//!
//! A flow pauses rather than give up what it may not: while dead letters do not get through, while
//! an exhausted message is held, while its kind has no keys, while the clock cannot be believed.
//! A paused flow takes up, judges and starts nothing; what runs may end.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use cybermesh_contracts::rejection::{Disposition, Rejection};
use tokio::time::Instant;

use super::attempts::{Ended, Next, RetryPolicy};
use super::budget::Budget;
use super::burial::{Burial, Burials};
use super::dispatch::{Lanes, Start};
use super::effect::{Effect, Job, Judged, Moment};
use super::judge::{Believed, JudgeOrder, Order};
use super::origin::{Origin, TopicPartition};
use super::pause::Pause;
use super::reorder::Reorder;
use super::watermark::Watermark;

/// How far a partition may run ahead of a message that holds its watermark back, in offsets: what
/// is remembered for replays, and handled again after a crash, grows with that distance.
const MAX_AHEAD: i64 = 100_000;

#[derive(Debug)]
struct InFlight {
    bytes: usize,
    since: Instant,
    first_failed_ms: Option<i64>,
}

/// One assigned partition; `M` is a verified message.
pub(crate) struct Flow<M> {
    name: TopicPartition,
    backlog: VecDeque<Arc<Origin>>,
    /// Where the fetched records end, gaps included.
    end: i64,
    watermark: Watermark<InFlight>,
    reorder: Reorder<(Arc<Origin>, Judged<M>)>,
    order: Box<dyn JudgeOrder<M>>,
    lanes: Lanes<Arc<Job<M>>>,
    burials: Burials,
    pauses: BTreeSet<Pause>,
    draining: bool,
    policy: RetryPolicy,
}

impl<M: Believed> Flow<M> {
    /// Starts at the first offset that will be read.
    pub(crate) fn new(
        name: TopicPartition,
        start: i64,
        order: Box<dyn JudgeOrder<M>>,
        policy: RetryPolicy,
    ) -> Self {
        Self {
            name,
            backlog: VecDeque::new(),
            end: start,
            watermark: Watermark::new(start),
            reorder: Reorder::default(),
            order,
            lanes: Lanes::default(),
            burials: Burials::default(),
            pauses: BTreeSet::new(),
            draining: false,
            policy,
        }
    }

    /// The lowest offset that was never taken up or passed.
    pub(crate) fn position(&self) -> i64 {
        self.backlog
            .back()
            .map_or_else(|| self.watermark.position(), |last| last.offset + 1)
            .max(self.end)
    }

    /// Records came, in offset order; nothing else exists below `end`.
    pub(crate) fn fetched(&mut self, records: impl IntoIterator<Item = Arc<Origin>>, end: i64) {
        if self.draining {
            return;
        }
        for record in records {
            let next = self
                .backlog
                .back()
                .map_or_else(|| self.watermark.position(), |last| last.offset + 1);
            if record.offset >= next && record.offset < i64::MAX {
                self.backlog.push_back(record);
            }
        }
        self.end = self.end.max(end);
        self.skip_gap();
    }

    /// Takes records up as far as the budget has room; they are to be judged.
    pub(crate) fn admit(
        &mut self,
        budget: &mut Budget<TopicPartition>,
        now: Instant,
    ) -> Vec<Arc<Origin>> {
        let mut admitted = Vec::new();
        if self.draining || self.is_paused() {
            return admitted;
        }
        while let Some(record) = self.backlog.front() {
            let ahead = record.offset.saturating_sub(self.watermark.watermark());
            if ahead > MAX_AHEAD && self.watermark.in_flight() > 0 {
                break;
            }
            let bytes = record.weight_bytes();
            if !budget.admit(&self.name, bytes) {
                break;
            }
            let Some(record) = self.backlog.pop_front() else {
                break;
            };
            let in_flight = InFlight {
                bytes,
                since: now,
                first_failed_ms: None,
            };
            if self.watermark.take_up(record.offset, in_flight)
                && self.reorder.expect(record.offset)
            {
                admitted.push(record);
            } else {
                budget.release(&self.name, bytes);
            }
        }
        self.skip_gap();
        admitted
    }

    /// A worker's answer about a record that was admitted.
    pub(crate) fn judged(&mut self, origin: Arc<Origin>, judged: Judged<M>) {
        self.reorder.put(origin.offset, (origin, judged));
    }

    /// Brings what was judged into order: to the lanes, to the dead letters, or done.
    pub(crate) fn settle(
        &mut self,
        budget: &mut Budget<TopicPartition>,
        wall_ms: i64,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        while !self.is_paused() {
            let Some((offset, (origin, judged))) = self.reorder.pop() else {
                break;
            };
            let verdict = match judged {
                Ok(message) => match self.order.judge(offset, origin.record_bytes(), &message) {
                    Order::Passes => {
                        let lane = origin.key.clone();
                        self.lanes
                            .push(offset, lane, Arc::new(Job { origin, message }));
                        continue;
                    }
                    Order::Duplicate => Err(Disposition::Duplicate),
                    Order::Replay => Ok((
                        Disposition::Replay,
                        Cow::Borrowed("older than what its signer settled in this partition"),
                        message.signer(),
                        message.redrive(),
                    )),
                },
                Err(rejection) => {
                    self.order.pass_over(offset, origin.record_bytes());
                    let disposition = rejection.disposition();
                    if disposition.buried() {
                        let reason = Cow::Owned(rejection.to_string());
                        Ok((
                            disposition,
                            reason,
                            rejection.claimed(),
                            rejection.redriven().copied(),
                        ))
                    } else {
                        Err(disposition)
                    }
                }
            };
            match verdict {
                Ok((disposition, reason, claimed, redrive)) => {
                    let mut burial =
                        Burial::rejected(origin, disposition, reason, claimed, wall_ms);
                    burial.redrive = redrive;
                    effects.push(self.bury(burial));
                }
                Err(disposition) => {
                    self.done(offset, budget);
                    effects.push(Effect::Skipped {
                        origin,
                        disposition,
                    });
                }
            }
        }
        effects
    }

    /// The next message whose handler is to be called.
    pub(crate) fn start(&mut self, now: Instant) -> Option<Start<Arc<Job<M>>>> {
        if self.draining || self.is_paused() {
            return None;
        }
        self.lanes.start(now)
    }

    /// A started message is not believed any more: its handler was not called.
    pub(crate) fn distrusted(
        &mut self,
        job: &Job<M>,
        attempt: u32,
        rejection: &Rejection,
        wall_ms: i64,
    ) -> Effect {
        let offset = job.origin.offset;
        let first_failed_ms = self.failed_at(offset, wall_ms);
        self.lanes.bury(offset);
        let mut burial = Burial::rejected(
            Arc::clone(&job.origin),
            rejection.disposition(),
            Cow::Owned(rejection.to_string()),
            rejection.claimed(),
            wall_ms,
        );
        burial.redrive = job.message.redrive();
        burial.attempts = attempt.saturating_sub(1);
        burial.first_failed_ms = first_failed_ms;
        self.bury(burial)
    }

    /// A handler ended; `None` where nobody asked any more.
    pub(crate) fn ended(
        &mut self,
        job: &Job<M>,
        attempt: u32,
        ended: Ended,
        moment: Moment,
        budget: &mut Budget<TopicPartition>,
    ) -> Option<Effect> {
        let offset = job.origin.offset;
        if !self.lanes.is_running(offset) {
            return None;
        }
        Some(match self.policy.next(attempt, ended, moment.jitter) {
            Next::Done => {
                self.lanes.finish(offset);
                self.done(offset, budget);
                Effect::Handled { offset }
            }
            Next::Skipped(reason) => {
                self.lanes.finish(offset);
                self.done(offset, budget);
                Effect::Declined { offset, reason }
            }
            Next::Again { after, reason } => {
                self.failed_at(offset, moment.wall_ms);
                self.lanes.retry(offset, moment.now + after);
                Effect::Retried {
                    offset,
                    after,
                    reason,
                }
            }
            Next::Bury {
                disposition,
                reason,
            } => {
                let first_failed_ms = self.failed_at(offset, moment.wall_ms);
                self.lanes.bury(offset);
                let burial = Burial {
                    origin: Arc::clone(&job.origin),
                    disposition,
                    reason,
                    claimed: job.message.signer(),
                    redrive: job.message.redrive(),
                    attempts: attempt,
                    first_failed_ms,
                    last_failed_ms: moment.wall_ms,
                };
                self.bury(burial)
            }
            Next::Hold { reason } => {
                self.lanes.hold(offset);
                self.pauses.insert(Pause::Exhausted);
                Effect::Held { offset, reason }
            }
        })
    }

    /// A dead letter was acknowledged: only now its offset is done.
    pub(crate) fn buried(
        &mut self,
        offset: i64,
        now: Instant,
        budget: &mut Budget<TopicPartition>,
    ) {
        if !self.burials.acknowledged(offset, now) {
            return;
        }
        self.lanes.finish(offset);
        self.done(offset, budget);
        self.pauses.remove(&Pause::DeadLetters);
    }

    /// A dead letter did not get through: the partition pauses, and it is tried again. While
    /// draining it is left to whoever reads the partition next.
    pub(crate) fn burial_failed(&mut self, offset: i64, now: Instant) {
        if self.draining {
            if self.burials.forget(offset) {
                self.lanes.finish(offset);
            }
        } else if self.burials.failed(offset, now) {
            self.pauses.insert(Pause::DeadLetters);
        }
    }

    /// Dead letters to be written again.
    pub(crate) fn due_burials(&mut self, now: Instant) -> Vec<Arc<Burial>> {
        self.burials.due(now)
    }

    /// Stops: what was not started is forgotten, what runs may end.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.backlog.clear();
        self.reorder.clear();
        self.lanes.drain();
        for offset in self.burials.forget_waiting() {
            self.lanes.finish(offset);
        }
    }

    /// Whether it is on its way out.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether a draining flow has nothing left that runs.
    pub(crate) fn is_drained(&self) -> bool {
        self.lanes.is_empty() && self.burials.is_empty()
    }

    /// Pauses for a reason that lies outside the flow.
    pub(crate) fn pause(&mut self, reason: Pause) -> bool {
        self.pauses.insert(reason)
    }

    /// Takes such a reason back.
    pub(crate) fn resume(&mut self, reason: Pause) -> bool {
        self.pauses.remove(&reason)
    }

    /// Why it stands still, if it does.
    pub(crate) fn pauses(&self) -> impl Iterator<Item = Pause> {
        self.pauses.iter().copied()
    }

    pub(crate) fn is_paused(&self) -> bool {
        !self.pauses.is_empty()
    }

    /// Whether more records should be fetched now.
    pub(crate) fn wants_records(&self) -> bool {
        !self.draining && !self.is_paused() && self.backlog.is_empty()
    }

    /// The offset that may be committed.
    pub(crate) fn watermark(&self) -> i64 {
        self.watermark.watermark()
    }

    /// The watermark was committed.
    pub(crate) fn committed(&mut self, watermark: i64, wall_ms: i64) {
        self.order.committed(watermark, wall_ms);
    }

    /// The message that holds the watermark back, and since when it is in flight.
    pub(crate) fn oldest(&self) -> Option<(i64, Instant)> {
        self.watermark
            .oldest()
            .map(|(offset, in_flight)| (offset, in_flight.since))
    }

    /// How many messages were taken up and are not done.
    pub(crate) fn in_flight(&self) -> usize {
        self.watermark.in_flight()
    }

    /// When something here is due by itself.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        let retry = (!self.is_paused())
            .then(|| self.lanes.next_timer())
            .flatten();
        let burial = self.burials.next_timer();
        retry.into_iter().chain(burial).min()
    }

    /// Gives the order's state back when the partition goes.
    pub(crate) fn into_order(self) -> Box<dyn JudgeOrder<M>> {
        self.order
    }

    fn bury(&mut self, burial: Burial) -> Effect {
        let burial = Arc::new(burial);
        self.burials.begin(Arc::clone(&burial));
        Effect::Bury(burial)
    }

    fn done(&mut self, offset: i64, budget: &mut Budget<TopicPartition>) {
        if let Some(in_flight) = self.watermark.done(offset) {
            budget.release(&self.name, in_flight.bytes);
        }
    }

    fn failed_at(&mut self, offset: i64, wall_ms: i64) -> i64 {
        self.watermark.get_mut(offset).map_or(wall_ms, |in_flight| {
            *in_flight.first_failed_ms.get_or_insert(wall_ms)
        })
    }

    fn skip_gap(&mut self) {
        if self.backlog.is_empty() {
            self.watermark.advance(self.end);
        }
    }
}

impl<M> std::fmt::Debug for Flow<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow")
            .field("name", &self.name)
            .field("watermark", &self.watermark.watermark())
            .field("in_flight", &self.watermark.in_flight())
            .field("pauses", &self.pauses)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
