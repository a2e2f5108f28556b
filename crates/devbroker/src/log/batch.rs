//! The header of a record batch, format version 2.
//!
//! | bytes | field | bytes | field |
//! |---|---|---|---|
//! | 0..8 | base offset | 27..35 | base timestamp |
//! | 8..12 | length after this field | 35..43 | largest timestamp |
//! | 12..16 | partition leader epoch | 43..51 | producer id |
//! | 16 | magic, 2 | 51..53 | producer epoch |
//! | 17..21 | CRC-32C of all that follows | 53..57 | base sequence |
//! | 21..23 | attributes | 57..61 | number of records |
//! | 23..27 | offset of the last record, relative | 61.. | records |

use bytes::{BufMut as _, Bytes, BytesMut};
use thiserror::Error;

const HEADER_BYTES: usize = 61;
const LENGTH_END: usize = 12;
const CRC_FROM: usize = 21;
const MAGIC: u8 = 2;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// Why bytes are not one batch of format version 2.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum NotABatch {
    #[error("{0} bytes are less than the header of a batch")]
    Short(usize),
    #[error("record format version {0}; only 2 is accepted")]
    Magic(u8),
    #[error("batch announces {announced} bytes, {present} are present")]
    Length { announced: i64, present: usize },
    #[error("checksum does not match the batch")]
    Checksum,
}

/// The fields of a batch header that a broker acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) base_offset: i64,
    attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp_ms: i64,
    pub(crate) max_timestamp_ms: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) record_count: i32,
}

impl BatchHeader {
    /// Where the records begin.
    pub(crate) const BYTES: usize = HEADER_BYTES;

    /// Reads the header without judging length or checksum.
    pub(crate) fn read(batch: &[u8]) -> Option<Self> {
        if batch.len() < HEADER_BYTES {
            return None;
        }
        Some(Self {
            base_offset: i64::from_be_bytes(field(batch, 0)?),
            attributes: i16::from_be_bytes(field(batch, 21)?),
            last_offset_delta: i32::from_be_bytes(field(batch, 23)?),
            base_timestamp_ms: i64::from_be_bytes(field(batch, 27)?),
            max_timestamp_ms: i64::from_be_bytes(field(batch, 35)?),
            producer_id: i64::from_be_bytes(field(batch, 43)?),
            producer_epoch: i16::from_be_bytes(field(batch, 51)?),
            base_sequence: i32::from_be_bytes(field(batch, 53)?),
            record_count: i32::from_be_bytes(field(batch, 57)?),
        })
    }

    /// Reads the header of what must be exactly one intact batch.
    pub(super) fn parse(batch: &[u8]) -> Result<Self, NotABatch> {
        let header = Self::read(batch).ok_or(NotABatch::Short(batch.len()))?;
        if batch[16] != MAGIC {
            return Err(NotABatch::Magic(batch[16]));
        }
        let announced = announced_bytes(batch).unwrap_or(-1);
        if usize::try_from(announced) != Ok(batch.len()) {
            return Err(NotABatch::Length {
                announced,
                present: batch.len(),
            });
        }
        let checksum = field(batch, 17).map(u32::from_be_bytes);
        if checksum != Some(crc32c::crc32c(&batch[CRC_FROM..])) {
            return Err(NotABatch::Checksum);
        }
        Ok(header)
    }

    #[cfg(test)]
    pub(super) fn for_test(producer_id: i64, epoch: i16, sequence: i32, count: i32) -> Self {
        Self {
            base_offset: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
            producer_id,
            producer_epoch: epoch,
            base_sequence: sequence,
            record_count: count,
        }
    }

    pub(crate) fn codec(&self) -> i16 {
        self.attributes & CODEC_MASK
    }

    pub(crate) fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub(crate) fn has_producer(&self) -> bool {
        self.producer_id >= 0
    }

    /// The last record's sequence; sequences wrap from `i32::MAX` to 0.
    pub(super) fn last_sequence(&self) -> i32 {
        add_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// The sequence of the record at this offset of the batch.
    pub(super) fn sequence_at(&self, offset: i64) -> i32 {
        let delta = offset.saturating_sub(self.base_offset);
        add_sequence(self.base_sequence, i32::try_from(delta).unwrap_or(0))
    }
}

/// The length of a batch as its own length field tells, header included.
pub(super) fn announced_bytes(batch: &[u8]) -> Option<i64> {
    let after = i32::from_be_bytes(field(batch, 8)?);
    Some(i64::from(after) + 12)
}

/// The batch as the log keeps it: with its place in the log, and with the append time where the
/// topic wants that. Only the latter is covered by the checksum.
pub(super) fn placed(
    batch: &Bytes,
    base_offset: i64,
    leader_epoch: i32,
    append_time_ms: Option<i64>,
) -> Bytes {
    let mut bytes = BytesMut::from(batch.as_ref());
    if bytes.len() >= LENGTH_END + 4 {
        bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
    }
    if let (Some(time), Some(header)) = (append_time_ms, BatchHeader::read(&bytes)) {
        let attributes = header.attributes | LOG_APPEND_TIME;
        bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
        bytes[35..43].copy_from_slice(&time.to_be_bytes());
        let checksum = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    }
    bytes.freeze()
}

/// A control batch with one record, the marker that ends a transaction: its key is version 0 and
/// the type, its value version 0 and coordinator epoch 0 (`EndTxnMarker.json`).
pub(super) fn marker(producer_id: i64, epoch: i16, marker_type: i16, now_unix_ms: i64) -> Bytes {
    const RECORD: [u8; 3] = [0, 0, 0]; // attributes, timestamp delta, offset delta
    const VALUE: [u8; 6] = [0; 6];
    let mut record = BytesMut::new();
    record.put_slice(&RECORD);
    record.put_u8(4 << 1); // length of the key, zigzag
    record.put_i16(0);
    record.put_i16(marker_type);
    record.put_u8(6 << 1);
    record.put_slice(&VALUE);
    record.put_u8(0); // no headers

    let mut body = BytesMut::new();
    body.put_i16(TRANSACTIONAL | CONTROL);
    body.put_i32(0);
    body.put_i64(now_unix_ms);
    body.put_i64(now_unix_ms);
    body.put_i64(producer_id);
    body.put_i16(epoch);
    body.put_i32(-1);
    body.put_i32(1);
    // Both lengths are far below 64, so that a zigzag varint of them is one byte.
    body.put_u8(u8::try_from(record.len() * 2).unwrap_or(u8::MAX));
    body.put_slice(&record);

    let mut batch = BytesMut::new();
    batch.put_i64(0);
    batch.put_u32(u32::try_from(body.len() + CRC_FROM - LENGTH_END).unwrap_or(u32::MAX));
    batch.put_i32(0);
    batch.put_u8(MAGIC);
    batch.put_u32(crc32c::crc32c(&body));
    batch.put_slice(&body);
    batch.freeze()
}

fn add_sequence(sequence: i32, increment: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(increment);
    let wrapped = sum.rem_euclid(i64::from(i32::MAX) + 1);
    i32::try_from(wrapped).unwrap_or(0)
}

fn field<const N: usize>(batch: &[u8], at: usize) -> Option<[u8; N]> {
    batch.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_from_the_largest_integer_to_zero() {
        assert_eq!(add_sequence(i32::MAX, 1), 0);
        assert_eq!(add_sequence(i32::MAX - 1, 3), 1);
        assert_eq!(add_sequence(7, 2), 9);
    }
}
