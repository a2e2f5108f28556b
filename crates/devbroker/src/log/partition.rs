//! The log of one partition: what producers may append, what readers get.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::batch::{self, BatchHeader, NotABatch};
use super::leadership::Leadership;
use super::producers::{Producers, Sequence};
use super::settings::{TimestampType, TopicSettings};
use super::transactions::{Aborted, TransactionEnd, Transactions};
use crate::error_code::ErrorCode;
use crate::record;

/// A record that has no timestamp.
const NO_TIMESTAMP: i64 = -1;

/// Batches in offset order; a state machine without a clock.
#[derive(Debug)]
pub(crate) struct PartitionLog {
    leadership: Leadership,
    batches: VecDeque<Stored>,
    start_offset: i64,
    next_offset: i64,
    bytes: usize,
    producers: Producers,
    transactions: Transactions,
    /// Where the log ends for followers that lag.
    held_back: BTreeMap<i32, i64>,
}

#[derive(Debug)]
struct Stored {
    base_offset: i64,
    last_offset: i64,
    max_timestamp_ms: i64,
    bytes: Bytes,
}

/// Where a batch stands in the log, now or since its first append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// Set where the topic keeps the append time, and for duplicates.
    pub(crate) append_time_ms: Option<i64>,
    pub(crate) is_duplicate: bool,
}

/// Why a batch was not appended.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{code}: {reason}")]
pub(crate) struct AppendRefused {
    pub(crate) code: ErrorCode,
    pub(crate) reason: String,
    /// The records that are to blame, where it is not the batch as a whole (KIP-467).
    pub(crate) records: Vec<BadRecord>,
}

/// A record for which its batch was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadRecord {
    /// Its place in the batch.
    pub(crate) index: i32,
    pub(crate) reason: String,
}

fn refused(code: ErrorCode, reason: impl ToString) -> AppendRefused {
    AppendRefused {
        code,
        reason: reason.to_string(),
        records: Vec::new(),
    }
}

impl PartitionLog {
    pub(crate) fn new(leadership: Leadership) -> Self {
        Self {
            leadership,
            batches: VecDeque::new(),
            start_offset: 0,
            next_offset: 0,
            bytes: 0,
            producers: Producers::default(),
            transactions: Transactions::default(),
            held_back: BTreeMap::new(),
        }
    }

    pub(crate) fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    /// Makes a broker the leader, or nobody.
    pub(crate) fn elect(&mut self, leader: Option<i32>) {
        self.leadership.elect(leader, self.next_offset);
    }

    /// Lets a follower have nothing from an offset on, or all again.
    pub(crate) fn hold_back(&mut self, broker: i32, end_offset: Option<i64>) {
        match end_offset {
            Some(end_offset) => self.held_back.insert(broker, end_offset),
            None => self.held_back.remove(&broker),
        };
    }

    /// The offset after the last record that a broker has: the leader all, followers unless they lag.
    pub(crate) fn end_at(&self, broker: i32) -> i64 {
        let lags = self.leadership.leader() != Some(broker);
        let held_back = self.held_back.get(&broker).filter(|_| lags);
        held_back.map_or(self.next_offset, |end| self.next_offset.min(*end))
    }

    /// Loses the batches that reach to this offset or beyond it, with what was known from them.
    pub(crate) fn truncate(&mut self, end_offset: i64) {
        while let Some(last) = self.batches.back() {
            if last.last_offset < end_offset {
                break;
            }
            self.bytes -= last.bytes.len();
            self.next_offset = last.base_offset;
            self.batches.pop_back();
        }
        self.start_offset = self.start_offset.min(self.next_offset);
        self.producers = Producers::default();
        self.transactions = Transactions::default();
        for stored in &self.batches {
            if let Some(header) = BatchHeader::read(&stored.bytes) {
                self.transactions
                    .appended(&header, &stored.bytes, stored.base_offset);
                if header.has_producer() && !header.is_control() {
                    self.producers.appended(&header, stored.base_offset, None);
                }
            }
        }
    }

    pub(crate) fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The offset the next record gets, and the high watermark: replicas do not lag.
    pub(crate) fn end_offset(&self) -> i64 {
        self.next_offset
    }

    /// Appends one batch of a producer, checked as Kafka checks it.
    pub(crate) fn append(
        &mut self,
        bytes: &Bytes,
        settings: &TopicSettings,
        now_unix_ms: i64,
    ) -> Result<Appended, AppendRefused> {
        let header = BatchHeader::parse(bytes).map_err(|error| {
            let code = match error {
                NotABatch::Checksum | NotABatch::Short(_) => ErrorCode::CORRUPT_MESSAGE,
                // More than one batch, or a part of one, in one partition of a request.
                NotABatch::Length { .. } | NotABatch::Magic(_) => ErrorCode::INVALID_RECORD,
            };
            refused(code, error)
        })?;
        if bytes.len() > settings.max_message_bytes {
            return Err(refused(
                ErrorCode::MESSAGE_TOO_LARGE,
                format!(
                    "batch of {} bytes; the topic takes at most {}",
                    bytes.len(),
                    settings.max_message_bytes
                ),
            ));
        }
        validate(&header, bytes, settings, now_unix_ms)?;
        if header.has_producer() {
            match self.producers.judge(&header) {
                Ok(Sequence::Next) => {}
                Ok(Sequence::Duplicate(known)) => {
                    return Ok(Appended {
                        base_offset: known.base_offset,
                        append_time_ms: Some(known.max_timestamp_ms),
                        is_duplicate: true,
                    });
                }
                Err(code) => {
                    return Err(refused(
                        code,
                        format!(
                            "producer {} epoch {} sequence {} at offset {}",
                            header.producer_id,
                            header.producer_epoch,
                            header.base_sequence,
                            self.next_offset
                        ),
                    ));
                }
            }
        }
        let append_time_ms = match settings.timestamp_type {
            TimestampType::LogAppendTime => Some(now_unix_ms),
            TimestampType::CreateTime => None,
        };
        let base_offset = self.next_offset;
        if header.has_producer() {
            self.producers
                .appended(&header, base_offset, append_time_ms);
        }
        self.store(bytes, header.last_offset_delta, append_time_ms);
        self.retain(settings.retention_bytes);
        Ok(Appended {
            base_offset,
            append_time_ms,
            is_duplicate: false,
        })
    }

    /// Where readers of committed records have to stop for now.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        self.transactions.first_open().unwrap_or(self.next_offset)
    }

    /// The aborted transactions that have records from `from` up to before `until`.
    pub(crate) fn aborted_within(&self, from: i64, until: i64) -> Vec<Aborted> {
        self.transactions.aborted_within(from, until)
    }

    /// Writes the marker that ends a producer's transaction; its offset.
    pub(crate) fn end_transaction(
        &mut self,
        producer_id: i64,
        epoch: i16,
        end: TransactionEnd,
        now_unix_ms: i64,
    ) -> i64 {
        let marker = batch::marker(producer_id, epoch, end.marker_type(), now_unix_ms);
        self.append_unchecked(&marker, 0)
    }

    /// Appends bytes without any check, as a faulty or hostile broker would hand them out.
    pub(crate) fn append_unchecked(&mut self, bytes: &Bytes, last_offset_delta: u16) -> i64 {
        let base_offset = self.next_offset;
        self.store(bytes, last_offset_delta.into(), None);
        base_offset
    }

    fn store(&mut self, bytes: &Bytes, last_offset_delta: i32, append_time_ms: Option<i64>) {
        let base_offset = self.next_offset;
        let bytes = batch::placed(bytes, base_offset, self.leadership.epoch(), append_time_ms);
        let last_offset = base_offset + i64::from(last_offset_delta.max(0));
        if let Some(header) = BatchHeader::read(&bytes) {
            self.transactions.appended(&header, &bytes, base_offset);
        }
        self.bytes += bytes.len();
        self.batches.push_back(Stored {
            base_offset,
            last_offset,
            max_timestamp_ms: BatchHeader::read(&bytes)
                .map_or(-1, |header| header.max_timestamp_ms),
            bytes,
        });
        self.next_offset = last_offset + 1;
    }

    fn retain(&mut self, retention_bytes: i64) {
        let Ok(limit) = usize::try_from(retention_bytes) else {
            return;
        };
        while self.bytes > limit && self.batches.len() > 1 {
            if let Some(dropped) = self.batches.pop_front() {
                self.bytes -= dropped.bytes.len();
                self.start_offset = dropped.last_offset + 1;
            }
        }
    }

    /// Deletes records before `offset`, as DeleteRecords or retention would.
    pub(crate) fn delete_before(&mut self, offset: i64) {
        self.start_offset = offset.clamp(self.start_offset, self.next_offset);
        while let Some(first) = self.batches.front() {
            if first.last_offset >= self.start_offset {
                break;
            }
            self.bytes -= first.bytes.len();
            self.batches.pop_front();
        }
    }

    /// Reads from the batch that holds `offset` up to before the batch that begins at `until`. With `whole_first` the first batch comes whole
    /// even above the limit; otherwise a first batch that does not fit is not given at all, and a
    /// later one is cut at the limit.
    pub(crate) fn read(
        &self,
        offset: i64,
        until: i64,
        max_bytes: usize,
        whole_first: bool,
    ) -> Result<Bytes, ErrorCode> {
        if offset < self.start_offset || offset > self.next_offset {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        let first = self
            .batches
            .partition_point(|stored| stored.last_offset < offset);
        let mut limit = max_bytes;
        let end = self
            .batches
            .partition_point(|stored| stored.base_offset < until);
        if let Some(stored) = self.batches.get(first)
            && stored.bytes.len() > limit
        {
            limit = if whole_first { stored.bytes.len() } else { 0 };
        }
        let mut bytes = BytesMut::new();
        for stored in self.batches.range(first..end.max(first)) {
            let room = limit - bytes.len();
            if room == 0 {
                break;
            }
            bytes.extend_from_slice(&stored.bytes[..stored.bytes.len().min(room)]);
        }
        Ok(bytes.freeze())
    }

    /// The first record with at least this timestamp, as offset and timestamp.
    pub(crate) fn at_timestamp(&self, timestamp_ms: i64) -> Option<(i64, i64)> {
        self.batches
            .iter()
            .filter(|stored| stored.max_timestamp_ms >= timestamp_ms)
            .flat_map(|stored| record::decode_batch(&stored.bytes).unwrap_or_default())
            .map(|record| (record.offset, record.timestamp_ms))
            .find(|(offset, at)| *at >= timestamp_ms && *offset >= self.start_offset)
    }

    /// The largest timestamp in the log, with the offset of the first record that has it.
    pub(crate) fn max_timestamp(&self) -> Option<(i64, i64)> {
        let max = self.batches.iter().map(|s| s.max_timestamp_ms).max()?;
        self.at_timestamp(max)
    }

    /// The batches as they stand in the log.
    pub(crate) fn batches(&self) -> impl Iterator<Item = (i64, &Bytes)> {
        self.batches
            .iter()
            .map(|stored| (stored.base_offset, &stored.bytes))
    }
}

fn validate(
    header: &BatchHeader,
    bytes: &Bytes,
    settings: &TopicSettings,
    now_unix_ms: i64,
) -> Result<(), AppendRefused> {
    let invalid = |reason: String| refused(ErrorCode::INVALID_RECORD, reason);
    if header.is_control() {
        return Err(invalid("control batches are the broker's to write".into()));
    }
    if header.is_transactional() {
        return Err(refused(
            ErrorCode::INVALID_TXN_STATE,
            "transactions are not supported",
        ));
    }
    if header.record_count < 1
        || i64::from(header.last_offset_delta) + 1 != i64::from(header.record_count)
    {
        return Err(invalid(format!(
            "batch of {} records whose last has relative offset {}",
            header.record_count, header.last_offset_delta
        )));
    }
    if header.has_producer() && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return Err(invalid(format!(
            "producer {} with epoch {} and sequence {}",
            header.producer_id, header.producer_epoch, header.base_sequence
        )));
    }
    let records = record::decode_batch(bytes).map_err(|error| invalid(error.to_string()))?;
    for (index, record) in records.iter().enumerate() {
        if i64::try_from(index) != Ok(record.offset - header.base_offset) {
            return Err(invalid(format!(
                "record {index} has relative offset {}",
                record.offset - header.base_offset
            )));
        }
    }
    let bad = bad_records(&records, settings, now_unix_ms);
    if bad.is_empty() {
        return Ok(());
    }
    // Kafka tells of timestamps by their own code where there is nothing else to tell.
    let code = match bad
        .iter()
        .all(|(code, _)| *code == ErrorCode::INVALID_TIMESTAMP)
    {
        true => ErrorCode::INVALID_TIMESTAMP,
        false => ErrorCode::INVALID_RECORD,
    };
    Err(AppendRefused {
        code,
        reason: "one or more records have been rejected".to_owned(),
        records: bad.into_iter().map(|(_, record)| record).collect(),
    })
}

/// What Kafka's `LogValidator` finds wrong with single records.
fn bad_records(
    records: &[record::Record],
    settings: &TopicSettings,
    now_unix_ms: i64,
) -> Vec<(ErrorCode, BadRecord)> {
    let latest = now_unix_ms.saturating_add(settings.timestamp_after_max_ms);
    let earliest = now_unix_ms.saturating_sub(settings.timestamp_before_max_ms);
    let checks_time = settings.timestamp_type == TimestampType::CreateTime;
    let mut bad = Vec::new();
    for (index, record) in (0..).zip(records) {
        let at = record.timestamp_ms;
        let found = if settings.compacts() && record.key.is_none() {
            let reason = "a compacted topic takes no record without a key".to_owned();
            (ErrorCode::INVALID_RECORD, reason)
        } else if checks_time && at != NO_TIMESTAMP && !(earliest..=latest).contains(&at) {
            let reason = format!("timestamp {at} is not within {earliest} to {latest}");
            (ErrorCode::INVALID_TIMESTAMP, reason)
        } else {
            continue;
        };
        let (code, reason) = found;
        bad.push((code, BadRecord { index, reason }));
    }
    bad
}
