//! The demands, one after the other.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::content::{Content, Readable};
use super::redriven::Redriven;
use super::verified::{EnvelopeState, Facts, SignedBy, Verified};
use super::{Bounds, Verifier};
use crate::envelope::Envelope;
use crate::headers;
use crate::kind::Kind;
use crate::message::{Event, MAX_VALUE_BYTES, Message, Seal, control_body, decode};
use crate::record::RecordView;
use crate::rejection::{DecodeFault, EnvelopeFault, Reason, Rejection, Violation};
use crate::replay::{Claim, Claims};
use crate::sign::PublicKey;
use crate::trust::{EnvelopeRule, Right, TrustStore, TrustedKey};

/// One record, and all it is judged by.
pub(super) struct Case<'a> {
    pub(super) verifier: &'a Verifier,
    pub(super) trust: &'a TrustStore,
    pub(super) record: &'a RecordView<'a>,
    pub(super) bounds: Option<&'a Bounds>,
}

/// What is known of a record besides its fate, whatever that is.
#[derive(Default)]
struct Known {
    claimed: Option<PublicKey>,
    redriven: Option<Redriven>,
}

impl Case<'_> {
    pub(super) fn judge<M: Content>(&self) -> Result<Verified<Message>, Rejection> {
        let mut known = Known::default();
        let judged = self.demands::<M>(&mut known);
        judged.map_err(|reason| {
            let terms = known.redriven.map(|redriven| redriven.terms);
            Rejection::new(reason, known.claimed).with_redrive(terms)
        })
    }

    fn demands<M: Content>(&self, known: &mut Known) -> Result<Verified<Message>, Reason> {
        let kind = M::Event::KIND;
        let value = self.sized_value()?;
        let decoded = value.map(decode::<M::Event>);
        if let Some(Ok((event, _))) = &decoded {
            known.claimed = event.claimed().try_into().ok().map(PublicKey);
        }
        known.redriven = self.redriven(value)?;
        if let Some(redriven) = &known.redriven {
            self.redrive_in_bounds(&redriven.terms)?;
        }

        let (Some(value), Some(decoded)) = (value, decoded) else {
            return Err(Reason::Decode(DecodeFault::NullValue));
        };
        let (mut event, too_many) = decoded.map_err(Reason::Decode)?;
        if let Some(violation) = too_many {
            return Err(Reason::Contract(violation));
        }
        let body = kind.is_control().then(|| control_body(&mut event));
        let message = M::parse(event).map_err(Reason::Contract)?;
        let seal = message.seal();

        let key = self.trusted(kind, &seal)?;
        message.check_hash().map_err(Reason::Contract)?;
        let claim = self.signed(kind, &seal, body, key)?;
        let envelope = self.enveloped(key, value)?;
        let readable = message
            .check_json(self.verifier.anomaly_payload)
            .map_err(Reason::Contract)?;
        // A redriven message is old by intent: its redrive was held against the clock instead.
        if let (Some(bounds), None) = (self.bounds, &known.redriven) {
            bounds.admit(&seal, self.record.append_time_ms)?;
        }

        let facts = Facts {
            kind,
            signer: SignedBy {
                id: Arc::clone(key.shared_id()),
                public_key: key.public_key(),
            },
            envelope,
            rule_override: self.verifier.envelope_rule,
            opaque: readable == Readable::Opaque,
            trust_generation: self.trust.generation(),
            claims: match &known.redriven {
                None => Claims::of(claim),
                Some(redriven) => Claims::redriven(redriven.claim, claim),
            },
            redriven: known.redriven,
        };
        Ok(Verified::new(message.into(), facts))
    }

    fn sized_value(&self) -> Result<Option<&[u8]>, Reason> {
        match self.record.value {
            Some(value) if value.len() > MAX_VALUE_BYTES => Err(Reason::Oversize {
                bytes: value.len(),
                limit: MAX_VALUE_BYTES,
            }),
            value => Ok(value),
        }
    }

    /// The key the message names, where it is believed for this kind at the signed time.
    fn trusted(&self, kind: Kind, seal: &Seal<'_>) -> Result<&TrustedKey, Reason> {
        let key = self
            .trust
            .key(&seal.public_key())
            .ok_or(Reason::UnknownKey)?;
        if key.producer_id() != *seal.producer_id() {
            return Err(Reason::Contract(Violation::ProducerId));
        }
        admit(key, kind, seal.time_s(), self.bounds)?;
        Ok(key)
    }

    /// Verifies the message's own signature; what it then claims of its place in order.
    fn signed(
        &self,
        kind: Kind,
        seal: &Seal<'_>,
        body: Option<Vec<u8>>,
        key: &TrustedKey,
    ) -> Result<Claim, Reason> {
        let invalid = || Reason::SignatureInvalid {
            id: Arc::clone(key.shared_id()),
        };
        let key_id = key.public_key().key_id();
        match seal {
            Seal::Node(seal) => {
                let input = seal.signing_input(kind);
                if !key.verifying_key().verifies(&input, &seal.signature) {
                    return Err(invalid());
                }
                Ok(Claim::with_nonce(
                    key_id,
                    &seal.nonce.0,
                    Sha256::digest(&input).into(),
                ))
            }
            Seal::Control(seal) => {
                let body = body.ok_or_else(invalid)?;
                let holds = kind.accepted_domains().iter().any(|domain| {
                    let input = [domain.as_bytes(), &body].concat();
                    key.verifying_key().verifies(&input, &seal.signature)
                });
                if !holds {
                    return Err(invalid());
                }
                Ok(Claim::with_timestamp(
                    key_id,
                    seal.timestamp_s,
                    Sha256::digest(&body).into(),
                ))
            }
        }
    }

    /// What the key's rule asks of the envelope.
    fn enveloped(&self, key: &TrustedKey, value: &[u8]) -> Result<EnvelopeState, Reason> {
        let rule = self.verifier.envelope_rule.unwrap_or(key.envelope_rule());
        if rule == EnvelopeRule::Off {
            return Ok(EnvelopeState::Off);
        }
        let invalid = |fault| Reason::EnvelopeInvalid {
            id: Arc::clone(key.shared_id()),
            fault,
        };
        let mut found = self.record.headers_named(headers::ENVELOPE);
        let Some(header) = found.next() else {
            return match rule {
                EnvelopeRule::Required => Err(Reason::EnvelopeMissing {
                    id: Arc::clone(key.shared_id()),
                }),
                EnvelopeRule::Accept | EnvelopeRule::Off => Ok(EnvelopeState::Absent),
            };
        };
        if found.next().is_some() {
            return Err(invalid(EnvelopeFault::Repeated));
        }
        let header = header.ok_or_else(|| invalid(EnvelopeFault::Malformed))?;
        Envelope::parse(header)
            .and_then(|envelope| {
                envelope.verify(
                    key.verifying_key(),
                    self.record.partition,
                    self.verifier.scopes(self.record.topic),
                    self.record.key,
                    value,
                )
            })
            .map_err(invalid)?;
        Ok(EnvelopeState::Valid)
    }
}

/// Whether a key is believed for a message of this kind, signed then: revoked, window, right.
pub(super) fn admit(
    key: &TrustedKey,
    kind: Kind,
    time_s: i64,
    bounds: Option<&Bounds>,
) -> Result<(), Reason> {
    let id = || Arc::clone(key.shared_id());
    if key.is_revoked() {
        return Err(Reason::KeyRevoked { id: id() });
    }
    let clock = bounds.map(|bounds| (bounds.now_ms, bounds.max_age));
    key.window()
        .covers(time_s.saturating_mul(1000), clock)
        .map_err(|fault| Reason::KeyExpired { id: id(), fault })?;
    if !key.may(Right::Kind(kind)) {
        return Err(Reason::KeyNotAuthorised { id: id(), kind });
    }
    Ok(())
}
