use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cybermesh_contracts::dead_letter::{Content, DeadLetter, DeadLetterRecord, Flood, Form};
use cybermesh_contracts::headers;
use cybermesh_contracts::record::RecordView;
use cybermesh_contracts::redrive::{GroupHash, Terms};
use cybermesh_contracts::rejection::Disposition;
use cybermesh_contracts::sign::{Ed25519Signer, PublicKey, SignError, Signature, Signer};
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};

use super::{
    AppendError, AppendLetter, BuryError, DeadLetterConfig, DeadLetterSigning, DeadLetters,
    DraftBurial,
};
use crate::dlq::SPILL_FILE;
use crate::inbound::burial::Burial;
use crate::inbound::guard::burials::Summary;
use crate::inbound::origin::Origin;
use crate::state::StateDir;
use crate::telemetry::Exposition;

/// A topic that takes values up to a size, and keeps what it took.
#[derive(Clone)]
struct Topic {
    takes_bytes: usize,
    failure: Option<AppendError>,
    log: Arc<Mutex<Vec<DeadLetterRecord>>>,
    tried: Arc<Mutex<Vec<Form>>>,
}

impl Topic {
    fn taking(takes_bytes: usize) -> Self {
        Self {
            takes_bytes,
            failure: None,
            log: Arc::default(),
            tried: Arc::default(),
        }
    }

    fn failing(failure: AppendError) -> Self {
        Self {
            failure: Some(failure),
            ..Self::taking(usize::MAX)
        }
    }
}

impl AppendLetter for Topic {
    fn append(
        &self,
        letter: DeadLetterRecord,
        _timestamp_ms: i64,
    ) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async move {
            self.tried.lock().unwrap().push(letter.form);
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            if letter.value.as_ref().map_or(0, Vec::len) > self.takes_bytes {
                return Err(AppendError::TooLarge);
            }
            self.log.lock().unwrap().push(letter);
            Ok(())
        })
    }
}

fn letters(topic: &Topic, signing: Option<DeadLetterSigning>) -> DeadLetters {
    let config = DeadLetterConfig {
        topic: "ai.dlq".into(),
        form: Form::Json,
        group: Some("cybermesh-backend".into()),
        node: Some("backend-1".into()),
        audience: "test".into(),
    };
    DeadLetters::over(topic.clone(), config, signing)
}

fn burial(value: Vec<u8>) -> Burial {
    let origin = Origin {
        topic: "ai.anomalies.v1".into(),
        partition: 3,
        offset: 41,
        timestamp_ms: 1_000,
        append_time_ms: None,
        key: Some(Bytes::from_static(b"key")),
        value: Some(value.into()),
        headers: vec![("version".into(), Some(Bytes::from_static(b"1")))],
        unreadable: None,
    };
    Burial::rejected(
        Arc::new(origin),
        Disposition::Decode,
        "not protobuf".into(),
        None,
        2_000,
    )
}

fn read(letter: &DeadLetterRecord) -> DeadLetter {
    let headers = letter.header_views();
    DeadLetter::parse(&RecordView {
        key: Some(&letter.key),
        headers: &headers,
        ..RecordView::new("ai.dlq", letter.value.as_deref())
    })
    .unwrap()
}

#[tokio::test]
async fn a_small_message_is_copied_as_json_under_a_key_that_names_its_origin() {
    let topic = Topic::taking(usize::MAX);
    letters(&topic, None)
        .bury_message(&burial(b"garbage".to_vec()))
        .await
        .unwrap();
    let log = topic.log.lock().unwrap();
    assert_eq!(log[0].key, b"cybermesh-backend/ai.anomalies.v1/3/41");
    assert_eq!(log[0].form, Form::Json);
    assert!(matches!(read(&log[0]).content(), Content::Copy(copy)
        if copy.value.as_deref() == Some(&b"garbage"[..])));
}

#[tokio::test]
async fn a_message_too_large_for_json_is_kept_raw_and_an_oversized_one_by_reference() {
    for (bytes, form) in [(600_000, Form::Raw), (2_000_000, Form::Reference)] {
        let topic = Topic::taking(usize::MAX);
        letters(&topic, None)
            .bury_message(&burial(vec![7; bytes]))
            .await
            .unwrap();
        assert_eq!(topic.log.lock().unwrap()[0].form, form);
    }
}

#[tokio::test]
async fn a_topic_that_takes_less_gets_the_next_form() {
    let topic = Topic::taking(1_000);
    letters(&topic, None)
        .bury_message(&burial(vec![7; 5_000]))
        .await
        .unwrap();
    assert_eq!(
        *topic.tried.lock().unwrap(),
        [Form::Json, Form::Raw, Form::Reference]
    );
    assert_eq!(topic.log.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_topic_that_takes_nothing_refuses_for_good() {
    let topic = Topic::taking(0);
    let buried = letters(&topic, None)
        .bury_message(&burial(b"garbage".to_vec()))
        .await;
    assert!(matches!(buried, Err(BuryError::Refused(_))));
}

#[tokio::test]
async fn a_failure_of_the_cluster_is_not_mistaken_for_a_size() {
    let topic = Topic::failing(AppendError::Unavailable("no leader".into()));
    let buried = letters(&topic, None)
        .bury_message(&burial(b"garbage".to_vec()))
        .await;
    assert_eq!(buried, Err(BuryError::Unavailable("no leader".into())));
    assert_eq!(topic.tried.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn it_is_signed_exactly_while_our_own_trust_store_lets_us() {
    for may_sign in [true, false] {
        let topic = Topic::taking(usize::MAX);
        let signing = DeadLetterSigning {
            signer: Box::new(move || {
                may_sign.then(|| {
                    Arc::new(Ed25519Signer::from_seed(&[7; 32]))
                        as Arc<dyn cybermesh_contracts::sign::Signer>
                })
            }),
        };
        letters(&topic, Some(signing))
            .bury_message(&burial(b"garbage".to_vec()))
            .await
            .unwrap();
        let log = topic.log.lock().unwrap();
        let signed = log[0]
            .headers
            .iter()
            .any(|header| header.name == headers::DEAD_LETTER);
        assert_eq!(signed, may_sign);
    }
}

#[tokio::test]
async fn a_key_that_cannot_sign_now_leaves_the_letter_for_later() {
    #[derive(Debug)]
    struct Away;

    impl Signer for Away {
        fn public_key(&self) -> PublicKey {
            PublicKey([7; 32])
        }

        fn sign(&self, _: &[u8]) -> Result<Signature, SignError> {
            Err(SignError::new("the token is away"))
        }
    }

    let topic = Topic::taking(usize::MAX);
    let signing = DeadLetterSigning {
        signer: Box::new(|| Some(Arc::new(Away) as Arc<dyn Signer>)),
    };
    let buried = letters(&topic, Some(signing))
        .bury_message(&burial(b"garbage".to_vec()))
        .await;
    assert!(
        matches!(&buried, Err(BuryError::Unavailable(reason)) if reason.contains("away")),
        "{buried:?}"
    );
}

#[tokio::test]
async fn what_was_redriven_is_buried_under_its_first_origin() {
    let topic = Topic::taking(usize::MAX);
    let terms = Terms {
        nonce: [0; 16],
        expires_ms: 0,
        count: 1,
        origin_partition: 1,
        origin_offset: 7,
        group: GroupHash([0; 8]),
    };
    let burial = Burial {
        redrive: Some(terms),
        ..burial(b"again".to_vec())
    };
    letters(&topic, None).bury_message(&burial).await.unwrap();
    let log = topic.log.lock().unwrap();
    assert_eq!(log[0].key, b"cybermesh-backend/ai.anomalies.v1/1/7");
    let origin = read(&log[0]).origin().clone();
    assert_eq!((origin.partition, origin.offset), (Some(1), Some(7)));
}

#[tokio::test]
async fn a_letter_tells_how_often_its_message_was_tried_and_when_it_failed() {
    let topic = Topic::taking(usize::MAX);
    let burial = Burial {
        attempts: 4,
        first_failed_ms: 1_500,
        ..burial(b"again".to_vec())
    };
    letters(&topic, None).bury_message(&burial).await.unwrap();
    let log = topic.log.lock().unwrap();
    let letter = read(&log[0]);
    let times = (letter.first_failed_at_ms(), letter.last_failed_at_ms());
    assert_eq!((letter.attempts(), times), (4, (1_500, 2_000)));
    assert_eq!(letter.group(), Some("cybermesh-backend"));
    assert_eq!(letter.node(), Some("backend-1"));
}

#[tokio::test]
async fn a_draft_is_buried_as_produce_failed_without_a_group() {
    let topic = Topic::taking(usize::MAX);
    let draft = DraftBurial {
        topic: "ai.anomalies.v1",
        partition: Some(1),
        key: None,
        headers: &[],
        draft: b"draft",
        reason: "no such topic",
        attempts: 6,
        first_failed_at_ms: 1,
        last_failed_at_ms: 2,
    };
    letters(&topic, None).bury_draft(&draft).await.unwrap();
    let log = topic.log.lock().unwrap();
    assert!(log[0].key.starts_with(b"produce/ai.anomalies.v1/"));
    assert_eq!(read(&log[0]).disposition(), Disposition::ProduceFailed);
}

fn spilling(topic: &Topic, folder: &tempfile::TempDir) -> (DeadLetters, Exposition) {
    let exposition = Exposition::new().unwrap();
    let state = Arc::new(StateDir::open(folder.path()).unwrap());
    let letters = letters(topic, None).spilling_into(state, exposition.metrics());
    (letters, exposition)
}

fn spilled(folder: &tempfile::TempDir) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.path().join(SPILL_FILE)).unwrap_or_default();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn what_the_topic_refuses_for_good_is_kept_on_disk_counted_and_done() {
    for topic in [
        Topic::failing(AppendError::Refused("not allowed".into())),
        // Too large in every form.
        Topic::taking(0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (letters, exposition) = spilling(&topic, &folder);
        letters
            .bury_message(&burial(b"value".to_vec()))
            .await
            .unwrap();
        let lines = spilled(&folder);
        assert_eq!(lines.len(), 1);
        let key = "cybermesh-backend/ai.anomalies.v1/3/41";
        assert_eq!(lines[0]["key"], key);
        let value: serde_json::Value =
            serde_json::from_str(lines[0]["value"].as_str().unwrap()).unwrap();
        assert_eq!(value["data"], hex::encode("value"));
        assert!(
            exposition
                .text()
                .unwrap()
                .contains("bridge_dlq_spilled_total 1")
        );
    }
}

#[tokio::test]
async fn what_may_pass_later_is_not_kept_on_disk() {
    let topic = Topic::failing(AppendError::Unavailable("the leader moved".into()));
    let folder = tempfile::tempdir().unwrap();
    let (letters, _) = spilling(&topic, &folder);
    let error = letters
        .bury_message(&burial(b"value".to_vec()))
        .await
        .unwrap_err();
    assert!(matches!(error, BuryError::Unavailable(_)), "{error}");
    assert!(spilled(&folder).is_empty());
}

#[tokio::test]
async fn what_cannot_be_kept_on_disk_either_is_not_done() {
    let topic = Topic::failing(AppendError::Refused("not allowed".into()));
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(SPILL_FILE)).unwrap();
    let (letters, _) = spilling(&topic, &folder);
    let error = letters
        .bury_message(&burial(b"value".to_vec()))
        .await
        .unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("not allowed") && words.contains(SPILL_FILE),
        "{words}"
    );
}

#[tokio::test]
async fn many_messages_are_buried_as_one_reference_with_range_count_and_hash_of_hashes() {
    let topic = Topic::taking(usize::MAX);
    let one = burial(b"one".to_vec());
    let mut flood = one.origin.view(Flood::starting_with);
    let last = Origin {
        offset: 55,
        value: Some(Bytes::from_static(b"two")),
        ..(*one.origin).clone()
    };
    last.view(|record| flood.add(record));
    let offsets = vec![41, 55];
    let many = Burial {
        summary: Some(Summary { flood, offsets }),
        ..one
    };
    letters(&topic, None).bury_message(&many).await.unwrap();
    let log = topic.log.lock().unwrap();
    assert_eq!(log[0].form, Form::Reference);
    let value: serde_json::Value =
        serde_json::from_slice(log[0].value.as_deref().unwrap()).unwrap();
    let hash = |bytes: &[u8]| Sha256::digest(bytes);
    let hashes = [hash(b"one"), hash(b"two")].concat();
    assert_eq!(
        value,
        serde_json::json!({
            "length": 6, "sha256": hex::encode(hash(&hashes)),
            "first_offset": 41, "last_offset": 55, "count": 2,
        })
    );
}
