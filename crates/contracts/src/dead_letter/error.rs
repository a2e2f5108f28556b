//! Why a dead letter is not written, or not believed.

use std::sync::Arc;

use thiserror::Error;

use crate::rejection::WindowFault;
use crate::sign::SignError;

/// Why a dead letter was not written.
#[derive(Debug, Error)]
pub enum DeadLetterError {
    /// Not even a reference fits.
    #[error("a dead letter of {bytes} bytes in its shortest form; at most {limit} are accepted")]
    TooLarge {
        /// What key, headers and value of a reference take.
        bytes: usize,
        /// The most accepted.
        limit: usize,
    },
    /// A part is longer than its length field in the signed bytes tells.
    #[error("a part of the dead letter is longer than can be signed")]
    Unsignable,
    /// The signer did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Why a record of the dead-letter topic is no dead letter, or not a trusted one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeadLetterFault {
    /// A header that a dead letter has is absent.
    #[error("no header {name}")]
    Absent {
        /// Its name.
        name: &'static str,
    },
    /// A signed header stands twice.
    #[error("header {name} stands twice")]
    Repeated {
        /// Its name.
        name: &'static str,
    },
    /// A header says something it cannot.
    #[error("header {name} is not {accepted}")]
    Header {
        /// Its name.
        name: &'static str,
        /// What it may be.
        accepted: &'static str,
    },
    /// The record's key is not the one its headers tell.
    #[error("the record's key is not that of its origin")]
    Key,
    /// The value is not what its form has.
    #[error("the value is no dead letter in form {form}")]
    Body {
        /// The form that it should have.
        form: super::Form,
    },
    /// The value says something else than the headers.
    #[error("\"{field}\" in the value differs from the headers")]
    Differs {
        /// The JSON member.
        field: &'static str,
    },
    /// There is no signature.
    #[error("the dead letter is not signed")]
    NotSigned,
    /// The signature header is not of the known version and length.
    #[error("cm-dead-letter is not the 73 bytes of version 1")]
    SignatureMalformed,
    /// The key it names is not in the trust store.
    #[error("the dead letter's claimed signer is not in the trust store")]
    UnknownKey,
    /// The key it names was withdrawn.
    #[error("the dead letter's claimed signer \"{id}\" is revoked")]
    KeyRevoked {
        /// The trust store's name for the key.
        id: Arc<str>,
    },
    /// The burial lies outside the key's window.
    #[error("the dead letter's claimed signer \"{id}\": {fault}")]
    KeyExpired {
        /// The trust store's name for the key.
        id: Arc<str>,
        /// Which side of the window.
        fault: WindowFault,
    },
    /// The key it names may not sign dead letters.
    #[error("the dead letter's claimed signer \"{id}\" may not sign dead_letter")]
    KeyNotAuthorised {
        /// The trust store's name for the key.
        id: Arc<str>,
    },
    /// The signature is not the key's over this letter in any accepted audience.
    #[error("the signature does not hold for this dead letter")]
    SignatureInvalid,
}
