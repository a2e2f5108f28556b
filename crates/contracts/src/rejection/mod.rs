//! Why a record is not believed, and what then becomes of it.
//!
//! [`Reason`] is a closed set that can be compared; each maps to one [`Disposition`], the name under
//! which the record is buried or counted.

mod disposition;
mod fault;

pub use self::disposition::Disposition;
pub use self::fault::{
    DecodeFault, EnvelopeFault, JsonFault, RedriveFault, Violation, WindowFault,
};

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::kind::Kind;
use crate::redrive::Terms;
use crate::sign::PublicKey;

/// Why a record was not believed, and by whom it claimed to be signed.
///
/// Until the signature has been verified the signer is only claimed, and the text says so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct Rejection {
    reason: Reason,
    claimed: Option<PublicKey>,
    redriven: Option<Box<Terms>>,
}

impl Rejection {
    /// A rejection of a record that carries `claimed` as its public key, where it carries one.
    #[must_use]
    pub const fn new(reason: Reason, claimed: Option<PublicKey>) -> Self {
        Self {
            reason,
            claimed,
            redriven: None,
        }
    }

    /// The same rejection, of a record that came by this redrive.
    #[must_use]
    pub fn with_redrive(mut self, terms: Option<Terms>) -> Self {
        self.redriven = terms.map(Box::new);
        self
    }

    /// What was wrong.
    #[must_use]
    pub const fn reason(&self) -> &Reason {
        &self.reason
    }

    /// What becomes of the record.
    #[must_use]
    pub const fn disposition(&self) -> Disposition {
        self.reason.disposition()
    }

    /// The public key inside the message, where it could be read and is 32 bytes long.
    #[must_use]
    pub const fn claimed(&self) -> Option<PublicKey> {
        self.claimed
    }

    /// The terms of the redrive by which the record came, where one was verified.
    #[must_use]
    pub fn redriven(&self) -> Option<&Terms> {
        self.redriven.as_deref()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)
    }
}

/// The first demand of the contract that a record failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// The value is longer than a receiver reads.
    #[error("value of {bytes} bytes; at most {limit} are accepted")]
    Oversize {
        /// Its length.
        bytes: usize,
        /// The most accepted.
        limit: usize,
    },
    /// No protobuf message of this kind.
    #[error("{0}")]
    Decode(DecodeFault),
    /// A rule of the contract is broken.
    #[error("{0}")]
    Contract(Violation),
    /// The claimed key is not in the trust store.
    #[error("claimed signer is not in the trust store")]
    UnknownKey,
    /// The claimed key may not sign this kind.
    #[error("claimed signer \"{id}\" may not sign {kind}")]
    KeyNotAuthorised {
        /// The trust store's name for the key.
        id: Arc<str>,
        /// What it tried to sign.
        kind: Kind,
    },
    /// The signed time lies outside the key's window, or the window closed too long ago.
    #[error("claimed signer \"{id}\": {fault}")]
    KeyExpired {
        /// The trust store's name for the key.
        id: Arc<str>,
        /// Which side of the window.
        fault: WindowFault,
    },
    /// The claimed key was withdrawn.
    #[error("claimed signer \"{id}\" is revoked")]
    KeyRevoked {
        /// The trust store's name for the key.
        id: Arc<str>,
    },
    /// The signature is not the claimed key's over this message.
    #[error("signature is not that of claimed signer \"{id}\"")]
    SignatureInvalid {
        /// The trust store's name for the key.
        id: Arc<str>,
    },
    /// The key's envelope rule is `required` and there is none.
    #[error("no cm-envelope header, which the trust store requires of signer \"{id}\"")]
    EnvelopeMissing {
        /// The trust store's name for the key.
        id: Arc<str>,
    },
    /// There is an envelope, and it does not hold.
    #[error("cm-envelope of signer \"{id}\": {fault}")]
    EnvelopeInvalid {
        /// The trust store's name for the key.
        id: Arc<str>,
        /// What is wrong with it.
        fault: EnvelopeFault,
    },
    /// A signed time lies later than the tolerance allows.
    #[error(
        "{field} is {ahead_ms} ms ahead of the receiver's clock; {tolerance_ms} ms are accepted"
    )]
    Future {
        /// `ts`, `timestamp` or `nonce`.
        field: &'static str,
        /// How far ahead, milliseconds.
        ahead_ms: u64,
        /// How far is accepted, milliseconds.
        tolerance_ms: u64,
    },
    /// A signed time is older than what a topic keeps.
    #[error("{field} is {age_ms} ms old; {max_age_ms} ms are accepted")]
    Stale {
        /// `ts`, `timestamp` or `nonce`.
        field: &'static str,
        /// Its age, milliseconds.
        age_ms: u64,
        /// The oldest accepted, milliseconds.
        max_age_ms: u64,
    },
    /// There is a redrive header, and it does not hold.
    #[error("cm-redrive: {0}")]
    RedriveInvalid(RedriveFault),
    /// The redrive is meant for another consumer group.
    #[error("redriven for another group")]
    OtherGroup,
}

impl Reason {
    /// The name under which such a record is buried or counted.
    #[must_use]
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Oversize { .. } => Disposition::Oversize,
            Self::Decode(_) => Disposition::Decode,
            Self::Contract(_) => Disposition::Contract,
            Self::UnknownKey => Disposition::UnknownKey,
            Self::KeyNotAuthorised { .. } => Disposition::KeyNotAuthorised,
            Self::KeyExpired { .. } => Disposition::KeyExpired,
            Self::KeyRevoked { .. } => Disposition::KeyRevoked,
            Self::SignatureInvalid { .. } => Disposition::SignatureInvalid,
            Self::EnvelopeMissing { .. } => Disposition::EnvelopeMissing,
            Self::EnvelopeInvalid { .. } => Disposition::EnvelopeInvalid,
            Self::Future { .. } => Disposition::Future,
            Self::Stale { .. } => Disposition::Stale,
            Self::RedriveInvalid(_) => Disposition::RedriveInvalid,
            Self::OtherGroup => Disposition::OtherGroup,
        }
    }
}
