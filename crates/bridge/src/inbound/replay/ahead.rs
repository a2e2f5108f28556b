//! What is read back and lies ahead of our clock, though not of its own record's time.
//!
//! One signer's clock was ahead when it wrote both: its messages were refused, or will be, and count for nothing. Where two
//! signers wrote such messages within a minute, the clock that is wrong is ours: whoever committed past them would
//! have judged nothing just then, had they been in the future for it too. So they were accepted, and read back by our clock the
//! ring would lose them.

use std::collections::HashMap;

use cybermesh_contracts::replay::{Claims, ReadBack};
use cybermesh_contracts::sign::KeyId;

use super::log::{ReadTo, Seen};

/// Record times of two signers this close together, in milliseconds. As in [`ClockGuard`](crate::inbound::guard).
const WITHIN_MS: i64 = 60_000;

/// Takes in what is read back, by our clock and, from the first message on that lies ahead of it, by the records' times
/// too.
pub(super) struct ByTwoClocks<'a> {
    by_ours: &'a mut ReadBack,
    by_theirs: Option<ReadBack>,
    ahead: Ahead,
}

impl<'a> ByTwoClocks<'a> {
    pub(super) fn new(ring: &'a mut ReadBack) -> Self {
        Self {
            by_ours: ring,
            by_theirs: None,
            ahead: Ahead::default(),
        }
    }

    /// What was read by our clock.
    pub(super) fn ring(&self) -> &ReadBack {
        self.by_ours
    }

    pub(super) fn take(&mut self, seen: &Seen) {
        let record = |ring: &mut ReadBack, claims: Option<&Claims>| {
            ring.record(seen.offset, seen.bytes, seen.timestamp_ms, claims);
        };
        let claims = seen.claims.as_ref();
        if let Some(claims) = claims.filter(|_| seen.is_ahead) {
            let by_theirs = self.by_theirs.get_or_insert_with(|| self.by_ours.clone());
            record(by_theirs, Some(claims));
            record(self.by_ours, None);
            let judged = claims.judged();
            let signed_ms = i64::try_from(judged.time_ms()).unwrap_or(i64::MAX);
            self.ahead
                .saw(judged.signer().key(), seen.appended_ms, signed_ms);
            return;
        }
        if let Some(by_theirs) = &mut self.by_theirs {
            record(by_theirs, claims);
        }
        record(self.by_ours, claims);
    }

    /// The ring becomes the one that holds. `now_ms` is what our clock says.
    pub(super) fn finish(self, log_start: i64, now_ms: i64) -> ReadTo {
        let Some((by_theirs, proved_ms)) = self.by_theirs.zip(self.ahead.proved_ms) else {
            return ReadTo { log_start, now_ms };
        };
        tracing::warn!(
            behind_by_ms = proved_ms.saturating_sub(now_ms),
            "our clock is behind: what several signers wrote within a minute lies ahead of it; what is read back \
            is judged by its own time"
        );
        *self.by_ours = by_theirs;
        ReadTo {
            log_start,
            now_ms: now_ms.max(proved_ms),
        }
    }
}

/// Who was ahead of our clock, and when.
#[derive(Debug, Default)]
struct Ahead {
    /// The last record time of each, and when its message was signed.
    last: HashMap<KeyId, (i64, i64)>,
    /// What it must have been by any clock but ours.
    proved_ms: Option<i64>,
}

impl Ahead {
    /// All in Unix milliseconds.
    fn saw(&mut self, signer: KeyId, appended_ms: i64, signed_ms: i64) {
        let others = self.last.iter().filter(|(key, (at, _))| {
            **key != signer && at.abs_diff(appended_ms) <= WITHIN_MS.unsigned_abs()
        });
        // One of two may be ahead of the true time: the earlier is what both vouch for.
        let proved = others.map(|(_, (_, signed))| signed_ms.min(*signed)).max();
        self.proved_ms = self.proved_ms.max(proved);
        self.last.insert(signer, (appended_ms, signed_ms));
    }
}

#[cfg(test)]
mod tests {
    use cybermesh_contracts::replay::{Claim, Judgement, RingLimits};

    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;
    const HOUR_MS: i64 = 3_600_000;

    fn key(number: u8) -> KeyId {
        KeyId([number; 8])
    }

    #[test]
    fn one_signer_proves_nothing_however_often() {
        let mut ahead = Ahead::default();
        (0..100).for_each(|at| ahead.saw(key(1), at, at));
        assert_eq!(ahead.proved_ms, None);
    }

    #[test]
    fn two_within_a_minute_prove_the_earlier_of_their_times() {
        let mut ahead = Ahead::default();
        ahead.saw(key(1), 0, 700);
        ahead.saw(key(2), 60_000, 500);
        assert_eq!(ahead.proved_ms, Some(500));
        ahead.saw(key(1), 1_000, 900);
        assert_eq!(ahead.proved_ms, Some(500));
        ahead.saw(key(3), 2_000, 800);
        assert_eq!(ahead.proved_ms, Some(800), "the latest that is proved");
    }

    #[test]
    fn two_more_than_a_minute_apart_prove_nothing() {
        let mut ahead = Ahead::default();
        ahead.saw(key(1), 60_001, 1);
        ahead.saw(key(2), 0, 2);
        ahead.saw(key(3), i64::MIN, 2);
        ahead.saw(key(4), i64::MAX, 2);
        assert_eq!(ahead.proved_ms, None);
    }

    /// A message that a signer wrote so long after `NOW_MS`.
    fn seen(offset: i64, signer: u8, after_ms: i64) -> Seen {
        let mut nonce = [signer; 16];
        let time_ms = u64::try_from(NOW_MS + after_ms).unwrap();
        nonce[..8].copy_from_slice(&time_ms.to_be_bytes());
        let digest = [u8::try_from(offset).unwrap(); 32];
        Seen {
            offset,
            bytes: 300,
            timestamp_ms: NOW_MS + after_ms,
            appended_ms: NOW_MS + after_ms,
            claims: Some(Claims::of(Claim::with_nonce(key(signer), &nonce, digest))),
            is_ahead: after_ms > 300_000,
        }
    }

    /// What becomes of copies of these, appended after them, for a process that read them back; and what it takes for now.
    fn copies_pass(read: &[Seen]) -> (Vec<bool>, i64) {
        let committed = i64::try_from(read.len()).unwrap();
        let mut ring = ReadBack::without_state(RingLimits::default(), committed);
        let mut past = ByTwoClocks::new(&mut ring);
        read.iter().for_each(|seen| past.take(seen));
        let ReadTo { log_start, now_ms } = past.finish(0, NOW_MS);
        let (mut replay, _) = ring.finish(log_start, u64::try_from(now_ms).unwrap());
        let passes = (committed..).zip(read).map(|(offset, seen)| {
            let claims = seen.claims.as_ref().unwrap();
            replay.judge(offset, seen.bytes, claims) == Judgement::Accepted
        });
        (passes.collect(), now_ms)
    }

    #[test]
    fn what_two_signers_wrote_an_hour_ahead_of_our_clock_is_in_the_ring() {
        let read = [
            seen(0, 1, 0),
            seen(1, 1, HOUR_MS),
            seen(2, 2, HOUR_MS + 60_000),
            seen(3, 1, HOUR_MS + 300_000),
        ];
        assert_eq!(copies_pass(&read), (vec![false; 4], NOW_MS + HOUR_MS));
    }

    #[test]
    fn what_one_signer_wrote_an_hour_ahead_is_not() {
        let read = [
            seen(0, 1, HOUR_MS),
            seen(1, 2, 0),
            seen(2, 1, HOUR_MS + 1_000),
        ];
        assert_eq!(copies_pass(&read), (vec![true, false, true], NOW_MS));
    }
}
