//! The contract's vectors: signed messages, mutations of them, nonces; and what the rules say of
//! bytes that are nearly those.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use cybermesh_contracts::headers;
use cybermesh_contracts::message::{
    AnomalyDraft, CommitDraft, Draft, EvidenceDraft, EvidenceRequestDraft, PolicyDraft,
    PolicyUpdateDraft, ReputationDraft, Stamp,
};
use cybermesh_contracts::nonce::{Next, Nonce, NonceSource};
use cybermesh_contracts::sign::{Ed25519Signer, PublicKey, Signer, VerifyingKey};
use cybermesh_contracts::trust::{EnvelopeRule, Right, TrustStore, TrustedKey};
use cybermesh_contracts::verify::{Bounds, EnvelopeState, Verifier};
use cybermesh_contracts::{Disposition, Kind, RecordView};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    clock: Clock,
    keys: BTreeMap<String, Key>,
    vectors: Vec<Vector>,
    mutations: Vec<Mutation>,
    nonces: Vec<NonceCase>,
}

#[derive(Deserialize)]
struct Clock {
    now_ms: i64,
}

#[derive(Deserialize)]
struct Key {
    seed_hex: String,
    public_hex: String,
    trusted_by_ai: bool,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    kind: String,
    topic: String,
    domain: String,
    key: String,
    fields: serde_json::Value,
    signed_bytes_hex: String,
    signature_hex: String,
    wire_hex: String,
    expect: String,
}

#[derive(Deserialize)]
struct Mutation {
    name: String,
    kind: String,
    wire_hex: String,
    expect: String,
    now_ms: Option<i64>,
}

#[derive(Deserialize)]
struct NonceCase {
    now_ms: u64,
    instance: u32,
    nonce_hex: String,
    previous: Option<String>,
}

fn file() -> File {
    serde_json::from_str(include_str!("data/contracts.json")).unwrap()
}

fn kind(name: &str) -> Kind {
    name.parse().unwrap()
}

fn signer(file: &File, key: &str) -> Ed25519Signer {
    let seed = hex::decode(&file.keys[key].seed_hex).unwrap();
    Ed25519Signer::from_seed(&seed.try_into().unwrap())
}

fn trust(file: &File, rule: EnvelopeRule) -> TrustStore {
    let keys = file.keys.iter().filter_map(|(name, key)| {
        let rights = match name.as_str() {
            "ai_node" => Kind::NODE.map(Right::Kind).to_vec(),
            _ if key.trusted_by_ai => Kind::CONTROL.map(Right::Kind).to_vec(),
            _ => return None,
        };
        let public_key = PublicKey::from_hex(&key.public_hex).unwrap();
        let key = TrustedKey::new(name.as_str(), public_key, rights).unwrap();
        Some(key.with_envelope(rule))
    });
    TrustStore::of(keys).unwrap()
}

/// The draft of a vector's fields, whether or not a receiver takes it.
fn draft(kind: Kind, fields: &serde_json::Value) -> Draft {
    fn event<E: serde::de::DeserializeOwned>(fields: &serde_json::Value) -> E {
        serde_json::from_value(fields.clone()).unwrap()
    }
    match kind {
        Kind::Anomaly => AnomalyDraft::as_it_stands(event(fields)).into(),
        Kind::Evidence => EvidenceDraft::as_it_stands(event(fields)).into(),
        Kind::Policy => PolicyDraft::as_it_stands(event(fields)).into(),
        Kind::Commit => CommitDraft::as_it_stands(event(fields)).into(),
        Kind::Reputation => ReputationDraft::as_it_stands(event(fields)).into(),
        Kind::PolicyUpdate => PolicyUpdateDraft::as_it_stands(event(fields)).into(),
        Kind::EvidenceRequest => EvidenceRequestDraft::as_it_stands(event(fields)).into(),
    }
}

fn stamp(kind: Kind, fields: &serde_json::Value) -> Stamp {
    let field = if kind.is_control() { "timestamp" } else { "ts" };
    let nonce = fields.get("nonce").map(|nonce| {
        let bytes = hex::decode(nonce.as_str().unwrap()).unwrap();
        Nonce(bytes.try_into().unwrap())
    });
    Stamp {
        now_ms: fields[field].as_u64().unwrap() * 1000,
        nonce,
    }
}

#[test]
fn every_vector_gets_its_verdict_and_re_encodes_to_its_bytes() {
    let file = file();
    let bounds = Bounds::at(file.clock.now_ms);
    let trust = trust(&file, EnvelopeRule::Accept);
    for vector in &file.vectors {
        let wire = hex::decode(&vector.wire_hex).unwrap();
        let record = RecordView::new(&vector.topic, Some(&wire));
        let judged = Verifier::new("").verify(&trust, kind(&vector.kind), &record, Some(&bounds));
        match vector.expect.as_str() {
            "accept" => {
                let verified =
                    judged.unwrap_or_else(|rejection| panic!("{}: {rejection}", vector.name));
                assert_eq!(verified.signer().id.as_ref(), vector.key);
                assert_eq!(verified.envelope(), EnvelopeState::Absent);
                assert_eq!(verified.message().to_wire(), wire, "{}", vector.name);
            }
            "reject" => assert!(judged.is_err(), "{} is accepted", vector.name),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_batch_gives_every_vector_and_mutation_the_verdict_it_gets_by_itself() {
    let file = file();
    let bounds = Bounds::at(file.clock.now_ms);
    let trust = trust(&file, EnvelopeRule::Accept);
    let vectors = file.vectors.iter().map(|v| (&v.kind, &v.wire_hex));
    let mutations = file.mutations.iter().map(|m| (&m.kind, &m.wire_hex));
    let wires: Vec<_> = vectors
        .chain(mutations)
        .map(|(name, wire_hex)| (kind(name), hex::decode(wire_hex).unwrap()))
        .collect();
    let mut accepted = 0;
    for kind in Kind::ALL {
        let records: Vec<_> = wires
            .iter()
            .filter(|(of, _)| *of == kind)
            .map(|(_, wire)| RecordView::new("any", Some(wire)))
            .collect();
        let alone: Vec<_> = records
            .iter()
            .map(|record| Verifier::new("").verify(&trust, kind, record, Some(&bounds)))
            .collect();
        accepted += alone.iter().filter(|judged| judged.is_ok()).count();
        let together = Verifier::new("").verify_batch(&trust, kind, &records, Some(&bounds));
        assert_eq!(together, alone, "{kind}");
    }
    assert!(accepted > 7, "{accepted} accepted");
}

#[test]
fn vectors_are_refused_for_the_reason_that_is_theirs() {
    let file = file();
    let trust = trust(&file, EnvelopeRule::Accept);
    let expected = BTreeMap::from([
        ("anomaly_empty_payload", Disposition::Contract),
        ("anomaly_meta_mismatch", Disposition::Contract),
        ("commit_untrusted_key", Disposition::UnknownKey),
        ("anomaly_sig_bit_flip", Disposition::SignatureInvalid),
        ("anomaly_alg_lowercase", Disposition::Contract),
        ("anomaly_nonce_15_bytes", Disposition::Contract),
        ("anomaly_content_hash_31_bytes", Disposition::Contract),
        ("anomaly_producer_differs", Disposition::Contract),
        ("evidence_sig_bit_flip", Disposition::SignatureInvalid),
        ("evidence_ts_plus_1", Disposition::SignatureInvalid),
        ("evidence_nonce_changed", Disposition::SignatureInvalid),
        ("policy_sig_bit_flip", Disposition::SignatureInvalid),
        ("policy_content_hash_31_bytes", Disposition::Contract),
        ("anomaly_payload_tampered", Disposition::Contract),
        ("anomaly_severity_7", Disposition::Contract),
        ("commit_sig_bit_flip", Disposition::SignatureInvalid),
        ("policy_update_sig_bit_flip", Disposition::SignatureInvalid),
        ("reputation_sig_bit_flip", Disposition::SignatureInvalid),
        (
            "reputation_timestamp_changed",
            Disposition::SignatureInvalid,
        ),
        ("evidence_request_alg_lowercase", Disposition::Contract),
        ("evidence_request_producer_differs", Disposition::Contract),
        ("commit_height_changed", Disposition::SignatureInvalid),
        ("commit_typed_sum_over_total", Disposition::Contract),
        ("policy_update_hash_mismatch", Disposition::Contract),
    ]);
    let vectors = file
        .vectors
        .iter()
        .map(|v| (&v.name, &v.kind, &v.wire_hex, &v.expect));
    let mutations = file
        .mutations
        .iter()
        .map(|m| (&m.name, &m.kind, &m.wire_hex, &m.expect));
    let mut refused = 0;
    for (name, kind_name, wire_hex, expect) in vectors.chain(mutations) {
        if expect != "reject" {
            continue;
        }
        let wire = hex::decode(wire_hex).unwrap();
        let record = RecordView::new("any", Some(&wire));
        let rejection = Verifier::new("")
            .verify(&trust, kind(kind_name), &record, None)
            .unwrap_err();
        assert_eq!(
            rejection.disposition(),
            expected[name.as_str()],
            "{name}: {rejection}"
        );
        assert!(rejection.claimed().is_some(), "{name}");
        refused += 1;
    }
    assert_eq!(refused, expected.len());
}

#[test]
fn no_vector_passes_where_envelopes_are_required_and_none_is_there() {
    let file = file();
    let trust = trust(&file, EnvelopeRule::Required);
    let vectors = file
        .vectors
        .iter()
        .map(|v| (&v.kind, &v.wire_hex, &v.expect));
    let mutations = file
        .mutations
        .iter()
        .map(|m| (&m.kind, &m.wire_hex, &m.expect));
    for (kind_name, wire_hex, expect) in vectors.chain(mutations) {
        let wire = hex::decode(wire_hex).unwrap();
        let record = RecordView::new("any", Some(&wire));
        let judged = Verifier::new("").verify(&trust, kind(kind_name), &record, None);
        let disposition = judged.unwrap_err().disposition();
        if expect.starts_with("accept") {
            assert_eq!(disposition, Disposition::EnvelopeMissing);
        }
    }
}

#[test]
fn every_mutation_gets_its_verdict() {
    let file = file();
    for rule in [EnvelopeRule::Accept, EnvelopeRule::Off] {
        let trust = trust(&file, rule);
        for mutation in &file.mutations {
            let bounds = Bounds::at(mutation.now_ms.unwrap_or(file.clock.now_ms));
            let wire = hex::decode(&mutation.wire_hex).unwrap();
            let record = RecordView::new("any", Some(&wire));
            let judged =
                Verifier::new("").verify(&trust, kind(&mutation.kind), &record, Some(&bounds));
            let accepted = mutation.expect.starts_with("accept");
            assert_eq!(
                judged.is_ok(),
                accepted,
                "{}: {:?}",
                mutation.name,
                judged.err()
            );
        }
    }
}

#[test]
fn fields_and_seed_make_the_same_signed_bytes_signature_and_wire() {
    let file = file();
    for vector in &file.vectors {
        let kind = kind(&vector.kind);
        let draft = draft(kind, &vector.fields);
        let signer = signer(&file, &vector.key);
        let stamp = stamp(kind, &vector.fields);
        let mut input = draft.signing_input(signer.public_key(), stamp).unwrap();
        if vector.domain == kind.signing_domain() {
            let signed = draft.sign(&signer, stamp).unwrap();
            assert_eq!(
                hex::encode(&signed.value),
                vector.wire_hex,
                "{}",
                vector.name
            );
        } else {
            // An older domain, which is accepted and not emitted.
            input.splice(..kind.signing_domain().len(), vector.domain.bytes());
        }
        assert_eq!(
            hex::encode(&input),
            vector.signed_bytes_hex,
            "{}",
            vector.name
        );
        let signature = signer.sign(&input).unwrap();
        assert_eq!(
            hex::encode(signature.0),
            vector.signature_hex,
            "{}",
            vector.name
        );
        let key = VerifyingKey::try_from(signer.public_key()).unwrap();
        assert!(key.verifies(&input, &signature));
    }
}

#[test]
fn drafts_are_kept_without_the_fields_that_signing_fills() {
    let file = file();
    for vector in &file.vectors {
        let kind = kind(&vector.kind);
        let draft = draft(kind, &vector.fields);
        let kept = draft.to_proto();
        assert_eq!(Draft::from_proto(kind, &kept).unwrap(), draft);
        let signed = Draft::from_proto(kind, &hex::decode(&vector.wire_hex).unwrap()).unwrap();
        assert_eq!(signed.to_proto(), kept, "{}", vector.name);
        let signature = hex::decode(&vector.signature_hex).unwrap();
        assert!(!kept.windows(64).any(|window| window == signature));
    }
}

#[test]
fn nonces_come_as_the_vectors_say() {
    let file = file();
    let mut source = NonceSource::ephemeral(file.nonces[0].instance);
    for case in &file.nonces {
        if let Some(previous) = &case.previous {
            let previous = hex::decode(previous).unwrap();
            source = NonceSource::after(Nonce(previous.try_into().unwrap()));
        }
        assert_eq!(source.instance(), case.instance);
        let Next::Nonce(nonce) = source
            .next(case.now_ms, || panic!("drew an instance"))
            .unwrap()
        else {
            panic!("asked to keep state that it does not keep");
        };
        assert_eq!(nonce.to_string(), case.nonce_hex);
    }
}

#[test]
fn a_header_that_is_not_ours_changes_nothing() {
    let file = file();
    let trust = trust(&file, EnvelopeRule::Accept);
    let wire = hex::decode(&file.vectors[0].wire_hex).unwrap();
    let foreign = [
        ("x", None),
        ("type", Some(&b"commit"[..])),
        ("CM-ENVELOPE", Some(b"x")),
    ];
    let record = RecordView {
        headers: &foreign,
        ..RecordView::new("any", Some(&wire))
    };
    let judged = Verifier::new("").verify(&trust, Kind::Anomaly, &record, None);
    assert_eq!(judged.unwrap().envelope(), EnvelopeState::Absent);
    let bad = [(headers::ENVELOPE, None)];
    let record = RecordView {
        headers: &bad,
        ..record
    };
    let judged = Verifier::new("").verify(&trust, Kind::Anomaly, &record, None);
    assert_eq!(
        judged.unwrap_err().disposition(),
        Disposition::EnvelopeInvalid
    );
}
