//! Anomalies: what a node saw.

use super::event::Event;
use super::invalid::Invalid;
use super::rules::{characters, demand, length, lowercase_uuid_v4};
use super::seal::NodeSeal;
use crate::json::Object;
use crate::proto::AnomalyEvent;
use crate::rejection::{JsonFault, Violation};

/// How far a payload's `confidence` may lie from the field's.
const CONFIDENCE_TOLERANCE: f64 = 1e-6;

/// A valid anomaly.
#[derive(Clone, PartialEq)]
pub struct Anomaly {
    id: String,
    anomaly_type: String,
    source: String,
    severity: u32,
    confidence: f64,
    payload: Vec<u8>,
    model_version: String,
    seal: NodeSeal,
}

accessors!(Anomaly {
    /// Its identifier, 1 to 128 bytes.
    id: &str = |this| this.id.as_str();
    /// What sort of anomaly it is, 1 to 256 bytes.
    anomaly_type: &str = |this| this.anomaly_type.as_str();
    /// Which detector saw it, 1 to 256 bytes.
    source: &str = |this| this.source.as_str();
    /// 1 to 10.
    severity: u32 = |this| this.severity;
    /// 0 to 1.
    confidence: f64 = |this| this.confidence;
    /// A JSON object with the same severity and confidence, 1 to 524288 bytes; any bytes where the
    /// receiver takes those.
    payload: &[u8] = |this| this.payload.as_slice();
    /// The version of the model that judged, 1 to 256 bytes.
    model_version: &str = |this| this.model_version.as_str();
    /// What signing added.
    seal: &NodeSeal = |this| &this.seal;
});

impl Anomaly {
    pub(crate) fn parse(mut event: AnomalyEvent) -> Result<Self, Violation> {
        let seal = NodeSeal::read(&mut event)?;
        check(&event)?;
        Ok(Self {
            id: event.id,
            anomaly_type: event.r#type,
            source: event.source,
            severity: event.severity,
            confidence: event.confidence,
            payload: event.payload,
            model_version: event.model_version,
            seal,
        })
    }

    /// Whether the payload says what the fields say.
    pub(crate) fn check_payload(&self) -> Result<(), JsonFault> {
        agrees(&self.payload, self.severity, self.confidence)
    }

    /// The wire's own struct, with all its fields.
    #[must_use]
    pub fn to_event(&self) -> AnomalyEvent {
        let mut event = AnomalyEvent {
            id: self.id.clone(),
            r#type: self.anomaly_type.clone(),
            source: self.source.clone(),
            severity: self.severity,
            confidence: self.confidence,
            payload: self.payload.clone(),
            model_version: self.model_version.clone(),
            ..AnomalyEvent::default()
        };
        self.seal.write(&mut event);
        event
    }
}

impl std::fmt::Debug for Anomaly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Anomaly")
            .field("id", &self.id)
            .field("seal", &self.seal)
            .finish_non_exhaustive()
    }
}

/// Lengths and ranges.
fn check(event: &AnomalyEvent) -> Result<(), Violation> {
    check_fields(event)?;
    length("payload", &event.payload, 1..=524_288)
}

/// Those of all fields but the payload, which a builder has yet to complete.
fn check_fields(event: &AnomalyEvent) -> Result<(), Violation> {
    length("id", &event.id, 1..=128)?;
    length("type", &event.r#type, 1..=256)?;
    length("source", &event.source, 1..=256)?;
    length("model_version", &event.model_version, 1..=256)?;
    demand((1..=10).contains(&event.severity), "severity", "1 to 10")?;
    // Neither bound holds for NaN.
    demand(
        (0.0..=1.0).contains(&event.confidence),
        "confidence",
        "0 to 1",
    )
}

fn agrees(payload: &[u8], severity: u32, confidence: f64) -> Result<(), JsonFault> {
    let object = Object::read(payload)?;
    let said = object.number("severity")?;
    #[expect(clippy::float_cmp, reason = "integers up to 10 are exact")]
    if said != f64::from(severity) {
        return Err(JsonFault::Differs { key: "severity" });
    }
    let said = object.number("confidence")?;
    if (said - confidence).abs() <= CONFIDENCE_TOLERANCE {
        Ok(())
    } else {
        Err(JsonFault::Differs { key: "confidence" })
    }
}

draft!(
    /// An anomaly to be sent.
    AnomalyDraft of AnomalyEvent
);

impl AnomalyDraft {
    /// Starts an anomaly with this identifier, a lowercase hyphenated version-4 UUID.
    #[must_use]
    pub fn builder(id: impl Into<String>) -> AnomalyBuilder {
        AnomalyBuilder::from(AnomalyEvent {
            id: id.into(),
            payload: b"{}".to_vec(),
            ..AnomalyEvent::default()
        })
    }
}

/// Builds an [`AnomalyDraft`] by the rules for emitting.
#[derive(Clone, Debug)]
pub struct AnomalyBuilder {
    event: AnomalyEvent,
    opaque: bool,
}

impl From<AnomalyEvent> for AnomalyBuilder {
    /// Starts from fields read elsewhere; those that signing fills are dropped.
    fn from(mut event: AnomalyEvent) -> Self {
        event.clear_seal();
        Self {
            event,
            opaque: false,
        }
    }
}

setters!(AnomalyBuilder {
    /// What sort of anomaly it is, 1 to 64 characters.
    anomaly_type(impl Into<String>) = |event, value| event.r#type = value.into();
    /// Which detector saw it, 1 to 256 bytes.
    source(impl Into<String>) = |event, value| event.source = value.into();
    /// 1 to 10.
    severity(u32) = |event, value| event.severity = value;
    /// 0 to 1.
    confidence(f64) = |event, value| event.confidence = value;
    /// A JSON object; the builder adds `severity`, `confidence` and `anomaly_id`. By default empty.
    payload(impl Into<Vec<u8>>) = |event, value| event.payload = value.into();
    /// The version of the model that judged, 1 to 64 characters.
    model_version(impl Into<String>) = |event, value| event.model_version = value.into();
});

impl AnomalyBuilder {
    /// A payload that goes as it stands. Only receivers set to take any payload accept bytes that are
    /// not JSON.
    #[must_use]
    pub fn opaque_payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.event.payload = payload.into();
        self.opaque = true;
        self
    }

    /// Checks everything, and completes the payload.
    ///
    /// # Errors
    /// [`Invalid`], naming the field.
    pub fn build(mut self) -> Result<AnomalyDraft, Invalid> {
        lowercase_uuid_v4("id", &self.event.id)?;
        characters("type", &self.event.r#type, 64)?;
        characters("source", &self.event.source, 256)?;
        characters("model_version", &self.event.model_version, 64)?;
        if self.event.confidence == 0.0 {
            // Minus zero would not be absent on every implementation's wire.
            self.event.confidence = 0.0;
        }
        check_fields(&self.event)?;
        if !self.opaque {
            self.event.payload = complete(&self.event)?;
        }
        length("payload", &self.event.payload, 1..=524_288)?;
        match agrees(
            &self.event.payload,
            self.event.severity,
            self.event.confidence,
        ) {
            Ok(()) => {}
            Err(JsonFault::Syntax { .. }) if self.opaque => {}
            Err(fault) => return Err(Invalid::json("payload", fault)),
        }
        Ok(AnomalyDraft { event: self.event })
    }
}

/// The payload with what the builder puts there itself.
fn complete(event: &AnomalyEvent) -> Result<Vec<u8>, Invalid> {
    let object = Object::read(&event.payload).map_err(|fault| Invalid::json("payload", fault))?;
    let other = |key| Invalid::OtherValue {
        field: "payload",
        key,
    };
    let mut additions = Vec::new();
    for (key, value) in [
        ("severity", f64::from(event.severity)),
        ("confidence", event.confidence),
    ] {
        match object.member(key) {
            None if key == "severity" => additions.push((key, event.severity.to_string())),
            None => additions.push((key, serde_json::Value::from(value).to_string())),
            #[expect(clippy::float_cmp, reason = "the same number, written in whatever way")]
            Some(member) if member.as_number().is_some_and(|said| said == value) => {}
            Some(_) => return Err(other(key)),
        }
    }
    match object.member("anomaly_id") {
        None => additions.push(("anomaly_id", format!("\"{}\"", event.id))),
        Some(member) if member.as_string().as_deref() == Some(event.id.as_bytes()) => {}
        Some(_) => return Err(other("anomaly_id")),
    }
    Ok(object.with_members(&event.payload, &additions))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f2b8c1e-5d4a-4f6b-9c7d-8e1f2a3b4c5d";

    fn builder() -> AnomalyBuilder {
        AnomalyDraft::builder(ID)
            .anomaly_type("ddos")
            .source("detection_loop")
            .severity(8)
            .confidence(0.93)
            .model_version("v1")
    }

    #[test]
    fn the_builder_puts_severity_confidence_and_id_into_the_payload() {
        let draft = builder()
            .payload(*br#"{"big":12345678901234567890.10}"#)
            .build()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&draft.event().payload),
            format!(
                r#"{{"big":12345678901234567890.10,"severity":8,"confidence":0.93,"anomaly_id":"{ID}"}}"#
            )
        );
    }

    #[test]
    fn a_payload_that_says_the_same_stays_as_it_is() {
        let payload =
            format!(r#"{{ "confidence": 9.3e-1, "anomaly_id": "{ID}", "severity": 8.0 }}"#);
        let draft = builder().payload(payload.as_bytes()).build().unwrap();
        assert_eq!(draft.event().payload, payload.as_bytes());
    }

    #[test]
    fn a_payload_that_says_something_else_is_invalid() {
        for (payload, key) in [
            (r#"{"severity":7}"#, "severity"),
            (r#"{"severity":"8"}"#, "severity"),
            (r#"{"confidence":0.9300001}"#, "confidence"),
            (r#"{"anomaly_id":"x"}"#, "anomaly_id"),
        ] {
            let refused = builder().payload(payload.as_bytes()).build();
            assert_eq!(
                refused,
                Err(Invalid::OtherValue {
                    field: "payload",
                    key
                }),
                "{payload}"
            );
        }
        assert!(builder().payload(*b"test payload").build().is_err());
    }

    #[test]
    fn opaque_payloads_go_as_they_stand_unless_they_are_json_that_disagrees() {
        let draft = builder().opaque_payload(*b"test payload").build().unwrap();
        assert_eq!(draft.event().payload, b"test payload");
        assert!(
            builder()
                .opaque_payload(*br#"{"severity":1}"#)
                .build()
                .is_err()
        );
        assert!(builder().opaque_payload(*b"").build().is_err());
    }

    #[test]
    fn what_is_emitted_is_narrower_than_what_is_received() {
        assert!(builder().anomaly_type("x".repeat(65)).build().is_err());
        assert!(builder().anomaly_type("é".repeat(64)).build().is_ok());
        assert!(builder().source("é".repeat(129)).build().is_err());
        assert!(builder().confidence(f64::NAN).build().is_err());
        assert!(builder().severity(11).build().is_err());
        let upper = AnomalyDraft::builder(ID.to_uppercase()).build();
        assert!(matches!(
            upper,
            Err(Invalid::Contract(Violation::NotUuid { .. }))
        ));
    }
}
