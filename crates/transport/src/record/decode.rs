//! From fetched bytes to records, with a bound on everything.
//!
//! A chunk is a run of whole batches and perhaps the beginning of one more, which the broker cut off. Batches are
//! decompressed one at a time and records are made one at a time, so what a hostile batch can cost is its own limit.
//! What stands before a fault is delivered; the fault says at which offset reading stopped and where the next batch is.

use bytes::{Buf, Bytes};

use super::{
    FetchedRecord, Header, TimestampType,
    codec::{self, CodecError},
    encode::{BATCH_HEADER_BYTES, CRC_FROM},
    varint::Cursor,
};

/// Length of base offset and batch length, which the batch length itself does not count.
const LENGTH_AT: usize = 12;
const LAST_DELTA_AT: usize = 23;
const COUNT_AT: usize = 57;
/// What a batch may decompress to at most, as a multiple of its size. DEFLATE makes 1032 of one at the utmost, so that
/// this is for zstd, which can make a hundred thousand.
const MAX_EXPANSION: usize = 1100;
/// What any batch may decompress to.
const EXPANSION_FREE_BYTES: usize = 1024 * 1024;
/// More headers than this in one record are refused: each costs far more memory than its two bytes on the wire.
const MAX_HEADERS: usize = 16_384;

/// A batch or record that cannot be read. What came before it in the partition was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unreadable at offset {offset}: {reason}")]
pub struct CorruptRecord {
    /// The first offset that could not be read.
    pub offset: i64,
    /// Where reading can go on behind the fault: after the faulty batch, as far as can be told; never before `offset`,
    /// nor at or behind a batch that can be read.
    pub resume_at: i64,
    /// What is wrong.
    pub reason: CorruptReason,
}

/// What is wrong with a batch or record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorruptReason {
    /// The length of the batch is impossible.
    #[error("the batch's length is not possible")]
    Length,
    /// Offsets run backwards or overflow.
    #[error("the batch's offsets are not possible")]
    Offsets,
    /// A message format before version 2 (Kafka before 0.11).
    #[error("message format version {0} is not supported; 2 is")]
    Magic(i8),
    /// The checksum does not fit.
    #[error("the batch's checksum does not fit its content")]
    Checksum,
    /// The codec is not known.
    #[error("compression codec {0} is not known")]
    UnknownCodec(i16),
    /// The compressed data is damaged.
    #[error("the {0} data of the batch is damaged")]
    Compressed(&'static str),
    /// The batch decompresses to more than the limit.
    #[error("the batch decompresses to more than the limit")]
    TooLarge,
    /// The batch decompresses to more than a mebibyte and 1100 times its size.
    #[error("the batch decompresses to more than 1100 times its size")]
    Expansion,
    /// A record does not parse.
    #[error("a record of the batch is malformed")]
    Record,
    /// A record has too many headers.
    #[error("a record of the batch has more than 16384 headers")]
    Headers,
    /// The batch holds fewer records than it says, or bytes after the last one.
    #[error("the batch does not hold the number of records it says")]
    Count,
}

/// The batches of a chunk, in order.
#[derive(Debug)]
pub(crate) struct Batches {
    rest: Bytes,
    /// No batch may begin before this offset.
    floor: i64,
}

impl Batches {
    /// `fetch_offset` is what was asked for; a batch that ends before it is passed over.
    pub(crate) fn new(chunk: Bytes, fetch_offset: i64) -> Self {
        Self {
            rest: chunk,
            floor: fetch_offset,
        }
    }

    /// The next whole batch; `None` at the end or before a batch that was cut off.
    pub(crate) fn next_batch(&mut self) -> Option<Result<RawBatch, CorruptRecord>> {
        loop {
            let parsed = parse_header(&self.rest, self.floor).transpose()?;
            return match parsed {
                Ok((batch, len)) => {
                    self.rest.advance(len);
                    if batch.last_offset() < self.floor {
                        continue;
                    }
                    self.floor = batch.next_offset();
                    Some(Ok(batch))
                }
                Err(fault) => {
                    let fault = CorruptRecord {
                        resume_at: behind(&self.rest, &fault).unwrap_or(fault.resume_at),
                        ..fault
                    };
                    self.rest.clear();
                    Some(Err(fault))
                }
            };
        }
    }
}

/// A batch whose header has been read and whose checksum fits; its records are still compressed.
#[derive(Debug, Clone)]
pub(crate) struct RawBatch {
    base_offset: i64,
    last_offset: i64,
    leader_epoch: i32,
    attributes: i16,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    producer_id: i64,
    count: i32,
    body: Bytes,
}

/// Where the batch ends that `rest` begins with and `fault` is about: where the next one begins, if that can be read;
/// else where its own header says, if two of its fields agree on it. A checksum that does not fit may mean that
/// either is wrong, hardly that both are in the same way.
fn behind(rest: &Bytes, fault: &CorruptRecord) -> Option<i64> {
    let mut prefix = rest.get(..LENGTH_AT)?;
    let base_offset = prefix.get_i64();
    let len = usize::try_from(prefix.get_i32())
        .ok()?
        .checked_add(LENGTH_AT)?;
    let behind = rest.get(len..).map(|_| rest.slice(len..));
    if let Some(Ok(Some((next, _)))) = behind.map(|behind| parse_header(&behind, fault.offset))
        && next.base_offset > fault.offset
    {
        return Some(next.base_offset);
    }
    if fault.reason != CorruptReason::Checksum {
        return None;
    }
    let last_delta = rest.get(LAST_DELTA_AT..)?.try_get_i32().ok()?;
    let count = rest.get(COUNT_AT..)?.try_get_i32().ok()?;
    let end = base_offset.checked_add(i64::from(count))?;
    (last_delta.checked_add(1) == Some(count) && end > fault.offset).then_some(end)
}

fn parse_header(rest: &Bytes, floor: i64) -> Result<Option<(RawBatch, usize)>, CorruptRecord> {
    let Some(mut prefix) = rest.get(..LENGTH_AT) else {
        return Ok(None);
    };
    let base_offset = prefix.get_i64();
    let batch_length = prefix.get_i32();
    // Without a believable header the only known way on is the next offset.
    let fault = |reason| CorruptRecord {
        offset: base_offset.max(floor),
        resume_at: base_offset.max(floor).saturating_add(1),
        reason,
    };
    if base_offset < 0 {
        return Err(fault(CorruptReason::Offsets));
    }
    let len = usize::try_from(batch_length)
        .ok()
        .and_then(|len| len.checked_add(LENGTH_AT))
        .filter(|len| *len > CRC_FROM)
        .ok_or_else(|| fault(CorruptReason::Length))?;
    if rest.len() < len {
        return Ok(None);
    }
    let batch = rest.slice(..len);
    let mut fields = batch.slice(LENGTH_AT..);
    let leader_epoch = fields.get_i32();
    let magic = fields.get_i8();
    if magic != 2 {
        return Err(fault(CorruptReason::Magic(magic)));
    }
    if len < BATCH_HEADER_BYTES {
        return Err(fault(CorruptReason::Length));
    }
    let crc = fields.get_u32();
    if crc32c::crc32c(&fields) != crc {
        return Err(fault(CorruptReason::Checksum));
    }
    let attributes = fields.get_i16();
    let last_delta = fields.get_i32();
    let last_offset = (last_delta >= 0)
        .then(|| base_offset.checked_add(i64::from(last_delta)))
        .flatten()
        .filter(|last| *last < i64::MAX)
        .ok_or_else(|| fault(CorruptReason::Offsets))?;
    let base_timestamp_ms = fields.get_i64();
    let max_timestamp_ms = fields.get_i64();
    let producer_id = fields.get_i64();
    // Producer epoch and base sequence are between producer and broker.
    fields.advance(6);
    let count = fields.get_i32();
    let raw = RawBatch {
        base_offset,
        last_offset,
        leader_epoch,
        attributes,
        base_timestamp_ms,
        max_timestamp_ms,
        producer_id,
        count,
        body: fields,
    };
    Ok(Some((raw, len)))
}

impl RawBatch {
    pub(crate) fn last_offset(&self) -> i64 {
        self.last_offset
    }

    /// Bytes it takes up as fetched.
    pub(crate) fn len(&self) -> usize {
        BATCH_HEADER_BYTES + self.body.len()
    }

    /// Where the next batch may begin. The records up to there may have been compacted away.
    pub(crate) fn next_offset(&self) -> i64 {
        self.last_offset + 1
    }

    pub(crate) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// -1 where the broker did not record one.
    pub(crate) fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    pub(crate) fn producer_id(&self) -> i64 {
        self.producer_id
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// Whether this control batch ends a transaction by aborting it.
    pub(super) fn is_abort_marker(&self) -> bool {
        if !self.is_control() {
            return false;
        }
        let mut records = self.clone().records(0, self.body.len());
        let Some(Ok(marker)) = records.next_record() else {
            return false;
        };
        // The key is version and type, two bytes each; type 0 is abort.
        marker.key.is_some_and(|key| key.get(2..4) == Some(&[0, 0]))
    }

    /// Decompresses the batch to at most `limit` bytes, and to no more than is in proportion to its size, and gives its records from `from_offset` on.
    pub(crate) fn records(self, from_offset: i64, limit: usize) -> Records {
        let by_expansion = self.body.len().saturating_mul(MAX_EXPANSION);
        let by_expansion = by_expansion.max(EXPANSION_FREE_BYTES);
        let codec = self.attributes & 0x07;
        let (plain, error) = codec::decompress(codec, &self.body, limit.min(by_expansion));
        Records {
            plain_len: plain.len(),
            cursor: Cursor::new(plain),
            left: self.count,
            next_offset: self.base_offset.max(from_offset),
            previous: None,
            from_offset,
            fault_at_end: error.map(|error| match error {
                CodecError::Unknown(codec) => CorruptReason::UnknownCodec(codec),
                CodecError::Damaged(codec) => CorruptReason::Compressed(codec),
                CodecError::TooLarge if by_expansion < limit => CorruptReason::Expansion,
                CodecError::TooLarge => CorruptReason::TooLarge,
            }),
            ended: false,
            batch: Self {
                body: Bytes::new(),
                ..self
            },
        }
    }

    fn timestamp_type(&self) -> TimestampType {
        if self.attributes & 0x08 == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }
}

/// The records of one batch, made as they are asked for.
#[derive(Debug)]
pub(crate) struct Records {
    batch: RawBatch,
    cursor: Cursor,
    left: i32,
    plain_len: usize,
    /// Where a fault would be: behind the last record given out.
    next_offset: i64,
    previous: Option<i64>,
    from_offset: i64,
    fault_at_end: Option<CorruptReason>,
    ended: bool,
}

impl Records {
    /// Bytes the batch decompressed to.
    pub(crate) fn plain_len(&self) -> usize {
        self.plain_len
    }

    /// The offset after the batch.
    pub(crate) fn batch_end(&self) -> i64 {
        self.batch.next_offset()
    }

    pub(crate) fn next_record(&mut self) -> Option<Result<FetchedRecord, CorruptRecord>> {
        while !self.ended {
            if self.left <= 0 {
                self.ended = true;
                let exact =
                    self.left == 0 && self.cursor.remaining() == 0 && self.fault_at_end.is_none();
                return (!exact)
                    .then(|| Err(self.fault(self.fault_at_end.unwrap_or(CorruptReason::Count))));
            }
            match self.parse() {
                Ok(record) => {
                    self.left -= 1;
                    self.previous = Some(record.offset);
                    if record.offset < self.from_offset {
                        continue;
                    }
                    self.next_offset = record.offset + 1;
                    return Some(Ok(record));
                }
                Err(reason) => {
                    self.ended = true;
                    // A record that ends too early is the consequence where decompression broke off.
                    return Some(Err(self.fault(self.fault_at_end.unwrap_or(reason))));
                }
            }
        }
        None
    }

    fn fault(&self, reason: CorruptReason) -> CorruptRecord {
        CorruptRecord {
            offset: self.next_offset,
            resume_at: self.batch.next_offset(),
            reason,
        }
    }

    fn parse(&mut self) -> Result<FetchedRecord, CorruptReason> {
        const MALFORMED: CorruptReason = CorruptReason::Record;
        let len = self
            .cursor
            .varint()
            .and_then(|len| usize::try_from(len).ok())
            .ok_or(MALFORMED)?;
        let mut body = Cursor::new(self.cursor.take(len).ok_or(MALFORMED)?);
        let _attributes = body.u8().ok_or(MALFORMED)?;
        let timestamp_delta = body.varlong().ok_or(MALFORMED)?;
        let offset_delta = body.varint().ok_or(MALFORMED)?;
        let offset = self
            .batch
            .base_offset
            .saturating_add(i64::from(offset_delta));
        let in_batch = offset_delta >= 0 && offset <= self.batch.last_offset;
        if !in_batch || self.previous.is_some_and(|previous| offset <= previous) {
            return Err(CorruptReason::Offsets);
        }
        let key = body.nullable_bytes().ok_or(MALFORMED)?;
        let value = body.nullable_bytes().ok_or(MALFORMED)?;
        let headers = parse_headers(&mut body)?;
        if body.remaining() != 0 {
            return Err(MALFORMED);
        }
        let timestamp_type = self.batch.timestamp_type();
        let timestamp_ms = match timestamp_type {
            TimestampType::LogAppendTime => self.batch.max_timestamp_ms,
            TimestampType::CreateTime => self.batch.base_timestamp_ms.wrapping_add(timestamp_delta),
        };
        let leader_epoch = (self.batch.leader_epoch >= 0).then_some(self.batch.leader_epoch);
        Ok(FetchedRecord {
            offset,
            key,
            value,
            headers,
            timestamp_ms,
            timestamp_type,
            leader_epoch,
        })
    }
}

fn parse_headers(body: &mut Cursor) -> Result<Vec<Header>, CorruptReason> {
    const MALFORMED: CorruptReason = CorruptReason::Record;
    let count = body
        .varint()
        .and_then(|count| usize::try_from(count).ok())
        .ok_or(MALFORMED)?;
    // A header takes two bytes at least.
    if count > body.remaining() / 2 {
        return Err(MALFORMED);
    }
    if count > MAX_HEADERS {
        return Err(CorruptReason::Headers);
    }
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let name = body.nullable_bytes().flatten().ok_or(MALFORMED)?;
        let value = body.nullable_bytes().ok_or(MALFORMED)?;
        headers.push(Header {
            name: String::from_utf8_lossy(&name).into_owned(),
            value,
        });
    }
    Ok(headers)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
