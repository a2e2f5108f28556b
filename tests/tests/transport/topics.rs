//! Making, describing and deleting topics, and asking for one that is not there.

use cybermesh_tests::Stage;
use cybermesh_transport::admin::{ConfigChange, DeleteUpTo, NewTopic};
use cybermesh_transport::{
    Admin, Class, Consumer, ConsumerConfig, ErrorCode, ErrorKind, Producer, ProducerConfig,
    TimestampType, TopicPartition, TransportError,
};

use crate::support::{read, record, send, send_numbers, texts, until, within};

cybermesh_tests::scenarios! {
    both: [
        a_topic_is_made_described_written_and_deleted,
        a_topic_that_is_there_already_is_refused,
        a_topic_that_is_not_there_is_named_by_whatever_asks_for_it,
        a_topic_is_given_partitions_which_are_written_and_read,
        configurations_are_changed_one_by_one_and_set_back,
        the_oldest_records_are_deleted_and_the_first_that_is_left_is_told,
    ],
}

async fn a_topic_is_made_described_written_and_deleted(stage: Stage) {
    let client = stage.client().await;
    let admin = Admin::new(client.clone());
    for (configured, expected) in [
        ("CreateTime", TimestampType::CreateTime),
        ("LogAppendTime", TimestampType::LogAppendTime),
    ] {
        let name = stage.own(configured);
        let topic = NewTopic::new(name.as_str())
            .partitions(3)
            .replication_factor(1)
            .config("message.timestamp.type", configured);
        let made = admin.create_topic(topic).await.unwrap();
        assert_eq!((made.name(), made.partition_count()), (name.as_str(), 3));
        let described = admin.describe_topic(&name).await.unwrap();
        assert_eq!(described.timestamp_type(), Some(expected));
        assert_eq!(described.metadata.id(), made.id());
        assert!(admin.list_topics().await.unwrap().contains(&name));

        let producer = Producer::new(client.clone(), ProducerConfig::default());
        let sent = record("one");
        let ours = sent.timestamp_ms;
        let appended = within(send(&producer, &name, 0, sent).await).await.unwrap();
        let came = &read(&stage, &name, 1, 1).await[&0][0];
        assert_eq!(came.timestamp_type, expected);
        match expected {
            TimestampType::CreateTime => {
                assert_eq!((came.timestamp_ms, came.append_time_ms()), (ours, None));
                assert_eq!(appended.log_append_time_ms, None);
            }
            TimestampType::LogAppendTime => {
                assert_eq!(appended.log_append_time_ms, came.append_time_ms());
                assert!(came.append_time_ms().is_some_and(|theirs| theirs >= ours));
            }
        }

        admin.delete_topic(&name).await.unwrap();
        until(async || !admin.list_topics().await.unwrap().contains(&name)).await;
        assert_unknown(&client.refresh_topic(&name).await.unwrap_err(), &name);
        assert_unknown(&admin.delete_topic(&name).await.unwrap_err(), &name);
    }
}

async fn a_topic_that_is_there_already_is_refused(stage: Stage) {
    let name = stage.own("twice");
    stage.make_topic(&name, 1).await;
    let again = Admin::new(stage.client().await)
        .create_topic(NewTopic::new(name.as_str()).partitions(1))
        .await
        .unwrap_err();
    assert_eq!(again.error_code(), Some(ErrorCode::TopicAlreadyExists));
    assert_eq!(again.class(), Class::Fatal);
    assert_eq!(again.target().topic_name(), Some(name.as_str()));
}

async fn a_topic_that_is_not_there_is_named_by_whatever_asks_for_it(stage: Stage) {
    let name = stage.own("nowhere");
    let client = stage.client().await;
    assert_unknown(&client.topic(&name).await.unwrap_err(), &name);
    let producer = Producer::new(client.clone(), ProducerConfig::default());
    assert_unknown(&producer.reserve(&name, 0, 100).await.unwrap_err(), &name);
    let config = ConsumerConfig::new(stage.own("group"), [name.as_str()]);
    let refused = Consumer::join(client.clone(), config).await.unwrap_err();
    assert_unknown(&refused, &name);
    let admin = Admin::new(client);
    assert_unknown(&admin.describe_topic(&name).await.unwrap_err(), &name);

    let there = stage.own("one-partition");
    stage.make_topic(&there, 1).await;
    let refused = producer.reserve(&there, 1, 100).await.unwrap_err();
    assert_eq!(
        refused.kind(),
        &ErrorKind::NoSuchPartition { partitions: 1 }
    );
}

async fn a_topic_is_given_partitions_which_are_written_and_read(stage: Stage) {
    let name = stage.own("grown");
    stage.make_topic(&name, 1).await;
    let client = stage.client().await;
    let admin = Admin::new(client.clone());
    let grown = admin.create_partitions(&name, 4).await.unwrap();
    assert!(grown.is_led());
    assert_eq!(client.partition_count(&name).await, Ok(4));
    let producer = Producer::new(client, ProducerConfig::default());
    send_numbers(&producer, &name, 4, 0..3).await;
    for records in read(&stage, &name, 4, 3).await.values() {
        assert_eq!(texts(records), ["0", "1", "2"]);
    }
    let fewer = admin.create_partitions(&name, 2).await.unwrap_err();
    assert_eq!(fewer.error_code(), Some(ErrorCode::InvalidPartitions));
    let nowhere = stage.own("nowhere");
    let unknown = admin.create_partitions(&nowhere, 2).await.unwrap_err();
    assert_unknown(&unknown, &nowhere);
}

async fn configurations_are_changed_one_by_one_and_set_back(stage: Stage) {
    let name = stage.own("configured");
    let admin = Admin::new(stage.client().await);
    let topic = NewTopic::new(name.as_str())
        .partitions(1)
        .config("message.timestamp.type", "LogAppendTime");
    admin.create_topic(topic).await.unwrap();
    let config = async |wanted: &str| {
        let described = admin.describe_topic(&name).await.unwrap();
        described.configs[wanted].clone().unwrap()
    };
    let default = config("retention.ms").await;
    let set = |value: &str| ConfigChange::Set(value.to_owned());
    let changes = [("retention.ms".to_owned(), set("61000"))].into();
    admin.alter_topic_configs(&name, changes).await.unwrap();
    until(async || config("retention.ms").await == "61000").await;
    assert_eq!(config("message.timestamp.type").await, "LogAppendTime");

    let changes = [("retention.ms".to_owned(), set("long"))].into();
    let refused = admin.alter_topic_configs(&name, changes).await.unwrap_err();
    assert_eq!(refused.error_code(), Some(ErrorCode::InvalidConfig));
    assert_eq!(refused.target().topic_name(), Some(name.as_str()));

    let changes = [("retention.ms".to_owned(), ConfigChange::Reset)].into();
    admin.alter_topic_configs(&name, changes).await.unwrap();
    until(async || config("retention.ms").await == default).await;
}

async fn the_oldest_records_are_deleted_and_the_first_that_is_left_is_told(stage: Stage) {
    let name = stage.own("emptied");
    stage.make_topic(&name, 2).await;
    let client = stage.client().await;
    let producer = Producer::new(client.clone(), ProducerConfig::default());
    send_numbers(&producer, &name, 2, 0..10).await;
    let admin = Admin::new(client);
    let partition = TopicPartition::new(name.as_str(), 1);
    let delete = async |up_to| admin.delete_records(&partition, up_to).await;
    assert_eq!(delete(DeleteUpTo::Offset(7)).await, Ok(7));
    let beyond = delete(DeleteUpTo::Offset(11)).await.unwrap_err();
    assert_eq!(beyond.error_code(), Some(ErrorCode::OffsetOutOfRange));
    let left = read(&stage, &name, 2, 3).await;
    assert_eq!(texts(&left[&1]), ["7", "8", "9"]);
    assert_eq!(texts(&left[&0])[..3], ["0", "1", "2"]);
    assert_eq!(delete(DeleteUpTo::HighWatermark).await, Ok(10));
}

fn assert_unknown(error: &TransportError, topic: &str) {
    assert_eq!(
        error.error_code(),
        Some(ErrorCode::UnknownTopicOrPartition),
        "{error}"
    );
    assert_eq!(error.target().topic_name(), Some(topic), "{error}");
    assert!(error.to_string().contains(topic), "{error}");
}
