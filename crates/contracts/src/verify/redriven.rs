//! Redriven records: whether their header permits what order would forbid.

use super::judge::Case;
use crate::headers;
use crate::redrive::{Redrive, Terms};
use crate::rejection::{Reason, RedriveFault};
use crate::replay::Claim;
use crate::sign::PublicKey;
use crate::trust::{Right, TrustStore};

/// For whom a receiver takes redriven records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedriveFor {
    /// For the consumer group of this name; those of others are skipped.
    Group(String),
    /// For nobody, since the process is in no group: each is another's.
    NoGroup,
    /// For whomever they name: for judging archives.
    Anyone,
}

/// A redrive that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Redriven {
    pub(super) terms: Terms,
    pub(super) public_key: PublicKey,
    pub(super) claim: Claim,
}

impl Case<'_> {
    /// Reads the record's redrive header, where there is one: a redrive that was signed for this
    /// record, in this partition, for us. Whether it still holds is for
    /// [`redrive_in_bounds`](Self::redrive_in_bounds) to say.
    ///
    /// It is judged before the message: what is redriven for one group must not be buried a second
    /// time by all others. Whose it is counts only once the signature holds.
    pub(super) fn redriven(&self, value: Option<&[u8]>) -> Result<Option<Redriven>, Reason> {
        let mut found = self.record.headers_named(headers::REDRIVE);
        let Some(header) = found.next() else {
            return Ok(None);
        };
        let repeated = found.next().is_some();
        let (redrive, public_key, claim) = self
            .signed_redrive(header, repeated, value)
            .map_err(Reason::RedriveInvalid)?;
        let terms = *redrive.terms();
        let ours = match &self.verifier.redrive_for {
            RedriveFor::Group(group) => terms.is_for(Some(group)),
            RedriveFor::NoGroup => false,
            RedriveFor::Anyone => true,
        };
        if !ours {
            return Err(Reason::OtherGroup);
        }
        let read_from = self.record.partition.unwrap_or(terms.origin_partition);
        terms
            .check_partition(read_from)
            .map_err(Reason::RedriveInvalid)?;
        Ok(Some(Redriven {
            terms,
            public_key,
            claim,
        }))
    }

    /// Reads the header and verifies it under a key that may redrive.
    fn signed_redrive(
        &self,
        header: Option<&[u8]>,
        repeated: bool,
        value: Option<&[u8]>,
    ) -> Result<(Redrive, PublicKey, Claim), RedriveFault> {
        if repeated {
            return Err(RedriveFault::Repeated);
        }
        let redrive = Redrive::parse(header.ok_or(RedriveFault::Malformed)?)?;
        let key = self
            .trust
            .key_by_id(&redrive.key_id())
            .ok_or(RedriveFault::UnknownKey)?;
        let clock = self.bounds.map(|bounds| (bounds.now_ms, bounds.max_age));
        admit(self.trust, key.public_key(), redrive.terms(), clock)?;
        let topics: Vec<_> = self.verifier.topics(self.record.topic).collect();
        let claim = redrive.verify(
            key.verifying_key(),
            &self.verifier.audiences,
            &topics,
            value,
        )?;
        Ok((redrive, key.public_key(), claim))
    }

    /// Judges a redrive that is ours: its count and lifetime, and its nonce by the clock. One that
    /// fails is buried with the count and the origin it names, since those were signed.
    pub(super) fn redrive_in_bounds(&self, terms: &Terms) -> Result<(), Reason> {
        terms.check_limits().map_err(Reason::RedriveInvalid)?;
        let Some(bounds) = self.bounds else {
            return Ok(());
        };
        if terms.has_expired(self.record.append_time_ms.unwrap_or(bounds.now_ms)) {
            return Err(Reason::RedriveInvalid(RedriveFault::Expired));
        }
        bounds.admit_redrive(terms.signed_at_ms(), self.record.append_time_ms)
    }
}

/// Whether a key is believed for these terms: there, not revoked, in its window, with the right.
pub(super) fn admit(
    trust: &TrustStore,
    key: PublicKey,
    terms: &Terms,
    clock: Option<(i64, std::time::Duration)>,
) -> Result<(), RedriveFault> {
    let key = trust.key(&key).ok_or(RedriveFault::UnknownKey)?;
    if key.is_revoked() {
        return Err(RedriveFault::Revoked);
    }
    let signed_ms = i64::try_from(terms.signed_at_ms()).unwrap_or(i64::MAX);
    key.window()
        .covers(signed_ms, clock)
        .map_err(|_| RedriveFault::Window)?;
    if key.may(Right::Redrive) {
        Ok(())
    } else {
        Err(RedriveFault::NotAuthorised)
    }
}
