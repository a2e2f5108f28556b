//! Partitions that are taken away in order, and commits.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::stage::Rig;
use super::stand_ins::{Call, OrderCall, tp};
use crate::inbound::group::{CommitError, GroupCommand, GroupEvent};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(start_paused = true)]
async fn a_revoke_waits_for_running_handlers_commits_and_then_releases() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "gate"), ("a", "never started")])
        .await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    rig.settle().await;
    rig.gate.add_permits(1);
    assert_eq!(rig.committed(0).await, 1);
    rig.command(
        |command| matches!(command, GroupCommand::Release(released) if *released == [tp(0)]),
    )
    .await;
    assert!(rig.calls.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_revoke_in_the_middle_of_a_retry_commits_nothing_for_it() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("a", "retriable"), ("b", "fine")])
        .await;
    for _ in 0..3 {
        rig.call().await;
    }
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    let before = Instant::now();
    assert_eq!(rig.committed(0).await, 1);
    rig.command(|command| matches!(command, GroupCommand::Release(_)))
        .await;
    assert!(before.elapsed() < Duration::from_secs(1));
    rig.settle().await;
    assert!(rig.calls.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_revoke_cancels_what_does_not_end_in_time_and_commits_only_what_is_done() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "hang"), ("c", "fine")])
        .await;
    for _ in 0..3 {
        rig.call().await;
    }
    let before = Instant::now();
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    assert_eq!(rig.committed(0).await, 1);
    rig.command(|command| matches!(command, GroupCommand::Release(_)))
        .await;
    assert!(before.elapsed() >= Duration::from_secs(30));
    assert_eq!(rig.call().await, Call::Dropped(1));
}

#[tokio::test(start_paused = true)]
async fn a_last_attempt_that_a_revoke_cancels_is_not_buried() {
    let mut rig = Rig::start_with(|config| {
        config.retry.attempts = NonZeroU32::MIN;
        config.revoke_timeout = Duration::from_secs(10);
    });
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "hang")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    assert_eq!(rig.call().await, Call::Dropped(0));
    rig.command(|command| matches!(command, GroupCommand::Release(_)))
        .await;
    rig.settle().await;
    assert!(rig.buried.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_ends_after_the_last_commit_of_its_partition_changes_nothing() {
    let mut rig = Rig::start_with(|config| config.retry.attempts = NonZeroU32::MIN);
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "hang")]).await;
    rig.call().await;
    rig.call().await;
    rig.grave.open.store(false, Ordering::SeqCst);
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    let (offset, reply) = rig.commit(0).await;
    assert_eq!(offset, Some(1));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(rig.buried.try_recv().is_err());
    reply.send(Ok(())).unwrap();
    rig.command(|command| matches!(command, GroupCommand::Release(_)))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_release_follows_a_commit_that_failed_too() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine")]).await;
    rig.call().await;
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    let (_, reply) = rig.commit(0).await;
    reply
        .send(Err(CommitError::NotNow("coordinator is gone".into())))
        .unwrap();
    rig.command(|command| matches!(command, GroupCommand::Release(_)))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_failed_is_made_again() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine")]).await;
    let (_, reply) = rig.commit(0).await;
    reply
        .send(Err(CommitError::NotNow("coordinator is loading".into())))
        .unwrap();
    assert_eq!(rig.committed(0).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_revoke_ends_at_its_deadline_whenever_the_next_commit_is_due() {
    let mut rig = Rig::start_with(|config| {
        config.commit_interval = HOUR;
        config.handler_timeout = HOUR;
    });
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "hang")]).await;
    rig.call().await;
    rig.call().await;
    let before = Instant::now();
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    let (offset, reply) = rig.commit(0).await;
    assert_eq!(offset, Some(1));
    assert_eq!(before.elapsed().as_secs(), 30);
    // Its last commit is not answered yet.
    assert_eq!(rig.call().await, Call::Dropped(1));
    assert_eq!(before.elapsed().as_secs(), 30);
    reply.send(Ok(())).unwrap();
    rig.command(|command| matches!(command, GroupCommand::Release(_)))
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_fails_while_its_partition_is_committed_for_the_last_time_is_left_to_the_next_owner() {
    let mut rig = Rig::start_with(|config| {
        config.commit_interval = HOUR;
        config.revoke_timeout = Duration::from_secs(10);
    });
    rig.assign(&[0]).await;
    let failing = ["a", "b", "c", "d", "e"].map(|lane| (lane, "gate, then permanent"));
    rig.deliver(0, &[("z", "fine")]).await;
    rig.deliver(0, &failing).await;
    for _ in 0..6 {
        rig.call().await;
    }
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(9_990)).await;
    // They end just when their time is up: the first to be seen is the last to count.
    rig.gate.add_permits(5);
    tokio::time::advance(Duration::from_millis(20)).await;
    let (offset, reply) = rig.commit(0).await;
    assert_eq!(offset, Some(1));
    rig.settle().await;
    let mut buried = 0;
    while rig.buried.try_recv().is_ok() {
        buried += 1;
    }
    assert!(buried <= 1, "{buried} were buried");
    reply.send(Ok(())).unwrap();
    rig.command(|command| matches!(command, GroupCommand::Release(_)))
        .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_committed_while_nothing_moves_or_a_commit_is_on_its_way() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine")]).await;
    let (offset, reply) = rig.commit(0).await;
    assert_eq!(offset, Some(1));
    rig.deliver(0, &[("a", "fine")]).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    rig.nothing_is_committed();
    reply.send(Ok(())).unwrap();
    assert_eq!(rig.committed(0).await, 2);
    assert!(matches!(rig.told().await, OrderCall::Committed(1)));
    assert!(matches!(rig.told().await, OrderCall::Committed(2)));
    tokio::time::sleep(Duration::from_secs(10)).await;
    rig.nothing_is_committed();
}
