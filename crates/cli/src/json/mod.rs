//! Messages as JSON lines: drafts to send, verified messages as received.
//!
//! Fields have their proto names and bytes are hex digits. What signing fills in is refused in a
//! draft; identifiers that are absent are made up.

mod object;

use cybermesh_contracts::Kind;
use cybermesh_contracts::message::{
    AnomalyBuilder, CommitBuilder, Draft, EvidenceBuilder, EvidenceRequestBuilder, Invalid,
    PolicyBuilder, PolicyDraft, PolicyUpdateBuilder, ReputationBuilder,
};
use cybermesh_contracts::proto::{
    AnomalyEvent, CommitEvent, EvidenceEvent, EvidenceRequestEvent, PolicyEvent, PolicyUpdateEvent,
    ReputationEvent,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use object::{Object, from_hex};

/// Fields that signing fills in, whichever kind has them.
const SEALED: [&str; 8] = [
    "ts",
    "timestamp",
    "content_hash",
    "producer_id",
    "nonce",
    "signature",
    "pubkey",
    "alg",
];

/// Bytes that may also be written as a JSON object.
const JSON_BYTES: [&str; 3] = ["payload", "params", "rule_data"];

/// Reads one draft.
///
/// What it leaves out that every message of the kind must have is taken from `made_up`.
///
/// # Errors
/// What is wrong with the line, without its values.
pub(crate) fn draft(kind: Kind, line: &str, made_up: MadeUp) -> Result<Draft, String> {
    let MadeUp {
        id,
        trace_id,
        now_ms,
    } = made_up;
    let invalid = |error: Invalid| error.to_string();
    let fill = |field: &mut String| {
        if field.is_empty() {
            *field = id;
        }
    };
    Ok(match kind {
        Kind::Anomaly => {
            let mut event: AnomalyEvent = event(line)?;
            fill(&mut event.id);
            if event.payload.is_empty() {
                event.payload = b"{}".to_vec();
            }
            AnomalyBuilder::from(event).build().map_err(invalid)?.into()
        }
        Kind::Evidence => {
            let mut event: EvidenceEvent = event(line)?;
            fill(&mut event.id);
            EvidenceBuilder::from(event)
                .build()
                .map_err(invalid)?
                .into()
        }
        Kind::Policy => {
            let mut event: PolicyEvent = event(line)?;
            fill(&mut event.id);
            if event.params.is_empty() {
                event.params = b"{}".to_vec();
            }
            policy(event, trace_id, now_ms).map_err(invalid)?.into()
        }
        Kind::Commit => CommitBuilder::from(event::<CommitEvent>(line)?)
            .build()
            .map_err(invalid)?
            .into(),
        Kind::Reputation => ReputationBuilder::from(event::<ReputationEvent>(line)?)
            .build()
            .map_err(invalid)?
            .into(),
        Kind::PolicyUpdate => {
            let mut event: PolicyUpdateEvent = event(line)?;
            fill(&mut event.policy_id);
            PolicyUpdateBuilder::from(event)
                .build()
                .map_err(invalid)?
                .into()
        }
        Kind::EvidenceRequest => {
            let mut event: EvidenceRequestEvent = event(line)?;
            fill(&mut event.request_id);
            EvidenceRequestBuilder::from(event)
                .build()
                .map_err(invalid)?
                .into()
        }
    })
}

/// A draft as JSON: the fields that it has before it is signed.
pub(crate) fn message(draft: &Draft) -> serde_json::Value {
    let fields = match draft {
        Draft::Anomaly(draft) => serde_json::to_value(draft.event()),
        Draft::Evidence(draft) => serde_json::to_value(draft.event()),
        Draft::Policy(draft) => serde_json::to_value(draft.event()),
        Draft::Commit(draft) => serde_json::to_value(draft.event()),
        Draft::Reputation(draft) => serde_json::to_value(draft.event()),
        Draft::PolicyUpdate(draft) => serde_json::to_value(draft.event()),
        Draft::EvidenceRequest(draft) => serde_json::to_value(draft.event()),
    };
    let mut fields = fields.unwrap_or_default();
    if let Some(fields) = fields.as_object_mut() {
        fields.retain(|name, _| !SEALED.contains(&name.as_str()));
    }
    fields
}

/// A policy whose parameters say what they can say themselves, and are told the rest.
fn policy(event: PolicyEvent, trace_id: [u8; 16], now_ms: u64) -> Result<PolicyDraft, Invalid> {
    let mut builder = PolicyBuilder::from(event);
    if !builder.carries_trace()? {
        builder = builder.trace_id(trace_id);
    }
    match builder.clone().build() {
        Err(Invalid::Untraced { .. }) => builder.event_time_ms(now_ms).build(),
        built => built,
    }
}

/// What stands in for values that a draft leaves out.
#[derive(Debug, Clone)]
pub(crate) struct MadeUp {
    /// A lowercase version-4 UUID.
    pub(crate) id: String,
    /// The trace of a policy that belongs to none.
    pub(crate) trace_id: [u8; 16],
    /// Unix milliseconds.
    pub(crate) now_ms: u64,
}

impl MadeUp {
    /// Random identifiers and the clock's time.
    pub(crate) fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            trace_id: *uuid::Uuid::new_v4().as_bytes(),
            now_ms: since.map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }),
        }
    }
}

fn event<E: DeserializeOwned + Serialize + Default>(line: &str) -> Result<E, String> {
    let mut object = Object::parse(line)?;
    let known = field_names::<E>()?;
    let mut fields = Vec::new();
    for name in &known {
        let value = if JSON_BYTES.contains(&name.as_str()) {
            object
                .bytes_or_json(name)?
                .map(|bytes| format!("\"{}\"", hex::encode(bytes)))
        } else {
            object.take(name).map(|raw| raw.get().to_owned())
        };
        let Some(value) = value else { continue };
        if SEALED.contains(&name.as_str()) {
            return Err(format!(
                "{name} is filled in when the message is signed; leave it out"
            ));
        }
        let field = format!("\"{name}\":{value}");
        // Field by field, since serde's own message would repeat the value.
        serde_json::from_str::<E>(&format!("{{{field}}}"))
            .map_err(|_| format!("{name}: not of the field's type, or out of its range"))?;
        fields.push(field);
    }
    let accepted: Vec<&str> = known
        .iter()
        .map(String::as_str)
        .filter(|name| !SEALED.contains(name))
        .collect();
    object.finish(&accepted.join(", "))?;
    serde_json::from_str(&format!("{{{}}}", fields.join(",")))
        .map_err(|_| "the fields do not make a message together".to_owned())
}

fn field_names<E: Serialize + Default>() -> Result<Vec<String>, String> {
    match serde_json::to_value(E::default()) {
        Ok(serde_json::Value::Object(fields)) => Ok(fields.keys().cloned().collect()),
        _ => Err("this kind has no JSON form".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_up() -> MadeUp {
        MadeUp {
            id: "3f2b8c1e-5d4a-4f6b-9c7d-8e1f2a3b4c5d".to_owned(),
            trace_id: [0xa1; 16],
            now_ms: 1_760_000_000_125,
        }
    }

    const ANOMALY: &str = r#"{"type":"ddos","source":"edge","severity":8,"confidence":0.5,"model_version":"v1","payload":{ "b" : 1, "a" : [ 2 ] }}"#;

    #[test]
    fn an_absent_id_is_made_up_and_a_payload_keeps_its_order() {
        let Draft::Anomaly(draft) = draft(Kind::Anomaly, ANOMALY, made_up()).unwrap() else {
            panic!("another kind");
        };
        assert_eq!(draft.event().id, made_up().id);
        let payload = String::from_utf8(draft.event().payload.clone()).unwrap();
        assert!(payload.starts_with(r#"{"b":1,"a":[2],"#), "{payload}");
    }

    #[test]
    fn what_signing_fills_in_is_refused() {
        let line = ANOMALY.replace("\"source\"", "\"ts\":1,\"source\"");
        let error = draft(Kind::Anomaly, &line, made_up()).unwrap_err();
        assert!(error.starts_with("ts is filled in"), "{error}");
    }

    #[test]
    fn an_unknown_name_is_named_with_what_is_accepted() {
        let line = ANOMALY.replace("\"source\"", "\"sauce\"");
        let error = draft(Kind::Anomaly, &line, made_up()).unwrap_err();
        assert!(
            error.contains("\"sauce\"") && error.contains("source"),
            "{error}"
        );
    }

    #[test]
    fn a_value_out_of_range_is_named_and_not_repeated() {
        let line = ANOMALY.replace("\"severity\":8", "\"severity\":4294967296");
        let error = draft(Kind::Anomaly, &line, made_up()).unwrap_err();
        assert!(
            error.contains("severity") && !error.contains("4294967296"),
            "{error}"
        );
    }

    #[test]
    fn a_policy_gets_the_trace_that_a_strict_backend_asks_for() {
        let line = r#"{"action":"drop","rule":"block","params":{"ip":"192.0.2.1"}}"#;
        let Draft::Policy(draft) = draft(Kind::Policy, line, made_up()).unwrap() else {
            panic!("another kind");
        };
        let params: serde_json::Value = serde_json::from_slice(&draft.event().params).unwrap();
        assert_eq!(params["metadata"]["trace_id"], "a1".repeat(16));
        assert_eq!(params["metadata"]["ai_event_ts_ms"], made_up().now_ms);
    }

    #[test]
    fn every_control_kind_can_be_drafted() {
        let hash = "ab".repeat(32);
        for (kind, line) in [
            (
                Kind::Commit,
                format!(r#"{{"height":1,"block_hash":"{hash}","state_root":"{hash}"}}"#),
            ),
            (
                Kind::Reputation,
                format!(
                    r#"{{"ai_message_id":"{}","ai_producer_id":"{hash}","message_type":"anomaly","score":-5}}"#,
                    made_up().id
                ),
            ),
            (
                Kind::PolicyUpdate,
                r#"{"action":"add","rule_type":"block","rule_data":{"cidr":"192.0.2.0/24"}}"#
                    .to_owned(),
            ),
            (
                Kind::EvidenceRequest,
                r#"{"request_type":"challenge","challenge_data":"00ff"}"#.to_owned(),
            ),
        ] {
            assert_eq!(draft(kind, &line, made_up()).unwrap().kind(), kind);
        }
    }
}
