//! For arbitrary messages: what is built, signed and encoded verifies; one flipped bit does not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use cybermesh_contracts::Kind;
use cybermesh_contracts::message::{
    Action, AnomalyDraft, CommitDraft, CustodyEntry, Draft, EvidenceDraft, EvidenceRequestDraft,
    PolicyDraft, PolicyUpdateDraft, ReputationDraft, RequestType, RuleType,
};
use cybermesh_contracts::trust::{EnvelopeRule, TrustStore};
use cybermesh_contracts::verify::{EnvelopeState, Verifier};
use proptest::prelude::*;
use proptest::sample::select;
use support::{Produced, key, store};

fn uuid() -> impl Strategy<Value = String> {
    any::<u128>().prop_map(|bits| {
        let digits = format!("{bits:032x}");
        let variant = ["8", "9", "a", "b"][usize::from(bits.to_be_bytes()[15] & 3)];
        format!(
            "{}-{}-4{}-{variant}{}-{}",
            &digits[..8],
            &digits[8..12],
            &digits[13..16],
            &digits[17..20],
            &digits[20..]
        )
    })
}

fn object() -> impl Strategy<Value = String> {
    proptest::collection::btree_map("[a-h]{1,6}\\PC?", "\\PC{0,8}", 0..6)
        .prop_map(|members| serde_json::to_string(&members).unwrap())
}

fn name() -> impl Strategy<Value = String> {
    "\\PC{1,40}"
}

fn anomaly() -> impl Strategy<Value = Draft> {
    (
        uuid(),
        name(),
        name(),
        1_u32..=10,
        0.0..=1.0_f64,
        object(),
        name(),
    )
        .prop_map(
            |(id, anomaly_type, source, severity, confidence, payload, version)| {
                AnomalyDraft::builder(id)
                    .anomaly_type(anomaly_type)
                    .source(source)
                    .severity(severity)
                    .confidence(confidence)
                    .payload(payload)
                    .model_version(version)
                    .build()
                    .unwrap()
                    .into()
            },
        )
}

fn evidence() -> impl Strategy<Value = Draft> {
    let custody = (
        any::<[u8; 32]>(),
        any::<[u8; 32]>(),
        1..i64::MAX,
        any::<[u8; 32]>(),
    )
        .prop_map(|(ref_hash, actor_id, ts_s, half)| CustodyEntry {
            ref_hash,
            actor_id,
            ts_s,
            signature: [half, half].concat().try_into().unwrap(),
        });
    let refs = proptest::collection::vec(any::<[u8; 32]>(), 0..20);
    let custody = proptest::collection::vec(custody, 1..6);
    let proof = proptest::collection::vec(any::<u8>(), 0..300);
    (uuid(), name(), refs, proof, custody).prop_map(|(id, evidence_type, refs, proof, custody)| {
        let builder = EvidenceDraft::builder(id)
            .evidence_type(evidence_type)
            .proof(proof);
        let builder = refs
            .into_iter()
            .fold(builder, |builder, hash| builder.reference(hash));
        let builder = custody
            .into_iter()
            .fold(builder, |builder, entry| builder.custody(entry));
        builder.build().unwrap().into()
    })
}

fn policy() -> impl Strategy<Value = Draft> {
    (
        uuid(),
        name(),
        name(),
        object(),
        1..=u128::MAX,
        0..=i64::MAX.cast_unsigned(),
    )
        .prop_map(|(id, action, rule, params, trace, time_ms)| {
            PolicyDraft::builder(id)
                .action(action)
                .rule(rule)
                .params(params)
                .trace_id(trace.to_be_bytes())
                .event_time_ms(time_ms)
                .build()
                .unwrap()
                .into()
        })
}

fn commit() -> impl Strategy<Value = Draft> {
    let ids = proptest::collection::vec(uuid(), 0..20);
    let counts = (0..=u32::MAX / 3, 0..=u32::MAX / 3, 0..=u32::MAX / 3);
    (
        0..=i64::MAX,
        any::<[u8; 32]>(),
        any::<[u8; 32]>(),
        counts,
        ids,
    )
        .prop_map(
            |(height, block_hash, state_root, (anomalies, evidence, policies), ids)| {
                let builder = CommitDraft::builder(height, block_hash, state_root)
                    .tx_count(anomalies + evidence + policies)
                    .anomaly_count(anomalies)
                    .evidence_count(evidence)
                    .policy_count(policies);
                let builder = ids
                    .into_iter()
                    .fold(builder, |builder, id| builder.anomaly_id(id));
                builder.build().unwrap().into()
            },
        )
}

fn reputation() -> impl Strategy<Value = Draft> {
    let flags = any::<(bool, bool, bool)>();
    let words = ("\\PC{0,30}", "\\PC{0,30}");
    (
        uuid(),
        select(&Kind::NODE[..]),
        any::<[u8; 32]>(),
        -100..=100,
        0_u32..=10,
        any::<i64>(),
        flags,
        words,
    )
        .prop_map(
            |(id, kind, producer, score, severity, height, flags, words)| {
                ReputationDraft::builder(id, kind, producer)
                    .score(score)
                    .incident_severity(severity)
                    .block_height(height)
                    .confirmed(flags.0)
                    .false_positive(flags.1)
                    .prevented_attack(flags.2)
                    .reason(words.0)
                    .analyst_notes(words.1)
                    .build()
                    .unwrap()
                    .into()
            },
        )
}

fn policy_update() -> impl Strategy<Value = Draft> {
    let heights =
        (0..i64::MAX).prop_flat_map(|from| (Just(from), prop_oneof![Just(0), from + 1..=i64::MAX]));
    (
        uuid(),
        select(Action::ALL),
        select(RuleType::ALL),
        object(),
        any::<bool>(),
        heights,
    )
        .prop_map(|(id, action, rule_type, rule, ack, (from, until))| {
            PolicyUpdateDraft::builder(id.clone(), action, rule_type, rule)
                .requires_ack(ack)
                .rollback_policy_id(id)
                .effective_height(from)
                .expiration_height(until)
                .build()
                .unwrap()
                .into()
        })
}

fn evidence_request() -> impl Strategy<Value = Draft> {
    let types = proptest::collection::vec("\\PC{0,10}", 0..6);
    let data = proptest::collection::vec(any::<u8>(), 0..100);
    (
        uuid(),
        select(RequestType::ALL),
        1_u32..=10,
        types,
        data,
        any::<(bool, i64, i64)>(),
    )
        .prop_map(
            |(id, request_type, score, types, data, (accepted, deadline, height))| {
                let builder = EvidenceRequestDraft::builder(id, request_type)
                    .evidence_quality_score(score)
                    .challenge_data(data)
                    .evidence_accepted(accepted)
                    .deadline_ts_s(deadline)
                    .block_height(height);
                let builder = types
                    .into_iter()
                    .fold(builder, |builder, name| builder.requested_type(name));
                builder.build().unwrap().into()
            },
        )
}

fn any_draft() -> impl Strategy<Value = Draft> {
    prop_oneof![
        anomaly(),
        evidence(),
        policy(),
        commit(),
        reputation(),
        policy_update(),
        evidence_request()
    ]
}

fn trust(rule: EnvelopeRule) -> TrustStore {
    store(key().with_envelope(rule))
}

fn flip(bytes: &mut [u8], bit: proptest::sample::Index) {
    let bit = bit.index(bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_built_signed_and_encoded_verifies(draft in any_draft()) {
        let produced = Produced::of(&draft);
        let verified = produced.judge(draft.kind(), &trust(EnvelopeRule::Required)).unwrap();
        prop_assert_eq!(verified.envelope(), EnvelopeState::Valid);
        prop_assert_eq!(verified.message().to_wire(), produced.value.clone());
        prop_assert_eq!(Draft::from_proto(draft.kind(), &produced.value).unwrap(), draft.clone());
        prop_assert_eq!(Draft::from_proto(draft.kind(), &draft.to_proto()).unwrap(), draft);
    }

    #[test]
    fn any_flipped_bit_of_value_key_or_envelope_is_refused_under_the_envelope(
        draft in any_draft(),
        bit in any::<proptest::sample::Index>(),
        part in 0..3,
    ) {
        let mut produced = Produced::of(&draft);
        match part {
            0 => flip(&mut produced.value, bit),
            1 => flip(&mut produced.key, bit),
            _ => flip(&mut produced.envelope, bit),
        }
        prop_assert!(produced.judge(draft.kind(), &trust(EnvelopeRule::Required)).is_err());
    }

    #[test]
    fn without_an_envelope_a_flipped_bit_changes_nothing_that_is_signed(
        draft in any_draft(),
        bit in any::<proptest::sample::Index>(),
    ) {
        let mut produced = Produced::of(&draft);
        let before = produced.judge(draft.kind(), &trust(EnvelopeRule::Off)).unwrap();
        flip(&mut produced.value, bit);
        if let Ok(after) = produced.judge(draft.kind(), &trust(EnvelopeRule::Off)) {
            prop_assert_eq!(after.replay_claims(), before.replay_claims());
            if draft.kind().is_control() {
                // Every known field is signed, so the bit was in how it is written.
                prop_assert_eq!(after.message(), before.message());
            }
        }
    }

    #[test]
    fn any_flipped_bit_of_what_is_signed_is_refused(
        draft in any_draft(),
        bit in any::<proptest::sample::Index>(),
    ) {
        use cybermesh_contracts::sign::{Signer, VerifyingKey};
        let signer = support::signer();
        let mut input = draft.signing_input(signer.public_key(), support::stamp()).unwrap();
        let signature = signer.sign(&input).unwrap();
        let key = VerifyingKey::try_from(signer.public_key()).unwrap();
        prop_assert!(key.verifies(&input, &signature));
        flip(&mut input, bit);
        prop_assert!(!key.verifies(&input, &signature));
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(
        value in proptest::collection::vec(any::<u8>(), 0..400),
        header in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let produced = Produced { key: Vec::new(), value, envelope: header };
        for kind in Kind::ALL {
            prop_assert!(produced.judge(kind, &trust(EnvelopeRule::Required)).is_err());
            let _ = Draft::from_proto(kind, &produced.value);
        }
        let text = String::from_utf8_lossy(&produced.value);
        let _ = TrustStore::from_toml(&text, &mut |_| Err(String::new()));
        let _ = TrustStore::from_registry(&text, &mut |_| Err(String::new()));
    }

    #[test]
    fn garbled_messages_are_judged_without_a_panic(
        draft in any_draft(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut produced = Produced::of(&draft);
        for (place, byte) in edits {
            let place = place.index(produced.value.len());
            produced.value[place] = byte;
        }
        produced.value.truncate(cut.index(produced.value.len()) + 1);
        let _ = produced.judge(draft.kind(), &trust(EnvelopeRule::Off));
        let headers = [("cm-redrive", Some(produced.envelope.as_slice()))];
        let record = produced.record(&headers);
        let judged = Verifier::new("").verify(&trust(EnvelopeRule::Off), draft.kind(), &record, None);
        prop_assert!(judged.is_err());
    }
}
