//! A member of a group over a broker that takes partitions away, loses logs, and refuses.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;

use std::time::Duration;

use bench::{Bench, DEAD, GROUP, Handled, PATIENCE, TOPIC, connect, recording};
use bytes::Bytes;
use cybermesh_bridge::handler::{Context, HandlerError, Handlers, Verdict};
use cybermesh_bridge::inbound::Subscriber;
use cybermesh_bridge::telemetry::Condition;
use cybermesh_contracts::message::Commit;
use cybermesh_contracts::verify::Verified;
use cybermesh_devbroker::{Api, ErrorCode, Fault, Operation, Resource, TransactionEnd};
use tokio::sync::mpsc;

const STOP: Duration = Duration::from_secs(10);
const TOPICS: [(&str, usize); 2] = [(TOPIC, 2), (DEAD, 1)];

async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event).await.unwrap()
}

/// Waits until such a condition holds, and gives its details.
async fn until(bench: &Bench, wanted: impl Fn(&Condition) -> bool) -> String {
    soon(async {
        loop {
            let conditions = bench.health.conditions();
            let mut conditions = conditions.into_iter();
            if let Some((_, detail)) = conditions.find(|(condition, _)| wanted(condition)) {
                return detail;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn until_ready(bench: &Bench) {
    soon(async {
        while !bench.health.is_ready() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Waits until a message came all the way, which takes an assignment.
async fn has_partitions(bench: &Bench) {
    bench.append(0, bench.signed(1, 0)).await;
    bench.committed(0, 1).await;
    until_ready(bench).await;
}

/// Tells the height of each message that is handled.
fn telling(heights: mpsc::UnboundedSender<i64>) -> Handlers {
    Handlers::new().register(move |message: Verified<Commit>, _: Context| {
        let heights = heights.clone();
        async move {
            let told = heights.send(message.message().height());
            told.map_err(|_| HandlerError::permanent("nobody listens"))?;
            Ok(Verdict::Done)
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_taken_away_is_released_long_before_the_group_loses_patience() {
    let bench = Bench::start(&TOPICS).await;
    let (heights, mut handled) = mpsc::unbounded_channel();
    let first = bench.subscribe(telling(heights)).await;
    bench.append(0, bench.signed(1, 0)).await;
    assert_eq!(soon(handled.recv()).await, Some(1));
    let before = bench.broker.group(GROUP).unwrap();
    let second = bench.subscribe(recording(&Handled::default())).await;
    // Half the time members have to rejoin: whoever does not release is not in it yet.
    let both = bench.broker.wait_until(|broker| {
        let group = broker.group(GROUP).unwrap();
        group.members.len() == 2 && group.generation > before.generation
    });
    tokio::time::timeout(PATIENCE / 2, both).await.unwrap();
    let group = bench.broker.group(GROUP).unwrap();
    let mut members = group.members.iter().map(|member| &member.member_id);
    assert!(members.any(|member| *member == before.members[0].member_id));
    for (partition, height) in [(0, 2), (1, 3)] {
        let end = bench
            .append(partition, bench.signed(height, partition))
            .await
            + 1;
        bench.committed(partition, end).await;
    }
    first.stop(STOP).await;
    second.stop(STOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_session_is_lost_is_unready_until_it_has_joined_again() {
    let bench = Bench::start(&TOPICS).await;
    let subscriber = bench.subscribe(recording(&Handled::default())).await;
    has_partitions(&bench).await;
    let rejoining = bench.broker.fault(Fault::hold(Api::JoinGroup));
    let lost = Fault::error(Api::Heartbeat, ErrorCode::UNKNOWN_MEMBER_ID).once();
    bench.broker.fault(lost);
    let detail = until(&bench, |held| *held == Condition::Unassigned).await;
    assert!(detail.contains("lost"), "{detail}");
    rejoining.release();
    bench.broker.clear_faults();
    until_ready(&bench).await;
    subscriber.stop(STOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_made_again_is_read_from_its_beginning_and_believes_no_copies() {
    let bench = Bench::start(&[(TOPIC, 1), (DEAD, 1)]).await;
    let (heights, mut handled) = mpsc::unbounded_channel();
    let subscriber = bench.subscribe(telling(heights)).await;
    let first = bench.signed(1, 0);
    bench.append(0, first.clone()).await;
    for height in 2..=4 {
        bench.append(0, bench.signed(height, 0)).await;
    }
    for height in 1..=4 {
        assert_eq!(soon(handled.recv()).await, Some(height));
    }
    bench.committed(0, 4).await;
    let renewed = Fault::renew_topic(Api::Fetch).topic(TOPIC).once();
    bench.broker.fault(renewed);
    let empty = |broker: &cybermesh_devbroker::DevBroker| broker.log(TOPIC).is_empty();
    soon(bench.broker.wait_until(empty)).await;
    bench.append_by_another(0, first).await;
    bench.append_by_another(0, bench.signed(5, 0)).await;
    assert_eq!(soon(handled.recv()).await, Some(5));
    subscriber.stop(STOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_stretch_of_the_log_is_buried_and_what_follows_is_handled() {
    let bench = Bench::start(&[(TOPIC, 1), (DEAD, 1)]).await;
    let (heights, mut handled) = mpsc::unbounded_channel();
    bench.append(0, bench.signed(1, 0)).await;
    let mut damaged = vec![0; 100];
    // Length, magic: a batch by its frame, with a checksum that fits nothing.
    damaged[8..12].copy_from_slice(&88_i32.to_be_bytes());
    damaged[16] = 2;
    // Four records by its last offset.
    damaged[23..27].copy_from_slice(&3_i32.to_be_bytes());
    let at = bench
        .broker
        .append_unchecked(TOPIC, 0, &Bytes::from(damaged), 3);
    assert_eq!(at, Some(1));
    let subscriber = bench.subscribe(telling(heights)).await;
    assert_eq!(soon(handled.recv()).await, Some(1));
    bench.committed(0, 5).await;
    bench.append(0, bench.signed(2, 0)).await;
    assert_eq!(soon(handled.recv()).await, Some(2));
    bench.committed(0, 6).await;
    assert_eq!(bench.dispositions()[&1], "decode");
    subscriber.stop(STOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_message_at_the_end_of_the_log_counts_as_done() {
    let bench = Bench::start(&[(TOPIC, 1), (DEAD, 1)]).await;
    bench.append(0, bench.signed(1, 0)).await;
    let marker = bench
        .broker
        .end_transaction(TOPIC, 0, 7, 0, TransactionEnd::Commit);
    assert_eq!(marker, Some(1));
    let subscriber = bench.subscribe(recording(&Handled::default())).await;
    bench.committed(0, 2).await;
    subscriber.stop(STOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_may_not_be_read_any_more_makes_the_process_unready_by_its_name() {
    let bench = Bench::start(&TOPICS).await;
    let subscriber = bench.subscribe(recording(&Handled::default())).await;
    has_partitions(&bench).await;
    let denied = Fault::deny(Operation::Read, Resource::Topic).topic(TOPIC);
    bench.broker.fault(denied);
    let detail = until(
        &bench,
        |held| matches!(held, Condition::PartitionPaused { topic, .. } if topic == TOPIC),
    )
    .await;
    assert_eq!(detail, "refused");
    subscriber.stop(STOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_may_not_be_used_ends_the_subscriber_with_the_reason() {
    let bench = Bench::start(&TOPICS).await;
    bench
        .broker
        .fault(Fault::deny(Operation::Read, Resource::Group));
    let mut subscriber = bench.subscribe(recording(&Handled::default())).await;
    let ended = soon(subscriber.ended()).await.to_string();
    assert!(ended.contains("GROUP_AUTHORIZATION_FAILED"), "{ended}");
    assert!(ended.contains(GROUP), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_refused_is_made_again() {
    let bench = Bench::start(&[(TOPIC, 1), (DEAD, 1)]).await;
    let refused = Fault::error(Api::OffsetCommit, ErrorCode::OFFSET_METADATA_TOO_LARGE);
    bench.broker.fault(refused.once());
    bench.append(0, bench.signed(1, 0)).await;
    let subscriber = bench.subscribe(recording(&Handled::default())).await;
    bench.committed(0, 1).await;
    subscriber.stop(STOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_was_not_left_in_order_is_said_so() {
    let bench = Bench::start(&[(TOPIC, 1), (DEAD, 1)]).await;
    let subscriber = bench.subscribe(recording(&Handled::default())).await;
    has_partitions(&bench).await;
    let denied = Fault::error(Api::LeaveGroup, ErrorCode::GROUP_AUTHORIZATION_FAILED);
    bench.broker.fault(denied);
    let report = subscriber.stop(STOP).await;
    assert!(report.committed && !report.left_group, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_paused_for_its_dead_letters_is_read_on_afterwards() {
    let bench = Bench::start(&[(TOPIC, 1), (DEAD, 1)]).await;
    let not_now = Fault::error(Api::Produce, ErrorCode::NOT_ENOUGH_REPLICAS).topic(DEAD);
    bench.broker.fault(not_now);
    let mut garbage = bench.signed(0, 0);
    garbage.value = Some(Bytes::from_static(b"\xff"));
    bench.append(0, garbage).await;
    let (heights, mut handled) = mpsc::unbounded_channel();
    let subscriber = bench.subscribe(telling(heights)).await;
    until(&bench, |held| *held == Condition::DeadLetters).await;
    bench.broker.clear_faults();
    bench.committed(0, 1).await;
    bench.append(0, bench.signed(1, 0)).await;
    assert_eq!(soon(handled.recv()).await, Some(1));
    subscriber.stop(STOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_whose_clock_is_a_day_ahead_puts_ours_in_doubt() {
    let bench = Bench::start_appending_by_its_clock(TOPIC).await;
    let (day, hour) = (86_400_000, 3_600_000);
    bench.broker.shift_clock(day + hour);
    bench.append(0, bench.signed(1, 0)).await;
    let client = connect(&bench.broker).await;
    let parts = bench.parts(client, recording(&Handled::default()));
    let subscriber = Subscriber::start(&bench.settings(), parts).await.unwrap();
    until(&bench, |held| *held == Condition::Clock).await;
    subscriber.stop(STOP).await;
}
