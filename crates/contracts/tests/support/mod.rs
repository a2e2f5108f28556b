//! Messages of every kind, the keys that sign them, and the record they stand in.
#![allow(dead_code, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use cybermesh_contracts::envelope::{Envelope, Scope};
use cybermesh_contracts::headers;
use cybermesh_contracts::message::{
    Action, AnomalyDraft, CommitDraft, CustodyEntry, Draft, EvidenceDraft, EvidenceRequestDraft,
    Message, PolicyDraft, PolicyUpdateDraft, ReputationDraft, RequestType, RuleType, Stamp,
};
use cybermesh_contracts::nonce::Nonce;
use cybermesh_contracts::sign::{Ed25519Signer, Signer};
use cybermesh_contracts::trust::{Right, TrustStore, TrustedKey};
use cybermesh_contracts::verify::{Bounds, Verified, Verifier};
use cybermesh_contracts::{Kind, RecordView, Rejection};

pub(crate) const ID: &str = "3f2b8c1e-5d4a-4f6b-9c7d-8e1f2a3b4c5d";
pub(crate) const NOW_MS: i64 = 1_760_000_000_125;
pub(crate) const SIGNED_MS: u64 = 1_760_000_000_125;
pub(crate) const TOPIC: &str = "topic";
pub(crate) const PARTITION: i32 = 3;
pub(crate) const AUDIENCE: &str = "test";

pub(crate) fn signer() -> Ed25519Signer {
    Ed25519Signer::from_seed(&[9; 32])
}

/// A key that may sign every kind.
pub(crate) fn key() -> TrustedKey {
    TrustedKey::new("signer", signer().public_key(), Kind::ALL.map(Right::Kind)).unwrap()
}

pub(crate) fn store(key: TrustedKey) -> TrustStore {
    TrustStore::of([key]).unwrap()
}

pub(crate) fn stamp() -> Stamp {
    Stamp {
        now_ms: SIGNED_MS,
        nonce: Some(Nonce::new(SIGNED_MS, 7, 0)),
    }
}

pub(crate) fn draft(kind: Kind) -> Draft {
    let custody = CustodyEntry {
        ref_hash: [1; 32],
        actor_id: [2; 32],
        ts_s: 1,
        signature: [3; 64],
    };
    match kind {
        Kind::Anomaly => AnomalyDraft::builder(ID)
            .anomaly_type("ddos")
            .source("loop")
            .severity(8)
            .confidence(0.5)
            .model_version("v1")
            .build()
            .unwrap()
            .into(),
        Kind::Evidence => EvidenceDraft::builder(ID)
            .evidence_type("ml")
            .reference([4; 32])
            .proof(*b"proof")
            .custody(custody)
            .build()
            .unwrap()
            .into(),
        Kind::Policy => PolicyDraft::builder(ID)
            .action("drop")
            .rule("block")
            .trace_id([5; 16])
            .event_time_ms(1)
            .build()
            .unwrap()
            .into(),
        Kind::Commit => CommitDraft::builder(42, [6; 32], [7; 32])
            .tx_count(2)
            .anomaly_count(1)
            .anomaly_id(ID)
            .build()
            .unwrap()
            .into(),
        Kind::Reputation => ReputationDraft::builder(ID, Kind::Anomaly, [8; 32])
            .score(-75)
            .reason("false alarm")
            .build()
            .unwrap()
            .into(),
        Kind::PolicyUpdate => {
            PolicyUpdateDraft::builder(ID, Action::Add, RuleType::Block, *br#"{"a":1}"#)
                .effective_height(1)
                .expiration_height(2)
                .build()
                .unwrap()
                .into()
        }
        Kind::EvidenceRequest => EvidenceRequestDraft::builder(ID, RequestType::ValidationResult)
            .evidence_quality_score(8)
            .requested_type("pcap")
            .build()
            .unwrap()
            .into(),
    }
}

/// A record as a producer of ours writes it.
pub(crate) struct Produced {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) envelope: Vec<u8>,
}

impl Produced {
    pub(crate) fn of(draft: &Draft) -> Self {
        Self::signed_by(&signer(), draft)
    }

    pub(crate) fn signed_by(signer: &Ed25519Signer, draft: &Draft) -> Self {
        let value = draft.sign(signer, stamp()).unwrap().value;
        let key = draft.default_key();
        let scope = Scope {
            audience: AUDIENCE,
            topic: TOPIC,
            partition: PARTITION,
            key: Some(&key),
            value: &value,
        };
        let envelope = Envelope::sign(signer, &scope).unwrap().encode().to_vec();
        Self {
            key,
            value,
            envelope,
        }
    }

    /// Judges the record, with its envelope, at the time it was signed.
    pub(crate) fn judge(
        &self,
        kind: Kind,
        trust: &TrustStore,
    ) -> Result<Verified<Message>, Rejection> {
        let headers = [(headers::ENVELOPE, Some(self.envelope.as_slice()))];
        let verifier = Verifier::new(AUDIENCE);
        verifier.verify(
            trust,
            kind,
            &self.record(&headers),
            Some(&Bounds::at(NOW_MS)),
        )
    }

    pub(crate) fn record<'a>(
        &'a self,
        headers: &'a [(&'a str, Option<&'a [u8]>)],
    ) -> RecordView<'a> {
        RecordView {
            partition: Some(PARTITION),
            key: Some(&self.key),
            headers,
            ..RecordView::new(TOPIC, Some(&self.value))
        }
    }
}
