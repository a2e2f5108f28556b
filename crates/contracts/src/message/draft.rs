//! From a draft to a signed value.

use prost::Message as _;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::event::{Event, decode};
use super::seal::{ControlSeal, NodeSeal, control_body, node_signing_input};
use super::{
    AnomalyDraft, CommitDraft, EvidenceDraft, EvidenceRequestDraft, Invalid, PolicyDraft,
    PolicyUpdateDraft, ReputationDraft,
};
use crate::kind::Kind;
use crate::nonce::Nonce;
use crate::sign::{PublicKey, SignError, Signature, Signer};

/// A draft of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Draft {
    /// Something a node saw.
    Anomaly(AnomalyDraft),
    /// What backs an anomaly up.
    Evidence(EvidenceDraft),
    /// What a node proposes to do.
    Policy(PolicyDraft),
    /// A block the backend committed.
    Commit(CommitDraft),
    /// The backend's judgement of a node's message.
    Reputation(ReputationDraft),
    /// A rule that nodes are to apply.
    PolicyUpdate(PolicyUpdateDraft),
    /// The backend's question for evidence, or its answer to some.
    EvidenceRequest(EvidenceRequestDraft),
}

/// When a message is signed, and for node kinds its place in the signer's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The clock's time, Unix milliseconds; seconds of it go into `ts` or `timestamp`.
    pub now_ms: u64,
    /// The nonce, which node kinds demand and control kinds ignore.
    pub nonce: Option<Nonce>,
}

/// A value that is ready to be produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedMessage {
    /// Its kind.
    pub kind: Kind,
    /// The record's value.
    pub value: Vec<u8>,
    /// The key it was signed with.
    pub public_key: PublicKey,
    /// Its nonce, for node kinds.
    pub nonce: Option<Nonce>,
    /// Its signed time, Unix seconds.
    pub time_s: i64,
}

/// Why a draft could not be signed.
#[derive(Debug, Error)]
pub enum SignFailure {
    /// A node kind without a nonce.
    #[error("{0} is signed with a nonce, and none was given")]
    NoNonce(Kind),
    /// A time that no receiver accepts.
    #[error("the clock says {now_ms} ms since 1970, at which nothing can be signed")]
    Clock {
        /// What the stamp says.
        now_ms: u64,
    },
    /// The key could not be used.
    #[error(transparent)]
    Key(#[from] SignError),
}

/// Calls `$do` with the draft's event, whichever kind it is.
macro_rules! each {
    ($draft:expr, |$event:ident| $do:expr) => {
        match $draft {
            Draft::Anomaly(draft) => {
                let $event = draft.event();
                $do
            }
            Draft::Evidence(draft) => {
                let $event = draft.event();
                $do
            }
            Draft::Policy(draft) => {
                let $event = draft.event();
                $do
            }
            Draft::Commit(draft) => {
                let $event = draft.event();
                $do
            }
            Draft::Reputation(draft) => {
                let $event = draft.event();
                $do
            }
            Draft::PolicyUpdate(draft) => {
                let $event = draft.event();
                $do
            }
            Draft::EvidenceRequest(draft) => {
                let $event = draft.event();
                $do
            }
        }
    };
}

impl Draft {
    /// Which of the seven it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Anomaly(_) => Kind::Anomaly,
            Self::Evidence(_) => Kind::Evidence,
            Self::Policy(_) => Kind::Policy,
            Self::Commit(_) => Kind::Commit,
            Self::Reputation(_) => Kind::Reputation,
            Self::PolicyUpdate(_) => Kind::PolicyUpdate,
            Self::EvidenceRequest(_) => Kind::EvidenceRequest,
        }
    }

    /// The record's key where the caller sets none: the message's identifier; a commit's height as
    /// u64 big-endian.
    #[must_use]
    pub fn default_key(&self) -> Vec<u8> {
        match self {
            Self::Anomaly(draft) => draft.event().id.clone().into_bytes(),
            Self::Evidence(draft) => draft.event().id.clone().into_bytes(),
            Self::Policy(draft) => draft.event().id.clone().into_bytes(),
            Self::Commit(draft) => draft.event().height.to_be_bytes().to_vec(),
            Self::Reputation(draft) => draft.event().ai_message_id.clone().into_bytes(),
            Self::PolicyUpdate(draft) => draft.event().policy_id.clone().into_bytes(),
            Self::EvidenceRequest(draft) => draft.event().request_id.clone().into_bytes(),
        }
    }

    /// Its protobuf encoding, without the fields that signing fills: the form in which drafts are
    /// kept and buried.
    #[must_use]
    pub fn to_proto(&self) -> Vec<u8> {
        each!(self, |event| event.encode_to_vec())
    }

    /// Reads what [`to_proto`](Self::to_proto) wrote, as it stands; fields that signing fills are
    /// dropped.
    ///
    /// # Errors
    /// [`Invalid::NoDraft`] where the bytes are not protobuf of this kind, [`Invalid::Contract`]
    /// where a repeated field has more entries than a message may have.
    pub fn from_proto(kind: Kind, bytes: &[u8]) -> Result<Self, Invalid> {
        Ok(match kind {
            Kind::Anomaly => AnomalyDraft::as_it_stands(read(bytes)?).into(),
            Kind::Evidence => EvidenceDraft::as_it_stands(read(bytes)?).into(),
            Kind::Policy => PolicyDraft::as_it_stands(read(bytes)?).into(),
            Kind::Commit => CommitDraft::as_it_stands(read(bytes)?).into(),
            Kind::Reputation => ReputationDraft::as_it_stands(read(bytes)?).into(),
            Kind::PolicyUpdate => PolicyUpdateDraft::as_it_stands(read(bytes)?).into(),
            Kind::EvidenceRequest => EvidenceRequestDraft::as_it_stands(read(bytes)?).into(),
        })
    }

    /// The bytes that a signature by `signer` with `stamp` covers.
    ///
    /// # Errors
    /// [`SignFailure::NoNonce`] and [`SignFailure::Clock`].
    pub fn signing_input(&self, signer: PublicKey, stamp: Stamp) -> Result<Vec<u8>, SignFailure> {
        match self {
            Self::Anomaly(draft) => {
                node_input(draft.event(), &draft.event().payload, signer, stamp)
            }
            Self::Evidence(draft) => {
                node_input(draft.event(), &draft.event().proof_blob, signer, stamp)
            }
            Self::Policy(draft) => node_input(draft.event(), &draft.event().params, signer, stamp),
            Self::Commit(draft) => control_input(draft.event(), signer, stamp),
            Self::Reputation(draft) => control_input(draft.event(), signer, stamp),
            Self::PolicyUpdate(draft) => control_input(draft.event(), signer, stamp),
            Self::EvidenceRequest(draft) => control_input(draft.event(), signer, stamp),
        }
    }

    /// Signs the draft: what comes out is a record's value.
    ///
    /// # Errors
    /// [`SignFailure`]: a node kind without nonce, a clock before 1970's first second, a key that
    /// could not be used.
    pub fn sign(&self, signer: &dyn Signer, stamp: Stamp) -> Result<SignedMessage, SignFailure> {
        let public_key = signer.public_key();
        let input = self.signing_input(public_key, stamp)?;
        let signature = signer.sign(&input)?;
        let time_s = time_s(stamp)?;
        let value = match self {
            Self::Anomaly(draft) => {
                node_value(draft.event(), &input, public_key, stamp, signature)?
            }
            Self::Evidence(draft) => {
                node_value(draft.event(), &input, public_key, stamp, signature)?
            }
            Self::Policy(draft) => node_value(draft.event(), &input, public_key, stamp, signature)?,
            Self::Commit(draft) => control_value(draft.event(), public_key, time_s, signature),
            Self::Reputation(draft) => control_value(draft.event(), public_key, time_s, signature),
            Self::PolicyUpdate(draft) => {
                control_value(draft.event(), public_key, time_s, signature)
            }
            Self::EvidenceRequest(draft) => {
                control_value(draft.event(), public_key, time_s, signature)
            }
        };
        Ok(SignedMessage {
            kind: self.kind(),
            value,
            public_key,
            nonce: stamp.nonce.filter(|_| !self.kind().is_control()),
            time_s,
        })
    }
}

fn read<E: Event>(bytes: &[u8]) -> Result<E, Invalid> {
    match decode(bytes)? {
        (event, None) => Ok(event),
        (_, Some(violation)) => Err(violation.into()),
    }
}

fn time_s(stamp: Stamp) -> Result<i64, SignFailure> {
    i64::try_from(stamp.now_ms / 1000)
        .ok()
        .filter(|seconds| *seconds > 0)
        .ok_or(SignFailure::Clock {
            now_ms: stamp.now_ms,
        })
}

fn node_input<E: Event>(
    _: &E,
    blob: &[u8],
    signer: PublicKey,
    stamp: Stamp,
) -> Result<Vec<u8>, SignFailure> {
    let nonce = stamp.nonce.ok_or(SignFailure::NoNonce(E::KIND))?;
    let content_hash = Sha256::digest(blob).into();
    Ok(node_signing_input(
        E::KIND,
        time_s(stamp)?,
        &signer.0,
        nonce,
        &content_hash,
    ))
}

fn control_input<E: Event>(
    event: &E,
    signer: PublicKey,
    stamp: Stamp,
) -> Result<Vec<u8>, SignFailure> {
    let mut event = event.clone();
    let fields = event.sealed();
    *fields.time_s = time_s(stamp)?;
    *fields.producer_id = signer.0.to_vec();
    let mut input = E::KIND.signing_domain().as_bytes().to_vec();
    input.extend(control_body(&mut event));
    Ok(input)
}

fn node_value<E: Event>(
    event: &E,
    input: &[u8],
    public_key: PublicKey,
    stamp: Stamp,
    signature: Signature,
) -> Result<Vec<u8>, SignFailure> {
    // The input ends in the hash of the content.
    let content_hash = *input.last_chunk().ok_or(SignFailure::NoNonce(E::KIND))?;
    let mut event = event.clone();
    NodeSeal {
        ts_s: time_s(stamp)?,
        content_hash,
        producer_id: public_key.0,
        nonce: stamp.nonce.ok_or(SignFailure::NoNonce(E::KIND))?,
        signature,
        public_key,
    }
    .write(&mut event);
    Ok(event.encode_to_vec())
}

fn control_value<E: Event>(
    event: &E,
    public_key: PublicKey,
    time_s: i64,
    signature: Signature,
) -> Vec<u8> {
    let mut event = event.clone();
    ControlSeal {
        timestamp_s: time_s,
        producer_id: public_key.0,
        signature,
        public_key,
    }
    .write(&mut event);
    event.encode_to_vec()
}

macro_rules! conversions {
    ($($kind:ident: $draft:ident),* $(,)?) => {$(
        impl From<$draft> for Draft {
            fn from(draft: $draft) -> Self {
                Self::$kind(draft)
            }
        }
    )*};
}

conversions!(
    Anomaly: AnomalyDraft,
    Evidence: EvidenceDraft,
    Policy: PolicyDraft,
    Commit: CommitDraft,
    Reputation: ReputationDraft,
    PolicyUpdate: PolicyUpdateDraft,
    EvidenceRequest: EvidenceRequestDraft,
);
