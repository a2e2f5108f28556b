//! Compression of batches: none, gzip, snappy, lz4 and zstd in; all but zstd out.
//!
//! Every decoder stops at a limit on its output, since a few kilobytes can claim to be gigabytes.

use std::io::{Read, Write};

use bytes::Bytes;

/// The stream header of xerial's snappy framing: magic, version 1, compatible with version 1.
const XERIAL_HEADER: [u8; 16] = [
    0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1,
];
/// How much of the records one xerial block holds, as in the Java client.
const XERIAL_BLOCK: usize = 32 * 1024;
/// The largest zstd window that is decoded. The format allows terabytes; encoders use 8 MiB at their usual levels.
const ZSTD_MAX_WINDOW_BYTES: u64 = 16 * 1024 * 1024;

/// How batches are compressed on the way out. All codecs of Kafka are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// DEFLATE in a gzip envelope: the smallest and the slowest.
    Gzip,
    /// Snappy in xerial's framing, as the Java client writes it.
    #[default]
    Snappy,
    /// LZ4 frames of independent blocks.
    Lz4,
}

impl Compression {
    /// The codec's number in a batch's attributes.
    pub(super) fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
        }
    }

    pub(super) fn compress(self, records: Vec<u8>) -> std::io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(records),
            Self::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(&records)?;
                encoder.finish()
            }
            Self::Snappy => compress_xerial(&records),
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(&records)?;
                encoder.finish().map_err(std::io::Error::other)
            }
        }
    }
}

impl std::str::FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "none" => Ok(Self::None),
            "gzip" => Ok(Self::Gzip),
            "snappy" => Ok(Self::Snappy),
            "lz4" => Ok(Self::Lz4),
            _ => Err(UnknownCompression),
        }
    }
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
        })
    }
}

/// The name is of no codec that can be produced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression; accepted are none, gzip, snappy and lz4")]
pub struct UnknownCompression;

/// Why a batch could not be decompressed to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodecError {
    Unknown(i16),
    Damaged(&'static str),
    TooLarge,
}

/// Decompresses `input`; what came out before an error is returned with it.
pub(super) fn decompress(codec: i16, input: &Bytes, limit: usize) -> (Bytes, Option<CodecError>) {
    match codec {
        0 if input.len() > limit => (Bytes::new(), Some(CodecError::TooLarge)),
        0 => (input.clone(), None),
        1 => read_bounded(flate2::read::MultiGzDecoder::new(&input[..]), limit, "gzip"),
        2 => decompress_snappy(input, limit),
        3 => read_bounded(lz4_flex::frame::FrameDecoder::new(&input[..]), limit, "lz4"),
        4 => decompress_zstd(input, limit),
        other => (Bytes::new(), Some(CodecError::Unknown(other))),
    }
}

fn read_bounded(
    reader: impl Read,
    limit: usize,
    name: &'static str,
) -> (Bytes, Option<CodecError>) {
    let mut out = Vec::new();
    let error = read_into(&mut out, reader, limit, name).err();
    (out.into(), error)
}

fn read_into(
    out: &mut Vec<u8>,
    mut reader: impl Read,
    limit: usize,
    name: &'static str,
) -> Result<(), CodecError> {
    let mut chunk = vec![0; 16 * 1024];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) if out.len() + read > limit => return Err(CodecError::TooLarge),
            Ok(read) => out.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Err(CodecError::Damaged(name)),
        }
    }
}

fn decompress_zstd(input: &Bytes, limit: usize) -> (Bytes, Option<CodecError>) {
    const DAMAGED: CodecError = CodecError::Damaged("zstd");
    let mut out = Vec::new();
    let mut source = &input[..];
    // A stream may hold several frames one after another.
    while !source.is_empty() {
        let mut decoder = ruzstd::decoding::FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_MAX_WINDOW_BYTES);
        if decoder.init(&mut source).is_err() {
            return (out.into(), Some(DAMAGED));
        }
        while !decoder.is_finished() {
            // One block is at most 128 KiB, so this bounds what the decoder holds beyond its window.
            let strategy = ruzstd::decoding::BlockDecodingStrategy::UptoBlocks(1);
            let decoded = decoder.decode_blocks(&mut source, strategy).is_ok();
            if let Err(error) = read_into(&mut out, &mut decoder, limit, "zstd") {
                return (out.into(), Some(error));
            }
            if !decoded {
                return (out.into(), Some(DAMAGED));
            }
        }
        if let Err(error) = read_into(&mut out, &mut decoder, limit, "zstd") {
            return (out.into(), Some(error));
        }
    }
    (out.into(), None)
}

fn compress_xerial(records: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = XERIAL_HEADER.to_vec();
    let mut encoder = snap::raw::Encoder::new();
    for block in records.chunks(XERIAL_BLOCK) {
        let compressed = encoder.compress_vec(block).map_err(std::io::Error::other)?;
        let len = u32::try_from(compressed.len()).map_err(std::io::Error::other)?;
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&compressed);
    }
    Ok(out)
}

/// Snappy as it is found in Kafka: xerial's blocks (Java, librdkafka) or one raw block (some others).
fn decompress_snappy(input: &Bytes, limit: usize) -> (Bytes, Option<CodecError>) {
    let mut out = Vec::new();
    let error = match input.strip_prefix(&XERIAL_HEADER[..8]) {
        Some(rest) => unxerial(&mut out, rest, limit),
        None => unsnap(&mut out, input, limit),
    };
    (out.into(), error.err())
}

fn unxerial(out: &mut Vec<u8>, after_magic: &[u8], limit: usize) -> Result<(), CodecError> {
    const TRUNCATED: CodecError = CodecError::Damaged("snappy");
    let mut rest = after_magic.get(8..).ok_or(TRUNCATED)?;
    while !rest.is_empty() {
        let (len, after_len) = rest.split_first_chunk::<4>().ok_or(TRUNCATED)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| TRUNCATED)?;
        let block = after_len.get(..len).ok_or(TRUNCATED)?;
        unsnap(out, block, limit)?;
        rest = &after_len[len..];
    }
    Ok(())
}

fn unsnap(out: &mut Vec<u8>, block: &[u8], limit: usize) -> Result<(), CodecError> {
    const DAMAGED: CodecError = CodecError::Damaged("snappy");
    let len = snap::raw::decompress_len(block).map_err(|_| DAMAGED)?;
    let start = out.len();
    if start.checked_add(len).is_none_or(|total| total > limit) {
        return Err(CodecError::TooLarge);
    }
    // Snappy makes at most 64 bytes of three; a claim beyond that is a lie and gets no memory.
    if len > block.len().saturating_mul(32) {
        return Err(DAMAGED);
    }
    out.resize(start + len, 0);
    match snap::raw::Decoder::new().decompress(block, &mut out[start..]) {
        Ok(written) if written == len => Ok(()),
        _ => {
            out.truncate(start);
            Err(DAMAGED)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OUT: [Compression; 4] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
    ];

    proptest! {
        #[test]
        fn what_was_compressed_decompresses_to_the_same(bytes: Vec<u8>, repeat in 1_usize..200) {
            let bytes = bytes.repeat(repeat);
            for codec in OUT {
                let packed = Bytes::from(codec.compress(bytes.clone()).unwrap());
                prop_assert_eq!(decompress(codec.id(), &packed, bytes.len()), (bytes.clone().into(), None));
            }
        }

        #[test]
        fn damaged_input_never_panics_nor_passes_the_limit(bytes: Vec<u8>, flip: prop::sample::Index, codec in 0_i16..6) {
            let (plain, _) = decompress(codec, &bytes.clone().into(), 4096);
            prop_assert!(plain.len() <= 4096);
            for compression in OUT {
                let mut packed = compression.compress(bytes.clone()).unwrap();
                if packed.is_empty() { continue; }
                let at = flip.index(packed.len());
                packed[at] ^= 0x5a;
                let (plain, _) = decompress(compression.id(), &packed.into(), 4096);
                prop_assert!(plain.len() <= 4096);
            }
        }
    }

    #[test]
    fn output_beyond_the_limit_is_refused_by_every_codec() {
        let zeros = vec![0; 1_000_000];
        for codec in OUT {
            let packed = Bytes::from(codec.compress(zeros.clone()).unwrap());
            let (plain, error) = decompress(codec.id(), &packed, 100_000);
            assert_eq!(error, Some(CodecError::TooLarge), "{codec}");
            assert!(plain.len() <= 100_000);
        }
        let packed = ruzstd::encoding::compress_to_vec(
            &zeros[..],
            ruzstd::encoding::CompressionLevel::Fastest,
        );
        assert_eq!(
            decompress(4, &packed.into(), 100_000).1,
            Some(CodecError::TooLarge)
        );
    }

    #[test]
    fn zstd_is_read_in_one_frame_or_in_several() {
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        let mut packed = ruzstd::encoding::compress_to_vec(&b"first "[..], level);
        packed.extend(ruzstd::encoding::compress_to_vec(&b"second"[..], level));
        assert_eq!(
            decompress(4, &packed.into(), 100),
            (Bytes::from_static(b"first second"), None)
        );
    }

    #[test]
    fn snappy_is_read_raw_too() {
        let packed = snap::raw::Encoder::new()
            .compress_vec(b"one raw block")
            .unwrap();
        assert_eq!(
            decompress(2, &packed.into(), 100),
            (Bytes::from_static(b"one raw block"), None)
        );
    }

    /// xxHash32 with seed 0 of less than sixteen bytes.
    fn xxh32_of_few(bytes: &[u8]) -> u32 {
        const PRIMES: [u32; 5] = [
            2_654_435_761,
            2_246_822_519,
            3_266_489_917,
            668_265_263,
            374_761_393,
        ];
        assert!(bytes.len() < 4);
        let length = u32::try_from(bytes.len()).unwrap();
        let mut hash = bytes.iter().fold(PRIMES[4] + length, |hash, byte| {
            hash.wrapping_add(u32::from(*byte).wrapping_mul(PRIMES[4]))
                .rotate_left(11)
                .wrapping_mul(PRIMES[0])
        });
        hash = (hash ^ (hash >> 15)).wrapping_mul(PRIMES[1]);
        hash = (hash ^ (hash >> 13)).wrapping_mul(PRIMES[2]);
        hash ^ (hash >> 16)
    }

    #[test]
    fn lz4_frames_are_those_java_reads_with_the_checksum_of_their_descriptor() {
        // KIP-57: the second byte of the hash of flags and block size, without the magic number before them.
        assert_eq!(xxh32_of_few(&[0x60, 0x40]) >> 8 & 0xff, 0x82);
        for len in [0, 10, 70_000, 5_000_000] {
            let frame = Compression::Lz4.compress(vec![7; len]).unwrap();
            assert_eq!(frame[..4], 0x184d_2204_u32.to_le_bytes());
            let (flags, checksum) = (frame[4], u32::from(frame[6]));
            assert_eq!(
                flags, 0x60,
                "version 1, independent blocks, nothing optional"
            );
            assert_eq!(xxh32_of_few(&frame[4..6]) >> 8 & 0xff, checksum);
        }
    }

    #[test]
    fn gzip_carries_no_time_so_that_the_same_records_make_the_same_bytes() {
        let packed = Compression::Gzip.compress(b"records".to_vec()).unwrap();
        let (magic_deflate_no_flags, no_time) = ([0x1f, 0x8b, 8, 0], [0; 4]);
        assert_eq!(packed[..4], magic_deflate_no_flags);
        assert_eq!(packed[4..8], no_time);
    }

    #[test]
    fn a_codec_of_the_future_is_named() {
        assert_eq!(
            decompress(5, &Bytes::from_static(b"x"), 100).1,
            Some(CodecError::Unknown(5))
        );
    }
}
