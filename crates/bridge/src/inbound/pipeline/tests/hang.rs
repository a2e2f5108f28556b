//! Handlers that hold everything up.

use std::time::Duration;

use tokio::time::timeout;

use super::stage::{Rig, hung, paused};
use super::stand_ins::tp;
use crate::inbound::attempts::RetryPolicy;
use crate::inbound::group::{GroupCommand, GroupEvent};
use crate::inbound::pipeline::PipelineEnd;
use crate::settings::{OnExhausted, OnHang};
use crate::telemetry::Condition;

#[tokio::test(start_paused = true)]
async fn a_message_that_holds_everything_up_makes_the_process_unready_by_its_name() {
    let mut rig = Rig::start_with(|config| config.handler_timeout = Duration::from_secs(3600));
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "gate"), ("c", "fine")])
        .await;
    rig.committed_up_to(0, 1).await;
    tokio::time::sleep(Duration::from_secs(297)).await;
    assert!(rig.health.is_ready());
    tokio::time::sleep(Duration::from_secs(4)).await;
    let detail = rig.reason_for(&hung()).unwrap();
    assert!(detail.contains("control.commits.v1"), "{detail}");
    assert!(
        detail.contains("offset 1 ") && detail.contains("300 s"),
        "{detail}"
    );
    rig.gate.add_permits(1);
    rig.committed_up_to(0, 3).await;
    assert!(rig.health.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_paused_for_a_known_reason_does_not_count_as_hung() {
    let mut rig = Rig::start_with(|config| config.retry.on_exhausted = OnExhausted::Pause);
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "retriable")]).await;
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert!(rig.reason_for(&paused(0)).is_some());
    assert_eq!(rig.reason_for(&hung()), None);
}

#[tokio::test(start_paused = true)]
async fn where_the_settings_say_so_a_hung_member_commits_what_is_done_and_leaves_its_group() {
    let mut rig = Rig::start_with(|config| {
        config.handler_timeout = Duration::from_secs(3600);
        config.on_hang = OnHang::Leave;
    });
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "hang"), ("c", "fine")])
        .await;
    rig.committed_up_to(0, 1).await;
    let left = rig
        .command(|command| matches!(command, GroupCommand::Leave(_)))
        .await;
    let GroupCommand::Leave(reply) = left else {
        unreachable!()
    };
    let asked_meanwhile = rig.ask_to_stop(Duration::from_secs(10)).await;
    reply.send(()).unwrap();
    let told = asked_meanwhile.await.unwrap();
    assert!(told.left_group && told.unfinished() == 1, "{told:?}");
    match rig.task.await.unwrap() {
        PipelineEnd::Hung(reason, report) => {
            assert!(reason.contains("offset 1 "), "{reason}");
            assert!(report.left_group && report.committed);
            assert_eq!((report.left[0].watermark, report.unfinished()), (1, 1));
        }
        other => panic!("{other:?}"),
    }
    let conditions = rig.health.conditions();
    let mut reasons = conditions.iter();
    let unassigned = reasons.find(|(condition, _)| *condition == Condition::Unassigned);
    assert!(
        unassigned.unwrap().1.contains("offset 1 "),
        "{conditions:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_last_commit_does_not_count_as_hung() {
    let mut rig = Rig::start_with(|config| config.handler_timeout = Duration::from_secs(3600));
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "hang")]).await;
    rig.call().await;
    rig.call().await;
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    let (_, _unanswered) = rig.commit(0).await;
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(rig.reason_for(&hung()), None);
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_every_attempt_ends_at_its_deadline_is_buried_and_takes_no_member_out() {
    let mut rig = Rig::start_with(|config| {
        config.retry = RetryPolicy::default();
        config.on_hang = OnHang::Leave;
    });
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "hang")]).await;
    let left = rig.command(|command| matches!(command, GroupCommand::Leave(_)));
    let left = timeout(Duration::from_secs(1000), left).await;
    assert!(
        left.is_err(),
        "left its group before the last attempt was over"
    );
    assert!(rig.buried.try_recv().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_its_handler_put_off_for_long_is_no_hang() {
    let mut rig = Rig::start_with(|config| config.on_hang = OnHang::Leave);
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "retry later")]).await;
    let left = rig.command(|command| matches!(command, GroupCommand::Leave(_)));
    let left = timeout(Duration::from_secs(1000), left).await;
    assert!(left.is_err(), "left its group though nothing hangs");
}
