//! The message everything is measured with: an anomaly of some 720 bytes, each with an id of its own.

use cybermesh_contracts::message::AnomalyDraft;
use cybermesh_contracts::sign::Ed25519Signer;

use crate::Failure;

/// What a detector tells of a flood, as JSON.
const DETAIL: &str = r#""flow":{"src":"10.20.30.40","dst":"10.1.0.17","sport":51514,"dport":443,"proto":"tcp"},"window_ms":1000,"packets":18234,"bytes":9934712,"syn_ratio":0.9132,"entropy":{"src":1.204,"dst":0.318},"model":{"name":"ddos-lstm","score":0.9731,"threshold":0.85},"features":[0.113,0.981,0.442,0.007,0.655,0.301,0.998,0.120,0.777,0.050],"ttl_s":300}"#;

/// The key that signs.
pub(crate) fn signer() -> Ed25519Signer {
    Ed25519Signer::from_seed(&[7; 32])
}

/// The anomaly of this number, through the builder that every sender uses.
pub(crate) fn anomaly(number: u64) -> Result<AnomalyDraft, Failure> {
    let id = format!("7c9e6679-7425-40de-944b-{number:012x}");
    let draft = AnomalyDraft::builder(id)
        .anomaly_type("ddos.syn")
        .source("ai-service-01")
        .severity(8)
        .confidence(0.9731)
        .payload(format!(r#"{{"seq":{number},{DETAIL}"#))
        .model_version("v2.4.1")
        .build()?;
    Ok(draft)
}
