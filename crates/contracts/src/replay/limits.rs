//! How far back a ring reaches.

use thiserror::Error;

/// How far back a partition's ring reaches: so many offsets, or so many bytes, whichever is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    offsets: u16,
    bytes: usize,
}

impl RingLimits {
    /// The fewest offsets a ring may have.
    pub const MIN_OFFSETS: u16 = 16;
    /// The most offsets a ring may have.
    pub const MAX_OFFSETS: u16 = 20_000;
    /// The offsets of a ring unless the settings say otherwise.
    pub const DEFAULT_OFFSETS: u16 = 2000;
    /// The most bytes of keys, values and headers that a ring reaches back over: 64 MiB.
    pub const BYTES: usize = 64 * 1024 * 1024;

    /// A ring over the last `offsets` offsets, 64 MiB at most.
    ///
    /// # Errors
    /// When it is not between 16 and 20 000.
    pub const fn new(offsets: u16) -> Result<Self, RingOutOfRange> {
        if offsets < Self::MIN_OFFSETS || offsets > Self::MAX_OFFSETS {
            return Err(RingOutOfRange { offsets });
        }
        Ok(Self {
            offsets,
            bytes: Self::BYTES,
        })
    }

    /// The same ring over at most `bytes` bytes of keys, values and headers.
    #[must_use]
    pub const fn with_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// How many offsets.
    #[must_use]
    pub const fn offsets(self) -> u16 {
        self.offsets
    }

    /// How many bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.bytes
    }
}

impl Default for RingLimits {
    fn default() -> Self {
        Self {
            offsets: Self::DEFAULT_OFFSETS,
            bytes: Self::BYTES,
        }
    }
}

/// A ring of a size that is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a replay ring of {offsets} offsets; accepted are 16 to 20000")]
pub struct RingOutOfRange {
    offsets: u16,
}
