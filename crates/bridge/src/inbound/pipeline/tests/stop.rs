//! The end of the pipeline.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::stage::Rig;
use super::stand_ins::{Call, tp};
use crate::inbound::group::{CommitError, GroupCommand, GroupEvent};
use crate::inbound::pipeline::{PipelineEnd, Request, StopRequest, SubscriberReport};
use crate::settings::OnExhausted;

#[tokio::test(start_paused = true)]
async fn an_orderly_stop_finishes_what_runs_commits_and_leaves_last() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "gate"), ("b", "reject"), ("a", "never started")])
        .await;
    rig.call().await;
    rig.call().await;
    let gate = Arc::clone(&rig.gate);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        gate.add_permits(1);
    });
    let (report, commits) = rig.stop_within(Duration::from_secs(30)).await;
    assert!(report.committed && report.left_group);
    assert_eq!(report.unfinished(), 1);
    assert_eq!(report.left[0].watermark, 2);
    let (last, after_leaving) = commits.last().unwrap();
    assert_eq!(last.offset, 2);
    assert!(!after_leaving);
}

#[tokio::test(start_paused = true)]
async fn a_stop_cancels_what_does_not_end_before_its_deadline() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "hang")]).await;
    rig.call().await;
    let before = Instant::now();
    let (report, commits) = rig.stop_within(Duration::from_secs(10)).await;
    assert!(before.elapsed() <= Duration::from_secs(10));
    assert_eq!(report.unfinished(), 1);
    assert!(commits.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_group_that_does_not_answer_does_not_hold_up_a_stop() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine")]).await;
    rig.call().await;
    let (reply, report) = oneshot::channel();
    let deadline = Instant::now() + Duration::from_secs(10);
    rig.requests
        .send(Request::Stop(StopRequest { deadline, reply }))
        .await
        .unwrap();
    let report = report.await.unwrap();
    assert!(Instant::now() <= deadline + Duration::from_millis(1));
    assert!(!report.committed && !report.left_group);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_is_dropped_cancels_its_handlers() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "hang")]).await;
    rig.call().await;
    drop(rig.requests);
    assert!(matches!(rig.task.await.unwrap(), PipelineEnd::Abandoned));
    assert_eq!(rig.calls.recv().await, Some(Call::Dropped(0)));
}

#[tokio::test(start_paused = true)]
async fn a_stop_fetches_no_more_and_keeps_time_to_commit_and_leave() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "hang")]).await;
    rig.call().await;
    rig.call().await;
    let report = rig.ask_to_stop(Duration::from_secs(10)).await;
    rig.command(|command| matches!(command, GroupCommand::Pause(paused) if *paused == tp(0)))
        .await;
    let (offset, reply) = rig.commit(0).await;
    assert_eq!(offset, Some(1));
    // A coordinator that takes its time, and a handler that has no more.
    assert_eq!(rig.call().await, Call::Dropped(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    reply.send(Ok(())).unwrap();
    let leave = rig
        .command(|command| matches!(command, GroupCommand::Leave(_)))
        .await;
    let GroupCommand::Leave(reply) = leave else {
        unreachable!()
    };
    reply.send(()).unwrap();
    let report = report.await.unwrap();
    assert!(report.committed && report.left_group, "{report:?}");
    assert!(!report.is_clean());
}

/// A stop of ten seconds whose only partition has a watermark of 2 to be committed.
async fn stopping() -> (Rig, oneshot::Receiver<SubscriberReport>) {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "gate")]).await;
    rig.call().await;
    rig.call().await;
    let report = rig.ask_to_stop(Duration::from_secs(10)).await;
    rig.gate.add_permits(1);
    (rig, report)
}

fn not_now() -> CommitError {
    CommitError::NotNow("coordinator is loading".into())
}

async fn lets_leave(rig: &mut Rig) {
    let leave = rig.commands.recv().await;
    let Some(GroupCommand::Leave(reply)) = leave else {
        panic!("{leave:?}")
    };
    reply.send(()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_whose_commit_is_refused_for_good_says_so_and_leaves() {
    for answer in ["refused", "gone"] {
        let (mut rig, report) = stopping().await;
        let (offset, reply) = rig.commit(0).await;
        assert_eq!(offset, Some(2));
        match answer {
            "refused" => reply
                .send(Err(CommitError::Refused("no permission".into())))
                .unwrap(),
            _ => drop(reply),
        }
        lets_leave(&mut rig).await;
        let report = report.await.unwrap();
        assert!(!report.committed && report.left_group, "{answer}");
        assert!(report.left.is_empty(), "{answer}: {report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_whose_commit_is_never_answered_says_so() {
    let (mut rig, report) = stopping().await;
    let (_, _kept) = rig.commit(0).await;
    let report = report.await.unwrap();
    assert!(!report.committed && report.left.is_empty(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_commits_again_what_may_come_through() {
    let (mut rig, report) = stopping().await;
    for _ in 0..3 {
        let (offset, reply) = rig.commit(0).await;
        assert_eq!(offset, Some(2));
        reply.send(Err(not_now())).unwrap();
    }
    assert_eq!(rig.committed(0).await, 2);
    lets_leave(&mut rig).await;
    let report = report.await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_cannot_commit_tries_in_measure_and_keeps_time_to_leave() {
    let (mut rig, report) = stopping().await;
    let mut tries = 0;
    let leave = loop {
        match rig.commands.recv().await.unwrap() {
            GroupCommand::Commit(_, reply) => {
                tries += 1;
                reply.send(Err(not_now())).unwrap();
            }
            GroupCommand::Leave(reply) => break reply,
            _ => {}
        }
    };
    assert!((10..50).contains(&tries), "{tries}");
    leave.send(()).unwrap();
    let report = report.await.unwrap();
    assert!(!report.committed && report.left_group, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn an_earlier_commit_that_failed_is_no_matter_when_the_last_came_through() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine")]).await;
    rig.call().await;
    let (_, earlier) = rig.commit(0).await;
    let report = rig.ask_to_stop(Duration::from_secs(10)).await;
    let (offset, last) = rig.commit(0).await;
    assert_eq!(offset, Some(1));
    last.send(Ok(())).unwrap();
    earlier.send(Err(not_now())).unwrap();
    let answered = Instant::now();
    lets_leave(&mut rig).await;
    assert_eq!(Instant::now(), answered, "there is nothing to wait for");
    assert!(report.await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn what_was_being_revoked_is_committed_again_by_a_stop_too() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "gate")]).await;
    rig.call().await;
    rig.call().await;
    rig.committed_up_to(0, 1).await;
    rig.gate.add_permits(1);
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    let (offset, revoking) = rig.commit(0).await;
    assert_eq!(offset, Some(2));
    let report = rig.ask_to_stop(Duration::from_secs(10)).await;
    let (_, last) = rig.commit(0).await;
    last.send(Err(not_now())).unwrap();
    revoking.send(Err(not_now())).unwrap();
    assert_eq!(rig.committed(0).await, 2);
    lets_leave(&mut rig).await;
    assert!(report.await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_during_a_stop_is_neither_committed_nor_reported() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "gate")]).await;
    rig.call().await;
    rig.call().await;
    let report = rig.ask_to_stop(Duration::from_secs(10)).await;
    rig.command(|command| matches!(command, GroupCommand::Pause(_)))
        .await;
    rig.events
        .send(GroupEvent::Lost(vec![tp(0)]))
        .await
        .unwrap();
    let leave = rig.commands.recv().await;
    let Some(GroupCommand::Leave(reply)) = leave else {
        panic!("{leave:?}")
    };
    // Told while it leaves; nobody is there to fill the way for it.
    for _ in 0..40 {
        rig.events.send(GroupEvent::Lost(Vec::new())).await.unwrap();
    }
    reply.send(()).unwrap();
    let report = report.await.unwrap();
    assert!(report.left.is_empty() && report.left_group, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_takes_the_conditions_of_the_way_in_with_it() {
    let mut rig = Rig::start_with(|config| config.retry.on_exhausted = OnExhausted::Pause);
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "retriable")]).await;
    rig.command(|command| matches!(command, GroupCommand::Pause(_)))
        .await;
    rig.settle().await;
    assert!(!rig.health.is_ready());
    let health = rig.health.clone();
    rig.stop_within(Duration::from_secs(10)).await;
    assert!(health.is_ready(), "{:?}", health.conditions());
}
