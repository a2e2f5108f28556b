//! What each answer, each failure and each passed deadline means for the batches of a partition.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::{AppendTime, Identity, MAY_BE_FORGOTTEN_AFTER, PartitionQueue, given_up_at};
use crate::{
    config::finite,
    error::{Class, ErrorCode, ErrorKind, Operation, Target, TransportError},
    producer::{
        Appended, DeliveryError, GiveUp, Written,
        batch::{Batch, Entry, Sent, Status},
    },
};

impl<T> PartitionQueue<T> {
    pub(super) fn written(
        &mut self,
        now: Instant,
        index: usize,
        base_offset: Option<i64>,
        append_time: AppendTime,
    ) {
        self.confirmed = Some(now);
        self.intrusions.passed();
        let log_append_time_ms = match append_time {
            AppendTime::Broker(time_ms) => Some(time_ms),
            AppendTime::Unset | AppendTime::EarlierBatch(_) => None,
        };
        let Some(sent) = self.sent.remove(index) else {
            return;
        };
        let newer = self.sent.split_off(index);
        // Sequences have no gaps: what is in doubt before this one is in the log too. Where it can still be asked
        // again the answer will also tell its offset.
        for mut older in std::mem::take(&mut self.sent) {
            older.batch.in_log |=
                older.batch.ambiguous || matches!(older.status, Status::Outstanding(_));
            if older.status == Status::Refused && older.batch.in_log {
                self.acknowledge(older.batch.entries, None, None);
            } else {
                self.sent.push_back(older);
            }
        }
        self.sent.extend(newer);
        self.acknowledge(sent.batch.entries, base_offset, log_append_time_ms);
    }

    fn acknowledge(
        &mut self,
        entries: Vec<Entry<T>>,
        base_offset: Option<i64>,
        log_append_time_ms: Option<i64>,
    ) {
        for (delta, entry) in (0_i64..).zip(entries) {
            let offset = base_offset.and_then(|base| base.checked_add(delta));
            let appended = Appended {
                partition: self.partition.partition,
                offset,
                log_append_time_ms,
            };
            self.settled.push((entry.token, Ok(appended)));
        }
    }

    pub(super) fn refused(
        &mut self,
        now: Instant,
        index: usize,
        code: ErrorCode,
        records: Vec<usize>,
        error: TransportError,
    ) {
        match code {
            ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::UnknownProducerId
            | ErrorCode::InvalidProducerIdMapping => self.out_of_order(now, index, error),
            ErrorCode::InvalidProducerEpoch | ErrorCode::ProducerFenced => {
                self.fenced(index, error)
            }
            _ if code.class() == Class::Fatal => self.refused_for_good(index, code, records, error),
            _ => self.failed(now, index, error, code.class() == Class::UnknownOutcome),
        }
    }

    /// 45, 59, 49: a gap before the batch, or a broker that has forgotten (KIP-360).
    fn out_of_order(&mut self, now: Instant, index: usize, error: TransportError) {
        let is_head = self.head() == Some(index);
        let (gap_at, disturbed) = (self.gap_at, self.disturbed || self.needs_new_id);
        let Some(sent) = self.sent.get_mut(index) else {
            return;
        };
        let behind_gap = gap_at.is_some_and(|at| at < sent.base_sequence);
        // Somebody else may have filled the gap, and then made the broker forget this one.
        let explained = behind_gap && !(disturbed && sent.batch.ambiguous);
        sent.batch.last_error = Some(error);
        if sent.batch.in_log {
            self.give_up_sent(index, GiveUp::Refused);
        } else if !is_head {
            sent.status = Status::Behind;
        } else if explained {
            sent.status = Status::Refused;
        } else if sent.batch.ambiguous {
            self.give_up_sent(index, GiveUp::Refused);
        } else {
            sent.status = Status::Refused;
            self.disturbed = true;
            // Nothing explains it, so it costs an attempt: a broker that always says so must not be asked for ever.
            sent.batch.failures += 1;
            match self.settings.schedule.next(sent.batch.failures) {
                Some(delay) => {
                    sent.batch.not_before = Some(now + finite(delay));
                    self.draining = true;
                }
                None => self.give_up_sent(index, GiveUp::ResendsExhausted),
            }
        }
    }

    fn refused_for_good(
        &mut self,
        index: usize,
        code: ErrorCode,
        records: Vec<usize>,
        error: TransportError,
    ) {
        let index = self.leave_open(index);
        let Some(mut sent) = self.sent.remove(index) else {
            return;
        };
        self.note_gap(sent.base_sequence);
        self.mark_doubt(&mut sent.batch, index);
        sent.batch.last_error = Some(error);
        let of_records = matches!(
            code,
            ErrorCode::MessageTooLarge
                | ErrorCode::RecordListTooLarge
                | ErrorCode::InvalidRecord
                | ErrorCode::InvalidTimestamp
        );
        if sent.batch.ambiguous || sent.batch.in_log || !of_records || sent.batch.entries.len() < 2
        {
            self.give_up(sent.batch, GiveUp::Refused);
            return;
        }
        let entries = std::mem::take(&mut sent.batch.entries);
        let (named, mut others) = apart(entries.into_iter().enumerate(), records);
        let mut parts = Vec::new();
        if named.is_empty() {
            let second = others.split_off(others.len() / 2);
            parts.extend([others, second]);
        } else {
            self.give_up(sent.batch.with_entries(named), GiveUp::Refused);
            parts.push(others);
        }
        for entries in parts
            .into_iter()
            .rev()
            .filter(|entries: &Vec<_>| !entries.is_empty())
        {
            let batch = sent.batch.with_entries(entries);
            let part = Sent {
                batch,
                encoded: sent.encoded.clone(),
                base_sequence: sent.base_sequence,
                status: Status::Refused,
                resent: sent.resent,
            };
            self.sent.insert(index, part);
        }
    }

    /// An attempt that may be repeated; `doubtful` where the batch may have been written by it.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        index: usize,
        error: TransportError,
        doubtful: bool,
    ) {
        if doubtful && crate::host::bug("lost-answer-is-written") {
            return self.written(now, index, None, AppendTime::Unset);
        }
        if doubtful && crate::host::bug("resend-renumbered") {
            let sent = self.sent.remove(index);
            self.unsent.extend(sent.map(|sent| sent.batch));
            self.unsent.rotate_right(1);
            return;
        }
        let is_head = self.head() == Some(index);
        let Some(sent) = self.sent.get_mut(index) else {
            return;
        };
        let class = error.class();
        sent.batch.ambiguous |= doubtful && class == Class::UnknownOutcome;
        sent.batch.last_error = Some(error);
        if class == Class::Fatal {
            self.give_up_sent(index, GiveUp::Refused);
        } else if is_head {
            sent.batch.failures += 1;
            match self.settings.schedule.next(sent.batch.failures) {
                Some(delay) => sent.status = Status::Waiting(now + finite(delay)),
                None => self.give_up_sent(index, GiveUp::ResendsExhausted),
            }
        } else {
            sent.status = Status::Behind;
        }
    }

    /// The oldest batch sent that is not settled.
    fn head(&self) -> Option<usize> {
        self.sent
            .iter()
            .position(|sent| sent.status != Status::Refused)
    }

    /// Behind a gap, what was refused as out of order and never in doubt needs no further question.
    pub(super) fn settle_head(&mut self) {
        let (gap_at, needs_new_id) = (self.gap_at, self.needs_new_id);
        while let Some(head) = self.head().and_then(|head| self.sent.get_mut(head)) {
            let hopeless = needs_new_id || gap_at.is_some_and(|at| at < head.base_sequence);
            if !hopeless || head.status != Status::Behind || head.batch.ambiguous {
                return;
            }
            head.status = Status::Refused;
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(index) = self.sent.iter().position(|sent| given_up_at(sent) <= now) {
            if let Some(sent) = self.sent.get_mut(index) {
                sent.batch.ambiguous |= matches!(sent.status, Status::Outstanding(_));
            }
            self.give_up_sent(index, GiveUp::DeadlinePassed);
        }
        // Not only the first: a later record may be in more of a hurry.
        while let Some(index) = self.unsent.iter().position(|batch| batch.deadline <= now) {
            if let Some(batch) = self.unsent.remove(index) {
                self.give_up(batch, GiveUp::DeadlinePassed);
            }
        }
        let idle = self
            .confirmed
            .is_some_and(|at| now.saturating_duration_since(at) > MAY_BE_FORGOTTEN_AFTER);
        if idle && self.sent.is_empty() {
            self.confirmed = None;
        }
    }

    /// A sequence of this epoch will never be filled.
    fn note_gap(&mut self, sequence: i32) {
        self.draining = true;
        self.gap_at = Some(self.gap_at.map_or(sequence, |at| at.min(sequence)));
    }

    /// Before a batch is given up: one whose outcome stays unknown may be in the log, and what was in doubt before
    /// it with it. That was refused for the gap before it, and waits to go on under the next epoch if none of those
    /// behind it is in the log; now nobody will know, so it is given up too. Answers the batch's index after that.
    fn leave_open(&mut self, index: usize) -> usize {
        let in_doubt = |sent: &Sent<T>| sent.batch.ambiguous && !sent.batch.in_log;
        if !self.sent.get(index).is_some_and(in_doubt) {
            return index;
        }
        let newer = self.sent.split_off(index);
        for older in std::mem::take(&mut self.sent) {
            if older.status == Status::Refused && in_doubt(&older) {
                self.note_gap(older.base_sequence);
                self.give_up(older.batch, GiveUp::Refused);
            } else {
                self.sent.push_back(older);
            }
        }
        let index = self.sent.len();
        self.sent.extend(newer);
        index
    }

    pub(super) fn give_up_sent(&mut self, index: usize, reason: GiveUp) {
        let index = self.leave_open(index);
        if let Some(mut sent) = self.sent.remove(index) {
            self.note_gap(sent.base_sequence);
            self.mark_doubt(&mut sent.batch, index);
            self.give_up(sent.batch, reason);
        }
    }

    /// Before a batch that stood there is given up: whether it stands before something in doubt, and all before it do.
    fn mark_doubt(&mut self, batch: &mut Batch<T>, index: usize) {
        batch.before_doubt |= self.is_open_from(index);
        if batch.before_doubt || batch.ambiguous && !batch.in_log {
            for older in self.sent.iter_mut().take(index) {
                older.batch.before_doubt = true;
            }
        }
    }

    /// Whether anything that was sent from here on is, or may yet be, in doubt.
    pub(super) fn is_open_from(&self, index: usize) -> bool {
        self.sent.iter().skip(index).any(Sent::is_open)
    }

    pub(super) fn give_up(&mut self, batch: Batch<T>, reason: GiveUp) {
        if batch.in_log {
            self.acknowledge(batch.entries, None, None);
            return;
        }
        let written = if batch.ambiguous {
            Written::Unknown
        } else {
            Written::No
        };
        let error = batch.last_error.unwrap_or_else(|| {
            self.error(match reason {
                GiveUp::Closed => ErrorKind::Closed,
                _ => ErrorKind::TimedOut {
                    after: self.settings.delivery_timeout,
                    sent: batch.ambiguous,
                },
            })
        });
        let mut error = DeliveryError {
            written,
            reason,
            resends: batch.failures.saturating_sub(1),
            error,
        };
        if batch.before_doubt && self.settings.hold.holds(&error) {
            error.written = Written::Unknown;
        }
        if self.held.is_none() && self.settings.hold.holds(&error) {
            self.held = Some(error.error.clone());
        }
        for entry in batch.entries {
            self.settled.push((entry.token, Err(error.clone())));
        }
    }

    /// Behind one that was given up and is to go first nothing is sent any more.
    pub(super) fn give_up_held(&mut self) {
        let Some(reason) = self.held.clone() else {
            return;
        };
        while let Some(mut batch) = self.unsent.pop_front() {
            batch.last_error.get_or_insert_with(|| reason.clone());
            self.give_up(batch, GiveUp::Behind);
        }
    }

    pub(super) fn begin_epoch(&mut self) {
        let somebody_else_wrote = self.disturbed || self.needs_new_id;
        self.draining = false;
        self.gap_at = None;
        self.disturbed = false;
        self.confirmed = None;
        self.next_sequence = 0;
        self.identity = match self.identity {
            _ if self.is_unprotected() => Some(Identity::NONE),
            Some(Identity { id, epoch }) if !self.needs_new_id && epoch < i16::MAX => {
                Some(Identity {
                    id,
                    epoch: epoch + 1,
                })
            }
            other => {
                self.spent_id = other.map(|identity| identity.id).or(self.spent_id);
                None
            }
        };
        self.needs_new_id = false;
        let mut before_doubt = false;
        while let Some(Sent { mut batch, .. }) = self.sent.pop_back() {
            batch.before_doubt |= before_doubt;
            before_doubt |= batch.ambiguous && !batch.in_log;
            // It was taken for lost because of the gap before it, which somebody else may have filled.
            if somebody_else_wrote && batch.ambiguous && !batch.in_log {
                self.give_up(batch, GiveUp::Refused);
            } else {
                self.unsent.push_front(batch);
            }
        }
    }

    pub(super) fn error(&self, kind: ErrorKind) -> TransportError {
        let target =
            Target::default().partition(self.partition.topic.clone(), self.partition.partition);
        TransportError::new(Operation::Produce, target, kind)
    }
}

/// What is named, and the others, both in their order. Names of nothing do not count.
fn apart<Name: Ord, E>(
    entries: impl Iterator<Item = (Name, E)>,
    names: impl IntoIterator<Item = Name>,
) -> (Vec<E>, Vec<E>) {
    // A set, as a broker may name one record any number of times.
    let names: BTreeSet<Name> = names.into_iter().collect();
    let (named, others): (Vec<_>, Vec<_>) = entries.partition(|(name, _)| names.contains(name));
    let without_name =
        |entries: Vec<(Name, E)>| entries.into_iter().map(|(_, entry)| entry).collect();
    (without_name(named), without_name(others))
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, cmp::Ordering};

    use super::*;

    /// Counts how often it is compared.
    struct Counting<'a>(usize, &'a Cell<usize>);

    impl Ord for Counting<'_> {
        fn cmp(&self, other: &Self) -> Ordering {
            self.1.update(|compared| compared + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counting<'_> {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Counting<'_> {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Counting<'_> {}

    #[test]
    fn a_record_that_is_named_without_end_is_looked_at_no_oftener_than_it_is_named() {
        let (records, named) = (1_000, 100_000);
        let compared = Cell::new(0);
        let entries = (0..records).map(|at| (Counting(at, &compared), at));
        let names = (0..named).map(|_| Counting(7, &compared));
        let (bad, good) = apart(entries, names);
        assert_eq!(bad, [7]);
        assert_eq!(good.len(), records - 1);
        // Sorting what is sorted takes one comparison each; a record takes one more.
        let most = 3 * (records + named);
        assert!(compared.get() <= most, "{} of {most}", compared.get());
    }

    #[test]
    fn names_of_nothing_do_not_count() {
        let (bad, good) = apart((0..3).zip(["a", "b", "c"]), [2, 3, usize::MAX]);
        assert_eq!((bad, good), (vec!["c"], vec!["a", "b"]));
    }
}
