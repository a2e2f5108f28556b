//! Rate limit of one kind: a token bucket, asked before anything is signed.
//!
//! Kept as one moment, the time at which the bucket would be full again, instead of a count that
//! has to be topped up (the generic cell rate algorithm, ITU-T I.371): no drift, no floating point.

use std::time::{Duration, Instant};

use crate::settings::RateLimit;

/// The bucket. Full at the start.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    /// Time in which one token comes back; rounded up, so never faster than the limit.
    interval: Duration,
    /// How far `full_at` may lie ahead while a token is still there.
    slack: Duration,
    full_at: Option<Instant>,
}

impl TokenBucket {
    /// A full bucket with `limit.burst` tokens, refilled at `limit.per_second`.
    pub fn new(limit: RateLimit) -> Self {
        let per_second = u64::from(limit.per_second.max(1));
        let interval = Duration::from_nanos(1_000_000_000_u64.div_ceil(per_second));
        Self {
            interval,
            slack: interval.saturating_mul(limit.burst.max(1) - 1),
            full_at: None,
        }
    }

    /// The same bucket under another limit: what was taken stays taken, the time until it would be full
    /// stays what it was.
    #[must_use]
    pub fn with_limit(&self, limit: RateLimit) -> Self {
        Self {
            full_at: self.full_at,
            ..Self::new(limit)
        }
    }

    /// Takes the next token and says when it is due: `now`, or the moment it comes back.
    ///
    /// # Errors
    /// The wait, where it is longer than `patience`; nothing is taken then. A token that is taken
    /// and not used is lost, which errs on the slow side.
    pub fn take(&mut self, now: Instant, patience: Duration) -> Result<Instant, Duration> {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now));
        let wait = full_at
            .saturating_duration_since(now)
            .saturating_sub(self.slack);
        if wait > patience {
            return Err(wait);
        }
        self.full_at = Some(full_at + self.interval);
        Ok(now + wait)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_bucket_lets_its_burst_go_at_once_and_then_one_an_interval() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(RateLimit {
            burst: 3,
            per_second: 10,
        });
        for _ in 0..3 {
            assert_eq!(bucket.take(start, Duration::ZERO), Ok(start));
        }
        assert_eq!(
            bucket.take(start, Duration::ZERO),
            Err(Duration::from_millis(100))
        );
        let later = start + Duration::from_millis(100);
        assert_eq!(bucket.take(later, Duration::ZERO), Ok(later));
        assert_eq!(
            bucket.take(later, Duration::ZERO),
            Err(Duration::from_millis(100))
        );
    }

    #[test]
    fn those_who_wait_are_let_go_one_after_the_other() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(RateLimit {
            burst: 1,
            per_second: 10,
        });
        let due: Vec<_> = (0..4)
            .map(|_| bucket.take(start, Duration::from_secs(1)).unwrap() - start)
            .collect();
        assert_eq!(due, [0, 100, 200, 300].map(Duration::from_millis));
        assert_eq!(
            bucket.take(start, Duration::from_millis(399)),
            Err(Duration::from_millis(400))
        );
    }

    #[test]
    fn another_limit_is_no_new_burst() {
        let start = Instant::now();
        let limit = |burst, per_second| RateLimit { burst, per_second };
        let mut bucket = TokenBucket::new(limit(2, 1));
        bucket.take(start, Duration::ZERO).unwrap();
        bucket.take(start, Duration::ZERO).unwrap();
        let mut same = bucket.with_limit(limit(2, 1));
        assert_eq!(
            same.take(start, Duration::ZERO),
            Err(Duration::from_secs(1))
        );
        let mut wider = bucket.with_limit(limit(10, 1));
        assert_eq!(wider.take(start, Duration::ZERO), Ok(start));
    }

    #[test]
    fn a_refused_request_takes_nothing() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(RateLimit {
            burst: 1,
            per_second: 1,
        });
        bucket.take(start, Duration::ZERO).unwrap();
        for _ in 0..100 {
            assert_eq!(
                bucket.take(start, Duration::ZERO),
                Err(Duration::from_secs(1))
            );
        }
    }

    proptest! {
        /// The model counts tokens in units of one interval's nanoseconds, topped up at every step.
        #[test]
        fn the_bucket_agrees_with_one_that_counts(
            burst in 1_u32..50,
            per_second in 1_u32..2_000,
            steps in prop::collection::vec(0_u64..200_000_000, 1..200),
        ) {
            let interval = 1_000_000_000_u64.div_ceil(u64::from(per_second));
            let most = interval * u64::from(burst);
            let mut tokens = most;
            let mut bucket = TokenBucket::new(RateLimit { burst, per_second });
            let mut now = Instant::now();
            for step in steps {
                now += Duration::from_nanos(step);
                tokens = most.min(tokens + step);
                let answer = bucket.take(now, Duration::ZERO);
                if tokens >= interval {
                    tokens -= interval;
                    prop_assert_eq!(answer, Ok(now));
                } else {
                    prop_assert_eq!(answer, Err(Duration::from_nanos(interval - tokens)));
                }
            }
        }
    }
}
