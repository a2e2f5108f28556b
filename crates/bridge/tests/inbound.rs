//! The way in over a broker: signed records in, handlers called, dead letters and commits out.

mod bench;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bench::{Bench, DEAD, GROUP, Handled, PATIENCE, TOPIC, connect, recording};
use cybermesh_bridge::clock::{SystemClock, WallClock};
use cybermesh_bridge::handler::{Context, HandlerError, Handlers, Verdict};
use cybermesh_bridge::inbound::{Subscriber, SubscriberError};
use cybermesh_bridge::telemetry::Condition;
use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::Commit;
use cybermesh_contracts::trust::TrustStore;
use cybermesh_contracts::verify::Verified;
use cybermesh_devbroker::{Api, ErrorCode, Fault};
use cybermesh_transport::{Admin, admin::NewTopic};
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_ends_where_the_promise_says() {
    let bench = Bench::start(&[(TOPIC, 1), (DEAD, 2)]).await;
    let calls: Arc<Mutex<Vec<(i64, u32)>>> = Arc::default();
    let seen = Arc::clone(&calls);
    let handlers = Handlers::new().register(move |message: Verified<Commit>, context: Context| {
        let seen = Arc::clone(&seen);
        async move {
            let height = message.message().height();
            seen.lock().unwrap().push((height, context.attempt()));
            match height {
                1 => Ok(Verdict::skip("nothing to do")),
                2 if context.attempt() == 1 => Err(HandlerError::retriable("not yet")),
                3 => Err(HandlerError::permanent("cannot be")),
                4 => Ok(Verdict::reject("will not be")),
                5 => panic!("as the message says"),
                6 => std::future::pending().await,
                7 => Err(HandlerError::retriable("never")),
                _ => Ok(Verdict::Done),
            }
        }
    });
    for height in 0..8 {
        bench.append(0, bench.signed(height, 0)).await;
    }
    let original = bench.signed(100, 0);
    bench.append(0, original.clone()).await;
    bench.append(0, original).await;
    let mut forged = bench.signed(101, 0);
    let mut value = forged.value.unwrap().to_vec();
    let in_block_hash = value.windows(32).position(|bytes| bytes == [7; 32]);
    value[in_block_hash.unwrap()] ^= 1;
    forged.value = Some(value.into());
    bench.append(0, forged).await;
    let mut garbage = bench.signed(102, 0);
    garbage.value = Some(bytes::Bytes::from_static(b"\xff\xff\xff"));
    bench.append(0, garbage).await;
    let mut misplaced = bench.signed(103, 1);
    misplaced.key = Some(bytes::Bytes::from_static(b"other"));
    bench.append(0, misplaced).await;
    let week_ago = SystemClock.unix_ms() - 8 * 24 * 3_600_000;
    bench.append(0, bench.signed_at(104, 0, week_ago)).await;
    let end = bench.append(0, bench.signed(105, 0)).await + 1;

    let subscriber = bench.subscribe(handlers).await;
    bench.committed(0, end).await;

    let dispositions = bench.dispositions();
    let expected: BTreeMap<i64, String> = [
        (3, "handler-rejected"),
        (4, "handler-rejected"),
        (5, "handler-panic"),
        (6, "attempts-exhausted"),
        (7, "attempts-exhausted"),
        (10, "signature-invalid"),
        (11, "decode"),
        (12, "envelope-invalid"),
    ]
    .map(|(offset, name)| (offset, name.to_owned()))
    .into();
    assert_eq!(dispositions, expected);

    let calls = calls.lock().unwrap().clone();
    for (height, attempts) in [
        (0, 1),
        (1, 1),
        (2, 2),
        (3, 1),
        (5, 2),
        (6, 2),
        (100, 1),
        (105, 1),
    ] {
        let seen = calls.iter().filter(|(of, _)| *of == height).count();
        assert_eq!(seen, attempts, "calls for height {height}");
    }
    assert!(
        calls
            .iter()
            .all(|(height, _)| ![101, 102, 103, 104].contains(height))
    );
    let counts = subscriber.metrics();
    assert_eq!(counts.messages_received, u64::try_from(end).unwrap());
    assert_eq!(counts.messages_failed, 8);
    assert!(subscriber.stop(Duration::from_secs(10)).await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_copy_is_skipped_and_an_old_one_is_buried_as_a_replay() {
    let bench = Bench::start(&[(TOPIC, 1), (DEAD, 1)]).await;
    let handled = Handled::default();
    let subscriber = bench.subscribe(recording(&handled)).await;
    let hour_ago = SystemClock.unix_ms() - 3_600_000;
    let old = bench.signed_at(0, 0, hour_ago);
    bench.append(0, old.clone()).await;
    bench.append(0, old.clone()).await;
    for height in 1..=40 {
        bench.append(0, bench.signed(height, 0)).await;
    }
    bench.committed(0, 42).await;
    // The ring has let go of the first message once this one is judged after that commit.
    bench.append(0, bench.signed(41, 0)).await;
    bench.committed(0, 43).await;
    let copy = bench.append(0, old).await;
    bench.committed(0, copy + 1).await;
    let expected = BTreeMap::from([(copy, "replay".to_owned())]);
    assert_eq!(bench.dispositions(), expected);
    assert_eq!(
        handled
            .lock()
            .unwrap()
            .iter()
            .filter(|height| **height == 0)
            .count(),
        1
    );
    subscriber.stop(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_message_is_buried_by_reference() {
    let bench = Bench::start(&[(TOPIC, 1), (DEAD, 1)]).await;
    let mut large = bench.signed(1, 0);
    // Incompressible is not needed: the batch is small on the wire, its record is not.
    large.value = Some(vec![7; 1_500_000].into());
    bench.append(0, large).await;
    let handled = Handled::default();
    let subscriber = bench.subscribe(recording(&handled)).await;
    bench.committed(0, 1).await;
    assert_eq!(bench.dispositions()[&0], "oversize");
    let form = bench.broker.log(DEAD).records()[0]
        .headers
        .iter()
        .find(|(name, _)| name == "dlq.format")
        .and_then(|(_, value)| value.clone());
    assert_eq!(form.as_deref(), Some(&b"reference"[..]));
    subscriber.stop(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_dead_letter_topic_the_partition_pauses_until_there_is_one() {
    let bench = Bench::start(&[(TOPIC, 2)]).await;
    let mut garbage = bench.signed(0, 0);
    garbage.value = Some(bytes::Bytes::from_static(b"\xff"));
    bench.append(0, garbage).await;
    bench.append(1, bench.signed(1, 1)).await;
    let handled = Handled::default();
    let subscriber = bench.subscribe(recording(&handled)).await;
    bench.committed(1, 1).await;
    let unready = async {
        while !bench
            .health
            .conditions()
            .iter()
            .any(|(condition, _)| *condition == Condition::DeadLetters)
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, unready).await.unwrap();
    assert!(bench.broker.committed(GROUP, TOPIC, 0).is_none());
    Admin::new(bench.client.clone())
        .create_topic(NewTopic::new(DEAD))
        .await
        .unwrap();
    bench.committed(0, 1).await;
    assert_eq!(bench.dispositions()[&0], "decode");
    subscriber.stop(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_joins_and_one_that_crashes_lose_nothing() {
    const MESSAGES: i64 = 120;
    let bench = Bench::start(&[(TOPIC, 4), (DEAD, 1)]).await;
    let mut sent = [0_i64; 4];
    let (first_handled, second_handled) = (Handled::default(), Handled::default());
    let first = bench.subscribe(recording(&first_handled)).await;
    let mut second = None;
    let first_signed_at = SystemClock.unix_ms() - 1000 * u64::try_from(MESSAGES).unwrap();
    for height in 0..MESSAGES {
        let partition = usize::try_from(height % 4).unwrap();
        let number = i32::try_from(partition).unwrap();
        // A second of its own for each: the ring is short, and the second that it let go of last is closed to whoever
        // has the partition next.
        let signed_at = first_signed_at + u64::try_from(height).unwrap() * 1000;
        let record = bench.signed_at(height, number, signed_at);
        sent[partition] = bench.append(number, record).await + 1;
        if height == 40 {
            second = Some(bench.subscribe(recording(&second_handled)).await);
        }
        if height == 80 {
            let joined = bench.broker.wait_until(|broker| {
                broker
                    .group(GROUP)
                    .is_some_and(|group| group.members.len() == 2)
            });
            tokio::time::timeout(PATIENCE, joined).await.unwrap();
        }
    }
    // A crash: nothing is committed, nothing is left in order.
    drop(first);
    for (partition, end) in sent.into_iter().enumerate() {
        bench
            .committed(i32::try_from(partition).unwrap(), end)
            .await;
    }
    let mut heights = first_handled.lock().unwrap().clone();
    heights.extend(second_handled.lock().unwrap().iter());
    for height in 0..MESSAGES {
        assert!(heights.contains(&height), "height {height} was lost");
    }
    assert!(
        bench.broker.log(DEAD).is_empty(),
        "{:?}",
        bench.dispositions()
    );
    let report = second.unwrap().stop(Duration::from_secs(10)).await;
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lost_session_what_was_not_done_is_handled_again_and_what_was_is_not_taken_for_a_replay()
 {
    let bench = Bench::start(&[(TOPIC, 1), (DEAD, 1)]).await;
    let (started, mut starts) = mpsc::unbounded_channel();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let handlers = Handlers::new().register(move |message: Verified<Commit>, _: Context| {
        let (started, gate) = (started.clone(), Arc::clone(&opened));
        async move {
            let height = message.message().height();
            started.send(height).unwrap();
            if height == 0 {
                gate.acquire().await.unwrap().forget();
            }
            Ok(Verdict::Done)
        }
    });
    bench.append(0, bench.signed(0, 0)).await;
    bench.append(0, bench.signed(1, 0)).await;
    let settings = bench.settings_with("CYBERMESH_HANDLER_TIMEOUT", "10m");
    let parts = bench.parts(connect(&bench.broker).await, handlers);
    let subscriber = Subscriber::start(&settings, parts).await.unwrap();
    let both = async { [starts.recv().await.unwrap(), starts.recv().await.unwrap()] };
    let mut both = tokio::time::timeout(PATIENCE, both).await.unwrap();
    both.sort_unstable();
    assert_eq!(both, [0, 1]);
    bench
        .broker
        .fault(Fault::error(Api::Heartbeat, ErrorCode::UNKNOWN_MEMBER_ID).once());
    // Nobody else had the partition: what was done behind the first is known to be.
    let again = tokio::time::timeout(PATIENCE, starts.recv()).await;
    assert_eq!(again.unwrap(), Some(0));
    gate.add_permits(1);
    bench.committed(0, 2).await;
    assert!(
        bench.broker.log(DEAD).is_empty(),
        "{:?}",
        bench.dispositions()
    );
    subscriber.stop(Duration::from_secs(10)).await;
    assert!(starts.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_work_is_refused_at_start_with_its_reason() {
    let bench = Bench::start(&[(DEAD, 1)]).await;
    let handled = Handled::default();
    let start = |handlers| {
        let (settings, parts) = (
            bench.settings(),
            bench.parts(bench.client.clone(), handlers),
        );
        async move { Subscriber::start(&settings, parts).await }
    };
    assert!(matches!(
        start(Handlers::new()).await,
        Err(SubscriberError::Handlers(_))
    ));
    match start(recording(&handled)).await {
        Err(SubscriberError::Transport(error)) => {
            assert!(error.to_string().contains(TOPIC), "{error}");
        }
        other => panic!("{other:?}"),
    }
    bench.trust.send_replace(Arc::new(TrustStore::default()));
    assert!(matches!(
        start(recording(&handled)).await,
        Err(SubscriberError::NoKeys(kinds)) if kinds == [Kind::Commit]
    ));
}
