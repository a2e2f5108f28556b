//! How the delivery of a record ends.

use std::fmt;

use crate::error::{Class, TransportError};

/// A record is in the log, on all in-sync replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The partition it is in.
    pub partition: i32,
    /// Its offset; `None` where the broker said that it has the record but no longer knows where.
    pub offset: Option<i64>,
    /// The broker's clock at the append, in milliseconds since the Unix epoch, for topics that record it.
    pub log_append_time_ms: Option<i64>,
}

/// A record was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryError {
    pub(crate) written: Written,
    pub(crate) reason: GiveUp,
    pub(crate) resends: u32,
    pub(crate) error: TransportError,
}

/// Whether a record that was given up may be in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Written {
    /// It is certainly not: every attempt was refused or never left.
    No,
    /// It may be, now or a little later: an answer was lost, or said nothing certain. With a
    /// [`HoldPolicy`](super::HoldPolicy) also what must not be passed by such a one.
    Unknown,
}

/// Why trying ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GiveUp {
    /// The broker refused it for good.
    Refused,
    /// The schedule has no further resend.
    ResendsExhausted,
    /// The delivery timeout passed.
    DeadlinePassed,
    /// The producer was closed, or is closing and its deadline passed.
    Closed,
    /// The record does not fit its reservation, or cannot be encoded.
    Unfit,
    /// One before it in its partition was given up, and holds what is behind it
    /// ([`HoldPolicy`](super::HoldPolicy)).
    Behind,
}

impl DeliveryError {
    /// Whether the record may be in the log.
    pub fn written(&self) -> Written {
        self.written
    }

    /// Why trying ended.
    pub fn reason(&self) -> GiveUp {
        self.reason
    }

    /// How many times the batch was sent again at its own cost.
    pub fn resends(&self) -> u32 {
        self.resends
    }

    /// The last thing that went wrong.
    pub fn error(&self) -> &TransportError {
        &self.error
    }

    /// What a caller may do about it: [`Class::UnknownOutcome`] exactly if the record may be in the log.
    pub fn class(&self) -> Class {
        match (self.written, self.error.class()) {
            (Written::Unknown, _) => Class::UnknownOutcome,
            // The error's own doubt has been settled since.
            (Written::No, Class::UnknownOutcome) => Class::Retriable,
            (Written::No, class) => class,
        }
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = match self.written {
            Written::No => "not written",
            Written::Unknown => "may have been written",
        };
        let reason = match self.reason {
            GiveUp::Refused => "refused",
            GiveUp::ResendsExhausted => "no resend left",
            GiveUp::DeadlinePassed => "the delivery timeout passed",
            GiveUp::Closed => "the producer was closed",
            GiveUp::Unfit => "not fit to be sent",
            GiveUp::Behind => "behind one that was given up",
        };
        write!(
            f,
            "{written}, {reason} after {} resends: {}",
            self.resends, self.error
        )
    }
}

impl std::error::Error for DeliveryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
