//! Decompression with an output limit, by the codec number of a batch's attributes.

use std::borrow::Cow;
use std::io::{self, Read};

use thiserror::Error;

/// The most a batch may hold decompressed.
const MAX_BATCH_BYTES: usize = 32 * 1024 * 1024;

/// First bytes of the framing that Java's snappy streams use.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version and lowest compatible version.
const XERIAL_HEADER_BYTES: usize = 16;

/// Why a batch could not be decompressed.
#[derive(Debug, Error)]
pub(crate) enum Undecodable {
    #[error("compression codec {0} is not known")]
    UnknownCodec(i16),
    #[error("batch holds more than {MAX_BATCH_BYTES} bytes decompressed")]
    TooLarge,
    #[error("compressed data: {0}")]
    Corrupt(String),
}

pub(super) fn decompress(codec: i16, bytes: &[u8]) -> Result<Cow<'_, [u8]>, Undecodable> {
    match codec {
        0 => Ok(Cow::Borrowed(bytes)),
        1 => read_all(flate2::read::MultiGzDecoder::new(bytes)).map(Cow::Owned),
        2 => snappy(bytes).map(Cow::Owned),
        3 => read_all(lz4_flex::frame::FrameDecoder::new(bytes)).map(Cow::Owned),
        4 => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(bytes)
                .map_err(|error| Undecodable::Corrupt(error.to_string()))?;
            read_all(decoder).map(Cow::Owned)
        }
        other => Err(Undecodable::UnknownCodec(other)),
    }
}

fn read_all(reader: impl Read) -> Result<Vec<u8>, Undecodable> {
    let mut out = Vec::new();
    reader
        .take(MAX_BATCH_BYTES as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|error: io::Error| Undecodable::Corrupt(error.to_string()))?;
    if out.len() > MAX_BATCH_BYTES {
        return Err(Undecodable::TooLarge);
    }
    Ok(out)
}

/// Raw snappy, or xerial's blocks of it.
fn snappy(bytes: &[u8]) -> Result<Vec<u8>, Undecodable> {
    let mut out = Vec::new();
    if !bytes.starts_with(&XERIAL_MAGIC) {
        snappy_block(bytes, &mut out)?;
        return Ok(out);
    }
    let short = || Undecodable::Corrupt("snappy block cut short".into());
    let mut rest = bytes.get(XERIAL_HEADER_BYTES..).ok_or_else(short)?;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| short())?;
        let block = after.get(..length).ok_or_else(short)?;
        snappy_block(block, &mut out)?;
        rest = &after[length..];
    }
    Ok(out)
}

fn snappy_block(block: &[u8], out: &mut Vec<u8>) -> Result<(), Undecodable> {
    let corrupt = |error: snap::Error| Undecodable::Corrupt(error.to_string());
    let length = snap::raw::decompress_len(block).map_err(corrupt)?;
    if length > MAX_BATCH_BYTES - out.len() {
        return Err(Undecodable::TooLarge);
    }
    let start = out.len();
    out.resize(start + length, 0);
    snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(corrupt)?;
    Ok(())
}
