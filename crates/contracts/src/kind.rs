//! The seven kinds of message, and what each is called on the wire.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// What a message is about; the topic it is read from alone decides it.
///
/// Closed on purpose: a new kind is a new contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Something a node saw (`cybermesh.ai.v1.AnomalyEvent`).
    Anomaly,
    /// What backs an anomaly up (`cybermesh.ai.v1.EvidenceEvent`).
    Evidence,
    /// What a node proposes to do (`cybermesh.ai.v1.PolicyEvent`).
    Policy,
    /// A block the backend committed (`cybermesh.control.v1.CommitEvent`).
    Commit,
    /// The backend's judgement of a node's message (`cybermesh.control.v1.ReputationEvent`).
    Reputation,
    /// A rule that nodes are to apply (`cybermesh.control.v1.PolicyUpdateEvent`).
    PolicyUpdate,
    /// The backend's question for evidence, or its answer to some (`cybermesh.control.v1.EvidenceRequestEvent`).
    EvidenceRequest,
}

impl Kind {
    /// Every kind, node kinds first.
    pub const ALL: [Self; 7] = [
        Self::Anomaly,
        Self::Evidence,
        Self::Policy,
        Self::Commit,
        Self::Reputation,
        Self::PolicyUpdate,
        Self::EvidenceRequest,
    ];
    /// The kinds that nodes send: fixed signing layout with a nonce.
    pub const NODE: [Self; 3] = [Self::Anomaly, Self::Evidence, Self::Policy];
    /// The kinds that the backend sends: the protobuf itself is signed, without a nonce.
    pub const CONTROL: [Self; 4] = [
        Self::Commit,
        Self::Reputation,
        Self::PolicyUpdate,
        Self::EvidenceRequest,
    ];

    /// The name in settings, headers, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anomaly => "anomaly",
            Self::Evidence => "evidence",
            Self::Policy => "policy",
            Self::Commit => "commit",
            Self::Reputation => "reputation",
            Self::PolicyUpdate => "policy_update",
            Self::EvidenceRequest => "evidence_request",
        }
    }

    /// The topic it travels on unless the settings name another.
    #[must_use]
    pub const fn default_topic(self) -> &'static str {
        match self {
            Self::Anomaly => "ai.anomalies.v1",
            Self::Evidence => "ai.evidence.v1",
            Self::Policy => "ai.policy.v1",
            Self::Commit => "control.commits.v1",
            Self::Reputation => "control.reputation.v1",
            Self::PolicyUpdate => "control.policy.v1",
            Self::EvidenceRequest => "control.evidence.v1",
        }
    }

    /// The domain that a signature of this kind starts with when it is made here.
    #[must_use]
    pub const fn signing_domain(self) -> &'static str {
        match self {
            Self::Anomaly => "ai.anomaly.v1",
            Self::Evidence => "ai.evidence.v1",
            Self::Policy => "ai.policy.v1",
            Self::Commit => "control.commits.v1",
            Self::Reputation => "control.reputation.v1",
            Self::PolicyUpdate => "control.policy.v2",
            Self::EvidenceRequest => "control.evidence.v1",
        }
    }

    /// The domains under which a signature of this kind is believed, the one we sign with first.
    ///
    /// Policy updates are published under two domains by deployed backends.
    #[must_use]
    pub const fn accepted_domains(self) -> &'static [&'static str] {
        match self {
            Self::Anomaly => &["ai.anomaly.v1"],
            Self::Evidence => &["ai.evidence.v1"],
            Self::Policy => &["ai.policy.v1"],
            Self::Commit => &["control.commits.v1"],
            Self::Reputation => &["control.reputation.v1"],
            Self::PolicyUpdate => &["control.policy.v2", "control.policy.v1"],
            Self::EvidenceRequest => &["control.evidence.v1"],
        }
    }

    /// Whether the backend sends it (and no nonce is in it).
    #[must_use]
    pub const fn is_control(self) -> bool {
        match self {
            Self::Anomaly | Self::Evidence | Self::Policy => false,
            Self::Commit | Self::Reputation | Self::PolicyUpdate | Self::EvidenceRequest => true,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| UnknownKind {
                name: name.to_owned(),
            })
    }
}

/// A name that is none of the seven kinds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "\"{name}\" is no kind of message; accepted are anomaly, evidence, policy, commit, reputation, \
     policy_update and evidence_request"
)]
pub struct UnknownKind {
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_own_name() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert!("Anomaly".parse::<Kind>().is_err());
    }

    #[test]
    fn node_and_control_kinds_together_are_all_kinds() {
        let joined: Vec<_> = Kind::NODE.into_iter().chain(Kind::CONTROL).collect();
        assert_eq!(joined, Kind::ALL);
        assert!(Kind::NODE.iter().all(|kind| !kind.is_control()));
        assert!(Kind::CONTROL.iter().all(|kind| kind.is_control()));
    }

    #[test]
    fn what_is_signed_here_is_accepted_here() {
        for kind in Kind::ALL {
            assert_eq!(kind.accepted_domains()[0], kind.signing_domain());
        }
    }
}
