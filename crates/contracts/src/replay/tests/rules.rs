//! The rules of order, one by one.

use super::*;
use crate::replay::settled::MAX_KNOWN_PER_SECOND;

#[test]
fn an_exact_copy_in_the_ring_is_a_duplicate() {
    let mut replay = fresh();
    assert_eq!(
        replay.judge(0, BYTES, &node(1, 1, 100)),
        Judgement::Accepted
    );
    assert_eq!(
        replay.judge(1, BYTES, &node(1, 1, 100)),
        Judgement::Duplicate
    );
    assert_eq!(
        replay.judge(2, BYTES, &control(2, 9, 1)),
        Judgement::Accepted
    );
    assert_eq!(
        replay.judge(3, BYTES, &control(2, 9, 1)),
        Judgement::Duplicate
    );
    assert_eq!(replay.ring_len(), 2);
}

#[test]
fn a_message_at_its_own_offset_is_delivered_again() {
    let mut replay = fresh();
    replay.judge(5, BYTES, &node(1, 1, 100));
    replay.judge(6, BYTES, &node(1, 1, 100));
    assert_eq!(
        replay.judge(5, BYTES, &node(1, 1, 100)),
        Judgement::Redelivered
    );
    assert_eq!(
        replay.judge(6, BYTES, &node(1, 1, 100)),
        Judgement::Duplicate
    );
    assert!(Judgement::Redelivered.passes() && !Judgement::Duplicate.passes());
}

#[test]
fn a_nonce_over_other_content_is_a_replay() {
    let mut replay = fresh();
    replay.judge(0, BYTES, &Claims::of(node_claim(1, 1, 100, 0, 1)));
    let other = Claims::of(node_claim(1, 1, 100, 0, 2));
    assert_eq!(replay.judge(1, BYTES, &other), Judgement::Replay);
    assert_eq!(replay.judge(0, BYTES, &other), Judgement::Replay);
    settle_all(&mut replay);
    assert_eq!(replay.judge(40, BYTES, &other), Judgement::Replay);
}

#[test]
fn a_nonce_over_other_content_is_a_replay_whichever_digest_is_the_greater() {
    for (first, second) in [(1, 2), (2, 1)] {
        let mut replay = fresh();
        replay.judge(0, BYTES, &Claims::of(node_claim(1, 1, 100, 0, first)));
        let other = Claims::of(node_claim(1, 1, 100, 0, second));
        assert_eq!(replay.judge(1, BYTES, &other), Judgement::Replay);
    }
}

#[test]
fn nonces_of_another_key_or_instance_or_count_are_others() {
    let mut replay = fresh();
    replay.judge(0, BYTES, &Claims::of(node_claim(1, 1, 100, 5, 1)));
    for (offset, claim) in [
        (1, node_claim(2, 1, 100, 5, 1)),
        (2, node_claim(1, 2, 100, 5, 1)),
        (3, node_claim(1, 1, 100, 4, 1)),
        (4, node_claim(1, 1, 100, 6, 1)),
    ] {
        assert_eq!(
            replay.judge(offset, BYTES, &Claims::of(claim)),
            Judgement::Accepted
        );
    }
}

#[test]
fn reordering_inside_the_ring_is_tolerated() {
    let mut replay = fresh();
    for (offset, time_ms) in [(0, 105), (1, 103), (2, 104), (3, 101)] {
        assert_eq!(
            replay.judge(offset, BYTES, &node(1, 1, time_ms)),
            Judgement::Accepted
        );
    }
}

#[test]
fn an_old_copy_never_passes_however_long_its_signer_was_silent() {
    let mut replay = fresh();
    replay.judge(0, BYTES, &node(1, 1, 100));
    for offset in 1..5_000_i64 {
        let time_ms = 100 + offset.unsigned_abs();
        assert_eq!(
            replay.judge(offset, BYTES, &node(2, 1, time_ms)),
            Judgement::Accepted
        );
        replay.committed(offset + 1);
    }
    assert_eq!(
        replay.judge(5_000, BYTES, &node(1, 1, 100)),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(5_001, BYTES, &node(1, 1, 99)),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(5_002, BYTES, &node(1, 1, 101)),
        Judgement::Accepted
    );
    assert!(replay.ring_len() <= 16 + 3);
}

#[test]
fn an_entry_stays_until_judged_position_and_watermark_are_both_a_ring_past_it() {
    let mut replay = fresh();
    replay.judge(0, BYTES, &node(1, 1, 100));
    replay.pass_over(1_000, BYTES);
    assert_eq!(
        replay.judge(1_001, BYTES, &node(1, 1, 100)),
        Judgement::Duplicate
    );
    replay.committed(16);
    assert_eq!(
        replay.judge(1_002, BYTES, &node(1, 1, 100)),
        Judgement::Duplicate
    );
    replay.committed(17);
    assert_eq!(
        replay.judge(1_003, BYTES, &node(1, 1, 100)),
        Judgement::Replay
    );

    let mut replay = fresh();
    replay.judge(0, BYTES, &node(1, 1, 100));
    replay.committed(1_000);
    assert_eq!(
        replay.judge(1, BYTES, &node(1, 1, 100)),
        Judgement::Duplicate
    );
}

#[test]
fn a_ring_ends_where_its_bytes_end() {
    let limits = small().with_bytes(250);
    let mut replay = PartitionReplay::at_start_of_log(limits, 0);
    for (offset, time_ms) in [(0, 100), (1, 101), (2, 102), (3, 103)] {
        replay.judge(offset, BYTES, &node(1, 1, time_ms));
    }
    replay.committed(4);
    assert_eq!(replay.ring_first(), 2);
    assert_eq!(replay.judge(4, BYTES, &node(1, 1, 101)), Judgement::Replay);
    assert_eq!(
        replay.judge(5, BYTES, &node(1, 1, 102)),
        Judgement::Duplicate
    );
}

#[test]
fn a_checkpoint_before_the_log_begins_is_one_of_nothing() {
    let limits = small().with_bytes(BYTES);
    let mut replay = PartitionReplay::at_start_of_log(limits, 0);
    for offset in 0..3 {
        replay.judge(offset, BYTES, &node(1, 1, 100 + offset.unsigned_abs()));
    }
    assert_eq!(replay.checkpoint(-5).ring_first(), 0);
}

#[test]
fn records_that_are_rejected_count_for_the_rings_bytes() {
    let limits = small().with_bytes(250);
    let mut replay = PartitionReplay::at_start_of_log(limits, 0);
    replay.judge(0, BYTES, &node(1, 1, 100));
    replay.pass_over(1, 200);
    replay.committed(2);
    assert_eq!(replay.ring_first(), 1);
}

#[test]
fn an_unknown_control_message_of_the_settled_second_passes_and_a_known_one_does_not() {
    let mut replay = fresh();
    replay.judge(0, BYTES, &control(1, 100, 1));
    replay.judge(1, BYTES, &control(1, 100, 2));
    settle_all(&mut replay);
    assert_eq!(
        replay.judge(50, BYTES, &control(1, 100, 1)),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(51, BYTES, &control(1, 100, 2)),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(52, BYTES, &control(1, 100, 3)),
        Judgement::Accepted
    );
    assert_eq!(
        replay.judge(53, BYTES, &control(1, 99, 4)),
        Judgement::Replay
    );
    settle_all(&mut replay);
    assert_eq!(
        replay.judge(100, BYTES, &control(1, 100, 3)),
        Judgement::Replay
    );
}

/// So many messages of one key in second 100, all of them settled.
fn settled_in_one_second(messages: usize) -> PartitionReplay {
    let mut replay = fresh();
    for n in 0..messages as u64 {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_be_bytes());
        let claims = Claims::of(Claim::with_timestamp(key(1), 100, digest));
        assert_eq!(replay.judge(n as i64, BYTES, &claims), Judgement::Accepted);
        replay.committed(n as i64 + 1);
    }
    settle_all(&mut replay);
    replay
}

#[test]
fn a_second_with_as_many_messages_as_are_kept_stays_open() {
    let mut replay = settled_in_one_second(MAX_KNOWN_PER_SECOND);
    let offset = replay.judged_position();
    assert_eq!(
        replay.judge(offset, BYTES, &control(1, 100, 0xee)),
        Judgement::Accepted
    );
}

#[test]
fn an_open_second_stays_open_while_it_is_listed() {
    let mut replay = fresh();
    replay.judge(0, BYTES, &control(1, 100, 1));
    settle_all(&mut replay);
    replay.forget_stale(100_000, 1_000);
    let offset = replay.judged_position();
    for (content, expected) in [(1, Judgement::Replay), (2, Judgement::Accepted)] {
        assert_eq!(
            replay.judge(offset, BYTES, &control(1, 100, content)),
            expected
        );
    }
}

#[test]
fn a_second_with_one_message_more_than_are_kept_closes() {
    let mut replay = settled_in_one_second(MAX_KNOWN_PER_SECOND + 1);
    let offset = replay.judged_position();
    assert_eq!(
        replay.judge(offset, BYTES, &control(1, 100, 0xee)),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(offset + 1, BYTES, &control(1, 101, 0xee)),
        Judgement::Accepted
    );
}

#[test]
fn a_ninth_instance_folds_the_oldest_into_a_value_for_the_key() {
    let mut replay = fresh();
    for instance in 1..=9 {
        let offset = i64::from(instance) - 1;
        let time_ms = 100 * u64::from(instance);
        replay.judge(offset, BYTES, &node(1, instance, time_ms));
    }
    settle_all(&mut replay);
    assert_eq!(
        replay.checkpoint(0).listed(),
        9,
        "eight instances and the fold"
    );
    let at = replay.judged_position();
    assert_eq!(replay.judge(at, BYTES, &node(1, 1, 100)), Judgement::Replay);
    // An instance never seen is bound by the fold, listed ones by their own values.
    assert_eq!(
        replay.judge(at + 1, BYTES, &node(1, 77, 100)),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(at + 2, BYTES, &node(1, 78, 101)),
        Judgement::Accepted
    );
    assert_eq!(
        replay.judge(at + 3, BYTES, &node(1, 2, 200)),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(at + 4, BYTES, &node(1, 2, 201)),
        Judgement::Accepted
    );
    // Other keys, and the key's own control messages, are not.
    assert_eq!(
        replay.judge(at + 5, BYTES, &node(2, 1, 1)),
        Judgement::Accepted
    );
    assert_eq!(
        replay.judge(at + 6, BYTES, &control(1, 0, 1)),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(at + 7, BYTES, &control(1, 1, 1)),
        Judgement::Accepted
    );
}

#[test]
fn a_late_message_of_a_folded_instance_does_not_loosen_what_binds_it() {
    let mut replay = fresh();
    for instance in 1..=9 {
        replay.judge(
            i64::from(instance),
            BYTES,
            &node(1, instance, 1000 + u64::from(instance)),
        );
    }
    // In the ring at the same time, and older than what the fold will be.
    replay.judge(10, BYTES, &node(1, 99, 500));
    settle_all(&mut replay);
    let at = replay.judged_position();
    assert_eq!(
        replay.judge(at, BYTES, &node(1, 99, 700)),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(at + 1, BYTES, &node(1, 99, 1001)),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(at + 2, BYTES, &node(1, 99, 1002)),
        Judgement::Accepted
    );
}

#[test]
fn what_is_older_than_messages_may_be_takes_no_room_and_binds_still() {
    let mut replay = fresh();
    replay.judge(0, BYTES, &node(1, 1, 1_000));
    replay.judge(1, BYTES, &node(2, 1, 9_000));
    replay.judge(2, BYTES, &control(3, 2, 1));
    settle_all(&mut replay);
    replay.forget_stale(15_000, 10_000);
    let kept = replay.checkpoint(0);
    assert_eq!((kept.listed(), kept.floor_ms()), (1, 2_000));
    let at = replay.judged_position();
    assert_eq!(
        replay.judge(at, BYTES, &node(1, 1, 1_000)),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(at + 1, BYTES, &control(3, 2, 9)),
        Judgement::Replay
    );
    assert_eq!(
        replay.judge(at + 2, BYTES, &node(9, 1, 5_001)),
        Judgement::Accepted
    );
}

#[test]
fn a_fold_binds_until_it_is_older_than_messages_may_be_itself() {
    let mut replay = fresh();
    for instance in 1..=9 {
        let offset = i64::from(instance);
        replay.judge(
            offset,
            BYTES,
            &node(1, instance, 8_000 + u64::from(instance)),
        );
    }
    settle_all(&mut replay);
    replay.forget_stale(15_000, 10_000);
    assert_eq!(replay.checkpoint(0).listed(), 9);
    let at = replay.judged_position();
    assert_eq!(
        replay.judge(at, BYTES, &node(1, 1, 8_001)),
        Judgement::Replay
    );
    replay.forget_stale(18_002, 10_000);
    let kept = replay.checkpoint(0);
    assert_eq!((kept.listed(), kept.floor_ms()), (8, 8_001));
    let at = replay.judged_position();
    assert_eq!(
        replay.judge(at, BYTES, &node(1, 1, 8_001)),
        Judgement::Replay
    );
}

#[test]
fn a_topic_made_again_starts_from_its_beginning_with_everything_settled() {
    let mut replay = fresh();
    replay.judge(7, BYTES, &node(1, 1, 100));
    replay.committed(8);
    replay.topic_recreated();
    assert_eq!(
        (
            replay.ring_first(),
            replay.ring_len(),
            replay.judged_position()
        ),
        (0, 0, 0)
    );
    assert_eq!(replay.judge(0, BYTES, &node(1, 1, 100)), Judgement::Replay);
    assert_eq!(
        replay.judge(1, BYTES, &node(1, 1, 101)),
        Judgement::Accepted
    );
    assert_eq!(
        replay.judge(2, BYTES, &node(1, 1, 101)),
        Judgement::Duplicate
    );
}

#[test]
fn a_redrive_is_judged_by_itself_and_counts_once() {
    let message = node_claim(1, 1, 100, 0, 1);
    let redrive = node_claim(9, 1, 900_000, 0, 2);
    let redriven = Claims::redriven(redrive, message);
    let mut replay = fresh();
    replay.judge(0, BYTES, &Claims::of(message));
    settle_all(&mut replay);
    let at = replay.judged_position();
    assert_eq!(replay.judge(at, BYTES, &redriven), Judgement::Accepted);
    assert_eq!(replay.judge(at, BYTES, &redriven), Judgement::Redelivered);
    assert_eq!(replay.judge(at + 1, BYTES, &redriven), Judgement::Duplicate);
    // The message by itself is now a copy of one in the ring.
    assert_eq!(
        replay.judge(at + 2, BYTES, &Claims::of(message)),
        Judgement::Duplicate
    );
    settle_all(&mut replay);
    let at = replay.judged_position();
    assert_eq!(replay.judge(at, BYTES, &redriven), Judgement::Replay);
    assert_eq!(
        replay.judge(at + 1, BYTES, &Claims::of(message)),
        Judgement::Replay
    );
    // And a redrive of its own counts again.
    let again = Claims::redriven(node_claim(9, 1, 900_001, 0, 2), message);
    assert_eq!(replay.judge(at + 2, BYTES, &again), Judgement::Accepted);
}

#[test]
fn a_redriven_message_that_was_never_accepted_settles_too() {
    let redriven = Claims::redriven(node_claim(9, 1, 900_000, 0, 2), node_claim(1, 1, 100, 0, 1));
    let mut replay = fresh();
    assert_eq!(replay.judge(0, BYTES, &redriven), Judgement::Accepted);
    settle_all(&mut replay);
    let at = replay.judged_position();
    assert_eq!(replay.judge(at, BYTES, &node(1, 1, 99)), Judgement::Replay);
    assert_eq!(
        replay.judge(at + 1, BYTES, &node(1, 1, 101)),
        Judgement::Accepted
    );
}

#[test]
fn a_redelivered_origin_of_a_redriven_message_is_still_itself() {
    let message = node_claim(1, 1, 100, 0, 1);
    let redriven = Claims::redriven(node_claim(9, 1, 900_000, 0, 2), message);
    let mut replay = fresh();
    replay.judge(0, BYTES, &Claims::of(message));
    replay.judge(1, BYTES, &redriven);
    assert_eq!(
        replay.judge(0, BYTES, &Claims::of(message)),
        Judgement::Redelivered
    );
    assert_eq!(replay.judge(1, BYTES, &redriven), Judgement::Redelivered);
}

#[test]
fn extreme_offsets_and_values_are_judged_like_any() {
    let mut replay = fresh();
    assert_eq!(
        replay.judge(i64::MAX, usize::MAX, &node(1, 1, u64::MAX)),
        Judgement::Accepted
    );
    assert_eq!(
        replay.judge(0, usize::MAX, &control(1, i64::MAX, 1)),
        Judgement::Accepted
    );
    assert_eq!(
        replay.judge(1, 0, &control(1, i64::MIN, 1)),
        Judgement::Replay
    );
    replay.committed(i64::MAX);
    let _ = replay.checkpoint(i64::MIN);
    replay.forget_stale(0, u64::MAX);
    replay.topic_recreated();
}

#[test]
fn rings_have_from_16_to_20000_offsets() {
    for (offsets, fine) in [(15, false), (16, true), (20_000, true), (20_001, false)] {
        assert_eq!(RingLimits::new(offsets).is_ok(), fine, "{offsets}");
    }
    assert_eq!(RingLimits::default(), RingLimits::new(2_000).unwrap());
    assert_eq!(RingLimits::default().bytes(), 67_108_864);
}
