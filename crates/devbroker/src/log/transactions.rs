//! Which transactions of a partition are open, and which were aborted.
//!
//! Kept as Kafka's `ProducerStateManager` and `TransactionIndex` do, from the batches alone: a
//! transactional batch opens its producer's transaction, a control batch with an end marker ends
//! it. Readers of committed records see nothing from the first open transaction on (the last
//! stable offset), and are told the aborted ones among what they read (KIP-98).

use std::collections::BTreeMap;

use super::batch::BatchHeader;
use crate::record;

/// How a transaction ends; the type in the key of its marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionEnd {
    /// Its records are not to be read.
    Abort,
    /// Its records are to be read.
    Commit,
}

impl TransactionEnd {
    /// `ControlRecordType` of Kafka.
    pub(super) fn marker_type(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
        }
    }

    /// From a marker's key: version and type, two bytes each.
    fn of_marker(key: &[u8]) -> Option<Self> {
        match key.get(2..4)? {
            [0, 0] => Some(Self::Abort),
            [0, 1] => Some(Self::Commit),
            _ => None,
        }
    }
}

/// An aborted transaction, as readers are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    /// Of its marker.
    last_offset: i64,
}

#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// First offset of the open transaction, by producer id.
    open: BTreeMap<i64, i64>,
    aborted: Vec<Aborted>,
}

impl Transactions {
    /// Takes note of a batch that now stands at `base_offset`.
    pub(super) fn appended(&mut self, header: &BatchHeader, batch: &[u8], base_offset: i64) {
        if !header.is_transactional() || !header.has_producer() {
            return;
        }
        let producer_id = header.producer_id;
        if !header.is_control() {
            self.open.entry(producer_id).or_insert(base_offset);
            return;
        }
        let records = record::decode_batch(batch).unwrap_or_default();
        let key = records.first().and_then(|record| record.key.as_deref());
        let Some(end) = key.and_then(TransactionEnd::of_marker) else {
            return;
        };
        if let (Some(first_offset), TransactionEnd::Abort) = (self.open.remove(&producer_id), end) {
            self.aborted.push(Aborted {
                producer_id,
                first_offset,
                last_offset: base_offset,
            });
        }
    }

    /// Where the first open transaction begins.
    pub(super) fn first_open(&self) -> Option<i64> {
        self.open.values().min().copied()
    }

    /// Those that have records from `from` up to before `until`.
    pub(super) fn aborted_within(&self, from: i64, until: i64) -> Vec<Aborted> {
        let overlap =
            |aborted: &&Aborted| aborted.last_offset >= from && aborted.first_offset < until;
        self.aborted.iter().filter(overlap).copied().collect()
    }
}
