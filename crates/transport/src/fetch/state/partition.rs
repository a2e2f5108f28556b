//! One partition: what was fetched of it and not yet delivered, and how that becomes events.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::{
    EVENT_BYTES, Incarnation, Next, RETRY_FROM, RETRY_UP_TO,
    ends::{Ends, known},
    epochs::Epochs,
    replica::Nearby,
};
use crate::{
    consumer::{Event, FetchConfig, Position, Progress, RecordBatch, ResetCause},
    record::{CorruptRecord, FetchedRecord, RawBatch, Records, TopicPartition},
    wire::{IsolationLevel, TopicId},
};

#[derive(Debug)]
pub(super) enum Item {
    Batch(RawBatch),
    /// Nothing for the reader up to this offset: control batches, aborted transactions.
    Skip(i64),
    Fault(CorruptRecord),
}

#[derive(Debug)]
pub(super) struct Partition {
    pub(super) incarnation: Incarnation,
    pub(super) fetch_from: Position,
    /// The offset after the last one delivered; `None` until it is resolved.
    pub(super) position: Option<i64>,
    /// The position that is being replaced and why, until the reset is told.
    pub(super) reset: Option<(i64, ResetCause)>,
    /// The topic that the position is one of, once its coordinator or its leader has given something by this id.
    pub(super) topic_id: Option<TopicId>,
    /// Whether a broker has said that it knows no topic of that id.
    pub(super) disowned: bool,
    /// The epochs that what is before `fetch_from` was read in.
    pub(super) epochs: Epochs,
    /// The epoch that a leader leads in whose log is known to agree with what was read.
    pub(super) valid_in: Option<i32>,
    /// The epoch of the leader that was met last.
    pub(super) led_in: Option<i32>,
    pub(super) nearby: Nearby,
    pub(super) paused: bool,
    /// Stands until a seek.
    pub(super) halted: bool,
    /// What was fetched last ends in a fault: delivery will come to it, and nothing behind it is asked for.
    pub(super) faulty: bool,
    pub(super) asking: bool,
    pub(super) retry_at: Option<Instant>,
    pub(super) failures: u32,
    pub(super) items: VecDeque<(Item, usize)>,
    pub(super) buffered_bytes: usize,
    pub(super) reading: Option<Records>,
    pub(super) ends: Ends,
}

impl Partition {
    pub(super) fn new(incarnation: Incarnation, position: Position) -> Self {
        Self {
            incarnation,
            fetch_from: position,
            position: offset_of(position),
            reset: None,
            topic_id: None,
            disowned: false,
            epochs: Epochs::default(),
            valid_in: None,
            led_in: None,
            nearby: Nearby::default(),
            paused: false,
            halted: false,
            faulty: false,
            asking: false,
            retry_at: None,
            failures: 0,
            items: VecDeque::new(),
            buffered_bytes: 0,
            reading: None,
            ends: Ends::UNKNOWN,
        }
    }

    /// What is to be fetched from an offset.
    pub(super) fn next(&self, offset: i64, now: Instant) -> Next {
        Next {
            offset,
            last_epoch: self.epochs.last(),
            topic_id: self.topic_id,
            replica: self.nearby.follower(now),
            may_be_sent_on: self.nearby.is_asked_for(now),
        }
    }

    /// Whether the topic was made again and the new one's first offset is being looked up.
    pub(super) fn is_told_recreated(&self) -> bool {
        matches!(self.reset, Some((_, ResetCause::TopicRecreated)))
    }

    /// Goes on from a position that has nothing to do with what was read before.
    pub(super) fn begin_at(&mut self, position: Position) {
        self.fetch_from = position;
        self.epochs = Epochs::default();
        self.valid_in = None;
    }

    pub(super) fn wait_after_failure(&mut self, now: Instant) {
        let doubled = 2_u32.saturating_pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + RETRY_FROM.saturating_mul(doubled).min(RETRY_UP_TO));
    }

    pub(super) fn has_undelivered(&self) -> bool {
        self.reading.is_some() || !self.items.is_empty()
    }

    /// Bytes of what was fetched and is not delivered: as fetched, and of the batch being read as it decompressed to.
    pub(super) fn held_bytes(&self) -> usize {
        self.buffered_bytes + self.reading.as_ref().map_or(0, Records::plain_len)
    }

    /// Forgets what is not delivered, and any answer still on its way; it is fetched again from the position.
    pub(super) fn give_up_buffer(&mut self, incarnation: Incarnation) {
        self.incarnation = incarnation;
        self.asking = false;
        self.faulty = false;
        self.items.clear();
        self.buffered_bytes = 0;
        self.reading = None;
        if let Some(position) = self.position {
            self.fetch_from = Position::Offset(position);
            self.epochs.cut(position);
        }
    }

    pub(super) fn progress(
        &self,
        partition: TopicPartition,
        isolation: IsolationLevel,
    ) -> Progress {
        let end = self.ends.readable_end(isolation);
        Progress {
            partition,
            position: self.position,
            lag: end
                .zip(self.position)
                .map(|(end, position)| end.saturating_sub(position).max(0)),
            high_watermark: known(self.ends.high_watermark),
            last_stable_offset: known(self.ends.last_stable_offset),
            log_start_offset: known(self.ends.log_start_offset),
            held_back_since: self.ends.held_back_since,
        }
    }

    pub(super) fn has_something(&self) -> bool {
        !self.paused && !self.halted && self.has_undelivered()
    }
}

pub(super) fn offset_of(position: Position) -> Option<i64> {
    match position {
        Position::Offset(offset) => Some(offset),
        Position::Earliest | Position::Latest => None,
    }
}

impl Partition {
    /// One event out of what waits, which is not nothing.
    pub(super) fn deliver(&mut self, name: TopicPartition, config: &FetchConfig) -> Event {
        let mut position = self.position.unwrap_or(0);
        let mut records: Vec<FetchedRecord> = Vec::new();
        let mut bytes = 0;
        loop {
            if let Some(reading) = &mut self.reading {
                match reading.next_record() {
                    Some(Ok(record)) => {
                        bytes += record.memory_len();
                        position = record.offset + 1;
                        records.push(record);
                    }
                    Some(Err(fault)) => {
                        self.reading = None;
                        self.items.push_front((Item::Fault(fault), 0));
                    }
                    None => {
                        position = position.max(reading.batch_end());
                        self.reading = None;
                    }
                }
                if records.len() >= config.max_records || bytes >= EVENT_BYTES {
                    break;
                }
                continue;
            }
            match self.items.pop_front() {
                Some((Item::Batch(batch), size)) => {
                    self.buffered_bytes = self.buffered_bytes.saturating_sub(size);
                    self.reading = Some(batch.records(position, config.max_batch_bytes));
                }
                Some((Item::Skip(next), _)) => position = position.max(next),
                Some((Item::Fault(fault), size)) if !records.is_empty() => {
                    self.items.push_front((Item::Fault(fault), size));
                    break;
                }
                Some((Item::Fault(fault), _)) => {
                    self.position = Some(position.max(fault.offset));
                    self.halted = true;
                    self.items.clear();
                    self.buffered_bytes = 0;
                    return Event::Corrupt {
                        partition: name,
                        fault,
                    };
                }
                None => break,
            }
        }
        self.position = Some(position);
        Event::Records(RecordBatch {
            partition: name,
            records,
            next_offset: position,
            high_watermark: self.ends.high_watermark,
            last_stable_offset: self.ends.last_stable_offset,
            log_start_offset: self.ends.log_start_offset,
        })
    }
}
