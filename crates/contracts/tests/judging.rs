//! What a receiver demands: each demand alone, and the order in which they are made.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use cybermesh_contracts::headers;
use cybermesh_contracts::message::{AnomalyDraft, Draft, Message, PolicyUpdate, Stamp};
use cybermesh_contracts::nonce::Nonce;
use cybermesh_contracts::redrive::{GroupHash, Terms};
use cybermesh_contracts::rejection::{EnvelopeFault, Reason, RedriveFault, WindowFault};
use cybermesh_contracts::replay::{Judgement, PartitionReplay, RingLimits};
use cybermesh_contracts::sign::{Ed25519Signer, Signer};
use cybermesh_contracts::trust::{EnvelopeRule, Right, TrustStore, TrustedKey, Window};
use cybermesh_contracts::verify::{
    AnomalyPayload, Bounds, EnvelopeState, RedriveFor, Verified, Verifier,
};
use cybermesh_contracts::{Disposition, Kind, RecordView, Rejection};
use support::{
    AUDIENCE, NOW_MS, PARTITION, Produced, SIGNED_MS, TOPIC, draft, key, signer, stamp, store,
};

fn disposition(judged: Result<Verified<Message>, Rejection>) -> Disposition {
    judged.unwrap_err().disposition()
}

#[test]
fn every_kind_is_believed_with_its_envelope() {
    for kind in Kind::ALL {
        let produced = Produced::of(&draft(kind));
        let verified = produced.judge(kind, &store(key())).unwrap();
        assert_eq!(verified.kind(), kind);
        assert_eq!(verified.envelope(), EnvelopeState::Valid);
        assert_eq!(verified.message().to_wire(), produced.value);
        assert_eq!(verified.signer().id.as_ref(), "signer");
    }
}

#[test]
fn a_message_of_one_kind_is_none_of_another() {
    let trust = store(key().with_envelope(EnvelopeRule::Off));
    for kind in Kind::ALL {
        let produced = Produced::of(&draft(kind));
        for other in Kind::ALL.into_iter().filter(|other| *other != kind) {
            assert!(produced.judge(other, &trust).is_err(), "{kind} as {other}");
        }
    }
}

#[test]
fn a_verified_message_narrows_to_its_kind_alone() {
    let verified = Produced::of(&draft(Kind::PolicyUpdate))
        .judge(Kind::PolicyUpdate, &store(key()))
        .unwrap();
    let other = verified
        .narrow::<cybermesh_contracts::message::Commit>()
        .unwrap_err();
    let narrowed: Verified<PolicyUpdate> = other.narrow().unwrap();
    assert_eq!(narrowed.message().rule_data(), br#"{"a":1}"#);
}

#[test]
fn null_and_long_values_are_told_before_anything_is_read() {
    let trust = store(key());
    let verifier = Verifier::new(AUDIENCE);
    let judge = |value: Option<&[u8]>| {
        let record = RecordView::new(TOPIC, value);
        disposition(verifier.verify(&trust, Kind::Commit, &record, None))
    };
    assert_eq!(judge(None), Disposition::Decode);
    assert_eq!(judge(Some(&vec![0; 1_048_577])), Disposition::Oversize);
    assert_eq!(judge(Some(&vec![0; 1_048_576])), Disposition::Decode);
    assert_eq!(judge(Some(&[])), Disposition::Contract);
}

#[test]
fn an_unknown_key_is_told_as_claimed() {
    let stranger = Ed25519Signer::from_seed(&[1; 32]);
    let produced = Produced::signed_by(&stranger, &draft(Kind::Policy));
    let rejection = produced.judge(Kind::Policy, &store(key())).unwrap_err();
    assert_eq!(rejection.disposition(), Disposition::UnknownKey);
    assert_eq!(rejection.claimed(), Some(stranger.public_key()));
    assert!(rejection.to_string().contains("claimed"));
}

#[test]
fn rights_window_and_revocation_are_asked_in_order() {
    let produced = Produced::of(&draft(Kind::Anomaly));
    let judge = |key: TrustedKey| disposition(produced.judge(Kind::Anomaly, &store(key)));
    let no_right = || {
        TrustedKey::new(
            "signer",
            signer().public_key(),
            [Right::Kind(Kind::Evidence)],
        )
        .unwrap()
    };
    let past = Window {
        not_before_ms: None,
        not_after_ms: Some(1),
    };
    assert_eq!(judge(no_right()), Disposition::KeyNotAuthorised);
    assert_eq!(judge(no_right().with_window(past)), Disposition::KeyExpired);
    assert_eq!(
        judge(no_right().with_window(past).revoked()),
        Disposition::KeyRevoked
    );
    let elsewhere = no_right()
        .with_window(past)
        .revoked()
        .with_producer_id([1; 32]);
    assert_eq!(judge(elsewhere), Disposition::Contract);
}

#[test]
fn a_window_counts_at_the_signed_time_and_for_max_age_after_it() {
    let produced = Produced::of(&draft(Kind::Commit));
    let signed_ms = 1_760_000_000_000;
    let judge = |window, now_ms| {
        let trust = store(key().with_window(window).with_envelope(EnvelopeRule::Off));
        let bounds = Bounds {
            max_age: Duration::from_secs(10),
            ..Bounds::at(now_ms)
        };
        let judged =
            Verifier::new("").verify(&trust, Kind::Commit, &produced.record(&[]), Some(&bounds));
        judged
            .map(drop)
            .map_err(|rejection| rejection.reason().clone())
    };
    let window = |not_before_ms, not_after_ms| Window {
        not_before_ms: Some(not_before_ms),
        not_after_ms: Some(not_after_ms),
    };
    let expired = |fault| {
        Err(Reason::KeyExpired {
            id: "signer".into(),
            fault,
        })
    };
    assert_eq!(judge(window(signed_ms, signed_ms), signed_ms), Ok(()));
    assert_eq!(
        judge(window(signed_ms, signed_ms), signed_ms + 10_000),
        Ok(())
    );
    assert_eq!(
        judge(window(signed_ms, signed_ms), signed_ms + 10_001),
        expired(WindowFault::LongExpired)
    );
    assert_eq!(
        judge(window(signed_ms + 1, signed_ms + 2), signed_ms),
        expired(WindowFault::NotYet)
    );
    assert_eq!(
        judge(window(0, signed_ms - 1), signed_ms),
        expired(WindowFault::Expired)
    );
}

#[test]
fn a_producer_id_of_its_own_is_what_the_store_names() {
    let signer = signer();
    let signed = draft(Kind::Evidence).sign(&signer, stamp()).unwrap();
    let trust = store(
        key()
            .with_producer_id([7; 32])
            .with_envelope(EnvelopeRule::Off),
    );
    let record = RecordView::new(TOPIC, Some(&signed.value));
    let judged = Verifier::new("").verify(&trust, Kind::Evidence, &record, None);
    assert_eq!(disposition(judged), Disposition::Contract);
}

#[test]
fn the_envelope_binds_topic_partition_key_and_audience() {
    let produced = Produced::of(&draft(Kind::Policy));
    let envelope = [(headers::ENVELOPE, Some(produced.envelope.as_slice()))];
    let record = produced.record(&envelope);
    let trust = store(key());
    let judge = |verifier: Verifier, record: RecordView<'_>| {
        let judged = verifier.verify(&trust, Kind::Policy, &record, None);
        judged
            .map(|verified| verified.envelope())
            .map_err(|rejection| rejection.disposition())
    };
    let own = || Verifier::new(AUDIENCE);
    let invalid = Err(Disposition::EnvelopeInvalid);
    assert_eq!(judge(own(), record), Ok(EnvelopeState::Valid));
    assert_eq!(judge(Verifier::new(""), record), invalid);
    let renamed = Verifier::new("").accept_audiences([AUDIENCE.to_owned()]);
    assert_eq!(judge(renamed, record), Ok(EnvelopeState::Valid));
    let mirrored = RecordView {
        topic: "mirror",
        ..record
    };
    assert_eq!(judge(own(), mirrored), invalid);
    let of_mirrors = own().accept_origin_topics([TOPIC.to_owned()]);
    assert_eq!(judge(of_mirrors, mirrored), Ok(EnvelopeState::Valid));
    assert_eq!(
        judge(
            own(),
            RecordView {
                partition: Some(4),
                ..record
            }
        ),
        invalid
    );
    assert_eq!(
        judge(
            own(),
            RecordView {
                partition: None,
                ..record
            }
        ),
        Ok(EnvelopeState::Valid)
    );
    assert_eq!(
        judge(
            own(),
            RecordView {
                key: None,
                ..record
            }
        ),
        invalid
    );
    let twice = [envelope[0], envelope[0]];
    assert_eq!(
        judge(
            own(),
            RecordView {
                headers: &twice,
                ..record
            }
        ),
        invalid
    );
    assert_eq!(
        judge(
            own(),
            RecordView {
                headers: &[],
                ..record
            }
        ),
        Err(Disposition::EnvelopeMissing)
    );
}

#[test]
fn the_envelope_rule_decides_about_absent_and_broken_ones() {
    let produced = Produced::of(&draft(Kind::Anomaly));
    let broken = [(headers::ENVELOPE, Some(&[1; 77][..]))];
    let judge = |verifier: Verifier, rule, headers: &[(&str, Option<&[u8]>)]| {
        let trust = store(key().with_envelope(rule));
        let judged = verifier.verify(&trust, Kind::Anomaly, &produced.record(headers), None);
        judged
            .map(|verified| verified.envelope())
            .map_err(|rejection| rejection.disposition())
    };
    let own = || Verifier::new(AUDIENCE);
    assert_eq!(
        judge(own(), EnvelopeRule::Accept, &[]),
        Ok(EnvelopeState::Absent)
    );
    assert_eq!(
        judge(own(), EnvelopeRule::Accept, &broken),
        Err(Disposition::EnvelopeInvalid)
    );
    assert_eq!(
        judge(own(), EnvelopeRule::Off, &broken),
        Ok(EnvelopeState::Off)
    );
    let overridden = own().override_envelope_rule(EnvelopeRule::Required);
    assert_eq!(
        judge(overridden, EnvelopeRule::Off, &[]),
        Err(Disposition::EnvelopeMissing)
    );
}

#[test]
fn an_envelope_of_another_trusted_key_is_invalid() {
    let other = Ed25519Signer::from_seed(&[1; 32]);
    let mut produced = Produced::of(&draft(Kind::Commit));
    produced.envelope = Produced::signed_by(&other, &draft(Kind::Commit)).envelope;
    let other_key =
        TrustedKey::new("other", other.public_key(), Kind::ALL.map(Right::Kind)).unwrap();
    let trust = TrustStore::of([key(), other_key]).unwrap();
    let rejection = produced.judge(Kind::Commit, &trust).unwrap_err();
    let id = "signer".into();
    let fault = EnvelopeFault::OtherKey;
    assert_eq!(*rejection.reason(), Reason::EnvelopeInvalid { id, fault });
}

#[test]
fn signed_times_lie_between_max_age_and_the_tolerance() {
    let trust = store(key().with_envelope(EnvelopeRule::Off));
    let judge = |ts_ms: u64, nonce_ms: u64, append_time_ms| {
        let stamp = Stamp {
            now_ms: ts_ms,
            nonce: Some(Nonce::new(nonce_ms, 1, 0)),
        };
        let value = draft(Kind::Policy).sign(&signer(), stamp).unwrap().value;
        let record = RecordView {
            append_time_ms,
            ..RecordView::new(TOPIC, Some(&value))
        };
        let judged =
            Verifier::new("").verify(&trust, Kind::Policy, &record, Some(&Bounds::at(NOW_MS)));
        judged
            .map(drop)
            .map_err(|rejection| rejection.disposition())
    };
    let now = SIGNED_MS;
    let (ahead, week) = (300_000, 7 * 86_400_000);
    assert_eq!(judge(now, now + ahead, None), Ok(()));
    assert_eq!(judge(now, now + ahead + 1, None), Err(Disposition::Future));
    assert_eq!(
        judge(now + ahead + 1000, now, None),
        Err(Disposition::Future)
    );
    assert_eq!(judge(now, now - week, None), Ok(()));
    assert_eq!(judge(now, now - week - 1, None), Err(Disposition::Stale));
    assert_eq!(judge(now - week - 1000, now, None), Err(Disposition::Stale));
    assert_eq!(judge(now, now, Some(NOW_MS - 299_000)), Ok(()));
    assert_eq!(
        judge(now, now, Some(NOW_MS - 300_001)),
        Err(Disposition::Future)
    );
    assert_eq!(
        judge(now, now + ahead + 1, Some(i64::MAX)),
        Err(Disposition::Future)
    );
    assert_eq!(judge(now, u64::MAX, None), Err(Disposition::Future));
    assert_eq!(judge(now, 0, Some(i64::MIN)), Err(Disposition::Future));
    assert_eq!(judge(now, now, Some(i64::MAX)), Ok(()));
}

#[test]
fn opaque_payloads_pass_where_any_is_accepted_and_are_marked() {
    let trust = store(key().with_envelope(EnvelopeRule::Off));
    let judge = |accepted, payload: &[u8]| {
        let Draft::Anomaly(draft) = draft(Kind::Anomaly) else {
            panic!("another kind");
        };
        let mut event = draft.event().clone();
        event.payload = payload.to_vec();
        let draft = Draft::from(AnomalyDraft::as_it_stands(event));
        let value = draft.sign(&signer(), stamp()).unwrap().value;
        let verifier = Verifier::new("").anomaly_payload(accepted);
        let record = RecordView::new(TOPIC, Some(&value));
        let judged = verifier.verify(&trust, Kind::Anomaly, &record, None);
        judged
            .map(|verified| verified.opaque_payload())
            .map_err(|rejection| rejection.disposition())
    };
    let refused = Err(Disposition::Contract);
    assert_eq!(judge(AnomalyPayload::Json, b"test payload"), refused);
    assert_eq!(judge(AnomalyPayload::Any, b"test payload"), Ok(true));
    assert_eq!(
        judge(AnomalyPayload::Any, br#"{"severity":8,"confidence":0.5}"#),
        Ok(false)
    );
    for payload in [
        r#"{"severity":7,"confidence":0.5}"#,
        r#"{"severity":8}"#,
        r#"{"severity":8,"confidence":0.50001}"#,
        r#"{"severity":8,"confidence":0.5,"\u0073everity":8}"#,
        "[]",
        "",
    ] {
        assert_eq!(
            judge(AnomalyPayload::Any, payload.as_bytes()),
            refused,
            "{payload}"
        );
        assert_eq!(
            judge(AnomalyPayload::Json, payload.as_bytes()),
            refused,
            "{payload}"
        );
    }
    for payload in [
        r#"{"severity":8.0,"confidence":5e-1}"#,
        r#"{"severity":8,"confidence":0.5000009,"x":{"severity":1}}"#,
        r#" {"confidence":0.5,"severity":80e-1} "#,
    ] {
        assert_eq!(
            judge(AnomalyPayload::Json, payload.as_bytes()),
            Ok(false),
            "{payload}"
        );
    }
}

#[test]
fn a_message_judged_earlier_is_looked_up_again() {
    let first = store(key());
    let verified = Produced::of(&draft(Kind::Commit))
        .judge(Kind::Commit, &first)
        .unwrap();
    let recheck = |key: Option<TrustedKey>| {
        let (next, _) = first.succeeded_by(TrustStore::of(key).unwrap());
        let again = verified.still_trusted(&next);
        again.map_err(|rejection| rejection.disposition())
    };
    assert_eq!(verified.still_trusted(&first), Ok(()));
    assert_eq!(recheck(Some(key())), Ok(()));
    assert_eq!(recheck(None), Err(Disposition::UnknownKey));
    let unannounced = verified.still_trusted(&TrustStore::default());
    assert_eq!(
        unannounced.unwrap_err().disposition(),
        Disposition::UnknownKey
    );
    assert_eq!(recheck(Some(key().revoked())), Err(Disposition::KeyRevoked));
    let past = Window {
        not_before_ms: None,
        not_after_ms: Some(1),
    };
    assert_eq!(
        recheck(Some(key().with_window(past))),
        Err(Disposition::KeyExpired)
    );
    let other = TrustedKey::new("signer", signer().public_key(), [Right::Redrive]).unwrap();
    assert_eq!(recheck(Some(other)), Err(Disposition::KeyNotAuthorised));
}

#[test]
fn a_policy_update_under_both_domains_is_one_message() {
    let draft = draft(Kind::PolicyUpdate);
    let signer = signer();
    let v2 = draft.sign(&signer, stamp()).unwrap().value;
    let mut input = draft.signing_input(signer.public_key(), stamp()).unwrap();
    input.splice(.."control.policy.v2".len(), *b"control.policy.v1");
    let signature = signer.sign(&input).unwrap();
    let at = v2.len() - 2 - 7 - 34 - 64;
    let mut v1 = v2.clone();
    v1[at..at + 64].copy_from_slice(&signature.0);
    let trust = store(key().with_envelope(EnvelopeRule::Off));
    let claims = |value: &[u8]| {
        let record = RecordView::new(TOPIC, Some(value));
        let judged = Verifier::new("").verify(&trust, Kind::PolicyUpdate, &record, None);
        *judged.unwrap().replay_claims()
    };
    assert_ne!(v1, v2);
    assert_eq!(claims(&v1), claims(&v2));
}

/// A redriver, and a record that it redrives.
struct Redriven {
    produced: Produced,
    redriver: Ed25519Signer,
    terms: Terms,
}

impl Redriven {
    fn new() -> Self {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&SIGNED_MS.to_be_bytes());
        Self {
            produced: Produced::of(&draft(Kind::Policy)),
            redriver: Ed25519Signer::from_seed(&[5; 32]),
            terms: Terms {
                nonce,
                expires_ms: NOW_MS + 600_000,
                count: 1,
                origin_partition: PARTITION,
                origin_offset: 11,
                group: GroupHash::of("g"),
            },
        }
    }

    fn trust(&self, rights: impl IntoIterator<Item = Right>) -> TrustStore {
        let redriver = TrustedKey::new("operator", self.redriver.public_key(), rights).unwrap();
        TrustStore::of([key(), redriver]).unwrap()
    }

    fn header(&self) -> Vec<u8> {
        self.terms
            .sign(&self.redriver, AUDIENCE, TOPIC, Some(&self.produced.value))
            .unwrap()
            .to_bytes()
    }

    fn judge(
        &self,
        trust: &TrustStore,
        whom: RedriveFor,
        now_ms: i64,
    ) -> Result<Verified<Message>, Rejection> {
        let redrive = self.header();
        let headers = [
            (headers::ENVELOPE, Some(self.produced.envelope.as_slice())),
            (headers::REDRIVE, Some(redrive.as_slice())),
        ];
        let verifier = Verifier::new(AUDIENCE).redrive_for(whom);
        let record = self.produced.record(&headers);
        verifier.verify(trust, Kind::Policy, &record, Some(&Bounds::at(now_ms)))
    }
}

fn group() -> RedriveFor {
    RedriveFor::Group("g".to_owned())
}

#[test]
fn an_old_message_redriven_for_this_group_counts_once_by_its_redrive() {
    let mut redriven = Redriven::new();
    let later = NOW_MS + 30 * 86_400_000;
    redriven.terms.nonce[..8].copy_from_slice(&u64::try_from(later).unwrap().to_be_bytes());
    redriven.terms.expires_ms = later + 1000;
    let trust = redriven.trust([Right::Redrive]);
    let verified = redriven.judge(&trust, group(), later).unwrap();
    assert_eq!(verified.redriven(), Some(&redriven.terms));
    let plain = redriven.produced.judge(Kind::Policy, &trust).unwrap();
    let mut order = PartitionReplay::at_start_of_log(RingLimits::default(), 0);
    assert_eq!(
        order.judge(0, 1, plain.replay_claims()),
        Judgement::Accepted
    );
    assert_eq!(
        order.judge(1, 1, verified.replay_claims()),
        Judgement::Accepted
    );
    assert_ne!(
        order.judge(2, 1, verified.replay_claims()),
        Judgement::Accepted
    );
}

#[test]
fn a_redrive_for_another_group_is_skipped_also_where_the_message_would_fail() {
    let mut redriven = Redriven::new();
    redriven.produced.envelope = vec![0];
    let trust = redriven.trust([Right::Redrive]);
    for whom in [RedriveFor::NoGroup, RedriveFor::Group("h".to_owned())] {
        let judged = redriven.judge(&trust, whom, NOW_MS + 700_000);
        assert_eq!(disposition(judged), Disposition::OtherGroup);
    }
    let rejection = redriven.judge(&trust, group(), NOW_MS).unwrap_err();
    assert_eq!(rejection.disposition(), Disposition::EnvelopeInvalid);
    assert_eq!(rejection.redriven(), Some(&redriven.terms));
}

#[test]
fn a_redrive_must_hold_in_every_respect() {
    let fault = |redriven: &Redriven, trust: &TrustStore, now_ms| {
        let rejection = redriven
            .judge(trust, RedriveFor::Anyone, now_ms)
            .unwrap_err();
        match rejection.reason() {
            Reason::RedriveInvalid(fault) => *fault,
            other => panic!("{other}"),
        }
    };
    let redriven = Redriven::new();
    let trust = redriven.trust([Right::Redrive]);
    assert!(redriven.judge(&trust, RedriveFor::Anyone, NOW_MS).is_ok());
    assert_eq!(
        fault(&redriven, &store(key()), NOW_MS),
        RedriveFault::UnknownKey
    );
    assert_eq!(
        fault(&redriven, &redriven.trust([]), NOW_MS),
        RedriveFault::NotAuthorised
    );
    assert_eq!(
        fault(&redriven, &trust, NOW_MS + 600_001),
        RedriveFault::Expired
    );
    let mut elsewhere = Redriven::new();
    elsewhere.terms.origin_partition = 4;
    let (made_for, read_from) = (4, PARTITION);
    let expected = RedriveFault::OtherPartition {
        made_for,
        read_from,
    };
    assert_eq!(fault(&elsewhere, &trust, NOW_MS), expected);
}

#[test]
fn a_redrives_nonce_is_judged_in_bounds_as_any_nonce_is() {
    let redriven = Redriven::new();
    let trust = redriven.trust([Right::Redrive]);
    let ahead = NOW_MS - 300_000;
    assert!(redriven.judge(&trust, group(), ahead).is_ok());
    let rejection = redriven.judge(&trust, group(), ahead - 1).unwrap_err();
    assert_eq!(rejection.disposition(), Disposition::Future);
    assert_eq!(rejection.redriven(), Some(&redriven.terms));

    // Appended before it expired, and read a week later.
    let header = redriven.header();
    let headers = [
        (
            headers::ENVELOPE,
            Some(redriven.produced.envelope.as_slice()),
        ),
        (headers::REDRIVE, Some(header.as_slice())),
    ];
    let record = RecordView {
        append_time_ms: Some(NOW_MS),
        ..redriven.produced.record(&headers)
    };
    let judge = |now_ms| {
        let verifier = Verifier::new(AUDIENCE).redrive_for(group());
        verifier.verify(&trust, Kind::Policy, &record, Some(&Bounds::at(now_ms)))
    };
    let week = 7 * 86_400_000;
    assert!(judge(NOW_MS + week).is_ok());
    assert_eq!(disposition(judge(NOW_MS + week + 1)), Disposition::Stale);
}

#[test]
fn a_redrive_that_was_signed_and_fails_keeps_count_and_origin() {
    let redriven = Redriven::new();
    let trust = redriven.trust([Right::Redrive]);
    let expired = redriven
        .judge(&trust, group(), NOW_MS + 600_001)
        .unwrap_err();
    assert_eq!(expired.disposition(), Disposition::RedriveInvalid);
    assert_eq!(expired.claimed(), Some(signer().public_key()));
    assert_eq!(expired.redriven(), Some(&redriven.terms));
    let unsigned = redriven.judge(&redriven.trust([]), group(), NOW_MS);
    assert_eq!(unsigned.unwrap_err().redriven(), None);
    let mut elsewhere = Redriven::new();
    elsewhere.terms.origin_partition = 4;
    let elsewhere = elsewhere.judge(&trust, group(), NOW_MS).unwrap_err();
    assert_eq!(elsewhere.redriven(), None, "whose origin is another's");
}

#[test]
fn a_null_value_redriven_for_another_group_is_skipped() {
    let redriven = Redriven::new();
    let trust = redriven.trust([Right::Redrive]);
    let header = redriven
        .terms
        .sign(&redriven.redriver, AUDIENCE, TOPIC, None)
        .unwrap()
        .to_bytes();
    let headers = [(headers::REDRIVE, Some(header.as_slice()))];
    let record = RecordView {
        value: None,
        ..redriven.produced.record(&headers)
    };
    let judge = |whom| {
        let verifier = Verifier::new(AUDIENCE).redrive_for(whom);
        verifier
            .verify(&trust, Kind::Policy, &record, None)
            .unwrap_err()
    };
    assert_eq!(
        judge(RedriveFor::NoGroup).disposition(),
        Disposition::OtherGroup
    );
    let ours = judge(group());
    assert_eq!(ours.disposition(), Disposition::Decode);
    assert_eq!(ours.redriven(), Some(&redriven.terms));
}

#[test]
fn a_redrive_header_twice_or_broken_is_invalid() {
    let redriven = Redriven::new();
    let trust = redriven.trust([Right::Redrive]);
    let good = redriven
        .terms
        .sign(
            &redriven.redriver,
            AUDIENCE,
            TOPIC,
            Some(&redriven.produced.value),
        )
        .unwrap()
        .to_bytes();
    for headers in [
        vec![(headers::REDRIVE, Some(good.as_slice())); 2],
        vec![(headers::REDRIVE, None)],
        vec![(headers::REDRIVE, Some(&good[1..]))],
    ] {
        let verifier = Verifier::new(AUDIENCE).redrive_for(RedriveFor::NoGroup);
        let judged = verifier.verify(
            &trust,
            Kind::Policy,
            &redriven.produced.record(&headers),
            None,
        );
        assert_eq!(disposition(judged), Disposition::RedriveInvalid);
    }
}
