//! What a flow decided, carried out: counted, logged, audited, buried.

use std::time::Duration;

use cybermesh_contracts::rejection::Disposition;
use sha2::{Digest, Sha256};

use super::works::{Place, Try, Works};
use crate::inbound::burial::Burial;
use crate::inbound::effect::Effect;
use crate::inbound::judge::Judge;
use crate::telemetry::{Audit, AuditEvent, SkipReason};

impl<J: Judge> Works<J> {
    pub(super) fn carry_out(&mut self, place: &Place<'_>, effect: Effect) {
        let partition = place.partition;
        match effect {
            Effect::Bury(burial) => self.bury(place, burial, Try::First),
            Effect::Summed { disposition } => {
                self.metrics.rejected(&partition.topic, disposition);
                self.metrics.receive_failed(&partition.topic, place.kind);
            }
            Effect::PutBack { offset, reason } => {
                self.metrics.retried();
                tracing::debug!(%partition, offset, %reason, "put back; its partition pauses");
            }
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
            Effect::HandledBefore { offset } => {
                self.metrics
                    .skipped(&partition.topic, SkipReason::HandledBefore);
                tracing::debug!(%partition, offset, "was handled before the partition came here");
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

    /// Counts a handler's call by how it ended.
    pub(super) fn processed(
        &self,
        place: &Place<'_>,
        failure: Option<&'static str>,
        took: Duration,
    ) {
        let (topic, partition) = (&place.partition.topic, place.partition.partition);
        match failure {
            None => self.metrics.processed(topic, partition, place.kind, took),
            Some(error_type) => self
                .metrics
                .process_failed(topic, partition, error_type, took),
        }
    }
}

/// One event for each message that is given up, or for all that a summary stands for. What they held
/// appears as a hash alone.
pub(super) fn audit(trail: &Audit, burial: &Burial) {
    let origin = &burial.origin;
    if let Some(summary) = &burial.summary {
        trail.record(&AuditEvent::RejectedMany {
            topic: &origin.topic,
            partition: origin.partition,
            first_offset: origin.offset,
            last_offset: summary.last_offset(),
            count: summary.flood.count(),
            disposition: burial.disposition,
            reason: &burial.reason,
            sha256: summary.flood.sha256(),
        });
        return;
    }
    trail.record(&AuditEvent::Rejected {
        topic: &origin.topic,
        partition: origin.partition,
        offset: origin.offset,
        disposition: burial.disposition,
        reason: &burial.reason,
        attempts: burial.attempts,
        claimed: burial.claimed,
        sha256: Sha256::digest(origin.value.as_deref().unwrap_or_default()).into(),
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use cybermesh_contracts::dead_letter::Flood;
    use cybermesh_contracts::rejection::Disposition;
    use cybermesh_contracts::sign::PublicKey;

    use super::audit;
    use crate::inbound::burial::Burial;
    use crate::inbound::guard::burials::Summary;
    use crate::inbound::origin::Origin;
    use crate::inbound::pipeline::tests::written::Written;
    use crate::telemetry::Audit;

    fn origin() -> Origin {
        Origin {
            topic: "ai.anomalies.v1".into(),
            partition: 3,
            offset: 41,
            timestamp_ms: 0,
            append_time_ms: None,
            key: Some(Bytes::from_static(b"secret key")),
            value: Some(Bytes::from_static(b"abc")),
            headers: vec![("secret".into(), Some(Bytes::from_static(b"header")))],
            unreadable: None,
        }
    }

    #[test]
    fn a_rejected_message_is_audited_once_by_its_hash_and_never_by_what_it_holds() {
        let claimed = Some(PublicKey([0xab; 32]));
        let disposition = Disposition::UnknownKey;
        let reason = "claimed signer is not in the trust store".into();
        let burial = Burial::rejected(Arc::new(origin()), disposition, reason, claimed, 0);
        let written = Written::default();
        tracing::subscriber::with_default(written.clone(), || audit(&Audit::log_only(), &burial));

        let lines = written.lines("");
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        for part in [
            "audit ".to_owned(),
            "topic=ai.anomalies.v1".to_owned(),
            "partition=3".to_owned(),
            "offset=41".to_owned(),
            "disposition=unknown-key".to_owned(),
            "ab".repeat(32),
            // SHA-256 of "abc", FIPS 180-4.
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
        ] {
            assert!(line.contains(&part), "no {part:?} in {line}");
        }
        assert!(
            !line.contains("secret") && !line.contains("abc\""),
            "{line}"
        );
    }

    #[test]
    fn what_was_summed_up_is_audited_once_with_its_range_and_count() {
        let (first, second) = (origin(), origin());
        let mut flood = first.view(Flood::starting_with);
        second.view(|record| flood.add(record));
        let disposition = Disposition::Decode;
        let burial = Burial::rejected(Arc::new(first), disposition, "many".into(), None, 0);
        let offsets = vec![41, 47];
        let burial = Burial {
            summary: Some(Summary { flood, offsets }),
            ..burial
        };
        let written = Written::default();
        tracing::subscriber::with_default(written.clone(), || audit(&Audit::log_only(), &burial));
        let lines = written.lines("audit ");
        assert_eq!(lines.len(), 1, "{lines:?}");
        for part in [
            "first_offset=41",
            "last_offset=47",
            "count=2",
            "disposition=decode",
        ] {
            assert!(lines[0].contains(part), "no {part:?} in {}", lines[0]);
        }
    }
}
