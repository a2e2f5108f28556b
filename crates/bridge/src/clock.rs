//! The wall clock, and when it cannot be right.
//!
//! Only signing and the bounds of freshness ask for the time of day; every wait goes by the
//! monotonic clock of the runtime.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// Tells the time of day.
pub trait WallClock: Send + Sync + fmt::Debug {
    /// Unix time in milliseconds; 0 where the clock stands before 1970.
    fn unix_ms(&self) -> u64;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn unix_ms(&self) -> u64 {
        let since_epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }
}

/// No wait of ours is longer; what a caller wishes beyond that would only overflow.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 365 * 86_400);

/// The moment `wait` after `begun`, or one that is as good as never.
pub(crate) fn after(begun: Instant, wait: Duration) -> Instant {
    begun + wait.min(LONGEST_WAIT)
}

/// Where the build knows no commit: no copy of this code is older. 2026-01-01T00:00:00Z.
const FLOOR_SECONDS: u64 = 1_767_225_600;

/// Unix milliseconds before which no clock can be right: the date of the commit that this was built from.
pub const PLAUSIBLE_FROM_MS: u64 = plausible_from_seconds() * 1_000;

/// Whether the time `unix_ms` may be true. While it is not, nothing is signed and nothing is judged.
#[must_use]
pub fn is_plausible(unix_ms: u64) -> bool {
    unix_ms >= PLAUSIBLE_FROM_MS
}

const fn plausible_from_seconds() -> u64 {
    match option_env!("CYBERMESH_COMMIT_SECONDS") {
        None => FLOOR_SECONDS,
        Some(text) => {
            let digits = text.as_bytes();
            let mut seconds = 0;
            let mut index = 0;
            while index < digits.len() {
                // The build script has parsed it already.
                seconds = seconds * 10 + (digits[index] - b'0') as u64;
                index += 1;
            }
            seconds
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_wait_overflows_nothing() {
        let begun = Instant::now();
        assert!(after(begun, Duration::MAX) > begun);
        assert_eq!(
            after(begun, Duration::from_secs(1)),
            begun + Duration::from_secs(1)
        );
    }

    #[test]
    fn the_present_is_plausible_and_the_time_before_the_commit_is_not() {
        assert!(is_plausible(SystemClock.unix_ms()));
        assert!(!is_plausible(PLAUSIBLE_FROM_MS - 1));
        assert!(!is_plausible(0));
    }
}
