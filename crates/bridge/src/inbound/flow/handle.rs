//! From a lane to a handler, and from its end to done, another attempt, or the dead letters.

use std::borrow::Cow;
use std::sync::Arc;

use cybermesh_contracts::rejection::Rejection;
use cybermesh_transport::host;
use tokio::time::Instant;

use super::Flow;
use crate::inbound::attempts::{Ended, Next};
use crate::inbound::budget::Budget;
use crate::inbound::burial::Burial;
use crate::inbound::dispatch::Start;
use crate::inbound::effect::{Effect, Job, Moment};
use crate::inbound::guard::systemic::End;
use crate::inbound::judge::Believed;
use crate::inbound::origin::TopicPartition;
use crate::inbound::pause::Pause;

impl<M: Believed> Flow<M> {
    /// The next message whose handler is to be called.
    pub(crate) fn start(&mut self, now: Instant) -> Option<Start<Arc<Job<M>>>> {
        if self.draining || self.stands_still() {
            return None;
        }
        match &mut self.systemic {
            Some(systemic) if systemic.is_tripped() => {
                let after = systemic.may_try(now)?;
                let start = self
                    .lanes
                    .start_any(after, |offset| !systemic.was_tried(offset))?;
                systemic.trying(start.offset, now);
                Some(start)
            }
            _ => self.lanes.start(now),
        }
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
        if let Some(systemic) = &mut self.systemic {
            systemic.tried(offset, End::Failed);
        }
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
        let next = self.retry.next(attempt, ended, moment.jitter);
        self.note_end(job, &next, moment.now);
        if self.pauses.contains(&Pause::Failing) {
            match next {
                Next::Done | Next::Skipped(_) => {}
                Next::Again { reason, .. } | Next::Bury { reason, .. } | Next::Hold { reason } => {
                    self.lanes.put_back(offset);
                    return Some(Effect::PutBack { offset, reason });
                }
            }
        }
        Some(match next {
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
            Next::Again { .. } if host::bug("retry-is-done") => {
                self.lanes.finish(offset);
                self.done(offset, budget);
                Effect::Handled { offset }
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
                    summary: None,
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
        let Some(burial) = self.burials.acknowledged(offset, now) else {
            return;
        };
        for offset in burial.offsets() {
            self.lanes.finish(*offset);
            self.done(*offset, budget);
        }
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

    /// Tells the guard how an authentic message ended, where it did. What trips it is not given up,
    /// and neither is what ends badly after it.
    fn note_end(&mut self, job: &Job<M>, next: &Next, now: Instant) {
        let Some(systemic) = &mut self.systemic else {
            return;
        };
        let end = match next {
            Next::Done | Next::Skipped(_) => End::Passed,
            Next::Bury { .. } => End::Failed,
            Next::Again { .. } | Next::Hold { .. } if systemic.is_tripped() => End::Failed,
            Next::Again { .. } | Next::Hold { .. } => return,
        };
        if systemic.is_tripped() {
            if systemic.tried(job.origin.offset, end) {
                self.pauses.remove(&Pause::Failing);
            }
        } else {
            let trips = systemic.ended(end, job.message.signer(), now);
            if trips {
                self.pauses.insert(Pause::Failing);
            }
        }
    }
}
