//! What judging asks of each kind.

use sha2::{Digest, Sha256};

use super::AnomalyPayload;
use crate::message::{
    Anomaly, Commit, Event, Evidence, EvidenceRequest, Message, Policy, PolicyUpdate, Reputation,
    Seal,
};
use crate::proto::{
    AnomalyEvent, CommitEvent, EvidenceEvent, EvidenceRequestEvent, PolicyEvent, PolicyUpdateEvent,
    ReputationEvent,
};
use crate::rejection::{JsonFault, Violation};

/// A message of one kind, as the judge sees it.
pub(super) trait Content: Into<Message> {
    type Event: Event;

    /// Lengths and ranges.
    fn parse(event: Self::Event) -> Result<Self, Violation>;

    fn seal(&self) -> Seal<'_>;

    /// Whether the hash that is signed is that of what it stands for.
    fn check_hash(&self) -> Result<(), Violation> {
        Ok(())
    }

    /// Whether fields that hold JSON do.
    fn check_json(&self, _: AnomalyPayload) -> Result<Readable, Violation> {
        Ok(Readable::Yes)
    }
}

/// Whether the payload is what the contract says, or bytes that only the handler understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readable {
    Yes,
    Opaque,
}

fn content_hash(seal: &Seal<'_>, content: &[u8], of: &'static str) -> Result<(), Violation> {
    match seal {
        Seal::Node(seal) if seal.content_hash == <[u8; 32]>::from(Sha256::digest(content)) => {
            Ok(())
        }
        Seal::Node(_) | Seal::Control(_) => Err(Violation::Hash {
            field: "content_hash",
            of,
        }),
    }
}

impl Content for Anomaly {
    type Event = AnomalyEvent;

    fn parse(event: AnomalyEvent) -> Result<Self, Violation> {
        Self::parse(event)
    }

    fn seal(&self) -> Seal<'_> {
        Seal::Node(self.seal())
    }

    fn check_hash(&self) -> Result<(), Violation> {
        content_hash(&Content::seal(self), self.payload(), "payload")
    }

    fn check_json(&self, accepted: AnomalyPayload) -> Result<Readable, Violation> {
        match self.check_payload() {
            Ok(()) => Ok(Readable::Yes),
            Err(JsonFault::Syntax { .. }) if accepted == AnomalyPayload::Any => {
                Ok(Readable::Opaque)
            }
            Err(fault) => Err(Violation::Json {
                field: "payload",
                fault,
            }),
        }
    }
}

impl Content for Evidence {
    type Event = EvidenceEvent;

    fn parse(event: EvidenceEvent) -> Result<Self, Violation> {
        Self::parse(event)
    }

    fn seal(&self) -> Seal<'_> {
        Seal::Node(self.seal())
    }

    fn check_hash(&self) -> Result<(), Violation> {
        content_hash(&Content::seal(self), self.proof(), "proof_blob")
    }
}

impl Content for Policy {
    type Event = PolicyEvent;

    fn parse(event: PolicyEvent) -> Result<Self, Violation> {
        Self::parse(event)
    }

    fn seal(&self) -> Seal<'_> {
        Seal::Node(self.seal())
    }

    fn check_hash(&self) -> Result<(), Violation> {
        content_hash(&Content::seal(self), self.params(), "params")
    }
}

impl Content for Commit {
    type Event = CommitEvent;

    fn parse(event: CommitEvent) -> Result<Self, Violation> {
        Self::parse(event)
    }

    fn seal(&self) -> Seal<'_> {
        Seal::Control(self.seal())
    }
}

impl Content for Reputation {
    type Event = ReputationEvent;

    fn parse(event: ReputationEvent) -> Result<Self, Violation> {
        Self::parse(event)
    }

    fn seal(&self) -> Seal<'_> {
        Seal::Control(self.seal())
    }
}

impl Content for PolicyUpdate {
    type Event = PolicyUpdateEvent;

    fn parse(event: PolicyUpdateEvent) -> Result<Self, Violation> {
        Self::parse(event)
    }

    fn seal(&self) -> Seal<'_> {
        Seal::Control(self.seal())
    }

    fn check_hash(&self) -> Result<(), Violation> {
        self.check_hash()
    }

    fn check_json(&self, _: AnomalyPayload) -> Result<Readable, Violation> {
        match self.check_rule() {
            Ok(()) => Ok(Readable::Yes),
            Err(fault) => Err(Violation::Json {
                field: "rule_data",
                fault,
            }),
        }
    }
}

impl Content for EvidenceRequest {
    type Event = EvidenceRequestEvent;

    fn parse(event: EvidenceRequestEvent) -> Result<Self, Violation> {
        Self::parse(event)
    }

    fn seal(&self) -> Seal<'_> {
        Seal::Control(self.seal())
    }
}
