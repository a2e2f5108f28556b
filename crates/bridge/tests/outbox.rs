//! What cannot be sent now is kept on disk and sent in order when it can, by this process or the next.
#![expect(clippy::unwrap_used, reason = "what fails here fails its test")]

mod stage;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cybermesh_bridge::{
    Bridge, Receipt, SendError, SendOptions,
    bridge::{Builder, StartError},
    clock::{SystemClock, WallClock},
    outbound::{
        breaker::BreakerConfig,
        outbox::NotKept,
        receipt::{NotSent, Unknown},
    },
    state::StateError,
    telemetry::Condition,
};
use cybermesh_contracts::kind::Kind;
use cybermesh_devbroker::{Api, ErrorCode, Fault, LogRecord};
use futures_util::future::join_all;
use stage::{Stage, anomaly, holds, nonce, soon, verified};

const STOP: Duration = Duration::from_secs(10);
const TOPIC: &str = "ai.anomalies.v1";

struct Bench {
    stage: Stage,
    folder: PathBuf,
}

impl Bench {
    async fn set() -> Self {
        let stage = Stage::set().await;
        let folder = stage.files.path().join("state");
        Self { stage, folder }
    }

    fn sender(&self, more: &[(&str, &str)]) -> Builder {
        let mut settings = vec![
            ("CYBERMESH_STATE_DIR", self.folder.to_str().unwrap()),
            ("KAFKA_CONNECT_TIMEOUT_MS", "1000"),
            ("KAFKA_MAX_RETRIES", "0"),
            ("KAFKA_DELIVERY_TIMEOUT_MS", "3000"),
        ];
        settings.extend(more);
        self.stage.sender(&settings).breaker(quick())
    }

    async fn start(&self, more: &[(&str, &str)]) -> Bridge {
        self.sender(more).start().await.unwrap()
    }
}

/// Opens after two failures, for a moment.
fn quick() -> BreakerConfig {
    let mut config = BreakerConfig::default();
    config.run = 2;
    config.open_for = Duration::from_millis(300);
    config.open_for_most = Duration::from_millis(300);
    config
}

fn sequence(receipt: &Receipt) -> u64 {
    match receipt {
        Receipt::Spooled { sequence } => *sequence,
        other => panic!("{other:?}"),
    }
}

/// Sends with a key, and a header that tells the number.
async fn send(bridge: &Bridge, key: &str, number: u32) -> Result<Receipt, SendError> {
    let options = SendOptions::new()
        .key(key)
        .header("number", number.to_string());
    soon(bridge.publisher().send_with(anomaly(), options)).await
}

async fn empty(bridge: &Bridge) {
    let mut status = bridge.publisher().outbox().unwrap();
    soon(status.wait_for(|status| status.entries == 0))
        .await
        .unwrap();
}

fn header(record: &LogRecord, name: &str) -> Option<String> {
    let found = record.headers.iter().find(|(found, _)| found == name)?;
    Some(String::from_utf8(found.1.clone()?.to_vec()).unwrap())
}

fn number(record: &LogRecord) -> u32 {
    header(record, "number").unwrap().parse().unwrap()
}

/// The numbers in the log, by key.
fn lanes(records: &[LogRecord]) -> BTreeMap<String, Vec<u32>> {
    let mut lanes = BTreeMap::<_, Vec<u32>>::new();
    for record in records {
        let key = String::from_utf8(record.key.clone().unwrap().to_vec()).unwrap();
        lanes.entry(key).or_default().push(number(record));
    }
    lanes
}

fn in_nonce_order(records: &[LogRecord]) {
    let mut last = BTreeMap::new();
    for record in records {
        verified(Kind::Anomaly, record);
        let nonce = nonce(record);
        let before = last.insert(record.partition, nonce);
        assert!(before.is_none_or(|before| before < nonce), "{record:?}");
    }
}

#[tokio::test]
async fn what_is_sent_while_the_cluster_is_away_goes_when_it_is_back_in_the_order_of_its_lanes() {
    let bench = Bench::set().await;
    let bridge = bench.start(&[]).await;
    assert!(send(&bridge, "a", 0).await.unwrap().is_logged());
    bench.stage.broker.go_down().await;
    let mut spooled = Vec::new();
    for number in 1..40 {
        let key = ["a", "b", "c", "d"][usize::try_from(number).unwrap() % 4];
        spooled.push(sequence(&send(&bridge, key, number).await.unwrap()));
    }
    assert!(spooled.is_sorted(), "{spooled:?}");
    let text = bridge.exposition().unwrap().text().unwrap();
    assert!(text.contains("bridge_outbox_entries 39"), "{text}");
    assert!(text.contains("bridge_outbox_bytes "), "{text}");
    assert!(text.contains("bridge_outbox_oldest_seconds "), "{text}");

    bench.stage.broker.come_up().await.unwrap();
    empty(&bridge).await;
    let log = bench.stage.broker.log(TOPIC);
    assert_eq!(log.len(), 40);
    for (lane, numbers) in lanes(log.records()) {
        assert!(numbers.is_sorted(), "{lane}: {numbers:?}");
    }
    in_nonce_order(log.records());
    for record in log.records().iter().filter(|record| number(record) > 0) {
        let at: i64 = header(record, "cm-spooled-at").unwrap().parse().unwrap();
        assert!(
            at <= record.timestamp_ms,
            "signed when it went, not when it came"
        );
    }
    assert_eq!(bridge.metrics().send.messages_sent, 40);
    assert_eq!(bridge.metrics().send.messages_failed, 0);
    assert!(bridge.stop(STOP).await.is_clean());
}

#[tokio::test]
async fn the_next_process_sends_what_this_one_left_before_what_comes_after_it() {
    let bench = Bench::set().await;
    let bridge = bench.start(&[]).await;
    bench.stage.broker.go_down().await;
    for number in 0..5 {
        sequence(&send(&bridge, "a", number).await.unwrap());
    }
    assert!(bridge.stop(STOP).await.is_clean());
    bench.stage.broker.come_up().await.unwrap();
    let next = bench.start(&[]).await;
    send(&next, "a", 5).await.unwrap();
    empty(&next).await;
    let log = bench.stage.broker.log(TOPIC);
    assert_eq!(lanes(log.records())["a"], [0, 1, 2, 3, 4, 5]);
    in_nonce_order(log.records());
    next.stop(STOP).await;
}

#[tokio::test]
async fn a_process_that_only_sends_starts_without_its_cluster_and_keeps_what_it_is_given() {
    let bench = Bench::set().await;
    bench.stage.broker.go_down().await;
    let bridge = bench.start(&[]).await;
    for number in 0..3 {
        sequence(&send(&bridge, "a", number).await.unwrap());
    }
    let unkeyed = SendOptions::new().without_key().header("number", "7");
    sequence(
        &soon(bridge.publisher().send_with(anomaly(), unkeyed))
            .await
            .unwrap(),
    );
    bench.stage.broker.come_up().await.unwrap();
    empty(&bridge).await;
    let log = bench.stage.broker.log(TOPIC);
    let keyed: Vec<u32> = log
        .records()
        .iter()
        .filter(|record| record.key.is_some())
        .map(number)
        .collect();
    assert_eq!((log.len(), keyed), (4, vec![0, 1, 2]));
    in_nonce_order(log.records());
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn what_may_have_been_written_goes_byte_for_byte_and_a_copy_is_known_as_one() {
    for (fault, copies) in [
        (Fault::drop_after_apply(Api::Produce).once(), 2),
        (Fault::drop_before_apply(Api::Produce).once(), 1),
    ] {
        let bench = Bench::set().await;
        let bridge = bench.start(&[]).await;
        bench.stage.broker.fault(fault);
        sequence(&send(&bridge, "a", 1).await.unwrap());
        empty(&bridge).await;
        assert!(send(&bridge, "a", 2).await.unwrap().is_logged());
        let log = bench.stage.broker.log(TOPIC);
        let of_first: Vec<_> = log
            .records()
            .iter()
            .filter(|record| number(record) == 1)
            .collect();
        assert_eq!(of_first.len(), copies);
        for copy in &of_first {
            assert_eq!(copy.value, of_first[0].value);
            assert_eq!(copy.headers, of_first[0].headers);
            assert_eq!(copy.partition, of_first[0].partition);
            assert_eq!(header(copy, "cm-spooled-at"), None);
        }
        // Its nonce is no later than that of what follows, also where it is there twice.
        let last = log.records().last().unwrap();
        assert_eq!(number(last), 2);
        assert!(of_first.iter().all(|copy| nonce(copy) < nonce(last)));
        bridge.stop(STOP).await;
    }
}

#[tokio::test]
async fn behind_one_that_was_given_up_nothing_of_its_lane_is_logged_first() {
    let bench = Bench::set().await;
    let bridge = bench
        .start(&[("KAFKA_LINGER_MS", "0"), ("KAFKA_BATCH_BYTES", "1024")])
        .await;
    assert!(send(&bridge, "a", 0).await.unwrap().is_logged());
    // The first of those in flight is refused for now, and there is no second attempt.
    let refused = bench
        .stage
        .broker
        .fault(Fault::error(Api::Produce, ErrorCode::NOT_ENOUGH_REPLICAS).times(3));
    let sent = join_all((1..30).map(|number| send(&bridge, "a", number))).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    assert!(refused.hits() > 0);
    empty(&bridge).await;
    let log = bench.stage.broker.log(TOPIC);
    assert_eq!(lanes(log.records())["a"], (0..30).collect::<Vec<_>>());
    in_nonce_order(log.records());
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn one_that_is_certainly_not_written_is_not_passed_by_those_behind_it_that_may_be() {
    let bench = Bench::set().await;
    let bridge = bench
        .start(&[
            ("KAFKA_LINGER_MS", "0"),
            ("KAFKA_BATCH_BYTES", "1024"),
            ("KAFKA_MAX_RETRIES", "1"),
        ])
        .await;
    assert!(send(&bridge, "a", 0).await.unwrap().is_logged());
    // The first of those in flight is refused, twice; the others never arrive.
    let broker = &bench.stage.broker;
    let refused = Fault::error(Api::Produce, ErrorCode::NOT_ENOUGH_REPLICAS);
    let refused = broker.fault(refused.once());
    let lost = broker.fault(Fault::drop_before_apply(Api::Produce).skip(1).once());
    let again = Fault::error(Api::Produce, ErrorCode::NOT_ENOUGH_REPLICAS);
    let again = broker.fault(again.skip(2).once());
    let sent = join_all((1..6).map(|number| send(&bridge, "a", number))).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    assert_eq!((refused.hits(), lost.hits(), again.hits()), (1, 1, 1));
    empty(&bridge).await;
    let log = bench.stage.broker.log(TOPIC);
    assert_eq!(lanes(log.records())["a"], (0..6).collect::<Vec<_>>());
    in_nonce_order(log.records());
    bridge.stop(STOP).await;
}

/// Goes back by a second whenever it is asked.
#[derive(Debug)]
struct Backwards(AtomicU64);

impl WallClock for Backwards {
    fn unix_ms(&self) -> u64 {
        self.0.fetch_sub(1_000, Ordering::Relaxed)
    }
}

/// An hour ahead.
#[derive(Debug)]
struct Ahead;

impl WallClock for Ahead {
    fn unix_ms(&self) -> u64 {
        SystemClock.unix_ms() + 3_600_000
    }
}

#[tokio::test]
async fn who_has_to_wait_for_new_nonces_keeps_its_turn() {
    for _ in 0..20 {
        let bench = Bench::set().await;
        let starting = bench.sender(&[]).clock(Arc::new(Ahead)).start();
        let bridge = starting.await.unwrap();
        assert!(send(&bridge, "a", 0).await.unwrap().is_logged());
        bridge.stop(STOP).await;
        // Nonces are reserved twice: for what was kept, and for a clock that was set back since.
        let bridge = Arc::new(bench.start(&[]).await);
        let tasks = (1..9).map(|number| {
            let bridge = Arc::clone(&bridge);
            tokio::spawn(async move { send(&bridge, "a", number).await })
        });
        for sent in join_all(tasks).await {
            assert!(sent.unwrap().unwrap().is_logged());
        }
        let log = bench.stage.broker.log(TOPIC);
        assert_eq!(lanes(log.records())["a"], (0..9).collect::<Vec<_>>());
        Arc::into_inner(bridge).unwrap().stop(STOP).await;
    }
}

#[tokio::test]
async fn what_may_have_been_written_keeps_its_order_though_the_clock_is_set_back() {
    let bench = Bench::set().await;
    let clock = Backwards(AtomicU64::new(SystemClock.unix_ms()));
    let quick = [("KAFKA_LINGER_MS", "0"), ("KAFKA_BATCH_BYTES", "1024")];
    let starting = bench.sender(&quick).clock(Arc::new(clock)).start();
    let bridge = starting.await.unwrap();
    assert!(send(&bridge, "a", 0).await.unwrap().is_logged());
    let lost = Fault::drop_before_apply(Api::Produce);
    let lost = bench.stage.broker.fault(lost.once());
    let sent = join_all((1..6).map(|number| send(&bridge, "a", number))).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    assert_eq!(lost.hits(), 1);
    empty(&bridge).await;
    let log = bench.stage.broker.log(TOPIC);
    assert_eq!(lanes(log.records())["a"], (0..6).collect::<Vec<_>>());
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn what_stood_behind_one_that_may_be_written_is_kept_whatever_refused_that_in_the_end() {
    let bench = Bench::set().await;
    let bridge = bench
        .start(&[
            ("KAFKA_LINGER_MS", "0"),
            ("KAFKA_BATCH_BYTES", "1024"),
            ("KAFKA_MAX_RETRIES", "1"),
        ])
        .await;
    let broker = &bench.stage.broker;
    broker.fault(Fault::drop_before_apply(Api::Produce).once());
    let refused = Fault::error(Api::Produce, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    let refused = broker.fault(refused.skip(1).once());
    let sent = join_all((1..10).map(|number| send(&bridge, "a", number))).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    assert!(refused.hits() > 0);
    empty(&bridge).await;
    let log = bench.stage.broker.log(TOPIC);
    assert_eq!(lanes(log.records())["a"], (1..10).collect::<Vec<_>>());
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn a_caller_that_went_away_leaves_its_message_to_the_outbox() {
    let bench = Bench::set().await;
    let bridge = bench.start(&[]).await;
    assert!(send(&bridge, "a", 0).await.unwrap().is_logged());
    let held = bench.stage.broker.fault(Fault::hold(Api::Produce).once());
    let publisher = bridge.publisher().clone();
    let caller = tokio::spawn(async move {
        let options = SendOptions::new().key("a").header("number", "1");
        publisher.send_with(anomaly(), options).await
    });
    soon(held.wait_for_hits(1)).await;
    caller.abort();
    bench.stage.broker.go_down().await;
    held.remove();
    let mut status = bridge.publisher().outbox().unwrap();
    soon(status.wait_for(|status| status.entries == 1))
        .await
        .unwrap();
    bench.stage.broker.come_up().await.unwrap();
    empty(&bridge).await;
    let log = bench.stage.broker.log(TOPIC);
    assert_eq!(lanes(log.records())["a"], [0, 1]);
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn what_is_left_at_an_orderly_stop_is_in_the_outbox_and_counted() {
    let bench = Bench::set().await;
    let bridge = bench.start(&[]).await;
    assert!(send(&bridge, "a", 0).await.unwrap().is_logged());
    let held = bench.stage.broker.fault(Fault::hold(Api::Produce));
    let publisher = bridge.publisher().clone();
    let sending = tokio::spawn(async move {
        let options = |number: u32| {
            SendOptions::new()
                .key("a")
                .header("number", number.to_string())
        };
        join_all((1..4).map(|number| publisher.send_with(anomaly(), options(number)))).await
    });
    soon(held.wait_for_hits(1)).await;
    let report = soon(bridge.stop(Duration::from_millis(100))).await;
    let told: Vec<u64> = soon(sending)
        .await
        .unwrap()
        .iter()
        .map(|sent| sequence(sent.as_ref().unwrap()))
        .collect();
    assert_eq!(told.len(), 3);
    assert_eq!((report.publisher.spooled, report.publisher.failed), (3, 0));
    assert!(report.is_clean(), "{report}");
    held.remove();
    let next = bench.start(&[]).await;
    empty(&next).await;
    let log = bench.stage.broker.log(TOPIC);
    // What was held was written after all: each is there twice, the same both times.
    let mut firsts = Vec::new();
    for record in log.records() {
        let copy_of =
            |first: &&LogRecord| first.value == record.value && first.headers == record.headers;
        match firsts
            .iter()
            .find(|first: &&&LogRecord| number(first) == number(record))
        {
            Some(first) => assert!(copy_of(first)),
            None => firsts.push(record),
        }
    }
    let numbers: Vec<u32> = firsts.into_iter().map(number).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    next.stop(STOP).await;
}

#[tokio::test]
async fn what_its_topic_refuses_for_good_stays_an_error_and_is_buried() {
    let bench = Bench::set().await;
    let bridge = bench.start(&[]).await;
    bench
        .stage
        .broker
        .fault(Fault::error(Api::Produce, ErrorCode::TOPIC_AUTHORIZATION_FAILED).topic(TOPIC));
    let refused = send(&bridge, "a", 0).await.unwrap_err();
    assert!(
        matches!(refused, SendError::NotSent(NotSent::GivenUp(_))),
        "{refused}"
    );
    assert_eq!(bench.stage.broker.log("ai.dlq").len(), 1);
    assert_eq!(bridge.publisher().outbox().unwrap().borrow().entries, 0);
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn what_its_topic_refuses_when_it_is_drained_is_buried_as_a_draft_and_leaves() {
    let bench = Bench::set().await;
    let bridge = bench.start(&[]).await;
    bench.stage.broker.go_down().await;
    sequence(&send(&bridge, "a", 0).await.unwrap());
    bench
        .stage
        .broker
        .fault(Fault::error(Api::Produce, ErrorCode::TOPIC_AUTHORIZATION_FAILED).topic(TOPIC));
    bench.stage.broker.come_up().await.unwrap();
    empty(&bridge).await;
    let letters = bench.stage.broker.log("ai.dlq");
    assert_eq!(letters.len(), 1);
    let disposition = header(&letters.records()[0], "dlq.disposition");
    assert_eq!(disposition.as_deref(), Some("produce-failed"));
    let text = bridge.exposition().unwrap().text().unwrap();
    assert!(text.contains(r#"how="refused""#), "{text}");
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn what_may_be_written_and_is_refused_then_is_given_up_without_a_letter_that_would_send_it_again()
 {
    let bench = Bench::set().await;
    let bridge = bench.start(&[]).await;
    let broker = &bench.stage.broker;
    broker.fault(Fault::drop_after_apply(Api::Produce).once());
    let refused = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    broker.fault(
        Fault::error(Api::Produce, refused)
            .topic(TOPIC)
            .skip(1)
            .once(),
    );
    sequence(&send(&bridge, "a", 1).await.unwrap());
    empty(&bridge).await;
    assert_eq!(broker.log(TOPIC).len(), 1);
    let text = bridge.exposition().unwrap().text().unwrap();
    assert!(text.contains(r#"how="unknown""#), "{text}");
    // Its partition is free.
    assert!(send(&bridge, "a", 2).await.unwrap().is_logged());
    bridge.stop(STOP).await;
    assert_eq!(broker.log("ai.dlq").len(), 0);
}

#[tokio::test]
async fn a_full_outbox_refuses_and_says_so_or_drops_the_oldest_and_counts_them() {
    for policy in ["refuse", "drop-oldest"] {
        let bench = Bench::set().await;
        let bridge = bench
            .start(&[
                ("CYBERMESH_OUTBOX_BYTES", "4096"),
                ("CYBERMESH_OUTBOX_FULL", policy),
            ])
            .await;
        bench.stage.broker.go_down().await;
        let mut refused = 0;
        for number in 0..20 {
            match send(&bridge, "a", number).await {
                Ok(receipt) => drop(sequence(&receipt)),
                Err(SendError::NotSent(NotSent::NotKept {
                    refusal: NotKept::Full { limit, .. },
                    ..
                })) => {
                    assert_eq!(limit, 4096);
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        bench.stage.broker.come_up().await.unwrap();
        empty(&bridge).await;
        let log = bench.stage.broker.log(TOPIC);
        let numbers = &lanes(log.records())["a"];
        assert!(!numbers.is_empty() && numbers.len() < 20, "{numbers:?}");
        let text = bridge.exposition().unwrap().text().unwrap();
        if policy == "refuse" {
            assert_eq!(numbers.len() + refused, 20);
            assert_eq!(
                *numbers,
                (0..20 - u32::try_from(refused).unwrap()).collect::<Vec<_>>()
            );
        } else {
            assert_eq!(refused, 0);
            assert_eq!(numbers.last(), Some(&19));
            assert!(text.contains(r#"how="dropped""#), "{text}");
        }
        bridge.stop(STOP).await;
    }
}

#[tokio::test]
async fn what_is_too_old_is_given_up_and_counted() {
    let bench = Bench::set().await;
    let bridge = bench.start(&[("CYBERMESH_OUTBOX_AGE", "1s")]).await;
    bench.stage.broker.go_down().await;
    sequence(&send(&bridge, "a", 0).await.unwrap());
    empty(&bridge).await;
    let text = bridge.exposition().unwrap().text().unwrap();
    assert!(text.contains(r#"how="expired""#), "{text}");
    assert_eq!(bench.stage.broker.log(TOPIC).len(), 0);
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_which_folder_is_in_use() {
    let bench = Bench::set().await;
    let bridge = bench.start(&[]).await;
    match bench.sender(&[]).start().await {
        Err(StartError::State(StateError::InUse { path })) => assert_eq!(path, bench.folder),
        other => panic!("{other:?}"),
    }
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_the_process_starts_and_says_so() {
    let bench = Bench::set().await;
    std::fs::create_dir_all(&bench.folder).unwrap();
    std::fs::write(bench.folder.join("outbox.redb"), vec![7; 10_000]).unwrap();
    let bridge = bench.start(&[]).await;
    let named = holds(&bridge, &Condition::OutboxSetAside).await;
    let aside = named.split(':').next().unwrap();
    assert!(aside.starts_with("outbox.redb.corrupt-"), "{named}");
    assert!(send(&bridge, "a", 0).await.unwrap().is_logged());
    std::fs::remove_file(bench.folder.join(aside)).unwrap();
    soon(async {
        while !bridge.health().is_ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    bridge.stop(STOP).await;
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_the_outbox() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::set().await;
    let bridge = bench.start(&[]).await;
    let file = std::fs::metadata(bench.folder.join("outbox.redb")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn without_an_outbox_it_is_as_it_was() {
    let bench = Bench::set().await;
    let bridge = bench.start(&[("CYBERMESH_OUTBOX", "off")]).await;
    assert!(bridge.publisher().outbox().is_none());
    bench.stage.broker.go_down().await;
    let error = send(&bridge, "a", 0).await.unwrap_err();
    assert!(
        matches!(
            error,
            SendError::NotSent(_) | SendError::Unknown(Unknown::GivenUp(_))
        ),
        "{error}"
    );
    bridge.stop(STOP).await;
}

/// Numbers whose sends were acknowledged, one way or the other; `None` of those whose outcome is their sender's worry.
async fn send_lane(bridge: &Bridge, lane: u32, count: u32) -> Vec<u32> {
    let key = format!("lane-{lane}");
    let mut safe = Vec::new();
    for step in 0..count {
        let number = lane * 1_000 + step;
        if send(bridge, &key, number).await.is_ok() {
            safe.push(number);
        }
    }
    safe
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_trouble_of_every_sort_lanes_keep_their_order_and_nothing_acknowledged_is_missing()
{
    const LANES: u32 = 6;
    const EACH: u32 = 60;
    let bench = Bench::set().await;
    let bridge = bench
        .start(&[("KAFKA_LINGER_MS", "1"), ("KAFKA_BATCH_BYTES", "2048")])
        .await;
    // Some at once and some later, some of which leave it unknown whether they were written.
    let troubles = [
        Fault::error(Api::Produce, ErrorCode::NOT_ENOUGH_REPLICAS)
            .skip(3)
            .times(4),
        Fault::drop_after_apply(Api::Produce).skip(9).once(),
        Fault::drop_before_apply(Api::Produce).skip(14).once(),
        Fault::error(Api::Produce, ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND)
            .skip(20)
            .times(2),
        Fault::drop_after_apply(Api::Produce).skip(30).once(),
        Fault::error_after_apply(Api::Produce, ErrorCode::REQUEST_TIMED_OUT)
            .skip(36)
            .once(),
        Fault::error(Api::Produce, ErrorCode::NOT_ENOUGH_REPLICAS)
            .skip(45)
            .times(3),
    ];
    let troubles: Vec<_> = troubles
        .into_iter()
        .map(|trouble| bench.stage.broker.fault(trouble.topic(TOPIC)))
        .collect();
    let sending = join_all((0..LANES).map(|lane| send_lane(&bridge, lane, EACH)));
    let safe: Vec<u32> = soon(sending).await.concat();
    empty(&bridge).await;
    assert!(troubles[0].hits() > 0 && troubles[1].hits() > 0);
    let log = bench.stage.broker.log(TOPIC);
    let mut seen = std::collections::BTreeSet::new();
    let firsts: Vec<LogRecord> = log
        .records()
        .iter()
        .filter(|record| seen.insert(number(record)))
        .cloned()
        .collect();
    for (lane, numbers) in lanes(&firsts) {
        assert!(numbers.is_sorted(), "{lane}: {numbers:?}");
    }
    let missing: Vec<_> = safe
        .iter()
        .filter(|number| !seen.contains(number))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(safe.len() > usize::try_from(LANES * EACH / 2).unwrap());
    in_nonce_order(&firsts);
    bridge.stop(STOP).await;
}
