//! The permission to judge an old message again: the header `cm-redrive`.
//!
//! A redrive puts the original bytes, untouched, back into the partition they came from. They are
//! old, so order alone would call them a replay; the header is an operator's signature that says
//! they are meant, once, for one consumer group, and not for long.
//!
//! | field | bytes |
//! |---|---|
//! | version | `0x01` |
//! | key id of the redriver | 8 |
//! | nonce (`ts_ms u64 BE ‖ instance u32 BE ‖ counter u32 BE`) | 16 |
//! | expires, Unix ms | i64 BE |
//! | count: how often it was redriven, this time included | u8 |
//! | origin partition | i32 BE |
//! | origin offset | i64 BE |
//! | first 8 bytes of SHA-256 of the group's name | 8 |
//! | signature | 64 |
//!
//! The signature is over `"cybermesh.redrive.v1" ‖ 0x00 ‖ u16 BE len ‖ audience ‖ u16 BE len ‖ topic ‖`
//! the fields from nonce to group hash `‖ SHA-256(value)`; 32 zero bytes stand for the hash of a
//! null value.
//!
//! ```
//! use cybermesh_contracts::redrive::{GroupHash, Redrive, Terms};
//! use cybermesh_contracts::sign::{Ed25519Signer, Signer, VerifyingKey};
//!
//! let operator = Ed25519Signer::from_seed(&[7; 32]);
//! let mut nonce = [0; 16];
//! nonce[..8].copy_from_slice(&1_760_000_000_000_u64.to_be_bytes());
//! let terms = Terms {
//!     nonce,
//!     expires_ms: 1_760_000_600_000,
//!     count: 1,
//!     origin_partition: 2,
//!     origin_offset: 41,
//!     group: GroupHash::of("cybermesh-backend"),
//! };
//! let header = terms.sign(&operator, "prod", "ai.anomalies.v1", Some(b"value"))?.to_bytes();
//!
//! let redrive = Redrive::parse(&header)?;
//! redrive.terms().check(2)?;
//! let key = VerifyingKey::try_from(operator.public_key())?;
//! assert!(redrive.verify(&key, &["prod"], &["ai.anomalies.v1"], Some(b"value")).is_ok());
//! assert!(redrive.verify(&key, &["staging"], &["ai.anomalies.v1"], Some(b"value")).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::rejection::RedriveFault;
use crate::replay::Claim;
use crate::sign::{KeyId, SignError, Signature, Signer, VerifyingKey};

/// Length of the header's value.
pub const HEADER_BYTES: usize = 1 + 8 + TERMS_BYTES + 64;
/// A message is redriven at most so often.
pub const MAX_COUNT: u8 = 5;
/// A redrive expires at most so long after it was signed: one hour.
pub const MAX_LIFETIME_MS: u64 = 3_600_000;

const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"cybermesh.redrive.v1\0";
const TERMS_BYTES: usize = 16 + 8 + 1 + 4 + 8 + 8;

/// The first 8 bytes of SHA-256 of a consumer group's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupHash(pub [u8; 8]);

impl GroupHash {
    /// The hash of this group.
    #[must_use]
    pub fn of(group: &str) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(Sha256::digest(group));
        Self([a, b, c, d, e, f, g, h])
    }
}

/// What a redrive permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The redriver's nonce, by which the redrive counts once; its time is the time of signing.
    pub nonce: [u8; 16],
    /// Until when it may be appended (or, without append times, judged), Unix milliseconds.
    pub expires_ms: i64,
    /// How often the message was redriven, this time included: `dlq.redrive-count` + 1.
    pub count: u8,
    /// The partition it came from, and goes back to.
    pub origin_partition: i32,
    /// The offset it first had there.
    pub origin_offset: i64,
    /// The one group that is to take it.
    pub group: GroupHash,
}

impl Terms {
    /// When it was signed, Unix milliseconds.
    #[must_use]
    pub const fn signed_at_ms(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.nonce;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// Whether it is meant for `group`. A process without a group takes every redrive for another's.
    #[must_use]
    pub fn is_for(&self, group: Option<&str>) -> bool {
        group.is_some_and(|group| GroupHash::of(group) == self.group)
    }

    /// Whether it has expired at `at_ms`: the record's append time where it has one, else now.
    #[must_use]
    pub const fn has_expired(&self, at_ms: i64) -> bool {
        at_ms > self.expires_ms
    }

    /// Checks what needs no key and no clock: the count, the lifetime, and that the record was read
    /// from the partition it came from.
    ///
    /// # Errors
    /// [`RedriveFault::Count`], [`RedriveFault::Lifetime`] or [`RedriveFault::OtherPartition`].
    pub fn check(&self, read_from: i32) -> Result<(), RedriveFault> {
        self.check_limits()?;
        self.check_partition(read_from)
    }

    pub(crate) fn check_partition(&self, read_from: i32) -> Result<(), RedriveFault> {
        if self.origin_partition != read_from {
            return Err(RedriveFault::OtherPartition {
                made_for: self.origin_partition,
                read_from,
            });
        }
        Ok(())
    }

    pub(crate) fn check_limits(&self) -> Result<(), RedriveFault> {
        if !(1..=MAX_COUNT).contains(&self.count) {
            return Err(RedriveFault::Count { count: self.count });
        }
        let lifetime_ms = u64::try_from(self.expires_ms)
            .ok()
            .and_then(|expires_ms| expires_ms.checked_sub(self.signed_at_ms()));
        if lifetime_ms.is_none_or(|lifetime_ms| lifetime_ms > MAX_LIFETIME_MS) {
            return Err(RedriveFault::Lifetime);
        }
        Ok(())
    }

    /// Signs these terms for the record with this `value` in this `topic` of this `audience`.
    ///
    /// # Errors
    /// [`RedriveError`] where no receiver would accept them, or the signer cannot sign.
    pub fn sign(
        &self,
        signer: &dyn Signer,
        audience: &str,
        topic: &str,
        value: Option<&[u8]>,
    ) -> Result<Redrive, RedriveError> {
        self.check_limits().map_err(RedriveError::Terms)?;
        if self.origin_partition < 0 || self.origin_offset < 0 {
            return Err(RedriveError::Origin);
        }
        let signed = self
            .signed_bytes(audience, topic, &value_hash(value))
            .ok_or(RedriveError::TooLong)?;
        let signature = signer.sign(&signed)?;
        Ok(Redrive {
            key_id: signer.public_key().key_id(),
            terms: *self,
            signature,
        })
    }

    fn to_bytes(self) -> [u8; TERMS_BYTES] {
        let mut bytes = [0; TERMS_BYTES];
        let fields: [&[u8]; 6] = [
            &self.nonce,
            &self.expires_ms.to_be_bytes(),
            &[self.count],
            &self.origin_partition.to_be_bytes(),
            &self.origin_offset.to_be_bytes(),
            &self.group.0,
        ];
        for (to, from) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    /// Nothing where audience or topic is longer than its length field tells.
    fn signed_bytes(&self, audience: &str, topic: &str, value: &[u8; 32]) -> Option<Vec<u8>> {
        let mut bytes = DOMAIN.to_vec();
        for text in [audience, topic] {
            bytes.extend_from_slice(&u16::try_from(text.len()).ok()?.to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&self.to_bytes());
        bytes.extend_from_slice(value);
        Some(bytes)
    }
}

/// A `cm-redrive` header: terms, and whose signature they claim to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redrive {
    key_id: KeyId,
    terms: Terms,
    signature: Signature,
}

impl Redrive {
    /// Reads the header's value. Nothing of it is believed before [`verify`](Self::verify).
    ///
    /// # Errors
    /// [`RedriveFault::Malformed`] for another length or version, or an origin that no record has.
    pub fn parse(header: &[u8]) -> Result<Self, RedriveFault> {
        Self::read(header).ok_or(RedriveFault::Malformed)
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() != HEADER_BYTES || take(&mut bytes)? != [VERSION] {
            return None;
        }
        let key_id = KeyId(take(&mut bytes)?);
        let terms = Terms {
            nonce: take(&mut bytes)?,
            expires_ms: i64::from_be_bytes(take(&mut bytes)?),
            count: u8::from_be_bytes(take(&mut bytes)?),
            origin_partition: i32::from_be_bytes(take(&mut bytes)?),
            origin_offset: i64::from_be_bytes(take(&mut bytes)?),
            group: GroupHash(take(&mut bytes)?),
        };
        let signature = Signature(take(&mut bytes)?);
        (terms.origin_partition >= 0 && terms.origin_offset >= 0).then_some(Self {
            key_id,
            terms,
            signature,
        })
    }

    /// The header's value.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [
            &[VERSION],
            self.key_id.as_bytes().as_slice(),
            &self.terms.to_bytes(),
            self.signature.as_bytes(),
        ]
        .concat()
    }

    /// Whose signature it claims to carry.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// What it permits.
    #[must_use]
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Whether `key` signed these terms for the record with this `value`, in one of the accepted
    /// audiences and origin topics. What it gives is the claim to judge in order.
    ///
    /// That the key may sign redrives is for the caller to have looked up.
    ///
    /// # Errors
    /// [`RedriveFault::Signature`].
    pub fn verify(
        &self,
        key: &VerifyingKey,
        audiences: &[impl AsRef<str>],
        topics: &[impl AsRef<str>],
        value: Option<&[u8]>,
    ) -> Result<Claim, RedriveFault> {
        if key.public_key().key_id() != self.key_id {
            return Err(RedriveFault::Signature);
        }
        let value = value_hash(value);
        for audience in audiences {
            for topic in topics {
                let signed = self
                    .terms
                    .signed_bytes(audience.as_ref(), topic.as_ref(), &value);
                let Some(signed) = signed else { continue };
                if key.verifies(&signed, &self.signature) {
                    let digest = Sha256::digest(&signed).into();
                    return Ok(Claim::with_nonce(self.key_id, &self.terms.nonce, digest));
                }
            }
        }
        Err(RedriveFault::Signature)
    }
}

/// Why a redrive was not signed.
#[derive(Debug, Error)]
pub enum RedriveError {
    /// Receivers would refuse these terms.
    #[error("no receiver would accept this redrive: {0}")]
    Terms(RedriveFault),
    /// The origin is none that a record can have.
    #[error("the origin's partition or offset is negative")]
    Origin,
    /// Audience or topic is longer than 65 535 bytes.
    #[error("audience or topic is longer than 65535 bytes")]
    TooLong,
    /// The signer did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// SHA-256 of a value; 32 zero bytes, which nothing hashes to, for a null one.
pub(crate) fn value_hash(value: Option<&[u8]>) -> [u8; 32] {
    value.map_or([0; 32], |value| Sha256::digest(value).into())
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::Ed25519Signer;
    use proptest::prelude::*;

    const SIGNED_AT_MS: u64 = 1_760_000_000_000;

    fn terms() -> Terms {
        let mut nonce = [9; 16];
        nonce[..8].copy_from_slice(&SIGNED_AT_MS.to_be_bytes());
        Terms {
            nonce,
            expires_ms: 1_760_000_000_000 + 3_600_000,
            count: 1,
            origin_partition: 3,
            origin_offset: 77,
            group: GroupHash::of("backend"),
        }
    }

    fn signer() -> Ed25519Signer {
        Ed25519Signer::from_seed(&[5; 32])
    }

    fn key() -> VerifyingKey {
        VerifyingKey::try_from(signer().public_key()).unwrap()
    }

    #[test]
    fn a_redrive_is_for_the_group_it_names_and_for_no_process_without_one() {
        assert!(terms().is_for(Some("backend")));
        assert!(!terms().is_for(Some("backend2")));
        assert!(!terms().is_for(None));
    }

    #[test]
    fn a_redrive_counts_from_one_to_five() {
        for (count, fine) in [(0, false), (1, true), (5, true), (6, false), (255, false)] {
            let terms = Terms { count, ..terms() };
            assert_eq!(terms.check(3).is_ok(), fine, "{count}");
            assert_eq!(
                terms.sign(&signer(), "", "t", None).is_ok(),
                fine,
                "{count}"
            );
        }
    }

    #[test]
    fn a_redrive_expires_within_an_hour_of_signing() {
        for (lifetime_ms, fine) in [
            (-1, false),
            (0, true),
            (3_600_000, true),
            (3_600_001, false),
        ] {
            let terms = Terms {
                expires_ms: 1_760_000_000_000 + lifetime_ms,
                ..terms()
            };
            assert_eq!(terms.check(3).is_ok(), fine, "{lifetime_ms}");
        }
        assert!(!terms().has_expired(terms().expires_ms));
        assert!(terms().has_expired(terms().expires_ms + 1));
    }

    #[test]
    fn a_redrive_belongs_to_its_origin_partition() {
        assert_eq!(
            terms().check(4),
            Err(RedriveFault::OtherPartition {
                made_for: 3,
                read_from: 4
            })
        );
    }

    #[test]
    fn a_redrive_holds_for_its_audience_topic_value_and_key_alone() {
        let redrive = terms().sign(&signer(), "prod", "t", Some(b"v")).unwrap();
        let holds = |audience: &str, topic: &str, value| {
            redrive.verify(&key(), &[audience], &[topic], value).is_ok()
        };
        assert!(holds("prod", "t", Some(b"v".as_slice())));
        assert!(!holds("", "t", Some(b"v")));
        assert!(!holds("prod", "u", Some(b"v")));
        assert!(!holds("prod", "t", Some(b"w")));
        assert!(!holds("prod", "t", None));
        let other = Ed25519Signer::from_seed(&[6; 32]).public_key();
        let other = VerifyingKey::try_from(other).unwrap();
        assert!(
            redrive
                .verify(&other, &["prod"], &["t"], Some(b"v"))
                .is_err()
        );
    }

    #[test]
    fn a_null_value_is_not_an_empty_one() {
        let redrive = terms().sign(&signer(), "", "t", None).unwrap();
        assert!(redrive.verify(&key(), &[""], &["t"], None).is_ok());
        assert!(redrive.verify(&key(), &[""], &["t"], Some(b"")).is_err());
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            nonce: [u8; 16], expires_ms: i64, count: u8,
            origin_partition in 0..=i32::MAX, origin_offset in 0..=i64::MAX, group: [u8; 8],
        ) {
            let terms = Terms {
                nonce, expires_ms, count, origin_partition, origin_offset, group: GroupHash(group),
            };
            let redrive = Redrive { key_id: KeyId([3; 8]), terms, signature: Signature([4; 64]) };
            let bytes = redrive.to_bytes();
            prop_assert_eq!(bytes.len(), HEADER_BYTES);
            prop_assert_eq!(Redrive::parse(&bytes), Ok(redrive));
        }

        #[test]
        fn any_flipped_bit_is_refused(bit in 0..HEADER_BYTES * 8) {
            let mut bytes = terms().sign(&signer(), "prod", "t", Some(b"v")).unwrap().to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let verified = Redrive::parse(&bytes)
                .and_then(|redrive| redrive.verify(&key(), &["prod"], &["t"], Some(b"v")));
            prop_assert!(verified.is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(redrive) = Redrive::parse(&bytes) {
                prop_assert_eq!(redrive.to_bytes(), bytes);
            }
        }
    }
}
