//! The wall clocks of the processes: virtual time, and what each is off by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cybermesh_bridge::clock::{PLAUSIBLE_FROM_MS, WallClock};
use tokio::time::Instant;

/// What the wall clock shows when a run begins: 30 days after the first moment that is plausible.
pub(crate) const BEGIN_MS: u64 = PLAUSIBLE_FROM_MS + 30 * 86_400_000;

/// Clocks of all processes. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Clocks {
    begun: Instant,
    off_by_ms: Arc<Mutex<BTreeMap<String, i64>>>,
}

impl Clocks {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            off_by_ms: Arc::default(),
        }
    }

    /// A process's clock is off by so much from now on.
    pub(crate) fn set(&self, process: &str, off_by_ms: i64) {
        let mut clocks = self
            .off_by_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        clocks.insert(process.to_owned(), off_by_ms);
    }

    /// All are right.
    pub(crate) fn heal(&self) {
        let mut clocks = self
            .off_by_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        clocks.clear();
    }

    pub(crate) fn of(&self, process: &str) -> Arc<dyn WallClock> {
        Arc::new(Clock {
            clocks: self.clone(),
            process: process.to_owned(),
        })
    }
}

#[derive(Debug)]
struct Clock {
    clocks: Clocks,
    process: String,
}

impl WallClock for Clock {
    fn unix_ms(&self) -> u64 {
        let elapsed = self.clocks.begun.elapsed().as_millis();
        let right = BEGIN_MS.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX));
        let clocks = self.clocks.off_by_ms.lock();
        let clocks = clocks.unwrap_or_else(PoisonError::into_inner);
        let off_by_ms = clocks.get(&self.process).copied().unwrap_or(0);
        right.saturating_add_signed(off_by_ms)
    }
}
