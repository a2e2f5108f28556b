//! Whether a record may be believed: the contract's verifier under the trust store of the moment.

use std::sync::Arc;
use std::time::Duration;

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::Message;
use cybermesh_contracts::redrive::Terms;
use cybermesh_contracts::rejection::Rejection;
use cybermesh_contracts::sign::PublicKey;
use cybermesh_contracts::trust::{Right, TrustStore};
use cybermesh_contracts::verify::{Bounds, EnvelopeState, Verified, Verifier};
use tokio::sync::watch;

use super::effect::Judged;
use super::judge::{Believed, Judge};
use super::origin::Origin;
use crate::settings::{VerifyMode, VerifyModes};

/// Judges by the contract.
#[derive(Debug)]
pub(crate) struct ContractJudge {
    verifier: Verifier,
    modes: VerifyModes,
    trust: watch::Receiver<Arc<TrustStore>>,
    max_age: Duration,
    future_tolerance: Duration,
}

impl ContractJudge {
    pub(crate) fn new(
        verifier: Verifier,
        modes: VerifyModes,
        trust: watch::Receiver<Arc<TrustStore>>,
        max_age: Duration,
        future_tolerance: Duration,
    ) -> Self {
        Self {
            verifier,
            modes,
            trust,
            max_age,
            future_tolerance,
        }
    }

    fn bounds(&self, wall_ms: i64) -> Bounds {
        Bounds {
            now_ms: wall_ms,
            max_age: self.max_age,
            future_tolerance: self.future_tolerance,
        }
    }
}

impl Believed for Verified<Message> {
    fn signer(&self) -> Option<PublicKey> {
        Some(Verified::signer(self).public_key)
    }

    fn redrive(&self) -> Option<Terms> {
        self.redriven().copied()
    }

    fn is_enveloped(&self) -> bool {
        self.envelope() == EnvelopeState::Valid
    }
}

impl Judge for ContractJudge {
    type Message = Verified<Message>;
    type Trust = TrustStore;

    fn trust(&self) -> Arc<TrustStore> {
        Arc::clone(&self.trust.borrow())
    }

    fn has_keys(&self, trust: &TrustStore, kind: Kind) -> bool {
        trust.has_key_for(Right::Kind(kind))
    }

    fn judge(
        &self,
        trust: &TrustStore,
        kind: Kind,
        origin: &Origin,
        wall_ms: i64,
    ) -> Judged<Verified<Message>> {
        let bounds = self.bounds(wall_ms);
        origin.view(|record| self.verifier.verify(trust, kind, record, Some(&bounds)))
    }

    fn mode(&self, kind: Kind) -> VerifyMode {
        self.modes.of(kind)
    }

    fn judge_batch(
        &self,
        trust: &TrustStore,
        kind: Kind,
        origins: &[&Origin],
        wall_ms: i64,
    ) -> Vec<Judged<Verified<Message>>> {
        let headers: Vec<_> = origins.iter().map(|origin| origin.header_views()).collect();
        let records: Vec<_> = origins
            .iter()
            .zip(&headers)
            .map(|(origin, headers)| origin.record(headers))
            .collect();
        let bounds = self.bounds(wall_ms);
        self.verifier
            .verify_batch(trust, kind, &records, Some(&bounds))
    }

    fn recheck(&self, trust: &TrustStore, message: &Verified<Message>) -> Result<(), Rejection> {
        message.still_trusted(trust)
    }
}
