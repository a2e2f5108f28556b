//! One partition's batches: in what order and under which sequence they are sent, and what each answer means.
//!
//! The rules, all of which serve one end, that no acknowledgement is ever taken for the wrong records:
//!
//! - A sequence that was sent once belongs to its records for ever. Where a batch is given up or split, the
//!   partition sends nothing new until all that was sent is settled, and goes on from sequence 0 under an epoch
//!   raised by one, which fences late copies. Epochs are a partition's own: the broker keeps producer state per
//!   partition log, so raising one leaves the others as they are. At epoch 32 767 a new producer id is needed.
//! - Only the oldest unsettled batch is sent again, alone, with the same bytes. What failed behind it costs no attempt.
//! - A batch is *ambiguous* from the first attempt whose outcome is not known. One that is not is certainly not in
//!   the log when it is refused.
//! - 45 (out of order) at the head, not ambiguous: certainly not written; sent again under the next epoch. Ambiguous,
//!   and nothing before it given up: a broker that restarted remembers only its last batch, so the outcome is unknown.
//!   Ambiguous behind a given-up batch: the gap explains the 45, but so would that forgetfulness. The batches after it
//!   decide: if one of them is in the log, so is this one, for sequences have no gaps; if none is, the broker's last
//!   batch is older than all of them, and all go on under the next epoch. Where one of them is given up with an outcome
//!   that is not known, so is this one.
//! - Until a fresh identity has been acknowledged once, one batch is on its way at a time: a broker without any state
//!   for a producer accepts whatever sequence comes first (`ProducerAppendInfo.checkSequence`), so a second batch
//!   could overtake a first that was lost.
//! - Where the owner keeps what is given up and wants it to go first ([`HoldPolicy`]), a batch given up holds the queue:
//!   what was never sent, and what goes back to be sent under the next epoch, is given up too, until the owner resumes.
//!   The owner sends again what is in doubt before all else; so what stands before that is given up as in doubt with it.
//! - Producer ids are not authenticated: whoever may write to the topic can take our next sequence, or raise our epoch.
//!   The first shows in an append time that is not ours (`intrusion`), the second as 47. Either way the batch goes on
//!   under a new producer id; the third time in a row, each on a fresh id, the partition does without one for the rest
//!   of its life, with one batch on its way at a time. Then order holds, and copies are possible.

mod answers;
mod intrusion;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::Instant;

pub(crate) use intrusion::{Alarm, Intrusions};

use super::{
    Appended, DeliveryError, GiveUp, HoldPolicy, ResendSchedule,
    batch::{Batch, Sent, Status},
};
use crate::{
    error::{ErrorCode, ErrorKind, TransportError},
    record::{BATCH_HEADER_BYTES, Compression, ProducerStamp, Record, TopicPartition, encode},
};

/// After this long without an acknowledgement the broker may have forgotten the producer
/// (`producer.id.expiration.ms` is a day; operators may set less).
const MAY_BE_FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// How much sooner than its own deadline a record may be given up for sharing a batch.
const MOST_TIME_LOST: Duration = Duration::from_secs(1);
/// How long after its deadline the answer to a request that is on its way is still waited for.
const WAITED_LONGER_AT_MOST: Duration = Duration::from_secs(1);
/// Names one attempt to send one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AttemptId(u64);

/// A batch to be sent now.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) id: AttemptId,
    pub(crate) bytes: bytes::Bytes,
    pub(crate) records: usize,
    /// When trying ends.
    pub(crate) deadline: Instant,
}

/// What came of an attempt.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The broker has the batch (0, or 46 for a copy it no longer has the offset of).
    Written {
        base_offset: Option<i64>,
        append_time: AppendTime,
    },
    /// The broker refused it, naming records where it can (KIP-467).
    Refused {
        code: ErrorCode,
        records: Vec<usize>,
        /// Where the leader had put it before it found itself unable to confirm it: it may be in the log for good.
        appended_at: Option<i64>,
        error: TransportError,
    },
    /// The request failed as a whole.
    Failed(TransportError),
}

/// The append time of an answer, as the topic's kind of timestamps lets it be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppendTime {
    /// None: what a topic with the producers' timestamps answers to an append.
    Unset,
    /// The broker's clock, on a topic that keeps that.
    Broker(i64),
    /// On a topic with the producers' timestamps: the largest of the batch that has the sequence already.
    EarlierBatch(i64),
}

/// How records came to be settled.
pub(crate) type Settled<T> = (T, Result<Appended, DeliveryError>);

/// What a queue is told once.
#[derive(Debug, Clone)]
pub(crate) struct QueueSettings {
    pub(crate) linger: Duration,
    pub(crate) batch_bytes: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) delivery_timeout: Duration,
    pub(crate) compression: Compression,
    pub(crate) schedule: Arc<dyn ResendSchedule>,
    pub(crate) hold: Arc<dyn HoldPolicy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    id: i64,
    epoch: i16,
}

impl Identity {
    /// No identity, as a batch has it: neither sequence nor protection from copies.
    const NONE: Self = Self { id: -1, epoch: -1 };
}

/// The batches of one partition.
#[derive(Debug)]
pub(crate) struct PartitionQueue<T> {
    partition: TopicPartition,
    settings: QueueSettings,
    /// Never sent under the present epoch, oldest first; the last may still grow.
    unsent: VecDeque<Batch<T>>,
    /// Sent under the present epoch and not settled, in order of their sequences.
    sent: VecDeque<Sent<T>>,
    identity: Option<Identity>,
    /// An id that may not be used any more.
    spent_id: Option<i64>,
    next_sequence: i32,
    /// Nothing new may be sent under this epoch.
    draining: bool,
    /// The next epoch needs a new producer id.
    needs_new_id: bool,
    /// The lowest sequence of this epoch that was given up: what comes after it may be refused for that.
    gap_at: Option<i32>,
    /// A gap of this epoch proves nothing: an answer came that only somebody else's writing, or a log cut short, explains.
    disturbed: bool,
    /// The broker has acknowledged something of this identity, last at this time.
    confirmed: Option<Instant>,
    intrusions: Intrusions,
    /// A batch was given up whose owner wants nothing to go before it; for this reason.
    held: Option<TransportError>,
    next_attempt: u64,
    resends: u64,
    settled: Vec<Settled<T>>,
}

impl<T> PartitionQueue<T> {
    pub(crate) fn new(partition: TopicPartition, settings: QueueSettings) -> Self {
        Self {
            partition,
            settings,
            unsent: VecDeque::new(),
            sent: VecDeque::new(),
            identity: None,
            spent_id: None,
            next_sequence: 0,
            draining: false,
            needs_new_id: false,
            gap_at: None,
            disturbed: false,
            confirmed: None,
            intrusions: Intrusions::default(),
            held: None,
            next_attempt: 0,
            resends: 0,
            settled: Vec::new(),
        }
    }

    /// Takes a record in, behind all others.
    #[cfg(test)]
    fn append(&mut self, now: Instant, record: Record, token: T) {
        self.append_until(now, now + self.settings.delivery_timeout, record, token);
    }

    /// Takes a record in, behind all others, to be given up at `deadline`, or after the delivery timeout if
    /// that is sooner.
    pub(crate) fn append_until(
        &mut self,
        now: Instant,
        deadline: Instant,
        record: Record,
        token: T,
    ) {
        let deadline = deadline.min(now + self.settings.delivery_timeout);
        if self.held.is_some() {
            let mut batch = Batch::new(now, deadline);
            batch.push(record, token);
            self.unsent.push_back(batch);
            self.give_up_held();
            return;
        }
        // Who shares a batch shares its end: nobody's may come late, or much too early.
        let ends_together = |batch: &Batch<T>| {
            batch.deadline <= deadline && deadline - batch.deadline <= MOST_TIME_LOST
        };
        let fits = self.unsent.back().is_some_and(|batch| {
            !batch.closed
                && batch.size + record.size_bound() <= self.settings.batch_bytes
                && ends_together(batch)
        });
        if !fits {
            if let Some(batch) = self.unsent.back_mut() {
                batch.closed = true;
            }
            self.unsent.push_back(Batch::new(now, deadline));
        }
        if let Some(batch) = self.unsent.back_mut() {
            batch.push(record, token);
            batch.closed |= batch.size >= self.settings.batch_bytes;
        }
    }

    /// Ends lingering for all that was appended so far.
    pub(crate) fn flush(&mut self) {
        if let Some(batch) = self.unsent.back_mut() {
            batch.closed = true;
        }
    }

    /// How many batches wait for an answer.
    pub(crate) fn in_flight(&self) -> usize {
        let outstanding = |sent: &&Sent<T>| matches!(sent.status, Status::Outstanding(_));
        self.sent.iter().filter(outstanding).count()
    }

    /// How many attempts were not a batch's first under its sequence.
    pub(crate) fn resends(&self) -> u64 {
        self.resends
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.unsent.is_empty() && self.sent.is_empty()
    }

    /// Notes why nothing can be sent at the moment, for those that are given up meanwhile.
    pub(crate) fn hindered(&mut self, error: &TransportError) {
        for batch in &mut self.unsent {
            batch.last_error = Some(error.clone());
        }
    }

    /// Gives up what was never sent, for a reason that will not pass.
    pub(crate) fn refuse_unsent(&mut self, error: &TransportError) {
        self.hindered(error);
        while let Some(batch) = self.unsent.pop_front() {
            self.give_up(batch, GiveUp::Refused);
        }
    }

    /// What has been settled since the last call.
    pub(crate) fn take_settled(&mut self) -> Vec<Settled<T>> {
        std::mem::take(&mut self.settled)
    }

    /// The id this queue cannot go on with, if it is waiting for another.
    #[cfg(test)]
    fn spent_id(&self) -> Option<i64> {
        self.spent_id
    }

    /// Gives up what ran out of time, and moves on to the next epoch when all is settled.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.expire(now);
        self.settle_head();
        let drained = self.sent.iter().all(|sent| sent.status == Status::Refused);
        if self.draining && drained {
            self.begin_epoch();
        }
        self.give_up_held();
    }

    /// Whether what is appended is given up at once.
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// What is appended from now on is sent.
    pub(crate) fn resume(&mut self) {
        self.held = None;
    }

    /// Whether [`poll`](Self::poll) would give an attempt, given a usable producer id.
    pub(crate) fn is_ready(&self, now: Instant) -> bool {
        match self.recovering() {
            Some(head) => self.due(head, now),
            None => self.may_send_new(now),
        }
    }

    /// Since when the oldest batch that is not settled waits.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        let sent = self.sent.front().map(|sent| &sent.batch);
        sent.or(self.unsent.front()).map(|batch| batch.opened)
    }

    /// Whether records wait that cannot be sent for want of a producer id.
    pub(crate) fn wants_id(&self, producer_id: Option<i64>) -> bool {
        self.identity.is_none() && !self.unsent.is_empty() && self.usable(producer_id).is_none()
    }

    /// The next attempt to make. `producer_id` is the producer's at present.
    pub(crate) fn poll(&mut self, now: Instant, producer_id: Option<i64>) -> Option<Attempt> {
        if let Some(head) = self.recovering() {
            if !self.due(head, now) {
                return None;
            }
            let id = self.attempt_id();
            self.resends += 1;
            let sent = self.sent.get_mut(head)?;
            sent.status = Status::Outstanding(id);
            sent.resent = true;
            return Some(Attempt {
                id,
                bytes: sent.encoded.bytes.clone(),
                records: sent.batch.entries.len(),
                deadline: sent.batch.deadline,
            });
        }
        while self.may_send_new(now) {
            let identity = match self.identity {
                Some(identity) => identity,
                None => {
                    let identity = Identity {
                        id: self.usable(producer_id)?,
                        epoch: 0,
                    };
                    self.identity = Some(identity);
                    self.next_sequence = 0;
                    identity
                }
            };
            if let Some(attempt) = self.send_new(identity) {
                return Some(attempt);
            }
        }
        None
    }

    /// Bytes of the next attempt at most.
    pub(crate) fn next_bytes(&self) -> usize {
        match self.recovering().and_then(|head| self.sent.get(head)) {
            Some(sent) => sent.encoded.bytes.len(),
            None => self
                .unsent
                .front()
                .map_or(0, |batch| BATCH_HEADER_BYTES + batch.size),
        }
    }

    /// Takes an answer in. One to an attempt that is no longer waited for changes nothing.
    pub(crate) fn answered(&mut self, now: Instant, attempt: AttemptId, answer: Answer) {
        let outstanding = Status::Outstanding(attempt);
        let Some(index) = self.sent.iter().position(|sent| sent.status == outstanding) else {
            return;
        };
        match answer {
            Answer::Written {
                base_offset,
                append_time,
            } => {
                if self.is_anothers(index, append_time) {
                    self.sequence_taken(index, base_offset);
                } else {
                    self.written(now, index, base_offset, append_time);
                }
            }
            Answer::Refused {
                code,
                records,
                appended_at,
                error,
            } => {
                if let Some(sent) = self.sent.get_mut(index) {
                    sent.batch.ambiguous |= appended_at.is_some();
                }
                self.refused(now, index, code, records, error);
            }
            Answer::Failed(error) => self.failed(now, index, error, true),
        }
        self.advance(now);
    }

    /// Gives up everything, as the producer closes.
    pub(crate) fn abandon(&mut self) {
        while let Some(mut sent) = self.sent.pop_front() {
            sent.batch.ambiguous |= matches!(sent.status, Status::Outstanding(_));
            sent.batch.before_doubt |= self.is_open_from(0);
            self.give_up(sent.batch, GiveUp::Closed);
        }
        while let Some(batch) = self.unsent.pop_front() {
            self.give_up(batch, GiveUp::Closed);
        }
        self.draining = true;
    }

    /// When [`advance`](Self::advance) will have something to give up.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.sent
            .iter()
            .map(given_up_at)
            .chain(self.unsent.iter().map(|batch| batch.deadline))
            .min()
    }

    /// When [`is_ready`](Self::is_ready) will be true; may be in the past.
    pub(crate) fn next_send(&self) -> Option<Instant> {
        match self.recovering() {
            Some(head) => match self.sent.get(head)?.status {
                Status::Waiting(until) => Some(until),
                Status::Behind => Some(self.sent.get(head)?.batch.opened),
                Status::Outstanding(_) | Status::Refused => None,
            },
            None if self.draining || self.sent.len() >= self.window() => None,
            None => self.unsent.front().map(|batch| self.send_from(batch)),
        }
    }

    fn usable(&self, producer_id: Option<i64>) -> Option<i64> {
        producer_id.filter(|id| self.spent_id != Some(*id))
    }

    fn attempt_id(&mut self) -> AttemptId {
        self.next_attempt += 1;
        AttemptId(self.next_attempt)
    }

    /// The oldest unsettled batch, if any has failed. While one has, nothing new is sent.
    fn recovering(&self) -> Option<usize> {
        let unsettled = |sent: &Sent<T>| sent.status != Status::Refused;
        let failed = |sent: &Sent<T>| matches!(sent.status, Status::Waiting(_) | Status::Behind);
        self.sent
            .iter()
            .any(failed)
            .then(|| self.sent.iter().position(unsettled))
            .flatten()
    }

    fn due(&self, index: usize, now: Instant) -> bool {
        self.sent.get(index).is_some_and(|sent| match sent.status {
            Status::Waiting(until) => until <= now,
            Status::Behind => true,
            Status::Outstanding(_) | Status::Refused => false,
        })
    }

    fn window(&self) -> usize {
        if self.confirmed.is_some() && !self.is_unprotected() {
            self.settings.max_in_flight
        } else {
            1
        }
    }

    /// From when on a batch may be sent.
    fn send_from(&self, batch: &Batch<T>) -> Instant {
        let lingered = if batch.closed {
            batch.opened
        } else {
            batch.opened + self.settings.linger
        };
        batch
            .not_before
            .map_or(lingered, |not_before| not_before.max(lingered))
    }

    fn may_send_new(&self, now: Instant) -> bool {
        !self.draining
            && self.sent.len() < self.window()
            && self
                .unsent
                .front()
                .is_some_and(|batch| self.send_from(batch) <= now)
    }

    fn send_new(&mut self, identity: Identity) -> Option<Attempt> {
        let mut batch = self.unsent.pop_front()?;
        batch.closed = true;
        let count = i32::try_from(batch.entries.len()).unwrap_or(i32::MAX);
        let (base_sequence, following) = if identity == Identity::NONE {
            (-1, Some(0))
        } else {
            (self.next_sequence, self.next_sequence.checked_add(count))
        };
        let Some(next_sequence) = following else {
            // Out of sequences: the next epoch has them all again. Where nothing is on its way, no answer will
            // come that could begin it.
            self.draining = true;
            self.unsent.push_front(batch);
            if self.sent.is_empty() {
                self.begin_epoch();
            }
            return None;
        };
        let stamp = ProducerStamp {
            id: identity.id,
            epoch: identity.epoch,
            base_sequence,
        };
        let records = batch.entries.iter().map(|entry| &entry.record);
        match encode(records, stamp, self.settings.compression) {
            Ok(encoded) => {
                self.next_sequence = next_sequence;
                let id = self.attempt_id();
                let attempt = Attempt {
                    id,
                    bytes: encoded.bytes.clone(),
                    records: batch.entries.len(),
                    deadline: batch.deadline,
                };
                self.sent.push_back(Sent {
                    batch,
                    encoded,
                    base_sequence,
                    status: Status::Outstanding(id),
                    resent: false,
                });
                Some(attempt)
            }
            Err(error) => {
                let kind = ErrorKind::Unencodable {
                    reason: error.to_string().into(),
                };
                batch.last_error = Some(self.error(kind));
                self.give_up(batch, GiveUp::Unfit);
                None
            }
        }
    }
}

/// When trying ends. An answer on its way is worth a moment more; but it may share its request, and the request's time,
/// with records that have longer.
fn given_up_at<T>(sent: &Sent<T>) -> Instant {
    match sent.status {
        Status::Outstanding(_) => sent.batch.deadline + WAITED_LONGER_AT_MOST,
        Status::Waiting(_) | Status::Behind | Status::Refused => sent.batch.deadline,
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
