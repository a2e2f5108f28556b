//! Members of a group that its coordinator divides (KIP-848): lost answers, refusals, topics made again, static members,
//! and falling back to the classic protocol.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use cybermesh_devbroker::{Api, DevBroker, ErrorCode as Answer, Fault, GroupState};
use cybermesh_transport::{
    AssignedPartition, Class, Consumer, ConsumerConfig, ErrorCode, ErrorKind, Event, GroupProtocol,
    OffsetToCommit, Position, Producer, ProducerConfig, TopicPartition, TransportError,
};
use support::*;
use tokio::time::Instant;

async fn broker(partitions: usize) -> DevBroker {
    let builder = DevBroker::builder().topic("t", partitions);
    builder
        .consumer_groups(Duration::from_secs(45), Duration::from_millis(50))
        .start()
        .await
        .unwrap()
}

fn config(protocol: GroupProtocol) -> ConsumerConfig {
    ConsumerConfig {
        heartbeat_interval: Duration::from_millis(50),
        protocol,
        ..ConsumerConfig::new("g", ["t"])
    }
}

async fn joined(broker: &DevBroker, config: ConsumerConfig) -> Consumer {
    within(Consumer::join(client(broker).await, config))
        .await
        .unwrap()
}

async fn member(broker: &DevBroker) -> Consumer {
    joined(broker, config(GroupProtocol::Consumer)).await
}

/// Next of what changes something, or fails.
async fn next(consumer: &Consumer) -> Event {
    loop {
        match within(consumer.next()).await.expect("it has ended") {
            Event::Records(_) => {}
            Event::Assigned { partitions, .. } if partitions.is_empty() => {}
            other => return other,
        }
    }
}

async fn assigned(consumer: &Consumer) -> Vec<AssignedPartition> {
    match next(consumer).await {
        Event::Assigned { partitions, .. } => partitions,
        other => panic!("{other:?}"),
    }
}

/// As [`assigned`], after whatever retriable is told before.
async fn assigned_in_the_end(consumer: &Consumer) -> Vec<AssignedPartition> {
    loop {
        match next(consumer).await {
            Event::Assigned { partitions, .. } => return partitions,
            Event::Failed(error) if error.class() == Class::Retriable => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn failed(consumer: &Consumer) -> TransportError {
    match next(consumer).await {
        Event::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

fn at(number: i32, offset: i64) -> Vec<OffsetToCommit> {
    vec![OffsetToCommit {
        partition: partition("t", number),
        offset,
        leader_epoch: None,
        metadata: String::new(),
    }]
}

fn committed(broker: &DevBroker, number: i32) -> Option<i64> {
    broker.committed("g", "t", number).map(|one| one.offset)
}

/// Until the group has heard so many more heartbeats.
async fn beats(broker: &DevBroker, count: u64) {
    let before = broker.requests(Api::ConsumerGroupHeartbeat);
    within(
        broker.wait_until(|broker| broker.requests(Api::ConsumerGroupHeartbeat) >= before + count),
    )
    .await;
}

#[tokio::test]
async fn an_answer_that_is_lost_on_the_way_costs_nothing_though_it_told_of_a_new_epoch() {
    let broker = broker(2).await;
    let consumer = member(&broker).await;
    assert_eq!(assigned(&consumer).await.len(), 2);
    let lost = broker.fault(Fault::drop_after_apply(Api::ConsumerGroupHeartbeat).once());
    // What the group has to say meanwhile goes by the way with the answer.
    broker.grow_topic("t", 3);
    within(lost.wait_for_hits(1)).await;
    let more = assigned(&consumer).await;
    assert_eq!(more[0].partition, partition("t", 2));
    within(consumer.commit(at(0, 5))).await.unwrap();
    assert_eq!(committed(&broker, 0), Some(5));
    assert_eq!(broker.group("g").unwrap().generation, 2);
}

#[tokio::test]
async fn a_join_whose_answer_is_lost_is_taken_back_and_made_again() {
    for instance in [None, Some("one")] {
        let broker = broker(2).await;
        broker.fault(Fault::drop_after_apply(Api::ConsumerGroupHeartbeat).once());
        let config = ConsumerConfig {
            instance_id: instance.map(Into::into),
            ..config(GroupProtocol::Consumer)
        };
        let consumer = joined(&broker, config).await;
        let lost = failed(&consumer).await;
        assert!(
            matches!(lost.kind(), ErrorKind::ConnectionLost { .. }),
            "{lost}"
        );
        // A static member's own name is not in its way.
        assert_eq!(assigned(&consumer).await.len(), 2);
        assert_eq!(broker.group("g").unwrap().members.len(), 1);
    }
}

#[tokio::test]
async fn a_member_that_is_not_counted_any_more_loses_everything_and_joins_again() {
    let broker = broker(2).await;
    let consumer = member(&broker).await;
    assigned(&consumer).await;
    broker.fault(
        Fault::expire_member(Api::ConsumerGroupHeartbeat)
            .skip(1)
            .once(),
    );
    match next(&consumer).await {
        Event::Lost { partitions, reason } => {
            assert_eq!(partitions.len(), 2);
            assert_eq!(reason.error_code(), Some(ErrorCode::UnknownMemberId));
        }
        other => panic!("{other:?}"),
    }
    let late = within(consumer.commit(at(0, 9))).await;
    assert_eq!(late.unwrap_err().class(), Class::Fenced);
    assert_eq!(assigned(&consumer).await.len(), 2);
    assert_eq!(committed(&broker, 0), None);
}

#[tokio::test]
async fn a_fenced_member_leaves_before_it_joins_again() {
    let broker = broker(2).await;
    let consumer = member(&broker).await;
    assigned(&consumer).await;
    let fenced = Answer::FENCED_MEMBER_EPOCH;
    broker.fault(Fault::error(Api::ConsumerGroupHeartbeat, fenced).once());
    assert!(matches!(next(&consumer).await, Event::Lost { .. }));
    assert_eq!(assigned(&consumer).await.len(), 2);
    // Joined, left, joined.
    assert_eq!(broker.group("g").unwrap().generation, 3);
}

#[tokio::test]
async fn a_commit_in_an_epoch_that_is_over_is_made_in_the_next_and_those_behind_it_wait() {
    // Heartbeats that nothing asks for are seldom.
    let builder = DevBroker::builder().topic("t", 2);
    let broker = builder
        .consumer_groups(Duration::from_secs(45), Duration::from_secs(15))
        .start()
        .await
        .unwrap();
    let consumer = member(&broker).await;
    assigned(&consumer).await;
    // It is answered behind the heartbeats there were.
    within(consumer.commit(at(0, 1))).await.unwrap();
    let (beats, commits) = (
        broker.requests(Api::ConsumerGroupHeartbeat),
        broker.requests(Api::OffsetCommit),
    );
    broker.grow_topic("t", 3);
    let stale = Fault::error(Api::OffsetCommit, Answer::STALE_MEMBER_EPOCH);
    broker.fault(stale.once());
    let commits_of_now = async {
        let both = (consumer.commit(at(0, 5)), consumer.commit(at(0, 6)));
        tokio::join!(both.0, both.1)
    };
    let (first, second) = within(commits_of_now).await;
    first.unwrap();
    second.unwrap();
    assert_eq!(committed(&broker, 0), Some(6));
    assert_eq!(broker.group("g").unwrap().generation, 2);
    assert!(broker.requests(Api::ConsumerGroupHeartbeat) > beats);
    assert_eq!(broker.requests(Api::OffsetCommit), commits + 3);
}

#[tokio::test]
async fn a_commit_that_is_called_stale_in_the_epoch_that_is_current_is_refused_in_the_end() {
    let broker = broker(1).await;
    let consumer = member(&broker).await;
    assigned(&consumer).await;
    broker.fault(Fault::error(Api::OffsetCommit, Answer::STALE_MEMBER_EPOCH).once());
    let refused = within(consumer.commit(at(0, 7))).await.unwrap_err();
    assert_eq!(refused.error_code(), Some(ErrorCode::StaleMemberEpoch));
    assert_eq!(refused.class(), Class::Retriable);
    // Nothing is lost, and the next is taken.
    within(consumer.commit(at(0, 8))).await.unwrap();
    assert_eq!(committed(&broker, 0), Some(8));
}

#[tokio::test]
async fn a_coordinator_that_moves_is_found_again_without_losing_anything() {
    let builder = DevBroker::builder().topic("t", 1).brokers(2);
    let broker = builder
        .consumer_groups(Duration::from_secs(45), Duration::from_millis(50))
        .start()
        .await
        .unwrap();
    let consumer = member(&broker).await;
    assigned(&consumer).await;
    for to in [1, 2, 1] {
        broker.move_coordinator("g", to);
        beats(&broker, 3).await;
        within(consumer.commit(at(0, to.into()))).await.unwrap();
        assert_eq!(committed(&broker, 0), Some(to.into()));
    }
    assert_eq!(broker.group("g").unwrap().generation, 1, "one join");
}

#[tokio::test]
async fn a_topic_that_is_made_again_is_given_up_and_begun_anew() {
    let broker = broker(1).await;
    let producer = Producer::new(client(&broker).await, ProducerConfig::default());
    within(send(&producer, "t", 0, "old").await).await.unwrap();
    let consumer = member(&broker).await;
    assigned(&consumer).await;
    consumer.begin(&partition("t", 0), Position::Earliest);
    within(consumer.commit(at(0, 1))).await.unwrap();
    broker.renew_topic("t");
    let revoked = loop {
        match next(&consumer).await {
            Event::Revoked { partitions } => break partitions,
            Event::Failed(_) | Event::Reset { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(revoked, [partition("t", 0)]);
    consumer.release(revoked);
    let anew = assigned_in_the_end(&consumer).await;
    assert_eq!(anew[0].start, Some(Position::Earliest));
    consumer.begin(&partition("t", 0), Position::Earliest);
    // The producer has to learn of it too.
    let producer = Producer::new(client(&broker).await, ProducerConfig::default());
    within(send(&producer, "t", 0, "new").await).await.unwrap();
    assert_eq!(values(async || consumer.next().await, 1).await, ["new"]);
}

#[tokio::test]
async fn leaving_is_told_and_a_static_member_keeps_its_place() {
    let broker = broker(2).await;
    let consumer = member(&broker).await;
    assigned(&consumer).await;
    // What may pass is tried again.
    let busy = Answer::COORDINATOR_LOAD_IN_PROGRESS;
    broker.fault(Fault::error(Api::ConsumerGroupHeartbeat, busy).once());
    within(consumer.leave(Instant::now() + PATIENCE))
        .await
        .unwrap();
    assert!(within(consumer.next()).await.is_none());
    assert_eq!(broker.group("g").unwrap().state, GroupState::Empty);

    let named = || ConsumerConfig {
        instance_id: Some("one".into()),
        ..config(GroupProtocol::Consumer)
    };
    let consumer = joined(&broker, named()).await;
    assigned(&consumer).await;
    let epoch = broker.group("g").unwrap().generation;
    within(consumer.leave(Instant::now() + PATIENCE))
        .await
        .unwrap();
    let again = joined(&broker, named()).await;
    assert_eq!(assigned(&again).await.len(), 2);
    let group = broker.group("g").unwrap();
    assert_eq!((group.generation, group.members.len()), (epoch, 1));
}

#[tokio::test]
async fn offsets_are_read_in_the_epoch_that_is_current() {
    let broker = broker(1).await;
    let stale = Fault::error(Api::OffsetFetch, Answer::STALE_MEMBER_EPOCH);
    let stale = broker.fault(stale.once());
    let consumer = member(&broker).await;
    // Nobody hears of it.
    assert_eq!(assigned(&consumer).await.len(), 1);
    assert_eq!(stale.hits(), 1);
}

#[tokio::test]
async fn by_the_server_assignor_that_is_asked_for_stretches_are_given() {
    let broker = broker(4).await;
    let config = || ConsumerConfig {
        server_assignor: Some("range".into()),
        ..config(GroupProtocol::Consumer)
    };
    let first = joined(&broker, config()).await;
    assigned(&first).await;
    let second = joined(&broker, config()).await;
    let revoked = match next(&first).await {
        Event::Revoked { partitions } => partitions,
        other => panic!("{other:?}"),
    };
    let numbers: Vec<i32> = revoked.iter().map(|one| one.partition).collect();
    assert!(numbers == [0, 1] || numbers == [2, 3], "{numbers:?}");
    first.release(revoked);
    assert_eq!(assigned(&second).await.len(), 2);
    let unknown = ConsumerConfig {
        server_assignor: Some("sticky".into()),
        ..config()
    };
    let refused = failed(&joined(&broker, unknown).await).await;
    assert_eq!(refused.error_code(), Some(ErrorCode::UnsupportedAssignor));
    assert_eq!(refused.class(), Class::Fatal);
}

#[tokio::test]
async fn where_the_coordinator_does_not_divide_auto_is_classic_and_consumer_says_so() {
    let old = DevBroker::builder().topic("t", 2).without_consumer_groups();
    let old = old.start().await.unwrap();
    let switched_off = broker(2).await;
    let code = Answer::UNSUPPORTED_VERSION;
    switched_off.fault(Fault::error(Api::ConsumerGroupHeartbeat, code));
    let taken = broker(2).await;
    let classic = joined(&taken, config(GroupProtocol::Classic)).await;
    assigned(&classic).await;
    for broker in [&old, &switched_off, &taken] {
        let refused = joined(broker, config(GroupProtocol::Consumer)).await;
        let error = failed(&refused).await;
        let is_typed = matches!(error.kind(), ErrorKind::UnsupportedVersion { .. })
            || matches!(
                error.error_code(),
                Some(ErrorCode::UnsupportedVersion | ErrorCode::GroupIdNotFound)
            );
        assert!(is_typed, "{error}");
        assert_eq!(error.class(), Class::Fatal);
        assert!(within(refused.next()).await.is_none());
    }
    for broker in [&old, &switched_off] {
        let consumer = joined(broker, config(GroupProtocol::Auto)).await;
        assert_eq!(assigned(&consumer).await.len(), 2);
        assert_eq!(
            broker.group("g").unwrap().protocol.as_deref(),
            Some("range")
        );
        within(consumer.commit(at(0, 3))).await.unwrap();
        within(consumer.leave(Instant::now() + PATIENCE))
            .await
            .unwrap();
        assert_eq!(broker.group("g").unwrap().state, GroupState::Empty);
        assert_eq!(committed(broker, 0), Some(3));
    }
    // Beside the classic member it shares as one.
    let beside = joined(&taken, config(GroupProtocol::Auto)).await;
    let given = match next(&classic).await {
        Event::Revoked { partitions } => partitions,
        other => panic!("{other:?}"),
    };
    classic.release(given);
    let (mine, theirs) = tokio::join!(assigned(&classic), assigned(&beside));
    assert_eq!((mine.len(), theirs.len()), (1, 1));
    // Where it does divide, auto has it do so.
    let new = broker(2).await;
    let consumer = joined(&new, config(GroupProtocol::Auto)).await;
    assert_eq!(assigned(&consumer).await.len(), 2);
    assert_eq!(new.group("g").unwrap().protocol.as_deref(), Some("uniform"));
}

#[tokio::test]
async fn what_a_protocol_does_not_have_is_refused_before_anything_is_asked() {
    let broker = broker(1).await;
    let pattern = ConsumerConfig {
        topic_pattern: Some("t.*".into()),
        ..config(GroupProtocol::Auto)
    };
    let server_assignor = ConsumerConfig {
        server_assignor: Some("uniform".into()),
        ..config(GroupProtocol::Classic)
    };
    let no_assignor = ConsumerConfig {
        assignors: Vec::new(),
        ..config(GroupProtocol::Auto)
    };
    for config in [pattern, server_assignor, no_assignor] {
        let refused = Consumer::join(client(&broker).await, config).await;
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused.kind(), ErrorKind::Settings { .. }),
            "{refused}"
        );
    }
    // Where the members do not divide they need no assignor.
    let no_assignor = ConsumerConfig {
        assignors: Vec::new(),
        ..config(GroupProtocol::Consumer)
    };
    let consumer = joined(&broker, no_assignor).await;
    assert_eq!(assigned(&consumer).await.len(), 1);
}

#[tokio::test]
async fn nothing_of_a_partition_that_was_taken_back_is_delivered_any_more() {
    let broker = broker(2).await;
    let producer = Producer::new(client(&broker).await, ProducerConfig::default());
    for number in 0..50 {
        for of in 0..2 {
            drop(send(&producer, "t", of, &number.to_string()).await);
        }
    }
    within(producer.flush()).await;
    let first = member(&broker).await;
    for one in assigned(&first).await {
        first.begin(&one.partition, Position::Earliest);
    }
    within(broker.wait_until(|broker| broker.requests(Api::Fetch) > 1)).await;
    let _second = member(&broker).await;
    let mut gone: Option<TopicPartition> = None;
    // Until it is told in the epoch after that it has nothing new.
    loop {
        match within(first.next()).await.unwrap() {
            Event::Records(batch) => assert_ne!(Some(batch.partition), gone),
            Event::Revoked { mut partitions } => {
                assert_eq!(partitions.len(), 1);
                first.begin(&partitions[0], Position::Earliest);
                gone = partitions.pop();
                first.release(gone.iter().cloned().collect());
            }
            Event::Assigned { .. } if gone.is_some() => break,
            other => assert!(matches!(other, Event::Assigned { .. }), "{other:?}"),
        }
    }
}
