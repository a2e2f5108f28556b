//! Freshness: the wall clock only bounds, order decides.

use std::time::Duration;

use crate::message::Seal;
use crate::rejection::Reason;

/// How far a signed time may lie from the receiver's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What the receiver's clock says, Unix milliseconds. That it is plausible is the caller's to know.
    pub now_ms: i64,
    /// How old a message may be; 7 days by default, what a topic keeps.
    pub max_age: Duration,
    /// How far ahead of the clock it may be; 300 s by default.
    pub future_tolerance: Duration,
}

impl Bounds {
    /// How old a message may be unless the settings say otherwise.
    pub const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
    /// How far ahead it may be unless the settings say otherwise.
    pub const FUTURE_TOLERANCE: Duration = Duration::from_secs(300);

    /// The default bounds at this time.
    #[must_use]
    pub const fn at(now_ms: i64) -> Self {
        Self {
            now_ms,
            max_age: Self::MAX_AGE,
            future_tolerance: Self::FUTURE_TOLERANCE,
        }
    }

    /// Both signed times of a message against the clock, and against the time it was appended where
    /// the broker tells that.
    pub(super) fn admit(&self, seal: &Seal<'_>, append_time_ms: Option<i64>) -> Result<(), Reason> {
        let seconds = i128::from(seal.time_s()) * 1000;
        let times = match seal.nonce() {
            Some(nonce) => [
                Some(("ts", seconds)),
                Some(("nonce", i128::from(nonce.time_ms()))),
            ],
            None => [Some(("timestamp", seconds)), None],
        };
        self.admit_times(times.into_iter().flatten(), append_time_ms)
    }

    /// A redrive's time of signing, by the same bounds.
    pub(super) fn admit_redrive(
        &self,
        signed_at_ms: u64,
        append_time_ms: Option<i64>,
    ) -> Result<(), Reason> {
        let time = ("cm-redrive's nonce", i128::from(signed_at_ms));
        self.admit_times(std::iter::once(time), append_time_ms)
    }

    /// That none of the times lies too far ahead, and then that none is too old.
    fn admit_times(
        &self,
        times: impl Iterator<Item = (&'static str, i128)> + Clone,
        append_time_ms: Option<i64>,
    ) -> Result<(), Reason> {
        for (field, time_ms) in times.clone() {
            let ahead_ms = self.ahead_ms(time_ms, append_time_ms);
            if ahead_ms > millis(self.future_tolerance) {
                return Err(Reason::Future {
                    field,
                    ahead_ms: saturate(ahead_ms),
                    tolerance_ms: saturate(millis(self.future_tolerance)),
                });
            }
        }
        for (field, time_ms) in times {
            let age_ms = i128::from(self.now_ms) - time_ms;
            if age_ms > millis(self.max_age) {
                return Err(Reason::Stale {
                    field,
                    age_ms: saturate(age_ms),
                    max_age_ms: saturate(millis(self.max_age)),
                });
            }
        }
        Ok(())
    }

    fn ahead_ms(&self, time_ms: i128, append_time_ms: Option<i64>) -> i128 {
        let reference_ms =
            append_time_ms.map_or(self.now_ms, |append_ms| append_ms.min(self.now_ms));
        time_ms - i128::from(reference_ms)
    }
}

fn millis(duration: Duration) -> i128 {
    i128::try_from(duration.as_millis()).unwrap_or(i128::MAX)
}

fn saturate(ms: i128) -> u64 {
    u64::try_from(ms).unwrap_or(u64::MAX)
}
