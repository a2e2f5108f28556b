//! The end of the pipeline.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::stage::Rig;
use super::stand_ins::Call;
use crate::inbound::pipeline::{PipelineEnd, Request, StopRequest};

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
