//! Authentic messages that fail one after the other: not the messages are wrong, something behind
//! their handlers is.
//!
//! Trips when more than half of a partition's last authentic messages, of at least so many and from
//! at least three signing keys, ended as given up. One key alone trips nothing: its messages are
//! buried as usual, or its holder could stop everybody. While tripped, the next message of a few
//! lanes is tried now and then and never given up; the first that passes ends it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use cybermesh_contracts::sign::PublicKey;
use tokio::time::Instant;

/// How many ends are looked at, and how few say nothing yet.
const LAST: usize = 50;
const ENOUGH: usize = 20;
/// Failures of fewer keys are theirs alone.
const KEYS: usize = 3;
/// How many messages at a time are tried while it is tripped.
const PROBES: usize = 3;

/// How the handling of an authentic message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Done or skipped.
    Passed,
    /// Rejected by its handler, or given up.
    Failed,
}

/// The ends of one partition's authentic messages.
#[derive(Debug)]
pub(crate) struct Systemic {
    /// How often messages are tried while it is tripped.
    try_every: Duration,
    ends: VecDeque<(End, Option<PublicKey>)>,
    tripped: Option<Tripped>,
}

#[derive(Debug)]
struct Tripped {
    next_round: Instant,
    /// Those that were tried in this round; none of them is tried twice.
    round: BTreeSet<i64>,
    /// Whether a round is open; it stays so until something was there to be tried.
    is_open: bool,
    /// The offset tried last: the next round goes on behind it, so that a few messages that truly
    /// cannot pass do not stand for all.
    last: i64,
    trying: BTreeSet<i64>,
}

impl Systemic {
    /// Nothing has ended yet.
    pub(crate) fn new(try_every: Duration) -> Self {
        Self {
            try_every,
            ends: VecDeque::new(),
            tripped: None,
        }
    }

    /// Notes an end; answers whether that tripped it.
    pub(crate) fn ended(&mut self, end: End, signer: Option<PublicKey>, now: Instant) -> bool {
        if self.tripped.is_some() {
            return false;
        }
        if self.ends.len() == LAST {
            self.ends.pop_front();
        }
        self.ends.push_back((end, signer));
        let failed = || self.ends.iter().filter(|(end, _)| *end == End::Failed);
        let keys: BTreeSet<_> = failed().map(|(_, signer)| signer).collect();
        let trips = self.ends.len() >= ENOUGH
            && failed().count() * 2 > self.ends.len()
            && keys.len() >= KEYS;
        if trips {
            self.tripped = Some(Tripped {
                next_round: now + self.try_every,
                round: BTreeSet::new(),
                is_open: false,
                last: i64::MIN,
                trying: BTreeSet::new(),
            });
        }
        trips
    }

    pub(crate) fn is_tripped(&self) -> bool {
        self.tripped.is_some()
    }

    /// Behind which offset the next message to be tried is looked for, where one may be tried now.
    pub(crate) fn may_try(&mut self, now: Instant) -> Option<i64> {
        let tripped = self.tripped.as_mut()?;
        if now >= tripped.next_round {
            tripped.is_open = true;
            tripped.round.clear();
        }
        let has_room = tripped.round.len() < PROBES && tripped.trying.len() < PROBES;
        (tripped.is_open && has_room).then_some(tripped.last)
    }

    /// Whether a message was tried in this round already.
    pub(crate) fn was_tried(&self, offset: i64) -> bool {
        let tripped = self.tripped.as_ref();
        tripped.is_some_and(|tripped| tripped.round.contains(&offset))
    }

    /// A message is being tried. The next round begins a while after the first of this one.
    pub(crate) fn trying(&mut self, offset: i64, now: Instant) {
        if let Some(tripped) = &mut self.tripped {
            if tripped.round.is_empty() {
                tripped.next_round = now + self.try_every;
            }
            tripped.round.insert(offset);
            tripped.last = offset;
            tripped.trying.insert(offset);
        }
    }

    /// A message that was tried has ended; answers whether all may resume: it was one, and it passed.
    pub(crate) fn tried(&mut self, offset: i64, end: End) -> bool {
        let Some(tripped) = &mut self.tripped else {
            return false;
        };
        let resumes = tripped.trying.remove(&offset) && end == End::Passed;
        if resumes {
            self.resume();
        }
        resumes
    }

    /// All resumes, and what was is forgotten.
    pub(crate) fn resume(&mut self) {
        *self = Self::new(self.try_every);
    }

    /// When the next round begins; `None` where one is open and waits for messages to try.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        let waits = |tripped: &&Tripped| tripped.is_open && tripped.round.is_empty();
        let tripped = self.tripped.as_ref().filter(|tripped| !waits(tripped))?;
        Some(tripped.next_round)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(number: u8) -> Option<PublicKey> {
        Some(PublicKey([number; 32]))
    }

    fn watching() -> Systemic {
        Systemic::new(Duration::from_secs(30))
    }

    fn tripped_by(ends: impl IntoIterator<Item = (End, u8)>) -> (Systemic, Instant, Option<usize>) {
        let now = Instant::now();
        let mut systemic = watching();
        let at = ends
            .into_iter()
            .position(|(end, number)| systemic.ended(end, key(number), now));
        (systemic, now, at)
    }

    #[test]
    fn nineteen_failures_say_nothing_yet_and_the_twentieth_trips() {
        let failures = (0..30).map(|index| (End::Failed, index % 3));
        assert_eq!(tripped_by(failures).2, Some(19));
    }

    #[test]
    fn the_failures_of_two_keys_trip_nothing_however_many_there_are() {
        let failures = (0..200).map(|index| (End::Failed, index % 2));
        assert_eq!(tripped_by(failures).2, None);
    }

    #[test]
    fn a_key_that_passes_does_not_count_among_those_that_fail() {
        let ends = (0..200).map(|index: u8| match index % 3 {
            0 => (End::Passed, 9),
            other => (End::Failed, other),
        });
        assert_eq!(tripped_by(ends).2, None);
    }

    #[test]
    fn half_is_not_more_than_half() {
        let ends = (0..200).map(|index: u8| match index % 2 {
            0 => (End::Passed, 9),
            _ => (End::Failed, index % 5),
        });
        assert_eq!(tripped_by(ends).2, None);
    }

    #[test]
    fn failures_of_long_ago_are_forgotten() {
        let long_ago = (0..9).map(|index| (End::Failed, index % 3));
        let since = (0..50).map(|_| (End::Passed, 1));
        let now = (0..25).map(|index| (End::Failed, index % 3));
        assert_eq!(tripped_by(long_ago.chain(since).chain(now)).2, None);
    }

    fn tripped() -> (Systemic, Instant) {
        let (systemic, now, at) = tripped_by((0..20).map(|index| (End::Failed, index % 3)));
        assert_eq!(at, Some(19));
        (systemic, now)
    }

    #[test]
    fn a_few_are_tried_every_thirty_seconds_each_round_behind_the_last() {
        let (mut systemic, now) = tripped();
        assert_eq!(systemic.may_try(now + Duration::from_secs(29)), None);
        let round = systemic.next_timer().unwrap();
        assert_eq!(round, now + Duration::from_secs(30));
        for offset in [4, 5, 8] {
            assert!(systemic.may_try(round).is_some());
            systemic.trying(offset, round);
        }
        assert_eq!(systemic.may_try(round), None);
        for offset in [4, 5, 8] {
            assert!(!systemic.tried(offset, End::Failed));
        }
        assert_eq!(systemic.may_try(round), None);
        assert!(systemic.was_tried(5) && !systemic.was_tried(6));
        assert_eq!(systemic.may_try(round + Duration::from_secs(30)), Some(8));
        assert!(!systemic.was_tried(5));
    }

    #[test]
    fn those_still_being_tried_count_against_the_next_round() {
        let (mut systemic, now) = tripped();
        let round = now + Duration::from_secs(30);
        for offset in [4, 5, 8] {
            systemic.may_try(round);
            systemic.trying(offset, round);
        }
        let next = round + Duration::from_secs(30);
        assert_eq!(systemic.may_try(next), None);
        systemic.tried(5, End::Failed);
        assert_eq!(systemic.may_try(next), Some(8));
    }

    #[test]
    fn while_it_is_tripped_no_failure_trips_it_again() {
        let (mut systemic, now) = tripped();
        assert!((0..60).all(|number| !systemic.ended(End::Failed, key(number), now)));
    }

    #[test]
    fn one_that_was_tried_and_passes_ends_it_and_no_other() {
        let (mut systemic, now) = tripped();
        let round = now + Duration::from_secs(30);
        systemic.may_try(round);
        systemic.trying(4, round);
        assert!(!systemic.tried(7, End::Passed), "it ran before");
        assert!(systemic.is_tripped());
        assert!(systemic.tried(4, End::Passed));
        assert!(!systemic.is_tripped());
        assert!(!systemic.ended(End::Failed, key(1), round), "begins anew");
    }

    proptest! {
        /// The model keeps every end since the last resume, and looks at the last fifty.
        #[test]
        fn it_trips_exactly_when_the_rule_says(
            ends in proptest::collection::vec((any::<bool>(), 0_u8..5), 1..300)
        ) {
            let now = Instant::now();
            let (mut systemic, mut all) = (watching(), Vec::new());
            for (fails, number) in ends {
                all.push((fails, number));
                let last = &all[all.len().saturating_sub(50)..];
                let failed: Vec<u8> = last.iter().filter(|(fails, _)| *fails).map(|(_, key)| *key).collect();
                let keys: BTreeSet<u8> = failed.iter().copied().collect();
                let expected = last.len() >= 20 && failed.len() > last.len() / 2 && keys.len() >= 3;
                let end = if fails { End::Failed } else { End::Passed };
                prop_assert_eq!(systemic.ended(end, key(number), now), expected);
                if expected {
                    systemic.resume();
                    all.clear();
                }
            }
        }
    }
}
