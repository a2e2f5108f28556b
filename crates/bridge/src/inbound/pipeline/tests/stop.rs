//! The end of the pipeline.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::stage::Rig;
use super::stand_ins::{Call, tp};
use crate::inbound::group::{CommitError, GroupCommand, GroupEvent};
use crate::inbound::pipeline::{PipelineEnd, Request, StopRequest};
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

#[tokio::test(start_paused = true)]
async fn a_stop_whose_commit_is_refused_or_never_answered_says_so() {
    for answer in ["refused", "gone", "never"] {
        let mut rig = Rig::start();
        rig.assign(&[0]).await;
        rig.deliver(0, &[("a", "fine"), ("b", "gate")]).await;
        rig.call().await;
        rig.call().await;
        let report = rig.ask_to_stop(Duration::from_secs(10)).await;
        rig.gate.add_permits(1);
        let (offset, reply) = rig.commit(0).await;
        assert_eq!(offset, Some(2));
        let kept = match answer {
            "refused" => {
                let refused = CommitError("coordinator is gone".into());
                reply.send(Err(refused)).unwrap();
                None
            }
            "gone" => {
                drop(reply);
                None
            }
            _ => Some(reply),
        };
        let report = report.await.unwrap();
        assert!(!report.committed, "{answer}");
        assert!(report.left.is_empty(), "{answer}: {report:?}");
        drop(kept);
    }
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
