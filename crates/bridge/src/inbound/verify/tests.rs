//! The contract's verifier under a trust store that changes.

use cybermesh_contracts::envelope::{Envelope, Scope};
use cybermesh_contracts::headers;
use cybermesh_contracts::message::{AnomalyDraft, CommitDraft, Draft, Stamp};
use cybermesh_contracts::nonce::Nonce;
use cybermesh_contracts::rejection::Disposition;
use cybermesh_contracts::sign::{Ed25519Signer, Signer};
use cybermesh_contracts::trust::{EnvelopeRule, TrustedKey};

use super::*;
use crate::settings::Settings;

const NOW_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;

struct Rig {
    judge: ContractJudge,
    trust: watch::Sender<Arc<TrustStore>>,
}

fn signer() -> Ed25519Signer {
    Ed25519Signer::from_seed(&[1; 32])
}

fn key(kind: Kind) -> TrustedKey {
    let key = TrustedKey::new("k", signer().public_key(), [Right::Kind(kind)]).unwrap();
    key.with_envelope(EnvelopeRule::Off)
}

fn rig(keys: impl IntoIterator<Item = TrustedKey>) -> Rig {
    let settings = Settings::loader()
        .set("KAFKA_BROKERS", "localhost:9092")
        .set("KAFKA_TLS_ENABLED", "false")
        .set("CYBERMESH_VERIFY", "anomaly=batch")
        .load()
        .unwrap();
    let trust = watch::Sender::new(Arc::new(TrustStore::of(keys).unwrap()));
    let judge = ContractJudge::new(
        Verifier::new(""),
        settings.verify.mode,
        trust.subscribe(),
        Duration::from_secs(2 * 3_600),
        Duration::from_secs(60),
    );
    Rig { judge, trust }
}

impl Rig {
    fn judged(&self, origin: &Origin) -> Judged<Verified<Message>> {
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| *kind.default_topic() == *origin.topic);
        let trust = self.judge.trust();
        self.judge.judge(&trust, kind.unwrap(), origin, now())
    }

    /// What is said of the message now that this store is in force.
    fn after(&self, keys: impl IntoIterator<Item = TrustedKey>, origin: &Origin) -> Option<String> {
        // The store before is seen, as the pipeline sees it at every turn.
        self.judge.trust();
        self.trust
            .send_replace(Arc::new(TrustStore::of(keys).unwrap()));
        let rejection = self.judged(origin).unwrap_err();
        let named = self
            .judge
            .formerly_trusted(Kind::Commit, origin, &rejection, now());
        named.map(|id| id.to_string())
    }
}

fn now() -> i64 {
    i64::try_from(NOW_MS).unwrap()
}

fn commit() -> Draft {
    let commit = CommitDraft::builder(1, [7; 32], [8; 32]).build().unwrap();
    Draft::Commit(commit)
}

fn anomaly() -> Draft {
    let anomaly = AnomalyDraft::builder("7c9e6679-7425-40de-944b-e07fc1f90ae7")
        .anomaly_type("port-scan")
        .source("10.0.0.7")
        .severity(7)
        .confidence(0.9)
        .model_version("m-1")
        .payload("{}")
        .build()
        .unwrap();
    Draft::Anomaly(anomaly)
}

fn signed_at(draft: &Draft, now_ms: u64) -> Origin {
    let stamp = Stamp {
        now_ms,
        nonce: (draft.kind() == Kind::Anomaly).then(|| Nonce::new(now_ms, 1, 1)),
    };
    Origin {
        topic: draft.kind().default_topic().into(),
        partition: 0,
        offset: 7,
        timestamp_ms: now(),
        append_time_ms: None,
        key: None,
        value: Some(draft.sign(&signer(), stamp).unwrap().value.into()),
        headers: Vec::new(),
        unreadable: None,
    }
}

fn enveloped(draft: &Draft) -> Origin {
    let origin = signed_at(draft, NOW_MS);
    let scope = Scope {
        audience: "",
        topic: &origin.topic,
        partition: 0,
        key: None,
        value: origin.value.as_deref().unwrap(),
    };
    let envelope = Envelope::sign(&signer(), &scope).unwrap().encode();
    Origin {
        headers: vec![(headers::ENVELOPE.into(), Some(envelope.to_vec().into()))],
        ..origin
    }
}

#[test]
fn the_store_of_the_moment_says_who_may_sign_what() {
    let rig = rig([key(Kind::Commit)]);
    let trust = rig.judge.trust();
    assert!(rig.judge.has_keys(&trust, Kind::Commit));
    assert!(!rig.judge.has_keys(&trust, Kind::Policy));
    let message = rig.judged(&signed_at(&commit(), NOW_MS)).unwrap();
    assert_eq!(Believed::signer(&message), Some(signer().public_key()));
    assert_eq!(Believed::redrive(&message), None);
    assert_eq!(rig.judge.recheck(&trust, &message), Ok(()));
    rig.trust.send_replace(Arc::new(
        TrustStore::of([key(Kind::Commit).revoked()]).unwrap(),
    ));
    let trust = rig.judge.trust();
    assert!(!rig.judge.has_keys(&trust, Kind::Commit));
    let rejection = rig.judge.recheck(&trust, &message).unwrap_err();
    assert!(matches!(rejection.reason(), Reason::KeyRevoked { .. }));
}

#[test]
fn messages_are_held_against_the_clock_one_by_one_and_in_batches() {
    let rig = rig([key(Kind::Anomaly)]);
    assert_eq!(rig.judge.mode(Kind::Anomaly), VerifyMode::Batch);
    assert_eq!(rig.judge.mode(Kind::Evidence), VerifyMode::Strict);
    let of = |now_ms| signed_at(&anomaly(), now_ms);
    let origins = [
        of(NOW_MS),
        of(NOW_MS - HOUR_MS),
        of(NOW_MS - 3 * HOUR_MS),
        of(NOW_MS + HOUR_MS),
    ];
    let expected = [
        None,
        None,
        Some(Disposition::Stale),
        Some(Disposition::Future),
    ];
    let said =
        |judged: Judged<Verified<Message>>| judged.err().map(|rejection| rejection.disposition());
    let each: Vec<_> = origins
        .iter()
        .map(|origin| said(rig.judged(origin)))
        .collect();
    assert_eq!(each, expected);
    let origins: Vec<_> = origins.iter().collect();
    let trust = rig.judge.trust();
    let batch = rig
        .judge
        .judge_batch(&trust, Kind::Anomaly, &origins, now());
    assert_eq!(batch.into_iter().map(said).collect::<Vec<_>>(), expected);
}

#[test]
fn an_envelope_is_seen_where_there_is_one_that_holds() {
    let rig = rig([key(Kind::Commit).with_envelope(EnvelopeRule::Accept)]);
    let with = rig.judged(&enveloped(&commit())).unwrap();
    assert!(with.is_enveloped());
    let without = rig.judged(&signed_at(&commit(), NOW_MS)).unwrap();
    assert!(!without.is_enveloped());
}

#[test]
fn a_key_that_lost_its_trust_is_named_by_whatever_way_it_lost_it() {
    let origin = signed_at(&commit(), NOW_MS);
    for keys in [
        vec![],
        vec![key(Kind::Commit).revoked()],
        vec![key(Kind::Policy)],
    ] {
        let named = rig([key(Kind::Commit)]).after(keys, &origin);
        assert_eq!(named.as_deref(), Some("k"));
    }
}

#[test]
fn a_forgery_under_a_key_that_lost_its_trust_is_named_after_nobody() {
    let mut forged = signed_at(&commit(), NOW_MS);
    let mut value = forged.value.unwrap().to_vec();
    let at = value
        .windows(32)
        .position(|bytes| bytes == [7; 32])
        .unwrap();
    value[at] ^= 1;
    forged.value = Some(value.into());
    assert_eq!(rig([key(Kind::Commit)]).after([], &forged), None);
    let stale = signed_at(&commit(), NOW_MS - 3 * HOUR_MS);
    let rig = rig([key(Kind::Commit)]);
    let rejection = rig.judged(&stale).unwrap_err();
    let named = rig
        .judge
        .formerly_trusted(Kind::Commit, &stale, &rejection, now());
    assert_eq!(named, None, "its trust is not what it lacks");
}
