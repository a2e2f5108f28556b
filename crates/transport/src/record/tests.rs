//! Encoding and decoding against each other, and decoding against hostile bytes.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::{
    AbortedFilter, Compression, Header, ProducerStamp, Record, TimestampType, encode::CRC_FROM,
    encode::encode,
};
use super::*;

const PRODUCER: ProducerStamp = ProducerStamp {
    id: 7,
    epoch: 1,
    base_sequence: 40,
};
const LIMIT: usize = 1 << 20;

fn blob() -> impl Strategy<Value = Option<Bytes>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..60).prop_map(Bytes::from))
}

fn record() -> impl Strategy<Value = Record> {
    let header = ("[a-z-]{0,8}", blob()).prop_map(|(name, value)| Header { name, value });
    (
        blob(),
        blob(),
        prop::collection::vec(header, 0..4),
        0..1_i64 << 45,
    )
        .prop_map(|(key, value, headers, timestamp_ms)| Record {
            key,
            value,
            headers,
            timestamp_ms,
        })
}

fn compression() -> impl Strategy<Value = Compression> {
    prop::sample::select(vec![
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
    ])
}

/// As a broker would store it: at a base offset, which the checksum does not cover.
fn stored(records: &[Record], compression: Compression, base_offset: i64) -> Vec<u8> {
    let mut bytes = encode(records, PRODUCER, compression)
        .unwrap()
        .bytes
        .to_vec();
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes
}

fn with_crc(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&batch[CRC_FROM..]);
    batch[CRC_FROM - 4..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn read(chunk: impl Into<Bytes>, from: i64) -> (Vec<FetchedRecord>, Option<CorruptRecord>) {
    let mut batches = Batches::new(chunk.into(), from);
    let mut out = Vec::new();
    while let Some(batch) = batches.next_batch() {
        let mut records = match batch {
            Ok(batch) => batch.records(from, LIMIT),
            Err(fault) => return (out, Some(fault)),
        };
        while let Some(record) = records.next_record() {
            match record {
                Ok(record) => out.push(record),
                Err(fault) => return (out, Some(fault)),
            }
        }
    }
    (out, None)
}

fn plain(value: &str) -> Record {
    Record {
        value: Some(value.to_owned().into()),
        timestamp_ms: 1_700_000_000_000,
        ..Record::default()
    }
}

proptest! {
    #[test]
    fn records_read_back_as_they_were_written(
        records in prop::collection::vec(record(), 1..20), compression in compression(), base in 0..1_i64 << 40
    ) {
        let (read, fault) = read(stored(&records, compression, base), base);
        prop_assert_eq!(fault, None);
        prop_assert_eq!(read.len(), records.len());
        for ((offset, written), read) in (base..).zip(records).zip(read) {
            prop_assert_eq!(read.offset, offset);
            prop_assert_eq!(read.timestamp_ms, written.timestamp_ms);
            prop_assert_eq!(read.timestamp_type, TimestampType::CreateTime);
            prop_assert_eq!((read.key, read.value, read.headers), (written.key, written.value, written.headers));
        }
    }

    #[test]
    fn a_record_never_takes_more_than_its_bound(record in record()) {
        let bare = encode(std::slice::from_ref(&record), PRODUCER, Compression::None).unwrap().bytes.len();
        prop_assert!(bare <= 61 + record.size_bound());
    }

    #[test]
    fn a_flipped_bit_of_the_checksummed_part_is_noticed(
        records in prop::collection::vec(record(), 1..6), compression in compression(), at: prop::sample::Index, bit in 0..8_u32
    ) {
        let mut bytes = stored(&records, compression, 0);
        let at = CRC_FROM + at.index(bytes.len() - CRC_FROM);
        bytes[at] ^= 1 << bit;
        let (read, fault) = read(bytes, 0);
        prop_assert!(read.is_empty());
        prop_assert_eq!(fault.unwrap().reason, CorruptReason::Checksum);
    }

    #[test]
    fn hostile_content_under_a_right_checksum_never_panics(
        records in prop::collection::vec(record(), 1..6), compression in compression(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), from in 0..10_i64
    ) {
        let mut bytes = stored(&records, compression, 0);
        for (at, with) in flips {
            let at = CRC_FROM + at.index(bytes.len() - CRC_FROM);
            bytes[at] ^= with;
        }
        let (read, fault) = read(with_crc(bytes), from);
        prop_assert!(read.windows(2).all(|pair| pair[0].offset < pair[1].offset));
        if let Some(fault) = fault {
            prop_assert!(fault.resume_at >= fault.offset);
            prop_assert!(read.iter().all(|record| record.offset < fault.offset));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, from: i64) {
        read(bytes, from);
    }

    #[test]
    fn a_batch_that_was_cut_off_is_left_for_the_next_fetch(
        records in prop::collection::vec(record(), 1..6), keep: prop::sample::Index
    ) {
        let whole = stored(&records, Compression::Snappy, 0);
        let mut chunk = whole.clone();
        let second = stored(&records, Compression::Snappy, i64::try_from(records.len()).unwrap());
        chunk.extend_from_slice(&second[..keep.index(second.len())]);
        prop_assert_eq!(read(chunk, 0), read(whole, 0));
    }
}

#[test]
fn reading_begins_in_the_middle_of_a_batch() {
    let records = ["a", "b", "c"].map(plain);
    let (read, fault) = read(stored(&records, Compression::Snappy, 10), 11);
    assert_eq!(fault, None);
    assert_eq!(
        read.iter().map(|record| record.offset).collect::<Vec<_>>(),
        [11, 12]
    );
}

#[test]
fn what_stands_before_a_malformed_record_is_delivered() {
    let records = ["a", "b", "c"].map(plain);
    let mut bytes = stored(&records, Compression::None, 5);
    // The last record's value is its last byte but one; its length claims more than there is.
    let at = bytes.len() - 3;
    bytes[at] = 0x7e;
    let (read, fault) = read(with_crc(bytes), 5);
    assert_eq!(
        read.iter().map(|record| record.offset).collect::<Vec<_>>(),
        [5, 6]
    );
    assert_eq!(
        fault,
        Some(CorruptRecord {
            offset: 7,
            resume_at: 8,
            reason: CorruptReason::Record
        })
    );
}

#[test]
fn a_batch_beyond_the_limit_stops_where_the_limit_is() {
    let records: Vec<_> = (0..100).map(|_| plain(&"x".repeat(1000))).collect();
    let mut batches = Batches::new(stored(&records, Compression::Gzip, 0).into(), 0);
    let mut records = batches.next_batch().unwrap().unwrap().records(0, 50_000);
    let mut delivered = 0;
    let fault = loop {
        match records.next_record().unwrap() {
            Ok(_) => delivered += 1,
            Err(fault) => break fault,
        }
    };
    assert!((30..50).contains(&delivered), "{delivered}");
    assert_eq!(
        fault,
        CorruptRecord {
            offset: delivered,
            resume_at: 100,
            reason: CorruptReason::TooLarge
        }
    );
    assert!(records.next_record().is_none());
}

#[test]
fn log_append_time_is_the_brokers_for_every_record() {
    let mut bytes = stored(&["a", "b"].map(plain), Compression::None, 0);
    bytes[22] |= 0x08;
    bytes[35..43].copy_from_slice(&99_i64.to_be_bytes());
    let (read, _) = read(with_crc(bytes), 0);
    assert!(
        read.iter()
            .all(|record| record.append_time_ms() == Some(99))
    );
    assert_eq!(read.len(), 2);
}

#[test]
fn an_old_message_format_is_named() {
    let mut bytes = stored(&[plain("a")], Compression::None, 0);
    bytes[16] = 1;
    assert_eq!(read(bytes, 0).1.unwrap().reason, CorruptReason::Magic(1));
}

fn transactional(value: &str, producer: i64, base_offset: i64) -> Vec<u8> {
    let mut bytes = stored(&[plain(value)], Compression::None, base_offset);
    bytes[22] |= 0x10;
    bytes[43..51].copy_from_slice(&producer.to_be_bytes());
    with_crc(bytes)
}

fn marker(kind: u8, producer: i64, base_offset: i64) -> Vec<u8> {
    let record = Record {
        key: Some(Bytes::copy_from_slice(&[0, 0, 0, kind])),
        ..Record::default()
    };
    let mut bytes = stored(&[record], Compression::None, base_offset);
    bytes[22] |= 0x30;
    bytes[43..51].copy_from_slice(&producer.to_be_bytes());
    with_crc(bytes)
}

#[test]
fn records_of_aborted_transactions_and_markers_are_not_delivered() {
    let (abort, commit) = (0, 1);
    let chunk = [
        transactional("aborted", 1, 0),
        transactional("committed", 2, 1),
        stored(&[plain("plain")], Compression::None, 2),
        marker(abort, 1, 3),
        marker(commit, 2, 4),
        transactional("later by the same producer", 1, 5),
        marker(commit, 1, 6),
    ]
    .concat();
    let mut filter = AbortedFilter::new([(1, 0)]);
    let mut batches = Batches::new(chunk.into(), 0);
    let mut passed = Vec::new();
    while let Some(batch) = batches.next_batch() {
        let batch = batch.unwrap();
        if filter.passes(&batch) {
            passed.push(batch.last_offset());
        }
    }
    assert_eq!(passed, [1, 2, 5]);
}

/// A batch of these records whose checksum does not fit.
fn damaged(values: &[&str], base_offset: i64) -> Vec<u8> {
    let records: Vec<_> = values.iter().map(|value| plain(value)).collect();
    let mut bytes = stored(&records, Compression::None, base_offset);
    let last = bytes.len() - 1;
    bytes[last] ^= 0x5a;
    bytes
}

fn fault_of(chunk: Vec<u8>, from: i64) -> (i64, i64, CorruptReason) {
    let fault = read(chunk, from).1.expect("a fault");
    (fault.offset, fault.resume_at, fault.reason)
}

#[test]
fn a_wrong_checksum_is_one_fault_for_the_whole_batch() {
    assert_eq!(
        fault_of(damaged(&["a", "b", "c"], 5), 5),
        (5, 8, CorruptReason::Checksum)
    );
    assert_eq!(
        fault_of(damaged(&["a", "b", "c"], 5), 6),
        (6, 8, CorruptReason::Checksum)
    );
}

#[test]
fn a_batch_that_can_be_read_says_where_the_damaged_one_before_it_ends() {
    let mut damaged = damaged(&["a", "b", "c"], 5);
    // Its own claim is what is damaged: it would reach over the next batch.
    damaged[LAST_DELTA_AT + 3] = 100;
    damaged[COUNT_AT + 3] = 101;
    let chunk = [damaged, stored(&[plain("d")], Compression::None, 7)].concat();
    assert_eq!(fault_of(chunk, 5), (5, 7, CorruptReason::Checksum));
}

#[test]
fn a_damaged_header_that_contradicts_itself_skips_one_offset_only() {
    let mut damaged = damaged(&["a", "b", "c"], 5);
    damaged[LAST_DELTA_AT + 3] = 100;
    assert_eq!(fault_of(damaged, 5), (5, 6, CorruptReason::Checksum));
}

#[test]
fn a_batch_that_grows_out_of_all_proportion_is_refused_below_the_limit_already() {
    let body = ruzstd::encoding::compress_to_vec(
        &vec![0; 8 << 20][..],
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    assert!(body.len() * MAX_EXPANSION < 4 << 20, "{}", body.len());
    let mut bytes = stored(&[plain("a")], Compression::None, 0);
    bytes.truncate(BATCH_HEADER_BYTES);
    bytes.extend_from_slice(&body);
    let len = i32::try_from(bytes.len() - LENGTH_AT).unwrap();
    bytes[8..LENGTH_AT].copy_from_slice(&len.to_be_bytes());
    bytes[22] = 4;
    let mut batches = Batches::new(with_crc(bytes).into(), 0);
    let mut records = batches.next_batch().unwrap().unwrap().records(0, 32 << 20);
    assert!(records.plain_len() <= 4 << 20);
    // Zeros are records of no length.
    assert_eq!(
        records.next_record().unwrap().unwrap_err().reason,
        CorruptReason::Expansion
    );
}
