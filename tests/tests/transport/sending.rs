//! How records become batches and requests, and what of them fails alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cybermesh_tests::Stage;
use cybermesh_transport::admin::NewTopic;
use cybermesh_transport::producer::{Admission, AttemptOutcome, Gate, GiveUp, Permit};
use cybermesh_transport::{
    Admin, Compression, ErrorCode, Producer, ProducerConfig, Record, TopicPartition, Written,
};
use futures_util::FutureExt as _;
use tokio::time::Instant;

use crate::support::{read, record, send, texts, within};

cybermesh_tests::scenarios! {
    both: [
        what_lingers_together_goes_in_one_request,
        a_full_batch_goes_without_lingering_and_what_is_left_waits,
        each_partition_keeps_its_order_with_five_requests_in_flight,
        an_oversized_record_fails_alone,
        a_record_the_broker_names_as_bad_fails_alone_and_the_others_go_in_one_more_request,
        room_that_is_given_back_and_waits_that_are_given_up_leave_no_hole,
        a_producer_that_is_closed_has_sent_what_was_appended_and_takes_no_more,
    ],
}

const AN_HOUR: Duration = Duration::from_secs(3600);

/// Counts requests.
#[derive(Debug, Default)]
struct Counter(AtomicUsize);

impl Gate for Counter {
    fn admit(&self, _now: Instant) -> Admission {
        self.0.fetch_add(1, Ordering::Relaxed);
        Admission::Admitted(Permit(0))
    }

    fn record(&self, _now: Instant, _permit: Permit, _outcome: AttemptOutcome) {}
}

impl Counter {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

async fn topic(stage: &Stage, partitions: i32) -> String {
    let topic = stage.own("sending");
    stage.make_topic(&topic, partitions).await;
    topic
}

fn numbers(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

async fn what_lingers_together_goes_in_one_request(stage: Stage) {
    let topic = topic(&stage, 1).await;
    let gate = Arc::new(Counter::default());
    let config = ProducerConfig {
        linger: AN_HOUR,
        gate: Arc::clone(&gate) as Arc<dyn Gate>,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(stage.client().await, config);
    // The first one takes look-ups too.
    drop(send(&producer, &topic, 0, record("first")).await);
    within(producer.flush()).await;
    let mut deliveries = Vec::new();
    for number in 0..100 {
        deliveries.push(send(&producer, &topic, 0, record(number.to_string())).await);
    }
    let before = gate.count();
    assert!(
        deliveries
            .iter_mut()
            .all(|delivery| delivery.now_or_never().is_none())
    );
    within(producer.flush()).await;
    for (offset, delivery) in (1..).zip(deliveries) {
        assert_eq!(within(delivery).await.unwrap().offset, Some(offset));
    }
    assert_eq!(gate.count() - before, 1, "one request");
}

async fn a_full_batch_goes_without_lingering_and_what_is_left_waits(stage: Stage) {
    let topic = topic(&stage, 1).await;
    let config = ProducerConfig {
        linger: AN_HOUR,
        batch_bytes: 4096,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(stage.client().await, config);
    let mut deliveries = Vec::new();
    // Two fill a batch between them, with room for no third.
    for _ in 0..5 {
        deliveries.push(send(&producer, &topic, 0, record(vec![b'x'; 1900])).await);
    }
    let last = deliveries.pop().expect("five");
    for delivery in deliveries {
        within(delivery).await.unwrap();
    }
    let mut last = last;
    assert!((&mut last).now_or_never().is_none());
    within(producer.flush()).await;
    assert_eq!(within(last).await.unwrap().offset, Some(4));
}

async fn each_partition_keeps_its_order_with_five_requests_in_flight(stage: Stage) {
    let topic = topic(&stage, 2).await;
    let config = ProducerConfig {
        linger: Duration::ZERO,
        batch_bytes: 1,
        max_in_flight: 5,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(stage.client().await, config);
    let mut deliveries = Vec::new();
    for number in 0..200_u32 {
        for partition in 0..2 {
            let record = record(number.to_string());
            deliveries.push((number, send(&producer, &topic, partition, record).await));
        }
    }
    for (number, delivery) in deliveries {
        assert_eq!(
            within(delivery).await.unwrap().offset,
            Some(i64::from(number))
        );
    }
    for records in read(&stage, &topic, 2, 200).await.values() {
        assert_eq!(texts(records), numbers(0..200));
    }
}

async fn an_oversized_record_fails_alone(stage: Stage) {
    let topic = stage.own("small-messages");
    let small = NewTopic::new(topic.as_str())
        .partitions(1)
        .replication_factor(1)
        .config("max.message.bytes", "2000");
    let client = stage.client().await;
    Admin::new(client.clone())
        .create_topic(small)
        .await
        .unwrap();
    // All in one batch, which the broker refuses whole.
    let config = ProducerConfig {
        linger: AN_HOUR,
        compression: Compression::None,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client, config);
    let first = send(&producer, &topic, 0, record("first")).await;
    let large = send(&producer, &topic, 0, record(vec![b'x'; 4000])).await;
    let last = send(&producer, &topic, 0, record("last")).await;
    within(producer.flush()).await;

    let refused = within(large).await.unwrap_err();
    assert_eq!(
        refused.error().error_code(),
        Some(ErrorCode::MessageTooLarge)
    );
    assert_eq!(
        (refused.written(), refused.reason()),
        (Written::No, GiveUp::Refused)
    );
    let target = refused.error().target();
    assert_eq!(
        (target.topic_name(), target.partition_index()),
        (Some(topic.as_str()), Some(0))
    );
    assert_eq!(within(first).await.unwrap().offset, Some(0));
    assert_eq!(within(last).await.unwrap().offset, Some(1));
    let read = read(&stage, &topic, 1, 2).await;
    assert_eq!(texts(&read[&0]), ["first", "last"]);
}

async fn a_record_the_broker_names_as_bad_fails_alone_and_the_others_go_in_one_more_request(
    stage: Stage,
) {
    // Where the log keeps the last record of each key, one without a key is refused (KIP-467 names it).
    let topic = stage.own("last-of-each-key");
    let compacted = NewTopic::new(topic.as_str())
        .partitions(1)
        .replication_factor(1)
        .config("cleanup.policy", "compact");
    let client = stage.client().await;
    Admin::new(client.clone())
        .create_topic(compacted)
        .await
        .unwrap();
    let gate = Arc::new(Counter::default());
    let config = ProducerConfig {
        linger: AN_HOUR,
        gate: Arc::clone(&gate) as Arc<dyn Gate>,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client, config);
    let keyed = |value: &'static str| Record {
        key: Some("key".into()),
        ..record(value)
    };
    drop(send(&producer, &topic, 0, keyed("first")).await);
    within(producer.flush()).await;
    let before = gate.count();
    let mut good = Vec::new();
    for value in ["a", "b", "c"] {
        good.push(send(&producer, &topic, 0, keyed(value)).await);
    }
    let bad = send(&producer, &topic, 0, record("without a key")).await;
    good.push(send(&producer, &topic, 0, keyed("d")).await);
    within(producer.flush()).await;
    let refused = within(bad).await.unwrap_err();
    assert_eq!(refused.error().error_code(), Some(ErrorCode::InvalidRecord));
    assert_eq!(refused.written(), Written::No);
    for (offset, delivery) in (1..).zip(good) {
        assert_eq!(within(delivery).await.unwrap().offset, Some(offset));
    }
    assert_eq!(
        gate.count() - before,
        2,
        "the batch, and what is left of it"
    );
}

async fn room_that_is_given_back_and_waits_that_are_given_up_leave_no_hole(stage: Stage) {
    const BUFFER_BYTES: usize = 8 * 1024;
    let topic = topic(&stage, 1).await;
    let config = ProducerConfig {
        linger: Duration::ZERO,
        batch_bytes: 1,
        buffer_bytes: BUFFER_BYTES,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(stage.client().await, config);
    for number in 0..50 {
        // Taken and given back.
        drop(within(producer.reserve(&topic, 0, 100)).await.unwrap());
        let value = record(number.to_string());
        let room = within(producer.reserve(&topic, 0, value.size_bound())).await;
        let room = room.unwrap();
        // Waits for all the room there is, in vain, and is given up.
        let waits = producer.reserve(&topic, 0, BUFFER_BYTES).now_or_never();
        assert!(waits.is_none());
        // Whoever does not wait for the end cancels nothing.
        drop(room.append(value));
    }
    within(producer.flush()).await;
    let read = read(&stage, &topic, 1, 50).await;
    assert_eq!(texts(&read[&0]), numbers(0..50));
    assert!(
        (0..)
            .zip(&read[&0])
            .all(|(offset, one)| one.offset == offset)
    );
    let room = within(producer.reserve(&topic, 0, BUFFER_BYTES))
        .await
        .unwrap();
    assert_eq!(room.partition(), &TopicPartition::new(topic.as_str(), 0));
}

async fn a_producer_that_is_closed_has_sent_what_was_appended_and_takes_no_more(stage: Stage) {
    let topic = topic(&stage, 1).await;
    let config = ProducerConfig {
        linger: AN_HOUR,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(stage.client().await, config);
    let late = within(producer.reserve(&topic, 0, 100)).await.unwrap();
    let delivery = send(&producer, &topic, 0, record("in time")).await;
    let closed = within(producer.close(Instant::now() + AN_HOUR)).await;
    assert_eq!(closed.abandoned, 0);
    assert_eq!(within(delivery).await.unwrap().offset, Some(0));
    let refused = within(late.append(record("late"))).await.unwrap_err();
    assert_eq!(
        (refused.written(), refused.reason()),
        (Written::No, GiveUp::Closed)
    );
    assert!(within(producer.reserve(&topic, 0, 100)).await.is_err());
}
