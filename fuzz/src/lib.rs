//! What is fuzzed: each function takes any bytes, and must neither panic nor break what it asserts.
//!
//! `cargo +nightly fuzz run --features run <target>` runs one of them under libFuzzer; the tests of
//! `cybermesh-contracts` run all of them on bytes that proptest makes.

use std::cell::Cell;

use cybermesh_contracts::dead_letter::{Content, DeadLetter, SIGNED_HEADERS};
use cybermesh_contracts::envelope::Envelope;
use cybermesh_contracts::message::{AnomalyDraft, Draft, Stamp};
use cybermesh_contracts::nonce::{Next, Nonce, NonceSource, Reservation};
use cybermesh_contracts::proto::AnomalyEvent;
use cybermesh_contracts::redrive::Redrive;
use cybermesh_contracts::replay::{
    Binding, Budget, Handled, PartitionReplay, ReadBack, RingLimits, Snapshot, StateKeys,
};
use cybermesh_contracts::sign::{Ed25519Signer, Signer, VerifyingKey};
use cybermesh_contracts::trust::{EnvelopeRule, Right, TrustStore, TrustedKey};
use cybermesh_contracts::verify::{AnomalyPayload, Bounds, RedriveFor, Verifier};
use cybermesh_contracts::{Kind, RecordView};

const NOW_MS: i64 = 1_760_000_000_125;

fn signer() -> Ed25519Signer {
    Ed25519Signer::from_seed(&[1; 32])
}

fn key() -> VerifyingKey {
    VerifyingKey::try_from(signer().public_key()).expect("a good key")
}

fn trust(rule: EnvelopeRule) -> TrustStore {
    let rights = Kind::ALL
        .map(Right::Kind)
        .into_iter()
        .chain([Right::Redrive]);
    let key = TrustedKey::new("fuzz", signer().public_key(), rights).expect("a good key");
    TrustStore::of([key.with_envelope(rule)]).expect("one key")
}

fn stamp() -> Stamp {
    Stamp {
        now_ms: NOW_MS.unsigned_abs(),
        nonce: Some(Nonce::new(NOW_MS.unsigned_abs(), 7, 0)),
    }
}

/// A record's value as a message of `kind`: as it stands, and as a draft that a trusted key signs.
pub fn message(kind: Kind, bytes: &[u8]) {
    let trust = trust(EnvelopeRule::Accept);
    let verifier = Verifier::new("fuzz").anomaly_payload(AnomalyPayload::Any);
    let bounds = Bounds::at(NOW_MS);
    let verify = |value: &[u8]| {
        let record = RecordView::new(kind.default_topic(), Some(value));
        verifier.verify(&trust, kind, &record, Some(&bounds))
    };
    let _ = verify(bytes);
    let Ok(draft) = Draft::from_proto(kind, bytes) else {
        return;
    };
    let _ = draft.default_key();
    let kept = Draft::from_proto(kind, &draft.to_proto()).expect("what was encoded is decoded");
    assert_eq!(kept.to_proto(), draft.to_proto());
    let signed = draft.sign(&signer(), stamp()).expect("signs");
    if let Ok(verified) = verify(&signed.value) {
        let again =
            verify(&verified.message().to_wire()).expect("known fields are all that is signed");
        assert_eq!(again.replay_claims(), verified.replay_claims());
        assert_eq!(again.message().to_wire(), verified.message().to_wire());
        assert!(verified.message().to_json().is_ok());
    }
}

/// The headers that a receiver reads, beside a genuine message: whatever they are, the message is
/// accepted only as what it is, and never under a forged envelope.
pub fn envelope(bytes: &[u8]) {
    if let Ok(envelope) = Envelope::parse(bytes) {
        assert_eq!(envelope.encode().as_slice(), bytes);
        let accepted = [("fuzz", "topic")];
        assert!(
            envelope
                .verify(&key(), Some(0), accepted, None, b"value")
                .is_err()
        );
    }
    let headers = [("cm-envelope", Some(bytes))];
    let value = signed_anomaly(b"{\"severity\":1,\"confidence\":0}");
    let record = RecordView {
        partition: Some(0),
        headers: &headers,
        ..RecordView::new(Kind::Anomaly.default_topic(), Some(&value))
    };
    let verified =
        Verifier::new("fuzz").verify(&trust(EnvelopeRule::Required), Kind::Anomaly, &record, None);
    assert!(verified.is_err());
}

/// A redrive header, by itself and beside a genuine message.
pub fn redrive(bytes: &[u8]) {
    if let Ok(redrive) = Redrive::parse(bytes) {
        assert_eq!(redrive.to_bytes(), bytes);
        let terms = redrive.terms();
        let _ = (
            terms.check(0),
            terms.has_expired(NOW_MS),
            terms.signed_at_ms(),
        );
        assert!(
            redrive
                .verify(&key(), &["fuzz"], &["topic"], Some(b"value"))
                .is_err()
        );
    }
    let headers = [("cm-redrive", Some(bytes))];
    let value = signed_anomaly(b"{\"severity\":1,\"confidence\":0}");
    let record = RecordView {
        headers: &headers,
        ..RecordView::new(Kind::Anomaly.default_topic(), Some(&value))
    };
    for whom in [
        RedriveFor::NoGroup,
        RedriveFor::Anyone,
        RedriveFor::Group("fuzz".into()),
    ] {
        let verifier = Verifier::new("fuzz").redrive_for(whom);
        let verified = verifier.verify(
            &trust(EnvelopeRule::Off),
            Kind::Anomaly,
            &record,
            Some(&Bounds::at(NOW_MS)),
        );
        assert!(verified.is_err());
    }
}

/// A record of the dead-letter topic. The bytes are split at every 0xff into the signed headers (an
/// empty one is absent), the signature, the key and, with all that is left, the value.
pub fn dead_letter(bytes: &[u8]) {
    let mut parts = bytes.splitn(SIGNED_HEADERS.len() + 3, |byte| *byte == 0xff);
    let mut part = || parts.next().filter(|part| !part.is_empty());
    let mut headers: Vec<(&str, Option<&[u8]>)> = SIGNED_HEADERS
        .into_iter()
        .filter_map(|name| Some((name, Some(part()?))))
        .collect();
    headers.extend(part().map(|seal| ("cm-dead-letter", Some(seal))));
    let (key_bytes, value) = (part(), part());
    let record = RecordView {
        key: key_bytes,
        headers: &headers,
        ..RecordView::new("ai.dlq", value)
    };
    let Ok(letter) = DeadLetter::parse(&record) else {
        return;
    };
    assert!(letter.verify_with(&key(), &["fuzz"]).is_err());
    assert!(letter.disposition().buried());
    if let Content::Reference(reference) = letter.content() {
        assert!(reference.count > 0);
    }
}

/// The metadata of an offset commit, as text and as what the text would decode to.
pub fn replay_metadata(bytes: &[u8]) {
    let binding = Binding {
        group: "fuzz",
        cluster_id: "fuzz",
        topic_id: [0; 16],
        partition: 0,
        offset: 10_000,
    };
    let text = String::from_utf8_lossy(bytes);
    let state_key = TrustedKey::new("fuzz", signer().public_key(), [Right::ReplayState]);
    let store = TrustStore::of(state_key).expect("one key");
    let demanding = StateKeys::named_in(&store, NOW_MS);
    assert!(Snapshot::open(&text, &binding, &demanding).is_err());
    if let Ok(snapshot) = Snapshot::open(&text, &binding, &StateKeys::default()) {
        goes_on(snapshot, &binding);
    }
    // And behind the genuine head of a state that belongs here, with its floor: eighteen bytes.
    let genuine = PartitionReplay::at_start_of_log(RingLimits::default(), 9_000).checkpoint(10_000);
    let Ok(Some(sealed)) = genuine.seal(&binding, Budget::COMMIT, None) else {
        unreachable!("an empty state fits and needs no key");
    };
    let head = sealed
        .as_bytes()
        .chunks(4)
        .take(6)
        .flatten()
        .map(|byte| char::from(*byte));
    let text: String = head.chain(entries(bytes)).collect();
    if let Ok(snapshot) = Snapshot::open(&text, &binding, &StateKeys::default()) {
        goes_on(snapshot, &binding);
    }
}

/// A state that opened is stored again as it was, and can be started from.
fn goes_on(snapshot: Snapshot, binding: &Binding<'_>) {
    let sealed = snapshot
        .seal(binding, Budget::WHOLE, None)
        .expect("no key to fail")
        .expect("it fits");
    assert_eq!(
        Snapshot::open(&sealed, binding, &StateKeys::default()).as_ref(),
        Ok(&snapshot)
    );
    let small = snapshot
        .seal(binding, Budget::COMMIT, None)
        .expect("no key to fail")
        .expect("it fits");
    assert!(small.len() <= Budget::COMMIT.characters());
    let (mut replay, _) =
        ReadBack::restored(RingLimits::default(), binding.offset, snapshot).finish(0, u64::MAX);
    replay.committed(binding.offset + 5_000);
    let _ = replay.checkpoint(binding.offset + 5_000);
}

/// Bytes in base64, as far as they fill quads.
fn entries(bytes: &[u8]) -> impl Iterator<Item = char> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let whole = bytes.len() / 3 * 3;
    bytes[..whole].chunks(3).flat_map(|three| {
        let word = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        [18, 12, 6, 0]
            .map(|shift| char::from(ALPHABET[usize::try_from(word >> shift & 63).unwrap_or(0)]))
    })
}

/// A trust store, in both of its forms; what it names as files has the same bytes.
pub fn trust_store(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let asked = Cell::new(0);
    let mut read = |_: &str| {
        asked.set(asked.get() + 1);
        Ok(text.to_string())
    };
    for store in [
        TrustStore::from_toml(&text, &mut read),
        TrustStore::from_registry(&text, &mut read),
    ] {
        let Ok(store) = store else { continue };
        for key in store.keys() {
            assert_eq!(
                store.key(&key.public_key()).map(TrustedKey::id),
                Some(key.id())
            );
            assert_eq!(
                store
                    .key_by_id(&key.public_key().key_id())
                    .map(TrustedKey::id),
                Some(key.id())
            );
        }
        let _ = store.kinds_without_keys(&Kind::ALL);
    }
    assert!(asked.get() <= bytes.len());
}

/// JSON inside a signed message: what the strict reader accepts is JSON to an ordinary one, and reads
/// the same numbers there.
pub fn json(bytes: &[u8]) {
    let value = signed_anomaly(bytes);
    let record = RecordView::new(Kind::Anomaly.default_topic(), Some(&value));
    let trust = trust(EnvelopeRule::Off);
    let strict = Verifier::new("fuzz").verify(&trust, Kind::Anomaly, &record, None);
    if strict.is_ok() {
        match serde_json::from_slice::<serde_json::Value>(bytes) {
            Ok(ordinary) => {
                let is_near = |name: &str, wanted: f64| {
                    let said = ordinary[name].as_f64();
                    said.is_some_and(|said| (said - wanted).abs() <= 1.1e-6)
                };
                assert!(is_near("severity", 1.0) && is_near("confidence", 0.0));
            }
            Err(error) => assert!(is_beyond_an_ordinary_reader(&error), "{error}"),
        }
    }
    let lenient = Verifier::new("fuzz").anomaly_payload(AnomalyPayload::Any);
    if let Ok(verified) = lenient.verify(&trust, Kind::Anomaly, &record, None) {
        assert_eq!(verified.opaque_payload(), strict.is_err());
    }
}

/// RFC 8259 permits these, `serde_json` does not: the 128th level, lone surrogates, huge exponents.
fn is_beyond_an_ordinary_reader(error: &serde_json::Error) -> bool {
    let error = error.to_string();
    let permitted = [
        "recursion limit",
        "surrogate",
        "hex escape",
        "unicode code point",
        "number out of range",
    ];
    permitted.iter().any(|permitted| error.contains(permitted))
}

/// What was handled beyond a committed offset, as it stands in the state folder.
pub fn handled(bytes: &[u8]) {
    const COMMITTED: i64 = 1000;
    let text = String::from_utf8_lossy(bytes);
    if let Some(handled) = Handled::decode(&text, COMMITTED) {
        let again = Handled::decode(&handled.encode(COMMITTED), COMMITTED);
        assert_eq!(again, Some(handled));
    }
}

/// The nonce state of a state folder, and a source that goes on from it.
pub fn nonce_state(bytes: &[u8]) {
    if let Ok(reservation) = Reservation::decode(bytes) {
        assert_eq!(reservation.encode().as_slice(), bytes);
        nonces_grow(NonceSource::resume(reservation), reservation.until_ms());
    }
    if let Some((head, _)) = bytes.split_first_chunk::<12>() {
        let (time, instance) = head.split_at(8);
        let time_ms = u64::from_be_bytes(time.try_into().expect("eight bytes"));
        let instance = u32::from_be_bytes(instance.try_into().expect("four bytes"));
        nonces_grow(NonceSource::persistent(instance), time_ms);
        nonces_grow(
            NonceSource::after(Nonce::new(time_ms, instance, u32::MAX)),
            time_ms,
        );
    }
}

fn nonces_grow(mut source: NonceSource, around_ms: u64) {
    let mut last: Option<Nonce> = None;
    for step in [0, 0, 1, 20_000, 5, 100_000, 0] {
        let now_ms = around_ms.wrapping_add(step);
        let mut next = source.next(now_ms, || 99);
        if let Ok(Next::Keep(reservation)) = next {
            source.kept(reservation);
            next = source.next(now_ms, || 99);
        }
        if let Ok(Next::Nonce(nonce)) = next {
            if let Some(last) = last.filter(|last| last.instance() == nonce.instance()) {
                assert!(nonce > last);
            }
            last = Some(nonce);
        }
        let _ = source.reservation_due(now_ms);
    }
}

fn signed_anomaly(payload: &[u8]) -> Vec<u8> {
    let draft = AnomalyDraft::as_it_stands(AnomalyEvent {
        id: "3f2b8c1e-5d4a-4f6b-9c7d-8e1f2a3b4c5d".into(),
        r#type: "fuzz".into(),
        source: "fuzz".into(),
        severity: 1,
        confidence: 0.0,
        payload: payload.to_vec(),
        model_version: "1".into(),
        ..AnomalyEvent::default()
    });
    Draft::from(draft)
        .sign(&signer(), stamp())
        .expect("signs")
        .value
}
