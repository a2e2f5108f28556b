//! From a stored state, or none, to a judge: the ring comes back out of the log.

use super::claim::Claims;
use super::limits::RingLimits;
use super::partition_replay::PartitionReplay;
use super::ring::{Found, Ring};
use super::settled::Settled;
use super::snapshot::Snapshot;
use super::table::Table;

/// A partition whose ring is being read back, before the first dispatch.
///
/// Feed every record from [`from`](Self::from) up to the committed offset, in offset order; then
/// [`finish`](Self::finish).
#[derive(Clone, Debug)]
pub struct ReadBack {
    limits: RingLimits,
    from: i64,
    committed: i64,
    table: Table,
    is_restored: bool,
    ring: Ring,
    oldest_ms: Option<u64>,
    last_record_ms: Option<u64>,
    /// Of the first record after what was committed.
    next_ms: Option<u64>,
}

/// A message that was appended later than this after it was signed may be a copy of one that is gone.
const PROMPT_MS: u64 = 300_000;

/// What a partition starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The stored state, and the whole ring beside it: as if the process had never stopped.
    Restored,
    /// The stored state, but the log now starts after the ring's first offset: the floor was
    /// raised to what could be read. Worth a line in the log.
    RestoredInPart,
    /// No stored state: settled starts from what could be read back. Worth a line in the log.
    ReadBackAlone,
}

impl ReadBack {
    /// Starts from the state that was stored with the commit of `committed`.
    #[must_use]
    pub fn restored(limits: RingLimits, committed: i64, snapshot: Snapshot) -> Self {
        Self {
            is_restored: true,
            table: snapshot.table,
            ..Self::new(limits, snapshot.ring_first, committed)
        }
    }

    /// Starts without a state, or with one that was refused, at a `committed` offset that is not
    /// the log's start. (At the log's start there is [`PartitionReplay::at_start_of_log`].)
    #[must_use]
    pub fn without_state(limits: RingLimits, committed: i64) -> Self {
        let from = committed.saturating_sub(i64::from(limits.offsets())).max(0);
        Self::new(limits, from, committed)
    }

    fn new(limits: RingLimits, from: i64, committed: i64) -> Self {
        Self {
            limits,
            from,
            committed,
            table: Table::default(),
            is_restored: false,
            ring: Ring::default(),
            oldest_ms: None,
            last_record_ms: None,
            next_ms: None,
        }
    }

    /// The first offset to read; records end before the committed one, unless
    /// [what comes next is asked for](Self::asks_for_the_next).
    #[must_use]
    pub const fn from(&self) -> i64 {
        self.from
    }

    /// Whether the first records after the committed offset have to be fed too: of what was accepted before
    /// `log_start`, the first offset the log still has, nothing was read that tells how old it can be.
    #[must_use]
    pub const fn asks_for_the_next(&self, log_start: i64) -> bool {
        self.is_something_lost(log_start)
            && self.oldest_ms.is_none()
            && self.last_record_ms.is_none()
            && self.next_ms.is_none()
    }

    const fn is_something_lost(&self, log_start: i64) -> bool {
        // A ring that begins at the committed offset is empty: there was nothing in it to be lost.
        !self.is_restored || (log_start > self.from && self.from < self.committed)
    }

    /// Takes in one record. `claims` stand for an authentic message that was within bounds at its
    /// record's append time (or record time); every other record comes with none.
    ///
    /// `timestamp_ms` is the record's timestamp, Unix milliseconds.
    pub fn record(
        &mut self,
        offset: i64,
        bytes: usize,
        timestamp_ms: i64,
        claims: Option<&Claims>,
    ) {
        let record_ms = u64::try_from(timestamp_ms).ok();
        // A copy of what is settled does not tell how old the log is.
        let is_settled = claims.is_some_and(|claims| self.table.compare(&claims.judged).is_le());
        if offset >= self.committed {
            let came_at_ms = record_ms
                .filter(|_| !is_settled)
                .map(|record_ms| came_at_ms(record_ms, claims));
            self.next_ms = self.next_ms.or(came_at_ms);
            return;
        }
        if offset < self.from {
            return;
        }
        self.ring.note(offset, bytes);
        self.last_record_ms = Some(record_ms.unwrap_or(0));
        let Some(claims) = claims else { return };
        if self.ring.find(&claims.judged, offset) != Found::Nowhere {
            return;
        }
        // A redriven message is as old as it is: what tells the age of the log is its redrive.
        if !is_settled {
            let time_ms = claims.judged.time_ms();
            self.oldest_ms = Some(self.oldest_ms.map_or(time_ms, |oldest| oldest.min(time_ms)));
        }
        for claim in claims.all() {
            self.ring.insert(offset, claim);
        }
    }

    /// Everything up to the committed offset was fed. `log_start` is the first offset the log still
    /// has; `now_ms` bounds what record timestamps, which anybody may write, can do to the floor.
    ///
    /// Where something was lost and nothing could be read back, the floor is just below the time of the first
    /// record after it; where there is none, `now_ms`.
    #[must_use]
    pub fn finish(mut self, log_start: i64, now_ms: u64) -> (PartitionReplay, Origin) {
        let origin = match (self.is_restored, self.is_something_lost(log_start)) {
            (false, _) => Origin::ReadBackAlone,
            (true, true) => Origin::RestoredInPart,
            (true, false) => Origin::Restored,
        };
        if origin != Origin::Restored {
            let read_ms = self.oldest_ms.or(self.last_record_ms);
            let floor_ms = read_ms.or(self.next_ms.map(|next_ms| next_ms.saturating_sub(1)));
            self.table
                .raise_floor_over_all(floor_ms.unwrap_or(now_ms).min(now_ms));
            for claim in self.ring.all() {
                self.table.settle_read_back(claim);
            }
        }
        let first = self
            .from
            .max(self.ring.first_seen_from(self.committed, self.limits));
        for claim in self.ring.take_below(first) {
            self.table.settle(&claim);
        }
        let settled = Settled::closed(self.table);
        let replay =
            PartitionReplay::assembled(self.limits, self.ring, settled, first, self.committed);
        (replay, origin)
    }
}

/// When a record came, as far as it tells how old can be what was accepted before it: when its message was signed, or
/// its own time where the message came late.
fn came_at_ms(record_ms: u64, claims: Option<&Claims>) -> u64 {
    let signed_ms = claims.map(|claims| claims.judged.time_ms());
    let prompt = signed_ms.filter(|signed_ms| signed_ms.saturating_add(PROMPT_MS) >= record_ms);
    prompt.unwrap_or(record_ms)
}
