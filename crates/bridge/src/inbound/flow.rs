//! Flow: one assigned partition on its way from fetched records to a watermark.
//!
//! Joins the parts that decide: records wait in the backlog until the budget has room, are judged
//! elsewhere, come back in offset order, are checked for replay, stand in lanes, are handled
//! elsewhere, and end done, skipped or buried. It answers what is to be done and does none of it.
//!
//! A flow pauses rather than give up what it may not: while dead letters do not get through, while
//! an exhausted message is held, while its kind has no keys, while the clock cannot be believed.
//! A paused flow takes up, judges and starts nothing; what runs may end. Where it pauses because all
//! its messages fail it still takes up and judges, since what is to be tried next may be yet to come.
//!
//! [`settle`] has what follows from a judgement, [`handle`] what follows from a handler.

mod handle;
mod settle;

pub(crate) use settle::At;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cybermesh_contracts::replay::Handled;
use tokio::time::Instant;

use super::attempts::RetryPolicy;
use super::budget::Budget;
use super::burial::{Burial, Burials};
use super::dispatch::Lanes;
use super::effect::{Effect, Job, Judged};
use super::group::State;
use super::guard::GuardPolicy;
use super::guard::burials::BurialGate;
use super::guard::systemic::Systemic;
use super::hang::UnderWay;
use super::judge::{Believed, JudgeOrder};
use super::origin::{Origin, TopicPartition};
use super::pause::Pause;
use super::reorder::Reorder;
use super::watermark::Watermark;

/// How far a partition may run ahead of a message that holds its watermark back, and its watermark of what is
/// committed, in offsets: what is remembered for replays, and handled again after a crash, grows with that distance.
const MAX_AHEAD: i64 = 100_000;

#[derive(Debug)]
struct InFlight {
    /// What it takes of the budget; nothing once it was summed up and its content let go.
    bytes: Option<usize>,
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
    committed: i64,
    reorder: Reorder<(Arc<Origin>, Judged<M>)>,
    order: Box<dyn JudgeOrder<M>>,
    lanes: Lanes<Arc<Job<M>>>,
    burials: Burials,
    /// `None` where everything is buried alone.
    gate: Option<BurialGate>,
    /// `None` where failures pause nothing.
    systemic: Option<Systemic>,
    pauses: BTreeSet<Pause>,
    draining: bool,
    retry: RetryPolicy,
}

/// How one partition is told to behave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlowPolicy {
    pub(crate) retry: RetryPolicy,
    pub(crate) guard: GuardPolicy,
    /// How often the guard tries messages while it has the partition paused.
    pub(crate) try_every: Duration,
}

impl<M: Believed> Flow<M> {
    /// Starts at the first offset that will be read.
    pub(crate) fn new(
        name: TopicPartition,
        start: i64,
        order: Box<dyn JudgeOrder<M>>,
        policy: FlowPolicy,
        now: Instant,
    ) -> Self {
        let (gate, systemic) = match policy.guard {
            GuardPolicy::Off => (None, None),
            GuardPolicy::On(rate) => {
                let gate = BurialGate::new(rate, now);
                (Some(gate), Some(Systemic::new(policy.try_every)))
            }
        };
        Self {
            name,
            backlog: VecDeque::new(),
            end: start,
            watermark: Watermark::new(start),
            committed: start,
            reorder: Reorder::default(),
            order,
            lanes: Lanes::default(),
            burials: Burials::default(),
            gate,
            systemic,
            pauses: BTreeSet::new(),
            draining: false,
            retry: policy.retry,
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
        if self.draining || self.stands_still() {
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
                bytes: Some(bytes),
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

    /// From `to` on the log is another one: what waits of that is not taken up any more.
    pub(crate) fn cut(&mut self, to: i64) {
        self.backlog.retain(|record| record.offset < to);
    }

    /// Stops: what was not started is forgotten, what runs may end.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.backlog.clear();
        self.reorder.clear();
        self.lanes.drain();
        if let Some(gate) = &mut self.gate {
            gate.forget();
        }
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

    /// Ends the pauses that are an operator's to end, and says which they were: what used up its
    /// attempts is tried again with all of them, and failures are counted anew.
    pub(crate) fn resume_by_command(&mut self) -> Vec<Pause> {
        let mut ended = Vec::new();
        if self.pauses.remove(&Pause::Exhausted) {
            self.lanes.release_held();
            ended.push(Pause::Exhausted);
        }
        if self.pauses.remove(&Pause::Failing) {
            if let Some(systemic) = &mut self.systemic {
                systemic.resume();
            }
            ended.push(Pause::Failing);
        }
        ended
    }

    /// Whether it takes nothing up; see [`Pause::Failing`] for the one pause in which it does.
    fn stands_still(&self) -> bool {
        self.pauses.iter().any(|pause| *pause != Pause::Failing)
    }

    /// Whether more records should be fetched now.
    pub(crate) fn wants_records(&self) -> bool {
        let may_read = !self.draining && !self.stands_still() && !self.waits_for_commits();
        may_read && self.backlog.is_empty()
    }

    /// Whether so much is done and not committed that no more is read until it is.
    pub(crate) fn waits_for_commits(&self) -> bool {
        self.watermark().saturating_sub(self.committed) > MAX_AHEAD
    }

    /// The offset that may be committed.
    pub(crate) fn watermark(&self) -> i64 {
        self.watermark.watermark()
    }

    /// The watermark was committed.
    pub(crate) fn committed(&mut self, watermark: i64, wall_ms: i64) {
        self.committed = self.committed.max(watermark);
        self.order.committed(watermark, wall_ms);
    }

    /// The message that holds the watermark back, and since when it is in flight.
    pub(crate) fn oldest(&self) -> Option<(i64, Instant)> {
        self.watermark
            .oldest()
            .map(|(offset, in_flight)| (offset, in_flight.since))
    }

    /// What holds the watermark back and is under way, with the number of its attempt: 0 where it is being judged or
    /// buried without one. `None` where nothing is, or it waits for its next attempt.
    pub(crate) fn under_way(&self) -> Option<UnderWay> {
        let (offset, _) = self.oldest()?;
        let attempt = self.lanes.attempt_under_way(offset)?;
        Some((offset, attempt))
    }

    /// How many messages were taken up and are not done.
    pub(crate) fn in_flight(&self) -> usize {
        self.watermark.in_flight()
    }

    /// When something here is due by itself.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        let handling = match &self.systemic {
            // Nothing is begun then; a time that has come already would be waited for again and again.
            _ if self.draining || self.stands_still() => None,
            Some(systemic) if systemic.is_tripped() => systemic.next_timer(),
            _ => self.lanes.next_timer(),
        };
        let burial = self.burials.next_timer();
        let summary = self.gate.as_ref().and_then(BurialGate::next_timer);
        handling.into_iter().chain(burial).chain(summary).min()
    }

    /// What belongs to a commit of `watermark`.
    pub(crate) fn state(&self, watermark: i64) -> Option<State> {
        self.order.state(watermark)
    }

    /// What was handled at or above `watermark`.
    pub(crate) fn handled_from(&self, watermark: i64) -> Handled {
        let is_done = |offset| self.watermark.is_done(offset);
        self.order.handled_from(watermark, &is_done)
    }

    /// Gives the order's state back when the partition goes.
    pub(crate) fn into_order(mut self) -> Box<dyn JudgeOrder<M>> {
        let handled = self.handled_from(0);
        self.order.given_up(handled);
        self.order
    }

    fn bury(&mut self, burial: Burial) -> Effect {
        let burial = Arc::new(burial);
        self.burials.begin(Arc::clone(&burial));
        Effect::Bury(burial)
    }

    fn done(&mut self, offset: i64, budget: &mut Budget<TopicPartition>) {
        if let Some(in_flight) = self.watermark.done(offset) {
            self.release(in_flight.bytes, budget);
        }
    }

    fn release(&self, bytes: Option<usize>, budget: &mut Budget<TopicPartition>) {
        if let Some(bytes) = bytes {
            budget.release(&self.name, bytes);
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
mod guard_tests;
#[cfg(test)]
mod tests;
