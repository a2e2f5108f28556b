//! From the settings to the verifier that judges by them.

use cybermesh_contracts::verify::{AnomalyPayload, RedriveFor, Verifier};

use super::{PayloadRule, Settings};

impl Settings {
    /// A verifier that accepts the audiences, origin topics and payloads these settings name, and
    /// takes redriven records for `whom`.
    #[must_use]
    pub fn verifier(&self, whom: RedriveFor) -> Verifier {
        let (own, others) = match self.verify.accept_audiences.split_first() {
            Some((first, rest)) => (first.clone(), rest.to_vec()),
            None => (self.node.audience.clone(), Vec::new()),
        };
        Verifier::new(own)
            .accept_audiences(others)
            .accept_origin_topics(self.verify.accept_origin_topics.clone())
            .anomaly_payload(match self.verify.anomaly_payload {
                PayloadRule::Json => AnomalyPayload::Json,
                PayloadRule::Any => AnomalyPayload::Any,
            })
            .redrive_for(whom)
    }
}
