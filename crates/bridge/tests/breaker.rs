//! The breaker between a publisher and a cluster that goes away and comes back.
#![expect(clippy::unwrap_used, reason = "what fails here fails its test")]

mod stage;

use std::{num::NonZeroU32, time::Duration};

use cybermesh_bridge::{
    Bridge, SendError,
    handler::{Context, Verdict},
    outbound::{SendOptions, breaker::BreakerConfig, receipt::NotSent},
    telemetry::Condition,
};
use cybermesh_contracts::{kind::Kind, message::Commit, verify::Verified};
use cybermesh_devbroker::{Api, DevBroker, Fault};
use cybermesh_transport::{
    Client, Producer, ProducerConfig, Record, TopicPartition, producer::partition_for_key,
};
use futures_util::future::join_all;
use stage::{Stage, anomaly, soon, trust};

const STOP: Duration = Duration::from_secs(10);
const QUICK: [(&str, &str); 3] = [
    ("KAFKA_REQUEST_TIMEOUT_MS", "1000"),
    ("KAFKA_CONNECT_TIMEOUT_MS", "1000"),
    ("KAFKA_MAX_RETRIES", "100"),
];

/// Opens after two failures, for a moment; forgets a probe only after a minute, which no test waits for.
fn quick() -> BreakerConfig {
    let mut config = BreakerConfig::default();
    config.run = 2;
    config.open_for = Duration::from_millis(300);
    config.open_for_most = Duration::from_millis(300);
    config
}

fn is_open(bridge: &Bridge) -> bool {
    let conditions = bridge.health().conditions();
    conditions
        .iter()
        .any(|(condition, _)| *condition == Condition::BreakerOpen)
}

async fn until_open(bridge: &Bridge) {
    while !is_open(bridge) {
        tokio::task::yield_now().await;
    }
}

async fn until_closed(bridge: &Bridge) {
    while is_open(bridge) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A cluster that went away, and a process whose only message was given up since: nothing is left to probe with.
async fn left_without_work(stage: &Stage) -> Bridge {
    let given_up_soon = ("KAFKA_DELIVERY_TIMEOUT_MS", "1000");
    let settings = [QUICK[0], QUICK[1], QUICK[2], given_up_soon];
    let bridge = stage
        .sender(&settings)
        .breaker(quick())
        .start()
        .await
        .expect("a bridge");
    soon(bridge.publisher().send(anomaly()))
        .await
        .expect("a receipt");
    stage.broker.go_down().await;
    let (given_up, ()) =
        soon(async { tokio::join!(bridge.publisher().send(anomaly()), until_open(&bridge)) }).await;
    assert!(given_up.is_err());
    bridge
}

#[tokio::test]
async fn what_waited_for_the_cluster_goes_as_soon_as_two_probes_were_answered() {
    let stage = Stage::set().await;
    let bridge = stage.sender(&QUICK).breaker(quick()).start().await.unwrap();
    soon(bridge.publisher().send(anomaly())).await.unwrap();
    stage.broker.go_down().await;
    let publisher = bridge.publisher();
    let sending = join_all((0..12).map(|_| publisher.send(anomaly())));
    let back = async {
        until_open(&bridge).await;
        stage.broker.come_up().await.unwrap();
    };
    let (sent, ()) = soon(async { tokio::join!(sending, back) }).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    soon(until_closed(&bridge)).await;
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn a_process_with_nothing_to_send_finds_out_by_itself_that_the_cluster_is_back() {
    let stage = Stage::set().await;
    let bridge = left_without_work(&stage).await;
    stage.broker.come_up().await.unwrap();
    soon(until_closed(&bridge)).await;
    assert!(bridge.health().is_ready());
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn while_any_broker_answers_connections_that_break_do_not_open_the_breaker() {
    let stage = Stage::set().await;
    let bridge = stage.sender(&QUICK).breaker(quick()).start().await.unwrap();
    soon(bridge.publisher().send(anomaly())).await.unwrap();
    let broken = stage
        .broker
        .fault(Fault::drop_before_apply(Api::Produce).times(6));
    let sent = soon(bridge.publisher().send(anomaly())).await;
    assert!(sent.is_ok(), "{sent:?}");
    assert_eq!(broken.hits(), 6);
    let text = bridge.exposition().unwrap().text().unwrap();
    assert!(!text.contains(r#"to="open""#), "{text}");
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn time_behind_an_open_breaker_counts_against_the_deadline() {
    let stage = Stage::set().await;
    let mut closed_for_long = quick();
    closed_for_long.open_for = Duration::from_secs(3600);
    closed_for_long.open_for_most = closed_for_long.open_for;
    let settings = [
        QUICK[0],
        QUICK[1],
        QUICK[2],
        ("KAFKA_DELIVERY_TIMEOUT_MS", "2000"),
    ];
    let bridge = stage
        .sender(&settings)
        .breaker(closed_for_long)
        .start()
        .await
        .unwrap();
    soon(bridge.publisher().send(anomaly())).await.unwrap();
    stage.broker.go_down().await;
    let given_up = soon(bridge.publisher().send(anomaly())).await.unwrap_err();
    assert!(matches!(given_up, SendError::NotSent(_)), "{given_up}");
    assert!(is_open(&bridge));
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn a_topic_that_cannot_be_learnt_since_nobody_answers_counts_against_the_cluster() {
    let stage = Stage::set().await;
    let unknown = ("KAFKA_TOPIC_ANOMALY", "not.known.yet");
    let settings = [QUICK[0], QUICK[1], QUICK[2], unknown];
    let bridge = stage
        .sender(&settings)
        .breaker(quick())
        .start()
        .await
        .unwrap();
    stage.broker.go_down().await;
    for _ in 0..2 {
        let refused = soon(bridge.publisher().send(anomaly())).await.unwrap_err();
        assert!(
            matches!(refused, SendError::NotSent(NotSent::Topic(_))),
            "{refused}"
        );
    }
    assert!(is_open(&bridge));
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn probes_that_nobody_answers_do_not_close_the_breaker() {
    let stage = Stage::set().await;
    let bridge = left_without_work(&stage).await;
    let exposition = bridge.exposition().unwrap();
    let went_to = |state: &str| {
        let text = exposition.text().unwrap();
        let line = format!("bridge_breaker_transitions_total{{to=\"{state}\"}} ");
        let count = text.lines().find_map(|found| found.strip_prefix(&line));
        count.map_or(0, |count| count.parse::<u32>().unwrap())
    };
    let probed_twice = async {
        let before = went_to("half-open");
        while went_to("half-open") < before + 2 && went_to("closed") == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(probed_twice).await;
    assert_eq!(went_to("closed"), 0);
    bridge.stop(STOP).await;
}

/// A key whose partition of the topic of anomalies this broker leads.
fn key_led_by(cluster: &DevBroker, broker: i32) -> String {
    let leads = |key: &String| {
        let partition = partition_for_key(key.as_bytes(), NonZeroU32::new(3).unwrap());
        let leader = cluster.leader("ai.anomalies.v1", partition).unwrap();
        leader.broker == Some(broker)
    };
    (0..)
        .map(|number| format!("key-{number}"))
        .find(leads)
        .unwrap()
}

/// Waits until a message is refused, and says for how long. What is not refused is not waited for.
async fn refused(bridge: &Bridge, key: &str) -> Duration {
    loop {
        let hurry = SendOptions::new()
            .key(key)
            .deadline(Duration::from_millis(1));
        match bridge.publisher().send_with(anomaly(), hurry).await {
            Err(SendError::BreakerOpen { retry_after }) => return retry_after,
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

#[tokio::test]
async fn when_the_cluster_is_back_the_oldest_unresolved_batch_is_the_probe() {
    // Whichever broker it is for.
    for oldest_first in [true, false] {
        let stage = Stage::of_brokers(2).await;
        let mut breaker = quick();
        // Longer than what waits after a failure of its own.
        breaker.open_for = Duration::from_secs(1);
        breaker.open_for_most = breaker.open_for;
        let bridge = stage.sender(&QUICK).breaker(breaker).start().await.unwrap();
        let mut brokers = stage.broker.broker_ids();
        if !oldest_first {
            brokers.reverse();
        }
        let [oldest, newer] = brokers[..] else {
            panic!("{brokers:?}")
        };
        let keys = [oldest, newer].map(|broker| key_led_by(&stage.broker, broker));
        let send = |key: &String| {
            let options = SendOptions::new().key(key.as_str());
            bridge.publisher().send_with(anomaly(), options)
        };
        for key in &keys {
            soon(send(key)).await.unwrap();
        }
        // Both are on their way when the cluster goes, one after the other.
        let unread = stage.broker.fault(Fault::hold(Api::Produce));
        let sending = async {
            let newer = async {
                unread.wait_for_hits(1).await;
                send(&keys[1]).await
            };
            tokio::join!(send(&keys[0]), newer)
        };
        let trial = async {
            unread.wait_for_hits(2).await;
            stage.broker.go_down().await;
            unread.remove();
            until_open(&bridge).await;
            let retry_after = refused(&bridge, &keys[1]).await;
            assert!(
                retry_after <= Duration::from_millis(1200),
                "{retry_after:?}"
            );
            let of_oldest = stage.broker.fault(Fault::hold(Api::Produce).broker(oldest));
            let of_newer = stage.broker.fault(Fault::hold(Api::Produce).broker(newer));
            stage.broker.come_up().await.unwrap();
            tokio::select! {
                () = of_oldest.wait_for_hits(1) => {}
                () = of_newer.wait_for_hits(1) => {}
            }
            assert_eq!((of_oldest.hits(), of_newer.hits()), (1, 0));
            let text = bridge.exposition().unwrap().text().unwrap();
            assert!(text.contains("bridge_breaker_state 1"), "{text}");
            of_oldest.remove();
            of_newer.remove();
        };
        let ((first, second), ()) = soon(async { tokio::join!(sending, trial) }).await;
        assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
        soon(until_closed(&bridge)).await;
        bridge.stop(STOP).await;
    }
}

/// A node that handles commits; whatever it is given is done.
async fn receiver(stage: &Stage, settings: &[(&str, &str)], breaker: BreakerConfig) -> Bridge {
    let bridge = Bridge::builder(stage.settings(settings))
        .trust(trust())
        .breaker(breaker)
        .receives([Kind::Commit])
        .handle(|_: Verified<Commit>, _: Context| async { Ok(Verdict::Done) })
        .start()
        .await
        .unwrap();
    let ready = async {
        while !bridge.health().is_ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(ready).await;
    bridge
}

/// Puts what is no message into the topic of commits.
async fn put_garbage(client: &Client, count: usize) {
    let producer = Producer::new(client.clone(), ProducerConfig::default());
    let partition = TopicPartition::new("control.commits.v1", 0);
    for _ in 0..count {
        let garbage = Record {
            value: Some("garbage".into()),
            ..Record::default()
        };
        let room = producer
            .reserve(&partition.topic, partition.partition, garbage.size_bound())
            .await
            .unwrap();
        drop(room.append(garbage));
    }
    producer.flush().await;
}

fn number(bridge: &Bridge, series: &str) -> u64 {
    let text = bridge.exposition().unwrap().text().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(0, |number| number.trim().parse().unwrap())
}

#[tokio::test]
async fn a_dead_letter_does_not_go_past_an_open_breaker() {
    let stage = Stage::set().await;
    let mut open_for_long = quick();
    open_for_long.open_for = Duration::from_secs(3600);
    open_for_long.open_for_most = open_for_long.open_for;
    let given_up_soon = ("KAFKA_DELIVERY_TIMEOUT_MS", "2000");
    let settings = [QUICK[0], QUICK[1], QUICK[2], given_up_soon];
    let bridge = receiver(&stage, &settings, open_for_long).await;
    soon(bridge.publisher().send(anomaly())).await.unwrap();
    stage.broker.freeze();
    let publisher = bridge.publisher();
    let (given_up, ()) =
        soon(async { tokio::join!(publisher.send(anomaly()), until_open(&bridge)) }).await;
    assert!(given_up.is_err());
    // The cluster is back, and the breaker does not know it yet.
    stage.broker.thaw();
    let written = stage
        .broker
        .fault(Fault::delay(Api::Produce, Duration::ZERO).topic("ai.dlq"));
    soon(put_garbage(bridge.client(), 1)).await;
    let given_up = async {
        while number(&bridge, "bridge_dlq_failures_total") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(given_up).await;
    assert_eq!(written.hits(), 0, "a dead letter went past the breaker");
    assert!(is_open(&bridge));
    let conditions = bridge.health().conditions();
    assert!(
        conditions
            .iter()
            .any(|(condition, _)| *condition == Condition::DeadLetters),
        "{conditions:?}"
    );
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn dead_letters_wait_for_no_rate_limit() {
    const GARBAGE: usize = 100;
    let stage = Stage::set().await;
    // So slow that no test would wait for as many.
    let slow = "1@1/s";
    let settings = [
        ("CYBERMESH_RATE_LIMIT_ANOMALY", slow),
        ("CYBERMESH_RATE_LIMIT_EVIDENCE", slow),
        ("CYBERMESH_RATE_LIMIT_POLICY", slow),
        ("CYBERMESH_RATE_LIMIT_COMMIT", slow),
    ];
    let bridge = receiver(&stage, &settings, BreakerConfig::default()).await;
    soon(put_garbage(bridge.client(), GARBAGE)).await;
    let all = stage
        .broker
        .wait_until(|broker| broker.log("ai.dlq").len() == GARBAGE);
    soon(all).await;
    let text = bridge.exposition().unwrap().text().unwrap();
    assert!(!text.contains("bridge_rate_limited_total{"), "{text}");
    bridge.stop(STOP).await;
}
