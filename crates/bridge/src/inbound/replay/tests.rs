//! Orders of partitions that come, go, and come back.

use cybermesh_contracts::message::{CommitDraft, Draft, Stamp};
use cybermesh_contracts::sign::Ed25519Signer;
use cybermesh_contracts::verify::test_util::verified;

use super::*;
use crate::inbound::group::Life;
use crate::telemetry::Exposition;

const NOW_MS: u64 = 1_800_000_000_000;
const BYTES: usize = 300;

fn orders() -> MemoryOrders {
    MemoryOrders::new(
        RingLimits::new(16).unwrap(),
        Duration::from_secs(7 * 86_400),
        Exposition::new().unwrap().metrics(),
    )
}

/// A message of this height, signed so many seconds after the others.
fn message(height: i64, later_s: u64) -> Verified<Message> {
    let draft = CommitDraft::builder(height, [7; 32], [8; 32])
        .build()
        .unwrap();
    let stamp = Stamp {
        now_ms: NOW_MS + later_s * 1_000,
        nonce: None,
    };
    let signer = Ed25519Signer::from_seed(&[1; 32]);
    verified(&Draft::Commit(draft), &signer, stamp).unwrap()
}

fn assigned(committed: Option<i64>) -> Assignment {
    Assignment {
        partition: TopicPartition::new("control.commits.v1", 0),
        committed: committed.map(|offset| (offset, String::new())),
        life: Life::default(),
    }
}

/// Forty messages from this offset on pass, each signed after the one before.
fn pass_forty(order: &mut dyn JudgeOrder<Verified<Message>>, from: i64) {
    for offset in from..from + 40 {
        let later = message(offset, u64::try_from(offset).unwrap());
        assert_eq!(order.judge(offset, BYTES, &later), Order::Passes);
    }
}

#[test]
fn a_message_passes_at_its_own_offset_again_and_nowhere_else() {
    let mut order = orders().open(&assigned(None));
    let first = message(0, 0);
    assert_eq!(order.judge(0, BYTES, &first), Order::Passes);
    assert_eq!(order.judge(1, BYTES, &first), Order::Duplicate);
    assert_eq!(order.judge(0, BYTES, &first), Order::Passes);
}

#[test]
fn a_partition_that_comes_back_knows_its_copies_and_one_that_never_was_here_does_not() {
    let mut orders = orders();
    let mut order = orders.open(&assigned(None));
    let first = message(0, 0);
    assert_eq!(order.judge(0, BYTES, &first), Order::Passes);
    orders.close(assigned(None).partition, order);
    let mut order = orders.open(&assigned(Some(1)));
    assert_eq!(order.judge(1, BYTES, &first), Order::Duplicate);
    let other = Assignment {
        partition: TopicPartition::new("control.commits.v1", 1),
        committed: Some((1, String::new())),
        life: Life::default(),
    };
    assert_eq!(orders.open(&other).judge(1, BYTES, &first), Order::Passes);
}

#[test]
fn what_the_ring_let_go_of_after_a_commit_is_a_replay() {
    let mut order = orders().open(&assigned(None));
    let first = message(0, 0);
    assert_eq!(order.judge(0, BYTES, &first), Order::Passes);
    pass_forty(order.as_mut(), 1);
    assert_eq!(
        order.judge(41, BYTES, &first),
        Order::Duplicate,
        "nothing is committed"
    );
    order.committed(41, i64::try_from(NOW_MS).unwrap());
    assert_eq!(order.judge(42, BYTES, &first), Order::Replay);
}

#[test]
fn what_others_committed_meanwhile_is_settled_here_as_well() {
    let mut orders = orders();
    let mut order = orders.open(&assigned(None));
    let first = message(0, 0);
    assert_eq!(order.judge(0, BYTES, &first), Order::Passes);
    pass_forty(order.as_mut(), 1);
    orders.close(assigned(None).partition, order);
    let mut order = orders.open(&assigned(Some(41)));
    assert_eq!(order.judge(41, BYTES, &first), Order::Replay);
}

#[test]
fn a_log_that_begins_again_brings_nothing_back_that_was_accepted() {
    let mut order = orders().open(&assigned(None));
    pass_forty(order.as_mut(), 0);
    order.log_begins_again();
    assert_eq!(order.judge(0, BYTES, &message(0, 0)), Order::Replay);
    assert_eq!(order.judge(1, BYTES, &message(100, 100)), Order::Passes);
}

#[test]
fn records_that_are_not_judged_move_the_ring_on_as_well() {
    let mut order = orders().open(&assigned(Some(1_000)));
    let first = message(0, 0);
    assert_eq!(order.judge(1_000, BYTES, &first), Order::Passes);
    assert_eq!(order.judge(1_001, BYTES, &message(1, 1)), Order::Passes);
    for offset in 1_002..1_042 {
        order.pass_over(offset, BYTES);
    }
    order.committed(1_042, i64::try_from(NOW_MS).unwrap());
    assert_eq!(order.judge(1_042, BYTES, &first), Order::Replay);
}
