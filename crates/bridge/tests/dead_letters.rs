//! Dead letters over a broker that refuses them, or does not answer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bench::{Bench, DEAD, GROUP, Handled, PATIENCE, TOPIC, connect, recording};
use cybermesh_bridge::dlq::SPILL_FILE;
use cybermesh_bridge::inbound::Subscriber;
use cybermesh_bridge::state::StateDir;
use cybermesh_bridge::telemetry::Condition;
use cybermesh_contracts::partition::partition_for_key;
use cybermesh_devbroker::{Api, ErrorCode, Fault, Operation, Resource};
use tempfile::TempDir;

const STOP: Duration = Duration::from_secs(10);

/// Garbage at offset 0 of partition 0.
async fn append_garbage(bench: &Bench) {
    let mut garbage = bench.signed(0, 0);
    garbage.value = Some(bytes::Bytes::from_static(b"\xff"));
    assert_eq!(bench.append(0, garbage).await, 0);
}

/// A subscriber that keeps on disk what the dead-letter topic refuses for good.
async fn spilling(bench: &Bench, folder: &TempDir) -> Subscriber {
    let client = connect(&bench.broker).await;
    let mut parts = bench.parts(client, recording(&Handled::default()));
    let state = Arc::new(StateDir::open(folder.path()).unwrap());
    parts.dead_letters = parts
        .dead_letters
        .spilling_into(state, parts.metrics.clone());
    Subscriber::start(&bench.settings(), parts).await.unwrap()
}

async fn until_unready(bench: &Bench) {
    let unready = async {
        loop {
            let conditions = bench.health.conditions();
            let mut conditions = conditions.iter();
            if conditions.any(|(condition, _)| *condition == Condition::DeadLetters) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, unready).await.unwrap();
}

fn form(bench: &Bench) -> Vec<u8> {
    let log = bench.broker.log(DEAD);
    let mut headers = log.records()[0].headers.iter();
    let (_, form) = headers.find(|(name, _)| name == "dlq.format").unwrap();
    form.as_deref().unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_is_done_when_its_dead_letter_is_acknowledged_and_not_before() {
    let bench = Bench::start(&[(TOPIC, 2), (DEAD, 1)]).await;
    let unanswered = Fault::hold_after_apply(Api::Produce).topic(DEAD).once();
    let unanswered = bench.broker.fault(unanswered);
    append_garbage(&bench).await;
    let subscriber = bench.subscribe(recording(&Handled::default())).await;
    let written = bench
        .broker
        .wait_until(|broker| broker.log(DEAD).len() == 1);
    tokio::time::timeout(PATIENCE, written).await.unwrap();
    // A commit names every partition that moved: what is not in this one and the next is not done.
    for offset in 1..=2 {
        bench.append(1, bench.signed(offset, 1)).await;
        bench.committed(1, offset).await;
    }
    assert!(bench.broker.committed(GROUP, TOPIC, 0).is_none());
    unanswered.release();
    bench.committed(0, 1).await;
    subscriber.stop(STOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_cluster_refuses_for_good_is_kept_on_disk_and_done() {
    let denied = |operation| Some(Fault::deny(operation, Resource::Topic).topic(DEAD));
    for (topics, fault) in [
        (&[(TOPIC, 1)][..], None),
        (&[(TOPIC, 1), (DEAD, 1)], denied(Operation::Write)),
        (&[(TOPIC, 1), (DEAD, 1)], denied(Operation::Describe)),
    ] {
        let bench = Bench::start(topics).await;
        if let Some(fault) = fault {
            bench.broker.fault(fault);
        }
        append_garbage(&bench).await;
        let folder = tempfile::tempdir().unwrap();
        let subscriber = spilling(&bench, &folder).await;
        bench.committed(0, 1).await;
        let kept = std::fs::read_to_string(folder.path().join(SPILL_FILE)).unwrap();
        assert_eq!(kept.lines().count(), 1, "{kept}");
        subscriber.stop(STOP).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_cluster_does_not_take_now_is_tried_until_it_does_and_not_kept_on_disk() {
    let bench = Bench::start(&[(TOPIC, 1), (DEAD, 1)]).await;
    let not_now = Fault::error(Api::Produce, ErrorCode::NOT_ENOUGH_REPLICAS).topic(DEAD);
    bench.broker.fault(not_now);
    append_garbage(&bench).await;
    let folder = tempfile::tempdir().unwrap();
    let subscriber = spilling(&bench, &folder).await;
    until_unready(&bench).await;
    assert!(bench.broker.committed(GROUP, TOPIC, 0).is_none());
    bench.broker.clear_faults();
    bench.committed(0, 1).await;
    assert_eq!(bench.dispositions()[&0], "decode");
    assert!(!folder.path().join(SPILL_FILE).exists());
    subscriber.stop(STOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_takes_less_gets_a_smaller_form_at_the_partition_of_its_key() {
    let bench = Bench::start(&[(TOPIC, 1), (DEAD, 11)]).await;
    let too_large = Fault::error(Api::Produce, ErrorCode::MESSAGE_TOO_LARGE);
    bench.broker.fault(too_large.topic(DEAD).once());
    append_garbage(&bench).await;
    let subscriber = bench.subscribe(recording(&Handled::default())).await;
    bench.committed(0, 1).await;
    assert_eq!(form(&bench), b"raw");
    let log = bench.broker.log(DEAD);
    let record = &log.records()[0];
    let partition = partition_for_key(record.key.as_deref().unwrap(), NonZeroU32::new(11).unwrap());
    assert_eq!(record.partition, partition);
    assert_ne!(partition, 0, "the key tells nothing otherwise");
    subscriber.stop(STOP).await;
}
