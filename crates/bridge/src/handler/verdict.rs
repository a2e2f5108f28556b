//! What a handler answers.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// The longest wait a [`Verdict::Retry`] can ask for; more is cut to this. A lane that waits
/// holds back the watermark of its whole partition.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// How a handler ended that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Handled; the message never comes back once its offset is committed.
    Done,
    /// Nothing to do for this message; counted as skipped. The reason goes to the log.
    Skip(Cow<'static, str>),
    /// Not now. The lane waits `after` (`None`: the usual backoff, at most [`MAX_RETRY_AFTER`])
    /// and the message is tried again; it costs an attempt.
    Retry {
        /// How long to wait before the next attempt.
        after: Option<Duration>,
    },
    /// Never: the message goes to the dead-letter topic as `handler-rejected`. The reason is
    /// written there for people to read, so it must hold neither secrets nor payload.
    Reject(Cow<'static, str>),
}

impl Verdict {
    /// A [`Verdict::Skip`] with its reason.
    pub fn skip(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Skip(reason.into())
    }

    /// A [`Verdict::Retry`] after the usual backoff.
    #[must_use]
    pub fn retry() -> Self {
        Self::Retry { after: None }
    }

    /// A [`Verdict::Retry`] after a wait of one's own.
    #[must_use]
    pub fn retry_after(after: Duration) -> Self {
        Self::Retry { after: Some(after) }
    }

    /// A [`Verdict::Reject`] with its reason.
    pub fn reject(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Reject(reason.into())
    }
}

/// Whether a failed handler is worth another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It may pass next time: a downstream is away, a lock is taken.
    Retriable,
    /// It will fail every time: the message asks for what cannot be.
    Permanent,
}

/// Why a handler failed.
///
/// The reason is written to the log and, when the message is given up, to the dead-letter topic:
/// it must hold neither secrets nor payload. The source is kept for whoever holds the error and is
/// written nowhere.
#[derive(Debug)]
pub struct HandlerError {
    severity: Severity,
    reason: Cow<'static, str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl HandlerError {
    /// A failure that may pass next time.
    pub fn retriable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            severity: Severity::Retriable,
            reason: reason.into(),
            source: None,
        }
    }

    /// A failure that no retry mends; the message goes to the dead-letter topic as
    /// `handler-rejected`.
    pub fn permanent(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            severity: Severity::Permanent,
            reason: reason.into(),
            source: None,
        }
    }

    /// Keeps what lies behind the failure.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether another attempt is worth it.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    pub(crate) fn into_reason(self) -> Cow<'static, str> {
        self.reason
    }

    /// The reason in the handler's words.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Error for HandlerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
