//! Someone else who writes under our producer id: how it shows, and what is done about it.
//!
//! Kafka keeps `(id, epoch, sequence)` per partition and lets any principal with write permission use any of them. A
//! batch of theirs that takes our next sequence makes the broker answer ours with success and with *their* offset
//! (measured on 4.1). On a topic with the producers' timestamps (`message.timestamp.type=CreateTime`) it gives itself
//! away: an append is answered with append time -1, a copy with the largest timestamp of the batch that is in the log.
//! So -1 is always right; our own batch's largest timestamp is right for what was sent before; all else is another's.
//! On topics with the broker's timestamps every answer carries a time, and nothing can be seen.

use super::{AppendTime, PartitionQueue};
use crate::{
    error::{ErrorKind, TransportError},
    producer::{GiveUp, batch::Status},
};

/// Intrusions in a row, each on a fresh producer id, after which ids protect nothing any more.
const ENDURED: u32 = 3;

/// What the owner of a producer must hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// A batch of someone else's lies at this offset under the sequence we had used.
    SequenceTaken { offset: Option<i64> },
    /// Someone has written under a later epoch of our id (47).
    Fenced,
    /// The partition goes on without a producer id.
    Unprotected,
}

/// What a queue has seen of others under its id.
#[derive(Debug, Default)]
pub(crate) struct Intrusions {
    /// Since something of ours was last acknowledged.
    in_a_row: u32,
    protection: Protection,
    alarms: Vec<Alarm>,
}

/// Whether batches carry an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Protection {
    #[default]
    Idempotent,
    /// Until the producer is gone.
    Lost,
}

impl Intrusions {
    /// A batch of ours got through.
    pub(super) fn passed(&mut self) {
        self.in_a_row = 0;
    }
}

impl<T> PartitionQueue<T> {
    /// Whether batches carry no identity any more.
    pub(crate) fn is_unprotected(&self) -> bool {
        self.intrusions.protection == Protection::Lost
    }

    /// What has been noticed since the last call.
    pub(crate) fn take_alarms(&mut self) -> Vec<Alarm> {
        std::mem::take(&mut self.intrusions.alarms)
    }

    /// Whether an answer of success is about another's batch.
    pub(super) fn is_anothers(&self, index: usize, append_time: AppendTime) -> bool {
        let AppendTime::EarlierBatch(time_ms) = append_time else {
            return false;
        };
        self.sent.get(index).is_some_and(|sent| {
            let is_own = sent.resent && sent.encoded.max_timestamp_ms == time_ms;
            sent.is_identified() && !is_own
        })
    }

    /// Success, for another's batch: ours is not in the log, and never will be under this sequence.
    pub(super) fn sequence_taken(&mut self, index: usize, offset: Option<i64>) {
        self.intruded(Alarm::SequenceTaken { offset });
        let error = self.error(ErrorKind::SequenceTaken { offset });
        if let Some(sent) = self.sent.get_mut(index) {
            sent.batch.ambiguous = false;
            sent.batch.in_log = false;
            sent.batch.last_error = Some(error);
            sent.status = Status::Refused;
        }
    }

    /// 47: someone has written under a later epoch of our id.
    pub(super) fn fenced(&mut self, index: usize, error: TransportError) {
        self.intruded(Alarm::Fenced);
        let Some(sent) = self.sent.get_mut(index) else {
            return;
        };
        sent.batch.last_error = Some(error);
        // Without an id there is nothing to fence: such a broker is not asked again.
        if sent.batch.ambiguous || sent.batch.in_log || !sent.is_identified() {
            self.give_up_sent(index, GiveUp::Refused);
        } else {
            sent.status = Status::Refused;
        }
    }

    /// The id is spent. Counted once for each, whatever else of it fails.
    fn intruded(&mut self, alarm: Alarm) {
        self.draining = true;
        self.intrusions.alarms.push(alarm);
        if self.needs_new_id || self.is_unprotected() {
            return;
        }
        self.needs_new_id = true;
        self.intrusions.in_a_row += 1;
        if self.intrusions.in_a_row >= ENDURED {
            self.intrusions.protection = Protection::Lost;
            self.intrusions.alarms.push(Alarm::Unprotected);
        }
    }
}
