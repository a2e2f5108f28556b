//! Records on their way together, before and after they have a sequence.

use tokio::time::Instant;

use crate::{
    error::TransportError,
    record::{EncodedBatch, Record},
};

/// A record and what its owner is told through.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) record: Record,
    pub(super) token: T,
}

/// Records that share a fate. Once sent they share a sequence too.
#[derive(Debug)]
pub(super) struct Batch<T> {
    pub(super) entries: Vec<Entry<T>>,
    pub(super) size: usize,
    pub(super) opened: Instant,
    pub(super) deadline: Instant,
    /// No further record may join.
    pub(super) closed: bool,
    /// Not to be sent before this.
    pub(super) not_before: Option<Instant>,
    /// Failures that count against the schedule.
    pub(super) failures: u32,
    /// An attempt was made whose outcome is not known.
    pub(super) ambiguous: bool,
    /// It is in the log: a later sequence of the same epoch is.
    pub(super) in_log: bool,
    /// Something behind it is in doubt, and must not get into the log before it.
    pub(super) before_doubt: bool,
    pub(super) last_error: Option<TransportError>,
}

impl<T> Batch<T> {
    pub(super) fn new(opened: Instant, deadline: Instant) -> Self {
        Self {
            entries: Vec::new(),
            size: 0,
            opened,
            deadline,
            closed: false,
            not_before: None,
            failures: 0,
            ambiguous: false,
            in_log: false,
            before_doubt: false,
            last_error: None,
        }
    }

    pub(super) fn push(&mut self, record: Record, token: T) {
        self.size += record.size_bound();
        self.entries.push(Entry { record, token });
    }

    /// The same fate so far, for a part of the records.
    pub(super) fn with_entries(&self, entries: Vec<Entry<T>>) -> Self {
        Self {
            size: entries.iter().map(|entry| entry.record.size_bound()).sum(),
            entries,
            opened: self.opened,
            deadline: self.deadline,
            closed: true,
            not_before: self.not_before,
            failures: self.failures,
            ambiguous: self.ambiguous,
            in_log: self.in_log,
            before_doubt: self.before_doubt,
            last_error: self.last_error.clone(),
        }
    }
}

/// A batch that has a sequence.
#[derive(Debug)]
pub(super) struct Sent<T> {
    pub(super) batch: Batch<T>,
    pub(super) encoded: EncodedBatch,
    /// -1 without a producer id.
    pub(super) base_sequence: i32,
    pub(super) status: Status,
    /// It was sent more than once under this sequence.
    pub(super) resent: bool,
}

impl<T> Sent<T> {
    /// Whether it may be in the log, or may be found to.
    pub(super) fn is_open(&self) -> bool {
        let may_be = self.batch.ambiguous || matches!(self.status, Status::Outstanding(_));
        may_be && !self.batch.in_log
    }

    /// Whether it carries a producer id and a sequence.
    pub(super) fn is_identified(&self) -> bool {
        self.base_sequence >= 0
    }
}

/// How far a sent batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// An attempt is on its way.
    Outstanding(super::AttemptId),
    /// It failed and is sent again at this time, if it is the oldest then.
    Waiting(Instant),
    /// It failed while an older one was unresolved, most likely because of that; sent again once it is the oldest.
    Behind,
    /// Not in the log under this epoch, as far as the broker knows; to be sent under the next.
    Refused,
}
