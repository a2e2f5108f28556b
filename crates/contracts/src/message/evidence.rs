//! Evidence: what backs an anomaly up.

use std::ops::RangeInclusive;

use super::event::Event;
use super::invalid::Invalid;
use super::rules::{characters, demand, entries, fixed, length, lowercase_uuid_v4};
use super::seal::NodeSeal;
use crate::proto::{ChainOfCustodyEntry, EvidenceEvent};
use crate::rejection::Violation;

/// How many hashes evidence may refer to.
pub(super) const REFS: RangeInclusive<usize> = 0..=1000;
/// Through how many hands it may have gone.
pub(super) const CUSTODY_ENTRIES: RangeInclusive<usize> = 1..=64;

/// Valid evidence.
#[derive(Clone, PartialEq, Eq)]
pub struct Evidence {
    id: String,
    evidence_type: String,
    refs: Vec<[u8; 32]>,
    proof: Vec<u8>,
    custody: Vec<CustodyEntry>,
    seal: NodeSeal,
}

/// One pair of hands that evidence went through. Its signature is the actor's affair: nothing here
/// verifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustodyEntry {
    /// SHA-256 of what was handed on.
    pub ref_hash: [u8; 32],
    /// Who had it.
    pub actor_id: [u8; 32],
    /// When, Unix seconds, above 0.
    pub ts_s: i64,
    /// What the actor signed with.
    pub signature: [u8; 64],
}

impl CustodyEntry {
    fn parse(entry: &ChainOfCustodyEntry) -> Result<Self, Violation> {
        demand(entry.ts > 0, "coc.ts", "above 0")?;
        Ok(Self {
            ref_hash: fixed("coc.ref_hash", &entry.ref_hash)?,
            actor_id: fixed("coc.actor_id", &entry.actor_id)?,
            ts_s: entry.ts,
            signature: fixed("coc.signature", &entry.signature)?,
        })
    }

    fn to_entry(self) -> ChainOfCustodyEntry {
        ChainOfCustodyEntry {
            ref_hash: self.ref_hash.to_vec(),
            actor_id: self.actor_id.to_vec(),
            ts: self.ts_s,
            signature: self.signature.to_vec(),
        }
    }
}

accessors!(Evidence {
    /// Its identifier, 1 to 128 bytes.
    id: &str = |this| this.id.as_str();
    /// What sort of evidence it is, 1 to 256 bytes.
    evidence_type: &str = |this| this.evidence_type.as_str();
    /// SHA-256 hashes of what it refers to, at most 1000.
    refs: &[[u8; 32]] = |this| this.refs.as_slice();
    /// The evidence itself, at most 262144 bytes.
    proof: &[u8] = |this| this.proof.as_slice();
    /// Through whose hands it went, 1 to 64.
    custody: &[CustodyEntry] = |this| this.custody.as_slice();
    /// What signing added.
    seal: &NodeSeal = |this| &this.seal;
});

impl Evidence {
    pub(crate) fn parse(mut event: EvidenceEvent) -> Result<Self, Violation> {
        let seal = NodeSeal::read(&mut event)?;
        check(&event)?;
        let refs = event.refs.iter().map(|hash| fixed("refs", hash));
        let refs = refs.collect::<Result<_, _>>()?;
        let custody = event.coc.iter().map(CustodyEntry::parse);
        let custody = custody.collect::<Result<_, _>>()?;
        Ok(Self {
            id: event.id,
            evidence_type: event.evidence_type,
            refs,
            proof: event.proof_blob,
            custody,
            seal,
        })
    }

    /// The wire's own struct, with all its fields.
    #[must_use]
    pub fn to_event(&self) -> EvidenceEvent {
        let mut event = EvidenceEvent {
            id: self.id.clone(),
            evidence_type: self.evidence_type.clone(),
            refs: self.refs.iter().map(|hash| hash.to_vec()).collect(),
            proof_blob: self.proof.clone(),
            coc: self.custody.iter().map(|entry| entry.to_entry()).collect(),
            ..EvidenceEvent::default()
        };
        self.seal.write(&mut event);
        event
    }
}

impl std::fmt::Debug for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evidence")
            .field("id", &self.id)
            .field("seal", &self.seal)
            .finish_non_exhaustive()
    }
}

/// Lengths and ranges.
fn check(event: &EvidenceEvent) -> Result<(), Violation> {
    length("id", &event.id, 1..=128)?;
    length("evidence_type", &event.evidence_type, 1..=256)?;
    length("proof_blob", &event.proof_blob, 0..=262_144)?;
    entries("refs", event.refs.len(), REFS)?;
    entries("coc", event.coc.len(), CUSTODY_ENTRIES)?;
    for hash in &event.refs {
        length("refs", hash, 32..=32)?;
    }
    event
        .coc
        .iter()
        .try_for_each(|entry| CustodyEntry::parse(entry).map(drop))
}

draft!(
    /// Evidence to be sent.
    EvidenceDraft of EvidenceEvent
);

impl EvidenceDraft {
    /// Starts evidence with this identifier, a lowercase hyphenated version-4 UUID.
    #[must_use]
    pub fn builder(id: impl Into<String>) -> EvidenceBuilder {
        EvidenceBuilder::from(EvidenceEvent {
            id: id.into(),
            ..EvidenceEvent::default()
        })
    }
}

/// Builds an [`EvidenceDraft`] by the rules for emitting.
#[derive(Clone, Debug)]
pub struct EvidenceBuilder {
    event: EvidenceEvent,
}

impl From<EvidenceEvent> for EvidenceBuilder {
    /// Starts from fields read elsewhere; those that signing fills are dropped.
    fn from(mut event: EvidenceEvent) -> Self {
        event.clear_seal();
        Self { event }
    }
}

setters!(EvidenceBuilder {
    /// What sort of evidence it is, 1 to 64 characters.
    evidence_type(impl Into<String>) = |event, value| event.evidence_type = value.into();
    /// Adds the SHA-256 of something it refers to; at most 1000.
    reference([u8; 32]) = |event, value| event.refs.push(value.to_vec());
    /// The evidence itself, at most 262144 bytes.
    proof(impl Into<Vec<u8>>) = |event, value| event.proof_blob = value.into();
    /// Adds a pair of hands it went through; 1 to 64. Its content is the caller's.
    custody(CustodyEntry) = |event, value| event.coc.push(value.to_entry());
});

impl EvidenceBuilder {
    /// Checks everything.
    ///
    /// # Errors
    /// [`Invalid`], naming the field.
    pub fn build(self) -> Result<EvidenceDraft, Invalid> {
        lowercase_uuid_v4("id", &self.event.id)?;
        characters("evidence_type", &self.event.evidence_type, 64)?;
        check(&self.event)?;
        Ok(EvidenceDraft { event: self.event })
    }
}
