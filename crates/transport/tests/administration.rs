//! Making, describing and deleting topics and groups, and what is known of them.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::Duration;

use cybermesh_devbroker::{Api, DevBroker, ErrorCode as Answer, Fault};
use cybermesh_transport::admin::{ConfigChange, DeleteUpTo, GroupState, NewTopic};
use cybermesh_transport::{
    Address, Admin, Class, Client, ClientConfig, ErrorCode, ErrorKind, OffsetToCommit, Producer,
    Security, TimestampType, TopicPartition,
};

mod support;

async fn client(broker: &DevBroker) -> Client {
    let bootstrap = Address::parse_list(&broker.bootstrap()).unwrap();
    let config = ClientConfig::new(bootstrap, Security::Plaintext);
    let config = config.request_timeout(Duration::from_secs(20));
    Client::connect(config).await.unwrap()
}

#[tokio::test]
async fn a_topic_is_made_described_listed_and_deleted() {
    let broker = DevBroker::builder().start().await.unwrap();
    let client = client(&broker).await;
    let admin = Admin::new(client.clone());
    let topic = NewTopic::new("t")
        .partitions(3)
        .replication_factor(1)
        .config("message.timestamp.type", "LogAppendTime");
    let made = admin.create_topic(topic).await.unwrap();
    assert_eq!((made.name(), made.partition_count()), ("t", 3));
    assert!(made.is_led());
    assert_eq!(client.partition_count("t").await, Ok(3));

    let described = admin.describe_topic("t").await.unwrap();
    assert_eq!(
        described.timestamp_type(),
        Some(TimestampType::LogAppendTime)
    );
    assert_eq!(described.metadata.id(), made.id());
    assert_eq!(admin.list_topics().await.unwrap(), ["t"]);

    admin.delete_topic("t").await.unwrap();
    assert!(broker.topics().is_empty());
    broker.stop().await;
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_a_typed_error_that_names_it_and_makes_none() {
    let broker = DevBroker::builder().start().await.unwrap();
    let error = client(&broker).await.topic("nowhere").await.unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(error.target().topic_name(), Some("nowhere"));
    assert!(broker.topics().is_empty());
}

#[tokio::test]
async fn a_topic_made_by_someone_else_is_found_at_the_next_question() {
    let broker = DevBroker::builder().start().await.unwrap();
    let (ours, theirs) = (client(&broker).await, client(&broker).await);
    assert!(ours.topic("t").await.is_err());
    let topic = NewTopic::new("t").partitions(1);
    Admin::new(theirs).create_topic(topic).await.unwrap();
    assert_eq!(ours.partition_count("t").await, Ok(1));
}

#[tokio::test]
async fn what_is_known_is_not_asked_again_before_it_is_too_old() {
    let broker = DevBroker::builder().topic("t", 2).start().await.unwrap();
    let client = client(&broker).await;
    client.topic("t").await.unwrap();
    let asked = broker.requests(Api::Metadata);
    for _ in 0..10 {
        client.topic("t").await.unwrap();
    }
    assert_eq!(broker.requests(Api::Metadata), asked);
}

#[tokio::test]
async fn many_that_ask_at_once_for_the_same_are_answered_by_one_question() {
    let broker = DevBroker::builder().topic("t", 2).start().await.unwrap();
    let client = client(&broker).await;
    let asked = broker.requests(Api::Metadata);
    let answers = futures_util::future::join_all((0..50).map(|_| client.topic("t"))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(broker.requests(Api::Metadata), asked + 1);
}

#[tokio::test]
async fn a_topic_that_is_there_already_is_refused() {
    let broker = DevBroker::builder().topic("t", 1).start().await.unwrap();
    let admin = Admin::new(client(&broker).await);
    let error = admin.create_topic(NewTopic::new("t")).await.unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::TopicAlreadyExists));
    assert_eq!(error.class(), Class::Fatal);
}

#[tokio::test]
async fn a_lost_answer_to_a_deletion_leaves_its_outcome_unknown() {
    let broker = DevBroker::builder().topic("t", 1).start().await.unwrap();
    let admin = Admin::new(client(&broker).await);
    broker.fault(Fault::drop_after_apply(Api::DeleteTopics).once());
    let error = admin.delete_topic("t").await.unwrap_err();
    assert_eq!(error.class(), Class::UnknownOutcome);
    let lost = matches!(error.kind(), ErrorKind::ConnectionLost { sent: true, .. });
    assert!(lost, "{error}");
    assert!(broker.topics().is_empty());
}

#[tokio::test]
async fn a_controller_that_has_moved_is_looked_for_and_asked_again() {
    let broker = DevBroker::builder().topic("t", 1).start().await.unwrap();
    let admin = Admin::new(client(&broker).await);
    broker.fault(Fault::error(Api::DeleteTopics, Answer(41)).once());
    admin.delete_topic("t").await.unwrap();
    assert!(broker.topics().is_empty());
}

#[tokio::test]
async fn a_broker_that_comes_back_is_found_again() {
    let broker = DevBroker::builder().topic("t", 1).start().await.unwrap();
    let client = client(&broker).await;
    client.topic("t").await.unwrap();
    broker.go_down().await;
    let error = client.refresh_topic("t").await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    broker.come_up().await.unwrap();
    client.refresh_topic("t").await.unwrap();
}

#[tokio::test]
async fn a_topic_first_asked_for_while_another_is_being_read_is_found_too() {
    let broker = DevBroker::builder()
        .topic("a", 1)
        .topic("b", 1)
        .start()
        .await
        .unwrap();
    let client = client(&broker).await;
    let held = broker.fault(Fault::hold(Api::Metadata).once());
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.partition_count("a").await }
    });
    held.wait_for_hits(1).await;
    // The answer that is on its way was asked for before anybody named the second topic.
    let mut second = std::pin::pin!(client.partition_count("b"));
    tokio::select! {
        biased;
        early = &mut second => panic!("answered while the read was held: {early:?}"),
        () = std::future::ready(()) => held.release(),
    }
    assert_eq!(second.await, Ok(1));
    assert_eq!(first.await.unwrap(), Ok(1));
}

/// Counts failures to connect, and dials again at once.
#[derive(Debug, Default)]
struct Redials(std::sync::atomic::AtomicU32);

impl cybermesh_transport::config::RedialSchedule for Redials {
    fn delay(&self, _failures: u32) -> Duration {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Duration::ZERO
    }
}

#[tokio::test]
async fn many_that_ask_a_cluster_that_is_away_fail_together_and_not_one_after_the_other() {
    let broker = DevBroker::builder().topic("t", 1).start().await.unwrap();
    let redials = std::sync::Arc::new(Redials::default());
    let bootstrap = Address::parse_list(&broker.bootstrap()).unwrap();
    let config = ClientConfig::new(bootstrap, Security::Plaintext).redial(redials.clone());
    let client = Client::connect(config).await.unwrap();
    client.topic("t").await.unwrap();
    broker.go_down().await;
    let answers = futures_util::future::join_all((0..50).map(|_| client.refresh_topic("t"))).await;
    for answer in answers {
        assert!(answer.unwrap_err().is_unreachable());
    }
    let dialled = redials.0.load(std::sync::atomic::Ordering::Relaxed);
    assert!(
        dialled < 10,
        "dialled {dialled} times for 50 that asked at once"
    );
}

#[tokio::test]
async fn a_caller_that_is_not_polled_holds_up_nobody_else() {
    let broker = DevBroker::builder()
        .topic("a", 1)
        .topic("b", 1)
        .start()
        .await
        .unwrap();
    let client = client(&broker).await;
    let held = broker.fault(Fault::hold(Api::Metadata).once());
    let mut idle = std::pin::pin!(client.partition_count("a"));
    tokio::select! {
        biased;
        early = &mut idle => panic!("answered while the read was held: {early:?}"),
        () = held.wait_for_hits(1) => held.release(),
    }
    // Its answer may be there by now, but it is not asked for it.
    let other = client.partition_count("b");
    let other = tokio::time::timeout(Duration::from_secs(10), other).await;
    assert_eq!(other.expect("an answer"), Ok(1));
    assert_eq!(idle.await, Ok(1));
}

#[tokio::test]
async fn a_topic_is_given_partitions_and_never_fewer() {
    let broker = DevBroker::builder().topic("t", 2).start().await.unwrap();
    let client = client(&broker).await;
    client.topic("t").await.unwrap();
    let admin = Admin::new(client.clone());
    let grown = admin.create_partitions("t", 5).await.unwrap();
    assert_eq!(grown.partition_count(), 5);
    assert!(grown.is_led());
    assert_eq!(client.partition_count("t").await, Ok(5));
    let fewer = admin.create_partitions("t", 3).await.unwrap_err();
    assert_eq!(fewer.error_code(), Some(ErrorCode::InvalidPartitions));
    assert_eq!(fewer.class(), Class::Fatal);
    let nowhere = admin.create_partitions("nowhere", 3).await.unwrap_err();
    assert_eq!(
        nowhere.error_code(),
        Some(ErrorCode::UnknownTopicOrPartition)
    );
    assert_eq!(nowhere.target().topic_name(), Some("nowhere"));
}

#[tokio::test]
async fn configs_are_changed_all_or_none_and_what_is_not_named_stays() {
    let broker = DevBroker::builder().start().await.unwrap();
    let admin = Admin::new(client(&broker).await);
    let topic = NewTopic::new("t").config("message.timestamp.type", "LogAppendTime");
    admin.create_topic(topic).await.unwrap();
    let set = |name: &str, value: &str| (name.to_owned(), ConfigChange::Set(value.to_owned()));
    let config = async |name: &str| {
        let described = admin.describe_topic("t").await.unwrap();
        described.configs[name].clone().unwrap()
    };
    let default = config("retention.ms").await;

    let changes = [set("retention.ms", "60000")].into();
    admin.alter_topic_configs("t", changes).await.unwrap();
    assert_eq!(config("retention.ms").await, "60000");
    assert_eq!(config("message.timestamp.type").await, "LogAppendTime");

    let changes = [set("retention.ms", "70000"), set("max.message.bytes", "x")].into();
    let refused = admin.alter_topic_configs("t", changes).await.unwrap_err();
    assert_eq!(refused.error_code(), Some(ErrorCode::InvalidConfig));
    assert_eq!(config("retention.ms").await, "60000");

    let changes = [("retention.ms".to_owned(), ConfigChange::Reset)].into();
    admin.alter_topic_configs("t", changes).await.unwrap();
    assert_eq!(config("retention.ms").await, default);
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset_and_the_first_that_is_left_is_told() {
    let broker = support::broker("t", 2).await;
    let client = client(&broker).await;
    let producer = Producer::new(client.clone(), support::eager(0));
    for number in 0..10 {
        let delivery = support::send(&producer, "t", 1, &number.to_string()).await;
        support::within(delivery).await.unwrap();
    }
    let admin = Admin::new(client);
    let partition = support::partition("t", 1);
    let delete = async |up_to| admin.delete_records(&partition, up_to).await;
    assert_eq!(delete(DeleteUpTo::Offset(4)).await, Ok(4));
    // Gone already.
    assert_eq!(delete(DeleteUpTo::Offset(2)).await, Ok(4));
    let beyond = delete(DeleteUpTo::Offset(11)).await.unwrap_err();
    assert_eq!(beyond.error_code(), Some(ErrorCode::OffsetOutOfRange));
    assert_eq!(beyond.target().partition_index(), Some(1));
    assert_eq!(support::logged(&broker, "t", 1).len(), 6);
    assert_eq!(delete(DeleteUpTo::HighWatermark).await, Ok(10));
    let none = delete(DeleteUpTo::Offset(-1)).await.unwrap_err();
    assert!(matches!(none.kind(), ErrorKind::Unencodable { .. }));
}

#[tokio::test]
async fn a_leader_that_has_moved_is_looked_for_before_records_are_deleted() {
    let broker = support::broker("t", 1).await;
    let admin = Admin::new(client(&broker).await);
    broker.fault(Fault::error(Api::DeleteRecords, Answer(6)).once());
    let partition = support::partition("t", 0);
    let deleted = admin.delete_records(&partition, DeleteUpTo::HighWatermark);
    assert_eq!(deleted.await, Ok(0));
}

#[tokio::test]
async fn metadata_past_its_age_is_read_anew_at_the_next_question() {
    let broker = DevBroker::builder().topic("t", 2).start().await.unwrap();
    let bootstrap = Address::parse_list(&broker.bootstrap()).unwrap();
    let age = Duration::from_millis(1);
    let config = ClientConfig::new(bootstrap, Security::Plaintext).metadata_max_age(age);
    let client = Client::connect(config).await.unwrap();
    assert_eq!(client.partition_count("t").await, Ok(2));
    broker.grow_topic("t", 4);
    tokio::time::sleep(age).await;
    assert_eq!(client.partition_count("t").await, Ok(4));
}

#[tokio::test]
async fn a_question_during_which_the_broker_hangs_up_is_asked_again() {
    let broker = DevBroker::builder().topic("t", 2).start().await.unwrap();
    let client = client(&broker).await;
    broker.fault(Fault::drop_after_apply(Api::Metadata).once());
    assert_eq!(client.partition_count("t").await, Ok(2));
}

/// Somebody's offsets for the one partition of `t`.
fn at_offset(offset: i64) -> Vec<OffsetToCommit> {
    vec![OffsetToCommit {
        partition: TopicPartition::new("t", 0),
        offset,
        leader_epoch: None,
        metadata: "moved".to_owned(),
    }]
}

#[tokio::test]
async fn groups_of_every_broker_are_listed_once_by_name() {
    let broker = DevBroker::builder().brokers(3).topic("t", 1);
    let broker = broker.start().await.unwrap();
    let admin = Admin::new(client(&broker).await);
    let names: Vec<_> = (0..12).map(|number| format!("g{number:02}")).collect();
    for name in names.iter().rev() {
        admin.alter_group_offsets(name, at_offset(0)).await.unwrap();
    }
    let coordinators: std::collections::BTreeSet<_> =
        names.iter().map(|name| broker.coordinator(name)).collect();
    assert_eq!(coordinators.len(), 3);
    let listed = admin.list_groups().await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|group| group.group).collect();
    assert_eq!(listed, names);

    // One whose broker cannot say makes the list less than whole.
    broker.fault(Fault::error(Api::ListGroups, Answer(14)).broker(2).once());
    let error = admin.list_groups().await.unwrap_err();
    let loading = Some(ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(
        (error.error_code(), error.class()),
        (loading, Class::Retriable)
    );
}

#[tokio::test]
async fn a_coordinator_that_has_moved_is_looked_for_before_a_group_is_moved_or_deleted() {
    let broker = DevBroker::builder().topic("t", 1).start().await.unwrap();
    let admin = Admin::new(client(&broker).await);
    for api in [Api::OffsetCommit, Api::DescribeGroups, Api::DeleteGroups] {
        broker.fault(Fault::error(api, Answer::NOT_COORDINATOR).once());
    }
    admin.alter_group_offsets("g", at_offset(7)).await.unwrap();
    let committed = broker.committed("g", "t", 0).unwrap();
    assert_eq!((committed.offset, &*committed.metadata), (7, "moved"));
    let described = admin.describe_group("g").await.unwrap();
    assert_eq!(described.state, GroupState::Empty);
    admin.delete_group("g").await.unwrap();
    assert!(broker.group("g").is_none());
}

#[tokio::test]
async fn a_lost_answer_to_a_deletion_of_a_group_leaves_its_outcome_unknown() {
    let broker = DevBroker::builder().topic("t", 1).start().await.unwrap();
    let admin = Admin::new(client(&broker).await);
    admin.alter_group_offsets("g", at_offset(7)).await.unwrap();
    broker.fault(Fault::drop_after_apply(Api::DeleteGroups).once());
    let error = admin.delete_group("g").await.unwrap_err();
    assert_eq!(error.class(), Class::UnknownOutcome);
    assert_eq!(error.target().group_id(), Some("g"));
}

#[tokio::test]
async fn an_offset_that_is_refused_is_named_with_its_partition() {
    let broker = DevBroker::builder().topic("t", 1).start().await.unwrap();
    let admin = Admin::new(client(&broker).await);
    let mut offsets = at_offset(1);
    offsets.push(OffsetToCommit {
        partition: TopicPartition::new("t", 5),
        ..offsets[0].clone()
    });
    let error = admin.alter_group_offsets("g", offsets).await.unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(error.target().partition_index(), Some(5));
    assert_eq!(broker.committed("g", "t", 0).unwrap().offset, 1);
}
