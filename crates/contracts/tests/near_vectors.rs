//! Messages at the edge of what is accepted, and wires that other encoders may write.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use cybermesh_contracts::message::{
    Action, AnomalyDraft, CommitDraft, Draft, EvidenceDraft, EvidenceRequestDraft, Message,
    PolicyDraft, PolicyUpdateDraft, ReputationDraft, RuleType,
};
use cybermesh_contracts::proto::{
    AnomalyEvent, ChainOfCustodyEntry, CommitEvent, EvidenceEvent, EvidenceRequestEvent,
    PolicyEvent, PolicyUpdateEvent, ReputationEvent,
};
use cybermesh_contracts::sign::{Signature, Signer, VerifyingKey};
use cybermesh_contracts::trust::EnvelopeRule;
use cybermesh_contracts::verify::{Verified, Verifier};
use cybermesh_contracts::{Disposition, Kind, RecordView, Rejection};
use sha2::{Digest, Sha256};
use support::{ID, TOPIC, draft, key, signer, stamp, store};

/// Judges a value by its message's signature alone.
fn judge(kind: Kind, value: &[u8]) -> Result<Verified<Message>, Rejection> {
    let trust = store(key().with_envelope(EnvelopeRule::Off));
    Verifier::new("").verify(&trust, kind, &RecordView::new(TOPIC, Some(value)), None)
}

fn outcome(kind: Kind, value: &[u8]) -> Result<(), Disposition> {
    judge(kind, value)
        .map(drop)
        .map_err(|rejection| rejection.disposition())
}

fn signed(draft: &Draft) -> Vec<u8> {
    draft.sign(&signer(), stamp()).unwrap().value
}

const CONTRACT: Result<(), Disposition> = Err(Disposition::Contract);
const DECODE: Result<(), Disposition> = Err(Disposition::Decode);

/// Signs an event changed in one respect, and judges it.
macro_rules! changed {
    ($kind:ident, $draft:ident, $event:ident, $change:expr) => {{
        let Draft::$kind(plain) = draft(Kind::$kind) else {
            panic!("another kind");
        };
        let mut event: $event = plain.event().clone();
        let change: fn(&mut $event) = $change;
        change(&mut event);
        let value = signed(&$draft::as_it_stands(event).into());
        outcome(Kind::$kind, &value)
    }};
}

fn anomaly(change: fn(&mut AnomalyEvent)) -> Result<(), Disposition> {
    changed!(Anomaly, AnomalyDraft, AnomalyEvent, change)
}

fn evidence(change: fn(&mut EvidenceEvent)) -> Result<(), Disposition> {
    changed!(Evidence, EvidenceDraft, EvidenceEvent, change)
}

fn policy(change: fn(&mut PolicyEvent)) -> Result<(), Disposition> {
    changed!(Policy, PolicyDraft, PolicyEvent, change)
}

fn commit(change: fn(&mut CommitEvent)) -> Result<(), Disposition> {
    changed!(Commit, CommitDraft, CommitEvent, change)
}

fn reputation(change: fn(&mut ReputationEvent)) -> Result<(), Disposition> {
    changed!(Reputation, ReputationDraft, ReputationEvent, change)
}

fn policy_update(change: fn(&mut PolicyUpdateEvent)) -> Result<(), Disposition> {
    changed!(PolicyUpdate, PolicyUpdateDraft, PolicyUpdateEvent, change)
}

fn evidence_request(change: fn(&mut EvidenceRequestEvent)) -> Result<(), Disposition> {
    changed!(
        EvidenceRequest,
        EvidenceRequestDraft,
        EvidenceRequestEvent,
        change
    )
}

fn payload_of(bytes: usize) -> Vec<u8> {
    let head = r#"{"severity":8,"confidence":0.5,"pad":""#;
    let pad = bytes - head.len() - 2;
    format!("{head}{}\"}}", "x".repeat(pad)).into_bytes()
}

#[test]
fn anomalies_are_accepted_up_to_their_bounds() {
    assert_eq!(anomaly(|e| e.id = "x".repeat(128)), Ok(()));
    assert_eq!(anomaly(|e| e.id = "x".repeat(129)), CONTRACT);
    assert_eq!(anomaly(|e| e.id.clear()), CONTRACT);
    assert_eq!(anomaly(|e| e.r#type = "é".repeat(128)), Ok(()));
    assert_eq!(anomaly(|e| e.r#type = "é".repeat(129)), CONTRACT);
    assert_eq!(anomaly(|e| e.r#type.clear()), CONTRACT);
    assert_eq!(anomaly(|e| e.source = "x".repeat(257)), CONTRACT);
    assert_eq!(anomaly(|e| e.source.clear()), CONTRACT);
    assert_eq!(anomaly(|e| e.model_version = "x".repeat(256)), Ok(()));
    assert_eq!(anomaly(|e| e.model_version = "x".repeat(257)), CONTRACT);
    assert_eq!(anomaly(|e| e.model_version.clear()), CONTRACT);
    assert_eq!(anomaly(|e| e.payload = payload_of(524_288)), Ok(()));
    assert_eq!(anomaly(|e| e.payload = payload_of(524_289)), CONTRACT);
    for severity in [0, 7, 11, 264, u32::MAX] {
        let Draft::Anomaly(plain) = draft(Kind::Anomaly) else {
            panic!("another kind");
        };
        let mut event = plain.event().clone();
        event.severity = severity;
        let value = signed(&AnomalyDraft::as_it_stands(event).into());
        assert_eq!(outcome(Kind::Anomaly, &value), CONTRACT, "{severity}");
    }
    assert_eq!(anomaly(|e| e.confidence = f64::NAN), CONTRACT);
    assert_eq!(anomaly(|e| e.confidence = f64::INFINITY), CONTRACT);
    assert_eq!(anomaly(|e| e.confidence = -f64::MIN_POSITIVE), CONTRACT);
    assert_eq!(anomaly(|e| e.confidence = 1.000_000_000_1), CONTRACT);
    assert_eq!(anomaly(|e| e.confidence = 0.500_000_9), Ok(()));
    assert_eq!(anomaly(|e| e.confidence = 0.500_002), CONTRACT);
}

#[test]
fn severity_and_confidence_reach_both_ends() {
    for (severity, confidence) in [(1, 0.0), (10, 1.0), (5, 1e-300)] {
        let draft = AnomalyDraft::builder(ID)
            .anomaly_type("t")
            .source("s")
            .severity(severity)
            .confidence(confidence)
            .model_version("m")
            .build()
            .unwrap();
        assert_eq!(outcome(Kind::Anomaly, &signed(&draft.into())), Ok(()));
    }
}

#[test]
fn evidence_is_accepted_up_to_its_bounds() {
    assert_eq!(evidence(|e| e.refs = vec![vec![1; 32]; 1000]), Ok(()));
    assert_eq!(evidence(|e| e.refs = vec![vec![1; 32]; 1001]), CONTRACT);
    assert_eq!(evidence(|e| e.refs.clear()), Ok(()));
    assert_eq!(evidence(|e| e.refs = vec![vec![1; 31]]), CONTRACT);
    assert_eq!(evidence(|e| e.refs = vec![vec![]]), CONTRACT);
    assert_eq!(evidence(|e| e.proof_blob = vec![0; 262_144]), Ok(()));
    assert_eq!(evidence(|e| e.proof_blob = vec![0; 262_145]), CONTRACT);
    assert_eq!(evidence(|e| e.proof_blob.clear()), Ok(()));
    assert_eq!(evidence(|e| e.coc.clear()), CONTRACT);
    assert_eq!(evidence(|e| e.coc = vec![e.coc[0].clone(); 64]), Ok(()));
    assert_eq!(evidence(|e| e.coc = vec![e.coc[0].clone(); 65]), CONTRACT);
    assert_eq!(
        evidence(|e| e.coc.push(ChainOfCustodyEntry::default())),
        CONTRACT
    );
    assert_eq!(evidence(|e| e.coc[0].ts = 0), CONTRACT);
    assert_eq!(evidence(|e| e.coc[0].ts = -1), CONTRACT);
    assert_eq!(evidence(|e| e.coc[0].ref_hash.push(0)), CONTRACT);
    assert_eq!(evidence(|e| e.coc[0].actor_id.truncate(31)), CONTRACT);
    assert_eq!(evidence(|e| e.coc[0].signature.truncate(63)), CONTRACT);
    assert_eq!(evidence(|e| e.evidence_type = "x".repeat(257)), CONTRACT);
    assert_eq!(evidence(|e| e.id.clear()), CONTRACT);
}

#[test]
fn policies_are_accepted_up_to_their_bounds() {
    assert_eq!(
        policy(|e| e.params = vec![0xff; 524_288]),
        Ok(()),
        "params are any bytes"
    );
    assert_eq!(policy(|e| e.params = vec![0; 524_289]), CONTRACT);
    assert_eq!(policy(|e| e.params.clear()), Ok(()));
    assert_eq!(policy(|e| e.action = "x".repeat(256)), Ok(()));
    assert_eq!(policy(|e| e.action.clear()), CONTRACT);
    assert_eq!(policy(|e| e.rule = "x".repeat(257)), CONTRACT);
    assert_eq!(policy(|e| e.id = "x".repeat(129)), CONTRACT);
}

#[test]
fn commits_are_accepted_up_to_their_bounds() {
    assert_eq!(commit(|e| e.height = 0), Ok(()));
    assert_eq!(commit(|e| e.height = i64::MAX), Ok(()));
    assert_eq!(commit(|e| e.height = -1), CONTRACT);
    assert_eq!(commit(|e| e.block_hash.push(0)), CONTRACT);
    assert_eq!(commit(|e| e.state_root.clear()), CONTRACT);
    assert_eq!(commit(|e| e.tx_count = 1), Ok(()));
    assert_eq!(commit(|e| e.tx_count = 0), CONTRACT);
    assert_eq!(
        commit(|e| {
            (e.anomaly_count, e.evidence_count) = (1, u32::MAX);
            e.tx_count = 0;
        }),
        CONTRACT,
        "the sum must not wrap"
    );
    assert_eq!(
        commit(|e| e.anomaly_ids = vec![ID.to_uppercase(); 10_000]),
        Ok(())
    );
    assert_eq!(
        commit(|e| e.anomaly_ids = vec![ID.to_owned(); 10_001]),
        CONTRACT
    );
    assert_eq!(commit(|e| e.anomaly_ids.push(String::new())), CONTRACT);
    assert_eq!(
        commit(|e| e.anomaly_ids.push(ID.replace('-', ""))),
        CONTRACT
    );
    assert_eq!(
        commit(|e| e.anomaly_ids.push(ID.replace("-4f6b", "-1f6b"))),
        CONTRACT
    );
}

#[test]
fn reputations_are_accepted_up_to_their_bounds() {
    assert_eq!(reputation(|e| e.score = -100), Ok(()));
    assert_eq!(reputation(|e| e.score = 100), Ok(()));
    assert_eq!(reputation(|e| e.score = -101), CONTRACT);
    assert_eq!(reputation(|e| e.score = 101), CONTRACT);
    assert_eq!(reputation(|e| e.score = i32::MIN), CONTRACT);
    assert_eq!(reputation(|e| e.incident_severity = 10), Ok(()));
    assert_eq!(reputation(|e| e.incident_severity = 11), CONTRACT);
    assert_eq!(reputation(|e| e.message_type = "evidence".into()), Ok(()));
    assert_eq!(reputation(|e| e.message_type = "policy".into()), Ok(()));
    assert_eq!(reputation(|e| e.message_type = "commit".into()), CONTRACT);
    assert_eq!(reputation(|e| e.message_type = "Anomaly".into()), CONTRACT);
    assert_eq!(reputation(|e| e.message_type.clear()), CONTRACT);
    assert_eq!(reputation(|e| e.ai_producer_id.truncate(31)), CONTRACT);
    assert_eq!(reputation(|e| e.ai_message_id.clear()), Ok(()));
    assert_eq!(reputation(|e| e.block_height = -1), Ok(()));
}

#[test]
fn policy_updates_are_accepted_up_to_their_bounds() {
    fn with_rule(event: &mut PolicyUpdateEvent, rule: &[u8]) {
        event.rule_data = rule.to_vec();
        event.rule_hash = Sha256::digest(rule).to_vec();
    }
    assert_eq!(policy_update(|e| with_rule(e, b"{}")), Ok(()));
    assert_eq!(policy_update(|e| with_rule(e, b"")), CONTRACT);
    assert_eq!(policy_update(|e| with_rule(e, b"[]")), CONTRACT);
    assert_eq!(policy_update(|e| with_rule(e, b"{\"a\":NaN}")), CONTRACT);
    assert_eq!(
        policy_update(|e| with_rule(e, b"{\"a\":1,\"a\":1}")),
        CONTRACT
    );
    assert_eq!(
        policy_update(|e| with_rule(e, &payload_of(524_288))),
        Ok(())
    );
    assert_eq!(
        policy_update(|e| with_rule(e, &payload_of(524_289))),
        CONTRACT
    );
    assert_eq!(policy_update(|e| e.rule_hash[0] ^= 1), CONTRACT);
    assert_eq!(policy_update(|e| e.rule_hash.truncate(31)), CONTRACT);
    assert_eq!(policy_update(|e| e.policy_id = "x".repeat(128)), Ok(()));
    assert_eq!(policy_update(|e| e.policy_id = "x".repeat(129)), CONTRACT);
    assert_eq!(policy_update(|e| e.policy_id.clear()), CONTRACT);
    assert_eq!(
        policy_update(|e| e.rollback_policy_id = "x".repeat(128)),
        Ok(())
    );
    assert_eq!(
        policy_update(|e| e.rollback_policy_id = "x".repeat(129)),
        CONTRACT
    );
    assert_eq!(policy_update(|e| e.expiration_height = 0), Ok(()));
    assert_eq!(
        policy_update(|e| e.expiration_height = 1),
        CONTRACT,
        "not above effective"
    );
    assert_eq!(policy_update(|e| e.expiration_height = -1), CONTRACT);
    assert_eq!(policy_update(|e| e.effective_height = -1), CONTRACT);
    assert_eq!(policy_update(|e| e.effective_height = 0), Ok(()));
    assert_eq!(policy_update(|e| e.action = "ADD".into()), CONTRACT);
    assert_eq!(
        policy_update(|e| e.rule_type = "rate limit".into()),
        CONTRACT
    );
}

#[test]
fn every_action_and_rule_type_is_accepted() {
    let names: Vec<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
    assert_eq!(
        names.join(" "),
        "add apply approve remove update enable disable drop reject rate_limit"
    );
    let names: Vec<_> = RuleType::ALL.iter().map(|rule| rule.as_str()).collect();
    assert_eq!(
        names.join(" "),
        "threshold blacklist whitelist feature_flag rate_limit model_param block"
    );
    for action in Action::ALL {
        for rule_type in RuleType::ALL {
            let draft = PolicyUpdateDraft::builder(ID, *action, *rule_type, *b"{}")
                .build()
                .unwrap();
            assert_eq!(outcome(Kind::PolicyUpdate, &signed(&draft.into())), Ok(()));
        }
    }
}

#[test]
fn evidence_requests_are_accepted_up_to_their_bounds() {
    assert_eq!(evidence_request(|e| e.evidence_quality_score = 0), CONTRACT);
    assert_eq!(evidence_request(|e| e.evidence_quality_score = 1), Ok(()));
    assert_eq!(evidence_request(|e| e.evidence_quality_score = 10), Ok(()));
    assert_eq!(
        evidence_request(|e| e.evidence_quality_score = 11),
        CONTRACT
    );
    assert_eq!(
        evidence_request(|e| e.request_id = "x".repeat(129)),
        CONTRACT
    );
    assert_eq!(evidence_request(|e| e.request_id.clear()), CONTRACT);
    assert_eq!(
        evidence_request(|e| e.request_type = "other".into()),
        CONTRACT
    );
    assert_eq!(
        evidence_request(|e| e.requested_types = vec![String::new(); 3]),
        Ok(())
    );
    for name in ["request_additional", "request_reprocess", "challenge"] {
        for (score, accepted) in [(0, true), (10, true), (11, false)] {
            let event = EvidenceRequestEvent {
                request_id: ID.to_owned(),
                request_type: name.to_owned(),
                evidence_quality_score: score,
                ..EvidenceRequestEvent::default()
            };
            let value = signed(&EvidenceRequestDraft::as_it_stands(event).into());
            assert_eq!(
                outcome(Kind::EvidenceRequest, &value).is_ok(),
                accepted,
                "{name} {score}"
            );
        }
    }
}

// What stands on the wire.

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

fn tag(field: u64, wire_type: u64) -> Vec<u8> {
    varint(field << 3 | wire_type)
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [tag(field, 0), varint(value)].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [tag(field, 2), varint(value.len() as u64), value.to_vec()].concat()
}

/// Each field of a wire by itself: its number, and its bytes with the tag.
fn split(wire: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn read(wire: &[u8], at: &mut usize) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = wire[*at];
            *at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
        }
        value
    }
    let (mut fields, mut at) = (Vec::new(), 0);
    while at < wire.len() {
        let start = at;
        let key = read(wire, &mut at);
        match key & 7 {
            0 => drop(read(wire, &mut at)),
            1 => at += 8,
            2 => {
                let length = read(wire, &mut at);
                at += usize::try_from(length).unwrap();
            }
            other => panic!("wire type {other}"),
        }
        fields.push((key >> 3, wire[start..at].to_vec()));
    }
    fields
}

/// The wire with one field put in another's place.
fn replaced(wire: &[u8], field: u64, with: &[u8]) -> Vec<u8> {
    let mut found = false;
    let parts = split(wire).into_iter().map(|(number, part)| {
        if number == field {
            found = true;
            with.to_vec()
        } else {
            part
        }
    });
    let joined = parts.collect::<Vec<_>>().concat();
    assert!(found, "no field {field}");
    joined
}

#[test]
fn unknown_fields_are_dropped_and_change_nothing() {
    let unknown = [
        number(99, u64::MAX),
        bytes(100, b"surprise"),
        [tag(101, 1), vec![0; 8]].concat(),
        [tag(102, 5), vec![0; 4]].concat(),
        [tag(103, 3), number(1, 1), tag(103, 4)].concat(),
        number(536_870_911, 0),
    ];
    for kind in Kind::ALL {
        let wire = signed(&draft(kind));
        let plain = judge(kind, &wire).unwrap();
        for extra in &unknown {
            for value in [
                [wire.as_slice(), extra].concat(),
                [extra, wire.as_slice()].concat(),
            ] {
                let verified = judge(kind, &value).unwrap();
                assert_eq!(verified.message().to_wire(), wire, "{kind}");
                assert_eq!(verified.replay_claims(), plain.replay_claims());
            }
        }
    }
}

#[test]
fn of_a_singular_field_given_twice_the_last_counts() {
    for kind in Kind::ALL {
        let wire = signed(&draft(kind));
        for (field, part) in split(&wire) {
            let repeated = matches!(
                (kind, field),
                (Kind::Evidence, 3 | 5) | (Kind::Commit, 13) | (Kind::EvidenceRequest, 5)
            );
            if repeated {
                continue;
            }
            let earlier = match part[0] & 7 {
                0 => number(field, 1),
                1 => [tag(field, 1), vec![7; 8]].concat(),
                _ => bytes(field, b"x"),
            };
            let value = [earlier, wire.clone()].concat();
            let verified = judge(kind, &value)
                .unwrap_or_else(|rejection| panic!("{kind} {field}: {rejection}"));
            assert_eq!(verified.message().to_wire(), wire);
        }
    }
}

#[test]
fn fields_in_any_order_and_explicit_defaults_are_re_encoded_before_the_signature_is_checked() {
    for kind in Kind::ALL {
        let wire = signed(&draft(kind));
        let mut parts = split(&wire);
        parts.reverse();
        let reversed: Vec<u8> = parts.into_iter().flat_map(|(_, part)| part).collect();
        assert_eq!(
            judge(kind, &reversed).unwrap().message().to_wire(),
            wire,
            "{kind}"
        );
    }
    let wire = signed(&draft(Kind::Commit));
    let explicit = [wire.as_slice(), &number(6, 0), &number(7, 0)].concat();
    assert_eq!(
        judge(Kind::Commit, &explicit).unwrap().message().to_wire(),
        wire
    );
}

#[test]
fn varints_longer_than_they_need_be_are_read() {
    let wire = signed(&draft(Kind::Commit));
    let padded = replaced(
        &wire,
        1,
        &[&tag(1, 0)[..], &[0xaa, 0x80, 0x80, 0x00]].concat(),
    );
    assert_eq!(
        judge(Kind::Commit, &padded).unwrap().message().to_wire(),
        wire
    );
    let eleven = replaced(
        &wire,
        1,
        &[&tag(1, 0)[..], &[0xaa], &[0x80; 9], &[0x00]].concat(),
    );
    assert_eq!(outcome(Kind::Commit, &eleven), DECODE);
}

#[test]
fn uint32_fields_take_the_low_32_bits_and_264_stays_264() {
    let wire = signed(&draft(Kind::Anomaly));
    let wide = replaced(&wire, 4, &number(4, (1 << 32) + 8));
    assert_eq!(
        judge(Kind::Anomaly, &wide).unwrap().message().to_wire(),
        wire
    );
    assert_eq!(
        outcome(Kind::Anomaly, &replaced(&wire, 4, &number(4, 264))),
        CONTRACT
    );
    let wire = signed(&draft(Kind::Commit));
    let wide = replaced(&wire, 4, &number(4, (7 << 32) + 2));
    assert_eq!(
        judge(Kind::Commit, &wide).unwrap().message().to_wire(),
        wire
    );
    let wire = signed(&draft(Kind::Reputation));
    let score_in_5_bytes = replaced(&wire, 4, &number(4, u64::from((-75_i32).cast_unsigned())));
    assert_eq!(
        judge(Kind::Reputation, &score_in_5_bytes)
            .unwrap()
            .message()
            .to_wire(),
        wire
    );
}

#[test]
fn any_number_above_zero_is_a_true_bool() {
    let draft =
        EvidenceRequestDraft::builder(ID, cybermesh_contracts::message::RequestType::Challenge)
            .evidence_accepted(true)
            .build()
            .unwrap();
    let wire = signed(&draft.into());
    let odd = replaced(&wire, 8, &number(8, 2));
    assert_eq!(
        judge(Kind::EvidenceRequest, &odd)
            .unwrap()
            .message()
            .to_wire(),
        wire
    );
}

#[test]
fn a_known_field_of_another_wire_type_is_no_message() {
    let fields = [
        (Kind::Anomaly, 14),
        (Kind::Evidence, 12),
        (Kind::Policy, 11),
        (Kind::Commit, 13),
        (Kind::Reputation, 16),
        (Kind::PolicyUpdate, 14),
        (Kind::EvidenceRequest, 18),
    ];
    for (kind, last) in fields {
        let wire = signed(&draft(kind));
        for field in 1..=last {
            let wrong = [wire.as_slice(), &tag(field, 5), &[0; 4]].concat();
            assert_eq!(outcome(kind, &wrong), DECODE, "{kind} {field} as fixed32");
            let group = [wire.as_slice(), &tag(field, 3), &tag(field, 4)].concat();
            assert_eq!(outcome(kind, &group), DECODE, "{kind} {field} as group");
        }
    }
    let packed = replaced(&signed(&draft(Kind::Commit)), 4, &bytes(4, &[2]));
    assert_eq!(outcome(Kind::Commit, &packed), DECODE);
    let packed_empty = replaced(&signed(&draft(Kind::Commit)), 4, &bytes(4, &[]));
    assert_eq!(outcome(Kind::Commit, &packed_empty), DECODE);
}

#[test]
fn strings_are_utf_8() {
    let strings: [(Kind, &[u64]); 7] = [
        (Kind::Anomaly, &[1, 2, 3, 9, 14]),
        (Kind::Evidence, &[1, 2, 12]),
        (Kind::Policy, &[1, 2, 3, 11]),
        (Kind::Commit, &[12, 13]),
        (Kind::Reputation, &[1, 3, 5, 8, 16]),
        (Kind::PolicyUpdate, &[1, 2, 3, 7, 14]),
        (Kind::EvidenceRequest, &[1, 2, 3, 4, 5, 6, 9, 11, 18]),
    ];
    for (kind, fields) in strings {
        let wire = signed(&draft(kind));
        for field in fields {
            for text in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"abc\xe2\x82"] {
                let value = [wire.as_slice(), &bytes(*field, text)].concat();
                assert_eq!(outcome(kind, &value), DECODE, "{kind} {field}");
            }
        }
    }
}

#[test]
fn too_many_entries_of_what_is_then_no_protobuf_is_told_as_undecodable() {
    let wire = signed(&draft(Kind::Evidence));
    let many: Vec<u8> = bytes(3, b"").repeat(300_000);
    let value = [wire.as_slice(), &many].concat();
    assert_eq!(outcome(Kind::Evidence, &value), CONTRACT);
    let cut_short = [value.as_slice(), &tag(1, 2), &[9]].concat();
    assert_eq!(outcome(Kind::Evidence, &cut_short), DECODE);
    let custody: Vec<u8> = bytes(5, b"").repeat(300_000);
    assert_eq!(
        outcome(Kind::Evidence, &[wire.as_slice(), &custody].concat()),
        CONTRACT
    );
    let wire = signed(&draft(Kind::Commit));
    let ids: Vec<u8> = bytes(13, b"").repeat(300_000);
    assert_eq!(
        outcome(Kind::Commit, &[wire.as_slice(), &ids].concat()),
        CONTRACT
    );
}

#[test]
fn what_is_cut_off_anywhere_is_refused() {
    for kind in Kind::ALL {
        let wire = signed(&draft(kind));
        for end in 0..wire.len() {
            assert!(outcome(kind, &wire[..end]).is_err(), "{kind} {end}");
        }
    }
}

#[test]
fn times_at_or_below_zero_are_refused() {
    let fields = [
        (Kind::Anomaly, 6),
        (Kind::Evidence, 6),
        (Kind::Policy, 5),
        (Kind::Commit, 8),
        (Kind::Reputation, 11),
        (Kind::PolicyUpdate, 8),
        (Kind::EvidenceRequest, 13),
    ];
    for (kind, field) in fields {
        let wire = signed(&draft(kind));
        for time in [0, u64::MAX, 1 << 63] {
            let value = replaced(&wire, field, &number(field, time));
            assert_eq!(outcome(kind, &value), CONTRACT, "{kind} {time}");
        }
        let far = replaced(&wire, field, &number(field, i64::MAX.cast_unsigned()));
        assert_eq!(outcome(kind, &far), Err(Disposition::SignatureInvalid));
    }
}

/// The order of the group, little-endian (RFC 8032).
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn signatures_that_lenient_verifiers_take_are_refused() {
    let wire = signed(&draft(Kind::Commit));
    let Some((_, part)) = split(&wire).into_iter().find(|(field, _)| *field == 10) else {
        panic!("no signature");
    };
    let genuine: [u8; 64] = part[2..].try_into().unwrap();

    // S + L: the same signature to who does not reduce.
    let mut malleated = genuine;
    let mut carry = 0;
    for (byte, order) in malleated[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    // R of small order, with S = 0.
    let mut small_order = [0; 64];
    small_order[0] = 1;
    // R written with y >= p.
    let mut not_canonical = genuine;
    not_canonical[..32].fill(0xff);
    for bad in [malleated, small_order, not_canonical, [0; 64], [0xff; 64]] {
        let value = replaced(&wire, 10, &bytes(10, &bad));
        assert_eq!(
            outcome(Kind::Commit, &value),
            Err(Disposition::SignatureInvalid)
        );
    }
    let key = VerifyingKey::try_from(signer().public_key()).unwrap();
    assert!(!key.verifies(b"", &Signature(small_order)));
}

#[test]
fn lengths_of_what_signing_fills_are_exact() {
    let lengths = [(9, 32), (10, 64), (11, 32)];
    let wire = signed(&draft(Kind::Commit));
    for (field, length) in lengths {
        for bad in [0, length - 1, length + 1] {
            let value = replaced(&wire, field, &bytes(field, &vec![1; bad]));
            assert_eq!(outcome(Kind::Commit, &value), CONTRACT, "{field} of {bad}");
        }
    }
    let wire = signed(&draft(Kind::Anomaly));
    for (field, length) in [(7, 32), (10, 32), (11, 16), (12, 64), (13, 32)] {
        for bad in [0, length - 1, length + 1] {
            let value = replaced(&wire, field, &bytes(field, &vec![1; bad]));
            assert_eq!(outcome(Kind::Anomaly, &value), CONTRACT, "{field} of {bad}");
        }
    }
    for alg in ["", "ed25519", "Ed25519 ", "EdDSA", "Ed25519\0"] {
        let value = replaced(&wire, 14, &bytes(14, alg.as_bytes()));
        assert_eq!(outcome(Kind::Anomaly, &value), CONTRACT, "{alg}");
    }
}
