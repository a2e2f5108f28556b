//! The breaker between a publisher and a cluster that goes away and comes back.

mod stage;

use std::time::Duration;

use cybermesh_bridge::{
    Bridge, SendError,
    outbound::{breaker::BreakerConfig, receipt::NotSent},
    telemetry::Condition,
};
use cybermesh_devbroker::{Api, Fault};
use futures_util::future::join_all;
use stage::{Stage, anomaly, soon};

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
