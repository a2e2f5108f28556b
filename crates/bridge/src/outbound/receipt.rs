//! How a send ends: a receipt, or an error that says whether the message may be in the log.

use std::{sync::Arc, time::Duration};

use cybermesh_contracts::{headers::ReservedHeader, kind::Kind};
use cybermesh_transport::DeliveryError;

use super::outbox::NotKept;

/// A message is where it is safe.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Receipt {
    /// The in-sync replicas of its partition have it.
    Logged {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The offset; `None` where the broker has the record but no longer knows where, after a
        /// resend.
        offset: Option<i64>,
    },
    /// It could not be written now, and is on disk; it goes when the cluster is back, also from the next process.
    Spooled {
        /// Its place in the outbox's order. Grows, and is never given out twice while the state folder lasts.
        sequence: u64,
    },
}

impl Receipt {
    /// Whether Kafka has it.
    #[must_use]
    pub fn is_logged(&self) -> bool {
        matches!(self, Self::Logged { .. })
    }
}

/// A message was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// It may be in the log, now or a little later. Sending it again may write it twice.
    #[error("it may have been written: {0}")]
    Unknown(Unknown),
    /// It is not in the log and will not get there.
    #[error("not sent: {0}")]
    NotSent(NotSent),
    /// No attempt can ever succeed.
    #[error("invalid: {0}")]
    Invalid(Invalid),
    /// The record is longer than the contract, or the broker, allows.
    #[error("too large: {0}")]
    TooLarge(TooLarge),
    /// The kind's rate limit leaves no room within the deadline.
    #[error("rate limit: room in {retry_after:?}")]
    RateLimited {
        /// When there will be room.
        retry_after: Duration,
    },
    /// The cluster does not answer, and is not asked at the moment.
    #[error("circuit breaker open: the cluster did not answer; asked again in {retry_after:?}")]
    BreakerOpen {
        /// When it will be asked again.
        retry_after: Duration,
    },
    /// The publisher takes nothing any more.
    #[error("the publisher is closed")]
    Closed,
}

/// Whose limit a message is beyond.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TooLarge {
    /// The contract's.
    #[error("{bytes} bytes of key, headers and value; at most {limit} are accepted")]
    Contract {
        /// What they take together.
        bytes: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// This process's buffer before the brokers, which has to hold it whole.
    #[error("it takes {bytes} bytes on its way, and the buffer has {limit} (KAFKA_BUFFER_BYTES)")]
    Buffer {
        /// What it takes there at most.
        bytes: usize,
        /// What the buffer holds.
        limit: usize,
    },
    /// The broker's or the topic's (`max.message.bytes`), which its answer does not name.
    #[error("{bytes} bytes of value are beyond the topic's max.message.bytes: {error}")]
    Broker {
        /// The value's length.
        bytes: usize,
        /// The broker's answer.
        error: DeliveryError,
    },
}

/// Why nobody knows whether a message was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unknown {
    /// It was on its way when the transport gave it up.
    #[error("{0}")]
    GivenUp(DeliveryError),
    /// The runtime ended while it was on its way.
    #[error("the runtime ended while it was on its way")]
    RuntimeEnded,
    /// The caller's deadline passed while it was on its way; it may still arrive.
    #[error("the deadline of {0:?} passed while it was on its way")]
    DeadlinePassed(Duration),
}

/// Why a message was certainly not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    /// The transport gave it up.
    #[error("{0}")]
    GivenUp(DeliveryError),
    /// The topic's partitions could not be learnt.
    #[error("{0}")]
    Topic(cybermesh_transport::TransportError),
    /// The deadline passed before it was handed to the transport.
    #[error("the deadline of {after:?} passed while waiting for {what}")]
    DeadlinePassed {
        /// The deadline.
        after: Duration,
        /// What it waited for.
        what: &'static str,
    },
    /// The clock stands before the date of the commit that this was built from.
    #[error(
        "the clock says {unix_ms} ms since 1970, which is before this program was written; nothing is signed"
    )]
    Clock {
        /// What it says.
        unix_ms: u64,
    },
    /// No nonce could be had.
    #[error("{0}")]
    Nonce(String),
    /// The signing key could not be used.
    #[error("{0}")]
    Signing(String),
    /// It could not be sent, for the first reason, and not be kept in the outbox, for the second.
    #[error("{why}; and not kept in the outbox: {refusal}")]
    NotKept {
        /// Why it was not sent.
        why: String,
        /// Why it was not kept.
        refusal: NotKept,
    },
    /// There is no signing key.
    #[error("no signing key: give CYBERMESH_SIGNING_KEY")]
    NoKey,
}

/// Why a message can never be sent as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// A header is not the caller's to set.
    #[error("{0}")]
    Header(#[from] ReservedHeader),
    /// The trace context is not W3C's.
    #[error("traceparent is not of the form 00-<32 hex>-<16 hex>-<2 hex>")]
    Traceparent,
    /// This process does not send such messages in its role.
    #[error("{0} is not a kind that this process sends")]
    Kind(Kind),
    /// The broker refuses this very record.
    #[error("{0}")]
    Refused(DeliveryError),
}

impl SendError {
    /// The label `error.type` in metrics, and the `result` of the command line.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown",
            Self::NotSent(_) => "not_sent",
            Self::Invalid(_) => "invalid",
            Self::TooLarge(_) => "too_large",
            Self::RateLimited { .. } => "rate_limited",
            Self::BreakerOpen { .. } => "breaker_open",
            Self::Closed => "closed",
        }
    }

    /// Whether the message may be in the log all the same.
    #[must_use]
    pub fn may_be_written(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}
