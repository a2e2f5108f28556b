//! What is not believed, or not new, never reaches a handler.

use std::sync::atomic::Ordering;

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::rejection::Disposition;

use super::stage::Rig;
use super::stand_ins::Call;
use crate::clock::PLAUSIBLE_FROM_MS;
use crate::inbound::group::GroupCommand;
use crate::telemetry::Condition;

#[tokio::test(start_paused = true)]
async fn what_does_not_verify_is_buried_and_never_handled() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "bad"), ("a", "fine")]).await;
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::Decode);
    assert_eq!(rig.call().await, Call::Started(1, 1));
    rig.committed_up_to(0, 2).await;
    assert!(rig.calls.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_verifier_that_panics_costs_the_record_and_not_the_partition() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "bomb"), ("a", "fine")]).await;
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::Decode);
    rig.committed_up_to(0, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_and_a_stale_message_are_skipped_and_an_old_one_is_buried() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "copy"), ("a", "stale"), ("a", "replay")])
        .await;
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::Replay);
    rig.committed_up_to(0, 3).await;
    assert!(rig.calls.try_recv().is_err());
    assert!(rig.buried.try_recv().is_err());
    let text = rig.exposition.text().unwrap();
    assert!(
        text.contains(r#"bridge_skipped_total{reason="duplicate""#),
        "{text}"
    );
    assert!(
        text.contains(r#"bridge_skipped_total{reason="stale""#),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_key_is_withdrawn_between_attempts_is_not_handled_again() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "retriable")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.judge.trusted.store(false, Ordering::SeqCst);
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::UnknownKey);
    assert_eq!(burial.attempts, 1);
    rig.committed_up_to(0, 1).await;
    assert!(rig.calls.try_recv().is_err());
    assert!(rig.shown("bridge_formerly_trusted_total")[0].contains(r#"id="former""#));
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_key_that_was_trusted_until_lately_is_counted_by_its_name() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "withdrawn"), ("a", "bad")]).await;
    rig.committed_up_to(0, 2).await;
    let shown = rig.shown("bridge_formerly_trusted_total");
    assert_eq!(shown.len(), 1);
    assert!(
        shown[0].contains(r#"id="former""#) && shown[0].ends_with(" 1"),
        "{shown:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_kind_whose_last_key_is_withdrawn_pauses_and_judges_nothing() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.judge.keys.store(false, Ordering::SeqCst);
    rig.deliver(0, &[("a", "bad"), ("a", "fine")]).await;
    rig.command(|command| matches!(command, GroupCommand::Pause(_)))
        .await;
    assert!(rig.buried.try_recv().is_err());
    assert!(
        rig.health
            .conditions()
            .iter()
            .any(|(condition, _)| *condition == Condition::KindWithoutKeys(Kind::Commit))
    );
    rig.judge.keys.store(true, Ordering::SeqCst);
    rig.committed_up_to(0, 2).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_judged_by_a_clock_that_cannot_be_believed() {
    let mut rig = Rig::start();
    rig.clock.0.store(0, Ordering::SeqCst);
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "bad"), ("a", "fine")]).await;
    rig.command(|command| matches!(command, GroupCommand::Pause(_)))
        .await;
    assert!(rig.buried.try_recv().is_err());
    assert!(!rig.health.is_ready());
    rig.clock.0.store(PLAUSIBLE_FROM_MS, Ordering::SeqCst);
    rig.committed_up_to(0, 2).await;
    assert!(rig.health.is_ready());
}
