//! Why something cannot be made into a message to send.

use thiserror::Error;

use crate::headers::ReservedHeader;
use crate::rejection::{DecodeFault, JsonFault, Violation};

/// What a caller asked to send, and cannot be sent as it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Invalid {
    /// A rule of the contract, or of what is emitted, is broken.
    #[error(transparent)]
    Contract(#[from] Violation),
    /// The payload carries another value than the message for what the builder puts there itself.
    #[error("{field} already carries another value for \"{key}\"")]
    OtherValue {
        /// The field of the message.
        field: &'static str,
        /// The member of the object in it.
        key: &'static str,
    },
    /// The policy's parameters lack what a backend in strict mode asks for, and the builder was not
    /// told it.
    #[error("params carry no metadata.{key}; tell the builder the trace and the event's time")]
    Untraced {
        /// The member that is missing.
        key: &'static str,
    },
    /// Bytes that are no draft of this kind.
    #[error("no draft of this kind: {0}")]
    NoDraft(#[from] DecodeFault),
    /// A header that callers may not set.
    #[error(transparent)]
    Header(#[from] ReservedHeader),
}

impl Invalid {
    pub(crate) const fn json(field: &'static str, fault: JsonFault) -> Self {
        Self::Contract(Violation::Json { field, fault })
    }
}
