//! Keys and signatures: pure Ed25519 (RFC 8032, no prehash, no context).
//!
//! [`PublicKey`] and [`KeyId`] are names of keys as they stand on the wire; [`VerifyingKey`] is a
//! public key found fit to verify with; [`Signer`] is whatever holds a private key, of which
//! [`Ed25519Signer`] is the one in memory. [`batch`] verifies several signatures at once.

pub mod batch;
mod ed25519;
mod key;

pub use self::ed25519::{Ed25519Signer, PrivateKeyError};
pub use self::key::{KeyId, PublicKey, PublicKeyError, Signature, VerifyingKey};

use std::error::Error as StdError;
use std::fmt;

use thiserror::Error;

/// The only value of a message's `alg` field that is accepted.
pub const ALGORITHM: &str = "Ed25519";

/// Something that holds a private key: a file's content, a token, an enclave.
pub trait Signer: Send + Sync + fmt::Debug {
    /// The public key that its signatures verify under.
    fn public_key(&self) -> PublicKey;

    /// Signs `message` with pure Ed25519.
    ///
    /// # Errors
    /// When the key cannot be used now; what it says must not contain key material.
    fn sign(&self, message: &[u8]) -> Result<Signature, SignError>;
}

impl<S: Signer + ?Sized> Signer for std::sync::Arc<S> {
    fn public_key(&self) -> PublicKey {
        (**self).public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        (**self).sign(message)
    }
}

/// The holder of the private key would not, or could not, sign.
#[derive(Debug, Error)]
#[error("the signing key could not be used: {source}")]
pub struct SignError {
    source: Box<dyn StdError + Send + Sync>,
}

impl SignError {
    /// Wraps what the holder of the key reported; it must not contain key material.
    pub fn new(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
        }
    }
}
