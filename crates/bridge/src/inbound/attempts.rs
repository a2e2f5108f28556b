//! What follows from how a handler ended.
//!
//! One table, the one of the crate's promise: done, tried again, buried, or held because the
//! settings would rather pause than give a message up.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::time::Duration;

use cybermesh_contracts::rejection::Disposition;

use crate::handler::{HandlerError, MAX_RETRY_AFTER, Severity, Verdict};
use crate::settings::OnExhausted;

/// How often and how fast a handler is called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts at one message in one process, the first included. Default 5.
    pub attempts: NonZeroU32,
    /// The wait after the first failed attempt; it doubles with each further one. Default 1 s.
    pub base: Duration,
    /// The longest wait. Default 60 s.
    pub cap: Duration,
    /// What follows the last attempt.
    pub on_exhausted: OnExhausted,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: NonZeroU32::new(5).unwrap_or(NonZeroU32::MIN),
            base: Duration::from_secs(1),
            cap: Duration::from_secs(60),
            on_exhausted: OnExhausted::Bury,
        }
    }
}

/// How one call of a handler ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Returned(Result<Verdict, HandlerError>),
    Panicked,
    TimedOut,
}

impl Ended {
    /// Why the handler is not done with the message, from a closed set: the label `error.type`.
    pub(crate) fn error_type(&self) -> Option<&'static str> {
        match self {
            Self::Returned(Ok(Verdict::Done | Verdict::Skip(_))) => None,
            Self::Returned(Ok(Verdict::Retry { .. })) => Some("retry"),
            Self::Returned(Ok(Verdict::Reject(_))) => Some("rejected"),
            Self::Returned(Err(error)) if error.severity() == Severity::Permanent => {
                Some("permanent")
            }
            Self::Returned(Err(_)) => Some("retriable"),
            Self::Panicked => Some("panic"),
            Self::TimedOut => Some("timeout"),
        }
    }
}

/// What happens to the message next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Counted, offset done.
    Done,
    /// Counted as skipped, offset done.
    Skipped(Cow<'static, str>),
    /// Called again after this long.
    Again {
        after: Duration,
        reason: Cow<'static, str>,
    },
    /// To the dead-letter topic.
    Bury {
        disposition: Disposition,
        reason: Cow<'static, str>,
    },
    /// Not given up: its partition pauses.
    Hold { reason: Cow<'static, str> },
}

impl RetryPolicy {
    /// What follows attempt number `attempt` (from 1); `jitter` in `0.0..1.0` spreads the waits.
    pub(crate) fn next(&self, attempt: u32, ended: Ended, jitter: f64) -> Next {
        let (asked, reason, exhausted_as) = match ended {
            Ended::Returned(Ok(Verdict::Done)) => return Next::Done,
            Ended::Returned(Ok(Verdict::Skip(reason))) => return Next::Skipped(reason),
            Ended::Returned(Ok(Verdict::Reject(reason))) => {
                return Next::Bury {
                    disposition: Disposition::HandlerRejected,
                    reason,
                };
            }
            Ended::Returned(Err(error)) if error.severity() == Severity::Permanent => {
                return Next::Bury {
                    disposition: Disposition::HandlerRejected,
                    reason: error.into_reason(),
                };
            }
            Ended::Returned(Ok(Verdict::Retry { after })) => (
                after,
                Cow::Borrowed("handler asked for a retry"),
                Disposition::AttemptsExhausted,
            ),
            Ended::Returned(Err(error)) => {
                (None, error.into_reason(), Disposition::AttemptsExhausted)
            }
            Ended::Panicked => (
                None,
                Cow::Borrowed("handler panicked"),
                Disposition::HandlerPanic,
            ),
            Ended::TimedOut => (
                None,
                Cow::Borrowed("handler did not end within its deadline"),
                Disposition::AttemptsExhausted,
            ),
        };
        if attempt < self.attempts.get() {
            let after = asked.map_or_else(
                || self.backoff(attempt, jitter),
                |asked| asked.min(MAX_RETRY_AFTER),
            );
            return Next::Again { after, reason };
        }
        match self.on_exhausted {
            OnExhausted::Bury => Next::Bury {
                disposition: exhausted_as,
                reason,
            },
            OnExhausted::Pause => Next::Hold { reason },
        }
    }

    /// Equal jitter: half of the wait is fixed, half is drawn.
    fn backoff(&self, attempt: u32, jitter: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let full = self.base.saturating_mul(1_u32 << doublings).min(self.cap);
        let half = full / 2;
        half + half.mul_f64(jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(on_exhausted: OnExhausted) -> RetryPolicy {
        RetryPolicy {
            on_exhausted,
            ..RetryPolicy::default()
        }
    }

    fn retriable() -> Ended {
        Ended::Returned(Err(HandlerError::retriable("away")))
    }

    #[test]
    fn a_permanent_error_and_a_reject_are_buried_at_the_first_attempt() {
        for ended in [
            Ended::Returned(Err(HandlerError::permanent("never"))),
            Ended::Returned(Ok(Verdict::reject("never"))),
        ] {
            assert_eq!(
                policy(OnExhausted::Pause).next(1, ended, 0.0),
                Next::Bury {
                    disposition: Disposition::HandlerRejected,
                    reason: "never".into()
                }
            );
        }
    }

    #[test]
    fn done_and_skip_end_the_message() {
        let policy = policy(OnExhausted::Bury);
        assert_eq!(
            policy.next(1, Ended::Returned(Ok(Verdict::Done)), 0.0),
            Next::Done
        );
        assert_eq!(
            policy.next(1, Ended::Returned(Ok(Verdict::skip("old"))), 0.0),
            Next::Skipped("old".into())
        );
    }

    #[test]
    fn waits_double_up_to_the_cap_and_half_of_each_is_drawn() {
        let policy = RetryPolicy {
            attempts: NonZeroU32::new(100).unwrap(),
            ..RetryPolicy::default()
        };
        let wait = |attempt, jitter| match policy.next(attempt, retriable(), jitter) {
            Next::Again { after, .. } => after,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(1, 0.0), Duration::from_millis(500));
        assert_eq!(wait(1, 1.0), Duration::from_secs(1));
        assert_eq!(wait(3, 1.0), Duration::from_secs(4));
        assert_eq!(wait(7, 1.0), Duration::from_secs(60));
        assert_eq!(wait(99, 0.0), Duration::from_secs(30));
    }

    #[test]
    fn a_wait_of_the_handlers_own_is_taken_and_bounded() {
        let policy = policy(OnExhausted::Bury);
        let after =
            |asked| match policy.next(1, Ended::Returned(Ok(Verdict::retry_after(asked))), 0.0) {
                Next::Again { after, .. } => after,
                other => panic!("{other:?}"),
            };
        assert_eq!(after(Duration::ZERO), Duration::ZERO);
        assert_eq!(after(Duration::from_secs(7)), Duration::from_secs(7));
        assert_eq!(after(Duration::MAX), MAX_RETRY_AFTER);
    }

    #[test]
    fn the_last_attempt_is_named_by_how_it_ended() {
        let policy = policy(OnExhausted::Bury);
        for (ended, expected) in [
            (retriable(), Disposition::AttemptsExhausted),
            (Ended::TimedOut, Disposition::AttemptsExhausted),
            (
                Ended::Returned(Ok(Verdict::retry())),
                Disposition::AttemptsExhausted,
            ),
            (Ended::Panicked, Disposition::HandlerPanic),
        ] {
            match policy.next(5, ended, 0.0) {
                Next::Bury { disposition, .. } => assert_eq!(disposition, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn an_exhausted_message_is_held_where_the_settings_say_pause() {
        assert!(matches!(
            policy(OnExhausted::Pause).next(5, Ended::Panicked, 0.0),
            Next::Hold { .. }
        ));
    }
}
