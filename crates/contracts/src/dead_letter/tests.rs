use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::headers::{self, Header};
use crate::record::RecordView;
use crate::redrive::{GroupHash, Terms};
use crate::rejection::{Disposition, WindowFault};
use crate::sign::{Ed25519Signer, Signer, VerifyingKey};
use crate::trust::{Right, TrustStore, TrustedKey, Window};

const LIMIT: usize = 1_000_000;

fn failure() -> Failure<'static> {
    Failure {
        disposition: Disposition::HandlerRejected,
        reason: "no such host",
        group: Some("backend"),
        attempts: 3,
        first_failed_at_ms: 1_760_000_000_100,
        last_failed_at_ms: 1_760_000_001_900,
        node: Some("node-7"),
    }
}

fn record<'a>(
    key: Option<&'a [u8]>,
    headers: &'a [(&'a str, Option<&'a [u8]>)],
    value: Option<&'a [u8]>,
) -> RecordView<'a> {
    RecordView {
        partition: Some(2),
        offset: 41,
        key,
        headers,
        timestamp_ms: 1_759_999_999_000,
        ..RecordView::new("ai.anomalies.v1", value)
    }
}

fn signer() -> Ed25519Signer {
    Ed25519Signer::from_seed(&[8; 32])
}

fn key() -> VerifyingKey {
    VerifyingKey::try_from(signer().public_key()).unwrap()
}

fn written(burial: &Burial<'_>, form: Form) -> DeadLetterRecord {
    let signer = signer();
    let signing = Signing {
        signer: &signer,
        audience: "prod",
    };
    burial.write(form, LIMIT, Some(signing)).unwrap()
}

fn read(letter: &DeadLetterRecord) -> Result<DeadLetter, DeadLetterFault> {
    let headers = letter.header_views();
    DeadLetter::parse(&RecordView {
        key: Some(&letter.key),
        headers: &headers,
        ..RecordView::new("ai.dlq", letter.value.as_deref())
    })
}

fn verified(letter: &DeadLetterRecord) -> Result<DeadLetter, DeadLetterFault> {
    let read = read(letter)?;
    read.verify_with(&key(), &["prod"])?;
    Ok(read)
}

fn header<'a>(letter: &'a DeadLetterRecord, name: &str) -> Option<&'a [u8]> {
    let header = letter.headers.iter().find(|header| header.name == name);
    header?.value.as_deref()
}

#[test]
fn json_says_what_other_services_read_and_what_ours_need() {
    let failure = failure();
    let headers = [
        ("tenant", Some(b"a".as_slice())),
        ("tenant", None),
        ("traceparent", Some(b"00-aa-bb-01")),
    ];
    let record = record(Some(b"k"), &headers, Some(b"\x00\xff"));
    let letter = written(&Burial::of_record(&record, &failure), Form::Json);
    assert_eq!(
        String::from_utf8(letter.value.clone().unwrap()).unwrap(),
        "{\"original_topic\":\"ai.anomalies.v1\",\"timestamp\":1760000001,\"error\":\"no such host\",\
         \"data\":\"00ff\",\"partition\":2,\"offset\":41,\"group\":\"backend\",\"key\":\"6b\",\
         \"headers\":[[\"tenant\",\"61\"],[\"tenant\",null],[\"traceparent\",\"30302d61612d62622d3031\"]],\
         \"disposition\":\"handler-rejected\",\"attempts\":3,\"node\":\"node-7\"}"
    );
    assert_eq!(letter.key, b"backend/ai.anomalies.v1/2/41");
    let names: Vec<_> = letter
        .headers
        .iter()
        .map(|header| header.name.as_str())
        .collect();
    let expected: Vec<_> = SIGNED_HEADERS
        .into_iter()
        .chain([
            "kafka_dlt-original-topic",
            "kafka_dlt-original-partition",
            "kafka_dlt-original-offset",
            "traceparent",
            "cm-dead-letter",
        ])
        .collect();
    assert_eq!(names, expected);
    assert_eq!(
        header(&letter, "kafka_dlt-original-topic"),
        Some(b"ai.anomalies.v1".as_slice())
    );
    assert_eq!(
        header(&letter, "kafka_dlt-original-partition"),
        Some([0, 0, 0, 2].as_slice())
    );
    assert_eq!(
        header(&letter, "kafka_dlt-original-offset"),
        Some([0, 0, 0, 0, 0, 0, 0, 41].as_slice())
    );
    assert_eq!(
        header(&letter, "dlq.last-failed-at"),
        Some(b"1760000001900".as_slice())
    );
    assert_eq!(header(&letter, "dlq.redrive-count"), Some(b"0".as_slice()));
}

#[test]
fn raw_keeps_value_key_and_headers_as_they_were() {
    let failure = failure();
    let headers = [
        ("dlq.reason", Some(b"mine".as_slice())),
        ("x", None),
        ("x", Some(b"")),
    ];
    let record = record(Some(b""), &headers, Some(b"value"));
    let letter = written(&Burial::of_record(&record, &failure), Form::Raw);
    assert_eq!(letter.value.as_deref(), Some(b"value".as_slice()));
    assert_eq!(header(&letter, "dlq.original-key"), Some(b"".as_slice()));
    assert_eq!(
        header(&letter, "dlq.original.dlq.reason"),
        Some(b"mine".as_slice())
    );
    let Content::Copy(copy) = verified(&letter).unwrap().into_content() else {
        panic!("raw is a copy");
    };
    let names: Vec<_> = copy
        .headers
        .iter()
        .map(|header| header.name.as_str())
        .collect();
    assert_eq!(names, ["dlq.reason", "x", "x"]);
    assert_eq!(
        (
            copy.headers[1].value.as_deref(),
            copy.headers[2].value.as_deref()
        ),
        (None, Some(b"".as_slice()))
    );
}

#[test]
fn what_does_not_fit_as_json_is_raw_and_what_does_not_fit_raw_is_a_reference() {
    let failure = failure();
    for (bytes, form) in [
        (400_000, Form::Json),
        (600_000, Form::Raw),
        (1_500_000, Form::Reference),
    ] {
        let value = vec![7; bytes];
        let record = record(None, &[], Some(&value));
        let letter = written(&Burial::of_record(&record, &failure), Form::Json);
        assert_eq!(letter.form, form);
        assert_eq!(verified(&letter).unwrap().form(), form);
    }
}

#[test]
fn many_empty_headers_do_not_make_a_letter_that_no_batch_holds() {
    let failure = failure();
    let headers = vec![("", None); 70_000];
    let record = record(None, &headers, Some(b"v"));
    for form in [Form::Json, Form::Raw] {
        let letter = written(&Burial::of_record(&record, &failure), form);
        assert_eq!(
            letter.form,
            if form == Form::Json {
                Form::Json
            } else {
                Form::Reference
            }
        );
        assert!(letter.headers.len() < 100);
    }
}

#[test]
fn a_letter_that_fits_in_no_form_is_an_error() {
    let failure = failure();
    let record = record(None, &[], Some(b"v"));
    let written = Burial::of_record(&record, &failure).write(Form::Json, 100, None);
    assert!(matches!(
        written,
        Err(DeadLetterError::TooLarge { limit: 100, .. })
    ));
}

#[test]
fn a_reference_tells_length_hash_and_offset() {
    let failure = failure();
    let record = record(Some(b"k"), &[], Some(b"abc"));
    let letter = written(&Burial::of_record(&record, &failure), Form::Reference);
    assert_eq!(
        String::from_utf8(letter.value.clone().unwrap()).unwrap(),
        "{\"length\":3,\"sha256\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\",\
         \"first_offset\":41,\"last_offset\":41,\"count\":1}"
    );
    verified(&letter).unwrap();
}

#[test]
fn a_flood_is_one_reference_with_its_range_and_count() {
    let failure = failure();
    let mut flood = Flood::starting_with(&record(None, &[], Some(b"a")));
    flood.add(&RecordView {
        offset: 50,
        ..record(None, &[], Some(b"bc"))
    });
    flood.add(&RecordView {
        offset: 51,
        ..record(None, &[], None)
    });
    let letter = written(&Burial::of_flood(&flood, &failure), Form::Json);
    let read = verified(&letter).unwrap();
    let Content::Reference(reference) = *read.content() else {
        panic!("a flood is a reference");
    };
    assert_eq!(
        (reference.first_offset, reference.last_offset),
        (Some(41), Some(51))
    );
    assert_eq!((reference.count, reference.length), (3, 3));
    let mut forged = letter;
    forged.value = Some(
        String::from_utf8(forged.value.unwrap())
            .unwrap()
            .replace("\"count\":3", "\"count\":4")
            .into(),
    );
    assert_eq!(verified(&forged), Err(DeadLetterFault::SignatureInvalid));
}

#[test]
fn a_draft_is_told_by_its_hash_and_has_no_group() {
    let failure = failure();
    let headers = [Header::new("tenant", "a")];
    for partition in [None, Some(4)] {
        for form in [Form::Json, Form::Raw, Form::Reference] {
            let burial = Burial::of_draft(
                "ai.policy.v1",
                partition,
                Some(b"id"),
                &headers,
                b"abc",
                &failure,
            );
            let letter = written(&burial, form);
            assert_eq!(
                letter.key,
                b"produce/ai.policy.v1/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
            );
            let read = verified(&letter).unwrap();
            assert_eq!(read.disposition(), Disposition::ProduceFailed);
            assert_eq!(
                (read.group(), read.origin().partition, read.origin().offset),
                (None, partition, None)
            );
        }
    }
}

#[test]
fn a_redriven_record_buried_again_keeps_its_first_origin_counts_on_and_drops_the_redrive() {
    let failure = failure();
    let headers = [
        ("cm-redrive", Some([1; 118].as_slice())),
        ("tenant", Some(b"a")),
    ];
    let record = record(None, &headers, Some(b"v"));
    let terms = Terms {
        nonce: [0; 16],
        expires_ms: 0,
        count: 3,
        origin_partition: 2,
        origin_offset: 17,
        group: GroupHash::of("backend"),
    };
    let letter = written(&Burial::of_redriven(&record, &terms, &failure), Form::Json);
    let read = verified(&letter).unwrap();
    assert_eq!(read.origin().offset, Some(17));
    assert_eq!(read.redrive_count(), 3);
    assert_eq!(letter.key, b"backend/ai.anomalies.v1/2/17");
    let Content::Copy(copy) = read.into_content() else {
        panic!("json is a copy");
    };
    assert_eq!(copy.headers, [Header::new("tenant", "a")]);
}

#[test]
fn a_reason_is_cut_at_a_character_and_has_no_control_characters() {
    let long = format!("a\u{1b}[2J\n{}", "ü".repeat(400));
    let failure = Failure {
        reason: &long,
        ..failure()
    };
    let record = record(None, &[], Some(b"v"));
    let letter = written(&Burial::of_record(&record, &failure), Form::Json);
    let reason = verified(&letter).unwrap().reason().to_owned();
    assert!(
        reason.len() <= 512 && reason.len() > 500,
        "{}",
        reason.len()
    );
    assert!(reason.starts_with("a [2J ü"));
}

#[test]
fn a_long_traceparent_is_not_carried_into_a_reference() {
    let failure = failure();
    let long = vec![b'0'; 2_000_000];
    let headers = [("traceparent", Some(long.as_slice()))];
    let record = record(None, &headers, Some(b"v"));
    let letter = written(&Burial::of_record(&record, &failure), Form::Json);
    assert_eq!(letter.form, Form::Reference);
    assert_eq!(header(&letter, "traceparent"), None);
}

#[test]
fn unsigned_letters_are_read_and_not_verified() {
    let failure = failure();
    let record = record(None, &[], Some(b"v"));
    let letter = Burial::of_record(&record, &failure)
        .write(Form::Json, LIMIT, None)
        .unwrap();
    assert_eq!(verified(&letter), Err(DeadLetterFault::NotSigned));
    assert_eq!(read(&letter).unwrap().key_id(), None);
}

#[test]
fn a_signature_counts_in_its_audience_alone() {
    let failure = failure();
    let record = record(None, &[], Some(b"v"));
    let read = read(&written(&Burial::of_record(&record, &failure), Form::Json)).unwrap();
    assert!(read.verify_with(&key(), &["staging"]).is_err());
    assert!(read.verify_with(&key(), &["staging", "prod"]).is_ok());
}

#[test]
fn a_signature_counts_under_a_key_that_may_sign_dead_letters_at_that_time() {
    let failure = failure();
    let record = record(None, &[], Some(b"v"));
    let letter = read(&written(&Burial::of_record(&record, &failure), Form::Json)).unwrap();
    let burier = || TrustedKey::new("burier", signer().public_key(), [Right::DeadLetter]).unwrap();
    let judged = |key| {
        let trust = TrustStore::of([key]).unwrap();
        let verified = letter.verify(&trust, &["prod"]);
        verified.map(|key| key.id().to_owned())
    };
    assert_eq!(judged(burier()), Ok("burier".to_owned()));
    let id: std::sync::Arc<str> = "burier".into();
    assert_eq!(
        judged(burier().revoked()),
        Err(DeadLetterFault::KeyRevoked { id: id.clone() })
    );
    let until = |not_after_ms| Window {
        not_before_ms: None,
        not_after_ms: Some(not_after_ms),
    };
    assert!(judged(burier().with_window(until(failure.last_failed_at_ms))).is_ok());
    assert_eq!(
        judged(burier().with_window(until(failure.last_failed_at_ms - 1))),
        Err(DeadLetterFault::KeyExpired {
            id: id.clone(),
            fault: WindowFault::Expired
        })
    );
    let other_right = TrustedKey::new("burier", signer().public_key(), [Right::Redrive]).unwrap();
    assert_eq!(
        judged(other_right),
        Err(DeadLetterFault::KeyNotAuthorised { id })
    );
    let other_key = Ed25519Signer::from_seed(&[9; 32]).public_key();
    let other_key = TrustedKey::new("burier", other_key, [Right::DeadLetter]).unwrap();
    assert_eq!(judged(other_key), Err(DeadLetterFault::UnknownKey));
}

#[test]
fn a_signed_header_twice_is_refused() {
    let failure = failure();
    let record = record(Some(b"k"), &[], Some(b"v"));
    let letter = written(&Burial::of_record(&record, &failure), Form::Raw);
    for name in SIGNED_HEADERS
        .into_iter()
        .chain(["cm-dead-letter", "dlq.original-key"])
    {
        let Some(value) = header(&letter, name).map(Vec::from) else {
            panic!("{name} is written");
        };
        let mut twice = letter.clone();
        twice.headers.push(Header::new(name, value));
        assert_eq!(read(&twice), Err(DeadLetterFault::Repeated { name }));
    }
}

#[test]
fn what_json_repeats_must_agree_with_the_headers() {
    let failure = failure();
    let record = record(Some(b"k"), &[], Some(b"v"));
    let letter = written(&Burial::of_record(&record, &failure), Form::Json);
    let json = String::from_utf8(letter.value.clone().unwrap()).unwrap();
    for (field, from, to) in [
        ("original_topic", "ai.anomalies.v1", "ai.evidence.v1"),
        ("timestamp", "1760000001", "1760000002"),
        ("error", "no such host", "no such hosts"),
        ("partition", "\"partition\":2", "\"partition\":null"),
        ("offset", "41", "42"),
        ("group", "\"backend\"", "\"frontend\""),
        ("disposition", "handler-rejected", "replay"),
        ("attempts", "\"attempts\":3", "\"attempts\":2"),
        ("node", "node-7", "node-8"),
    ] {
        let mut forged = letter.clone();
        forged.value = Some(json.replace(from, to).into());
        assert_eq!(read(&forged), Err(DeadLetterFault::Differs { field }));
    }
    for (from, to) in [
        ("\"data\":\"76\"", "\"data\":null"),
        ("\"key\":\"6b\"", "\"key\":\"6c\""),
    ] {
        let mut forged = letter.clone();
        forged.value = Some(json.replace(from, to).into());
        assert_eq!(
            verified(&forged),
            Err(DeadLetterFault::SignatureInvalid),
            "{to}"
        );
    }
}

#[test]
fn a_letter_under_another_key_than_its_origins_is_refused() {
    let failure = failure();
    let record = record(None, &[], Some(b"v"));
    let mut letter = written(&Burial::of_record(&record, &failure), Form::Json);
    letter.key = b"backend/ai.anomalies.v1/2/42".to_vec();
    assert_eq!(read(&letter), Err(DeadLetterFault::Key));
}

fn dispositions() -> impl Strategy<Value = Disposition> {
    proptest::sample::select(
        Disposition::ALL
            .into_iter()
            .filter(|disposition| {
                disposition.buried() && *disposition != Disposition::ProduceFailed
            })
            .collect::<Vec<_>>(),
    )
}

type OwnedHeaders = Vec<(String, Option<Vec<u8>>)>;

fn originals() -> impl Strategy<Value = (Option<Vec<u8>>, OwnedHeaders, Option<Vec<u8>>)> {
    let bytes = || vec(any::<u8>(), 0..40);
    let headers = vec((any::<String>(), option::of(bytes())), 0..6);
    (option::of(bytes()), headers, option::of(bytes()))
}

proptest! {
    #[test]
    fn what_was_buried_is_read_back_in_every_form(
        (key, headers, value) in originals(),
        topic in "[a-zA-Z0-9._-]{1,249}",
        (group, reason, node) in any::<(Option<String>, String, Option<String>)>(),
        (partition, offset) in (0..=i32::MAX, 0..=i64::MAX),
        (timestamp_ms, first, last, attempts) in any::<(i64, i64, i64, u32)>(),
        disposition in dispositions(),
    ) {
        let views: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let record = RecordView {
            topic: &topic,
            partition: Some(partition),
            offset,
            key: key.as_deref(),
            value: value.as_deref(),
            headers: &views,
            timestamp_ms,
            append_time_ms: None,
        };
        let failure = Failure {
            disposition,
            reason: &reason,
            group: group.as_deref(),
            attempts,
            first_failed_at_ms: first,
            last_failed_at_ms: last,
            node: node.as_deref(),
        };
        for form in [Form::Json, Form::Raw, Form::Reference] {
            let letter = written(&Burial::of_record(&record, &failure), form);
            prop_assert_eq!(letter.form, form);
            let read = verified(&letter).unwrap();
            prop_assert_eq!(read.form(), form);
            prop_assert_eq!(read.disposition(), disposition);
            prop_assert_eq!(read.group(), group.as_deref());
            prop_assert_eq!(read.node(), node.as_deref());
            prop_assert_eq!(read.attempts(), attempts);
            prop_assert_eq!((read.first_failed_at_ms(), read.last_failed_at_ms()), (first, last));
            prop_assert_eq!(read.origin(), &Origin {
                topic: topic.clone(), partition: Some(partition), offset: Some(offset), timestamp_ms: Some(timestamp_ms),
            });
            match read.into_content() {
                Content::Copy(copy) => {
                    prop_assert_eq!(&copy.key, &key);
                    prop_assert_eq!(&copy.value, &value);
                    let read: OwnedHeaders = copy.headers.into_iter().map(|header| (header.name, header.value)).collect();
                    prop_assert_eq!(&read, &headers);
                }
                Content::Reference(reference) => prop_assert_eq!(reference.count, 1),
            }
        }
    }

    #[test]
    fn a_flipped_bit_in_anything_but_the_unsigned_headers_is_refused(
        (key, headers, value) in originals(),
        form in proptest::sample::select(vec![Form::Json, Form::Raw, Form::Reference]),
        (part, byte, bit) in any::<(proptest::sample::Index, proptest::sample::Index, u8)>(),
    ) {
        let views: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let failure = failure();
        let record = record(key.as_deref(), &views, value.as_deref());
        let mut letter = written(&Burial::of_record(&record, &failure), form);
        let honest = verified(&letter).unwrap();
        let unsigned = |name: &str| name.starts_with("kafka_dlt-") || name == headers::TRACEPARENT;
        let mut parts: Vec<&mut Vec<u8>> = letter
            .headers
            .iter_mut()
            .filter(|header| !unsigned(&header.name))
            .filter_map(|header| header.value.as_mut())
            .chain([&mut letter.key])
            .chain(letter.value.as_mut())
            .filter(|part| !part.is_empty())
            .collect();
        let part = part.index(parts.len());
        let at = byte.index(parts[part].len());
        parts[part][at] ^= 1 << (bit % 8);
        // Hex digits have two cases, and JSON says `é` in more than one way: what counts is that
        // nothing else is read than was signed.
        if let Ok(read) = verified(&letter) {
            prop_assert_eq!(read, honest);
        }
    }

    #[test]
    fn any_record_is_read_or_refused(
        key in option::of(vec(any::<u8>(), 0..20)),
        value in option::of(vec(any::<u8>(), 0..60)),
        labels in vec(option::of(proptest::sample::select(vec![
            &b"json"[..], b"raw", b"reference", b"decode", b"0", b"-1", b"99999999999999999999", b"\xff", b"",
        ])), 13),
        seal in option::of(vec(any::<u8>(), 0..80)),
    ) {
        let mut headers: Vec<_> = SIGNED_HEADERS.into_iter().zip(labels).filter(|(_, value)| value.is_some()).collect();
        headers.push(("cm-dead-letter", seal.as_deref()));
        let record = RecordView { key: key.as_deref(), headers: &headers, ..RecordView::new("ai.dlq", value.as_deref()) };
        if let Ok(letter) = DeadLetter::parse(&record) {
            let _ = letter.verify_with(&key_of_nobody(), &["prod"]);
        }
    }
}

fn key_of_nobody() -> VerifyingKey {
    VerifyingKey::try_from(Ed25519Signer::from_seed(&[9; 32]).public_key()).unwrap()
}

#[test]
fn a_topic_that_no_topic_can_be_called_is_none() {
    let failure = failure();
    for (topic, fine) in [
        ("ai.anomalies_v1-2", true),
        ("", false),
        ("a/b", false),
        (&"a".repeat(250), false),
    ] {
        let record = RecordView {
            partition: Some(2),
            offset: 41,
            ..RecordView::new(topic, Some(b"v"))
        };
        let letter = written(&Burial::of_record(&record, &failure), Form::Json);
        assert_eq!(read(&letter).is_ok(), fine, "{topic}");
    }
}
