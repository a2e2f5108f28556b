//! What a flow wants done outside, and what it is told from there.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use cybermesh_contracts::rejection::{Disposition, Rejection};
use tokio::time::Instant;

use super::burial::Burial;
use super::origin::Origin;

/// A message that may be handled.
#[derive(Debug)]
pub(crate) struct Job<M> {
    pub(crate) origin: Arc<Origin>,
    pub(crate) message: M,
}

/// What a worker found out about a record.
pub(crate) type Judged<M> = Result<M, Rejection>;

/// What is to be done outside.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Write this to the dead-letter topic.
    Bury(Arc<Burial>),
    /// Buried in a summary that is written later: counted now.
    Summed { disposition: Disposition },
    /// Skipped by rule: counted, not buried.
    Skipped {
        origin: Arc<Origin>,
        disposition: Disposition,
    },
    /// Handled before its partition was opened.
    HandledBefore { offset: i64 },
    /// The handler is through with it.
    Handled { offset: i64 },
    /// The handler did not want it.
    Declined {
        offset: i64,
        reason: Cow<'static, str>,
    },
    /// It will be tried again.
    Retried {
        offset: i64,
        after: Duration,
        reason: Cow<'static, str>,
    },
    /// It failed while its partition pauses because all fail: it keeps its place, and its attempts.
    PutBack {
        offset: i64,
        reason: Cow<'static, str>,
    },
    /// Its attempts are used up and the partition pauses.
    Held {
        offset: i64,
        reason: Cow<'static, str>,
    },
}

/// What the world outside says when a handler ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    /// Unix milliseconds.
    pub(crate) wall_ms: i64,
    /// Drawn evenly from `0.0..1.0`.
    pub(crate) jitter: f64,
}
