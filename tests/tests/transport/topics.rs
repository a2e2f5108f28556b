//! Making, describing and deleting topics, and asking for one that is not there.

use cybermesh_tests::Stage;
use cybermesh_transport::admin::NewTopic;
use cybermesh_transport::{
    Admin, Class, Consumer, ConsumerConfig, ErrorCode, ErrorKind, Producer, ProducerConfig,
    TimestampType, TransportError,
};

use crate::support::{read, record, send, until, within};

cybermesh_tests::scenarios! {
    both: [
        a_topic_is_made_described_written_and_deleted,
        a_topic_that_is_there_already_is_refused,
        a_topic_that_is_not_there_is_named_by_whatever_asks_for_it,
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

fn assert_unknown(error: &TransportError, topic: &str) {
    assert_eq!(
        error.error_code(),
        Some(ErrorCode::UnknownTopicOrPartition),
        "{error}"
    );
    assert_eq!(error.target().topic_name(), Some(topic), "{error}");
    assert!(error.to_string().contains(topic), "{error}");
}
