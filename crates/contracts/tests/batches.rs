//! Records judged together get the verdicts that each gets by itself.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use cybermesh_contracts::headers;
use cybermesh_contracts::message::{AnomalyDraft, Message};
use cybermesh_contracts::sign::Ed25519Signer;
use cybermesh_contracts::trust::{EnvelopeRule, TrustStore};
use cybermesh_contracts::verify::{Bounds, Verified, Verifier};
use cybermesh_contracts::{Disposition, Kind, RecordView, Rejection};
use proptest::prelude::*;
use proptest::sample::Index;
use support::{AUDIENCE, NOW_MS, PARTITION, Produced, TOPIC, draft, key, store};

/// What became of a record on its way.
#[derive(Clone, Debug)]
enum Fate {
    Untouched,
    SignedByAStranger,
    BitFlippedInItsValue(Index),
    BitFlippedInItsEnvelope(Index),
    SignatureOfItsEnvelopeBroken,
    EnvelopeLost,
    EnvelopeTwice,
    EnvelopeOfAnotherRecord,
    ValueLost,
    OfAnotherKind,
    ReadElsewhere,
    WithoutJson,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        12 => Just(Fate::Untouched),
        1 => Just(Fate::SignedByAStranger),
        3 => any::<Index>().prop_map(Fate::BitFlippedInItsValue),
        3 => any::<Index>().prop_map(Fate::BitFlippedInItsEnvelope),
        1 => Just(Fate::SignatureOfItsEnvelopeBroken),
        1 => Just(Fate::EnvelopeLost),
        1 => Just(Fate::EnvelopeTwice),
        1 => Just(Fate::EnvelopeOfAnotherRecord),
        1 => Just(Fate::ValueLost),
        1 => Just(Fate::OfAnotherKind),
        1 => Just(Fate::ReadElsewhere),
        1 => Just(Fate::WithoutJson),
    ]
}

/// A record of `kind` that met its fate, and what stands in its headers.
fn met(kind: Kind, number: usize, fate: &Fate) -> (Produced, Vec<Vec<u8>>) {
    let mut produced = match fate {
        Fate::SignedByAStranger => {
            Produced::signed_by(&Ed25519Signer::from_seed(&[1; 32]), &draft(kind))
        }
        Fate::OfAnotherKind => Produced::of(&draft(Kind::Commit)),
        Fate::WithoutJson => Produced::of(&opaque(number).into()),
        _ => Produced::of(&draft(kind)),
    };
    let flip = |bytes: &mut Vec<u8>, bit: &Index| {
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    };
    match fate {
        Fate::BitFlippedInItsValue(bit) => flip(&mut produced.value, bit),
        Fate::BitFlippedInItsEnvelope(bit) => flip(&mut produced.envelope, bit),
        Fate::EnvelopeOfAnotherRecord => {
            produced.envelope = Produced::of(&draft(Kind::Reputation)).envelope;
        }
        Fate::SignatureOfItsEnvelopeBroken => produced.envelope[40] ^= 1,
        _ => {}
    }
    let envelopes = match fate {
        Fate::EnvelopeLost => 0,
        Fate::EnvelopeTwice => 2,
        _ => 1,
    };
    let headers = vec![produced.envelope.clone(); envelopes];
    (produced, headers)
}

fn opaque(number: usize) -> AnomalyDraft {
    AnomalyDraft::builder(support::ID)
        .anomaly_type("ddos")
        .source("loop")
        .severity(8)
        .confidence(0.5)
        .model_version("v1")
        .opaque_payload(format!("no json {number}"))
        .build()
        .unwrap()
}

type Headers<'a> = Vec<(&'a str, Option<&'a [u8]>)>;
type Verdicts = Vec<Result<Verified<Message>, Rejection>>;

/// The verdicts of a batch, and those that each record gets by itself.
fn both_ways(
    verifier: &Verifier,
    trust: &TrustStore,
    kind: Kind,
    fates: &[Fate],
) -> (Verdicts, Verdicts) {
    let made: Vec<_> = fates
        .iter()
        .enumerate()
        .map(|(number, fate)| met(kind, number, fate))
        .collect();
    let headers: Vec<Headers<'_>> = made
        .iter()
        .map(|(_, envelopes)| {
            let named = envelopes.iter();
            named
                .map(|envelope| (headers::ENVELOPE, Some(envelope.as_slice())))
                .collect()
        })
        .collect();
    let records: Vec<RecordView<'_>> = made
        .iter()
        .zip(&headers)
        .zip(fates)
        .map(|(((produced, _), headers), fate)| RecordView {
            partition: match fate {
                Fate::ReadElsewhere => Some(PARTITION + 1),
                _ => Some(PARTITION),
            },
            key: Some(&produced.key),
            headers,
            ..RecordView::new(
                TOPIC,
                (!matches!(fate, Fate::ValueLost)).then_some(produced.value.as_slice()),
            )
        })
        .collect();
    let bounds = Bounds::at(NOW_MS);
    let alone = records
        .iter()
        .map(|record| verifier.verify(trust, kind, record, Some(&bounds)))
        .collect();
    let together = verifier.verify_batch(trust, kind, &records, Some(&bounds));
    (together, alone)
}

fn rule() -> impl Strategy<Value = EnvelopeRule> {
    prop_oneof![
        Just(EnvelopeRule::Required),
        Just(EnvelopeRule::Accept),
        Just(EnvelopeRule::Off)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_mixture_of_records_gets_the_verdicts_of_judging_each_by_itself(
        kind in proptest::sample::select(&Kind::ALL[..]),
        rule in rule(),
        fates in proptest::collection::vec(fate(), 0..16),
    ) {
        let trust = store(key().with_envelope(rule));
        let (together, alone) = both_ways(&Verifier::new(AUDIENCE), &trust, kind, &fates);
        prop_assert_eq!(together, alone);
    }

    #[test]
    fn it_does_so_where_an_envelope_may_be_for_several_environments(
        fates in proptest::collection::vec(fate(), 0..8),
    ) {
        let verifier = Verifier::new("other").accept_audiences([AUDIENCE.to_owned()]);
        let (together, alone) = both_ways(&verifier, &store(key()), Kind::Policy, &fates);
        prop_assert_eq!(together, alone);
    }
}

#[test]
fn a_bad_signature_takes_none_of_its_neighbours_along() {
    let mut fates = vec![Fate::Untouched; 64];
    fates[9] = Fate::SignatureOfItsEnvelopeBroken;
    let (together, _) = both_ways(
        &Verifier::new(AUDIENCE),
        &store(key()),
        Kind::Anomaly,
        &fates,
    );
    let rejected: Vec<_> = together
        .iter()
        .enumerate()
        .filter_map(|(at, judged)| Some((at, judged.as_ref().err()?.disposition())))
        .collect();
    assert_eq!(rejected, [(9, Disposition::EnvelopeInvalid)]);
}

#[test]
fn a_batch_of_nothing_has_no_verdicts() {
    let judged = Verifier::new(AUDIENCE).verify_batch(&store(key()), Kind::Anomaly, &[], None);
    assert_eq!(judged, []);
}
