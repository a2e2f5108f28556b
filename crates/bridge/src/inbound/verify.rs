//! Whether a record may be believed: the contract's verifier under the trust store of the moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::Message;
use cybermesh_contracts::redrive::Terms;
use cybermesh_contracts::rejection::{Reason, Rejection};
use cybermesh_contracts::sign::PublicKey;
use cybermesh_contracts::trust::{Right, TrustStore};
use cybermesh_contracts::verify::{Bounds, EnvelopeState, Verified, Verifier};
use tokio::sync::watch;
use tokio::time::Instant;

use super::effect::Judged;
use super::former::FormerTrust;
use super::judge::{Believed, Judge};
use super::origin::Origin;
use crate::settings::{VerifyMode, VerifyModes};

/// Judges by the contract.
#[derive(Debug)]
pub(crate) struct ContractJudge {
    verifier: Verifier,
    modes: VerifyModes,
    trust: watch::Receiver<Arc<TrustStore>>,
    former: Mutex<FormerTrust>,
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
            former: Mutex::default(),
            max_age,
            future_tolerance,
        }
    }

    fn former(&self) -> MutexGuard<'_, FormerTrust> {
        self.former.lock().unwrap_or_else(PoisonError::into_inner)
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
        let store = Arc::clone(&self.trust.borrow());
        self.former().sees(&store, Instant::now());
        store
    }

    fn formerly_trusted(
        &self,
        kind: Kind,
        origin: &Origin,
        rejection: &Rejection,
        wall_ms: i64,
    ) -> Option<Arc<str>> {
        let (Reason::UnknownKey | Reason::KeyRevoked { .. } | Reason::KeyNotAuthorised { .. }) =
            rejection.reason()
        else {
            return None;
        };
        let (key, now) = (rejection.claimed()?, Instant::now());
        let believed = self.former().believed(&key, kind, now);
        let verified = believed
            .iter()
            .find_map(|store| self.judge(store, kind, origin, wall_ms).ok())?;
        let id = Arc::clone(&Verified::signer(&verified).id);
        if self.former().tells(key, now) {
            tracing::warn!(topic = %origin.topic, partition = origin.partition, offset = origin.offset,
                id = %id, "rejected, and verifies under a key that the trust store believed until lately; \
                where the store was wrong, mend it and redrive the dead letters");
        }
        Some(id)
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

#[cfg(test)]
mod tests;
