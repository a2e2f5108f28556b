//! A valid draft of each kind.

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::{
    Action, AnomalyDraft, CommitDraft, CustodyEntry, Draft, EvidenceDraft, EvidenceRequestDraft,
    PolicyDraft, PolicyUpdateDraft, ReputationDraft, RequestType, RuleType,
};

use crate::log::now_ms;

/// A draft of `kind`, with an id of its own.
///
/// # Panics
/// When the builders refuse what they should not.
pub fn draft(kind: Kind) -> Draft {
    let id = uuid::Uuid::new_v4().to_string();
    match kind {
        Kind::Anomaly => Draft::Anomaly(anomaly(&id)),
        Kind::Evidence => Draft::Evidence(evidence(&id)),
        Kind::Policy => Draft::Policy(policy(&id)),
        Kind::Commit => Draft::Commit(commit(7, &id)),
        Kind::Reputation => Draft::Reputation(reputation(&id)),
        Kind::PolicyUpdate => Draft::PolicyUpdate(policy_update(&id)),
        Kind::EvidenceRequest => Draft::EvidenceRequest(evidence_request(&id)),
    }
}

/// An anomaly of this id.
///
/// # Panics
/// When the builder refuses it.
pub fn anomaly(id: &str) -> AnomalyDraft {
    AnomalyDraft::builder(id)
        .anomaly_type("port_scan")
        .source("10.0.0.7")
        .severity(8)
        .confidence(0.93)
        .payload(r#"{"ports":[22,443]}"#)
        .model_version("v2.1")
        .build()
        .expect("an anomaly")
}

fn evidence(id: &str) -> EvidenceDraft {
    let entry = CustodyEntry {
        ref_hash: [1; 32],
        actor_id: [2; 32],
        ts_s: now_ms() / 1000,
        signature: [3; 64],
    };
    EvidenceDraft::builder(id)
        .evidence_type("packet_capture")
        .reference([4; 32])
        .proof(b"\x00\xffproof".to_vec())
        .custody(entry)
        .build()
        .expect("evidence")
}

fn policy(id: &str) -> PolicyDraft {
    PolicyDraft::builder(id)
        .action("block")
        .rule("src 10.0.0.7")
        .params(r#"{"ttl_s":600}"#)
        .trace_id([7; 16])
        .event_time_ms(u64::try_from(now_ms()).expect("a time after 1970"))
        .build()
        .expect("a policy")
}

fn commit(height: i64, anomaly_id: &str) -> CommitDraft {
    let draft = CommitDraft::builder(height, [5; 32], [6; 32])
        .tx_count(3)
        .anomaly_count(1)
        .policy_count(1);
    draft.anomaly_id(anomaly_id).build().expect("a commit")
}

fn reputation(id: &str) -> ReputationDraft {
    let draft = ReputationDraft::builder(id, Kind::Anomaly, [8; 32])
        .score(-40)
        .reason("noisy");
    draft.false_positive(true).build().expect("reputation")
}

fn policy_update(id: &str) -> PolicyUpdateDraft {
    let rule = r#"{"cidr":"10.0.0.0/8"}"#;
    let draft =
        PolicyUpdateDraft::builder(id, Action::Add, RuleType::Blacklist, rule).requires_ack(true);
    draft
        .effective_height(10)
        .expiration_height(20)
        .build()
        .expect("a policy update")
}

fn evidence_request(id: &str) -> EvidenceRequestDraft {
    let draft = EvidenceRequestDraft::builder(id, RequestType::RequestAdditional).anomaly_id(id);
    draft
        .requested_type("packet_capture")
        .request_reason("unclear")
        .build()
        .expect("an evidence request")
}
