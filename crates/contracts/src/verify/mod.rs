//! Judging a record: everything a receiver demands of it, in the contract's order.
//!
//! size → redrive header → decode → lengths and ranges → trust → authorisation → hash → signature →
//! envelope → JSON content → freshness. Cheap before dear, authentic before parsed; the first failure
//! decides the reason. Order among messages is [`replay`](crate::replay)'s affair, which a
//! [`Verified`] message brings its claims for.

mod bounds;
#[cfg(cybermesh_bugs)]
pub mod bugs;
mod content;
mod due;
#[cfg(doctest)]
mod forgery;
mod judge;
mod redriven;
mod verified;

pub use self::bounds::Bounds;
pub use self::redriven::RedriveFor;
#[cfg(feature = "test-util")]
pub use self::verified::test_util;
pub use self::verified::{EnvelopeState, SignedBy, Verified};

use crate::kind::Kind;
use crate::message::{
    Anomaly, Commit, Evidence, EvidenceRequest, Message, Policy, PolicyUpdate, Reputation,
};
use crate::record::RecordView;
use crate::rejection::Rejection;
use crate::trust::{EnvelopeRule, TrustStore};

/// What an anomaly's payload may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnomalyPayload {
    /// A JSON object that says what the fields say.
    #[default]
    Json,
    /// That, or bytes that are no JSON; those are marked opaque.
    Any,
}

/// How a receiver judges. It holds no keys and no clock: both are given with each record.
#[derive(Clone, Debug)]
pub struct Verifier {
    audiences: Vec<String>,
    origin_topics: Vec<String>,
    anomaly_payload: AnomalyPayload,
    envelope_rule: Option<EnvelopeRule>,
    redrive_for: RedriveFor,
}

impl Verifier {
    /// A receiver in the environment of this name (which may be empty), in no consumer group: it
    /// accepts envelopes of that audience and of the topic a record is read from, asks of envelopes
    /// what the trust store says, and of anomalies that their payload is JSON.
    #[must_use]
    pub fn new(audience: impl Into<String>) -> Self {
        Self {
            audiences: vec![audience.into()],
            origin_topics: Vec::new(),
            anomaly_payload: AnomalyPayload::default(),
            envelope_rule: None,
            redrive_for: RedriveFor::NoGroup,
        }
    }

    /// Accepts these audiences besides its own: for environments that are renamed.
    #[must_use]
    pub fn accept_audiences(mut self, audiences: impl IntoIterator<Item = String>) -> Self {
        extend_distinct(&mut self.audiences, audiences);
        self
    }

    /// Accepts envelopes made for these topics besides the one a record is read from: for topics
    /// that are mirrored under another name.
    #[must_use]
    pub fn accept_origin_topics(mut self, topics: impl IntoIterator<Item = String>) -> Self {
        extend_distinct(&mut self.origin_topics, topics);
        self
    }

    /// What an anomaly's payload may be.
    #[must_use]
    pub const fn anomaly_payload(mut self, accepted: AnomalyPayload) -> Self {
        self.anomaly_payload = accepted;
        self
    }

    /// Takes this rule for the envelopes of all keys, whatever the trust store says.
    #[must_use]
    pub const fn override_envelope_rule(mut self, rule: EnvelopeRule) -> Self {
        self.envelope_rule = Some(rule);
        self
    }

    /// For whom redriven records are taken.
    #[must_use]
    pub fn redrive_for(mut self, whom: RedriveFor) -> Self {
        self.redrive_for = whom;
        self
    }

    /// Judges one record as a message of `kind`; without `bounds`, not by the clock.
    ///
    /// # Errors
    /// [`Rejection`], for the first demand that the record fails.
    pub fn verify(
        &self,
        trust: &TrustStore,
        kind: Kind,
        record: &RecordView<'_>,
        bounds: Option<&Bounds>,
    ) -> Result<Verified<Message>, Rejection> {
        let case = judge::Case {
            verifier: self,
            trust,
            record,
            bounds,
        };
        match kind {
            Kind::Anomaly => judge::judge::<Anomaly>(case),
            Kind::Evidence => judge::judge::<Evidence>(case),
            Kind::Policy => judge::judge::<Policy>(case),
            Kind::Commit => judge::judge::<Commit>(case),
            Kind::Reputation => judge::judge::<Reputation>(case),
            Kind::PolicyUpdate => judge::judge::<PolicyUpdate>(case),
            Kind::EvidenceRequest => judge::judge::<EvidenceRequest>(case),
        }
    }

    /// Judges records of one kind as [`verify`](Self::verify) does, in about half the time: the
    /// signatures of all messages are verified in one equation, those of all envelopes in another,
    /// and each by itself where an equation fails. Answers in the records' order.
    ///
    /// Messages of control kinds are always verified one by one. For the others the holder of a
    /// trusted key can make signatures that pass in some batches and fail by themselves: see
    /// [`sign::batch`](crate::sign::batch). Envelopes that could be for more than one audience or
    /// topic are verified one by one.
    #[must_use]
    pub fn verify_batch(
        &self,
        trust: &TrustStore,
        kind: Kind,
        records: &[RecordView<'_>],
        bounds: Option<&Bounds>,
    ) -> Vec<Result<Verified<Message>, Rejection>> {
        let cases = records.iter().map(|record| judge::Case {
            verifier: self,
            trust,
            record,
            bounds,
        });
        match kind {
            Kind::Anomaly => judge::judge_together::<Anomaly>(cases),
            Kind::Evidence => judge::judge_together::<Evidence>(cases),
            Kind::Policy => judge::judge_together::<Policy>(cases),
            Kind::Commit | Kind::Reputation | Kind::PolicyUpdate | Kind::EvidenceRequest => records
                .iter()
                .map(|record| self.verify(trust, kind, record, bounds))
                .collect(),
        }
    }

    /// Each pair of audience and topic that an envelope may be made for, the likeliest first.
    fn scopes<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.topics(topic).flat_map(|topic| {
            self.audiences
                .iter()
                .map(move |audience| (audience.as_str(), topic))
        })
    }

    fn topics<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a str> {
        let others = self.origin_topics.iter().map(String::as_str);
        std::iter::once(topic).chain(others.filter(move |other| *other != topic))
    }
}

/// Adds the names that are not there yet: each costs a signature to verify where an envelope fails.
fn extend_distinct(names: &mut Vec<String>, others: impl IntoIterator<Item = String>) {
    for name in others {
        if !names.contains(&name) {
            names.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_audience_is_tried_once_with_every_topic() {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let verifier = Verifier::new("prod")
            .accept_audiences(names(&["prod", "live", "live"]))
            .accept_origin_topics(names(&["mirror", "mirror", "own"]));
        let scopes: Vec<_> = verifier.scopes("own").collect();
        assert_eq!(
            scopes,
            [
                ("prod", "own"),
                ("live", "own"),
                ("prod", "mirror"),
                ("live", "mirror")
            ]
        );
    }
}
