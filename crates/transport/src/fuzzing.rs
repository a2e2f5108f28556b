//! What fuzz targets and memory tests get hold of: each function takes any bytes, as a broker or another member of a
//! group might send them. None of this is API, and any of it may change at any time.

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    consumer::{FetchConfig, Position},
    fetch,
    group::fuzzing as group,
    record::{Batches, TopicPartition, fuzzing as record},
    wire::{Api, FrameGuard, reads_as},
};

/// A response: the first byte says of which request, the second in which version.
pub fn response(bytes: &[u8]) {
    let [api, version, body @ ..] = bytes else {
        return;
    };
    let api = Api::ALL[usize::from(*api) % Api::ALL.len()];
    reads_as(api, i16::from(*version % 20), Bytes::copy_from_slice(body));
}

/// How many kinds of responses there are: the first byte of [`response`] goes up to there.
pub const RESPONSES: usize = Api::ALL.len();

/// What the bytes of one partition in a fetch hold: every record of every batch that can be read. A batch's checksum is
/// put right first, since only those that fit are looked into.
pub fn record_batches(bytes: &[u8], limit_bytes: usize) {
    let mut batches = Batches::new(record::with_checksum(bytes).into(), 0);
    let mut floor = 0;
    while let Some(batch) = batches.next_batch() {
        match batch {
            Ok(batch) => {
                assert!(batch.last_offset() >= floor);
                floor = batch.next_offset();
                let mut records = batch.records(0, limit_bytes);
                assert!(records.plain_len() <= limit_bytes);
                let mut previous = -1;
                while let Some(Ok(record)) = records.next_record() {
                    assert!(record.offset > previous && record.offset < floor);
                    previous = record.offset;
                }
            }
            Err(fault) => assert!(fault.resume_at >= fault.offset && fault.offset >= floor),
        }
    }
}

/// Compressed records: the first byte says how.
pub fn codec(bytes: &[u8], limit_bytes: usize) {
    if let Some((codec, packed)) = bytes.split_first() {
        let plain = record::decompress(i16::from(*codec % 6), packed, limit_bytes);
        assert!(plain.len() <= limit_bytes);
    }
}

/// What other members of a group want, and what its leader assigns.
pub fn group_member(bytes: &[u8]) {
    group::member(bytes);
}

/// A partition's part of a fetch, with aborted transactions, up to the events that come of it. Whatever it is, reading
/// comes to an end, and offsets never go back.
pub fn fetched(bytes: &[u8]) {
    let (aborted, chunk) = bytes.split_at(bytes.len().min(usize::from(
        bytes.first().copied().unwrap_or_default() % 4 * 2,
    )));
    let aborted = aborted.chunks(2).map(|pair| {
        (
            i64::from(pair[0]),
            pair.get(1).copied().map_or(0, i64::from),
        )
    });
    let config = FetchConfig {
        max_batch_bytes: 1 << 20,
        max_records: 3,
        ..FetchConfig::default()
    };
    let partition = TopicPartition::new("fuzz", 0);
    let mut state = fetch::FetchState::unrestricted(config);
    state.begin(&partition, Position::Offset(0));
    let chunk = Bytes::from(record::with_checksum(chunk));
    fetch::fuzzing::answered(&mut state, Instant::now(), chunk, aborted.collect());
    let mut next = 0;
    while let Some(event) = state.take_event() {
        if let crate::Event::Records(batch) = event {
            assert!(batch.records.iter().all(|record| record.offset >= next));
            assert!(batch.next_offset >= next);
            next = batch.next_offset;
        }
        assert!(state.position(&partition) >= Some(next));
    }
}

/// The lengths of frames, in pieces as long as the first byte says.
pub fn frames(bytes: &[u8]) {
    if let Some((piece, stream)) = bytes.split_first() {
        let mut guard = FrameGuard::new(1 << 10);
        let mut pieces = stream.chunks(usize::from(*piece).max(1));
        let _ = pieces.try_for_each(|piece| guard.observe(piece));
    }
}
