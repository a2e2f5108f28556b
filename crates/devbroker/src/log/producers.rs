//! Sequence rules for idempotent producers, as Kafka's `ProducerAppendInfo` has them.
//!
//! Per producer id a partition remembers the epoch and the last five batches. The same batch
//! again (same epoch, first and last sequence) is answered with the offset it already has, and with the
//! largest timestamp in it as its append time, also where the topic keeps the producers' times; a gap
//! or anything older than the five is `OUT_OF_ORDER_SEQUENCE_NUMBER`; an older epoch is
//! `INVALID_PRODUCER_EPOCH`; a newer epoch begins at sequence 0. A producer the partition does not
//! know may begin anywhere: its records may have been deleted by retention.

use std::collections::{HashMap, VecDeque};

use super::batch::BatchHeader;
use crate::error_code::ErrorCode;

/// Batches remembered per producer (Kafka's `NUM_BATCHES_TO_RETAIN`).
const REMEMBERED_BATCHES: usize = 5;

/// What the partition knows of its producers.
#[derive(Debug, Default)]
pub(super) struct Producers {
    by_id: HashMap<i64, Producer>,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    batches: VecDeque<Remembered>,
}

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    first_sequence: i32,
    last_sequence: i32,
    pub(super) base_offset: i64,
    /// The largest in the log: the append time where the topic keeps that.
    pub(super) max_timestamp_ms: i64,
}

/// What is to be done with a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sequence {
    /// Append it, then tell by [`Producers::appended`].
    Next,
    /// It is in the log already.
    Duplicate(Remembered),
}

impl Producers {
    pub(super) fn judge(&self, batch: &BatchHeader) -> Result<Sequence, ErrorCode> {
        let Some(producer) = self.by_id.get(&batch.producer_id) else {
            return Ok(Sequence::Next);
        };
        let epoch = batch.producer_epoch;
        if epoch < producer.epoch {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        if epoch > producer.epoch {
            return match batch.base_sequence {
                0 => Ok(Sequence::Next),
                _ => Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
            };
        }
        let same = producer.batches.iter().find(|known| {
            known.first_sequence == batch.base_sequence
                && known.last_sequence == batch.last_sequence()
        });
        if let Some(known) = same {
            return Ok(Sequence::Duplicate(*known));
        }
        let last = producer.batches.back().map(|known| known.last_sequence);
        match last {
            Some(last) if !follows(last, batch.base_sequence) => {
                Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
            }
            _ => Ok(Sequence::Next),
        }
    }

    pub(super) fn appended(
        &mut self,
        batch: &BatchHeader,
        base_offset: i64,
        append_time_ms: Option<i64>,
    ) {
        let producer = self
            .by_id
            .entry(batch.producer_id)
            .or_insert_with(|| Producer {
                epoch: batch.producer_epoch,
                batches: VecDeque::with_capacity(REMEMBERED_BATCHES),
            });
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Remembered {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            base_offset,
            max_timestamp_ms: append_time_ms.unwrap_or(batch.max_timestamp_ms),
        });
    }
}

fn follows(last: i32, next: i32) -> bool {
    last.checked_add(1).unwrap_or(0) == next
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch(id: i64, epoch: i16, sequence: i32, count: i32) -> BatchHeader {
        BatchHeader::for_test(id, epoch, sequence, count)
    }

    #[test]
    fn a_producer_the_partition_does_not_know_may_begin_anywhere() {
        let producers = Producers::default();
        assert_eq!(producers.judge(&batch(1, 0, 17, 1)), Ok(Sequence::Next));
    }

    #[test]
    fn a_sequence_goes_on_at_zero_after_the_largest() {
        let mut producers = Producers::default();
        producers.appended(&batch(1, 0, i32::MAX - 1, 2), 0, None);
        assert_eq!(producers.judge(&batch(1, 0, 0, 1)), Ok(Sequence::Next));
        assert_eq!(
            producers.judge(&batch(1, 0, 1, 1)),
            Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
        );
    }

    #[test]
    fn producers_do_not_know_of_each_other() {
        let mut producers = Producers::default();
        producers.appended(&batch(1, 5, 0, 3), 0, None);
        assert_eq!(producers.judge(&batch(2, 0, 0, 3)), Ok(Sequence::Next));
    }

    proptest! {
        /// A producer with up to five batches in flight resends any of those, in any order and
        /// as often as it likes: the log gets each record once and in order.
        #[test]
        fn resends_of_the_last_five_never_write_twice(
            sizes in prop::collection::vec(1_i32..5, 1..30),
            resends in prop::collection::vec(any::<prop::sample::Index>(), 60),
        ) {
            let mut producers = Producers::default();
            let mut sent: Vec<(BatchHeader, i64)> = Vec::new();
            let mut resends = resends.iter();
            let (mut sequence, mut offset) = (0, 0);
            for size in sizes {
                let next = batch(9, 0, sequence, size);
                prop_assert_eq!(producers.judge(&next), Ok(Sequence::Next));
                producers.appended(&next, offset, None);
                sent.push((next, offset));
                sequence += size;
                offset += i64::from(size);
                for resend in resends.by_ref().take(2) {
                    let back = resend.index(sent.len());
                    let (again, at) = &sent[back];
                    let judged = producers.judge(again);
                    if sent.len() - back <= REMEMBERED_BATCHES {
                        let is_known =
                            matches!(&judged, Ok(Sequence::Duplicate(k)) if k.base_offset == *at);
                        prop_assert!(is_known, "{judged:?}");
                    } else {
                        prop_assert_eq!(judged, Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
                    }
                }
            }
        }
    }
}
