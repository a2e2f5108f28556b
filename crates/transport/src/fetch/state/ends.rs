//! Where a partition begins and ends, as its leader said last.

use tokio::time::Instant;

use super::Chunk;
use crate::wire::IsolationLevel;

/// Negative offsets stand for what is not known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) high_watermark: i64,
    pub(super) last_stable_offset: i64,
    pub(super) log_start_offset: i64,
    /// Since when the last stable offset has stood still below the high watermark.
    pub(super) held_back_since: Option<Instant>,
}

impl Ends {
    pub(super) const UNKNOWN: Self = Self {
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        held_back_since: None,
    };

    pub(super) fn update(&mut self, now: Instant, told: &Chunk) {
        let trails = (0..told.high_watermark).contains(&told.last_stable_offset);
        let stood_still = told.last_stable_offset == self.last_stable_offset;
        self.held_back_since =
            trails.then(|| self.held_back_since.filter(|_| stood_still).unwrap_or(now));
        self.high_watermark = told.high_watermark;
        self.last_stable_offset = told.last_stable_offset;
        self.log_start_offset = told.log_start_offset;
    }

    /// Where reading ends for now.
    pub(super) fn readable_end(&self, isolation: IsolationLevel) -> Option<i64> {
        let end = match isolation {
            IsolationLevel::ReadCommitted if self.last_stable_offset >= 0 => {
                self.last_stable_offset
            }
            IsolationLevel::ReadCommitted | IsolationLevel::ReadUncommitted => self.high_watermark,
        };
        known(end)
    }
}

pub(super) fn known(offset: i64) -> Option<i64> {
    (offset >= 0).then_some(offset)
}
