//! Honest messages of every kind.

use cybermesh_contracts::Kind;
use cybermesh_contracts::message::{
    Action, AnomalyDraft, CommitDraft, CustodyEntry, Draft, EvidenceDraft, EvidenceRequestDraft,
    Invalid, Message, PolicyDraft, PolicyUpdateDraft, ReputationDraft, RequestType, RuleType,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

const SOURCES: [&str; 4] = ["edge-gateway", "flow-sensor", "dns-watch", "auth-log"];
const TYPES: [&str; 4] = ["ddos", "port_scan", "beaconing", "brute_force"];

/// A draft of `kind`, the `index`-th of its kind.
pub(super) fn draft(kind: Kind, index: u32) -> Result<Draft, Invalid> {
    let id = Uuid::new_v4().to_string();
    let pick = usize::try_from(index).unwrap_or(0) % SOURCES.len();
    let hash: [u8; 32] = Sha256::digest(id.as_bytes()).into();
    Ok(match kind {
        Kind::Anomaly => AnomalyDraft::builder(id)
            .anomaly_type(TYPES[pick])
            .source(SOURCES[pick])
            .severity(1 + index % 10)
            .confidence(f64::from(index % 100) / 100.0)
            .model_version("demo-1")
            .payload(bytes(
                &json!({"flows": index, "src_ip": format!("192.0.2.{}", index % 254 + 1)}),
            ))
            .build()?
            .into(),
        Kind::Evidence => EvidenceDraft::builder(id)
            .evidence_type("flow_sample")
            .reference(hash)
            .proof(bytes(&json!({"packets": index})))
            .custody(CustodyEntry {
                ref_hash: hash,
                actor_id: Sha256::digest(SOURCES[pick].as_bytes()).into(),
                ts_s: 1_760_000_000 + i64::from(index),
                signature: [0x5a; 64],
            })
            .build()?
            .into(),
        Kind::Policy => PolicyDraft::builder(id)
            .action("drop")
            .rule("block")
            .params(bytes(
                &json!({"target": format!("198.51.100.{}", index % 254 + 1)}),
            ))
            .trace_id(*Uuid::new_v4().as_bytes())
            .event_time_ms(1_760_000_000_000 + u64::from(index))
            .build()?
            .into(),
        Kind::Commit => {
            CommitDraft::builder(i64::from(index) + 1, hash, Sha256::digest(hash).into())
                .tx_count(3)
                .anomaly_count(2)
                .evidence_count(1)
                .anomaly_id(id)
                .build()?
                .into()
        }
        Kind::Reputation => ReputationDraft::builder(id, Kind::Anomaly, hash)
            .score(i32::try_from(index % 201).unwrap_or(0) - 100)
            .reason("confirmed by two validators")
            .confirmed(true)
            .build()?
            .into(),
        Kind::PolicyUpdate => {
            let rule = bytes(&json!({"cidr": format!("203.0.113.{}/32", index % 254 + 1)}));
            PolicyUpdateDraft::builder(id, Action::Add, RuleType::Block, rule)
                .effective_height(i64::from(index))
                .requires_ack(true)
                .build()?
                .into()
        }
        Kind::EvidenceRequest => EvidenceRequestDraft::builder(id, RequestType::RequestAdditional)
            .requested_type("pcap")
            .request_reason("two validators disagree")
            .build()?
            .into(),
    })
}

/// What tells one message of a kind from another.
pub(super) fn identity(message: &Message) -> String {
    match message {
        Message::Anomaly(message) => message.id().to_owned(),
        Message::Evidence(message) => message.id().to_owned(),
        Message::Policy(message) => message.id().to_owned(),
        Message::Commit(message) => message.height().to_string(),
        Message::Reputation(message) => message.ai_message_id().to_owned(),
        Message::PolicyUpdate(message) => message.policy_id().to_owned(),
        Message::EvidenceRequest(message) => message.request_id().to_owned(),
    }
}

/// The same of a draft.
pub(super) fn draft_identity(draft: &Draft) -> String {
    match draft {
        Draft::Commit(draft) => draft.event().height.to_string(),
        draft => String::from_utf8_lossy(&draft.default_key()).into_owned(),
    }
}

fn bytes(value: &serde_json::Value) -> Vec<u8> {
    value.to_string().into_bytes()
}
