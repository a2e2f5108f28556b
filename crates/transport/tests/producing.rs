//! Producing to a broker that loses requests, loses answers, refuses and goes away.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use cybermesh_devbroker::{Api, DevBroker, ErrorCode as Answer, Fault, TopicSpec};
use cybermesh_transport::{
    Appended, Class, Compression, Delivery, DeliveryError, ErrorCode, ErrorKind, FetchConfig, Gate,
    Position, Producer, ProducerConfig, Reader, Record, StartPolicy, Written,
    producer::{Admission, AttemptOutcome, GiveUp, Permit, Pulse},
};
use support::*;
use tokio::time::Instant;

async fn all(deliveries: Vec<Delivery>) -> Vec<Result<Appended, DeliveryError>> {
    let mut outcomes = Vec::new();
    for delivery in deliveries {
        outcomes.push(within(delivery).await);
    }
    outcomes
}

/// A producer whose first record is acknowledged, and five more that wait for their answers behind `fault`.
async fn five_behind(
    broker: &cybermesh_devbroker::DevBroker,
    resends: u32,
    fault: Fault,
) -> Vec<Result<Appended, DeliveryError>> {
    let producer = Producer::new(client(broker).await, eager(resends));
    within(send(&producer, "t", 0, "0").await).await.unwrap();
    // Held until all five are on their way, so that each is in flight when the fault strikes.
    let held = broker.fault(Fault::hold(Api::Produce).once());
    broker.fault(fault);
    let mut deliveries = Vec::new();
    for number in 1..6 {
        deliveries.push(send(&producer, "t", 0, &number.to_string()).await);
    }
    held.wait_for_hits(1).await;
    held.release();
    all(deliveries).await
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_in_the_log_once() {
    let broker = broker("t", 1)
        .await
        .with_fault(Fault::drop_after_apply(Api::Produce).once());
    let producer = Producer::new(client(&broker).await, eager(5));
    let appended = within(send(&producer, "t", 0, "a").await).await.unwrap();
    assert_eq!(
        appended,
        Appended {
            partition: 0,
            offset: Some(0),
            log_append_time_ms: None
        }
    );
    assert_eq!(logged(&broker, "t", 0), ["a"]);
}

#[tokio::test]
async fn five_batches_on_a_connection_that_dies_arrive_once_and_in_order() {
    for fault in [
        Fault::drop_after_apply(Api::Produce),
        Fault::drop_before_apply(Api::Produce),
    ] {
        let broker = broker("t", 1).await;
        let outcomes = five_behind(&broker, 5, fault.skip(1).once()).await;
        assert_eq!(logged(&broker, "t", 0), ["0", "1", "2", "3", "4", "5"]);
        for (number, outcome) in (1..).zip(outcomes) {
            assert_eq!(outcome.unwrap().offset, Some(number));
        }
    }
}

#[tokio::test]
async fn when_the_first_of_five_is_given_up_but_written_the_others_are_not_taken_for_it() {
    let broker = broker("t", 1).await;
    let outcomes = five_behind(&broker, 2, Fault::drop_after_apply(Api::Produce).times(3)).await;
    assert_eq!(
        outcomes[0].as_ref().unwrap_err().written(),
        Written::Unknown
    );
    assert_eq!(
        outcomes[0].as_ref().unwrap_err().class(),
        Class::UnknownOutcome
    );
    assert_eq!(logged(&broker, "t", 0), ["0", "1", "2", "3", "4", "5"]);
    for (number, outcome) in (2..).zip(&outcomes[1..]) {
        assert_eq!(outcome.as_ref().unwrap().offset, Some(number));
    }
}

#[tokio::test]
async fn when_the_first_of_five_is_given_up_unwritten_the_others_are_not_lost() {
    let broker = broker("t", 1).await;
    let outcomes = five_behind(&broker, 2, Fault::drop_before_apply(Api::Produce).times(3)).await;
    assert_eq!(
        outcomes[0].as_ref().unwrap_err().written(),
        Written::Unknown
    );
    assert_eq!(logged(&broker, "t", 0), ["0", "2", "3", "4", "5"]);
    for (number, outcome) in (1..).zip(&outcomes[1..]) {
        assert_eq!(outcome.as_ref().unwrap().offset, Some(number));
    }
    let stamps: Vec<_> = broker
        .log("t")
        .records()
        .iter()
        .map(|record| record.producer.unwrap().epoch)
        .collect();
    assert_eq!(stamps, [0, 1, 1, 1, 1]);
}

#[tokio::test]
async fn a_retriable_error_is_tried_again_and_costs_only_its_partition_time() {
    let broker = broker("t", 2).await;
    let fault = Fault::error(Api::Produce, Answer::NOT_LEADER_OR_FOLLOWER)
        .partition(0)
        .times(3);
    let faults = broker.fault(fault);
    let producer = Producer::new(client(&broker).await, eager(5));
    let hindered = send(&producer, "t", 0, "a").await;
    within(send(&producer, "t", 1, "b").await).await.unwrap();
    assert_eq!(within(hindered).await.unwrap().offset, Some(0));
    assert_eq!(faults.hits(), 3);
}

#[tokio::test]
async fn a_partition_without_a_leader_is_looked_up_until_it_has_one_and_then_written_and_read() {
    let topic = TopicSpec::new("t", 1).replicas(1);
    let broker = DevBroker::builder().brokers(2).topic_with(topic).start();
    let broker = broker.await.unwrap();
    let led_by = broker.leader("t", 0).unwrap().broker.unwrap();
    let producer = Producer::new(client(&broker).await, eager(1000));
    let config = FetchConfig::default();
    let reader = Reader::new(client(&broker).await, config, StartPolicy::Earliest);
    reader.begin(&partition("t", 0), Position::Earliest);
    within(send(&producer, "t", 0, "a").await).await.unwrap();
    assert_eq!(values(async || reader.next().await, 1).await, ["a"]);
    broker.stop_broker(led_by).await;
    let delivery = send(&producer, "t", 0, "b").await;
    // Both are told more than once that there is no leader.
    let looked = broker.requests(Api::Metadata);
    within(broker.wait_until(|broker| broker.requests(Api::Metadata) >= looked + 10)).await;
    broker.start_broker(led_by).await.unwrap();
    assert_eq!(within(delivery).await.unwrap().offset, Some(1));
    assert_eq!(values(async || reader.next().await, 1).await, ["b"]);
}

#[tokio::test]
async fn a_retriable_error_without_end_is_given_up_as_not_written() {
    let broker = broker("t", 1)
        .await
        .with_fault(Fault::error(Api::Produce, Answer::NOT_ENOUGH_REPLICAS));
    let producer = Producer::new(client(&broker).await, eager(2));
    let error = within(send(&producer, "t", 0, "a").await)
        .await
        .unwrap_err();
    assert_eq!(
        (error.written(), error.reason(), error.resends()),
        (Written::No, GiveUp::ResendsExhausted, 2)
    );
    assert_eq!(error.class(), Class::Retriable);
    assert_eq!(
        error.error().error_code(),
        Some(ErrorCode::NotEnoughReplicas)
    );
    assert_eq!(broker.requests(Api::Produce), 3);
    assert!(error.to_string().contains("t partition 0"), "{error}");
}

#[tokio::test]
async fn a_refused_record_leaves_those_behind_it_unharmed() {
    let broker = broker("t", 1).await;
    broker.fault(
        Fault::error(Api::Produce, Answer::MESSAGE_TOO_LARGE)
            .skip(2)
            .once(),
    );
    let producer = Producer::new(client(&broker).await, eager(2));
    within(send(&producer, "t", 0, "0").await).await.unwrap();
    let mut deliveries = Vec::new();
    for number in 1..6 {
        deliveries.push(send(&producer, "t", 0, &number.to_string()).await);
    }
    let outcomes = all(deliveries).await;
    let refused: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.as_ref().err())
        .collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (refused[0].written(), refused[0].class()),
        (Written::No, Class::Fatal)
    );
    assert_eq!(logged(&broker, "t", 0).len(), 5);
    assert!(logged(&broker, "t", 0).is_sorted());
}

#[tokio::test]
async fn without_a_producer_id_nothing_is_sent_and_with_one_all_is() {
    let broker = broker("t", 1).await;
    broker.fault(Fault::error(Api::InitProducerId, Answer::COORDINATOR_LOAD_IN_PROGRESS).times(2));
    let producer = Producer::new(client(&broker).await, eager(2));
    within(send(&producer, "t", 0, "a").await).await.unwrap();
    assert_eq!(broker.requests(Api::InitProducerId), 3);
}

#[tokio::test]
async fn an_unknown_topic_and_an_unknown_partition_are_told_at_once() {
    let broker = broker("t", 2).await;
    let producer = Producer::new(client(&broker).await, eager(2));
    let error = within(producer.reserve("nowhere", 0, 100))
        .await
        .unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::UnknownTopicOrPartition));
    let error = within(producer.reserve("t", 2, 100)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NoSuchPartition { partitions: 2 });
}

#[tokio::test]
async fn a_full_buffer_makes_callers_wait_until_there_is_room() {
    let broker = broker("t", 1).await;
    let config = ProducerConfig {
        buffer_bytes: 200,
        ..eager(2)
    };
    let producer = Producer::new(client(&broker).await, config);
    let error = within(producer.reserve("t", 0, 201)).await.unwrap_err();
    assert_eq!(error.class(), Class::Fatal);
    let held = broker.fault(Fault::hold(Api::Produce).once());
    let record = record("a");
    let first = within(producer.reserve("t", 0, 150))
        .await
        .unwrap()
        .append(record);
    held.wait_for_hits(1).await;
    {
        // Given up before there was room: the next one gets it nevertheless.
        let waiting = producer.reserve("t", 0, 150);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
    }
    let waiting = producer.reserve("t", 0, 150);
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    held.release();
    let reservation = within(waiting).await.unwrap();
    drop(reservation);
    within(first).await.unwrap();
    drop(within(producer.reserve("t", 0, 200)).await.unwrap());
}

#[tokio::test]
async fn a_record_beyond_its_reservation_is_not_sent() {
    let broker = broker("t", 1).await;
    let producer = Producer::new(client(&broker).await, eager(2));
    let error = within(
        within(producer.reserve("t", 0, 10))
            .await
            .unwrap()
            .append(record("a")),
    )
    .await
    .unwrap_err();
    assert_eq!(
        (error.written(), error.reason()),
        (Written::No, GiveUp::Unfit)
    );
    assert_eq!(broker.requests(Api::Produce), 0);
}

#[tokio::test]
async fn dropped_deliveries_are_delivered_and_flush_waits_for_them() {
    let broker = broker("t", 3).await;
    let config = ProducerConfig {
        linger: Duration::from_secs(3600),
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client(&broker).await, config);
    for number in 0..30 {
        drop(send(&producer, "t", number % 3, &number.to_string()).await);
    }
    within(producer.flush()).await;
    assert_eq!(broker.log("t").len(), 30);
    assert_eq!(
        broker
            .log("t")
            .records()
            .iter()
            .filter(|record| record.batch_offset == record.offset)
            .count(),
        3
    );
}

#[tokio::test]
async fn a_producer_that_was_dropped_still_delivers_what_it_took_in() {
    let broker = broker("t", 1).await;
    let config = ProducerConfig {
        linger: Duration::from_secs(3600),
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client(&broker).await, config);
    let delivery = send(&producer, "t", 0, "a").await;
    drop(producer);
    assert_eq!(within(delivery).await.unwrap().offset, Some(0));
}

#[tokio::test]
async fn closing_gives_up_at_the_deadline_and_says_what_may_have_been_written() {
    let broker = broker("t", 1).await;
    let producer = Producer::new(client(&broker).await, eager(2));
    let held = broker.fault(Fault::hold(Api::Produce).once());
    let on_its_way = send(&producer, "t", 0, "a").await;
    held.wait_for_hits(1).await;
    let behind = send(&producer, "t", 0, "b").await;
    let closed = within(producer.close(Instant::now() + Duration::from_millis(50))).await;
    assert_eq!(closed.abandoned, 2);
    assert_eq!(
        within(on_its_way).await.unwrap_err().written(),
        Written::Unknown
    );
    assert_eq!(within(behind).await.unwrap_err().written(), Written::No);
    assert_eq!(
        within(producer.reserve("t", 0, 100))
            .await
            .unwrap_err()
            .kind(),
        &ErrorKind::Closed
    );
}

#[tokio::test]
async fn a_broker_that_is_away_for_a_while_gets_everything_when_it_is_back() {
    let broker = broker("t", 1).await;
    let producer = Producer::new(client(&broker).await, eager(1000));
    within(send(&producer, "t", 0, "a").await).await.unwrap();
    broker.go_down().await;
    let delivery = send(&producer, "t", 0, "b").await;
    broker.come_up().await.unwrap();
    assert_eq!(within(delivery).await.unwrap().offset, Some(1));
    assert_eq!(logged(&broker, "t", 0), ["a", "b"]);
}

/// Lets nothing through until it is opened, and remembers what it heard.
#[derive(Debug, Default)]
struct Door {
    open: Mutex<bool>,
    heard: Mutex<Vec<AttemptOutcome>>,
    asked: tokio::sync::Notify,
}

impl Gate for Door {
    fn admit(&self, _now: Instant) -> Admission {
        self.asked.notify_one();
        if *self.open.lock().unwrap() {
            Admission::Admitted(Permit(0))
        } else {
            Admission::Wait(Duration::from_millis(10))
        }
    }

    fn record(&self, _now: Instant, _permit: Permit, outcome: AttemptOutcome) {
        self.heard.lock().unwrap().push(outcome);
    }
}

#[tokio::test]
async fn a_closed_gate_holds_everything_back_and_hears_of_every_attempt_it_let_through() {
    let broker = broker("t", 1).await;
    let door = Arc::new(Door::default());
    let producer = Producer::new(
        client(&broker).await,
        ProducerConfig {
            gate: door.clone(),
            ..eager(5)
        },
    );
    let delivery = send(&producer, "t", 0, "a").await;
    within(door.asked.notified()).await;
    within(door.asked.notified()).await;
    assert_eq!(
        broker.requests(Api::InitProducerId) + broker.requests(Api::Produce),
        0
    );
    broker.fault(Fault::drop_before_apply(Api::Produce).once());
    *door.open.lock().unwrap() = true;
    within(delivery).await.unwrap();
    let heard = door.heard.lock().unwrap().clone();
    // The connection broke, but the broker answers when it is asked whether it is there.
    assert!(!heard.contains(&AttemptOutcome::Unreachable), "{heard:?}");
    assert_eq!(heard.last(), Some(&AttemptOutcome::Answered));
}

#[tokio::test]
async fn a_cluster_of_which_no_broker_answers_is_unreachable_to_the_gate() {
    let broker = broker("t", 1).await;
    let door = Arc::new(Door::default());
    *door.open.lock().unwrap() = true;
    let producer = Producer::new(
        client(&broker).await,
        ProducerConfig {
            gate: door.clone(),
            ..eager(5)
        },
    );
    within(send(&producer, "t", 0, "a").await).await.unwrap();
    let before = door.heard.lock().unwrap().len();
    broker.go_down().await;
    let delivery = send(&producer, "t", 0, "b").await;
    let heard = async {
        while door.heard.lock().unwrap().len() == before {
            tokio::task::yield_now().await;
        }
    };
    within(heard).await;
    let heard = door.heard.lock().unwrap()[before..].to_vec();
    assert!(
        heard
            .iter()
            .all(|outcome| *outcome == AttemptOutcome::Unreachable),
        "{heard:?}"
    );
    broker.come_up().await.unwrap();
    within(delivery).await.unwrap();
}

/// Says "not for an hour" until somebody else's attempt ends well.
#[derive(Debug, Default)]
struct Elsewhere {
    open: Mutex<bool>,
    asked: tokio::sync::Notify,
    changes: tokio::sync::watch::Sender<u64>,
}

impl Gate for Elsewhere {
    fn admit(&self, _now: Instant) -> Admission {
        self.asked.notify_one();
        if *self.open.lock().unwrap() {
            Admission::Admitted(Permit(0))
        } else {
            Admission::Wait(Duration::from_secs(3600))
        }
    }

    fn record(&self, _now: Instant, _permit: Permit, _outcome: AttemptOutcome) {}

    fn changes(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        Some(self.changes.subscribe())
    }
}

#[tokio::test]
async fn a_producer_that_was_told_to_wait_asks_again_when_the_gate_says_that_something_changed() {
    let broker = broker("t", 1).await;
    let gate = Arc::new(Elsewhere::default());
    let producer = Producer::new(
        client(&broker).await,
        ProducerConfig {
            gate: gate.clone(),
            ..eager(5)
        },
    );
    let delivery = send(&producer, "t", 0, "a").await;
    within(gate.asked.notified()).await;
    *gate.open.lock().unwrap() = true;
    gate.changes.send_modify(|count| *count += 1);
    within(delivery).await.unwrap();
}

#[tokio::test]
async fn while_no_broker_answers_an_aged_view_of_the_cluster_goes_on_serving() {
    let broker = broker("t", 2).await;
    let bootstrap = cybermesh_transport::Address::parse_list(&broker.bootstrap()).unwrap();
    let config =
        cybermesh_transport::ClientConfig::new(bootstrap, cybermesh_transport::Security::Plaintext)
            .metadata_max_age(Duration::ZERO);
    let client = cybermesh_transport::Client::connect(config).await.unwrap();
    assert_eq!(within(client.partition_count("t")).await, Ok(2));
    broker.go_down().await;
    assert_eq!(within(client.partition_count("t")).await, Ok(2));
    let patient = ProducerConfig {
        linger: Duration::ZERO,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client.clone(), patient);
    let delivery = send(&producer, "t", 1, "a").await;
    assert!(within(client.partition_count("other")).await.is_err());
    broker.come_up().await.unwrap();
    assert_eq!(within(delivery).await.unwrap().partition, 1);
}

#[tokio::test]
async fn deliveries_end_when_the_runtime_of_their_producer_does() {
    let broker = broker("t", 1).await;
    let bootstrap = broker.bootstrap();
    let theirs = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let held = broker.fault(Fault::hold(Api::Produce));
    let sending = theirs.spawn(async move {
        let client = client_at(&bootstrap).await;
        let producer = Producer::new(client, eager(5));
        let delivery = send(&producer, "t", 0, "a").await;
        (producer, delivery)
    });
    let (producer, delivery) = within(sending).await.unwrap();
    within(held.wait_for_hits(1)).await;
    theirs.shutdown_background();
    let error = within(delivery).await.unwrap_err();
    assert_eq!(
        (error.written(), error.reason()),
        (Written::Unknown, GiveUp::Closed)
    );
    // Nor does anything wait for room that will never be made.
    assert!(within(producer.reserve("t", 0, 100)).await.is_err());
    within(producer.flush()).await;
}

/// Says "not now, nor ever" once.
#[derive(Debug, Default)]
struct Never(std::sync::atomic::AtomicBool);

impl Gate for Never {
    fn admit(&self, _now: Instant) -> Admission {
        if self.0.swap(true, std::sync::atomic::Ordering::Relaxed) {
            Admission::Admitted(Permit(0))
        } else {
            Admission::Wait(Duration::MAX)
        }
    }

    fn record(&self, _now: Instant, _permit: Permit, _outcome: AttemptOutcome) {}
}

#[tokio::test]
async fn times_without_end_are_no_reason_to_panic() {
    let broker = broker("t", 1).await;
    let bootstrap = cybermesh_transport::Address::parse_list(&broker.bootstrap()).unwrap();
    let config =
        cybermesh_transport::ClientConfig::new(bootstrap, cybermesh_transport::Security::Plaintext)
            .connect_timeout(Duration::MAX)
            .request_timeout(Duration::MAX)
            .metadata_max_age(Duration::MAX);
    let client = within(cybermesh_transport::Client::connect(config))
        .await
        .unwrap();
    let endless = ProducerConfig {
        linger: Duration::MAX,
        delivery_timeout: Duration::MAX,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client.clone(), endless.clone());
    let delivery = send(&producer, "t", 0, "a").await;
    within(producer.flush()).await;
    assert_eq!(within(delivery).await.unwrap().offset, Some(0));

    let shut = ProducerConfig {
        gate: Arc::new(Never::default()),
        ..endless
    };
    let producer = Producer::new(client, shut);
    let delivery = send(&producer, "t", 0, "b").await;
    let closed = within(producer.close(Instant::now() + Duration::from_millis(50))).await;
    assert_eq!(closed.abandoned, 1);
    assert_eq!(
        within(delivery).await.unwrap_err().written(),
        Written::No,
        "the gate never opened"
    );
}

/// A producer that has written to each of the topic's partitions before, and sends nothing until it is flushed.
async fn warm(
    broker: &cybermesh_devbroker::DevBroker,
    partitions: i32,
    config: ProducerConfig,
) -> Producer {
    let patient = ProducerConfig {
        linger: Duration::from_secs(3600),
        compression: Compression::None,
        ..config
    };
    let producer = Producer::new(client(broker).await, patient);
    for number in 0..partitions {
        drop(send(&producer, "t", number, "first").await);
    }
    within(producer.flush()).await;
    producer
}

#[tokio::test]
async fn batches_of_many_partitions_go_in_one_request() {
    let broker = broker("t", 30).await;
    let producer = warm(&broker, 30, ProducerConfig::default()).await;
    let before = broker.requests(Api::Produce);
    for number in 0..90 {
        drop(send(&producer, "t", number % 30, "next").await);
    }
    within(producer.flush()).await;
    assert_eq!(broker.requests(Api::Produce) - before, 1);
    assert_eq!(broker.log("t").len(), 120);
}

#[tokio::test]
async fn a_request_holds_no_more_than_its_limit_and_the_rest_goes_in_others() {
    let broker = broker("t", 10).await;
    let config = ProducerConfig {
        max_request_bytes: 35_000,
        ..ProducerConfig::default()
    };
    let producer = warm(&broker, 10, config).await;
    let before = broker.requests(Api::Produce);
    for number in 0..10 {
        drop(send(&producer, "t", number, &"x".repeat(10_000)).await);
    }
    within(producer.flush()).await;
    // Three of ten kilobytes fit.
    assert_eq!(broker.requests(Api::Produce) - before, 4);
    assert_eq!(broker.log("t").len(), 20);
}

/// A gate that admits one attempt at a time gives the oldest its chance first.
#[tokio::test]
async fn the_oldest_batch_is_in_the_first_request_whichever_its_partition_is() {
    let broker = broker("t", 3).await;
    let door = Arc::new(Door::default());
    *door.open.lock().unwrap() = true;
    let config = ProducerConfig {
        max_request_bytes: 100,
        gate: door.clone(),
        ..ProducerConfig::default()
    };
    let producer = warm(&broker, 3, config).await;
    *door.open.lock().unwrap() = false;
    for number in [2, 0, 1] {
        drop(send(&producer, "t", number, "next").await);
    }
    // What is held holds up all that comes behind it on the connection.
    let oldest = broker.fault(Fault::hold(Api::Produce).partition(2));
    let others = broker.fault(Fault::hold(Api::Produce).partition(0).partition(1));
    let flushing = async { within(producer.flush()).await };
    let first = async {
        *door.open.lock().unwrap() = true;
        within(async {
            tokio::select! {
                () = oldest.wait_for_hits(1) => {}
                () = others.wait_for_hits(1) => {}
            }
        })
        .await;
        assert_eq!((oldest.hits(), others.hits()), (1, 0));
        oldest.remove();
        others.remove();
    };
    tokio::join!(flushing, first);
    assert_eq!(broker.log("t").len(), 6);
}

#[tokio::test]
async fn a_batch_larger_than_a_request_may_be_travels_alone() {
    let broker = broker("t", 3).await;
    let config = ProducerConfig {
        max_request_bytes: 100,
        ..ProducerConfig::default()
    };
    let producer = warm(&broker, 3, config).await;
    let before = broker.requests(Api::Produce);
    for number in 0..3 {
        drop(send(&producer, "t", number, &"x".repeat(1000)).await);
    }
    within(producer.flush()).await;
    assert_eq!(broker.requests(Api::Produce) - before, 3);
    assert_eq!(broker.log("t").len(), 6);
}

#[tokio::test]
async fn a_keyed_record_goes_where_java_would_put_it() {
    let broker = broker("t", 7).await;
    let producer = Producer::new(client(&broker).await, eager(5));
    // By `DefaultPartitioner`: murmur2 of the key, without its sign, modulo 7.
    for (key, partition) in [("foobar", 0), ("21", 3), ("abc", 4)] {
        let keyed = Record {
            key: Some(key.into()),
            ..record("a")
        };
        let delivery = within(producer.send("t", keyed)).await.unwrap();
        assert_eq!(
            within(delivery).await.unwrap().partition,
            partition,
            "{key}"
        );
    }
}

#[tokio::test]
async fn records_without_a_key_fill_a_batch_of_one_partition_before_the_next() {
    let broker = broker("t", 4).await;
    let config = ProducerConfig {
        linger: Duration::from_secs(3600),
        batch_bytes: 1000,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client(&broker).await, config);
    let each = record("a").size_bound();
    let in_a_batch = 1000 / each;
    let mut deliveries = Vec::new();
    for _ in 0..in_a_batch * 8 {
        deliveries.push(within(producer.send("t", record("a"))).await.unwrap());
    }
    within(producer.flush()).await;
    let partitions: Vec<i32> = all(deliveries)
        .await
        .into_iter()
        .map(|outcome| outcome.unwrap().partition)
        .collect();
    let runs: Vec<i32> = partitions.chunks(in_a_batch).map(|run| run[0]).collect();
    assert!(
        partitions
            .chunks(in_a_batch)
            .all(|run| run.iter().all(|partition| *partition == run[0]))
    );
    assert!(
        runs.windows(2).all(|pair| pair[1] == (pair[0] + 1) % 4),
        "{runs:?}"
    );
}

#[tokio::test]
async fn stats_tell_what_is_buffered_and_under_way_and_how_often_was_resent() {
    let broker = broker("t", 1).await;
    let producer = Producer::new(client(&broker).await, eager(5));
    let held = broker.fault(Fault::hold(Api::Produce).once());
    let first = send(&producer, "t", 0, "a").await;
    within(held.wait_for_hits(1)).await;
    let second = send(&producer, "t", 0, "b").await;
    let stats = producer.stats();
    assert_eq!((stats.buffered_records, stats.batches_in_flight), (2, 1));
    assert!(stats.reserved_bytes >= 2 * record("a").size_bound());
    broker.fault(Fault::drop_after_apply(Api::Produce).once());
    held.release();
    within(first).await.unwrap();
    within(second).await.unwrap();
    let stats = producer.stats();
    assert_eq!((stats.buffered_records, stats.reserved_bytes), (0, 0));
    assert_eq!((stats.batches_in_flight, stats.resends), (0, 1));
}

/// A gate that says when it is asked, and does what it is told before it answers.
#[derive(Debug)]
struct Doorkeeper {
    asked: tokio::sync::Notify,
    told: Mutex<std::sync::mpsc::Receiver<&'static str>>,
}

impl Gate for Doorkeeper {
    fn admit(&self, _now: Instant) -> Admission {
        self.asked.notify_one();
        if let Ok(last_words) = self.told.lock().unwrap().recv() {
            panic!("{last_words}");
        }
        Admission::Admitted(Permit(0))
    }

    fn record(&self, _now: Instant, _permit: Permit, _outcome: AttemptOutcome) {}
}

fn kept(told: std::sync::mpsc::Receiver<&'static str>) -> Arc<Doorkeeper> {
    Arc::new(Doorkeeper {
        asked: tokio::sync::Notify::new(),
        told: Mutex::new(told),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_hangs_gives_no_sign_of_life_until_it_goes_on() {
    let broker = broker("t", 1).await;
    let (tell, told) = std::sync::mpsc::channel();
    let gate = kept(told);
    let config = ProducerConfig {
        gate: gate.clone(),
        ..eager(5)
    };
    let producer = Producer::new(client(&broker).await, config);
    // Dropped before the producer, whose task holds its lock while the gate waits to be told.
    let tell = tell;
    assert_eq!(within(producer.pulse()).await, Pulse::Beats);
    let delivery = send(&producer, "t", 0, "a").await;
    within(gate.asked.notified()).await;
    let mut pulse = Box::pin(producer.pulse());
    assert!(futures_util::poll!(pulse.as_mut()).is_pending());
    drop(tell);
    assert_eq!(within(pulse).await, Pulse::Beats);
    within(delivery).await.unwrap();
    producer
        .close(Instant::now() + Duration::from_secs(5))
        .await;
    // Its last round may still be on its way.
    while within(producer.pulse()).await == Pulse::Beats {}
    assert_eq!(within(producer.pulse()).await, Pulse::Ended);
}

#[tokio::test]
async fn a_task_that_panicked_is_gone_and_not_ended() {
    let broker = broker("t", 1).await;
    let (tell, told) = std::sync::mpsc::channel();
    tell.send("as told").unwrap();
    let gate = kept(told);
    let config = ProducerConfig { gate, ..eager(5) };
    let producer = Producer::new(client(&broker).await, config);
    let given_up = within(send(&producer, "t", 0, "a").await).await;
    assert_eq!(given_up.unwrap_err().reason(), GiveUp::Closed);
    assert_eq!(within(producer.pulse()).await, Pulse::Gone);
}
