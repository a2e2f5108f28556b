//! Length-prefixed frames.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// How much memory a frame takes before any of its bytes have arrived.
const FIRST_CHUNK_BYTES: usize = 64 * 1024;

/// Reads one frame; `None` where the peer closed between frames.
pub(crate) async fn read_frame<R: AsyncRead + Unpin>(
    reader: &mut R,
    max_bytes: usize,
) -> io::Result<Option<Bytes>> {
    let mut prefix = [0_u8; 4];
    if reader.read(&mut prefix[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut prefix[1..]).await?;
    let announced = i32::from_be_bytes(prefix);
    let length = usize::try_from(announced)
        .ok()
        .filter(|length| *length <= max_bytes)
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("frame of {announced} bytes; at most {max_bytes} are accepted"),
            )
        })?;
    let mut frame = BytesMut::with_capacity(length.min(FIRST_CHUNK_BYTES));
    let mut rest = reader.take(length as u64);
    while frame.len() < length {
        if rest.read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(frame.freeze()))
}

/// Writes one frame and flushes it.
pub(crate) async fn write_frame<W: AsyncWrite + Unpin>(
    writer: &mut W,
    frame: Bytes,
) -> io::Result<()> {
    let length = i32::try_from(frame.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "response above 2 GiB"))?;
    let prefix = length.to_be_bytes();
    let mut both = Buf::chain(prefix.as_slice(), frame);
    writer.write_all_buf(&mut both).await?;
    writer.flush().await
}

/// Writes the length of a frame and the first half of it.
pub(crate) async fn write_half_a_frame<W: AsyncWrite + Unpin>(
    writer: &mut W,
    frame: Bytes,
) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    writer.write_all(&length.to_be_bytes()).await?;
    writer.write_all(&frame[..frame.len() / 2]).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_above_the_limit_is_refused_before_its_bytes_are_read() {
        let mut wire: &[u8] = &[0x7f, 0xff, 0xff, 0xff];
        let error = read_frame(&mut wire, 1024).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_negative_length_is_refused() {
        let mut wire: &[u8] = &[0xff, 0xff, 0xff, 0xff];
        assert!(read_frame(&mut wire, 1024).await.is_err());
    }

    #[tokio::test]
    async fn frames_come_back_as_they_were_written() {
        let mut wire = Vec::new();
        write_frame(&mut wire, "first".into()).await.unwrap();
        write_frame(&mut wire, Bytes::new()).await.unwrap();
        let mut reader = wire.as_slice();
        let first = read_frame(&mut reader, 16).await.unwrap();
        let second = read_frame(&mut reader, 16).await.unwrap();
        let end = read_frame(&mut reader, 16).await.unwrap();
        assert_eq!(
            (first.as_deref(), second.as_deref(), end.as_deref()),
            (Some(&b"first"[..]), Some(&b""[..]), None)
        );
    }
}
