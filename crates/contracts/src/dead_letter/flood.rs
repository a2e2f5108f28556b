//! Many records in one reference.

use sha2::{Digest, Sha256};

use super::body::ReferenceBody;
use super::letter::Origin;
use crate::record::RecordView;
use crate::redrive::value_hash;

/// Many records of one partition that one reference stands for: where, how many, how long, and the
/// hash of their hashes.
#[derive(Clone, Debug)]
pub struct Flood {
    origin: Origin,
    last_offset: i64,
    count: u64,
    length: u64,
    first: [u8; 32],
    hashes: Sha256,
}

impl Flood {
    /// A flood that begins with `record`.
    #[must_use]
    pub fn starting_with(record: &RecordView<'_>) -> Self {
        let first = value_hash(record.value);
        Self {
            origin: Origin {
                topic: record.topic.to_owned(),
                partition: record.partition,
                offset: Some(record.offset),
                timestamp_ms: Some(record.timestamp_ms),
            },
            last_offset: record.offset,
            count: 1,
            length: length(record.value.unwrap_or_default()),
            first,
            hashes: Sha256::new_with_prefix(first),
        }
    }

    /// One more, of the same partition and at a higher offset.
    pub fn add(&mut self, record: &RecordView<'_>) {
        self.last_offset = self.last_offset.max(record.offset);
        self.count += 1;
        self.length = self
            .length
            .saturating_add(length(record.value.unwrap_or_default()));
        self.hashes.update(value_hash(record.value));
    }

    pub(super) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How many records.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The hash of the one value, or of all their hashes.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        if self.count == 1 {
            self.first
        } else {
            self.hashes.clone().finalize().into()
        }
    }

    pub(super) fn body(&self) -> ReferenceBody {
        ReferenceBody {
            length: self.length,
            sha256: hex::encode(self.sha256()),
            first_offset: self.origin.offset,
            last_offset: Some(self.last_offset),
            count: self.count,
        }
    }
}

pub(super) fn length(value: &[u8]) -> u64 {
    u64::try_from(value.len()).unwrap_or(u64::MAX)
}
