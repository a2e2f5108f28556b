//! From a worker's judgement to a lane, the dead letters, or done.

use std::borrow::Cow;
use std::sync::Arc;

use cybermesh_contracts::rejection::{Disposition, Reason, Rejection};
use tokio::time::Instant;

use super::Flow;
use crate::inbound::budget::Budget;
use crate::inbound::burial::Burial;
use crate::inbound::effect::{Effect, Job, Judged};
use crate::inbound::guard::OwnFaults;
use crate::inbound::judge::{Believed, Order};
use crate::inbound::origin::{Origin, TopicPartition};
use crate::inbound::pause::Pause;

/// When something is settled: by the runtime's clock, and by the wall's in Unix milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub(crate) now: Instant,
    pub(crate) wall_ms: i64,
}

impl<M: Believed> Flow<M> {
    /// A worker's answer about a record that was admitted.
    pub(crate) fn judged(&mut self, origin: Arc<Origin>, judged: Judged<M>) {
        self.reorder.put(origin.offset, (origin, judged));
    }

    /// Brings what was judged into order: to the lanes, to the dead letters, or done.
    pub(crate) fn settle(
        &mut self,
        budget: &mut Budget<TopicPartition>,
        faults: &mut OwnFaults,
        at: At,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        while !self.stands_still() {
            let Some((offset, (origin, judged))) = self.reorder.pop() else {
                break;
            };
            match judged {
                Ok(message) => {
                    if message.is_enveloped() {
                        faults.audience.envelope_held();
                    }
                    effects.extend(self.believed(origin, message, budget, at));
                }
                Err(rejection) if is_ours(&origin, &rejection, faults, at) => {
                    self.reorder.put_back(offset, (origin, Err(rejection)));
                    self.pauses.insert(Pause::Clock);
                }
                Err(rejection) => {
                    if let (Reason::EnvelopeInvalid { .. }, Some(signer)) =
                        (rejection.reason(), rejection.claimed())
                    {
                        faults.audience.envelope_failed(signer);
                    }
                    effects.push(self.rejected(origin, &rejection, budget, at));
                }
            }
        }
        if let Some(summary) = self
            .gate
            .as_mut()
            .and_then(|gate| gate.due(at.now, at.wall_ms))
        {
            effects.push(self.bury(summary));
        }
        effects
    }

    /// Our clock can be believed again: what it said lies in the future is to be judged anew.
    pub(crate) fn judge_again(&mut self) -> Vec<Arc<Origin>> {
        let from_the_future = |(_, judged): &(Arc<Origin>, Judged<M>)| {
            let rejection = judged.as_ref().err();
            rejection.is_some_and(|rejection| rejection.disposition() == Disposition::Future)
        };
        let taken = self.reorder.take_back(from_the_future);
        taken.into_iter().map(|(origin, _)| origin).collect()
    }

    fn believed(
        &mut self,
        origin: Arc<Origin>,
        message: M,
        budget: &mut Budget<TopicPartition>,
        at: At,
    ) -> Option<Effect> {
        let offset = origin.offset;
        match self.order.judge(offset, origin.record_bytes(), &message) {
            Order::Passes => {
                let lane = origin.key.clone();
                self.lanes
                    .push(offset, lane, Arc::new(Job { origin, message }));
                None
            }
            Order::HandledBefore => {
                self.done(offset, budget);
                Some(Effect::HandledBefore { offset })
            }
            Order::Duplicate => Some(self.skipped(origin, Disposition::Duplicate, budget)),
            Order::Replay => {
                let reason = Cow::Borrowed("older than what its signer settled in this partition");
                let disposition = Disposition::Replay;
                let burial =
                    Burial::rejected(origin, disposition, reason, message.signer(), at.wall_ms);
                let burial = Burial {
                    redrive: message.redrive(),
                    ..burial
                };
                Some(self.bury_unhandled(burial, budget, at))
            }
        }
    }

    fn rejected(
        &mut self,
        origin: Arc<Origin>,
        rejection: &Rejection,
        budget: &mut Budget<TopicPartition>,
        at: At,
    ) -> Effect {
        self.order.pass_over(origin.offset, origin.record_bytes());
        let disposition = rejection.disposition();
        if !disposition.buried() {
            return self.skipped(origin, disposition, budget);
        }
        let reason = Cow::Owned(rejection.to_string());
        let claimed = rejection.claimed();
        let burial = Burial {
            redrive: rejection.redriven().copied(),
            ..Burial::rejected(origin, disposition, reason, claimed, at.wall_ms)
        };
        self.bury_unhandled(burial, budget, at)
    }

    fn skipped(
        &mut self,
        origin: Arc<Origin>,
        disposition: Disposition,
        budget: &mut Budget<TopicPartition>,
    ) -> Effect {
        self.done(origin.offset, budget);
        Effect::Skipped {
            origin,
            disposition,
        }
    }

    /// Buries a message that no handler saw: alone, or in a summary where there are too many. What
    /// an operator redrove is always buried alone, under its first origin.
    fn bury_unhandled(
        &mut self,
        burial: Burial,
        budget: &mut Budget<TopicPartition>,
        at: At,
    ) -> Effect {
        let (offset, disposition) = (burial.origin.offset, burial.disposition);
        let alone = match &mut self.gate {
            Some(gate) if burial.redrive.is_none() => gate.admit(burial, at.now),
            _ => Some(burial),
        };
        match alone {
            Some(burial) => self.bury(burial),
            None => {
                let bytes = self
                    .watermark
                    .get_mut(offset)
                    .and_then(|in_flight| in_flight.bytes.take());
                self.release(bytes, budget);
                Effect::Summed { disposition }
            }
        }
    }
}

/// Whether a message is rejected because our own clock is behind. Where the broker's append time was
/// what it was held against, our clock had no part in it.
fn is_ours(origin: &Origin, rejection: &Rejection, faults: &mut OwnFaults, at: At) -> bool {
    let Reason::Future {
        ahead_ms,
        tolerance_ms,
        ..
    } = rejection.reason()
    else {
        return false;
    };
    let by_our_clock = origin
        .append_time_ms
        .is_none_or(|append_ms| append_ms >= at.wall_ms);
    if !faults.is_on() || !by_our_clock {
        return false;
    }
    let too_early_by = i64::try_from(ahead_ms.saturating_sub(*tolerance_ms)).unwrap_or(i64::MAX);
    let admitted_from_ms = at.wall_ms.saturating_add(too_early_by);
    faults
        .clock
        .future(rejection.claimed(), admitted_from_ms, at.now)
}
