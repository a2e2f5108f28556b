//! The settled values as the metadata of an offset commit.
//!
//! | field | bytes |
//! |---|---|
//! | version | `0x01` |
//! | the ring's first offset | i64 BE |
//! | binding: first 8 bytes of SHA-256 over the fields of [`Binding`] | 8 |
//! | floor, Unix ms (0: none) | varint |
//! | newest nonce time or fold that is listed, Unix ms | varint |
//! | number of keys | varint |
//! | per key, ascending: key id | 8 |
//! | … flags: 1 a fold, 2 a second; the upper four bits: number of instances, at most 8 | 1 |
//! | … where flagged, fold: newest − fold | varint |
//! | … where flagged, settled second of control messages, Unix s | varint |
//! | … per instance, ascending: instance id u32 BE, newest − nonce time, counter | 4, varint, varint |
//! | where signed: key id | 8 |
//! | … signature over `"cybermesh.replay-state.v1" ‖ 0x00 ‖` all bytes before the signature | 64 |
//!
//! A varint is unsigned LEB128 without padding. All of it in base64 (RFC 4648, padded).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::budget::Budget;
use super::snapshot::{self, Snapshot, take};
use crate::sign::{KeyId, SignError, Signature, Signer, VerifyingKey};
use crate::trust::{Right, TrustStore};

const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"cybermesh.replay-state.v1\0";
const HEAD_BYTES: usize = 1 + 8 + 8;
const SEAL_BYTES: usize = 8 + 64;
/// Head, floor and counts at their longest, and a signature: below this nothing is sure to fit.
pub(super) const LEAST_CHARACTERS: usize = (HEAD_BYTES + 10 + 10 + 1 + SEAL_BYTES).div_ceil(3) * 4;

/// What one stored state belongs to: a copy made for anything else is foreign.
///
/// Hashed as `u16 BE len ‖ group ‖ u16 BE len ‖ cluster id ‖ topic id ‖ partition i32 BE ‖ offset i64 BE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The consumer group.
    pub group: &'a str,
    /// The id that the cluster gives itself.
    pub cluster_id: &'a str,
    /// The topic's id (KIP-516): another after the topic was deleted and made again. Zeros for a
    /// broker that gives none.
    pub topic_id: [u8; 16],
    /// The partition.
    pub partition: i32,
    /// The offset that is committed with it.
    pub offset: i64,
}

impl Binding<'_> {
    fn hash(&self) -> [u8; 8] {
        let mut sha = Sha256::new();
        for text in [self.group, self.cluster_id] {
            // Both are strings of Kafka's protocol and so no longer than an i16 tells.
            let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
            sha.update(length.to_be_bytes());
            sha.update(text);
        }
        sha.update(self.topic_id);
        sha.update(self.partition.to_be_bytes());
        sha.update(self.offset.to_be_bytes());
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(sha.finalize());
        [a, b, c, d, e, f, g, h]
    }
}

/// The keys that a stored state may be signed by.
///
/// ```
/// use cybermesh_contracts::replay::StateKeys;
/// use cybermesh_contracts::trust::TrustStore;
///
/// let keys = StateKeys::named_in(&TrustStore::default(), 1_760_000_000_000);
/// assert!(!keys.demands_signature());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateKeys {
    demanded: bool,
    believed: Vec<VerifyingKey>,
}

impl StateKeys {
    /// Those that the trust store lets sign `replay_state` and believes at `now_ms` (Unix
    /// milliseconds; a state carries no time of its own).
    ///
    /// A signature is demanded as soon as the store names such a key, even one that is withdrawn or
    /// outside its window: else whoever may write commits would only have to wait for that.
    #[must_use]
    pub fn named_in(trust: &TrustStore, now_ms: i64) -> Self {
        let named = || trust.keys().filter(|key| key.may(Right::ReplayState));
        Self {
            demanded: named().next().is_some(),
            believed: named()
                .filter(|key| !key.is_revoked() && key.window().covers(now_ms, None).is_ok())
                .map(|key| *key.verifying_key())
                .collect(),
        }
    }

    /// Whether a state without a signature is refused.
    #[must_use]
    pub const fn demands_signature(&self) -> bool {
        self.demanded
    }
}

/// Why a stored state is not used; the partition then starts from what is read back alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum StateRefused {
    /// There is none: the commit carries no metadata.
    #[error("the commit carries no replay state")]
    Missing,
    /// It is not what this version writes.
    #[error("the commit's metadata is no replay state of a known version")]
    Malformed,
    /// It was made for another group, cluster, topic, partition or offset.
    #[error("the replay state was made for another group, cluster, topic, partition or offset")]
    Foreign,
    /// The trust store names a key for replay state, and this one has no signature of such a key.
    #[error("the replay state is not signed by a key that may sign `replay_state`")]
    NotSigned,
    /// The signature does not verify.
    #[error("the replay state's signature does not verify")]
    SignatureInvalid,
}

impl Snapshot {
    /// The longest text that [`open`](Self::open) looks at: 16 MiB. A commit's is below 4096; a state folder's is larger.
    pub const MOST_TEXT_BYTES: usize = 16 * 1024 * 1024;

    /// Writes the state for a commit of `binding.offset`, signed where there is a `signer` that may
    /// sign `replay_state`.
    ///
    /// What does not fit `budget` is folded into the floor, lowest values first; where not even the
    /// floor fits there is nothing to store, and the commit goes without.
    ///
    /// # Errors
    /// When the signer cannot sign.
    pub fn seal(
        &self,
        binding: &Binding<'_>,
        budget: Budget,
        signer: Option<&dyn Signer>,
    ) -> Result<Option<String>, SignError> {
        let fixed = HEAD_BYTES + signer.map_or(0, |_| SEAL_BYTES);
        let entries = budget
            .less(fixed)
            .and_then(|left| self.entries_within(left));
        let Some(entries) = entries else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(fixed + entries.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.ring_first.to_be_bytes());
        bytes.extend_from_slice(&binding.hash());
        bytes.extend_from_slice(&entries);
        if let Some(signer) = signer {
            bytes.extend_from_slice(signer.public_key().key_id().as_bytes());
            let signature = signer.sign(&[DOMAIN, &bytes].concat())?;
            bytes.extend_from_slice(signature.as_bytes());
        }
        Ok(Some(BASE64.encode(bytes)))
    }

    /// Reads the state that stands in a commit of `binding.offset`.
    ///
    /// Where `keys` demand a signature, it must be by one of them.
    ///
    /// # Errors
    /// [`StateRefused`]: the partition then starts as if there were none.
    pub fn open(text: &str, binding: &Binding<'_>, keys: &StateKeys) -> Result<Self, StateRefused> {
        if text.is_empty() {
            return Err(StateRefused::Missing);
        }
        let stored = Stored::parse(text).ok_or(StateRefused::Malformed)?;
        if stored.binding != binding.hash() {
            return Err(StateRefused::Foreign);
        }
        if !stored.snapshot.suits(binding.offset) {
            return Err(StateRefused::Malformed);
        }
        if keys.demanded {
            stored.demand_signature(&keys.believed)?;
        }
        Ok(stored.snapshot)
    }
}

/// A state as it was found, before anything of it is believed.
struct Stored {
    snapshot: Snapshot,
    binding: [u8; 8],
    seal: Option<(KeyId, Signature)>,
    bytes: Vec<u8>,
}

impl Stored {
    fn parse(text: &str) -> Option<Self> {
        if text.len() > Snapshot::MOST_TEXT_BYTES {
            return None;
        }
        let bytes = BASE64.decode(text).ok()?;
        let mut rest = bytes.as_slice();
        if take(&mut rest)? != [VERSION] {
            return None;
        }
        let ring_first = i64::from_be_bytes(take(&mut rest)?);
        let binding = take(&mut rest)?;
        let table = snapshot::decode(&mut rest)?;
        let seal = if rest.is_empty() {
            None
        } else {
            Some((KeyId(take(&mut rest)?), Signature(take(&mut rest)?)))
        };
        rest.is_empty().then_some(Self {
            snapshot: Snapshot { ring_first, table },
            binding,
            seal,
            bytes,
        })
    }

    fn demand_signature(&self, keys: &[VerifyingKey]) -> Result<(), StateRefused> {
        let (key_id, signature) = self.seal.ok_or(StateRefused::NotSigned)?;
        let key = keys
            .iter()
            .find(|key| key.public_key().key_id() == key_id)
            .ok_or(StateRefused::NotSigned)?;
        let signed = self.bytes.len().saturating_sub(signature.as_bytes().len());
        let signed = self.bytes.get(..signed).unwrap_or_default();
        if key.verifies(&[DOMAIN, signed].concat(), &signature) {
            Ok(())
        } else {
            Err(StateRefused::SignatureInvalid)
        }
    }
}
