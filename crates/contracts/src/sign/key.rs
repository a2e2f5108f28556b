//! Public keys, their ids, and signatures.

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePublicKey, EncodePublicKey};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The 32 bytes of an Ed25519 public key, as they stand on the wire.
///
/// Nothing is said about them yet: [`VerifyingKey`] is what a signature is checked with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Reads 64 hex digits, either case.
    ///
    /// # Errors
    /// [`PublicKeyError::NotHex`] for anything else.
    pub fn from_hex(text: &str) -> Result<Self, PublicKeyError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| PublicKeyError::NotHex)?;
        Ok(Self(bytes))
    }

    /// Reads an SPKI `PUBLIC KEY` PEM block (RFC 8410).
    ///
    /// # Errors
    /// [`PublicKeyError::NotSpkiPem`] for anything else, also for keys of other algorithms.
    pub fn from_spki_pem(pem: &str) -> Result<Self, PublicKeyError> {
        ed25519_dalek::pkcs8::PublicKeyBytes::from_public_key_pem(pem.trim())
            .map(|key| Self(key.0))
            .map_err(|_| PublicKeyError::NotSpkiPem)
    }

    /// Writes an SPKI `PUBLIC KEY` PEM block (RFC 8410).
    #[must_use]
    pub fn to_spki_pem(&self) -> String {
        ed25519_dalek::pkcs8::PublicKeyBytes(self.0)
            .to_public_key_pem(LineEnding::LF)
            .unwrap_or_default()
    }

    /// 64 lowercase hex digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The first 8 bytes of SHA-256 of the key.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        let digest: [u8; 32] = Sha256::digest(self.0).into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        KeyId([a, b, c, d, e, f, g, h])
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// Why something is no public key to work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PublicKeyError {
    /// Not 64 hex digits.
    #[error("not 64 hex digits")]
    NotHex,
    /// Not an Ed25519 SPKI PEM block.
    #[error("not an Ed25519 public key in PEM (SPKI, \"BEGIN PUBLIC KEY\")")]
    NotSpkiPem,
    /// The bytes are no point of the curve, or not in their canonical encoding.
    #[error("not the canonical encoding of a point on the curve")]
    NotCanonical,
    /// A point of small order: signatures under it prove nothing.
    #[error("a weak key (small order)")]
    Weak,
    /// A point outside the prime-order subgroup: implementations differ on its signatures.
    #[error("a key outside the prime-order group")]
    MixedOrder,
}

/// The first 8 bytes of SHA-256 of a public key: its short name in headers of ours.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 8]);

impl KeyId {
    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The 64 bytes of an Ed25519 signature, not yet verified.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);

impl Signature {
    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", hex::encode(self.0))
    }
}

/// A public key fit to verify with: canonical, of prime order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey {
    point: ed25519_dalek::VerifyingKey,
}

impl VerifyingKey {
    /// The key it is.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.point.to_bytes())
    }

    /// Whether `signature` is this key's over `message`, by the strict rules: small-order points
    /// and non-canonical encodings are refused.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.point.verify_strict(message, &signature).is_ok()
    }

    pub(super) const fn point(&self) -> &ed25519_dalek::VerifyingKey {
        &self.point
    }
}

impl TryFrom<PublicKey> for VerifyingKey {
    type Error = PublicKeyError;

    fn try_from(key: PublicKey) -> Result<Self, Self::Error> {
        let point = ed25519_dalek::VerifyingKey::from_bytes(&key.0)
            .map_err(|_| PublicKeyError::NotCanonical)?;
        let edwards = point.to_edwards();
        if edwards.compress().to_bytes() != key.0 {
            return Err(PublicKeyError::NotCanonical);
        }
        if edwards.is_small_order() {
            return Err(PublicKeyError::Weak);
        }
        if !edwards.is_torsion_free() {
            return Err(PublicKeyError::MixedOrder);
        }
        Ok(Self { point })
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.public_key())
    }
}
