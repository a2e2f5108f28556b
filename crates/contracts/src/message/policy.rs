//! Policies: what a node proposes to do.

use super::event::Event;
use super::invalid::Invalid;
use super::rules::{characters, length, lowercase_uuid};
use super::seal::NodeSeal;
use crate::json::{Object, Shape};
use crate::proto::PolicyEvent;
use crate::rejection::Violation;

/// A valid policy.
#[derive(Clone, PartialEq, Eq)]
pub struct Policy {
    id: String,
    action: String,
    rule: String,
    params: Vec<u8>,
    seal: NodeSeal,
}

accessors!(Policy {
    /// Its identifier, 1 to 128 bytes.
    id: &str = |this| this.id.as_str();
    /// What is to be done, 1 to 256 bytes.
    action: &str = |this| this.action.as_str();
    /// By which rule, 1 to 256 bytes.
    rule: &str = |this| this.rule.as_str();
    /// The rule's parameters, at most 524288 bytes, in whatever form the sender chose.
    params: &[u8] = |this| this.params.as_slice();
    /// What signing added.
    seal: &NodeSeal = |this| &this.seal;
});

impl Policy {
    pub(crate) fn parse(mut event: PolicyEvent) -> Result<Self, Violation> {
        let seal = NodeSeal::read(&mut event)?;
        check(&event)?;
        Ok(Self {
            id: event.id,
            action: event.action,
            rule: event.rule,
            params: event.params,
            seal,
        })
    }

    /// The wire's own struct, with all its fields.
    #[must_use]
    pub fn to_event(&self) -> PolicyEvent {
        let mut event = PolicyEvent {
            id: self.id.clone(),
            action: self.action.clone(),
            rule: self.rule.clone(),
            params: self.params.clone(),
            ..PolicyEvent::default()
        };
        self.seal.write(&mut event);
        event
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy")
            .field("id", &self.id)
            .field("seal", &self.seal)
            .finish_non_exhaustive()
    }
}

/// Lengths and ranges.
fn check(event: &PolicyEvent) -> Result<(), Violation> {
    length("id", &event.id, 1..=128)?;
    length("action", &event.action, 1..=256)?;
    length("rule", &event.rule, 1..=256)?;
    length("params", &event.params, 0..=524_288)
}

draft!(
    /// A policy to be sent.
    PolicyDraft of PolicyEvent
);

impl PolicyDraft {
    /// Starts a policy with this identifier, a lowercase hyphenated UUID of any version.
    #[must_use]
    pub fn builder(id: impl Into<String>) -> PolicyBuilder {
        PolicyBuilder::from(PolicyEvent {
            id: id.into(),
            params: b"{}".to_vec(),
            ..PolicyEvent::default()
        })
    }
}

/// Builds a [`PolicyDraft`] by the rules for emitting.
///
/// Backends in strict mode ask for an object `metadata` in the parameters, with `trace_id` (32 hex
/// digits) and `ai_event_ts_ms` (an integer). The builder adds what of it is missing and it was told.
#[derive(Clone, Debug)]
pub struct PolicyBuilder {
    event: PolicyEvent,
    trace_id: Option<[u8; 16]>,
    event_time_ms: Option<u64>,
}

impl From<PolicyEvent> for PolicyBuilder {
    /// Starts from fields read elsewhere; those that signing fills are dropped.
    fn from(mut event: PolicyEvent) -> Self {
        event.clear_seal();
        Self {
            event,
            trace_id: None,
            event_time_ms: None,
        }
    }
}

setters!(PolicyBuilder {
    /// What is to be done, 1 to 64 characters.
    action(impl Into<String>) = |event, value| event.action = value.into();
    /// By which rule, 1 to 256 bytes.
    rule(impl Into<String>) = |event, value| event.rule = value.into();
    /// The rule's parameters, a JSON object; by default empty.
    params(impl Into<Vec<u8>>) = |event, value| event.params = value.into();
});

impl PolicyBuilder {
    /// The trace it belongs to; a random one where no trace is active. Not all zeros.
    #[must_use]
    pub const fn trace_id(mut self, trace_id: [u8; 16]) -> Self {
        self.trace_id = Some(trace_id);
        self
    }

    /// When what it answers to happened, Unix milliseconds.
    #[must_use]
    pub const fn event_time_ms(mut self, time_ms: u64) -> Self {
        self.event_time_ms = Some(time_ms);
        self
    }

    /// Whether the parameters carry a trace already.
    ///
    /// # Errors
    /// [`Invalid`] where the parameters are no JSON object.
    pub fn carries_trace(&self) -> Result<bool, Invalid> {
        let object = read_params(&self.event.params)?;
        let Some(metadata) = object.member("metadata") else {
            return Ok(false);
        };
        Ok(Object::read(metadata.text).is_ok_and(|metadata| metadata.member("trace_id").is_some()))
    }

    /// Checks everything, and completes the parameters' metadata.
    ///
    /// # Errors
    /// [`Invalid`], naming the field.
    pub fn build(mut self) -> Result<PolicyDraft, Invalid> {
        lowercase_uuid("id", &self.event.id)?;
        characters("action", &self.event.action, 64)?;
        characters("rule", &self.event.rule, 256)?;
        self.event.params = self.complete()?;
        check(&self.event)?;
        Ok(PolicyDraft { event: self.event })
    }

    /// The parameters with their metadata.
    fn complete(&self) -> Result<Vec<u8>, Invalid> {
        let params = &self.event.params;
        let object = read_params(params)?;
        let other = |key| Invalid::OtherValue {
            field: "params",
            key,
        };
        let Some(member) = object.member("metadata") else {
            let metadata = self.metadata(b"{}")?;
            let metadata = String::from_utf8(metadata).map_err(|_| other("metadata"))?;
            return Ok(object.with_members(params, &[("metadata", metadata)]));
        };
        if member.shape != Shape::Object {
            return Err(other("metadata"));
        }
        let start = member.end - member.text.len();
        let mut completed = params.get(..start).unwrap_or_default().to_vec();
        completed.extend(self.metadata(member.text)?);
        completed.extend_from_slice(params.get(member.end..).unwrap_or_default());
        Ok(completed)
    }

    fn metadata(&self, text: &[u8]) -> Result<Vec<u8>, Invalid> {
        let object = read_params(text)?;
        let mut additions = Vec::new();
        let told = self.trace_id.filter(|id| *id != [0; 16]).map(hex::encode);
        match (object.member("trace_id"), told) {
            (None, None) => return Err(Invalid::Untraced { key: "trace_id" }),
            (None, Some(told)) => additions.push(("trace_id", format!("\"{told}\""))),
            (Some(member), told) => {
                let said = member.as_string().unwrap_or_default();
                let is_told = told.is_none_or(|told| said.eq_ignore_ascii_case(told.as_bytes()));
                if !is_trace_id(&said) || !is_told {
                    return Err(Invalid::OtherValue {
                        field: "params",
                        key: "metadata.trace_id",
                    });
                }
            }
        }
        match (object.member("ai_event_ts_ms"), self.event_time_ms) {
            (None, None) => {
                return Err(Invalid::Untraced {
                    key: "ai_event_ts_ms",
                });
            }
            (None, Some(told)) => additions.push(("ai_event_ts_ms", told.to_string())),
            (Some(member), told) => {
                // Digits alone: a fraction or an exponent is no integer to Go's decoder.
                let said = std::str::from_utf8(member.text)
                    .ok()
                    .and_then(|text| text.parse::<i64>().ok());
                let is_told = told
                    .is_none_or(|told| said.and_then(|said| said.try_into().ok()) == Some(told));
                if said.is_none() || !is_told {
                    return Err(Invalid::OtherValue {
                        field: "params",
                        key: "metadata.ai_event_ts_ms",
                    });
                }
            }
        }
        Ok(object.with_members(text, &additions))
    }
}

fn read_params(text: &[u8]) -> Result<Object<'_>, Invalid> {
    Object::read(text).map_err(|fault| Invalid::json("params", fault))
}

fn is_trace_id(said: &[u8]) -> bool {
    said.len() == 32 && said.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> PolicyBuilder {
        PolicyDraft::builder("7c9e6679-7425-40de-944b-e07fc1f90ae7")
            .action("drop")
            .rule("block")
    }

    fn params(builder: PolicyBuilder) -> Result<String, Invalid> {
        let draft = builder.build()?;
        Ok(String::from_utf8(draft.event().params.clone()).unwrap())
    }

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn metadata_is_added_where_there_is_none() {
        let told = builder().trace_id([0xab; 16]).event_time_ms(5);
        assert_eq!(
            params(told.clone().params(*br#"{"z":1.50, "a":2}"#)).unwrap(),
            format!(
                r#"{{"z":1.50, "a":2,"metadata":{{"trace_id":"{}","ai_event_ts_ms":5}}}}"#,
                "ab".repeat(16)
            )
        );
        assert!(params(told.clone().params(*b"")).is_err());
        assert!(params(told.params(*b"[]")).is_err());
    }

    #[test]
    fn metadata_that_is_there_is_completed_or_kept() {
        let partly = format!(r#"{{"metadata":{{"trace_id":"{TRACE}"}},"a":1}}"#);
        let completed = params(builder().params(partly.as_bytes()).event_time_ms(7)).unwrap();
        assert_eq!(
            completed,
            format!(r#"{{"metadata":{{"trace_id":"{TRACE}","ai_event_ts_ms":7}},"a":1}}"#)
        );
        assert_eq!(
            params(builder().params(completed.as_bytes())).unwrap(),
            completed
        );
    }

    #[test]
    fn metadata_that_says_something_else_is_invalid() {
        let whole = format!(r#"{{"metadata":{{"trace_id":"{TRACE}","ai_event_ts_ms":7}}}}"#);
        let whole = builder().params(whole.as_bytes());
        assert!(params(whole.clone().event_time_ms(8)).is_err());
        assert!(params(whole.trace_id([1; 16])).is_err());
        for metadata in [
            "1".to_owned(),
            r#"{"trace_id":"abc","ai_event_ts_ms":7}"#.to_owned(),
            format!(r#"{{"trace_id":"{TRACE}","ai_event_ts_ms":7.0}}"#),
            format!(r#"{{"trace_id":"{TRACE}","ai_event_ts_ms":"7"}}"#),
        ] {
            let text = format!(r#"{{"metadata":{metadata}}}"#);
            assert!(params(builder().params(text.as_bytes())).is_err(), "{text}");
        }
    }

    #[test]
    fn what_nobody_told_is_asked_for() {
        assert_eq!(
            params(builder().event_time_ms(1)),
            Err(Invalid::Untraced { key: "trace_id" })
        );
        assert_eq!(
            params(builder().event_time_ms(1).trace_id([0; 16])),
            Err(Invalid::Untraced { key: "trace_id" })
        );
        assert_eq!(
            params(builder().trace_id([1; 16])),
            Err(Invalid::Untraced {
                key: "ai_event_ts_ms"
            })
        );
    }
}
