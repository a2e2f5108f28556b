//! Messages from the future: one signer's clock may be wrong; when two are, it is ours.
//!
//! Trips when authentic messages of at least two keys were signed later than our clock allows within
//! a minute, or when a broker's own append time lies a day ahead. Nothing is judged then: to bury by
//! a clock that is behind would bury what is good. It ends when our clock has reached what tripped it, or
//! was set forward: what tripped it is judged again then, and trips it again where that was not enough.

use std::collections::VecDeque;
use std::time::Duration;

use cybermesh_contracts::sign::PublicKey;
use tokio::time::Instant;

/// Messages of two keys this close together trip it.
const WITHIN: Duration = Duration::from_secs(60);
/// An append time further ahead than that is not a broker's small fault.
const FAR_AHEAD_MS: i64 = 86_400_000;
/// A clock that goes so much faster than time passes was set.
const SET_FORWARD_MS: i64 = 60_000;
/// How long the word of an operator that our clock is right holds.
const OVERRULED_FOR: Duration = Duration::from_secs(60 * 60);

/// Whether our clock can be believed, by what others signed.
#[derive(Debug, Default)]
pub(crate) struct ClockGuard {
    future: VecDeque<(Instant, Option<PublicKey>)>,
    /// What our clock must have reached to be believed again, Unix milliseconds.
    behind_until_ms: Option<i64>,
    /// What our clock said when it was looked at first in that time.
    doubted_at: Option<(i64, Instant)>,
    overruled_until: Option<Instant>,
}

impl ClockGuard {
    /// An authentic message is from the future and would be admitted at `admitted_from_ms`. Answers
    /// whether our own clock is at fault, and the message not to be buried for it.
    pub(crate) fn future(
        &mut self,
        signer: Option<PublicKey>,
        admitted_from_ms: i64,
        now: Instant,
    ) -> bool {
        if self.overruled_until.is_some_and(|until| now < until) {
            return false;
        }
        self.future
            .retain(|(at, key)| *key != signer && now.saturating_duration_since(*at) <= WITHIN);
        self.future.push_back((now, signer));
        // A signer counts once, so there is never more to remember than what trips.
        if self.future.len() >= 2 {
            self.behind_until(admitted_from_ms);
        }
        self.behind_until_ms.is_some()
    }

    /// The broker appended a record at `append_ms` by its own clock.
    pub(crate) fn appended(&mut self, append_ms: i64, wall_ms: i64, now: Instant) {
        let overruled = self.overruled_until.is_some_and(|until| now < until);
        if !overruled && append_ms.saturating_sub(wall_ms) > FAR_AHEAD_MS {
            self.behind_until(append_ms.saturating_sub(FAR_AHEAD_MS));
        }
    }

    /// Whether our clock is at fault, as it stands now.
    pub(crate) fn is_behind(&mut self, wall_ms: i64, now: Instant) -> bool {
        let Some(until) = self.behind_until_ms else {
            self.doubted_at = None;
            return false;
        };
        let (said_ms, then) = *self.doubted_at.get_or_insert((wall_ms, now));
        let passed = now.saturating_duration_since(then).as_millis();
        let passed_ms = i64::try_from(passed).unwrap_or(i64::MAX);
        let ahead_ms = wall_ms.saturating_sub(said_ms).saturating_sub(passed_ms);
        if wall_ms >= until || ahead_ms > SET_FORWARD_MS {
            self.behind_until_ms = None;
            self.doubted_at = None;
            self.future.clear();
        }
        self.behind_until_ms.is_some()
    }

    /// An operator says that our clock is right. Answers whether that was in doubt.
    pub(crate) fn overrule(&mut self, now: Instant) -> bool {
        let doubted = self.behind_until_ms.take().is_some();
        if doubted {
            self.future.clear();
            self.overruled_until = Some(now + OVERRULED_FOR);
        }
        doubted
    }

    fn behind_until(&mut self, reached_ms: i64) {
        // The nearest of them: with that one judged again there is something new to go by.
        let until = self.behind_until_ms.get_or_insert(reached_ms);
        *until = reached_ms.min(*until);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(number: u8) -> Option<PublicKey> {
        Some(PublicKey([number; 32]))
    }

    #[test]
    fn a_clock_that_is_set_forward_is_believed_again_though_one_signer_is_further_ahead() {
        let mut guard = ClockGuard::default();
        let (now, hour) = (Instant::now(), 3_600_000);
        guard.future(key(1), hour - 300_000, now);
        assert!(guard.future(key(2), 2 * hour, now));
        let later = now + Duration::from_secs(30);
        assert!(guard.is_behind(0, now) && guard.is_behind(90_000, later));
        assert!(!guard.is_behind(hour, later), "it was set");
        assert!(!guard.future(key(2), 2 * hour, later));
    }

    #[test]
    fn one_signer_ahead_of_us_is_wrong_alone_however_often() {
        let mut guard = ClockGuard::default();
        let now = Instant::now();
        assert!((0..100).all(|_| !guard.future(key(1), 5_000, now)));
        assert!(!guard.is_behind(0, now));
    }

    #[test]
    fn two_signers_within_a_minute_put_our_clock_in_doubt_until_it_has_caught_up() {
        let mut guard = ClockGuard::default();
        let now = Instant::now();
        assert!(!guard.future(key(1), 5_000, now));
        assert!(guard.future(key(2), 7_000, now + Duration::from_secs(60)));
        assert!(guard.is_behind(6_999, now));
        assert!(!guard.is_behind(7_000, now));
        assert!(
            !guard.future(key(3), 9_000, now + Duration::from_secs(60)),
            "what came before is not held against it"
        );
    }

    #[test]
    fn two_signers_more_than_a_minute_apart_do_not() {
        let mut guard = ClockGuard::default();
        let now = Instant::now();
        assert!(!guard.future(key(1), 5_000, now));
        assert!(!guard.future(key(2), 5_000, now + Duration::from_millis(60_001)));
    }

    #[test]
    fn an_append_time_more_than_a_day_ahead_puts_our_clock_in_doubt() {
        let now = Instant::now();
        let mut guard = ClockGuard::default();
        guard.appended(86_400_000, 0, now);
        // Set back meanwhile, our clock would show that a day was taken for more than one.
        assert!(!guard.is_behind(-1, now));
        guard.appended(86_400_001, 0, now);
        assert!(guard.is_behind(0, now));
        assert!(!guard.is_behind(1, now));
    }

    #[test]
    fn an_operator_may_overrule_it_for_an_hour() {
        let mut guard = ClockGuard::default();
        let now = Instant::now();
        assert!(!guard.overrule(now), "nothing was in doubt");
        guard.future(key(1), 5_000, now);
        assert!(guard.future(key(2), 5_000, now));
        assert!(guard.overrule(now));
        assert!(!guard.is_behind(0, now));
        let soon = now + Duration::from_secs(3599);
        assert!(!guard.future(key(1), 5_000, soon) && !guard.future(key(2), 5_000, soon));
        guard.appended(i64::MAX, 0, soon);
        assert!(!guard.is_behind(0, now));
        let later = now + Duration::from_secs(3600);
        guard.appended(i64::MAX, 0, later);
        assert!(guard.is_behind(0, now) && !guard.is_behind(i64::MAX, now));
        assert!(!guard.future(key(1), 5_000, later) && guard.future(key(2), 5_000, later));
    }

    proptest! {
        /// The model keeps every message and looks for another signer within the minute before.
        #[test]
        fn it_is_in_doubt_exactly_when_another_signer_was_ahead_within_the_minute(
            steps in proptest::collection::vec((0_u64..40, 0_u8..3), 1..100)
        ) {
            let mut guard = ClockGuard::default();
            let (mut now, mut all) = (Instant::now(), Vec::<(Instant, u8)>::new());
            for (wait, number) in steps {
                now += Duration::from_secs(wait);
                let expected = all.iter().any(|(at, other)| *other != number && now - *at <= WITHIN);
                all.push((now, number));
                prop_assert_eq!(guard.future(key(number), 10, now), expected);
                if expected {
                    prop_assert!(!guard.is_behind(10, now));
                    all.clear();
                }
            }
        }
    }
}
