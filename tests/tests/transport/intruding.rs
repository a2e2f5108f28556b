//! Someone else writes under our producer ids: what Kafka answers then, and what becomes of our records.

use cybermesh_devbroker::{Api, Fault};
use cybermesh_tests::intruder::Intruder;
use cybermesh_tests::link::Link;
use cybermesh_tests::{Over, Stage};
use cybermesh_transport::admin::NewTopic;
use cybermesh_transport::{Admin, Client, Producer, ProducerConfig};

use crate::support::{record, send, texts, within};

cybermesh_tests::scenarios! {
    both: [
        a_record_gets_through_though_every_new_id_is_taken_by_someone_else,
        a_record_gets_through_though_every_new_id_is_fenced_by_someone_else,
        an_answer_that_was_lost_is_no_reason_for_an_alarm,
        appends_to_a_topic_with_the_brokers_timestamps_are_no_reason_for_an_alarm,
        a_batch_in_doubt_on_a_topic_with_the_brokers_timestamps_is_acknowledged_by_its_copy,
    ],
    devbroker_only: [
        a_sequence_that_someone_else_took_costs_one_producer_id: "others ask for ids meanwhile",
        without_the_right_to_ask_for_the_clock_what_a_topic_answered_before_decides: "a refusal on request",
    ],
}

/// More than other tests ask for meanwhile.
const IDS: i64 = 60;
const THEIRS: &str = "theirs";

/// Values that are ours, with their offsets.
async fn ours(stage: &Stage, topic: &str) -> Vec<(i64, String)> {
    let log = stage.log(topic).await;
    let values = log.into_iter().map(|record| {
        let value = record.value.expect("a value").to_vec();
        (record.offset, String::from_utf8(value).expect("text"))
    });
    values.filter(|(_, value)| value != THEIRS).collect()
}

async fn topic(stage: &Stage, timestamps: &str) -> String {
    let name = stage.own("intruding");
    let topic = NewTopic::new(name.as_str())
        .partitions(1)
        .replication_factor(1)
        .config("message.timestamp.type", timestamps);
    Admin::new(stage.client().await)
        .create_topic(topic)
        .await
        .unwrap();
    name
}

/// Each of the next ids begins with a record of the intruder's, under this epoch.
async fn taken(stage: &Stage, topic: &str, epoch: i16, ids: i64) {
    let mut intruder = Intruder::connect(stage).await;
    let last = intruder.producer_id().await;
    for id in last + 1..=last + ids {
        intruder.take(topic, id, epoch, THEIRS).await;
    }
}

async fn a_record_gets_through_though_every_new_id_is_taken_by_someone_else(stage: Stage) {
    let topic = topic(&stage, "CreateTime").await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    taken(&stage, &topic, 0, IDS).await;
    let delivery = send(&producer, &topic, 0, record("ours")).await;
    let offset = within(delivery).await.unwrap().offset.expect("an offset");
    let stats = producer.stats();
    assert_eq!(
        (stats.sequences_taken, stats.unprotected_partitions),
        (3, 1)
    );
    assert_eq!(ours(&stage, &topic).await, [(offset, "ours".to_owned())]);
}

async fn a_record_gets_through_though_every_new_id_is_fenced_by_someone_else(stage: Stage) {
    let topic = topic(&stage, "CreateTime").await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    taken(&stage, &topic, 1, IDS).await;
    let delivery = send(&producer, &topic, 0, record("ours")).await;
    let offset = within(delivery).await.unwrap().offset.expect("an offset");
    let stats = producer.stats();
    assert_eq!((stats.fences, stats.unprotected_partitions), (3, 1));
    assert_eq!(ours(&stage, &topic).await, [(offset, "ours".to_owned())]);
}

async fn a_sequence_that_someone_else_took_costs_one_producer_id(stage: Stage) {
    let topic = topic(&stage, "CreateTime").await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    taken(&stage, &topic, 0, 1).await;
    for value in ["first", "second"] {
        within(send(&producer, &topic, 0, record(value)).await)
            .await
            .unwrap();
    }
    let stats = producer.stats();
    assert_eq!(
        (stats.sequences_taken, stats.unprotected_partitions),
        (1, 0)
    );
    let values: Vec<_> = ours(&stage, &topic).await;
    assert_eq!(values, [(1, "first".to_owned()), (2, "second".to_owned())]);
}

async fn without_the_right_to_ask_for_the_clock_what_a_topic_answered_before_decides(stage: Stage) {
    let topic = topic(&stage, "CreateTime").await;
    let refusal = cybermesh_devbroker::ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    stage
        .devbroker()
        .fault(Fault::error(Api::DescribeConfigs, refusal));
    let mut intruder = Intruder::connect(&stage).await;
    let last = intruder.producer_id().await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    within(send(&producer, &topic, 0, record("first")).await)
        .await
        .unwrap();
    // Ours is the id after theirs, and the first of its sequence numbers is used.
    intruder.follow(&topic, last + 1, 1, THEIRS).await;
    let delivery = send(&producer, &topic, 0, record("second")).await;
    assert_eq!(within(delivery).await.unwrap().offset, Some(2));
    assert_eq!(producer.stats().sequences_taken, 1);
}

/// Sends a record, then one whose answer is lost.
async fn with_a_lost_answer(stage: &Stage, topic: &str) -> Producer {
    let link = Link::new(stage).await;
    let client = Client::connect(link.client_config()).await.unwrap();
    let producer = Producer::new(client, ProducerConfig::default());
    within(send(&producer, topic, 0, record("first")).await)
        .await
        .unwrap();
    let delivery = if stage.over() == Over::Devbroker {
        let lost = Fault::drop_after_apply(Api::Produce).once();
        stage.devbroker().fault(lost);
        send(&producer, topic, 0, record("second")).await
    } else {
        let loss = link.lose_answers();
        let delivery = send(&producer, topic, 0, record("second")).await;
        within(loss.happened()).await;
        loss.end().await;
        delivery
    };
    assert_eq!(within(delivery).await.unwrap().offset, Some(1));
    assert!(producer.stats().resends > 0);
    producer
}

async fn an_answer_that_was_lost_is_no_reason_for_an_alarm(stage: Stage) {
    let topic = topic(&stage, "CreateTime").await;
    let producer = with_a_lost_answer(&stage, &topic).await;
    assert_eq!(producer.stats().sequences_taken, 0);
    let read = crate::support::read(&stage, &topic, 1, 2).await;
    assert_eq!(texts(&read[&0]), ["first", "second"]);
}

async fn a_batch_in_doubt_on_a_topic_with_the_brokers_timestamps_is_acknowledged_by_its_copy(
    stage: Stage,
) {
    let topic = topic(&stage, "LogAppendTime").await;
    let producer = with_a_lost_answer(&stage, &topic).await;
    assert_eq!(producer.stats().sequences_taken, 0);
    let read = crate::support::read(&stage, &topic, 1, 2).await;
    assert_eq!(texts(&read[&0]), ["first", "second"]);
}

async fn appends_to_a_topic_with_the_brokers_timestamps_are_no_reason_for_an_alarm(stage: Stage) {
    let topic = topic(&stage, "LogAppendTime").await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    for number in 0..3 {
        let delivery = send(&producer, &topic, 0, record(number.to_string())).await;
        let appended = within(delivery).await.unwrap();
        assert_eq!(appended.offset, Some(number));
        assert!(appended.log_append_time_ms.is_some());
    }
    assert_eq!(producer.stats().sequences_taken, 0);
}
