//! Evidence requests: the backend's question for evidence, or its answer to some.

use super::event::Event;
use super::invalid::Invalid;
use super::rules::{demand, length, lowercase_uuid_v4};
use super::seal::ControlSeal;
use crate::proto::EvidenceRequestEvent;
use crate::rejection::Violation;

names!(
    /// What the backend asks or tells.
    RequestType, "request_type", "request_additional, validation_result, request_reprocess, challenge":
    /// Asks for more evidence.
    RequestAdditional = "request_additional",
    /// Tells whether evidence was accepted, with its quality.
    ValidationResult = "validation_result",
    /// Asks for the anomaly to be judged again.
    RequestReprocess = "request_reprocess",
    /// Challenges what was sent.
    Challenge = "challenge",
);

/// A valid evidence request.
#[derive(Clone, PartialEq, Eq)]
pub struct EvidenceRequest {
    request_id: String,
    anomaly_id: String,
    evidence_id: String,
    request_type: RequestType,
    requested_types: Vec<String>,
    request_reason: String,
    deadline_ts_s: i64,
    evidence_accepted: bool,
    rejection_reason: String,
    evidence_quality_score: u32,
    challenge_reason: String,
    challenge_data: Vec<u8>,
    block_height: i64,
    seal: ControlSeal,
}

accessors!(EvidenceRequest {
    /// Its identifier, 1 to 128 bytes.
    request_id: &str = |this| this.request_id.as_str();
    /// The anomaly it is about.
    anomaly_id: &str = |this| this.anomaly_id.as_str();
    /// The evidence it is about.
    evidence_id: &str = |this| this.evidence_id.as_str();
    /// What the backend asks or tells.
    request_type: RequestType = |this| this.request_type;
    /// Which types of evidence are asked for.
    requested_types: &[String] = |this| this.requested_types.as_slice();
    /// Why, in words.
    request_reason: &str = |this| this.request_reason.as_str();
    /// Until when an answer counts, Unix seconds; 0 where there is no deadline.
    deadline_ts_s: i64 = |this| this.deadline_ts_s;
    /// Whether the evidence was accepted.
    evidence_accepted: bool = |this| this.evidence_accepted;
    /// Why not, in words.
    rejection_reason: &str = |this| this.rejection_reason.as_str();
    /// 1 to 10 for a validation result, 0 to 10 otherwise.
    evidence_quality_score: u32 = |this| this.evidence_quality_score;
    /// Why it is challenged, in words.
    challenge_reason: &str = |this| this.challenge_reason.as_str();
    /// What the challenge is to be answered with.
    challenge_data: &[u8] = |this| this.challenge_data.as_slice();
    /// The height of the block it was decided at.
    block_height: i64 = |this| this.block_height;
    /// What signing added.
    seal: &ControlSeal = |this| &this.seal;
});

impl EvidenceRequest {
    pub(crate) fn parse(mut event: EvidenceRequestEvent) -> Result<Self, Violation> {
        let seal = ControlSeal::read(&mut event)?;
        check(&event)?;
        Ok(Self {
            request_type: RequestType::read(&event.request_type)?,
            request_id: event.request_id,
            anomaly_id: event.anomaly_id,
            evidence_id: event.evidence_id,
            requested_types: event.requested_types,
            request_reason: event.request_reason,
            deadline_ts_s: event.deadline_ts,
            evidence_accepted: event.evidence_accepted,
            rejection_reason: event.rejection_reason,
            evidence_quality_score: event.evidence_quality_score,
            challenge_reason: event.challenge_reason,
            challenge_data: event.challenge_data,
            block_height: event.block_height,
            seal,
        })
    }

    /// The wire's own struct, with all its fields.
    #[must_use]
    pub fn to_event(&self) -> EvidenceRequestEvent {
        let mut event = EvidenceRequestEvent {
            request_id: self.request_id.clone(),
            anomaly_id: self.anomaly_id.clone(),
            evidence_id: self.evidence_id.clone(),
            request_type: self.request_type.as_str().to_owned(),
            requested_types: self.requested_types.clone(),
            request_reason: self.request_reason.clone(),
            deadline_ts: self.deadline_ts_s,
            evidence_accepted: self.evidence_accepted,
            rejection_reason: self.rejection_reason.clone(),
            evidence_quality_score: self.evidence_quality_score,
            challenge_reason: self.challenge_reason.clone(),
            challenge_data: self.challenge_data.clone(),
            block_height: self.block_height,
            ..EvidenceRequestEvent::default()
        };
        self.seal.write(&mut event);
        event
    }
}

impl std::fmt::Debug for EvidenceRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvidenceRequest")
            .field("request_id", &self.request_id)
            .field("seal", &self.seal)
            .finish_non_exhaustive()
    }
}

/// Lengths and ranges.
fn check(event: &EvidenceRequestEvent) -> Result<(), Violation> {
    length("request_id", &event.request_id, 1..=128)?;
    match RequestType::read(&event.request_type)? {
        RequestType::ValidationResult => demand(
            (1..=10).contains(&event.evidence_quality_score),
            "evidence_quality_score",
            "1 to 10 for a validation_result",
        ),
        RequestType::RequestAdditional | RequestType::RequestReprocess | RequestType::Challenge => {
            demand(
                (0..=10).contains(&event.evidence_quality_score),
                "evidence_quality_score",
                "0 to 10",
            )
        }
    }
}

draft!(
    /// An evidence request to be sent.
    EvidenceRequestDraft of EvidenceRequestEvent
);

impl EvidenceRequestDraft {
    /// Starts a request with this identifier, a lowercase hyphenated version-4 UUID.
    #[must_use]
    pub fn builder(
        request_id: impl Into<String>,
        request_type: RequestType,
    ) -> EvidenceRequestBuilder {
        EvidenceRequestBuilder::from(EvidenceRequestEvent {
            request_id: request_id.into(),
            request_type: request_type.as_str().to_owned(),
            ..EvidenceRequestEvent::default()
        })
    }
}

/// Builds an [`EvidenceRequestDraft`] by the rules for emitting.
#[derive(Clone, Debug)]
pub struct EvidenceRequestBuilder {
    event: EvidenceRequestEvent,
}

impl From<EvidenceRequestEvent> for EvidenceRequestBuilder {
    /// Starts from fields read elsewhere; those that signing fills are dropped.
    fn from(mut event: EvidenceRequestEvent) -> Self {
        event.clear_seal();
        Self { event }
    }
}

setters!(EvidenceRequestBuilder {
    /// The anomaly it is about.
    anomaly_id(impl Into<String>) = |event, value| event.anomaly_id = value.into();
    /// The evidence it is about.
    evidence_id(impl Into<String>) = |event, value| event.evidence_id = value.into();
    /// Adds a type of evidence that is asked for.
    requested_type(impl Into<String>) = |event, value| event.requested_types.push(value.into());
    /// Why, in words.
    request_reason(impl Into<String>) = |event, value| event.request_reason = value.into();
    /// Until when an answer counts, Unix seconds.
    deadline_ts_s(i64) = |event, value| event.deadline_ts = value;
    /// Whether the evidence was accepted.
    evidence_accepted(bool) = |event, value| event.evidence_accepted = value;
    /// Why not, in words.
    rejection_reason(impl Into<String>) = |event, value| event.rejection_reason = value.into();
    /// 1 to 10 for a validation result, 0 to 10 otherwise.
    evidence_quality_score(u32) = |event, value| event.evidence_quality_score = value;
    /// Why it is challenged, in words.
    challenge_reason(impl Into<String>) = |event, value| event.challenge_reason = value.into();
    /// What the challenge is to be answered with.
    challenge_data(impl Into<Vec<u8>>) = |event, value| event.challenge_data = value.into();
    /// The height of the block it was decided at.
    block_height(i64) = |event, value| event.block_height = value;
});

impl EvidenceRequestBuilder {
    /// Checks everything.
    ///
    /// # Errors
    /// [`Invalid`], naming the field.
    pub fn build(self) -> Result<EvidenceRequestDraft, Invalid> {
        check(&self.event)?;
        lowercase_uuid_v4("request_id", &self.event.request_id)?;
        Ok(EvidenceRequestDraft { event: self.event })
    }
}
