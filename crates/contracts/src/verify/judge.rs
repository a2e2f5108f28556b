//! The demands, one after the other.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::content::{Content, Readable};
use super::due::{self, Due};
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
#[derive(Clone, Copy)]
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

impl Known {
    fn reject(&self, reason: Reason) -> Rejection {
        let terms = self.redriven.map(|redriven| redriven.terms);
        Rejection::new(reason, self.claimed).with_redrive(terms)
    }
}

/// Every demand of one record, its signatures one by one.
pub(super) fn judge<M: Content>(case: Case<'_>) -> Result<Verified<Message>, Rejection> {
    let opened = case.open::<M>()?;
    let holds = opened.due.holds();
    let signed = opened.signed(holds)?;
    let holds = signed.envelope.holds();
    signed.enveloped(holds)?.accept()
}

/// Every demand of each record, as [`judge`] makes them; but the signatures of all messages are
/// verified together, and then those of all envelopes.
pub(super) fn judge_together<'a, M: Content>(
    cases: impl Iterator<Item = Case<'a>>,
) -> Vec<Result<Verified<Message>, Rejection>> {
    let opened: Vec<_> = cases.map(|case| case.open::<M>()).collect();
    let hold = due::hold(opened.iter().flatten().map(|opened| Some(&opened.due)));
    let signed = advance(opened, hold, Opened::signed);
    let hold = due::hold(signed.iter().flatten().map(|signed| signed.envelope.due()));
    let enveloped = advance(signed, hold, Signed::enveloped);
    let accepted = enveloped.into_iter();
    accepted
        .map(|record| record.and_then(Enveloped::accept))
        .collect()
}

/// Takes each record that was not rejected yet a stage on; `hold` has an answer for each of those.
fn advance<S, T>(
    records: Vec<Result<S, Rejection>>,
    hold: Vec<bool>,
    next: impl Fn(S, bool) -> Result<T, Rejection>,
) -> Vec<Result<T, Rejection>> {
    let mut hold = hold.into_iter();
    let records = records.into_iter();
    records
        // An answer that is missing is none that holds.
        .map(|record| record.and_then(|stage| next(stage, hold.next().unwrap_or(false))))
        .collect()
}

/// A record that meets every demand before those on its signatures.
struct Opened<'a, M> {
    case: Case<'a>,
    known: Known,
    value: &'a [u8],
    message: M,
    key: &'a TrustedKey,
    due: Due<'a>,
    claim: Claim,
}

/// One whose own signature holds, and whose envelope, if there is one, was made for this place.
struct Signed<'a, M> {
    opened: Opened<'a, M>,
    envelope: EnvelopeDue<'a>,
}

/// One that is authentic.
struct Enveloped<'a, M> {
    opened: Opened<'a, M>,
    envelope: EnvelopeState,
}

/// What is left to be found out of an envelope.
enum EnvelopeDue<'a> {
    Nothing(EnvelopeState),
    Signature(Due<'a>),
}

impl EnvelopeDue<'_> {
    fn due(&self) -> Option<&Due<'_>> {
        match self {
            Self::Nothing(_) => None,
            Self::Signature(due) => Some(due),
        }
    }

    fn holds(&self) -> bool {
        self.due().is_none_or(Due::holds)
    }
}

impl<'a> Case<'a> {
    /// All demands before those on signatures.
    fn open<M: Content>(self) -> Result<Opened<'a, M>, Rejection> {
        let mut known = Known::default();
        match self.read::<M>(&mut known) {
            Ok((message, value, key, due, claim)) => Ok(Opened {
                case: self,
                known,
                value,
                message,
                key,
                due,
                claim,
            }),
            Err(reason) => Err(known.reject(reason)),
        }
    }

    fn read<M: Content>(
        &self,
        known: &mut Known,
    ) -> Result<(M, &'a [u8], &'a TrustedKey, Due<'a>, Claim), Reason> {
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
        let (due, claim) = to_be_signed(kind, &seal, body, key)?;
        Ok((message, value, key, due, claim))
    }

    fn sized_value(&self) -> Result<Option<&'a [u8]>, Reason> {
        match self.record.value {
            Some(value) if value.len() > MAX_VALUE_BYTES => Err(Reason::Oversize {
                bytes: value.len(),
                limit: MAX_VALUE_BYTES,
            }),
            value => Ok(value),
        }
    }

    /// The key the message names, where it is believed for this kind at the signed time.
    fn trusted(&self, kind: Kind, seal: &Seal<'_>) -> Result<&'a TrustedKey, Reason> {
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

    /// What the key's rule asks of the envelope, up to its signature.
    fn enveloped(&self, key: &'a TrustedKey, value: &[u8]) -> Result<EnvelopeDue<'a>, Reason> {
        let rule = self.verifier.envelope_rule.unwrap_or(key.envelope_rule());
        if rule == EnvelopeRule::Off {
            return Ok(EnvelopeDue::Nothing(EnvelopeState::Off));
        }
        let invalid = |fault| envelope_invalid(key, fault);
        let mut found = self.record.headers_named(headers::ENVELOPE);
        let Some(header) = found.next() else {
            return match rule {
                EnvelopeRule::Required => Err(Reason::EnvelopeMissing {
                    id: Arc::clone(key.shared_id()),
                }),
                EnvelopeRule::Accept | EnvelopeRule::Off => {
                    Ok(EnvelopeDue::Nothing(EnvelopeState::Absent))
                }
            };
        };
        if found.next().is_some() {
            return Err(invalid(EnvelopeFault::Repeated));
        }
        let header = header.ok_or_else(|| invalid(EnvelopeFault::Malformed))?;
        let envelope = Envelope::parse(header).map_err(invalid)?;
        envelope
            .check_place(key.verifying_key(), self.record.partition)
            .map_err(invalid)?;
        let accepted = self.verifier.scopes(self.record.topic);
        let inputs = envelope.signing_inputs(accepted, self.record.key, value);
        Due::any(key.verifying_key(), *envelope.signature(), inputs)
            .map(EnvelopeDue::Signature)
            .ok_or_else(|| invalid(EnvelopeFault::Signature))
    }
}

impl<'a, M: Content> Opened<'a, M> {
    /// The message's own signature was found to hold, or not.
    fn signed(self, holds: bool) -> Result<Signed<'a, M>, Rejection> {
        if !holds {
            return Err(self.known.reject(signature_invalid(self.key)));
        }
        match self.case.enveloped(self.key, self.value) {
            Ok(envelope) => Ok(Signed {
                opened: self,
                envelope,
            }),
            Err(reason) => Err(self.known.reject(reason)),
        }
    }
}

impl<'a, M: Content> Signed<'a, M> {
    /// The envelope's signature was found to hold, or not, or there is none to ask for.
    fn enveloped(self, holds: bool) -> Result<Enveloped<'a, M>, Rejection> {
        let Self { opened, envelope } = self;
        let envelope = match envelope {
            EnvelopeDue::Nothing(state) => state,
            EnvelopeDue::Signature(_) if holds => EnvelopeState::Valid,
            EnvelopeDue::Signature(_) => {
                let reason = envelope_invalid(opened.key, EnvelopeFault::Signature);
                return Err(opened.known.reject(reason));
            }
        };
        Ok(Enveloped { opened, envelope })
    }
}

impl<M: Content> Enveloped<'_, M> {
    /// What is demanded of authentic messages.
    fn accept(self) -> Result<Verified<Message>, Rejection> {
        let Self { opened, envelope } = self;
        let Opened {
            case,
            known,
            message,
            key,
            claim,
            ..
        } = opened;
        let readable = message
            .check_json(case.verifier.anomaly_payload)
            .map_err(|violation| known.reject(Reason::Contract(violation)))?;
        // A redriven message is old by intent: its redrive was held against the clock instead.
        if let (Some(bounds), None) = (case.bounds, &known.redriven) {
            bounds
                .admit(&message.seal(), case.record.append_time_ms)
                .map_err(|reason| known.reject(reason))?;
        }

        let facts = Facts {
            kind: M::Event::KIND,
            signer: SignedBy {
                id: Arc::clone(key.shared_id()),
                public_key: key.public_key(),
            },
            envelope,
            rule_override: case.verifier.envelope_rule,
            opaque: readable == Readable::Opaque,
            trust_generation: case.trust.generation(),
            claims: match &known.redriven {
                None => Claims::of(claim),
                Some(redriven) => Claims::redriven(redriven.claim, claim),
            },
            redriven: known.redriven,
        };
        Ok(Verified::new(message.into(), facts))
    }
}

/// What the message's own signature is to cover, and what the message then claims of its place in
/// order.
fn to_be_signed<'a>(
    kind: Kind,
    seal: &Seal<'_>,
    body: Option<Vec<u8>>,
    key: &'a TrustedKey,
) -> Result<(Due<'a>, Claim), Reason> {
    let key_id = key.public_key().key_id();
    match seal {
        Seal::Node(seal) => {
            let input = seal.signing_input(kind);
            let hash = Sha256::digest(&input).into();
            Ok((
                Due::one(key.verifying_key(), seal.signature, input),
                Claim::with_nonce(key_id, &seal.nonce.0, hash),
            ))
        }
        Seal::Control(seal) => {
            let body = body.ok_or_else(|| signature_invalid(key))?;
            let domains = kind.accepted_domains().iter();
            let inputs = domains.map(|domain| [domain.as_bytes(), &body].concat());
            let due = Due::any(key.verifying_key(), seal.signature, inputs)
                .ok_or_else(|| signature_invalid(key))?;
            let hash = Sha256::digest(&body).into();
            Ok((due, Claim::with_timestamp(key_id, seal.timestamp_s, hash)))
        }
    }
}

fn signature_invalid(key: &TrustedKey) -> Reason {
    Reason::SignatureInvalid {
        id: Arc::clone(key.shared_id()),
    }
}

fn envelope_invalid(key: &TrustedKey, fault: EnvelopeFault) -> Reason {
    Reason::EnvelopeInvalid {
        id: Arc::clone(key.shared_id()),
        fault,
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
