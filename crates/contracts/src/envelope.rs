//! The envelope: a signature over where a record stands, and over all of its value.
//!
//! A node kind's own signature leaves some fields out, and nothing in a message binds it to a topic,
//! partition or cluster. The Kafka header `cm-envelope` does:
//!
//! | bytes | what |
//! |---|---|
//! | 0 | version, `0x01` |
//! | 1..9 | key id: first 8 bytes of SHA-256 of the message's public key |
//! | 9..13 | partition, i32 big-endian |
//! | 13..77 | Ed25519 signature by the same key as the message |
//!
//! The signature covers `"cybermesh.envelope.v1" ‖ 0x00 ‖ u16 BE len ‖ audience ‖ u16 BE len ‖ topic ‖
//! partition i32 BE ‖ u32 BE len (0xFFFFFFFF for a null key) ‖ key ‖ SHA-256(value)`.

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::rejection::EnvelopeFault;
use crate::sign::{KeyId, SignError, Signature, Signer, VerifyingKey};

/// The header's length, bytes.
pub const LENGTH: usize = 77;

const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"cybermesh.envelope.v1\0";
const NULL_KEY: u32 = u32::MAX;

/// What an envelope binds a message to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The environment's name; may be empty.
    pub audience: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The record's value.
    pub value: &'a [u8],
}

/// Why an envelope could not be made.
#[derive(Debug, Error)]
pub enum EnvelopeError {
    /// A part is longer than its length field can say.
    #[error("{part} of {bytes} bytes; at most {max} can be signed")]
    TooLong {
        /// `audience`, `topic` or `key`.
        part: &'static str,
        /// Its length.
        bytes: usize,
        /// The most that fits.
        max: usize,
    },
    /// The key could not be used.
    #[error(transparent)]
    Key(#[from] SignError),
}

/// An envelope as read from a header; whether it holds is for [`Envelope::verify`] to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    key_id: KeyId,
    partition: i32,
    signature: Signature,
}

impl Envelope {
    /// Signs for this scope, with the key that signed the message.
    ///
    /// # Errors
    /// [`EnvelopeError`]: a part too long, a key that could not be used.
    pub fn sign(signer: &dyn Signer, scope: &Scope<'_>) -> Result<Self, EnvelopeError> {
        let input = signing_input(scope, &Sha256::digest(scope.value).into())?;
        Ok(Self {
            key_id: signer.public_key().key_id(),
            partition: scope.partition,
            signature: signer.sign(&input)?,
        })
    }

    /// Reads a header's value.
    ///
    /// # Errors
    /// [`EnvelopeFault::Malformed`] for anything but 77 bytes of version 1.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeFault> {
        let bytes: &[u8; LENGTH] = bytes.try_into().map_err(|_| EnvelopeFault::Malformed)?;
        let [VERSION, rest @ ..] = bytes else {
            return Err(EnvelopeFault::Malformed);
        };
        let (key_id, rest) = rest.split_first_chunk().ok_or(EnvelopeFault::Malformed)?;
        let (partition, rest) = rest.split_first_chunk().ok_or(EnvelopeFault::Malformed)?;
        let signature = rest.try_into().map_err(|_| EnvelopeFault::Malformed)?;
        Ok(Self {
            key_id: KeyId(*key_id),
            partition: i32::from_be_bytes(*partition),
            signature: Signature(signature),
        })
    }

    /// The header's value.
    #[must_use]
    pub fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.key_id.0);
        bytes[9..13].copy_from_slice(&self.partition.to_be_bytes());
        bytes[13..].copy_from_slice(&self.signature.0);
        bytes
    }

    /// The id of the key it claims to be made with.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The partition it was made for.
    #[must_use]
    pub const fn partition(&self) -> i32 {
        self.partition
    }

    /// Whether it holds for a record with this key and value, under any of the accepted audiences and
    /// topics. `read_from` is the record's partition; where it is not known the envelope's own counts.
    ///
    /// # Errors
    /// [`EnvelopeFault`], for the first of: another key than the message's, another partition, a
    /// signature that does not hold.
    pub fn verify<'a>(
        &self,
        message_key: &VerifyingKey,
        read_from: Option<i32>,
        accepted: impl IntoIterator<Item = (&'a str, &'a str)>,
        key: Option<&[u8]>,
        value: &[u8],
    ) -> Result<(), EnvelopeFault> {
        self.check_place(message_key, read_from)?;
        let mut inputs = self.signing_inputs(accepted.into_iter(), key, value);
        if inputs.any(|input| message_key.verifies(&input, &self.signature)) {
            Ok(())
        } else {
            Err(EnvelopeFault::Signature)
        }
    }

    /// That it is of the message's key, and made for the partition it was read from.
    pub(crate) fn check_place(
        &self,
        message_key: &VerifyingKey,
        read_from: Option<i32>,
    ) -> Result<(), EnvelopeFault> {
        if self.key_id != message_key.public_key().key_id() {
            return Err(EnvelopeFault::OtherKey);
        }
        match read_from {
            Some(read_from) if read_from != self.partition => Err(EnvelopeFault::OtherPartition {
                made_for: self.partition,
                read_from,
            }),
            _ => Ok(()),
        }
    }

    /// What its signature may cover: an input for each accepted pair of audience and topic.
    pub(crate) fn signing_inputs<'a>(
        &self,
        accepted: impl Iterator<Item = (&'a str, &'a str)>,
        key: Option<&[u8]>,
        value: &[u8],
    ) -> impl Iterator<Item = Vec<u8>> {
        let value_hash = Sha256::digest(value).into();
        accepted.filter_map(move |(audience, topic)| {
            let scope = Scope {
                audience,
                topic,
                partition: self.partition,
                key,
                value,
            };
            signing_input(&scope, &value_hash).ok()
        })
    }

    pub(crate) const fn signature(&self) -> &Signature {
        &self.signature
    }
}

/// The bytes that the signature covers.
fn signing_input(scope: &Scope<'_>, value_hash: &[u8; 32]) -> Result<Vec<u8>, EnvelopeError> {
    let mut input = DOMAIN.to_vec();
    for (part, text) in [("audience", scope.audience), ("topic", scope.topic)] {
        let length = u16::try_from(text.len()).map_err(|_| EnvelopeError::TooLong {
            part,
            bytes: text.len(),
            max: usize::from(u16::MAX),
        })?;
        input.extend_from_slice(&length.to_be_bytes());
        input.extend_from_slice(text.as_bytes());
    }
    input.extend_from_slice(&scope.partition.to_be_bytes());
    match scope.key {
        None => input.extend_from_slice(&NULL_KEY.to_be_bytes()),
        Some(key) => {
            let length = u32::try_from(key.len())
                .ok()
                .filter(|length| *length != NULL_KEY);
            let length = length.ok_or(EnvelopeError::TooLong {
                part: "key",
                bytes: key.len(),
                max: 0xffff_fffe,
            })?;
            input.extend_from_slice(&length.to_be_bytes());
            input.extend_from_slice(key);
        }
    }
    input.extend_from_slice(value_hash);
    Ok(input)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sign::Ed25519Signer;

    fn signer() -> Ed25519Signer {
        Ed25519Signer::from_seed(&[1; 32])
    }

    fn key() -> VerifyingKey {
        VerifyingKey::try_from(signer().public_key()).unwrap()
    }

    const SCOPE: Scope<'_> = Scope {
        audience: "prod",
        topic: "ai.policy.v1",
        partition: 3,
        key: Some(b"id"),
        value: b"value",
    };

    fn check(envelope: &Envelope, scope: &Scope<'_>) -> Result<(), EnvelopeFault> {
        let accepted = [("staging", scope.topic), (scope.audience, scope.topic)];
        envelope.verify(
            &key(),
            Some(scope.partition),
            accepted,
            scope.key,
            scope.value,
        )
    }

    #[test]
    fn an_envelope_survives_its_bytes_and_holds_for_its_scope_alone() {
        let envelope = Envelope::sign(&signer(), &SCOPE).unwrap();
        let envelope = Envelope::parse(&envelope.encode()).unwrap();
        assert_eq!(check(&envelope, &SCOPE), Ok(()));
        for other in [
            Scope {
                audience: "",
                ..SCOPE
            },
            Scope {
                topic: "ai.policy.v2",
                ..SCOPE
            },
            Scope { key: None, ..SCOPE },
            Scope {
                key: Some(b""),
                ..SCOPE
            },
            Scope {
                value: b"valuf",
                ..SCOPE
            },
        ] {
            assert_eq!(check(&envelope, &other), Err(EnvelopeFault::Signature));
        }
        let elsewhere = Scope {
            partition: 4,
            ..SCOPE
        };
        let fault = EnvelopeFault::OtherPartition {
            made_for: 3,
            read_from: 4,
        };
        assert_eq!(check(&envelope, &elsewhere), Err(fault));
    }

    #[test]
    fn an_envelope_of_another_key_is_told_apart() {
        let other = Ed25519Signer::from_seed(&[2; 32]);
        let envelope = Envelope::sign(&other, &SCOPE).unwrap();
        assert_eq!(check(&envelope, &SCOPE), Err(EnvelopeFault::OtherKey));
    }

    #[test]
    fn an_unknown_partition_is_the_envelopes_own() {
        let envelope = Envelope::sign(&signer(), &SCOPE).unwrap();
        let accepted = [(SCOPE.audience, SCOPE.topic)];
        let judged = envelope.verify(&key(), None, accepted, SCOPE.key, SCOPE.value);
        assert_eq!(judged, Ok(()));
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let bytes = Envelope::sign(&signer(), &SCOPE).unwrap().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let judged = Envelope::parse(&flipped).and_then(|envelope| check(&envelope, &SCOPE));
            assert!(judged.is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(envelope) = Envelope::parse(&bytes) {
                prop_assert_eq!(envelope.encode().to_vec(), bytes);
            }
        }
    }
}
