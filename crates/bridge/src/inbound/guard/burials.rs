//! Burials of messages that no handler saw: one by one up to a rate, summed up beyond it.
//!
//! Whoever may write to a topic can make us write dead letters, so those are bounded: a token
//! bucket for each partition, and while it is empty one `reference` a second that stands for all of
//! that second. A message that is summed up is done when its summary is acknowledged, not before.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use cybermesh_contracts::dead_letter::Flood;
use cybermesh_contracts::rejection::Disposition;
use tokio::time::Instant;

use crate::inbound::burial::Burial;
use crate::inbound::origin::Origin;

/// How long one summary collects.
const SUMMARY_SPAN: Duration = Duration::from_secs(1);

/// How many messages of a partition are buried one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BurialRate {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

impl Default for BurialRate {
    fn default() -> Self {
        Self {
            per_second: 100,
            burst: 1000,
        }
    }
}

/// Many messages of one partition, buried as one.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) flood: Flood,
    /// In ascending order.
    pub(crate) offsets: Vec<i64>,
}

impl Summary {
    /// The last offset it stands for.
    pub(crate) fn last_offset(&self) -> i64 {
        self.offsets.last().copied().unwrap_or_default()
    }
}

impl PartialEq for Summary {
    fn eq(&self, other: &Self) -> bool {
        self.offsets == other.offsets
    }
}

impl Eq for Summary {}

/// Decides, for one partition, what is buried alone and what is summed up.
#[derive(Debug)]
pub(crate) struct BurialGate {
    rate: BurialRate,
    /// In billionths of a message, so that no time is lost to rounding.
    tokens: u128,
    refilled: Instant,
    open: Option<Open>,
}

/// A summary that still collects.
#[derive(Debug)]
struct Open {
    until: Instant,
    summary: Summary,
    first: Arc<Origin>,
    dispositions: BTreeMap<Disposition, u64>,
    first_failed_ms: i64,
}

const TOKEN: u128 = 1_000_000_000;

impl BurialGate {
    /// Begins with a full burst.
    pub(crate) fn new(rate: BurialRate, now: Instant) -> Self {
        Self {
            tokens: u128::from(rate.burst) * TOKEN,
            rate,
            refilled: now,
            open: None,
        }
    }

    /// Gives a burial back that is to be written alone; takes it into the summary otherwise. They
    /// come in offset order.
    pub(crate) fn admit(&mut self, burial: Burial, now: Instant) -> Option<Burial> {
        self.refill(now);
        if let Some(left) = self.tokens.checked_sub(TOKEN) {
            self.tokens = left;
            return Some(burial);
        }
        self.collect(&burial, now);
        None
    }

    /// The summary whose second is over, as a burial of its own.
    pub(crate) fn due(&mut self, now: Instant, wall_ms: i64) -> Option<Burial> {
        let open = self.open.take_if(|open| open.until <= now)?;
        let reason = in_words(&open.dispositions);
        let disposition = open
            .dispositions
            .iter()
            .max_by_key(|(_, count)| **count)
            .map_or(Disposition::Decode, |(disposition, _)| *disposition);
        Some(Burial {
            summary: Some(open.summary),
            first_failed_ms: open.first_failed_ms,
            ..Burial::rejected(open.first, disposition, reason.into(), None, wall_ms)
        })
    }

    /// When the open summary is due.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.until)
    }

    /// Forgets what was collected, for whoever reads the partition next.
    pub(crate) fn forget(&mut self) {
        self.open = None;
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled);
        self.refilled = self.refilled.max(now);
        let gained = elapsed
            .as_nanos()
            .saturating_mul(u128::from(self.rate.per_second));
        self.tokens = self
            .tokens
            .saturating_add(gained)
            .min(u128::from(self.rate.burst) * TOKEN);
    }

    fn collect(&mut self, burial: &Burial, now: Instant) {
        let origin = &burial.origin;
        let open = match &mut self.open {
            Some(open) => {
                origin.view(|record| open.summary.flood.add(record));
                open
            }
            none => none.insert(Open {
                until: now + SUMMARY_SPAN,
                summary: Summary {
                    flood: origin.view(Flood::starting_with),
                    offsets: Vec::new(),
                },
                first: Arc::new(origin.without_content()),
                dispositions: BTreeMap::new(),
                first_failed_ms: burial.first_failed_ms,
            }),
        };
        open.summary.offsets.push(origin.offset);
        *open.dispositions.entry(burial.disposition).or_default() += 1;
    }
}

const TOO_MANY: &str = "too many to bury one by one:";

/// What a summary stands for, out of the reason that it gives; nothing where that is not in our words.
pub(crate) fn from_words(reason: &str) -> Option<Vec<Disposition>> {
    let mut words = reason.strip_prefix(TOO_MANY)?.split_whitespace();
    let mut dispositions = Vec::new();
    while let Some(name) = words.next() {
        words.next()?.parse::<u64>().ok()?;
        dispositions.push(Disposition::from_name(name)?);
    }
    (!dispositions.is_empty()).then_some(dispositions)
}

/// What a summary stands for, the most frequent first.
fn in_words(dispositions: &BTreeMap<Disposition, u64>) -> String {
    let mut counts: Vec<_> = dispositions.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let mut words = String::from(TOO_MANY);
    for (disposition, count) in counts {
        // Writing to a string does not fail.
        let _ = write!(words, " {disposition} {count}");
    }
    words
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn burial(offset: i64, disposition: Disposition) -> Burial {
        let origin = Origin {
            topic: "ai.anomalies.v1".into(),
            partition: 0,
            offset,
            timestamp_ms: 0,
            append_time_ms: None,
            key: None,
            value: Some(Bytes::from_static(b"garbage")),
            headers: Vec::new(),
            unreadable: None,
        };
        Burial::rejected(Arc::new(origin), disposition, "no".into(), None, 7)
    }

    fn garbage(offset: i64) -> Burial {
        burial(offset, Disposition::Decode)
    }

    #[test]
    fn up_to_the_burst_everything_is_buried_alone_and_then_at_the_rate() {
        let now = Instant::now();
        let mut gate = BurialGate::new(BurialRate::default(), now);
        let alone = (0..5000)
            .filter(|offset| gate.admit(garbage(*offset), now).is_some())
            .count();
        assert_eq!(alone, 1000);
        let later = now + Duration::from_millis(500);
        let alone = (5000..10_000)
            .filter(|offset| gate.admit(garbage(*offset), later).is_some())
            .count();
        assert_eq!(alone, 50);
    }

    #[test]
    fn a_summary_names_its_range_its_count_and_what_it_stands_for() {
        let now = Instant::now();
        let rate = BurialRate {
            per_second: 1,
            burst: 1,
        };
        let mut gate = BurialGate::new(rate, now);
        assert!(gate.admit(garbage(3), now).is_some());
        assert!(gate.admit(garbage(5), now).is_none());
        assert!(
            gate.admit(burial(6, Disposition::UnknownKey), now)
                .is_none()
        );
        assert!(
            gate.admit(burial(9, Disposition::UnknownKey), now)
                .is_none()
        );
        assert_eq!(gate.due(now, 8), None, "its second is not over");
        let at = gate.next_timer().unwrap();
        assert_eq!(at, now + Duration::from_secs(1));
        let summed = gate.due(at, 8).unwrap();
        assert_eq!(summed.summary.as_ref().unwrap().offsets, [5, 6, 9]);
        assert_eq!(summed.summary.as_ref().unwrap().flood.count(), 3);
        assert_eq!(summed.disposition, Disposition::UnknownKey);
        assert_eq!(
            summed.reason,
            "too many to bury one by one: unknown-key 2 decode 1"
        );
        assert_eq!((summed.first_failed_ms, summed.last_failed_ms), (7, 8));
        assert_eq!(summed.origin.value, None, "nothing of it is kept");
        assert_eq!(gate.due(at, 8), None, "given once");
    }

    #[test]
    fn what_a_summary_stands_for_is_read_out_of_its_reason() {
        let all = Disposition::ALL.into_iter().zip(1..).collect();
        let read: BTreeSet<_> = from_words(&in_words(&all)).unwrap().into_iter().collect();
        assert_eq!(read, Disposition::ALL.into());
        for reason in [
            "",
            "too many to bury one by one:",
            "too many to bury one by one: replay",
            "too many to bury one by one: replay many",
            "too many to bury one by one: reply 3",
            "claimed signer is not in the trust store",
        ] {
            assert_eq!(from_words(reason), None, "{reason}");
        }
    }

    #[test]
    fn a_rate_of_nothing_sums_everything_up() {
        let now = Instant::now();
        let rate = BurialRate {
            per_second: 0,
            burst: 0,
        };
        let mut gate = BurialGate::new(rate, now);
        assert!(gate.admit(garbage(0), now).is_none());
        assert!(
            gate.admit(garbage(1), now + Duration::from_secs(9))
                .is_none()
        );
    }

    proptest! {
        /// The model counts what was buried alone in every stretch of time: never more than the
        /// burst and what the rate gives. And each message is either given back or in one summary.
        #[test]
        fn nothing_is_lost_and_no_stretch_of_time_has_more_than_its_share(
            steps in proptest::collection::vec((0_u64..700, 1_usize..20), 1..120),
            per_second in 0_u32..30,
            burst in 1_u32..30,
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut gate = BurialGate::new(BurialRate { per_second, burst }, start);
            let (mut alone, mut summed) = (Vec::<(Duration, i64)>::new(), Vec::<i64>::new());
            let mut summaries = Vec::new();
            let mut offset = 0;
            for (wait_ms, messages) in steps {
                now += Duration::from_millis(wait_ms);
                if let Some(summary) = gate.due(now, 0) {
                    summaries.push(now);
                    summed.extend(summary.summary.unwrap().offsets);
                }
                for _ in 0..messages {
                    if gate.admit(garbage(offset), now).is_some() {
                        alone.push((now - start, offset));
                    }
                    offset += 1;
                }
            }
            if let Some(at) = gate.next_timer() {
                summed.extend(gate.due(at, 0).unwrap().summary.unwrap().offsets);
            }
            for (index, (from, _)) in alone.iter().enumerate() {
                for (until, count) in alone[index..].iter().map(|(at, _)| at).zip(1_u32..) {
                    let share = f64::from(burst) + (*until - *from).as_secs_f64() * f64::from(per_second);
                    prop_assert!(f64::from(count) <= share + 1e-6, "{count} in {:?}", *until - *from);
                }
            }
            prop_assert!(summaries.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(1)));
            let mut all: Vec<i64> = alone.iter().map(|(_, offset)| *offset).chain(summed).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..offset).collect::<Vec<_>>());
        }
    }
}
