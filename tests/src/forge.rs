//! Records as no honest sender makes them: signed in every wrong way, or not at all.

use bytes::Bytes;
use cybermesh_contracts::envelope::{Envelope, Scope};
use cybermesh_contracts::message::{Draft, Stamp};
use cybermesh_contracts::nonce::Nonce;
use cybermesh_contracts::sign::Signer;
use cybermesh_transport::{Header, Record};

use crate::log::now_ms;

/// A record for a partition, to be bent.
#[derive(Debug, Clone)]
pub struct Forgery<'a> {
    /// Who signs.
    pub signer: &'a dyn Signer,
    /// Signed into the envelope.
    pub audience: &'a str,
    /// Signed into the envelope.
    pub topic: &'a str,
    /// Signed into the envelope.
    pub partition: i32,
    /// The instance in nonces.
    pub instance: u32,
    /// The time of signing, Unix milliseconds.
    pub time_ms: i64,
}

impl<'a> Forgery<'a> {
    /// For the first partition of `topic`, signed now.
    pub fn new(signer: &'a dyn Signer, audience: &'a str, topic: &'a str) -> Self {
        Self {
            signer,
            audience,
            topic,
            partition: 0,
            instance: 1,
            time_ms: now_ms(),
        }
    }

    /// The value and key of `draft`, signed with the nonce that has this count.
    ///
    /// # Panics
    /// When it cannot be signed.
    pub fn value(&self, draft: &Draft, count: u32) -> (Bytes, Bytes) {
        let now_ms = u64::try_from(self.time_ms).expect("a time after 1970");
        let nonce = Nonce::new(now_ms, self.instance, count);
        let signed = draft
            .sign(
                self.signer,
                Stamp {
                    now_ms,
                    nonce: Some(nonce),
                },
            )
            .expect("a signature");
        (signed.value.into(), draft.default_key().into())
    }

    /// The whole record of `draft`, envelope and all: an honest sender's.
    ///
    /// # Panics
    /// When it cannot be signed.
    pub fn record(&self, draft: &Draft, count: u32) -> Record {
        let (value, key) = self.value(draft, count);
        let envelope = self.envelope(&key, &value);
        record(key, Some(value), vec![envelope])
    }

    /// The envelope header of a record with this key and value.
    ///
    /// # Panics
    /// When it cannot be signed.
    pub fn envelope(&self, key: &[u8], value: &[u8]) -> Header {
        let scope = Scope {
            audience: self.audience,
            topic: self.topic,
            partition: self.partition,
            key: Some(key),
            value,
        };
        let envelope = Envelope::sign(self.signer, &scope).expect("an envelope");
        Header::new("cm-envelope", envelope.encode().to_vec())
    }
}

/// A record of these parts.
pub fn record(key: impl Into<Bytes>, value: Option<Bytes>, headers: Vec<Header>) -> Record {
    Record {
        key: Some(key.into()),
        value,
        headers,
        timestamp_ms: now_ms(),
    }
}

/// `bytes` with one bit changed: the lowest of byte `at`, counted from the end.
///
/// # Panics
/// When it is shorter than that.
pub fn flipped(bytes: &Bytes, at_from_end: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    let at = bytes.len() - 1 - at_from_end;
    bytes[at] ^= 1;
    bytes.into()
}
