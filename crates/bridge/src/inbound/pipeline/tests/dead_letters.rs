//! A message is done when its dead letter is acknowledged, and not before.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cybermesh_contracts::rejection::Disposition;

use super::stage::Rig;
use super::stand_ins::{Call, TOPIC, tp};
use super::written::Written;
use crate::inbound::group::{Fetched, GroupCommand, GroupEvent};
use crate::inbound::origin::Origin;
use crate::telemetry::Condition;

#[tokio::test(start_paused = true)]
async fn while_dead_letters_fail_the_partition_pauses_and_nothing_is_committed() {
    let mut rig = Rig::start();
    rig.assign(&[0, 1]).await;
    rig.grave.open.store(false, Ordering::SeqCst);
    rig.deliver(0, &[("a", "bad")]).await;
    assert!(!rig.burial().await.1);
    rig.command(|command| matches!(command, GroupCommand::Pause(paused) if *paused == tp(0)))
        .await;
    rig.deliver(0, &[("a", "fine")]).await;
    rig.deliver(1, &[("a", "fine")]).await;
    assert_eq!(rig.committed(1).await, 1);
    assert_eq!(rig.call().await, Call::Started(0, 1));
    assert!(rig.calls.try_recv().is_err());
    let conditions: Vec<_> = rig
        .health
        .conditions()
        .into_iter()
        .map(|(c, _)| c)
        .collect();
    assert!(
        conditions.contains(&Condition::DeadLetters),
        "{conditions:?}"
    );

    assert!(!rig.burial().await.1);
    rig.grave.open.store(true, Ordering::SeqCst);
    assert!(rig.burial().await.1);
    rig.command(|command| matches!(command, GroupCommand::Resume(resumed) if *resumed == tp(0)))
        .await;
    rig.committed_up_to(0, 2).await;
    assert!(rig.health.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_stretch_that_cannot_be_read_is_buried_and_passed() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    let unreadable = Origin {
        topic: TOPIC.into(),
        partition: 0,
        offset: 4,
        timestamp_ms: 0,
        append_time_ms: None,
        key: None,
        value: None,
        headers: Vec::new(),
        unreadable: Some("the batch's checksum does not fit its content".into()),
    };
    let fetched = Fetched {
        partition: tp(0),
        records: vec![Arc::new(unreadable)],
        end: 9,
        high_watermark: 9,
    };
    rig.events.send(GroupEvent::Fetched(fetched)).await.unwrap();
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::Decode);
    rig.committed_up_to(0, 9).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_whose_writer_panics_was_not_written() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.grave.panics.store(true, Ordering::SeqCst);
    rig.deliver(0, &[("a", "bad")]).await;
    for _ in 0..2 {
        rig.burial().await;
    }
    rig.nothing_is_committed();
    assert!(!rig.health.is_ready());
    rig.grave.panics.store(false, Ordering::SeqCst);
    rig.committed_up_to(0, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_tried_again_is_counted_and_audited_once() {
    let written = Written::default();
    let _writes = tracing::subscriber::set_default(written.clone());
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.grave.open.store(false, Ordering::SeqCst);
    rig.deliver(0, &[("a", "bad")]).await;
    for _ in 0..3 {
        assert!(!rig.burial().await.1);
    }
    rig.grave.open.store(true, Ordering::SeqCst);
    rig.committed_up_to(0, 1).await;
    assert!(rig.shown("bridge_dlq_requests_total")[0].ends_with(" 1"));
    assert!(rig.shown("bridge_dlq_failures_total")[0].ends_with(" 3"));
    assert!(rig.shown("bridge_rejected_total")[0].ends_with(" 1"));
    let audited = written.lines("audit ");
    let rejected = audited
        .iter()
        .filter(|line| line.contains("disposition=decode"));
    assert_eq!(rejected.count(), 1, "{audited:?}");
}
