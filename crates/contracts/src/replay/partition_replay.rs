//! One partition's judge.

use super::claim::Claims;
use super::handled::{Handled, mark};
use super::limits::RingLimits;
use super::ring::{Found, Ring};
use super::settled::Settled;
use super::snapshot::Snapshot;

/// What order says of an authentic message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Judgement {
    /// New: hand it on.
    Accepted,
    /// Accepted before at this very offset and fetched once more: hand it on again.
    Redelivered,
    /// An exact copy of a message in the ring: skip and count it.
    Duplicate,
    /// Old, or a nonce used for something else: bury it.
    Replay,
}

impl Judgement {
    /// Whether the message goes on to its handler.
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(self, Self::Accepted | Self::Redelivered)
    }
}

/// The ring and the settled values of one partition, while this process owns it.
///
/// Memory: an entry for each accepted message between the ring's first offset and the judged
/// position, and one for each signer the partition ever heard (at most 8 instances a key). The
/// ring's first offset follows [`committed`](Self::committed): a reader that commits nothing reports
/// its own position there, or the ring never lets go.
#[derive(Clone, Debug)]
pub struct PartitionReplay {
    limits: RingLimits,
    ring: Ring,
    settled: Settled,
    /// Everything accepted below this offset is settled; nothing of it is in the ring.
    first: i64,
    /// The offset after the highest one judged.
    judged: i64,
    committed: i64,
}

impl PartitionReplay {
    /// A partition read from its first offset on: nothing was accepted before `start`.
    #[must_use]
    pub fn at_start_of_log(limits: RingLimits, start: i64) -> Self {
        Self::assembled(limits, Ring::default(), Settled::default(), start, start)
    }

    pub(super) fn assembled(
        limits: RingLimits,
        ring: Ring,
        settled: Settled,
        first: i64,
        committed: i64,
    ) -> Self {
        Self {
            limits,
            ring,
            settled,
            first,
            judged: committed,
            committed,
        }
    }

    /// Judges the authentic message at `offset`, whose key, value and headers have `bytes` bytes.
    ///
    /// Messages are judged in offset order, after verification has put them back in order.
    pub fn judge(&mut self, offset: i64, bytes: usize, claims: &Claims) -> Judgement {
        self.pass_over(offset, bytes);
        let judgement = match self.ring.find(&claims.judged, offset) {
            Found::Here => Judgement::Redelivered,
            Found::Elsewhere => Judgement::Duplicate,
            Found::OtherContent => Judgement::Replay,
            Found::Nowhere if self.settled.binds(&claims.judged) => Judgement::Replay,
            Found::Nowhere => Judgement::Accepted,
        };
        if judgement == Judgement::Accepted {
            for claim in claims.all() {
                self.ring.insert(offset, claim);
            }
        }
        judgement
    }

    /// Takes note of a record with nothing to judge: rejected before, or another group's redrive.
    pub fn pass_over(&mut self, offset: i64, bytes: usize) {
        self.ring.note(offset, bytes);
        self.judged = self.judged.max(offset.saturating_add(1));
    }

    /// The state as it has to be stored with a commit of `watermark`, the first offset not yet done.
    ///
    /// It covers exactly the accepted messages below the ring's first offset as seen from there; what
    /// lies between is read back from the log by whoever owns the partition next.
    #[must_use]
    pub fn checkpoint(&self, watermark: i64) -> Snapshot {
        let first = self.first_at(watermark);
        let mut table = self.settled.table().clone();
        for claim in self.ring.below(first) {
            table.settle(claim);
        }
        Snapshot {
            ring_first: first,
            table,
        }
    }

    /// What was accepted at or above `watermark` and the last commit, and is done, as `is_done` says of
    /// an offset.
    #[must_use]
    pub fn handled_from(&self, watermark: i64, is_done: impl Fn(i64) -> bool) -> Handled {
        let accepted = self.ring.from(watermark.max(self.committed));
        let done = accepted.filter(|(offset, _)| is_done(*offset));
        Handled::of(done.map(|(offset, claim)| (offset, mark(claim))))
    }

    /// The partition is read again from `committed` on, or from elsewhere: what was accepted beyond the last commit and is
    /// not `handled` is judged anew, wherever it stands now. Nothing is, where more was handled than is remembered.
    pub fn read_again(&mut self, committed: i64, handled: &Handled) {
        if handled.len() < Handled::MOST {
            let first = committed.max(self.committed);
            self.ring
                .drop_from(first, |offset, claim| handled.has(offset, claim));
        }
    }

    /// The commit of `watermark` was acknowledged: what is a ring behind both it and the judged
    /// position leaves the ring and is settled.
    pub fn committed(&mut self, watermark: i64) {
        self.committed = self.committed.max(watermark);
        self.first = self.first_at(self.committed.min(self.judged));
        self.settle_below(self.first);
    }

    /// Stops listing signers whose settled value is older than `max_age_ms` at `now_ms`: `stale`
    /// covers their messages. The floor rises to the highest of them, so that a clock that jumped
    /// ahead and back has not let go of anything.
    pub fn forget_stale(&mut self, now_ms: u64, max_age_ms: u64) {
        self.settled
            .fold_older_than(now_ms.saturating_sub(max_age_ms));
    }

    /// The topic was deleted and made again (its id changed): everything accepted is settled, and
    /// offsets count from 0. The caller raises the alarm.
    pub fn topic_recreated(&mut self) {
        self.settle_below(i64::MAX);
        self.first = 0;
        self.judged = 0;
        self.committed = 0;
    }

    /// The offset after the highest one judged.
    #[must_use]
    pub const fn judged_position(&self) -> i64 {
        self.judged
    }

    /// Everything accepted below this offset is settled.
    #[must_use]
    pub const fn ring_first(&self) -> i64 {
        self.first
    }

    /// How many accepted messages the ring holds.
    #[must_use]
    pub fn ring_len(&self) -> usize {
        self.ring.len()
    }

    fn first_at(&self, position: i64) -> i64 {
        self.first
            .max(self.ring.first_seen_from(position, self.limits))
    }

    fn settle_below(&mut self, first: i64) {
        for claim in self.ring.take_below(first) {
            self.settled.settle(&claim);
        }
    }
}
