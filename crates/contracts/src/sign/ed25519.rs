//! A private key held in memory.

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use ed25519_dalek::{Signer as _, SigningKey};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use super::{PublicKey, SignError, Signature, Signer};

/// An Ed25519 key pair in memory, wiped when it is dropped; its `Debug` shows the public half alone.
#[derive(Clone)]
pub struct Ed25519Signer {
    key: SigningKey,
}

impl Ed25519Signer {
    /// Reads a PKCS#8 `PRIVATE KEY` PEM block (RFC 8410), with or without the public key in it.
    ///
    /// # Errors
    /// [`PrivateKeyError`] for anything else; it says nothing of the content.
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, PrivateKeyError> {
        let mut pair =
            KeypairBytes::from_pkcs8_pem(pem.trim()).map_err(|_| PrivateKeyError::NotPkcs8Pem)?;
        let key = SigningKey::from_bytes(&pair.secret_key);
        // `KeypairBytes` wipes itself only under a feature that `ed25519-dalek` leaves off.
        pair.secret_key.zeroize();
        match pair.public_key {
            Some(stated) if stated.0 != key.verifying_key().to_bytes() => {
                Err(PrivateKeyError::PublicKeyDiffers)
            }
            _ => Ok(Self { key }),
        }
    }

    /// Makes the key pair of a 32-byte seed, which must come from a good source of randomness.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self {
            key: SigningKey::from_bytes(seed),
        }
    }

    /// Writes a PKCS#8 `PRIVATE KEY` PEM block, version 1 (without the public key: what OpenSSL
    /// and Python's `cryptography` read); the text wipes itself when dropped.
    ///
    /// # Errors
    /// [`PrivateKeyError::NotEncoded`] when DER encoding fails, which no key is known to do.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, PrivateKeyError> {
        let mut pair = KeypairBytes {
            secret_key: self.key.to_bytes(),
            public_key: None,
        };
        let pem = pair.to_pkcs8_pem(LineEnding::LF);
        pair.secret_key.zeroize();
        pem.map_err(|_| PrivateKeyError::NotEncoded)
    }
}

impl Signer for Ed25519Signer {
    fn public_key(&self) -> PublicKey {
        PublicKey(self.key.verifying_key().to_bytes())
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        self.key
            .try_sign(message)
            .map(|signature| Signature(signature.to_bytes()))
            .map_err(SignError::new)
    }
}

impl fmt::Debug for Ed25519Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ed25519Signer")
            .field("public_key", &self.public_key())
            .finish_non_exhaustive()
    }
}

/// Why something is no private key to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PrivateKeyError {
    /// Not an Ed25519 PKCS#8 PEM block.
    #[error("not an Ed25519 private key in PEM (PKCS#8, \"BEGIN PRIVATE KEY\")")]
    NotPkcs8Pem,
    /// The block carries a public key that is not the private key's.
    #[error("the public key inside the PKCS#8 block is not the private key's")]
    PublicKeyDiffers,
    /// It could not be written as PEM.
    #[error("the key could not be encoded as PEM")]
    NotEncoded,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::{PublicKeyError, VerifyingKey};

    const SEED: [u8; 32] = [7; 32];

    #[test]
    fn a_key_survives_its_pem() {
        let signer = Ed25519Signer::from_seed(&SEED);
        let pem = signer.to_pkcs8_pem().unwrap();
        let again = Ed25519Signer::from_pkcs8_pem(&pem).unwrap();
        assert_eq!(again.public_key(), signer.public_key());
        let public = signer.public_key();
        assert_eq!(PublicKey::from_spki_pem(&public.to_spki_pem()), Ok(public));
        assert_eq!(
            PublicKey::from_hex(&public.to_hex().to_uppercase()),
            Ok(public)
        );
    }

    #[test]
    fn pem_with_a_foreign_public_key_inside_is_refused() {
        let mut other = [8; 32];
        other = SigningKey::from_bytes(&other).verifying_key().to_bytes();
        let pem = KeypairBytes {
            secret_key: SEED,
            public_key: Some(ed25519_dalek::pkcs8::PublicKeyBytes(other)),
        }
        .to_pkcs8_pem(LineEnding::LF)
        .unwrap();
        assert_eq!(
            Ed25519Signer::from_pkcs8_pem(&pem).err(),
            Some(PrivateKeyError::PublicKeyDiffers)
        );
    }

    #[test]
    fn debug_never_shows_the_seed() {
        let text = format!("{:?}", Ed25519Signer::from_seed(&SEED));
        assert!(!text.contains(&hex::encode(SEED)) && !text.contains("7, 7"));
        assert!(text.contains("ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"));
    }

    #[test]
    fn weak_keys_verify_nothing() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(
            VerifyingKey::try_from(PublicKey(identity)),
            Err(PublicKeyError::Weak)
        );
        // y = p + 1 encodes the identity a second way.
        let mut overlong = [0xff; 32];
        overlong[0] = 0xee;
        overlong[31] = 0x7f;
        assert_eq!(
            VerifyingKey::try_from(PublicKey(overlong)),
            Err(PublicKeyError::NotCanonical)
        );
    }

    #[test]
    fn keys_with_a_torsion_part_are_refused() {
        // A + T for a point T of order 2 is -A's y negated: y' = -y, found by p - y.
        let key = Ed25519Signer::from_seed(&SEED).public_key().0;
        let mut negated = negate_field_element(key);
        for sign in [0u8, 0x80] {
            negated[31] = (negated[31] & 0x7f) | sign;
            assert_eq!(
                VerifyingKey::try_from(PublicKey(negated)),
                Err(PublicKeyError::MixedOrder)
            );
        }
    }

    /// p - y of the 255-bit little-endian y, sign bit ignored.
    fn negate_field_element(mut bytes: [u8; 32]) -> [u8; 32] {
        bytes[31] &= 0x7f;
        let mut p = [0xff_u8; 32];
        p[0] = 0xed;
        p[31] = 0x7f;
        let mut borrow = 0_i16;
        let mut out = [0; 32];
        for (index, slot) in out.iter_mut().enumerate() {
            let difference = i16::from(p[index]) - i16::from(bytes[index]) - borrow;
            borrow = i16::from(difference < 0);
            *slot = u8::try_from(difference.rem_euclid(256)).unwrap();
        }
        out
    }
}
