//! Floods, and faults that are ours.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use cybermesh_contracts::rejection::Disposition;
use tokio::time::Instant;

use super::stage::{Rig, paused};
use super::stand_ins::{Call, FUTURE_MS, TOPIC, tp};
use super::written::Written;
use crate::clock::PLAUSIBLE_FROM_MS;
use crate::inbound::group::{Fetched, GroupEvent};
use crate::inbound::guard::GuardPolicy;
use crate::inbound::guard::burials::BurialRate;
use crate::inbound::origin::Origin;
use crate::inbound::pause::Pause;
use crate::telemetry::Condition;

#[tokio::test(start_paused = true)]
async fn a_flood_of_garbage_is_summed_up_committed_and_counted_message_by_message() {
    let mut rig = Rig::start_with(|config| {
        config.guard = GuardPolicy::On(BurialRate {
            per_second: 0,
            burst: 3,
        });
    });
    rig.assign(&[0]).await;
    rig.deliver(0, &[("", "bad"); 100]).await;
    for offset in 0..3 {
        assert_eq!(rig.burial().await.0.offsets(), [offset]);
    }
    let (summary, _) = rig.burial().await;
    assert_eq!(summary.offsets(), (3..100).collect::<Vec<i64>>());
    rig.committed_up_to(0, 100).await;
    assert!(rig.health.is_ready(), "garbage pauses nothing");
    let text = rig.exposition.text().unwrap();
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line("bridge_rejected_total").ends_with(" 100"), "{text}");
    assert!(line("bridge_dlq_requests_total").ends_with(" 4"), "{text}");
    assert_eq!(rig.metrics.receive_counts().messages_failed, 100);
}

#[tokio::test(start_paused = true)]
async fn when_all_authentic_messages_fail_the_partition_pauses_unready_and_tries_until_one_passes()
{
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.let_all_fail().await;
    let reason = rig.reason_for(&paused(0)).unwrap();
    assert!(reason.contains("handlers-fail"), "{reason}");
    rig.committed_up_to(0, 19).await;

    let before = Instant::now();
    rig.deliver(0, &[("a", "fine"), ("a", "behind")]).await;
    assert_eq!(rig.call().await, Call::Started(19, 1));
    assert!(before.elapsed() >= Duration::from_secs(28));
    assert_eq!(rig.call().await, Call::Started(20, 1));
    assert_eq!(rig.call().await, Call::Started(19, 1), "never given up");
    rig.settle().await;
    assert_eq!(rig.reason_for(&paused(0)), None);
}

#[tokio::test(start_paused = true)]
async fn a_paused_partition_goes_on_by_command_and_one_that_is_not_held_does_not() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.let_all_fail().await;
    let written = Written::default();
    let _writes = tracing::subscriber::set_default(written.clone());
    assert_eq!(rig.resume(1).await, None);
    assert!(written.lines("audit ").is_empty());
    assert_eq!(rig.resume(0).await, Some(vec![Pause::Failing]));
    rig.settle().await;
    let audited = written.lines("audit ");
    let resumed = audited.iter().filter(|line| line.contains("goes on"));
    assert_eq!(resumed.count(), 1, "{audited:?}");
    rig.settle().await;
    assert!(rig.health.is_ready());
    assert_eq!(rig.call().await, Call::Started(19, 1));
    rig.committed_up_to(0, 20).await;
    assert_eq!(rig.resume(0).await, Some(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn messages_of_two_signers_from_the_future_pause_until_our_clock_has_caught_up() {
    let mut rig = Rig::start();
    rig.assign(&[0, 1]).await;
    rig.deliver(0, &[("a", "future by 1"), ("a", "future by 2"), ("a", "x")])
        .await;
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::Future);
    rig.settle().await;
    assert!(rig.reason_for(&Condition::Clock).is_some());
    assert!(
        rig.reason_for(&paused(1)).is_some(),
        "it is one clock for all"
    );
    assert!(rig.calls.try_recv().is_err() && rig.buried.try_recv().is_err());
    let caught_up = u64::try_from(FUTURE_MS).unwrap();
    rig.clock.0.store(caught_up, Ordering::SeqCst);
    assert_eq!(rig.call().await, Call::Started(1, 1));
    rig.committed_up_to(0, 3).await;
    assert!(rig.health.is_ready());
    assert_eq!(rig.metrics.receive_counts().messages_received, 3);
}

#[tokio::test(start_paused = true)]
async fn an_operator_who_says_that_our_clock_is_right_has_the_future_buried() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "future by 1"), ("a", "future by 2"), ("a", "x")])
        .await;
    rig.burial().await;
    rig.settle().await;
    assert_eq!(rig.resume(0).await, Some(vec![Pause::Clock]));
    let (burial, _) = rig.burial().await;
    assert_eq!(
        (burial.origin.offset, burial.disposition),
        (1, Disposition::Future)
    );
    rig.committed_up_to(0, 3).await;
}

#[tokio::test(start_paused = true)]
async fn an_append_time_more_than_a_day_ahead_pauses_before_anything_is_judged_by_our_clock() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    let ahead = i64::try_from(PLAUSIBLE_FROM_MS).unwrap() + 2 * 86_400_000;
    let origin = Origin {
        topic: TOPIC.into(),
        partition: 0,
        offset: 0,
        timestamp_ms: ahead,
        append_time_ms: Some(ahead),
        key: None,
        value: Some(Bytes::from_static(b"bad")),
        headers: Vec::new(),
        unreadable: None,
    };
    let fetched = Fetched {
        partition: tp(0),
        records: vec![Arc::new(origin)],
        end: 1,
        high_watermark: 1,
    };
    rig.events.send(GroupEvent::Fetched(fetched)).await.unwrap();
    rig.settle().await;
    assert!(rig.reason_for(&Condition::Clock).is_some());
    assert!(rig.buried.try_recv().is_err());
    let caught_up = u64::try_from(ahead).unwrap();
    rig.clock.0.store(caught_up, Ordering::SeqCst);
    rig.committed_up_to(0, 1).await;
}

#[tokio::test(start_paused = true)]
async fn envelopes_that_fail_for_three_signers_make_the_process_unready_and_pause_nothing() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    for key in 1..=3 {
        assert_eq!(rig.reason_for(&Condition::Audience), None);
        let message = format!("badly enveloped by {key}");
        rig.deliver(0, &[("", &message)]).await;
        rig.burial().await;
        rig.settle().await;
    }
    assert!(rig.reason_for(&Condition::Audience).is_some());
    assert_eq!(rig.reason_for(&paused(0)), None);
    rig.deliver(0, &[("", "enveloped")]).await;
    rig.committed_up_to(0, 4).await;
    assert!(rig.health.is_ready());
}
