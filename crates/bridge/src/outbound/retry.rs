//! When a batch that failed is sent again: exponential, with half of each wait left to chance.
//!
//! Base 1 s, factor 2, cap 60 s, 5 resends. Equal jitter (half fixed, half random) keeps a floor
//! under each wait, so that a fleet neither knocks in step nor at once. The exponential is the
//! `backoff` crate's, its own randomization and clock switched off, so that a seed decides all.

use std::time::{Duration, Instant};

use backoff::{backoff::Backoff, exponential::ExponentialBackoff};

use super::jitter::Jitter;

/// No wait is longer, jitter included.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The waits between attempts. Shared by all batches; holds no state of any of them.
#[derive(Debug)]
pub struct RetrySchedule {
    base: Duration,
    resends: u32,
    jitter: Jitter,
}

impl RetrySchedule {
    /// Waits that start around `base`, for at most `resends` resends.
    pub fn new(base: Duration, resends: u32, seed: u64) -> Self {
        Self {
            base: base.min(LONGEST_WAIT),
            resends,
            jitter: Jitter::new(seed),
        }
    }

    /// The wait before resend number `resend` (from 1), or `None` where that is one too many.
    pub fn wait(&self, resend: u32) -> Option<Duration> {
        if resend == 0 || resend > self.resends {
            return None;
        }
        let full = self.exponential(resend);
        let fixed = full / 2;
        let chance = u64::try_from((full - fixed).as_nanos()).unwrap_or(u64::MAX);
        Some(fixed + Duration::from_nanos(self.jitter.up_to(chance)))
    }

    /// The undisturbed wait: `base · 2^(resend − 1)`, at most [`LONGEST_WAIT`].
    fn exponential(&self, resend: u32) -> Duration {
        let epoch = Instant::now();
        let mut backoff = ExponentialBackoff {
            current_interval: self.base,
            initial_interval: self.base,
            randomization_factor: 0.0,
            multiplier: 2.0,
            max_interval: LONGEST_WAIT,
            start_time: epoch,
            max_elapsed_time: None,
            clock: Standstill(epoch),
        };
        let mut wait = self.base;
        for _ in 0..resend {
            match backoff.next_backoff() {
                Some(next) => wait = next.min(LONGEST_WAIT),
                None => break,
            }
            if wait == LONGEST_WAIT {
                break;
            }
        }
        wait
    }
}

impl cybermesh_transport::producer::ResendSchedule for RetrySchedule {
    fn next(&self, resend: u32) -> Option<Duration> {
        self.wait(resend)
    }
}

/// `backoff` asks for the time to limit the whole; that limit is the delivery deadline's business.
#[derive(Debug)]
struct Standstill(Instant);

impl backoff::Clock for Standstill {
    fn now(&self) -> Instant {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_from_one_second_and_end_after_five_resends() {
        let schedule = RetrySchedule::new(Duration::from_secs(1), 5, 3);
        for (resend, seconds) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16)] {
            assert_eq!(schedule.exponential(resend), Duration::from_secs(seconds));
        }
        assert_eq!(schedule.wait(0), None);
        assert!(schedule.wait(5).is_some());
        assert_eq!(schedule.wait(6), None);
    }

    #[test]
    fn the_transport_is_given_the_same_schedule() {
        use cybermesh_transport::producer::ResendSchedule;
        let schedule = || RetrySchedule::new(Duration::from_secs(1), 5, 3);
        let (asked, given) = (schedule(), schedule());
        for resend in 1..=6 {
            assert_eq!(ResendSchedule::next(&given, resend), asked.wait(resend));
        }
    }

    #[test]
    fn one_seed_gives_one_schedule() {
        let waits = |seed| {
            let schedule = RetrySchedule::new(Duration::from_secs(1), 5, seed);
            (1..=5)
                .map(|resend| schedule.wait(resend))
                .collect::<Vec<_>>()
        };
        assert_eq!(waits(11), waits(11));
        assert_ne!(waits(11), waits(12));
    }

    proptest! {
        #[test]
        fn each_wait_lies_between_half_and_all_of_the_exponential(
            base_ms in 1_u64..=60_000, resend in 1_u32..=1_000, seed: u64,
        ) {
            let base = Duration::from_millis(base_ms);
            let model = u32::checked_pow(2, resend - 1)
                .and_then(|factor| base.checked_mul(factor))
                .map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT));
            let wait = RetrySchedule::new(base, 1_000, seed).wait(resend).unwrap();
            prop_assert!(wait >= model / 2, "{wait:?} below half of {model:?}");
            prop_assert!(wait <= model, "{wait:?} above {model:?}");
        }
    }
}
