//! What can go wrong between here and a broker, and what a caller may do about it.
//!
//! A [`TransportError`] says what was being done ([`Operation`]), with whom and what ([`Target`]) and what
//! went wrong ([`ErrorKind`]); [`TransportError::class`] boils it down to one of four answers. Broker error
//! codes are in [`ErrorCode`], failures of TLS in [`TlsFailure`], those of SASL in [`SaslFailure`].

mod code;
mod kind;
mod sasl;
mod target;
mod tls;

pub use code::ErrorCode;
pub use kind::{DialPhase, ErrorKind};
pub use sasl::SaslFailure;
pub use target::{Operation, Target};
pub use tls::TlsFailure;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The result of an operation of this crate.
pub type Result<T, E = TransportError> = std::result::Result<T, E>;

/// What a caller may do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nothing has happened yet; the same again may succeed.
    Retriable,
    /// The same again will fail again.
    Fatal,
    /// Someone has taken our place (a later producer epoch, member or generation); start anew, do not go on.
    Fenced,
    /// What was asked for may or may not have happened.
    UnknownOutcome,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Retriable => "retriable",
            Self::Fatal => "fatal",
            Self::Fenced => "fenced",
            Self::UnknownOutcome => "unknown outcome",
        })
    }
}

/// Anything that went wrong in the transport. Cheap to clone; two are equal if operation, target and kind are.
#[derive(Clone)]
pub struct TransportError(Arc<Inner>);

struct Inner {
    operation: Operation,
    target: Target,
    kind: ErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl TransportError {
    /// An error without a cause below it.
    pub fn new(operation: Operation, target: Target, kind: ErrorKind) -> Self {
        Self(Arc::new(Inner {
            operation,
            target,
            kind,
            source: None,
        }))
    }

    /// The broker's answer to `operation` was `code`.
    pub fn code(operation: Operation, target: Target, code: ErrorCode) -> Self {
        Self::new(
            operation,
            target,
            ErrorKind::Code {
                code,
                message: None,
            },
        )
    }

    /// The same error with the cause below it, which [`Error::source`] hands out.
    pub(crate) fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::new(Inner {
            operation: self.0.operation,
            target: self.0.target.clone(),
            kind: self.0.kind.clone(),
            source: Some(Arc::from(source.into())),
        }))
    }

    /// The same error as seen by another operation, such as a produce request that failed for want of a connection.
    pub(crate) fn during(&self, operation: Operation) -> Self {
        Self(Arc::new(Inner {
            operation,
            target: self.0.target.clone(),
            kind: self.0.kind.clone(),
            source: self.0.source.clone(),
        }))
    }

    /// The same error with what `more` knows of the target added where it was not known.
    pub(crate) fn about(&self, more: Target) -> Self {
        Self(Arc::new(Inner {
            operation: self.0.operation,
            target: self.0.target.clone().or(more),
            kind: self.0.kind.clone(),
            source: self.0.source.clone(),
        }))
    }

    /// What was being done.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// With whom and what.
    pub fn target(&self) -> &Target {
        &self.0.target
    }

    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The broker's error code, if a broker answered with one.
    pub fn error_code(&self) -> Option<ErrorCode> {
        match self.kind() {
            ErrorKind::Code { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// What a caller may do about it. An unknown outcome is told as such only for operations that change
    /// something at the broker; what only reads can be asked again.
    pub fn class(&self) -> Class {
        match self.0.kind.class() {
            Class::UnknownOutcome if self.0.operation.only_reads() => Class::Retriable,
            class => class,
        }
    }

    /// Whether this says that the broker could not be reached or did not answer, as opposed to any answer of
    /// it: what a circuit breaker counts as failure of the cluster.
    pub fn is_unreachable(&self) -> bool {
        self.0.kind.is_unreachable()
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.operation)?;
        if !self.0.target.is_empty() {
            write!(f, " ({})", self.0.target)?;
        }
        write!(f, ": {}", self.0.kind)
    }
}

impl fmt::Debug for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportError")
            .field("operation", &self.0.operation)
            .field("target", &self.0.target)
            .field("kind", &self.0.kind)
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

impl PartialEq for TransportError {
    fn eq(&self, other: &Self) -> bool {
        self.0.operation == other.0.operation
            && self.0.target == other.0.target
            && self.0.kind == other.0.kind
    }
}

impl Eq for TransportError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_answer_is_an_unknown_outcome_for_what_writes_and_retriable_for_what_reads() {
        let lost = |operation| {
            TransportError::new(
                operation,
                Target::default(),
                ErrorKind::TimedOut {
                    after: std::time::Duration::from_secs(30),
                    sent: true,
                },
            )
            .class()
        };
        assert_eq!(lost(Operation::Produce), Class::UnknownOutcome);
        assert_eq!(lost(Operation::Metadata), Class::Retriable);
    }

    #[test]
    fn a_request_that_never_left_is_retriable_even_when_it_writes() {
        let error = TransportError::new(
            Operation::Produce,
            Target::default(),
            ErrorKind::ConnectionLost {
                reason: "reset".into(),
                sent: false,
            },
        );
        assert_eq!(error.class(), Class::Retriable);
    }

    #[test]
    fn an_error_names_operation_broker_partition_and_cause_in_one_sentence() {
        let target = Target::broker("kafka-1:9092").partition("ai.policy.v1", 3);
        let error =
            TransportError::code(Operation::Produce, target, ErrorCode::NotLeaderOrFollower);
        assert_eq!(
            error.to_string(),
            "produce (ai.policy.v1 partition 3, broker kafka-1:9092): NOT_LEADER_OR_FOLLOWER (6): \
             the broker no longer leads this partition"
        );
    }
}
