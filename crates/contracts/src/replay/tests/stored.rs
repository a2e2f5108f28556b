//! What travels with the commit, and how a partition starts from it or without it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::replay::budget::BytesLeft;
use crate::replay::claim::Value;
use crate::replay::snapshot::{encode, encoded_len};
use crate::replay::table::{KeyEntry, Table};
use crate::sign::{Ed25519Signer, Signer};
use crate::trust::{Right, TrustStore, TrustedKey, Window};

fn sealed(snapshot: &Snapshot, budget: Budget, signer: Option<&dyn Signer>) -> Option<String> {
    snapshot
        .seal(&binding(snapshot.ring_first), budget, signer)
        .unwrap()
}

fn opened(snapshot: &Snapshot, text: &str, keys: &StateKeys) -> Result<Snapshot, StateRefused> {
    Snapshot::open(text, &binding(snapshot.ring_first), keys)
}

fn a_snapshot() -> Snapshot {
    let mut replay = fresh();
    for signer in 1..=5u8 {
        let offset = i64::from(signer);
        let time_ms = 1_760_000_000_000 + u64::from(signer);
        replay.judge(offset, BYTES, &node(signer, 1, time_ms));
        replay.judge(offset + 5, BYTES, &control(signer + 100, 1_760_000_000, 1));
    }
    settle_all(&mut replay);
    replay.checkpoint(0)
}

#[test]
fn a_stored_state_belongs_to_its_group_cluster_topic_partition_and_offset() {
    let snapshot = a_snapshot();
    let text = sealed(&snapshot, Budget::COMMIT, None).unwrap();
    let own = binding(snapshot.ring_first);
    assert_eq!(
        Snapshot::open(&text, &own, &StateKeys::default()),
        Ok(snapshot)
    );
    for other in [
        Binding {
            group: "backends",
            ..own
        },
        Binding {
            cluster_id: "cluster-2",
            ..own
        },
        // A boundary between the two names that moved.
        Binding {
            group: "backendc",
            cluster_id: "luster-1",
            ..own
        },
        Binding {
            topic_id: [8; 16],
            ..own
        },
        Binding {
            partition: 4,
            ..own
        },
        Binding {
            offset: own.offset + 1,
            ..own
        },
    ] {
        assert_eq!(
            Snapshot::open(&text, &other, &StateKeys::default()),
            Err(StateRefused::Foreign),
            "{other:?}"
        );
    }
}

fn trusted(signer: &Ed25519Signer) -> TrustedKey {
    TrustedKey::new("state", signer.public_key(), [Right::ReplayState]).unwrap()
}

fn keys_of(key: TrustedKey) -> StateKeys {
    StateKeys::named_in(&TrustStore::of([key]).unwrap(), 1_000)
}

#[test]
fn a_key_that_is_no_longer_believed_still_makes_a_signature_demanded() {
    let signer = Ed25519Signer::from_seed(&[1; 32]);
    let snapshot = a_snapshot();
    let signed = sealed(&snapshot, Budget::COMMIT, Some(&signer)).unwrap();
    let unsigned = sealed(&snapshot, Budget::COMMIT, None).unwrap();
    let over = Window {
        not_before_ms: None,
        not_after_ms: Some(999),
    };
    for key in [
        trusted(&signer).revoked(),
        trusted(&signer).with_window(over),
    ] {
        let keys = keys_of(key);
        assert!(keys.demands_signature());
        for text in [&signed, &unsigned] {
            assert_eq!(opened(&snapshot, text, &keys), Err(StateRefused::NotSigned));
        }
    }
    let without_the_right = TrustedKey::new("other", signer.public_key(), [Right::Redrive]);
    let keys = keys_of(without_the_right.unwrap());
    assert!(!keys.demands_signature());
    assert!(opened(&snapshot, &unsigned, &keys).is_ok());
}

#[test]
fn a_signature_is_demanded_where_a_key_may_sign_replay_state() {
    let signer = Ed25519Signer::from_seed(&[1; 32]);
    let other = Ed25519Signer::from_seed(&[2; 32]);
    let keys = keys_of(trusted(&signer));
    let snapshot = a_snapshot();
    let signed = sealed(&snapshot, Budget::COMMIT, Some(&signer)).unwrap();
    let unsigned = sealed(&snapshot, Budget::COMMIT, None).unwrap();
    let foreign = sealed(&snapshot, Budget::COMMIT, Some(&other)).unwrap();
    assert_eq!(opened(&snapshot, &signed, &keys), Ok(snapshot.clone()));
    assert_eq!(
        opened(&snapshot, &signed, &StateKeys::default()),
        Ok(snapshot.clone())
    );
    assert_eq!(
        opened(&snapshot, &unsigned, &keys),
        Err(StateRefused::NotSigned)
    );
    assert_eq!(
        opened(&snapshot, &foreign, &keys),
        Err(StateRefused::NotSigned)
    );
}

#[test]
fn any_flipped_bit_of_a_signed_state_is_refused() {
    let signer = Ed25519Signer::from_seed(&[1; 32]);
    let keys = keys_of(trusted(&signer));
    let snapshot = a_snapshot();
    let text = sealed(&snapshot, Budget::COMMIT, Some(&signer)).unwrap();
    let bytes = BASE64.decode(text).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            opened(&snapshot, &BASE64.encode(flipped), &keys).is_err(),
            "{bit}"
        );
    }
}

#[test]
fn no_metadata_is_told_from_bad_metadata() {
    let snapshot = a_snapshot();
    assert_eq!(
        opened(&snapshot, "", &StateKeys::default()),
        Err(StateRefused::Missing)
    );
    for text in ["x", "NONE", "AQ==", "{\"offset\":1}"] {
        assert_eq!(
            opened(&snapshot, text, &StateKeys::default()),
            Err(StateRefused::Malformed),
            "{text}"
        );
    }
}

#[test]
fn a_ring_that_cannot_lie_before_its_commit_is_refused() {
    for (ring_first, offset, fine) in [
        (10, 10, true),
        (10, 9, false),
        (-1, 10, false),
        (0, 20_000, true),
        (0, 20_001, false),
    ] {
        let snapshot = Snapshot {
            ring_first,
            table: Table::default(),
        };
        let text = snapshot
            .seal(&binding(offset), Budget::COMMIT, None)
            .unwrap()
            .unwrap();
        assert_eq!(
            Snapshot::open(&text, &binding(offset), &StateKeys::default()).is_ok(),
            fine,
            "{ring_first} {offset}"
        );
    }
}

#[test]
fn what_does_not_fit_folds_into_a_floor_that_binds_unlisted_signers() {
    let mut replay = PartitionReplay::at_start_of_log(RingLimits::new(1000).unwrap(), 0);
    for n in 0..250u8 {
        // The lower the name, the older the message.
        replay.judge(
            i64::from(n),
            BYTES,
            &node(n, 1, 1_760_000_000_000 + 1000 * u64::from(n)),
        );
    }
    replay.pass_over(5_000, BYTES);
    replay.committed(5_001);
    let whole = replay.checkpoint(5_001);
    let binding = binding(5_001);
    let text = whole.seal(&binding, Budget::COMMIT, None).unwrap().unwrap();
    assert!(text.len() <= 3_800 && text.len() > 3_700, "{}", text.len());
    let folded = Snapshot::open(&text, &binding, &StateKeys::default()).unwrap();
    assert!((100..250).contains(&folded.listed()), "{}", folded.listed());
    let oldest_listed = u64::try_from(250 - folded.listed()).unwrap();
    assert_eq!(
        folded.floor_ms(),
        1_760_000_000_000 + 1000 * (oldest_listed - 1)
    );

    let (mut replay, origin) =
        ReadBack::restored(RingLimits::default(), 5_001, folded.clone()).finish(0, u64::MAX);
    assert_eq!(origin, Origin::Restored);
    // A signer that was folded: up to the floor old, above it new, and listed again from there.
    assert_eq!(
        replay.judge(5_001, BYTES, &node(0, 1, folded.floor_ms())),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(5_002, BYTES, &node(0, 1, folded.floor_ms() + 1)),
        Judgement::Accepted
    );
    assert_eq!(
        replay.judge(5_003, BYTES, &control(0, 1_760_000_000, 1)),
        Judgement::Replay
    );
    // A signer that is listed: by its own value.
    assert_eq!(
        replay.judge(5_004, BYTES, &node(249, 1, 1_760_000_249_000)),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(5_005, BYTES, &node(249, 1, 1_760_000_249_001)),
        Judgement::Accepted
    );
}

#[test]
fn entries_with_an_unknown_flag_or_a_ninth_instance_are_refused() {
    let entries = |flags: u8, instances: usize| {
        let mut bytes = vec![0, 0, 1];
        bytes.extend([7; 8]);
        bytes.push(flags);
        for instance in 0..instances {
            bytes.extend([0, 0, 0, u8::try_from(instance).unwrap(), 0, 0]);
        }
        bytes
    };
    let decoded = |bytes: Vec<u8>| crate::replay::snapshot::decode(&mut bytes.as_slice());
    assert!(decoded(entries(8 << 4, 8)).is_some());
    assert!(decoded(entries(9 << 4, 9)).is_none());
    for unknown in [0b100, 0b1000] {
        assert!(decoded(entries(unknown, 0)).is_none(), "{unknown:#b}");
    }
}

/// A state of so many keys, the last of which takes `bytes` for its second.
fn of_keys(keys: u64, bytes: u32) -> Snapshot {
    let mut table = Table::default();
    for name in 0..keys {
        let second = if name + 1 == keys {
            1 << (7 * (bytes - 1))
        } else {
            1
        };
        let entry = KeyEntry {
            second: Some(second),
            ..KeyEntry::default()
        };
        table.keys.insert(KeyId(name.to_be_bytes()), entry);
    }
    Snapshot {
        ring_first: 0,
        table,
    }
}

#[test]
fn no_length_of_a_state_goes_beyond_its_budget_by_a_character() {
    let signer = Ed25519Signer::from_seed(&[1; 32]);
    let signers: [Option<&dyn Signer>; 2] = [None, Some(&signer)];
    for signer in signers {
        for keys in 265..290 {
            // Nine more bytes than one key takes, so that every length in between is met.
            for bytes in 1..10 {
                let text = sealed(&of_keys(keys, bytes), Budget::COMMIT, signer).unwrap();
                assert!(
                    text.len() <= 3800,
                    "{keys} keys, {bytes} bytes: {}",
                    text.len()
                );
            }
        }
    }
}

#[test]
fn a_state_folder_may_keep_more_than_a_mebibyte() {
    let entry = KeyEntry {
        second: Some(1_760_000_000),
        ..KeyEntry::default()
    };
    let mut table = Table::default();
    for name in 0..100_000_u64 {
        table.keys.insert(KeyId(name.to_be_bytes()), entry.clone());
    }
    let snapshot = Snapshot {
        ring_first: 0,
        table,
    };
    let text = sealed(&snapshot, Budget::WHOLE, None).unwrap();
    assert!(text.len() > 1024 * 1024);
    assert!(opened(&snapshot, &text, &StateKeys::default()) == Ok(snapshot));
}

#[test]
fn the_whole_state_is_kept_where_there_is_room() {
    let snapshot = a_snapshot();
    let text = sealed(&snapshot, Budget::WHOLE, None).unwrap();
    assert_eq!(
        opened(&snapshot, &text, &StateKeys::default()),
        Ok(snapshot)
    );
}

#[test]
fn a_budget_halves_until_nothing_fits_and_a_commit_goes_without() {
    let mut budget = Budget::COMMIT;
    let mut seen = vec![budget.characters()];
    while let Some(half) = budget.halved() {
        budget = half;
        seen.push(budget.characters());
    }
    assert_eq!(seen, [3800, 1900, 950, 475, 237]);
    let signer = Ed25519Signer::from_seed(&[1; 32]);
    assert!(sealed(&a_snapshot(), budget, Some(&signer)).is_some());
}

#[test]
fn a_second_that_was_loaded_is_closed() {
    let mut replay = fresh();
    replay.judge(0, BYTES, &control(1, 100, 1));
    settle_all(&mut replay);
    let (mut replay, _) = restarted(&replay, 18, &[]);
    assert_eq!(
        replay.judge(18, BYTES, &control(1, 100, 2)),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(19, BYTES, &control(1, 101, 3)),
        Judgement::Accepted
    );
}

#[test]
fn the_ring_is_read_back_and_knows_copies() {
    let mut replay = fresh();
    let log = [
        (0, node(1, 1, 100)),
        (1, node(1, 1, 101)),
        (2, node(1, 1, 100)),
    ];
    for (offset, claims) in &log {
        replay.judge(*offset, BYTES, claims);
    }
    let (mut replay, origin) = restarted(&replay, 3, &log);
    assert_eq!(origin, Origin::Restored);
    assert_eq!(replay.ring_len(), 2);
    assert_eq!(
        replay.judge(3, BYTES, &node(1, 1, 101)),
        Judgement::Duplicate
    );
    assert_eq!(replay.judge(4, BYTES, &node(1, 1, 99)), Judgement::Accepted);
}

#[test]
fn what_is_settled_is_as_of_the_watermark_and_not_as_of_the_judged_position() {
    let mut replay = fresh();
    for offset in 0..100_i64 {
        replay.judge(offset, BYTES, &node(1, 1, 1000 + offset.unsigned_abs()));
    }
    let snapshot = replay.checkpoint(20);
    assert_eq!(snapshot.ring_first(), 4);
    let text = snapshot
        .seal(&binding(20), Budget::COMMIT, None)
        .unwrap()
        .unwrap();
    let snapshot = Snapshot::open(&text, &binding(20), &StateKeys::default()).unwrap();
    let (mut replay, _) = ReadBack::restored(small(), 20, snapshot).finish(0, u64::MAX);
    // Offsets from 20 on were judged and not done: they pass again.
    assert_eq!(
        replay.judge(20, BYTES, &node(1, 1, 1020)),
        Judgement::Accepted
    );
    assert_eq!(
        replay.judge(21, BYTES, &node(1, 1, 1003)),
        Judgement::Replay
    );
}

#[test]
fn without_a_state_settled_is_what_was_read_back_and_the_floor_its_oldest_time() {
    let mut read_back = ReadBack::without_state(small(), 100);
    assert_eq!(read_back.from(), 84);
    read_back.record(83, BYTES, 0, Some(&node(1, 1, 1)));
    read_back.record(84, BYTES, 0, Some(&node(1, 1, 500)));
    read_back.record(85, BYTES, 0, Some(&node(2, 1, 900)));
    read_back.record(86, BYTES, 7_000, None);
    read_back.record(100, BYTES, 0, Some(&node(1, 1, 9999)));
    let (mut replay, origin) = read_back.finish(0, u64::MAX);
    assert_eq!(origin, Origin::ReadBackAlone);
    assert_eq!(
        replay.judge(100, BYTES, &node(2, 1, 899)),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(101, BYTES, &node(2, 1, 900)),
        Judgement::Duplicate
    );
    assert_eq!(
        replay.judge(102, BYTES, &node(3, 1, 500)),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(103, BYTES, &node(3, 1, 501)),
        Judgement::Accepted
    );
}

#[test]
fn what_a_signer_signed_next_within_the_millisecond_of_the_floor_passes() {
    let mut read_back = ReadBack::without_state(small(), 100);
    read_back.record(84, BYTES, 0, Some(&node(1, 1, 500)));
    let (mut replay, _) = read_back.finish(0, u64::MAX);
    let next = Claims::of(node_claim(1, 1, 500, 1, 7));
    assert_eq!(replay.judge(100, BYTES, &next), Judgement::Accepted);
    let copy = node(1, 1, 500);
    assert_eq!(replay.judge(101, BYTES, &copy), Judgement::Duplicate);
    let other = node(1, 2, 500);
    assert_eq!(replay.judge(102, BYTES, &other), Judgement::Replay);
}

#[test]
fn where_nothing_authentic_was_read_back_the_floor_is_the_last_records_time_but_not_the_future() {
    for (timestamp_ms, now_ms, floor_ms) in [
        (5_000, 9_000, 5_000),
        (i64::MAX, 9_000, 9_000),
        (-1, 9_000, 0),
    ] {
        let mut read_back = ReadBack::without_state(small(), 100);
        read_back.record(98, BYTES, 1, None);
        read_back.record(99, BYTES, timestamp_ms, None);
        let (replay, _) = read_back.finish(0, now_ms);
        assert_eq!(replay.checkpoint(100).floor_ms(), floor_ms);
    }
}

/// A state at 60 whose ring began at 44: one signer is listed, at 943.
fn before_the_log() -> ReadBack {
    let mut replay = fresh();
    for offset in 0..60_i64 {
        replay.judge(offset, BYTES, &node(1, 1, 900 + offset.unsigned_abs()));
    }
    let snapshot = replay.checkpoint(60);
    assert_eq!(snapshot.ring_first(), 44);
    ReadBack::restored(small(), 60, snapshot)
}

#[test]
fn where_the_whole_ring_is_gone_and_the_log_is_empty_everything_until_now_is_settled() {
    for read_back in [before_the_log(), ReadBack::without_state(small(), 60)] {
        assert!(read_back.asks_for_the_next(60));
        let (mut replay, _) = read_back.finish(60, 5_000);
        for (offset, time_ms, judgement) in [
            (60, 950, Judgement::Replay),
            (61, 5_000, Judgement::Replay),
            (62, 5_001, Judgement::Accepted),
        ] {
            let message = node(1, 1, time_ms);
            assert_eq!(replay.judge(offset, BYTES, &message), judgement);
            let message = node(2, 1, time_ms);
            assert_eq!(replay.judge(offset, BYTES, &message), judgement);
        }
    }
}

#[test]
fn where_the_whole_ring_is_gone_everything_before_the_logs_first_record_is_settled() {
    // By the message's own time, where it came when it was signed; else by the record's.
    for (timestamp_ms, claims, floor_ms) in [
        (970, Some(node(1, 1, 960)), 959),
        (300_960, Some(node(1, 1, 960)), 959),
        (300_961, Some(node(1, 1, 950)), 300_960),
        (970, None, 969),
        (i64::MAX, None, 999_999),
    ] {
        for mut read_back in [before_the_log(), ReadBack::without_state(small(), 60)] {
            read_back.record(60, BYTES, timestamp_ms, claims.as_ref());
            assert!(!read_back.asks_for_the_next(60));
            read_back.record(61, BYTES, 100, Some(&node(1, 1, 100)));
            let (replay, _) = read_back.finish(60, 999_999);
            let floor = replay.checkpoint(60).floor_ms();
            assert_eq!(floor, floor_ms, "{timestamp_ms}");
            assert_eq!(replay.ring_len(), 0);
        }
    }
}

#[test]
fn a_record_without_a_time_does_not_tell_when_the_log_begins() {
    let mut read_back = before_the_log();
    read_back.record(60, BYTES, -1, None);
    assert!(read_back.asks_for_the_next(60));
    read_back.record(61, BYTES, 970, None);
    let (replay, _) = read_back.finish(60, 5_000);
    assert_eq!(replay.checkpoint(60).floor_ms(), 969);
}

#[test]
fn a_copy_of_what_the_state_binds_does_not_tell_when_the_log_begins() {
    let mut read_back = before_the_log();
    read_back.record(60, BYTES, 3, Some(&node(1, 1, 943)));
    assert!(read_back.asks_for_the_next(60));
    let (replay, _) = read_back.finish(60, 5_000);
    assert_eq!(replay.checkpoint(60).floor_ms(), 5_000);
}

#[test]
fn where_an_operator_settled_nothing_nothing_is_lost_however_far_the_log_was_cut() {
    let read_back = ReadBack::restored(small(), 60, Snapshot::nothing_settled(60));
    assert!(!read_back.asks_for_the_next(70));
    let (mut replay, origin) = read_back.finish(70, 5_000);
    assert_eq!(origin, Origin::Restored);
    let judgement = replay.judge(70, BYTES, &node(1, 1, 1));
    assert_eq!(judgement, Judgement::Accepted);
}

#[test]
fn what_comes_after_the_commit_is_asked_for_where_nothing_else_tells_what_was_lost() {
    assert!(!before_the_log().asks_for_the_next(44), "nothing was lost");
    let mut read_back = before_the_log();
    assert!(read_back.asks_for_the_next(59));
    read_back.record(59, BYTES, 970, None);
    assert!(!read_back.asks_for_the_next(59));
    let (whole, origin) = before_the_log().finish(44, 5_000);
    assert_eq!(origin, Origin::Restored);
    assert_eq!(whole.checkpoint(60).floor_ms(), 0);
}

#[test]
fn where_the_log_starts_after_the_rings_first_offset_the_larger_values_count() {
    let table = Table {
        floor_ms: 10,
        keys: [(1, 400), (2, 950), (3, 990)]
            .map(|(name, time)| {
                let instances = [(1, Value { time, counter: 0 })].into();
                (
                    key(name),
                    KeyEntry {
                        instances,
                        ..KeyEntry::default()
                    },
                )
            })
            .into(),
    };
    let snapshot = Snapshot {
        ring_first: 90,
        table,
    };
    let start = |log_start| {
        let mut read_back = ReadBack::restored(small(), 100, snapshot.clone());
        read_back.record(95, BYTES, 0, Some(&node(2, 1, 980)));
        read_back.record(96, BYTES, 0, Some(&node(4, 1, 900)));
        read_back.finish(log_start, u64::MAX)
    };
    let (mut whole, origin) = start(90);
    assert_eq!(origin, Origin::Restored);
    assert_eq!(
        whole.judge(100, BYTES, &node(1, 1, 401)),
        Judgement::Accepted
    );
    assert_eq!(
        whole.judge(101, BYTES, &node(2, 1, 951)),
        Judgement::Accepted
    );

    let (mut part, origin) = start(95);
    assert_eq!(origin, Origin::RestoredInPart);
    // What was accepted in the part that is gone may have been anybody's.
    assert_eq!(part.judge(100, BYTES, &node(1, 1, 900)), Judgement::Replay);
    assert_eq!(
        part.judge(101, BYTES, &node(1, 1, 901)),
        Judgement::Accepted
    );
    assert_eq!(part.judge(102, BYTES, &node(2, 1, 979)), Judgement::Replay);
    assert_eq!(part.judge(103, BYTES, &node(3, 1, 990)), Judgement::Replay);
}

#[test]
fn a_copy_of_what_the_state_binds_does_not_lower_the_floor_of_what_is_lost() {
    let table = Table {
        floor_ms: 50,
        keys: [(
            key(1),
            KeyEntry {
                second: Some(1),
                instances: [(
                    1,
                    Value {
                        time: 943,
                        counter: 0,
                    },
                )]
                .into(),
                ..KeyEntry::default()
            },
        )]
        .into(),
    };
    let snapshot = Snapshot {
        ring_first: 90,
        table,
    };
    for copy in [
        node(1, 1, 3),
        node(1, 1, 943),
        control(1, 1, 9),
        node(2, 1, 50),
    ] {
        for (read, floor_ms) in [(Some(node(1, 1, 990)), 990), (None, 970)] {
            let mut read_back = ReadBack::restored(small(), 100, snapshot.clone());
            read_back.record(97, BYTES, 0, Some(&copy));
            read_back.record(98, BYTES, 970, read.as_ref());
            let (mut replay, origin) = read_back.finish(95, 5_000);
            assert_eq!(origin, Origin::RestoredInPart);
            assert_eq!(replay.checkpoint(100).floor_ms(), floor_ms, "{copy:?}");
            let lost = node(1, 1, 950);
            assert_eq!(replay.judge(100, BYTES, &lost), Judgement::Replay);
        }
    }
}

#[test]
fn a_read_back_ring_is_no_longer_than_its_bytes() {
    let limits = small().with_bytes(250);
    let mut read_back = ReadBack::without_state(limits, 100);
    for offset in 90..100_i64 {
        read_back.record(offset, BYTES, 0, Some(&node(1, 1, offset.unsigned_abs())));
    }
    let (mut replay, _) = read_back.finish(0, u64::MAX);
    assert_eq!((replay.ring_first(), replay.ring_len()), (98, 2));
    assert_eq!(replay.judge(100, BYTES, &node(1, 1, 97)), Judgement::Replay);
}

fn tables() -> impl Strategy<Value = Table> {
    let time = prop_oneof![
        Just(0),
        1_759_000_000_000..1_761_000_000_000u64,
        any::<u64>()
    ];
    let instances = proptest::collection::btree_map(
        any::<u32>(),
        (time.clone(), any::<u32>()).prop_map(|(time, counter)| Value { time, counter }),
        0..=8,
    );
    let entry = (time.clone(), proptest::option::of(any::<u64>()), instances).prop_map(
        |(fold_ms, second, instances)| KeyEntry {
            fold_ms,
            second,
            instances,
        },
    );
    let keys = proptest::collection::btree_map(any::<[u8; 8]>().prop_map(KeyId), entry, 0..40);
    (time, keys).prop_map(|(floor_ms, keys)| Table { floor_ms, keys })
}

/// What a table is cut to where each cut that is looked at is written out whole.
fn cut_by_writing(table: &Table, room: usize) -> Option<Vec<u8>> {
    let fits = |bytes: &Vec<u8>| bytes.len() <= room;
    let whole = encode(table);
    if fits(&whole) {
        return Some(whole);
    }
    let mut times: Vec<u64> = table.times_ms().collect();
    times.sort_unstable();
    times.dedup();
    let folded = |n: usize| Some(encode(&table.folded_up_to(*times.get(n)?)));
    let (mut low, mut high) = (0, times.len());
    while low < high {
        let middle = low.midpoint(high);
        if folded(middle).is_some_and(|bytes| fits(&bytes)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    folded(low).filter(fits)
}

proptest! {
    #[test]
    fn what_was_stored_is_loaded(table in tables(), ring_first in 0..i64::MAX, is_signed: bool) {
        let snapshot = Snapshot { ring_first, table };
        let signer = Ed25519Signer::from_seed(&[1; 32]);
        let signer: Option<&dyn Signer> = if is_signed { Some(&signer) } else { None };
        let text = sealed(&snapshot, Budget::WHOLE, signer).unwrap();
        prop_assert_eq!(opened(&snapshot, &text, &StateKeys::default()), Ok(snapshot));
    }

    #[test]
    fn a_state_within_a_budget_fits_it_and_binds_all_that_the_whole_one_binds(
        table in tables(),
        characters in 52usize..1000,
        probes in proptest::collection::vec((any::<[u8; 8]>(), any::<u32>(), any::<u64>(), any::<u32>()), 0..20),
    ) {
        let mut budget = Budget::COMMIT;
        while budget.characters() > characters && let Some(half) = budget.halved() {
            budget = half;
        }
        let whole = Snapshot { ring_first: 5, table };
        let text = sealed(&whole, budget, None).unwrap();
        prop_assert!(text.len() <= budget.characters());
        let stored = opened(&whole, &text, &StateKeys::default()).unwrap();
        let listed = whole.table.keys.iter().flat_map(|(key, entry)| {
            let seconds = entry.second.map(|second| Claim::with_timestamp(*key, second.try_into().unwrap_or(i64::MAX), [0; 32]));
            let instances = entry.instances.iter().map(|(instance, value)| Claim {
                signer: SignerId::Instance { key: *key, instance: *instance },
                value: *value,
                digest: [0; 32],
            });
            seconds.into_iter().chain(instances).collect::<Vec<_>>()
        });
        let strangers = probes.into_iter().map(|(key, instance, time, counter)| Claim {
            signer: SignerId::Instance { key: KeyId(key), instance },
            value: Value { time, counter },
            digest: [0; 32],
        });
        for claim in listed.chain(strangers).collect::<Vec<_>>() {
            if whole.table.compare(&claim).is_le() {
                prop_assert!(stored.table.compare(&claim).is_le(), "{claim:?}");
            }
        }
    }

    #[test]
    fn a_table_is_cut_as_if_every_cut_were_written_out(table in tables(), room in 0usize..1500) {
        let expected = cut_by_writing(&table, room);
        let snapshot = Snapshot { ring_first: 5, table };
        prop_assert_eq!(snapshot.entries_within(BytesLeft::of(room)), expected);
    }

    #[test]
    fn the_length_of_a_table_is_told_without_writing_it(table in tables(), above_ms: Index) {
        prop_assert_eq!(encoded_len(&table, None), encode(&table).len());
        let times: Vec<u64> = table.times_ms().chain([0, table.floor_ms]).collect();
        let above_ms = *above_ms.get(&times);
        let folded = table.folded_up_to(above_ms);
        prop_assert_eq!(encoded_len(&table, Some(above_ms)), encode(&folded).len());
    }

    #[test]
    fn any_text_is_loaded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), offset: i64) {
        let mut bytes = bytes;
        let _ = Snapshot::open(&String::from_utf8_lossy(&bytes), &binding(offset), &StateKeys::default());
        if let Some(version) = bytes.first_mut() {
            *version = 1;
        }
        let _ = Snapshot::open(&BASE64.encode(bytes), &binding(offset), &StateKeys::default());
    }

    #[test]
    fn any_entries_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut rest = bytes.as_slice();
        if let Some(table) = crate::replay::snapshot::decode(&mut rest) {
            let snapshot = Snapshot { ring_first: 0, table };
            let text = sealed(&snapshot, Budget::WHOLE, None).unwrap();
            prop_assert_eq!(opened(&snapshot, &text, &StateKeys::default()), Ok(snapshot));
        }
    }
}
