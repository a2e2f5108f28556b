//! What signing adds to a message, and the bytes that a signature covers.

use super::event::Event;
use super::rules::{demand, fixed};
use crate::kind::Kind;
use crate::nonce::Nonce;
use crate::rejection::Violation;
use crate::sign::{ALGORITHM, PublicKey, Signature};

/// What signing added to a message of a node kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeSeal {
    /// Time of signing, Unix seconds, above 0.
    pub ts_s: i64,
    /// SHA-256 of payload, proof or parameters.
    pub content_hash: [u8; 32],
    /// Who produced it.
    pub producer_id: [u8; 32],
    /// Time, instance, counter.
    pub nonce: Nonce,
    /// The signature.
    pub signature: Signature,
    /// The key it was made with.
    pub public_key: PublicKey,
}

/// What signing added to a message of a control kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlSeal {
    /// Time of signing, Unix seconds, above 0.
    pub timestamp_s: i64,
    /// Who produced it.
    pub producer_id: [u8; 32],
    /// The signature.
    pub signature: Signature,
    /// The key it was made with.
    pub public_key: PublicKey,
}

/// Either of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal<'a> {
    /// Of a node kind.
    Node(&'a NodeSeal),
    /// Of a control kind.
    Control(&'a ControlSeal),
}

impl Seal<'_> {
    /// Time of signing, Unix seconds.
    #[must_use]
    pub const fn time_s(&self) -> i64 {
        match self {
            Self::Node(seal) => seal.ts_s,
            Self::Control(seal) => seal.timestamp_s,
        }
    }

    /// Who produced the message.
    #[must_use]
    pub const fn producer_id(&self) -> &[u8; 32] {
        match self {
            Self::Node(seal) => &seal.producer_id,
            Self::Control(seal) => &seal.producer_id,
        }
    }

    /// The key the message claims to be signed with, or was.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey {
        match self {
            Self::Node(seal) => seal.public_key,
            Self::Control(seal) => seal.public_key,
        }
    }

    /// The signature.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        match self {
            Self::Node(seal) => &seal.signature,
            Self::Control(seal) => &seal.signature,
        }
    }

    /// The nonce, which node kinds alone have.
    #[must_use]
    pub const fn nonce(&self) -> Option<Nonce> {
        match self {
            Self::Node(seal) => Some(seal.nonce),
            Self::Control(_) => None,
        }
    }
}

impl NodeSeal {
    /// Reads the fields that signing filled.
    pub(crate) fn read(event: &mut impl Event) -> Result<Self, Violation> {
        let control = ControlSeal::read(event)?;
        let fields = event.sealed().node;
        let (content_hash, nonce) = match &fields {
            Some(node) => (node.content_hash.as_slice(), node.nonce.as_slice()),
            None => (&[][..], &[][..]),
        };
        Ok(Self {
            ts_s: control.timestamp_s,
            content_hash: fixed("content_hash", content_hash)?,
            producer_id: control.producer_id,
            nonce: Nonce(fixed("nonce", nonce)?),
            signature: control.signature,
            public_key: control.public_key,
        })
    }

    /// Writes the fields that signing fills.
    pub(crate) fn write(&self, event: &mut impl Event) {
        ControlSeal {
            timestamp_s: self.ts_s,
            producer_id: self.producer_id,
            signature: self.signature,
            public_key: self.public_key,
        }
        .write(event);
        if let Some(node) = event.sealed().node {
            *node.content_hash = self.content_hash.to_vec();
            *node.nonce = self.nonce.0.to_vec();
        }
    }

    /// The bytes that the signature covers: 103, or 104 for evidence.
    pub(crate) fn signing_input(&self, kind: Kind) -> Vec<u8> {
        node_signing_input(
            kind,
            self.ts_s,
            &self.producer_id,
            self.nonce,
            &self.content_hash,
        )
    }
}

impl ControlSeal {
    /// Reads the fields that signing filled.
    pub(crate) fn read(event: &mut impl Event) -> Result<Self, Violation> {
        let fields = event.sealed();
        if fields.alg != ALGORITHM {
            return Err(Violation::Algorithm);
        }
        let time_field = if fields.node.is_some() {
            "ts"
        } else {
            "timestamp"
        };
        demand(*fields.time_s > 0, time_field, "above 0")?;
        Ok(Self {
            timestamp_s: *fields.time_s,
            producer_id: fixed("producer_id", fields.producer_id)?,
            signature: Signature(fixed("signature", fields.signature)?),
            public_key: PublicKey(fixed("pubkey", fields.pubkey)?),
        })
    }

    /// Writes the fields that signing fills.
    pub(crate) fn write(&self, event: &mut impl Event) {
        let fields = event.sealed();
        *fields.time_s = self.timestamp_s;
        *fields.producer_id = self.producer_id.to_vec();
        *fields.signature = self.signature.0.to_vec();
        *fields.pubkey = self.public_key.0.to_vec();
        ALGORITHM.clone_into(fields.alg);
    }
}

/// `domain ‖ [0x00, policy only] ‖ ts i64 BE ‖ 0x0020 ‖ producer_id ‖ nonce ‖ SHA-256(blob)`.
pub(crate) fn node_signing_input(
    kind: Kind,
    ts_s: i64,
    producer_id: &[u8; 32],
    nonce: Nonce,
    content_hash: &[u8; 32],
) -> Vec<u8> {
    let mut input = Vec::with_capacity(104);
    input.extend_from_slice(kind.signing_domain().as_bytes());
    if kind == Kind::Policy {
        input.push(0);
    }
    input.extend_from_slice(&ts_s.to_be_bytes());
    input.extend_from_slice(&[0x00, 0x20]);
    input.extend_from_slice(producer_id);
    input.extend_from_slice(&nonce.0);
    input.extend_from_slice(content_hash);
    input
}

/// The protobuf that a control kind's signature covers behind the domain: every known field, with
/// signature, pubkey and alg unset.
pub(crate) fn control_body<E: Event>(event: &mut E) -> Vec<u8> {
    let fields = event.sealed();
    let signature = std::mem::take(fields.signature);
    let pubkey = std::mem::take(fields.pubkey);
    let alg = std::mem::take(fields.alg);
    let body = event.encode_to_vec();
    let fields = event.sealed();
    *fields.signature = signature;
    *fields.pubkey = pubkey;
    *fields.alg = alg;
    body
}
