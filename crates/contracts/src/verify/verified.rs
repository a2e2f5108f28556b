//! What verification hands on, and nothing else makes.

use std::fmt;
use std::sync::Arc;

use super::judge::admit;
use super::redriven::{self, Redriven};
use crate::kind::Kind;
use crate::message::{Message, Seal};
use crate::redrive::Terms;
use crate::rejection::{Reason, Rejection, Violation};
use crate::replay::Claims;
use crate::sign::PublicKey;
use crate::trust::{EnvelopeRule, TrustStore};

/// A message that was verified.
///
/// Only a [`Verifier`](super::Verifier) makes one, so whoever asks for a `Verified`
/// cannot be handed anything unverified. (The feature `test-util` adds a way for tests.)
///
/// ```compile_fail
/// use cybermesh_contracts::message::Message;
/// use cybermesh_contracts::verify::Verified;
///
/// fn forge(message: Message) -> Verified<Message> {
///     Verified { message, facts: todo!() }
/// }
/// ```
#[derive(Clone, PartialEq)]
pub struct Verified<M> {
    message: M,
    facts: Facts,
}

/// What verification found out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Facts {
    pub(super) kind: Kind,
    pub(super) signer: SignedBy,
    pub(super) envelope: EnvelopeState,
    pub(super) rule_override: Option<EnvelopeRule>,
    pub(super) opaque: bool,
    pub(super) trust_generation: u64,
    pub(super) claims: Claims,
    pub(super) redriven: Option<Redriven>,
}

/// Whose signature a message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBy {
    /// The trust store's name for the key.
    pub id: Arc<str>,
    /// The key.
    pub public_key: PublicKey,
}

/// What was found of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeState {
    /// It holds: every field is authentic, and stands where it was meant to.
    Valid,
    /// There is none, and the key's rule accepts that: fields that the message's own signature does
    /// not cover may have been changed.
    Absent,
    /// Nobody looked.
    Off,
}

impl EnvelopeState {
    /// The name in logs and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Absent => "absent",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for EnvelopeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<M> Verified<M> {
    pub(super) const fn new(message: M, facts: Facts) -> Self {
        Self { message, facts }
    }

    /// The message.
    #[must_use]
    pub const fn message(&self) -> &M {
        &self.message
    }

    /// The message, no longer known to be verified.
    #[must_use]
    pub fn into_message(self) -> M {
        self.message
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.facts.kind
    }

    /// Whose signature it carries.
    #[must_use]
    pub const fn signer(&self) -> &SignedBy {
        &self.facts.signer
    }

    /// What was found of its envelope.
    #[must_use]
    pub const fn envelope(&self) -> EnvelopeState {
        self.facts.envelope
    }

    /// Whether an anomaly's payload is no JSON, which the receiver was set to take.
    #[must_use]
    pub const fn opaque_payload(&self) -> bool {
        self.facts.opaque
    }

    /// The generation of the trust store that judged it.
    #[must_use]
    pub const fn trust_generation(&self) -> u64 {
        self.facts.trust_generation
    }

    /// What it claims of its place in order.
    #[must_use]
    pub const fn replay_claims(&self) -> &Claims {
        &self.facts.claims
    }

    /// The terms of the redrive it came by, where it did.
    #[must_use]
    pub fn redriven(&self) -> Option<&Terms> {
        self.facts.redriven.as_ref().map(|redriven| &redriven.terms)
    }
}

impl Verified<Message> {
    /// The same as a message of one kind; unchanged where it is of another.
    ///
    /// # Errors
    /// The message itself, where it is of another kind.
    pub fn narrow<M>(self) -> Result<Verified<M>, Box<Self>>
    where
        M: TryFrom<Message, Error = Box<Message>>,
    {
        let facts = self.facts;
        match M::try_from(self.message) {
            Ok(message) => Ok(Verified { message, facts }),
            Err(message) => Err(Box::new(Self {
                message: *message,
                facts,
            })),
        }
    }

    /// Whether the keys that made it believable still do so in `trust`, which may have changed since.
    ///
    /// # Errors
    /// [`Rejection`], as if it were judged by that store now (its signatures are not verified again).
    pub fn still_trusted(&self, trust: &TrustStore) -> Result<(), Rejection> {
        if trust.generation() == self.facts.trust_generation {
            return Ok(());
        }
        self.looked_up(trust).map_err(|reason| {
            let terms = self.redriven().copied();
            Rejection::new(reason, Some(self.facts.signer.public_key)).with_redrive(terms)
        })
    }

    fn looked_up(&self, trust: &TrustStore) -> Result<(), Reason> {
        if let Some(redriven) = &self.facts.redriven {
            redriven::admit(trust, redriven.public_key, &redriven.terms, None)
                .map_err(Reason::RedriveInvalid)?;
        }
        let seal: Seal<'_> = self.message.seal();
        let key = trust
            .key(&self.facts.signer.public_key)
            .ok_or(Reason::UnknownKey)?;
        if key.producer_id() != *seal.producer_id() {
            return Err(Reason::Contract(Violation::ProducerId));
        }
        admit(key, self.facts.kind, seal.time_s(), None)?;
        let rule = self.facts.rule_override.unwrap_or(key.envelope_rule());
        if rule == EnvelopeRule::Required && self.facts.envelope != EnvelopeState::Valid {
            return Err(Reason::EnvelopeMissing {
                id: Arc::clone(key.shared_id()),
            });
        }
        Ok(())
    }
}

impl<M: fmt::Debug> fmt::Debug for Verified<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("message", &self.message)
            .field("signer", &self.facts.signer)
            .field("envelope", &self.facts.envelope)
            .finish_non_exhaustive()
    }
}

/// Verified messages for the tests of handlers.
#[cfg(feature = "test-util")]
pub mod test_util {
    use crate::message::{Draft, Message, Stamp};
    use crate::record::RecordView;
    use crate::rejection::Rejection;
    use crate::sign::Signer;
    use crate::trust::{EnvelopeRule, Right, TrustStore, TrustedKey};
    use crate::verify::{Verified, Verifier};

    /// Signs a draft and verifies it under a trust store that names the signer, as `test`.
    ///
    /// # Errors
    /// What signing, or judging an invalid draft, says.
    pub fn verified(
        draft: &Draft,
        signer: &dyn Signer,
        stamp: Stamp,
    ) -> Result<Verified<Message>, Box<dyn std::error::Error + Send + Sync>> {
        let signed = draft.sign(signer, stamp)?;
        let key = TrustedKey::new("test", signer.public_key(), [Right::Kind(draft.kind())])?;
        let trust = TrustStore::of([key.with_envelope(EnvelopeRule::Off)])?;
        let record = RecordView::new(draft.kind().default_topic(), Some(&signed.value));
        let verified = Verifier::new("").verify(&trust, draft.kind(), &record, None);
        verified.map_err(|rejection: Rejection| rejection.into())
    }
}
