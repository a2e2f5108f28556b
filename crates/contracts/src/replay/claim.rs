//! What an authentic message says of its own place in order: who signed it, when in that signer's
//! order, and which message it is.

use crate::sign::KeyId;

/// Milliseconds in a second: control kinds count in seconds, everything folded in milliseconds.
const MS_PER_SECOND: u64 = 1000;

pub(super) const fn second_ms(second: u64) -> u64 {
    second.saturating_mul(MS_PER_SECOND)
}

/// Within whose order a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SignerId {
    /// One instance of a key that gives out nonces: node kinds, and redrives.
    Instance {
        /// The id of the signing key.
        key: KeyId,
        /// The instance id out of the nonce.
        instance: u32,
    },
    /// A key by itself: control kinds carry no instance.
    Key(KeyId),
}

impl SignerId {
    /// The id of the key, whichever it is.
    #[must_use]
    pub const fn key(&self) -> KeyId {
        match self {
            Self::Instance { key, .. } | Self::Key(key) => *key,
        }
    }
}

/// Where in its signer's order a message stands: what grows from message to message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Value {
    /// Milliseconds of the nonce for an instance, seconds of the timestamp for a key.
    pub(super) time: u64,
    /// The nonce's counter; 0 for a key.
    pub(super) counter: u32,
}

/// Signer, value and identity of one authentic message.
///
/// Two messages are the same one when all three are: for node kinds key, nonce and the digest of
/// the signed bytes, for control kinds key and the digest of the body (which holds the timestamp).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    pub(super) signer: SignerId,
    pub(super) value: Value,
    pub(super) digest: [u8; 32],
}

impl Claim {
    /// The claim of something signed with a nonce (`ts_ms u64 BE ‖ instance u32 BE ‖ counter u32 BE`):
    /// a message of a node kind, or a redrive. `digest` is SHA-256 of the signed bytes.
    #[must_use]
    pub fn with_nonce(key: KeyId, nonce: &[u8; 16], digest: [u8; 32]) -> Self {
        let [
            t0,
            t1,
            t2,
            t3,
            t4,
            t5,
            t6,
            t7,
            i0,
            i1,
            i2,
            i3,
            c0,
            c1,
            c2,
            c3,
        ] = *nonce;
        Self {
            signer: SignerId::Instance {
                key,
                instance: u32::from_be_bytes([i0, i1, i2, i3]),
            },
            value: Value {
                time: u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
                counter: u32::from_be_bytes([c0, c1, c2, c3]),
            },
            digest,
        }
    }

    /// The claim of a message of a control kind. `digest` is SHA-256 of its body without domain and
    /// signature, so that a policy update published under both of its domains is one message.
    ///
    /// A timestamp below 1 is none that verification lets through; it counts as 0.
    #[must_use]
    pub fn with_timestamp(key: KeyId, timestamp_s: i64, digest: [u8; 32]) -> Self {
        Self {
            signer: SignerId::Key(key),
            value: Value {
                time: u64::try_from(timestamp_s).unwrap_or(0),
                counter: 0,
            },
            digest,
        }
    }

    /// Within whose order it stands.
    #[must_use]
    pub const fn signer(&self) -> SignerId {
        self.signer
    }

    /// Its time in Unix milliseconds: the nonce's, or the timestamp × 1000.
    #[must_use]
    pub const fn time_ms(&self) -> u64 {
        match self.signer {
            SignerId::Instance { .. } => self.value.time,
            SignerId::Key(_) => second_ms(self.value.time),
        }
    }

    /// Whether nothing else may carry this signer and value: a nonce is used once, a second is not.
    pub(super) const fn is_single(&self) -> bool {
        matches!(self.signer, SignerId::Instance { .. })
    }
}

/// What a record asks to be judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    pub(super) judged: Claim,
    pub(super) original: Option<Claim>,
}

impl Claims {
    /// A record as its producer wrote it.
    #[must_use]
    pub const fn of(message: Claim) -> Self {
        Self {
            judged: message,
            original: None,
        }
    }

    /// A redriven record: `redrive` alone is judged in order, and both count once it is accepted.
    #[must_use]
    pub const fn redriven(redrive: Claim, message: Claim) -> Self {
        Self {
            judged: redrive,
            original: Some(message),
        }
    }

    /// What is judged in order: of the message, or of the redrive that brings it back.
    #[must_use]
    pub const fn judged(&self) -> &Claim {
        &self.judged
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Claim> {
        std::iter::once(self.judged).chain(self.original)
    }
}
