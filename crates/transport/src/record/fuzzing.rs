//! Ways in for fuzz targets.

use bytes::Bytes;

use super::{codec, encode::CRC_FROM};

/// Puts the checksum of each batch right, as far as their lengths lead.
pub(crate) fn with_checksum(chunk: &[u8]) -> Vec<u8> {
    const LENGTH: std::ops::Range<usize> = 8..12;
    let mut chunk = chunk.to_vec();
    let mut rest = &mut chunk[..];
    while let Some(Ok(length)) = rest.get(LENGTH).map(<[u8; 4]>::try_from) {
        let end = usize::try_from(i32::from_be_bytes(length))
            .ok()
            .map(|length| length + LENGTH.end)
            .filter(|end| (CRC_FROM..=rest.len()).contains(end));
        let Some(end) = end else { break };
        let (batch, behind) = rest.split_at_mut(end);
        let (head, content) = batch.split_at_mut(CRC_FROM);
        head[CRC_FROM - 4..].copy_from_slice(&crc32c::crc32c(content).to_be_bytes());
        rest = behind;
    }
    chunk
}

/// What comes out, whether all of it could be read or not.
pub(crate) fn decompress(codec: i16, packed: &[u8], limit_bytes: usize) -> Bytes {
    codec::decompress(codec, &Bytes::copy_from_slice(packed), limit_bytes).0
}
