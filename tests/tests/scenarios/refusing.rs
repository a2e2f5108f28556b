//! Messages that must not be believed: each ends in the dead-letter topic with the disposition that
//! says why, and none reaches a handler. Over Apache Kafka the dead letters are read by Kafka's own
//! console consumer.

use bytes::Bytes;
use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::Draft;
use cybermesh_tests::Stage;
use cybermesh_tests::drafts::draft;
use cybermesh_tests::forge::{Forgery, flipped, record};
use cybermesh_tests::identity::Identity;
use cybermesh_tests::log::{LoggedRecord, now_ms};
use cybermesh_tests::stage::Role;
use cybermesh_tests::witness::{done, witness};
use cybermesh_transport::{Header, Record};

cybermesh_tests::scenarios! {
    both: [
        each_message_not_to_be_believed_is_buried_with_its_disposition,
        an_old_copy_is_a_replay_and_a_fresh_one_is_skipped,
        a_dead_letter_holds_the_message_and_where_it_came_from,
        an_oversized_message_is_buried_without_its_copy_in_json,
    ],
    devbroker_only: [
        messages_verified_in_batches_are_buried_with_the_same_dispositions:
            "how signatures are verified does not depend on the broker",
    ],
}

/// A stage whose topics have one partition, with a running backend, and a way to put records into
/// the topic of anomalies.
async fn bury(stage: &Stage, records: Vec<Record>, dead: usize) -> Vec<LoggedRecord> {
    bury_with(stage, &[], records, dead).await
}

async fn bury_with(
    stage: &Stage,
    settings: &[(&str, &str)],
    records: Vec<Record>,
    dead: usize,
) -> Vec<LoggedRecord> {
    let topic = stage.topic(Kind::Anomaly);
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let backend = stage.bridge_with(Role::Backend, handlers, settings).await;
    stage.put(&topic, records).await;
    // An honest message behind them: when it was handled, all before it were judged; and when its
    // offset is committed, at the stop, all their dead letters are acknowledged.
    let audience = stage.own("audience");
    let honest = draft(Kind::Anomaly);
    let sender = Forgery {
        instance: 99,
        ..Forgery::new(stage.node().signer(), &audience, &topic)
    };
    stage.put(&topic, vec![sender.record(&honest, 0)]).await;
    let seen = saw.next().await;
    assert_eq!(
        seen.draft, honest,
        "a handler was given what must not be believed"
    );
    stage.stop(backend).await;
    assert!(saw.rest().is_empty());
    let mut letters = stage.log(&stage.dead_letter_topic()).await;
    assert_eq!(letters.len(), dead, "{letters:?}");
    // They are written at the same time, in any order.
    letters.sort_by_key(|letter| {
        letter
            .header("dlq.origin.offset")
            .and_then(|offset| offset.parse::<i64>().ok())
    });
    letters
}

async fn each_message_not_to_be_believed_is_buried_with_its_disposition(stage: Stage) {
    each_is_buried(stage, &[]).await;
}

async fn messages_verified_in_batches_are_buried_with_the_same_dispositions(stage: Stage) {
    each_is_buried(stage, &[("CYBERMESH_VERIFY", "batch")]).await;
}

async fn each_is_buried(stage: Stage, settings: &[(&str, &str)]) {
    stage.make_topics(1).await;
    let topic = stage.topic(Kind::Anomaly);
    let audience = stage.own("audience");
    let stranger = Identity::new(stage.dir(), "stranger");
    let honest = Forgery::new(stage.node().signer(), &audience, &topic);
    let as_stranger = Forgery::new(stranger.signer(), &audience, &topic);
    let as_backend = Forgery::new(stage.backend().signer(), &audience, &topic);
    let elsewhere = Forgery {
        topic: "another.topic",
        ..honest.clone()
    };
    let other_audience = Forgery {
        audience: "another audience",
        ..honest.clone()
    };
    let tomorrow = Forgery {
        time_ms: now_ms() + 86_400_000,
        ..honest.clone()
    };

    let sealed = |value: Bytes, key: Bytes| {
        record(
            key.clone(),
            Some(value.clone()),
            vec![honest.envelope(&key, &value)],
        )
    };
    let signed = |count: u32| honest.value(&draft(Kind::Anomaly), count);
    let mut records = Vec::new();
    let mut expected = Vec::new();
    let mut expect = |disposition: &'static str, record: Record| {
        expected.push(disposition);
        records.push(record);
    };

    expect(
        "decode",
        record(
            "k",
            Some(Bytes::from_static(b"\xff\xff not protobuf")),
            Vec::new(),
        ),
    );
    expect("decode", record("k", None, Vec::new()));
    expect("unknown-key", as_stranger.record(&draft(Kind::Anomaly), 0));
    expect(
        "key-not-authorised",
        as_backend.record(&draft(Kind::Anomaly), 0),
    );
    // The last field of the wire is `alg`, before it stands the public key, before that the signature.
    let (value, key) = signed(1);
    expect(
        "signature-invalid",
        sealed(flipped(&value, SIGNATURE_FROM_END), key),
    );
    let (value, key) = tampered_payload(&honest, 2);
    expect("contract", sealed(value, key));
    let (value, key) = signed(3);
    expect("envelope-missing", record(key, Some(value), Vec::new()));
    let (value, key) = signed(4);
    expect(
        "envelope-invalid",
        record(
            key.clone(),
            Some(value.clone()),
            vec![elsewhere.envelope(&key, &value)],
        ),
    );
    let (value, key) = signed(5);
    expect(
        "envelope-invalid",
        record(
            key.clone(),
            Some(value.clone()),
            vec![other_audience.envelope(&key, &value)],
        ),
    );
    let (value, key) = signed(6);
    expect(
        "envelope-invalid",
        record(
            "another key",
            Some(value.clone()),
            vec![honest.envelope(&key, &value)],
        ),
    );
    let (value, key) = signed(7);
    let twice = vec![honest.envelope(&key, &value), honest.envelope(&key, &value)];
    expect("envelope-invalid", record(key, Some(value), twice));
    expect("future", tomorrow.record(&draft(Kind::Anomaly), 8));
    // Of another kind than its topic's.
    let (value, key) = honest.value(&draft(Kind::Policy), 9);
    expect("decode", sealed(value, key));
    let count = records.len();

    let letters = bury_with(&stage, settings, records, count).await;
    let found: Vec<_> = letters.iter().map(disposition).collect();
    let kind_confused = found.last().copied();
    assert!(
        matches!(kind_confused, Some("decode" | "contract")),
        "{kind_confused:?}"
    );
    assert_eq!(found[..count - 1], expected[..count - 1]);
    let offsets: Vec<_> = letters
        .iter()
        .map(|letter| letter.header("dlq.origin.offset").unwrap().to_owned())
        .collect();
    assert_eq!(
        offsets,
        (0..count)
            .map(|offset| offset.to_string())
            .collect::<Vec<_>>()
    );
}

/// `alg` takes 9 bytes with its tag (`Ed25519`), the public key 34, then the signature ends.
const SIGNATURE_FROM_END: usize = 9 + 34 + 10;

/// Signed, then one byte of its payload changed: its hash is not that of its content.
fn tampered_payload(honest: &Forgery<'_>, count: u32) -> (Bytes, Bytes) {
    let (value, key) = honest.value(&draft(Kind::Anomaly), count);
    let at = value
        .windows(5)
        .position(|bytes| bytes == b"ports")
        .expect("its payload");
    let from_end = value.len() - 1 - at;
    (flipped(&value, from_end), key)
}

fn disposition(letter: &LoggedRecord) -> &str {
    letter.header("dlq.disposition").expect("a disposition")
}

async fn an_old_copy_is_a_replay_and_a_fresh_one_is_skipped(stage: Stage) {
    const RING: usize = 16;
    stage.make_topics(1).await;
    let topic = stage.topic(Kind::Anomaly);
    let audience = stage.own("audience");
    let honest = Forgery::new(stage.node().signer(), &audience, &topic);
    let (handlers, mut saw) = witness(&Kind::NODE, done);
    let ring = RING.to_string();
    let backend = stage
        .bridge_with(Role::Backend, handlers, &[("CYBERMESH_REPLAY_RING", &ring)])
        .await;

    let originals: Vec<_> = (0..4 * RING).map(|_| draft(Kind::Anomaly)).collect();
    let records: Vec<_> = (0..)
        .zip(&originals)
        .map(|(count, draft)| honest.record(draft, count))
        .collect();
    let last = records.last().unwrap().clone();
    let first = records[0].clone();
    stage.put(&topic, records).await;
    // An entry leaves the ring when what is judged and what is committed are both a ring past it.
    let all = i64::try_from(originals.len()).unwrap();
    stage
        .wait_committed(&stage.own("backend"), &topic, all)
        .await;
    stage.put(&topic, vec![last, first]).await;
    let after = Forgery {
        instance: 2,
        ..honest.clone()
    };
    let end = draft(Kind::Anomaly);
    stage.put(&topic, vec![after.record(&end, 0)]).await;

    let seen = saw.take(originals.len() + 1).await;
    let handled = |wanted: &Draft| seen.iter().filter(|seen| seen.draft == *wanted).count();
    assert!(
        originals
            .iter()
            .chain([&end])
            .all(|draft| handled(draft) == 1)
    );
    let numbers = backend
        .exposition()
        .expect("its own metrics")
        .text()
        .unwrap();
    stage.stop(backend).await;
    assert!(saw.rest().is_empty(), "a copy was handled");
    let skipped = numbers.lines().find(|line| {
        line.starts_with("bridge_skipped_total{") && line.contains(r#"reason="duplicate""#)
    });
    assert!(
        skipped.is_some_and(|line| line.ends_with(" 1")),
        "{skipped:?}"
    );
    let letters = stage.log(&stage.dead_letter_topic()).await;
    let found: Vec<_> = letters
        .iter()
        .map(|letter| (disposition(letter), letter.header("dlq.origin.offset")))
        .collect();
    let copy_of_the_first = (originals.len() + 1).to_string();
    assert_eq!(found, [("replay", Some(copy_of_the_first.as_str()))]);
}

async fn a_dead_letter_holds_the_message_and_where_it_came_from(stage: Stage) {
    stage.make_topics(1).await;
    let topic = stage.topic(Kind::Anomaly);
    let garbage = Bytes::from_static(b"\x00\xff\"garbage\"\\");
    let headers = vec![
        Header::new("twice", "1"),
        Header {
            name: "null".to_owned(),
            value: None,
        },
        Header::new("twice", "2"),
    ];
    let before = now_ms();
    let letters = bury(
        &stage,
        vec![record("its key", Some(garbage.clone()), headers)],
        1,
    )
    .await;
    let letter = &letters[0];

    let group = stage.own("backend");
    assert_eq!(
        letter.key.as_deref(),
        Some(format!("{group}/{topic}/0/0").as_bytes())
    );
    for (name, value) in [
        ("dlq.format", "json"),
        ("dlq.disposition", "decode"),
        ("dlq.origin.topic", topic.as_str()),
        ("dlq.origin.partition", "0"),
        ("dlq.origin.offset", "0"),
        ("dlq.group", group.as_str()),
        ("kafka_dlt-original-topic", topic.as_str()),
    ] {
        assert_eq!(letter.header(name), Some(value), "{name}");
    }
    let reason = letter.header("dlq.reason").unwrap();
    assert!(
        !reason.is_empty() && !reason.contains("garbage"),
        "{reason}"
    );
    let failed_at: i64 = letter
        .header("dlq.first-failed-at")
        .unwrap()
        .parse()
        .unwrap();
    assert!((before..=now_ms()).contains(&failed_at));

    let value: serde_json::Value =
        serde_json::from_slice(letter.value.as_deref().unwrap()).unwrap();
    assert_eq!(value["original_topic"], topic.as_str());
    assert_eq!(value["data"], hex::encode(&garbage));
    assert_eq!(value["key"], hex::encode("its key"));
    assert_eq!(
        value["headers"],
        serde_json::json!([["twice", "31"], ["null", null], ["twice", "32"]])
    );
    assert_eq!(value["partition"], 0);
    assert_eq!(value["offset"], 0);
    assert_eq!(value["disposition"], "decode");
    // The backend's own key may sign dead letters by its own trust store.
    assert!(
        letter
            .headers
            .iter()
            .any(|(name, _)| name == "cm-dead-letter")
    );
}

async fn an_oversized_message_is_buried_without_its_copy_in_json(stage: Stage) {
    stage.make_topics(1).await;
    let huge = Bytes::from(vec![b'x'; 1_500_000]);
    let letters = bury(&stage, vec![record("k", Some(huge), Vec::new())], 1).await;
    assert_eq!(disposition(&letters[0]), "oversize");
    // Hex in JSON would take twice as much, more than a request may carry.
    assert_ne!(letters[0].header("dlq.format"), Some("json"));
}
