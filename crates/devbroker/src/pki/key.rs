//! A P-256 key that certificates can be signed with.

use std::fmt;

use p256::SecretKey;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::elliptic_curve::rand_core::OsRng;
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use sha2::{Digest as _, Sha256};

use super::PkiError;

pub(super) struct KeyPair {
    secret: SecretKey,
    signing: SigningKey,
    /// Uncompressed SEC 1 point, as a certificate carries it.
    public: Vec<u8>,
}

impl KeyPair {
    pub(super) fn generate() -> Self {
        let secret = SecretKey::random(&mut OsRng);
        let public = secret
            .public_key()
            .to_encoded_point(false)
            .as_bytes()
            .to_vec();
        let signing = SigningKey::from(&secret);
        Self {
            secret,
            signing,
            public,
        }
    }

    /// Key identifier by RFC 7093 method 1: SHA-256 of the public key, cut to 160 bits.
    pub(super) fn identifier(&self) -> Vec<u8> {
        Sha256::digest(&self.public)
            .iter()
            .take(20)
            .copied()
            .collect()
    }

    pub(super) fn pkcs8_pem(&self) -> Result<String, PkiError> {
        Ok(self.secret.to_pkcs8_pem(LineEnding::LF)?.to_string())
    }

    pub(super) fn pkcs8_der(&self) -> Result<Vec<u8>, PkiError> {
        Ok(self.secret.to_pkcs8_der()?.as_bytes().to_vec())
    }
}

impl PublicKeyData for KeyPair {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for KeyPair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: DerSignature = self
            .signing
            .try_sign(message)
            .map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.as_bytes().to_vec())
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").finish_non_exhaustive()
    }
}
