//! Partitions whose messages' order has to be found out before the first is handled.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::stage::{Rig, paused};
use super::stand_ins::{Call, FOREVER, OrderCall, tp};
use crate::inbound::group::{GroupCommand, GroupEvent};

type Answer = oneshot::Sender<Result<(), String>>;

/// The order of this partition is asked for.
async fn opened(rig: &mut Rig, partition: i32) -> Answer {
    loop {
        if let OrderCall::Opened(opened, answer) = rig.told().await {
            assert_eq!(opened, partition);
            return answer;
        }
    }
}

async fn begun(rig: &mut Rig, partition: i32) {
    rig.command(|command| matches!(command, GroupCommand::Begin(begun) if *begun == tp(partition)))
        .await;
}

/// What was being found out is dropped.
async fn is_dropped(answer: &mut Answer) {
    let dropped = timeout(FOREVER, answer.closed()).await;
    dropped.expect("nobody waits for it any more");
}

fn nothing_is_begun(rig: &mut Rig) {
    while let Ok(command) = rig.commands.try_recv() {
        assert!(!matches!(command, GroupCommand::Begin(_)), "{command:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_not_read_before_its_order_is_known_and_others_go_on_meanwhile() {
    let mut rig = Rig::start_reading_back();
    rig.tell_assigned(&[(0, Some(5)), (1, Some(7))]).await;
    let first = opened(&mut rig, 0).await;
    let second = opened(&mut rig, 1).await;
    rig.settle().await;
    nothing_is_begun(&mut rig);
    second.send(Ok(())).unwrap();
    begun(&mut rig, 1).await;
    rig.next_offset.insert(1, 7);
    rig.deliver(1, &[("a", "fine")]).await;
    assert_eq!(rig.call().await, Call::Started(7, 1));
    rig.committed_up_to(1, 8).await;

    first.send(Ok(())).unwrap();
    begun(&mut rig, 0).await;
    rig.next_offset.insert(0, 5);
    rig.deliver(0, &[("a", "fine")]).await;
    assert_eq!(rig.call().await, Call::Started(5, 1));
    rig.committed_up_to(0, 6).await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_cannot_be_found_out_now_is_asked_for_again_and_health_says_why() {
    let mut rig = Rig::start_reading_back();
    rig.tell_assigned(&[(0, Some(5))]).await;
    for attempt in 0..8 {
        let answer = opened(&mut rig, 0).await;
        answer.send(Err(format!("away {attempt}"))).unwrap();
        rig.settle().await;
        let reason = rig.reason_for(&paused(0)).unwrap();
        assert_eq!(reason, format!("replay-state: away {attempt}"));
        nothing_is_begun(&mut rig);
    }
    opened(&mut rig, 0).await.send(Ok(())).unwrap();
    begun(&mut rig, 0).await;
    rig.settle().await;
    assert_eq!(rig.reason_for(&paused(0)), None);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_taken_away_while_its_order_is_found_out_is_released_and_never_begun() {
    for is_lost in [false, true] {
        let mut rig = Rig::start_reading_back();
        rig.tell_assigned(&[(0, Some(5))]).await;
        let mut answer = opened(&mut rig, 0).await;
        if is_lost {
            let lost = GroupEvent::Lost(vec![tp(0)]);
            rig.events.send(lost).await.unwrap();
        } else {
            let revoked = GroupEvent::Revoked(vec![tp(0)]);
            rig.events.send(revoked).await.unwrap();
            rig.command(
                |command| matches!(command, GroupCommand::Release(gone) if *gone == [tp(0)]),
            )
            .await;
        }
        is_dropped(&mut answer).await;
        rig.settle().await;
        nothing_is_begun(&mut rig);
        assert_eq!(rig.reason_for(&paused(0)), None, "lost: {is_lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_whose_order_becomes_known_while_another_is_drained_with_it_is_not_begun() {
    let mut rig = Rig::start_reading_back();
    rig.tell_assigned(&[(0, Some(0)), (1, Some(5))]).await;
    opened(&mut rig, 0).await.send(Ok(())).unwrap();
    let mut late = opened(&mut rig, 1).await;
    begun(&mut rig, 0).await;
    rig.next_offset.insert(0, 0);
    rig.deliver(0, &[("a", "gate")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    let both = GroupEvent::Revoked(vec![tp(0), tp(1)]);
    rig.events.send(both).await.unwrap();
    is_dropped(&mut late).await;
    rig.gate.add_permits(1);
    assert_eq!(rig.committed(0).await, 1);
    rig.command(|command| {
        assert!(!matches!(command, GroupCommand::Begin(_)), "{command:?}");
        matches!(command, GroupCommand::Release(_))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_orders_that_are_still_being_found_out() {
    let mut rig = Rig::start_reading_back();
    rig.tell_assigned(&[(0, Some(5))]).await;
    let mut answer = opened(&mut rig, 0).await;
    let (report, commits) = rig.stop_within(Duration::from_secs(10)).await;
    is_dropped(&mut answer).await;
    assert!(report.is_clean());
    assert!(commits.is_empty());
}
