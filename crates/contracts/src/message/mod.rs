//! The seven messages: typed, parsed once, valid by construction.
//!
//! Each kind has three things: a *message* as received ([`Anomaly`], …), which only exists with its
//! seal and within the contract's rules; a *draft* to be sent ([`AnomalyDraft`], …), which has no seal
//! yet; and a *builder* that applies the rules for emitting. [`Message`] and [`Draft`] are any of the
//! seven. A [`Seal`] is what signing adds.

#[macro_use]
mod shape;
mod anomaly;
mod commit;
mod draft;
mod event;
mod evidence;
mod evidence_request;
mod invalid;
mod policy;
mod policy_update;
mod reputation;
mod rules;
mod seal;

pub use self::anomaly::{Anomaly, AnomalyBuilder, AnomalyDraft};
pub use self::commit::{Commit, CommitBuilder, CommitDraft};
pub use self::draft::{Draft, SignFailure, SignedMessage, Stamp};
pub use self::evidence::{CustodyEntry, Evidence, EvidenceBuilder, EvidenceDraft};
pub use self::evidence_request::{
    EvidenceRequest, EvidenceRequestBuilder, EvidenceRequestDraft, RequestType,
};
pub use self::invalid::Invalid;
pub use self::policy::{Policy, PolicyBuilder, PolicyDraft};
pub use self::policy_update::{
    Action, PolicyUpdate, PolicyUpdateBuilder, PolicyUpdateDraft, RuleType,
};
pub use self::reputation::{Reputation, ReputationBuilder, ReputationDraft};
pub use self::seal::{ControlSeal, NodeSeal, Seal};

pub(crate) use self::event::{Event, decode};
pub(crate) use self::seal::control_body;

use crate::kind::Kind;

/// The longest value a receiver reads, bytes.
pub const MAX_VALUE_BYTES: usize = 1_048_576;

/// A valid message of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Something a node saw.
    Anomaly(Anomaly),
    /// What backs an anomaly up.
    Evidence(Evidence),
    /// What a node proposes to do.
    Policy(Policy),
    /// A block the backend committed.
    Commit(Commit),
    /// The backend's judgement of a node's message.
    Reputation(Reputation),
    /// A rule that nodes are to apply.
    PolicyUpdate(PolicyUpdate),
    /// The backend's question for evidence, or its answer to some.
    EvidenceRequest(EvidenceRequest),
}

impl Message {
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

    /// What signing added to it.
    #[must_use]
    pub const fn seal(&self) -> Seal<'_> {
        match self {
            Self::Anomaly(message) => Seal::Node(message.seal()),
            Self::Evidence(message) => Seal::Node(message.seal()),
            Self::Policy(message) => Seal::Node(message.seal()),
            Self::Commit(message) => Seal::Control(message.seal()),
            Self::Reputation(message) => Seal::Control(message.seal()),
            Self::PolicyUpdate(message) => Seal::Control(message.seal()),
            Self::EvidenceRequest(message) => Seal::Control(message.seal()),
        }
    }

    /// Its protobuf encoding with all known fields; what unknown fields there were is gone.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        use prost::Message as _;
        match self {
            Self::Anomaly(message) => message.to_event().encode_to_vec(),
            Self::Evidence(message) => message.to_event().encode_to_vec(),
            Self::Policy(message) => message.to_event().encode_to_vec(),
            Self::Commit(message) => message.to_event().encode_to_vec(),
            Self::Reputation(message) => message.to_event().encode_to_vec(),
            Self::PolicyUpdate(message) => message.to_event().encode_to_vec(),
            Self::EvidenceRequest(message) => message.to_event().encode_to_vec(),
        }
    }

    /// Its fields as JSON, under their proto names, bytes as hex digits.
    ///
    /// # Errors
    /// None that a valid message can cause; `serde_json`'s own type is passed on.
    pub fn to_json(&self) -> serde_json::Result<serde_json::Value> {
        match self {
            Self::Anomaly(message) => serde_json::to_value(message.to_event()),
            Self::Evidence(message) => serde_json::to_value(message.to_event()),
            Self::Policy(message) => serde_json::to_value(message.to_event()),
            Self::Commit(message) => serde_json::to_value(message.to_event()),
            Self::Reputation(message) => serde_json::to_value(message.to_event()),
            Self::PolicyUpdate(message) => serde_json::to_value(message.to_event()),
            Self::EvidenceRequest(message) => serde_json::to_value(message.to_event()),
        }
    }
}

macro_rules! conversions {
    ($($kind:ident),* $(,)?) => {$(
        impl From<$kind> for Message {
            fn from(message: $kind) -> Self {
                Self::$kind(message)
            }
        }

        impl TryFrom<Message> for $kind {
            /// The message, where it is of another kind.
            type Error = Box<Message>;

            fn try_from(message: Message) -> Result<Self, Self::Error> {
                match message {
                    Message::$kind(message) => Ok(message),
                    other => Err(Box::new(other)),
                }
            }
        }
    )*};
}

conversions!(
    Anomaly,
    Evidence,
    Policy,
    Commit,
    Reputation,
    PolicyUpdate,
    EvidenceRequest
);
