//! What is in the log when answers to produce requests get lost.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cybermesh_devbroker::{Api, Fault};
use cybermesh_tests::Stage;
use cybermesh_tests::link::Link;
use cybermesh_tests::log::{LoggedRecord, append};
use cybermesh_transport::producer::{Appended, DeliveryError, FixedSchedule, Written};
use cybermesh_transport::{Client, Compression, Delivery, Producer, ProducerConfig};

cybermesh_tests::scenarios! {
    both: [
        a_batch_whose_answer_was_lost_is_in_the_log_once,
        none_of_four_batches_behind_one_given_up_as_unknown_is_lost,
    ],
    devbroker_only: [
        batches_behind_one_that_never_arrived_are_logged_or_said_to_be_unknown:
            "which request is held back unread is chosen inside the broker; a proxy sees TLS",
    ],
}

type Outcome = Result<Appended, DeliveryError>;

/// Each record is a batch of its own and goes at once.
fn one_batch_each() -> ProducerConfig {
    ProducerConfig {
        linger: Duration::ZERO,
        batch_bytes: 1,
        compression: Compression::None,
        max_in_flight: 5,
        schedule: Arc::new(FixedSchedule {
            delay: Duration::from_millis(50),
            resends: 100,
        }),
        ..ProducerConfig::default()
    }
}

fn value(number: usize) -> Bytes {
    format!("record {number}").into()
}

fn values(log: &[LoggedRecord]) -> Vec<Bytes> {
    log.iter()
        .filter_map(|record| record.value.clone())
        .collect()
}

async fn a_batch_whose_answer_was_lost_is_in_the_log_once(stage: Stage) {
    let topic = stage.own("lost-answer");
    stage.make_topic(&topic, 1).await;
    let link = Link::new(&stage).await;
    let client = Client::connect(link.client_config()).await.unwrap();
    let producer = Producer::new(client, one_batch_each());
    append(&producer, &topic, value(0)).await.await.unwrap();

    let loss = link.lose_answers();
    let delivery = append(&producer, &topic, value(1)).await;
    loss.happened().await;
    loss.end().await;

    assert_eq!(delivery.await.unwrap().offset, Some(1));
    append(&producer, &topic, value(2)).await.await.unwrap();
    assert_eq!(
        values(&stage.log(&topic).await),
        [value(0), value(1), value(2)]
    );
}

/// How long the first batch is older than those behind it: time in which they are settled after it
/// was given up.
const HEAD_START: Duration = Duration::from_secs(4);

/// Sends the first of five batches, later the other four behind it, and waits until the first is
/// given up. All five are on their way then: no answer came.
async fn five_in_flight(
    producer: &Producer,
    topic: &str,
    mut sent: impl AsyncFnMut(),
) -> (Outcome, Vec<Delivery>) {
    let first = append(producer, topic, value(1)).await;
    sent().await;
    // Only the distance of the deadlines: nothing is waited for.
    tokio::time::sleep(HEAD_START).await;
    let mut behind = Vec::new();
    for number in 2..=5 {
        behind.push(append(producer, topic, value(number)).await);
    }
    (first.await, behind)
}

async fn none_of_four_batches_behind_one_given_up_as_unknown_is_lost(stage: Stage) {
    let topic = stage.own("five-in-flight");
    stage.make_topic(&topic, 1).await;
    let link = Link::new(&stage).await;
    let client = Client::connect(link.client_config()).await.unwrap();
    let config = ProducerConfig {
        delivery_timeout: HEAD_START + Duration::from_secs(2),
        ..one_batch_each()
    };
    let producer = Producer::new(client, config);
    append(&producer, &topic, value(0)).await.await.unwrap();

    let loss = link.lose_answers();
    let (first, behind) = five_in_flight(&producer, &topic, async || loss.happened().await).await;
    loss.end().await;
    assert_eq!(first.unwrap_err().written(), Written::Unknown);
    for (number, delivery) in (2..).zip(behind) {
        let appended = delivery.await;
        assert!(appended.is_ok(), "record {number}: {appended:?}");
    }
    append(&producer, &topic, value(6)).await.await.unwrap();

    // The first was written, though nobody could know; nothing is there twice, and all is in order.
    assert_eq!(
        values(&stage.log(&topic).await),
        (0..=6).map(value).collect::<Vec<_>>()
    );
}

async fn batches_behind_one_that_never_arrived_are_logged_or_said_to_be_unknown(stage: Stage) {
    let topic = stage.own("never-arrived");
    stage.make_topic(&topic, 1).await;
    let config = ProducerConfig {
        delivery_timeout: HEAD_START + Duration::from_secs(2),
        ..one_batch_each()
    };
    let producer = Producer::new(stage.client().await, config);
    append(&producer, &topic, value(0)).await.await.unwrap();

    let held = stage
        .devbroker()
        .fault(Fault::hold(Api::Produce).topic(&topic).once());
    let (first, behind) =
        five_in_flight(&producer, &topic, async || held.wait_for_hits(1).await).await;
    stage.devbroker().disconnect_clients().await;
    held.remove();
    assert!(first.is_err());
    let mut outcomes = Vec::new();
    for delivery in behind {
        outcomes.push(delivery.await);
    }
    append(&producer, &topic, value(6)).await.await.unwrap();

    let log = values(&stage.log(&topic).await);
    for number in 0..=6 {
        let times = log
            .iter()
            .filter(|logged| **logged == value(number))
            .count();
        match number {
            0 | 6 => assert_eq!(times, 1, "record {number}: {log:?}"),
            1 => assert!(times <= 1, "the one given up is there {times} times"),
            _ => match &outcomes[number - 2] {
                Ok(appended) => {
                    assert_eq!(times, 1, "record {number}, said to be logged: {log:?}");
                    let offset = usize::try_from(appended.offset.unwrap()).unwrap();
                    assert_eq!(
                        log[offset],
                        value(number),
                        "it is not where it was said to be"
                    );
                }
                Err(error) if error.written() == Written::No => {
                    assert_eq!(times, 0, "record {number}, said not to be written: {log:?}");
                }
                Err(_) => assert!(times <= 1, "record {number} is there {times} times"),
            },
        }
    }
}
