//! Reputation: the backend's judgement of a node's message.

use super::event::Event;
use super::invalid::Invalid;
use super::rules::{demand, fixed};
use super::seal::ControlSeal;
use crate::kind::Kind;
use crate::proto::ReputationEvent;
use crate::rejection::Violation;

/// A valid judgement.
#[derive(Clone, PartialEq, Eq)]
pub struct Reputation {
    ai_message_id: String,
    ai_producer_id: [u8; 32],
    message_kind: Kind,
    score: i32,
    reason: String,
    confirmed: bool,
    false_positive: bool,
    analyst_notes: String,
    incident_severity: u32,
    prevented_attack: bool,
    block_height: i64,
    seal: ControlSeal,
}

accessors!(Reputation {
    /// The identifier of the message judged.
    ai_message_id: &str = |this| this.ai_message_id.as_str();
    /// Who produced that message.
    ai_producer_id: &[u8; 32] = |this| &this.ai_producer_id;
    /// Its kind, one of the node kinds (`message_type` on the wire).
    message_kind: Kind = |this| this.message_kind;
    /// -100 to 100.
    score: i32 = |this| this.score;
    /// Why, in words.
    reason: &str = |this| this.reason.as_str();
    /// Whether what it said was confirmed.
    confirmed: bool = |this| this.confirmed;
    /// Whether it was a false alarm.
    false_positive: bool = |this| this.false_positive;
    /// What an analyst noted.
    analyst_notes: &str = |this| this.analyst_notes.as_str();
    /// 1 to 10, or 0 where there was no incident.
    incident_severity: u32 = |this| this.incident_severity;
    /// Whether it prevented an attack.
    prevented_attack: bool = |this| this.prevented_attack;
    /// The height of the block it was decided at.
    block_height: i64 = |this| this.block_height;
    /// What signing added.
    seal: &ControlSeal = |this| &this.seal;
});

impl Reputation {
    pub(crate) fn parse(mut event: ReputationEvent) -> Result<Self, Violation> {
        let seal = ControlSeal::read(&mut event)?;
        check(&event)?;
        Ok(Self {
            message_kind: message_kind(&event.message_type)?,
            ai_message_id: event.ai_message_id,
            ai_producer_id: fixed("ai_producer_id", &event.ai_producer_id)?,
            score: event.score,
            reason: event.reason,
            confirmed: event.confirmed,
            false_positive: event.false_positive,
            analyst_notes: event.analyst_notes,
            incident_severity: event.incident_severity,
            prevented_attack: event.prevented_attack,
            block_height: event.block_height,
            seal,
        })
    }

    /// The wire's own struct, with all its fields.
    #[must_use]
    pub fn to_event(&self) -> ReputationEvent {
        let mut event = ReputationEvent {
            ai_message_id: self.ai_message_id.clone(),
            ai_producer_id: self.ai_producer_id.to_vec(),
            message_type: self.message_kind.as_str().to_owned(),
            score: self.score,
            reason: self.reason.clone(),
            confirmed: self.confirmed,
            false_positive: self.false_positive,
            analyst_notes: self.analyst_notes.clone(),
            incident_severity: self.incident_severity,
            prevented_attack: self.prevented_attack,
            block_height: self.block_height,
            ..ReputationEvent::default()
        };
        self.seal.write(&mut event);
        event
    }
}

impl std::fmt::Debug for Reputation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reputation")
            .field("ai_message_id", &self.ai_message_id)
            .field("seal", &self.seal)
            .finish_non_exhaustive()
    }
}

fn message_kind(name: &str) -> Result<Kind, Violation> {
    Kind::NODE
        .into_iter()
        .find(|kind| kind.as_str() == name)
        .ok_or(Violation::NotOneOf {
            field: "message_type",
            accepted: "anomaly, evidence, policy",
        })
}

/// Lengths and ranges.
fn check(event: &ReputationEvent) -> Result<(), Violation> {
    fixed::<32>("ai_producer_id", &event.ai_producer_id)?;
    message_kind(&event.message_type)?;
    demand((-100..=100).contains(&event.score), "score", "-100 to 100")?;
    demand(
        (0..=10).contains(&event.incident_severity),
        "incident_severity",
        "0 to 10",
    )
}

draft!(
    /// A judgement to be sent.
    ReputationDraft of ReputationEvent
);

impl ReputationDraft {
    /// Starts a judgement of this message, of this kind, by this producer.
    #[must_use]
    pub fn builder(
        ai_message_id: impl Into<String>,
        message_kind: Kind,
        ai_producer_id: [u8; 32],
    ) -> ReputationBuilder {
        ReputationBuilder::from(ReputationEvent {
            ai_message_id: ai_message_id.into(),
            message_type: message_kind.as_str().to_owned(),
            ai_producer_id: ai_producer_id.to_vec(),
            ..ReputationEvent::default()
        })
    }
}

/// Builds a [`ReputationDraft`] by the rules for emitting.
#[derive(Clone, Debug)]
pub struct ReputationBuilder {
    event: ReputationEvent,
}

impl From<ReputationEvent> for ReputationBuilder {
    /// Starts from fields read elsewhere; those that signing fills are dropped.
    fn from(mut event: ReputationEvent) -> Self {
        event.clear_seal();
        Self { event }
    }
}

setters!(ReputationBuilder {
    /// -100 to 100.
    score(i32) = |event, value| event.score = value;
    /// Why, in words.
    reason(impl Into<String>) = |event, value| event.reason = value.into();
    /// Whether what it said was confirmed.
    confirmed(bool) = |event, value| event.confirmed = value;
    /// Whether it was a false alarm.
    false_positive(bool) = |event, value| event.false_positive = value;
    /// What an analyst noted.
    analyst_notes(impl Into<String>) = |event, value| event.analyst_notes = value.into();
    /// 1 to 10, or 0 where there was no incident.
    incident_severity(u32) = |event, value| event.incident_severity = value;
    /// Whether it prevented an attack.
    prevented_attack(bool) = |event, value| event.prevented_attack = value;
    /// The height of the block it was decided at.
    block_height(i64) = |event, value| event.block_height = value;
});

impl ReputationBuilder {
    /// Checks everything.
    ///
    /// # Errors
    /// [`Invalid`], naming the field.
    pub fn build(self) -> Result<ReputationDraft, Invalid> {
        check(&self.event)?;
        Ok(ReputationDraft { event: self.event })
    }
}
