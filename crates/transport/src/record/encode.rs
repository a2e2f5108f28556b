//! From records to a batch of format version 2.
//!
//! | field | bytes |
//! |---|---|
//! | base offset (the broker's to set) | 8 |
//! | length of what follows | 4 |
//! | partition leader epoch (the broker's) | 4 |
//! | magic, 2 | 1 |
//! | CRC-32C of all that follows | 4 |
//! | attributes: codec in bits 0–2 | 2 |
//! | last offset delta | 4 |
//! | base timestamp, largest timestamp | 8 + 8 |
//! | producer id, epoch, base sequence | 8 + 2 + 4 |
//! | number of records | 4 |
//! | records, compressed together | … |
//!
//! Source: <https://kafka.apache.org/documentation/#recordbatch>.

use bytes::Bytes;

use super::{Compression, Record, varint};

/// Bytes of a batch before its records.
pub(crate) const BATCH_HEADER_BYTES: usize = 61;
/// Where the checksummed part begins.
pub(super) const CRC_FROM: usize = 21;

/// Who produced a batch, and where it stands in their sequence (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerStamp {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) base_sequence: i32,
}

/// A batch as it goes on the wire, kept for byte-identical resends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncodedBatch {
    pub(crate) bytes: Bytes,
    pub(crate) max_timestamp_ms: i64,
}

/// Why records do not make a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// There are no records.
    #[error("a batch needs at least one record")]
    Empty,
    /// More bytes, or records, than a batch can count.
    #[error("the batch would be larger than 2 GiB")]
    TooLarge,
    /// The codec reported an error of its own.
    #[error("the compressor failed")]
    Compressor,
}

/// Builds one batch out of `records`, in their order.
pub(crate) fn encode<'a>(
    records: impl IntoIterator<Item = &'a Record, IntoIter: ExactSizeIterator + Clone>,
    producer: ProducerStamp,
    compression: Compression,
) -> Result<EncodedBatch, EncodeError> {
    let records = records.into_iter();
    let first = records.clone().next().ok_or(EncodeError::Empty)?;
    let count = i32::try_from(records.len()).map_err(|_| EncodeError::TooLarge)?;
    let max_timestamp_ms = records
        .clone()
        .map(|record| record.timestamp_ms)
        .max()
        .unwrap_or(first.timestamp_ms);

    let mut plain = Vec::with_capacity(records.clone().map(Record::size_bound).sum());
    let mut scratch = Vec::new();
    for (delta, record) in (0_i64..).zip(records) {
        scratch.clear();
        put_record(
            &mut scratch,
            record,
            delta,
            record.timestamp_ms.wrapping_sub(first.timestamp_ms),
        )?;
        varint::put(&mut plain, length(scratch.len())?);
        plain.extend_from_slice(&scratch);
    }
    drop(scratch);
    let body = compression
        .compress(plain)
        .map_err(|_| EncodeError::Compressor)?;

    let total = BATCH_HEADER_BYTES + body.len();
    let batch_length = i32::try_from(total - 12).map_err(|_| EncodeError::TooLarge)?;
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&0_i64.to_be_bytes());
    out.extend_from_slice(&batch_length.to_be_bytes());
    out.extend_from_slice(&(-1_i32).to_be_bytes());
    out.push(2);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&compression.id().to_be_bytes());
    out.extend_from_slice(&(count - 1).to_be_bytes());
    out.extend_from_slice(&first.timestamp_ms.to_be_bytes());
    out.extend_from_slice(&max_timestamp_ms.to_be_bytes());
    out.extend_from_slice(&producer.id.to_be_bytes());
    out.extend_from_slice(&producer.epoch.to_be_bytes());
    out.extend_from_slice(&producer.base_sequence.to_be_bytes());
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&body);
    let crc = crc32c::crc32c(&out[CRC_FROM..]);
    out[CRC_FROM - 4..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    Ok(EncodedBatch {
        bytes: out.into(),
        max_timestamp_ms,
    })
}

fn put_record(
    out: &mut Vec<u8>,
    record: &Record,
    offset_delta: i64,
    timestamp_delta: i64,
) -> Result<(), EncodeError> {
    out.push(0);
    varint::put(out, timestamp_delta);
    varint::put(out, offset_delta);
    put_nullable(out, record.key.as_ref())?;
    put_nullable(out, record.value.as_ref())?;
    varint::put(out, length(record.headers.len())?);
    for header in &record.headers {
        varint::put(out, length(header.name.len())?);
        out.extend_from_slice(header.name.as_bytes());
        put_nullable(out, header.value.as_ref())?;
    }
    Ok(())
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&Bytes>) -> Result<(), EncodeError> {
    match bytes {
        None => varint::put(out, -1),
        Some(bytes) => {
            varint::put(out, length(bytes.len())?);
            out.extend_from_slice(bytes);
        }
    }
    Ok(())
}

fn length(len: usize) -> Result<i64, EncodeError> {
    i32::try_from(len)
        .map(i64::from)
        .map_err(|_| EncodeError::TooLarge)
}
