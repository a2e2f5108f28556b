//! Watches the lengths of incoming frames go by, so that a bad one ends the connection at once.
//!
//! The engine below reads and throws away a frame that is too long, however long it is; a broker that
//! announces two gigabytes and sends nothing would hold every request until its deadline.

use thiserror::Error;

/// Follows the frames of a stream without keeping any of it.
#[derive(Debug)]
pub(crate) struct FrameGuard {
    limit_bytes: usize,
    header: [u8; 4],
    header_filled: usize,
    body_left: usize,
}

/// A frame whose announced length is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a frame of {announced_bytes} bytes was announced, {limit_bytes} are accepted")]
pub(crate) struct FrameViolation {
    /// What was announced.
    pub(crate) announced_bytes: i32,
    /// What is accepted.
    pub(crate) limit_bytes: usize,
}

/// A response is never shorter than its correlation id.
const SHORTEST: usize = 4;

impl FrameGuard {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            header: [0; 4],
            header_filled: 0,
            body_left: 0,
        }
    }

    /// Takes note of the next bytes of the stream.
    pub(crate) fn observe(&mut self, mut bytes: &[u8]) -> Result<(), FrameViolation> {
        while !bytes.is_empty() {
            if self.body_left > 0 {
                let passed = self.body_left.min(bytes.len());
                self.body_left -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let taken = (4 - self.header_filled).min(bytes.len());
            self.header[self.header_filled..self.header_filled + taken]
                .copy_from_slice(&bytes[..taken]);
            self.header_filled += taken;
            bytes = &bytes[taken..];
            if self.header_filled == 4 {
                self.header_filled = 0;
                self.body_left = self.accept(i32::from_be_bytes(self.header))?;
            }
        }
        Ok(())
    }

    fn accept(&self, announced_bytes: i32) -> Result<usize, FrameViolation> {
        match usize::try_from(announced_bytes) {
            Ok(length) if (SHORTEST..=self.limit_bytes).contains(&length) => Ok(length),
            _ => Err(FrameViolation {
                announced_bytes,
                limit_bytes: self.limit_bytes,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(lengths: &[usize]) -> Vec<u8> {
        let mut stream = Vec::new();
        for length in lengths {
            stream.extend_from_slice(&i32::try_from(*length).unwrap().to_be_bytes());
            stream.resize(stream.len() + length, 0xff);
        }
        stream
    }

    proptest! {
        #[test]
        fn frames_within_the_limit_pass_however_they_are_cut(
            lengths in proptest::collection::vec(4usize..40, 0..20),
            cut in 1usize..17,
        ) {
            let mut guard = FrameGuard::new(40);
            for chunk in frames(&lengths).chunks(cut) {
                prop_assert_eq!(guard.observe(chunk), Ok(()));
            }
        }

        #[test]
        fn a_bad_length_is_told_at_its_fourth_byte_however_the_stream_is_cut(
            lengths in proptest::collection::vec(4usize..40, 0..5),
            bad in prop_oneof![i32::MIN..4, 41..=i32::MAX],
            cut in 1usize..17,
        ) {
            let mut stream = frames(&lengths);
            stream.extend_from_slice(&bad.to_be_bytes());
            let mut guard = FrameGuard::new(40);
            let verdict = stream.chunks(cut).try_for_each(|chunk| guard.observe(chunk));
            prop_assert_eq!(verdict, Err(FrameViolation { announced_bytes: bad, limit_bytes: 40 }));
        }
    }
}
