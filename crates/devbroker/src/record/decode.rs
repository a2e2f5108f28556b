//! Takes the records of a batch apart.
//!
//! A record is, each integer a zigzag varint: length, attributes (one byte), timestamp delta,
//! offset delta, key length and key, value length and value, number of headers, and per header
//! name length and name, value length and value. Length -1 is null.

use bytes::Bytes;
use thiserror::Error;

use super::codec::{self, Undecodable};
use crate::log::BatchHeader;

/// One decoded record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    /// Names that are not UTF-8 come with replacement characters, as Java shows them.
    pub(crate) headers: Vec<(String, Option<Bytes>)>,
}

/// Why records could not be read.
#[derive(Debug, Error)]
pub(crate) enum BadRecords {
    #[error("batch shorter than its header")]
    Short,
    #[error(transparent)]
    Codec(#[from] Undecodable),
    #[error("record {0} is malformed")]
    Record(i32),
    #[error("{0} bytes follow the last record")]
    Trailing(usize),
}

/// Decodes all records of one batch.
pub(crate) fn decode_batch(batch: &[u8]) -> Result<Vec<Record>, BadRecords> {
    let header = BatchHeader::read(batch).ok_or(BadRecords::Short)?;
    let body = batch.get(BatchHeader::BYTES..).ok_or(BadRecords::Short)?;
    let body = codec::decompress(header.codec(), body)?;
    let mut reader = Reader { rest: &body };
    let mut records = Vec::new();
    for index in 0..header.record_count.max(0) {
        let record = reader.record(&header).ok_or(BadRecords::Record(index))?;
        records.push(record);
    }
    match reader.rest.len() {
        0 => Ok(records),
        trailing => Err(BadRecords::Trailing(trailing)),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn record(&mut self, header: &BatchHeader) -> Option<Record> {
        let length = usize::try_from(self.varint()?).ok()?;
        let mut record = Reader {
            rest: self.take(length)?,
        };
        record.take(1)?;
        let timestamp_delta = record.varint()?;
        let offset_delta = record.varint()?;
        let key = record.nullable()?;
        let value = record.nullable()?;
        let mut headers = Vec::new();
        for _ in 0..u32::try_from(record.varint()?).ok()? {
            let length = usize::try_from(record.varint()?).ok()?;
            let name = String::from_utf8_lossy(record.take(length)?).into_owned();
            headers.push((name, record.nullable()?));
        }
        record.rest.is_empty().then_some(())?;
        Some(Record {
            offset: header.base_offset.checked_add(offset_delta)?,
            timestamp_ms: if header.is_log_append_time() {
                header.max_timestamp_ms
            } else {
                header.base_timestamp_ms.checked_add(timestamp_delta)?
            },
            key,
            value,
            headers,
        })
    }

    fn nullable(&mut self) -> Option<Option<Bytes>> {
        match self.varint()? {
            -1 => Some(None),
            length => {
                let bytes = self.take(usize::try_from(length).ok()?)?;
                Some(Some(Bytes::copy_from_slice(bytes)))
            }
        }
    }

    /// A zigzag varint of at most 64 bits.
    fn varint(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.take(1)?.first_chunk()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
            }
        }
        None
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(head)
    }
}
