//! Makes the vectors out of seeds and inputs.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use cybermesh_contracts::dead_letter::{Burial, Failure, Flood, Form, Signing};
use cybermesh_contracts::envelope::{Envelope, Scope};
use cybermesh_contracts::headers::Header;
use cybermesh_contracts::partition::{murmur2, partition_for_key};
use cybermesh_contracts::redrive::{GroupHash, Terms};
use cybermesh_contracts::replay::{Binding, Budget, Claim, Claims, PartitionReplay, RingLimits};
use cybermesh_contracts::sign::{Ed25519Signer, KeyId, Signer};
use cybermesh_contracts::{Disposition, RecordView};
use serde_json::{Value, json};

const SIGNED_AT_MS: u64 = 1_760_000_000_125;

fn seed(name: &str) -> [u8; 32] {
    let first: u8 = match name {
        "node" => 0x00,
        "backend" => 0x20,
        "redriver" => 0x80,
        "burier" => 0xa0,
        "state" => 0xc0,
        other => unreachable!("no key {other}"),
    };
    std::array::from_fn(|at| first + u8::try_from(at).expect("32 bytes"))
}

fn signer(name: &str) -> Ed25519Signer {
    Ed25519Signer::from_seed(&seed(name))
}

/// All sections.
pub(crate) fn all() -> Value {
    json!({
        "about": "Test vectors of the CyberMesh wire contract beyond the messages: partitions (Java's murmur2), envelopes, redrives, dead letters, replay metadata. Keys are test keys.",
        "keys": keys(),
        "partitions": partitions(),
        "envelopes": envelopes(),
        "redrives": redrives(),
        "dead_letters": dead_letters(),
        "replay_metadata": replay_metadata(),
    })
}

fn keys() -> Value {
    let keys = ["node", "backend", "redriver", "burier", "state"].map(|name| {
        let public = signer(name).public_key();
        let key = json!({
            "seed_hex": hex::encode(seed(name)),
            "public_hex": public.to_hex(),
            "key_id_hex": public.key_id().to_string(),
        });
        (name.to_owned(), key)
    });
    Value::Object(keys.into_iter().collect())
}

fn partitions() -> Vec<Value> {
    let height = 1_234_567_u64.to_be_bytes();
    let keys: [&[u8]; 12] = [
        b"",
        b"a",
        b"ab",
        b"abc",
        b"abcd",
        b"abcde",
        b"\xff",
        b"\x80\xff\x00\x7f\xfe",
        "r\u{e9}putation".as_bytes(),
        b"3f2b8c1e-5d4a-4f6b-9c7d-8e1f2a3b4c5d",
        &height,
        &[0xab; 257],
    ];
    let counts = [1, 6, 12, 1000];
    keys.iter()
        .flat_map(|key| counts.map(|partitions| (key, partitions)))
        .map(|(key, partitions)| {
            let count = NonZeroU32::new(partitions).expect("not zero");
            json!({
                "key_hex": hex::encode(key),
                "murmur2": murmur2(key).cast_signed(),
                "partitions": partitions,
                "partition": partition_for_key(key, count),
            })
        })
        .collect()
}

fn envelopes() -> Vec<Value> {
    type Case<'a> = (
        &'a str,
        &'a str,
        &'a str,
        &'a str,
        i32,
        Option<&'a [u8]>,
        &'a [u8],
    );
    let cases: [Case<'_>; 5] = [
        (
            "typical",
            "node",
            "prod",
            "ai.anomalies.v1",
            3,
            Some(b"3f2b8c1e-5d4a-4f6b-9c7d-8e1f2a3b4c5d"),
            b"value",
        ),
        (
            "no_audience",
            "node",
            "",
            "ai.evidence.v1",
            0,
            Some(b"id"),
            b"value",
        ),
        (
            "null_key",
            "node",
            "prod",
            "ai.policy.v1",
            11,
            None,
            b"value",
        ),
        (
            "empty_key_and_value",
            "backend",
            "prod",
            "control.commits.v1",
            0,
            Some(b""),
            b"",
        ),
        (
            "not_ascii",
            "backend",
            "r\u{e9}seau",
            "control.policy.v1",
            i32::MAX,
            Some(b"\x00\xff"),
            b"\x00",
        ),
    ];
    cases
        .into_iter()
        .map(
            |(name, key, audience, topic, partition, record_key, value)| {
                let scope = Scope {
                    audience,
                    topic,
                    partition,
                    key: record_key,
                    value,
                };
                let envelope = Envelope::sign(&signer(key), &scope).expect("signs");
                json!({
                    "name": name,
                    "key": key,
                    "audience": audience,
                    "topic": topic,
                    "partition": partition,
                    "record_key_hex": record_key.map(hex::encode),
                    "value_hex": hex::encode(value),
                    "header_hex": hex::encode(envelope.encode()),
                })
            },
        )
        .collect()
}

fn nonce(time_ms: u64, instance: u32, counter: u32) -> [u8; 16] {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&time_ms.to_be_bytes());
    nonce[8..12].copy_from_slice(&instance.to_be_bytes());
    nonce[12..].copy_from_slice(&counter.to_be_bytes());
    nonce
}

fn redrives() -> Vec<Value> {
    let cases: [(&str, &str, u8, Option<&[u8]>); 3] = [
        ("typical", "prod", 1, Some(b"value")),
        ("last_time", "", 5, Some(b"")),
        ("null_value", "prod", 2, None),
    ];
    cases
        .into_iter()
        .map(|(name, audience, count, value)| {
            let (topic, group) = ("ai.anomalies.v1", "cybermesh-backend");
            let terms = Terms {
                nonce: nonce(SIGNED_AT_MS, 9, u32::from(count)),
                expires_ms: 1_760_000_000_125 + 3_600_000,
                count,
                origin_partition: 3,
                origin_offset: 123_456_789_012,
                group: GroupHash::of(group),
            };
            let redrive = terms
                .sign(&signer("redriver"), audience, topic, value)
                .expect("signs");
            json!({
                "name": name,
                "key": "redriver",
                "audience": audience,
                "topic": topic,
                "group": group,
                "nonce_hex": hex::encode(terms.nonce),
                "expires_ms": terms.expires_ms,
                "count": count,
                "origin_partition": terms.origin_partition,
                "origin_offset": terms.origin_offset,
                "value_hex": value.map(hex::encode),
                "header_hex": hex::encode(redrive.to_bytes()),
            })
        })
        .collect()
}

fn dead_letters() -> Vec<Value> {
    let traceparent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [
        ("version", Some(b"1".as_slice())),
        ("tenant", Some(b"a")),
        ("tenant", None),
        ("traceparent", Some(traceparent)),
    ];
    let record = RecordView {
        partition: Some(3),
        offset: 41,
        key: Some(b"some id"),
        headers: &headers,
        timestamp_ms: 1_759_999_999_000,
        ..RecordView::new("ai.anomalies.v1", Some(b"\x00not a message\xff"))
    };
    let failure = Failure {
        disposition: Disposition::Decode,
        reason: "no protobuf of this kind",
        group: Some("cybermesh-backend"),
        attempts: 1,
        first_failed_at_ms: 1_760_000_000_125,
        last_failed_at_ms: 1_760_000_000_999,
        node: Some("node-7"),
    };
    let nobody = Failure {
        node: None,
        group: None,
        attempts: 6,
        ..failure
    };
    let null = RecordView {
        value: None,
        key: None,
        headers: &[],
        ..record
    };
    let mut flood = Flood::starting_with(&record);
    flood.add(&RecordView { offset: 43, ..null });
    flood.add(&RecordView {
        offset: 44,
        ..record
    });
    let terms = Terms {
        nonce: nonce(SIGNED_AT_MS, 9, 0),
        expires_ms: 1_760_000_000_125,
        count: 2,
        origin_partition: 3,
        origin_offset: 17,
        group: GroupHash::of("cybermesh-backend"),
    };
    let drafts_headers = [Header::new("tenant", "a")];
    let draft = |failure| {
        Burial::of_draft(
            "ai.policy.v1",
            None,
            Some(b"some id"),
            &drafts_headers,
            b"draft",
            failure,
        )
    };
    let cases = [
        ("json", Form::Json, Burial::of_record(&record, &failure)),
        ("raw", Form::Raw, Burial::of_record(&record, &failure)),
        (
            "reference",
            Form::Reference,
            Burial::of_record(&record, &failure),
        ),
        (
            "json_null_value",
            Form::Json,
            Burial::of_record(&null, &failure),
        ),
        (
            "raw_null_value",
            Form::Raw,
            Burial::of_record(&null, &failure),
        ),
        (
            "reference_flood",
            Form::Reference,
            Burial::of_flood(&flood, &failure),
        ),
        (
            "json_redriven",
            Form::Json,
            Burial::of_redriven(&record, &terms, &failure),
        ),
        ("json_produce_failed", Form::Json, draft(&nobody)),
        ("raw_produce_failed", Form::Raw, draft(&nobody)),
    ];
    cases
        .into_iter()
        .map(|(name, form, burial)| {
            let signer = signer("burier");
            let signing = Signing {
                signer: &signer,
                audience: "prod",
            };
            let out = burial
                .write(form, 1_000_000, Some(signing))
                .expect("written");
            let headers: Vec<_> = out
                .headers
                .iter()
                .map(|header| json!([header.name, header.value.as_ref().map(hex::encode)]))
                .collect();
            json!({
                "name": name,
                "form": out.form.as_str(),
                "key": "burier",
                "audience": "prod",
                "record": {
                    "key_hex": hex::encode(&out.key),
                    "value_hex": out.value.as_ref().map(hex::encode),
                    "headers": headers,
                },
            })
        })
        .collect()
}

fn replay_metadata() -> Vec<Value> {
    let accepted = accepted();
    let limits = RingLimits::new(16).expect("a ring");
    let mut replay = PartitionReplay::at_start_of_log(limits, 0);
    for (offset, claim, _) in &accepted {
        assert!(replay.judge(*offset, 100, &Claims::of(*claim)).passes());
    }
    replay.pass_over(60, 100);
    let signer = signer("state");
    let small = Budget::COMMIT
        .halved()
        .and_then(Budget::halved)
        .and_then(Budget::halved)
        .and_then(Budget::halved);
    [
        ("unsigned", Budget::COMMIT, false, 61),
        ("signed", Budget::COMMIT, true, 61),
        ("folded", small.expect("a budget"), true, 61),
        ("ring_not_left", Budget::COMMIT, false, 20),
    ]
    .into_iter()
    .map(|(name, budget, is_signed, offset)| {
        let snapshot = replay.checkpoint(offset);
        let binding = Binding {
            group: "cybermesh-backend",
            cluster_id: "MkU3OEVBNTcwNTJENDM2Qg",
            topic_id: std::array::from_fn(|at| u8::try_from(at).expect("16 bytes")),
            partition: 3,
            offset,
        };
        let signer: Option<&dyn Signer> = if is_signed { Some(&signer) } else { None };
        let metadata = snapshot
            .seal(&binding, budget, signer)
            .expect("signs")
            .expect("fits");
        let stored = cybermesh_contracts::replay::Snapshot::open(
            &metadata,
            &binding,
            &cybermesh_contracts::replay::StateKeys::default(),
        )
        .expect("opens");
        json!({
            "name": name,
            "key": is_signed.then_some("state"),
            "binding": {
                "group": binding.group,
                "cluster_id": binding.cluster_id,
                "topic_id_hex": hex::encode(binding.topic_id),
                "partition": binding.partition,
                "offset": binding.offset,
            },
            "ring_offsets": 16,
            "accepted": accepted.iter().map(|(_, _, input)| input.clone()).collect::<Vec<_>>(),
            "budget_characters": budget.characters(),
            "ring_first": stored.ring_first(),
            "floor_ms": stored.floor_ms(),
            "listed": stored.listed(),
            "bytes_hex": hex::encode(BASE64.decode(&metadata).expect("base64")),
            "metadata": metadata,
        })
    })
    .collect()
}

/// Accepted messages: offset, claim, and how the file tells it.
fn accepted() -> Vec<(i64, Claim, Value)> {
    let mut accepted = Vec::new();
    let mut with_nonce = |offset: i64, key: u8, nonce: [u8; 16]| {
        let input = json!({"offset": offset, "key_id_hex": hex::encode([key; 8]), "nonce_hex": hex::encode(nonce)});
        accepted.push((
            offset,
            Claim::with_nonce(KeyId([key; 8]), &nonce, [1; 32]),
            input,
        ));
    };
    // Nine instances of one key, so that the oldest folds; one of others; one that is in the ring at 20.
    for instance in 1..=9 {
        with_nonce(
            i64::from(instance),
            0x11,
            nonce(SIGNED_AT_MS + 10 * u64::from(instance), instance, instance),
        );
    }
    with_nonce(10, 0x22, nonce(SIGNED_AT_MS - 86_400_000, 7, 0));
    with_nonce(11, 0x33, nonce(SIGNED_AT_MS + 5, 0xdead_beef, 300));
    for (offset, key, second) in [
        (12_i64, 0x22_u8, 1_759_900_000_i64),
        (13, 0x44, 1_760_000_000),
    ] {
        let input =
            json!({"offset": offset, "key_id_hex": hex::encode([key; 8]), "timestamp_s": second});
        let claim = Claim::with_timestamp(KeyId([key; 8]), second, [2; 32]);
        accepted.push((offset, claim, input));
    }
    accepted
}
