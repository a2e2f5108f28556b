//! The messages that are sent, and how they are known again.

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::proto::{AnomalyEvent, PolicyUpdateEvent};
use prost::Message as _;
use serde_json::{Value, json};

/// A draft as `send` reads it, of a lane and with a number in it; and the id it is known by.
pub(crate) fn draft(kind: Kind, lane: &str, number: u64) -> (String, Value) {
    match kind {
        Kind::PolicyUpdate => {
            let draft = json!({
                "policy_id": lane, "action": "add", "rule_type": "block",
                "rule_data": {"n": number}, "effective_height": 1,
            });
            (numbered(lane, number), draft)
        }
        _ => {
            let id = uuid::Uuid::new_v4().to_string();
            let draft = json!({
                "id": id, "type": "chaos", "source": lane, "severity": 5, "confidence": 0.5,
                "model_version": "v1", "payload": {"n": number},
            });
            (id, draft)
        }
    }
}

/// What `listen` printed: id and lane.
pub(crate) fn printed(line: &Value) -> Option<(String, String)> {
    match line.get("kind")?.as_str()? {
        "policy_update" => {
            let lane = line.get("policy_id")?.as_str()?.to_owned();
            let rule = line.get("rule_data")?;
            let number = match rule {
                Value::String(digits) => number(&hex::decode(digits).ok()?)?,
                rule => rule.get("n")?.as_u64()?,
            };
            Some((numbered(&lane, number), lane))
        }
        _ => {
            let id = line.get("id")?.as_str()?.to_owned();
            Some((id.clone(), id))
        }
    }
}

/// What a record of the log holds: id, and nonce where the kind has one.
pub(crate) fn logged(kind: Kind, value: &[u8]) -> Option<(String, Option<String>)> {
    match kind {
        Kind::PolicyUpdate => {
            let event = PolicyUpdateEvent::decode(value).ok()?;
            let number = number(&event.rule_data)?;
            Some((numbered(&event.policy_id, number), None))
        }
        _ => {
            let event = AnomalyEvent::decode(value).ok()?;
            let nonce = [&event.pubkey[..], &event.nonce[..]].concat();
            Some((event.id, Some(hex::encode(nonce))))
        }
    }
}

fn numbered(lane: &str, number: u64) -> String {
    format!("{lane}/{number}")
}

fn number(rule: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Value>(rule)
        .ok()?
        .get("n")?
        .as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_again_when_it_is_printed() {
        let (id, mut draft) = draft(Kind::PolicyUpdate, "lane", 7);
        draft["kind"] = "policy_update".into();
        assert_eq!(printed(&draft), Some((id.clone(), "lane".to_owned())));
        draft["rule_data"] = hex::encode(r#"{"n":7}"#).into();
        assert_eq!(printed(&draft), Some((id, "lane".to_owned())));
    }

    #[test]
    fn a_message_is_known_again_in_the_log() {
        let event = PolicyUpdateEvent {
            policy_id: "lane".to_owned(),
            rule_data: br#"{"n":7}"#.to_vec(),
            ..PolicyUpdateEvent::default()
        };
        let known = logged(Kind::PolicyUpdate, &event.encode_to_vec());
        assert_eq!(known, Some(("lane/7".to_owned(), None)));
        assert_eq!(logged(Kind::PolicyUpdate, b"\xff"), None);
    }
}
