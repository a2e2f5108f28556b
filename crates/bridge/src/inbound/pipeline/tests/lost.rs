//! Partitions and groups that are lost.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::stage::Rig;
use super::stand_ins::{Call, tp};
use crate::inbound::group::{CommitError, GroupCommand, GroupEvent};
use crate::inbound::pipeline::PipelineEnd;

#[tokio::test(start_paused = true)]
async fn a_lost_session_makes_the_process_unready_until_it_is_assigned_again() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.settle().await;
    assert!(rig.health.is_ready());
    rig.events
        .send(GroupEvent::Lost(vec![tp(0)]))
        .await
        .unwrap();
    rig.settle().await;
    assert!(!rig.health.is_ready());
    rig.assign(&[0]).await;
    rig.settle().await;
    assert!(rig.health.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_lost_partition_is_dropped_without_a_commit_and_delivered_again_later() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "hang"), ("b", "fine")]).await;
    rig.call().await;
    rig.call().await;
    rig.events
        .send(GroupEvent::Lost(vec![tp(0)]))
        .await
        .unwrap();
    assert_eq!(rig.call().await, Call::Dropped(0));
    tokio::time::sleep(Duration::from_secs(5)).await;
    while let Ok(command) = rig.commands.try_recv() {
        assert!(!matches!(
            command,
            GroupCommand::Commit(..) | GroupCommand::Release(_)
        ));
    }
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "fine")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    assert_eq!(rig.call().await, Call::Started(1, 1));
    rig.committed_up_to(0, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_last_commit_answered_after_its_partition_was_lost_and_came_back_takes_nothing_away() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine")]).await;
    rig.call().await;
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    let (_, reply) = rig.commit(0).await;
    rig.events
        .send(GroupEvent::Lost(vec![tp(0)]))
        .await
        .unwrap();
    rig.assign(&[0]).await;
    reply
        .send(Err(CommitError::NotNow("no answer within 10 s".into())))
        .unwrap();
    rig.settle().await;
    rig.deliver(0, &[("a", "fine")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.committed_up_to(0, 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_former_assignment_counts_for_nothing() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.grave.open.store(false, Ordering::SeqCst);
    rig.deliver(0, &[("a", "bad")]).await;
    rig.burial().await;
    rig.events
        .send(GroupEvent::Lost(vec![tp(0)]))
        .await
        .unwrap();
    rig.grave.open.store(true, Ordering::SeqCst);
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "gate"), ("b", "fine")]).await;
    rig.call().await;
    rig.call().await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    rig.nothing_is_committed();
    assert!(rig.buried.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_may_not_be_read_makes_the_process_unready() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    let refused = GroupEvent::Refused(tp(0), "not authorised".into());
    rig.events.send(refused).await.unwrap();
    rig.settle().await;
    assert!(!rig.health.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_group_that_ended_ends_the_pipeline_and_says_why() {
    let rig = Rig::start();
    rig.events
        .send(GroupEvent::Ended("not authorised".into()))
        .await
        .unwrap();
    match rig.task.await.unwrap() {
        PipelineEnd::GroupEnded(reason) => assert_eq!(reason, "not authorised"),
        other => panic!("{other:?}"),
    }
}

/// One whose first commit went unanswered, and whose second came through.
async fn with_one_unheard() -> Rig {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine")]).await;
    rig.call().await;
    let (offset, reply) = rig.commit(0).await;
    assert_eq!(offset, Some(1));
    let unanswered = CommitError::NotNow("no answer within 10 s".into());
    reply.send(Err(unanswered)).unwrap();
    rig.deliver(0, &[("b", "fine")]).await;
    rig.call().await;
    rig.committed_up_to(0, 2).await;
    rig.settle().await;
    rig
}

#[tokio::test(start_paused = true)]
async fn after_a_commit_that_may_be_carried_out_late_what_stands_is_committed_once_more() {
    let mut rig = with_one_unheard().await;
    tokio::time::sleep(Duration::from_secs(28)).await;
    rig.nothing_is_committed();
    // Nothing has moved since.
    assert_eq!(rig.committed(0).await, 2);
    tokio::time::sleep(Duration::from_secs(100)).await;
    rig.nothing_is_committed();
}

#[tokio::test(start_paused = true)]
async fn who_gives_its_partition_up_before_that_commits_it_once_more_at_once() {
    let mut rig = with_one_unheard().await;
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    let (offset, reply) = rig.commit(0).await;
    assert_eq!(offset, Some(2));
    reply.send(Ok(())).unwrap();
    rig.command(|command| matches!(command, GroupCommand::Release(_)))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_a_log_that_was_cut_may_be_carried_out_late_too() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "fine")]).await;
    for _ in 0..2 {
        rig.call().await;
    }
    let (offset, reply) = rig.commit(0).await;
    assert_eq!(offset, Some(2));
    rig.reset(0, 0, 1).await;
    rig.settle().await;
    reply
        .send(Err(CommitError::NotNow("no answer within 10 s".into())))
        .unwrap();
    rig.deliver(0, &[("c", "fine")]).await;
    rig.call().await;
    rig.committed_up_to(0, 3).await;
    assert_eq!(rig.committed(0).await, 3, "once more");
}
