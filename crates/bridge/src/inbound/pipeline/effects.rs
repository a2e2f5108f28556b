//! What a flow decided, carried out: counted, logged, audited, buried.

use std::time::Duration;

use cybermesh_contracts::rejection::Disposition;
use sha2::{Digest, Sha256};

use super::works::{Place, Try, Works};
use crate::inbound::burial::Burial;
use crate::inbound::flow::Effect;
use crate::inbound::judge::Judge;
use crate::telemetry::SkipReason;

impl<J: Judge> Works<J> {
    pub(super) fn carry_out(&mut self, place: &Place<'_>, effect: Effect) {
        let partition = place.partition;
        match effect {
            Effect::Bury(burial) => self.bury(place, burial, Try::First),
            Effect::Skipped {
                origin,
                disposition,
            } => {
                let reason = match disposition {
                    Disposition::Duplicate => SkipReason::Duplicate,
                    Disposition::Stale => SkipReason::Stale,
                    _ => SkipReason::OtherGroup,
                };
                self.metrics.skipped(&partition.topic, reason);
                tracing::debug!(%partition, offset = origin.offset, %disposition, "skipped");
            }
            Effect::Handled { offset } => tracing::debug!(%partition, offset, "handled"),
            Effect::Declined { offset, reason } => {
                self.metrics.skipped(&partition.topic, SkipReason::Handler);
                tracing::debug!(%partition, offset, %reason, "skipped by its handler");
            }
            Effect::Retried {
                offset,
                after,
                reason,
            } => {
                self.metrics.retried();
                tracing::debug!(%partition, offset, ?after, %reason, "will be handled again");
            }
            Effect::Held { offset, reason } => {
                tracing::error!(%partition, offset, %reason,
                    "attempts exhausted; the partition pauses with the message not done");
            }
        }
    }

    /// Counts a handler's call by what came of it.
    pub(super) fn processed(&self, place: &Place<'_>, effect: &Effect, took: Duration) {
        if matches!(effect, Effect::Handled { .. } | Effect::Declined { .. }) {
            self.metrics
                .processed(&place.partition.topic, place.kind, took);
        }
    }
}

/// One event for each message that is given up. What it held appears as its hash alone.
pub(super) fn audit(burial: &Burial) {
    let origin = &burial.origin;
    let sha256 = hex::encode(Sha256::digest(origin.value.as_deref().unwrap_or_default()));
    let claimed = burial
        .claimed
        .map(|key| hex::encode(key.as_bytes()))
        .unwrap_or_default();
    tracing::warn!(
        target: "audit",
        topic = %origin.topic,
        partition = origin.partition,
        offset = origin.offset,
        disposition = %burial.disposition,
        reason = %burial.reason,
        attempts = burial.attempts,
        claimed,
        sha256,
        "rejected"
    );
}
