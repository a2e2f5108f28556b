//! What a handler answers, and what comes of it.

use std::time::Duration;

use cybermesh_contracts::rejection::Disposition;
use tokio::time::Instant;

use super::stage::Rig;
use super::stand_ins::{Call, tp};
use crate::inbound::group::GroupCommand;
use crate::settings::OnExhausted;

#[tokio::test(start_paused = true)]
async fn a_handled_message_is_committed_after_its_handler_ended() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "gate")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!matches!(
        rig.commands.try_recv(),
        Ok(GroupCommand::Commit(..))
    ));
    rig.gate.add_permits(1);
    rig.committed_up_to(0, 1).await;
    assert_eq!(rig.metrics.receive_counts().messages_processed, 1);
}

#[tokio::test(start_paused = true)]
async fn skip_is_counted_and_done() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "skip")]).await;
    rig.committed_up_to(0, 1).await;
    assert!(
        rig.exposition
            .text()
            .unwrap()
            .contains(r#"bridge_skipped_total{reason="handler""#)
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_as_long_as_the_handler_asked_while_other_lanes_go_on() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    let before = Instant::now();
    rig.deliver(0, &[("a", "retry once"), ("a", "behind"), ("b", "beside")])
        .await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    assert_eq!(rig.call().await, Call::Started(2, 1));
    assert_eq!(rig.call().await, Call::Started(0, 2));
    assert!(before.elapsed() >= Duration::from_secs(3));
    assert_eq!(rig.call().await, Call::Started(1, 1));
    rig.committed_up_to(0, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_retriable_error_is_tried_as_often_as_allowed_and_then_buried() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "retriable")]).await;
    for attempt in 1..=3 {
        assert_eq!(rig.call().await, Call::Started(0, attempt));
    }
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::AttemptsExhausted);
    assert_eq!(
        (burial.attempts, &*burial.reason),
        (3, "downstream is away")
    );
    rig.committed_up_to(0, 1).await;
    assert_eq!(rig.metrics.receive_counts().messages_failed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_and_a_reject_are_buried_at_once() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "permanent"), ("b", "reject")]).await;
    for _ in 0..2 {
        let (burial, _) = rig.burial().await;
        assert_eq!(burial.disposition, Disposition::HandlerRejected);
        assert_eq!(burial.attempts, 1);
    }
    rig.committed_up_to(0, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_caught_retried_and_buried_by_its_name() {
    for message in ["panic", "panic at call"] {
        let mut rig = Rig::start();
        rig.assign(&[0]).await;
        rig.deliver(0, &[("a", message), ("b", "fine")]).await;
        let (burial, _) = rig.burial().await;
        assert_eq!(burial.disposition, Disposition::HandlerPanic);
        assert_eq!(burial.attempts, 3);
        rig.committed_up_to(0, 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_over_its_deadline_is_cancelled_and_counts_as_retriable() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    let before = Instant::now();
    rig.deliver(0, &[("a", "hang")]).await;
    for attempt in 1..=3 {
        assert_eq!(rig.call().await, Call::Started(0, attempt));
        assert_eq!(rig.call().await, Call::Dropped(0));
    }
    assert!(before.elapsed() >= Duration::from_secs(180));
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::AttemptsExhausted);
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_message_pauses_its_partition_where_the_settings_say_so() {
    let mut rig = Rig::start_with(|config| config.retry.on_exhausted = OnExhausted::Pause);
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "retriable")]).await;
    for attempt in 1..=3 {
        assert_eq!(rig.call().await, Call::Started(0, attempt));
    }
    rig.command(|command| matches!(command, GroupCommand::Pause(_)))
        .await;
    rig.settle().await;
    assert!(!rig.health.is_ready());
    assert!(rig.buried.try_recv().is_err());
    let (report, commits) = rig.stop_within(Duration::from_secs(30)).await;
    assert_eq!(report.left.len(), 1);
    assert!(commits.is_empty());
}

#[tokio::test(start_paused = true)]
async fn fetching_pauses_at_the_bound_and_one_stuck_lane_does_not_starve_other_partitions() {
    let mut rig = Rig::start();
    rig.assign(&[0, 1]).await;
    let stuck: Vec<_> = std::iter::repeat_n(("stuck", "gate"), 50).collect();
    rig.deliver(0, &stuck).await;
    rig.command(|command| matches!(command, GroupCommand::Pause(paused) if *paused == tp(0)))
        .await;
    let fine: Vec<_> = std::iter::repeat_n(("other", "fine"), 50).collect();
    rig.deliver(1, &fine).await;
    rig.committed_up_to(1, 50).await;
    rig.gate.add_permits(50);
    rig.command(|command| matches!(command, GroupCommand::Resume(resumed) if *resumed == tp(0)))
        .await;
    rig.committed_up_to(0, 50).await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_comes_when_it_is_due_and_not_with_the_next_commit() {
    let mut rig = Rig::start_with(|config| config.commit_interval = Duration::from_secs(3_600));
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "retry once")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    let before = Instant::now();
    assert_eq!(rig.call().await, Call::Started(0, 2));
    assert_eq!(before.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_when_its_deadline_drops_it_holds_nothing_up() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "panic when dropped"), ("a", "fine")])
        .await;
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::HandlerPanic);
    assert_eq!(burial.attempts, 3);
    rig.committed_up_to(0, 2).await;
}
