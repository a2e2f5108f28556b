//! What arrives from brokers and members of groups: no bytes make a parser panic, or take memory out of proportion.
//!
//! Memory is counted for the whole process, so that this file runs one test after another.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::sync::{Mutex, PoisonError};

use cybermesh_transport::fuzzing;
use peak_alloc::PeakAlloc;
use proptest::collection::vec;
use proptest::prelude::*;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What parsers may take: a multiple of what they are given, and so much for any.
#[derive(Clone, Copy)]
struct Bound {
    factor: usize,
    free_bytes: usize,
}

/// Elements of arrays eight times, which may be moved while they grow, to twice the room; and copies of the input.
const RESPONSE: Bound = Bound {
    factor: 28,
    free_bytes: 256 * 1024,
};
/// A list of empty strings: twelve times, moved while it grows.
const MEMBER: Bound = Bound {
    factor: 40,
    free_bytes: 64 * 1024,
};
/// What is decompressed is moved while it grows too.
const DECOMPRESSED_FACTOR: usize = 3;
/// Tables of the decoders, blocks of lz4 up to 4 MiB in and out, a window of zstd up to 16 MiB.
const DECODER_BYTES: usize = 24 << 20;
const LIMIT: usize = 1 << 20;
/// What the tests' own machinery may take meanwhile.
const NONE: Bound = Bound {
    factor: 0,
    free_bytes: 4 * 1024,
};
const BATCHES: Bound = Bound {
    factor: 12,
    free_bytes: DECOMPRESSED_FACTOR * LIMIT + DECODER_BYTES,
};

fn keeps_within(
    bound: Bound,
    input: &[u8],
    parse: impl FnOnce(&[u8]),
) -> Result<(), TestCaseError> {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    parse(input);
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let allowed = bound.factor * input.len() + bound.free_bytes;
    prop_assert!(
        taken <= allowed,
        "{} bytes made {taken}, allowed are {allowed}",
        input.len()
    );
    Ok(())
}

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Small numbers and lengths make it further into a message than even chance does.
fn plausible(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        6 => Just(0u8),
        4 => 1u8..4,
        1 => any::<u8>(),
        1 => Just(0xffu8),
    ];
    vec(byte, 0..most)
}

/// A great many of the smallest elements, under a count that is right, of whatever the response has arrays of.
fn crowded() -> impl Strategy<Value = Vec<u8>> {
    let head = vec(prop_oneof![Just(0u8), Just(1), Just(2)], 0..24);
    let element = vec(prop_oneof![3 => Just(0u8), 1 => Just(1u8)], 1..8);
    (head, any::<bool>(), element, 1_000..60_000_u32).prop_map(|(head, compact, element, count)| {
        let count_bytes = if compact {
            let more = count + 1;
            let seven = |shift: u32| u8::try_from(more >> shift & 0x7f).unwrap();
            vec![seven(0) | 0x80, seven(7) | 0x80, seven(14)]
        } else {
            count.to_be_bytes().to_vec()
        };
        [
            head,
            count_bytes,
            element.repeat(usize::try_from(count).unwrap()),
        ]
        .concat()
    })
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    vec((0..1100_i32, 0..20_usize), 0..20).prop_map(|frames| {
        let frame =
            |(length, sent): (i32, usize)| [&length.to_be_bytes()[..], &vec![0; sent]].concat();
        frames.into_iter().flat_map(frame).collect()
    })
}

/// A batch with these attributes around any content, or around content that is compressed as they say.
fn batches() -> impl Strategy<Value = Vec<u8>> {
    let batch = (
        0..0x80_u8,
        0..8_i32,
        0..8_i32,
        prop_oneof![
            plausible(300),
            packed().prop_map(|packed| packed[1..].to_vec())
        ],
    );
    vec(batch, 0..4).prop_map(|batches| {
        let mut chunk = Vec::new();
        let mut base_offset = 0_i64;
        for (attributes, last_delta, count, content) in batches {
            let length = i32::try_from(content.len() + 49).unwrap();
            chunk.extend_from_slice(&base_offset.to_be_bytes());
            chunk.extend_from_slice(&length.to_be_bytes());
            chunk.extend_from_slice(&[0, 0, 0, 0, 2, 0, 0, 0, 0, 0, attributes]);
            chunk.extend_from_slice(&last_delta.to_be_bytes());
            chunk.extend_from_slice(&[0; 16]);
            chunk.extend_from_slice(&[0; 14]);
            chunk.extend_from_slice(&count.to_be_bytes());
            chunk.extend_from_slice(&content);
            base_offset += i64::from(last_delta) + 1;
        }
        chunk
    })
}

/// The number of a codec, and what it made of much that is the same; perhaps with a byte changed.
fn packed() -> impl Strategy<Value = Vec<u8>> {
    (
        1..5_u8,
        0..4_000_000_usize,
        any::<u8>(),
        any::<prop::sample::Index>(),
        prop_oneof![Just(0u8), any::<u8>()],
    )
        .prop_map(|(codec, length, fill, at, change)| {
            let plain = vec![fill; length];
            let mut packed = pack(codec, &plain);
            let at = at.index(packed.len());
            packed[at] ^= change;
            [vec![codec], packed].concat()
        })
}

fn pack(codec: u8, plain: &[u8]) -> Vec<u8> {
    use std::io::Write;
    match codec {
        1 => {
            let level = flate2::Compression::best();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        2 => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
        3 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        _ => ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest),
    }
}

fn few() -> ProptestConfig {
    ProptestConfig::with_cases(96)
}

#[test]
fn no_response_takes_memory_out_of_proportion() {
    let _alone = alone();
    proptest!(|(version in 0..20_u8, body in prop_oneof![plausible(2_000), crowded()])| {
        for api in 0..fuzzing::RESPONSES {
            let input = [vec![u8::try_from(api).unwrap(), version], body.clone()].concat();
            keeps_within(RESPONSE, &input, fuzzing::response)?;
        }
    });
}

#[test]
fn no_group_member_takes_memory_out_of_proportion() {
    let _alone = alone();
    proptest!(|(bytes in prop_oneof![plausible(2_000), crowded()])| {
        keeps_within(MEMBER, &bytes, fuzzing::group_member)?;
    });
}

#[test]
fn a_member_that_wants_nothing_many_times_takes_memory_in_proportion() {
    let _alone = alone();
    let count = 30_000_u32.to_be_bytes();
    let subscription = [&[0, 3][..], &count, &[0; 60_000]].concat();
    keeps_within(MEMBER, &subscription, fuzzing::group_member).unwrap();
    let assignment = [&[0, 3][..], &count, &[0; 180_000]].concat();
    keeps_within(MEMBER, &assignment, fuzzing::group_member).unwrap();
}

#[test]
fn no_lengths_of_frames_take_any_memory() {
    let _alone = alone();
    proptest!(|(piece: u8, stream in prop_oneof![plausible(500), frames()])| {
        let input = [vec![piece], stream].concat();
        keeps_within(NONE, &input, fuzzing::frames)?;
    });
}

#[test]
fn no_compressed_records_take_memory_beyond_the_limit() {
    let _alone = alone();
    proptest!(few(), |(packed in packed())| {
        keeps_within(BATCHES, &packed, |packed| fuzzing::codec(packed, LIMIT))?;
    });
}

#[test]
fn no_batch_takes_memory_beyond_the_limit() {
    let _alone = alone();
    proptest!(few(), |(chunk in prop_oneof![plausible(400), batches()])| {
        keeps_within(BATCHES, &chunk, |chunk| fuzzing::record_batches(chunk, LIMIT))?;
    });
}

#[test]
fn no_fetched_chunk_takes_memory_beyond_the_limit_or_moves_a_position_back() {
    let _alone = alone();
    proptest!(few(), |(chunk in prop_oneof![plausible(400), batches()])| {
        keeps_within(BATCHES, &chunk, fuzzing::fetched)?;
    });
}
