//! What lies between a reader and the log: sessions, followers, leaders that lose records, topics made again.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::sync::Arc;

use cybermesh_devbroker::{Api, Builder, DevBroker, ErrorCode as Answer, Fault};
use cybermesh_transport::{
    Consumer, ConsumerConfig, ErrorCode, ErrorKind, Event, FetchConfig, OffsetToCommit, Position,
    Producer, Reader, ResetCause, StartPolicy, TopicPartition,
};
use support::*;
use tokio::time::Instant;

/// Three brokers in racks a, b and c; broker 1 leads partition 0, and so on.
fn three() -> Builder {
    let builder = DevBroker::builder().brokers(3).racks(["a", "b", "c"]);
    builder.topic("t", 3)
}

async fn write(broker: &DevBroker, number: i32, values: &[&str]) {
    let producer = Producer::new(client(broker).await, eager(20));
    for value in values {
        let sent = send(&producer, "t", number, value).await;
        within(sent).await.unwrap();
    }
}

async fn reader_with(broker: &DevBroker, config: FetchConfig, start: StartPolicy) -> Reader {
    Reader::new(client(broker).await, config, start)
}

async fn reader(broker: &DevBroker, start: StartPolicy) -> Reader {
    reader_with(broker, FetchConfig::default(), start).await
}

/// The next event that is not a failure that passes.
async fn event(next: impl AsyncFn() -> Option<Event>) -> Event {
    loop {
        match within(next()).await.unwrap() {
            Event::Failed(error) if error.class() == cybermesh_transport::Class::Retriable => {}
            Event::Records(batch) if batch.records.is_empty() => {}
            event => return event,
        }
    }
}

async fn reset(next: impl AsyncFn() -> Option<Event>) -> (i64, i64, ResetCause) {
    match event(next).await {
        Event::Reset {
            from, to, cause, ..
        } => (from, to, cause),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_topic_made_again_under_a_reader_is_read_from_its_start() {
    let broker = broker("t", 1).await;
    write(&broker, 0, &["1", "2"]).await;
    // Under the policy latest too: all there is came after the reader began.
    let reader = reader(&broker, StartPolicy::Latest).await;
    reader.begin(&partition("t", 0), Position::Earliest);
    let next = async || reader.next().await;
    assert_eq!(values(next, 2).await, ["1", "2"]);
    assert!(broker.renew_topic("t"));
    write(&broker, 0, &["new 1", "new 2", "new 3"]).await;
    assert_eq!(reset(next).await, (2, 0, ResetCause::TopicRecreated));
    assert_eq!(values(next, 3).await, ["new 1", "new 2", "new 3"]);
}

#[tokio::test]
async fn a_broker_that_is_late_to_know_a_topic_is_asked_again_and_nothing_is_reset() {
    let broker = broker("t", 1).await;
    write(&broker, 0, &["1"]).await;
    let reader = reader(&broker, StartPolicy::Earliest).await;
    reader.begin(&partition("t", 0), Position::Earliest);
    let next = async || reader.next().await;
    assert_eq!(values(next, 1).await, ["1"]);
    for (code, value) in [
        (Answer::UNKNOWN_TOPIC_ID, "2"),
        (Answer::INCONSISTENT_TOPIC_ID, "3"),
    ] {
        let refused = broker.fault(Fault::error(Api::Fetch, code).once());
        // A long poll that is under way is answered, and the next one hit.
        write(&broker, 0, &[value]).await;
        within(broker.wait_until(|_| refused.hits() == 1)).await;
        assert!(matches!(event(next).await, Event::Records(_)));
    }
    write(&broker, 0, &["4"]).await;
    match event(next).await {
        Event::Records(batch) => assert_eq!(batch.records[0].offset, 3),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn where_topics_have_no_ids_they_are_fetched_by_their_names() {
    let builder = DevBroker::builder().without_topic_ids().topic("t", 2);
    let broker = builder.start().await.unwrap();
    let reader = reader(&broker, StartPolicy::Earliest).await;
    for number in 0..2 {
        reader.begin(&partition("t", number), Position::Earliest);
        write(&broker, number, &["1", "2"]).await;
    }
    assert_eq!(values(async || reader.next().await, 4).await.len(), 4);
    let by_name = |broker: &DevBroker| {
        let sessions = broker.fetch_sessions();
        let session = sessions.first();
        session.is_some_and(|one| {
            let names = one.partitions.iter().map(|(_, name, _)| name);
            !one.by_id && one.epoch > 1 && names.eq(["t", "t"])
        })
    };
    within(broker.wait_until(by_name)).await;
}

#[tokio::test]
async fn a_topic_that_is_gone_for_a_while_is_asked_for_until_it_is_there_again() {
    let broker = broker("t", 1).await;
    write(&broker, 0, &["1"]).await;
    let reader = reader(&broker, StartPolicy::None).await;
    reader.begin(&partition("t", 0), Position::Earliest);
    let next = async || reader.next().await;
    assert_eq!(values(next, 1).await, ["1"]);
    assert!(broker.delete_topic("t"));
    match within(next()).await {
        Some(Event::Failed(error)) => {
            assert_eq!(error.error_code(), Some(ErrorCode::UnknownTopicOrPartition));
        }
        other => panic!("{other:?}"),
    }
    let topic = cybermesh_transport::admin::NewTopic::new("t").partitions(1);
    let admin = cybermesh_transport::Admin::new(client(&broker).await);
    admin.create_topic(topic).await.unwrap();
    write(&broker, 0, &["new 1"]).await;
    assert_eq!(reset(next).await, (1, 0, ResetCause::TopicRecreated));
    assert_eq!(values(next, 1).await, ["new 1"]);
}

#[tokio::test]
async fn what_was_fetched_before_the_topic_was_made_again_comes_before_what_is_in_the_new_one() {
    let broker = broker("t", 1).await;
    write(&broker, 0, &["1", "2", "3"]).await;
    let config = FetchConfig {
        max_records: 1,
        ..FetchConfig::default()
    };
    let reader = reader_with(&broker, config, StartPolicy::Earliest).await;
    reader.begin(&partition("t", 0), Position::Earliest);
    let next = async || reader.next().await;
    assert_eq!(values(next, 1).await, ["1"]);
    let fetches = broker.requests(Api::Fetch);
    assert!(broker.renew_topic("t"));
    within(broker.wait_until(|broker| broker.requests(Api::Fetch) > fetches)).await;
    write(&broker, 0, &["new 1"]).await;
    let rest = [event(next).await, event(next).await];
    for event in rest {
        assert!(matches!(event, Event::Records(_)), "{event:?}");
    }
    assert_eq!(reset(next).await, (3, 0, ResetCause::TopicRecreated));
    assert_eq!(values(next, 1).await, ["new 1"]);
}

async fn member(broker: &DevBroker, start: StartPolicy) -> Consumer {
    let config = ConsumerConfig {
        start,
        ..ConsumerConfig::new("g", ["t"])
    };
    Consumer::join(client(broker).await, config).await.unwrap()
}

/// Begins all that is assigned, where the group left off.
async fn begin(consumer: &Consumer) {
    match event(async || consumer.next().await).await {
        Event::Assigned { partitions, .. } => {
            for assigned in partitions {
                consumer.begin(&assigned.partition, assigned.start.unwrap());
            }
        }
        other => panic!("{other:?}"),
    }
}

fn commit(partition: &TopicPartition, offset: i64) -> Vec<OffsetToCommit> {
    vec![OffsetToCommit {
        partition: partition.clone(),
        offset,
        leader_epoch: None,
        metadata: String::new(),
    }]
}

#[tokio::test]
async fn what_a_group_committed_of_the_old_topic_does_not_skip_records_of_the_new_one() {
    let broker = broker("t", 1).await;
    write(&broker, 0, &["1", "2", "3"]).await;
    let consumer = member(&broker, StartPolicy::Earliest).await;
    let next = async || consumer.next().await;
    begin(&consumer).await;
    assert_eq!(values(next, 3).await.len(), 3);
    let partition = partition("t", 0);
    consumer.commit(commit(&partition, 3)).await.unwrap();
    let looked_up = broker.requests(Api::ListOffsets);
    assert!(broker.renew_topic("t"));
    write(&broker, 0, &["new 1", "new 2", "new 3", "new 4"]).await;
    // The consumer has noticed, and its caller has not: this is of the old topic.
    within(broker.wait_until(|broker| broker.requests(Api::ListOffsets) > looked_up)).await;
    let refused = consumer.commit(commit(&partition, 3)).await.unwrap_err();
    assert_eq!(refused.error_code(), Some(ErrorCode::UnknownTopicId));
    assert_eq!(
        broker.committed("g", "t", 0),
        None,
        "deleted with the topic"
    );
    assert_eq!(reset(next).await, (3, 0, ResetCause::TopicRecreated));
    assert_eq!(values(next, 4).await[0], "new 1");
    consumer.commit(commit(&partition, 1)).await.unwrap();
    assert_eq!(broker.committed("g", "t", 0).unwrap().offset, 1);
}

#[tokio::test]
async fn after_an_unclean_election_reading_goes_on_where_the_logs_part() {
    let broker = three().start().await.unwrap();
    write(&broker, 0, &["1", "2", "3"]).await;
    let reader = reader(&broker, StartPolicy::Latest).await;
    reader.begin(&partition("t", 0), Position::Earliest);
    let next = async || reader.next().await;
    assert_eq!(values(next, 3).await, ["1", "2", "3"]);
    broker.elect_unclean("t", 0, 2, 1).unwrap();
    // Longer than the old log was: the position is within range.
    write(&broker, 0, &["new 2", "new 3", "new 4", "new 5"]).await;
    let diverged_at = Some(1);
    assert_eq!(
        reset(next).await,
        (3, 1, ResetCause::Truncated { diverged_at })
    );
    assert_eq!(values(next, 4).await, ["new 2", "new 3", "new 4", "new 5"]);
}

#[tokio::test]
async fn without_a_policy_an_unclean_election_stops_the_partition_and_says_where_the_logs_part() {
    let broker = three().start().await.unwrap();
    write(&broker, 0, &["1", "2", "3"]).await;
    let reader = reader(&broker, StartPolicy::None).await;
    reader.begin(&partition("t", 0), Position::Earliest);
    let next = async || reader.next().await;
    assert_eq!(values(next, 3).await, ["1", "2", "3"]);
    broker.elect_unclean("t", 0, 2, 1).unwrap();
    match event(next).await {
        Event::Failed(error) => assert_eq!(
            error.kind(),
            &ErrorKind::LogTruncated {
                offset: 3,
                diverged_at: Some(1)
            }
        ),
        other => panic!("{other:?}"),
    }
    write(&broker, 0, &["new 2"]).await;
    reader.begin(&partition("t", 0), Position::Offset(1));
    assert_eq!(values(next, 1).await, ["new 2"]);
}

#[tokio::test]
async fn a_commit_carries_the_epoch_of_its_record_and_is_held_against_the_log_at_the_next_start() {
    let broker = three().start().await.unwrap();
    broker.move_leader("t", 0, 2).unwrap();
    write(&broker, 0, &["1", "2", "3"]).await;
    let consumer = member(&broker, StartPolicy::Earliest).await;
    begin(&consumer).await;
    assert_eq!(values(async || consumer.next().await, 3).await.len(), 3);
    let partition = partition("t", 0);
    consumer.commit(commit(&partition, 3)).await.unwrap();
    assert_eq!(broker.committed("g", "t", 0).unwrap().leader_epoch, 1);
    let deadline = Instant::now() + PATIENCE;
    consumer.leave(deadline).await.unwrap();

    broker.elect_unclean("t", 0, 3, 1).unwrap();
    write(&broker, 0, &["new 2", "new 3", "new 4"]).await;
    let consumer = member(&broker, StartPolicy::Earliest).await;
    begin(&consumer).await;
    let next = async || consumer.next().await;
    let diverged_at = Some(1);
    assert_eq!(
        reset(next).await,
        (3, 1, ResetCause::Truncated { diverged_at })
    );
    assert_eq!(values(next, 3).await, ["new 2", "new 3", "new 4"]);
}

#[tokio::test]
async fn where_leaders_cannot_be_asked_for_their_epochs_a_fetch_tells_that_the_logs_part() {
    let broker = three().start().await.unwrap();
    write(&broker, 0, &["1", "2", "3"]).await;
    let unknown = Fault::error(Api::OffsetForLeaderEpoch, Answer::UNSUPPORTED_VERSION);
    let unknown = broker.fault(unknown);
    let reader = reader(&broker, StartPolicy::Earliest).await;
    reader.begin(&partition("t", 0), Position::Earliest);
    let next = async || reader.next().await;
    assert_eq!(values(next, 3).await, ["1", "2", "3"]);
    broker.elect_unclean("t", 0, 2, 1).unwrap();
    write(&broker, 0, &["new 2", "new 3", "new 4"]).await;
    let diverged_at = Some(1);
    assert_eq!(
        reset(next).await,
        (3, 1, ResetCause::Truncated { diverged_at })
    );
    assert_eq!(values(next, 3).await, ["new 2", "new 3", "new 4"]);
    assert!(unknown.hits() > 0);
}

#[tokio::test]
async fn a_leader_that_cannot_say_where_epochs_end_is_asked_again() {
    let broker = three().start().await.unwrap();
    write(&broker, 0, &["1"]).await;
    let reader = reader(&broker, StartPolicy::Earliest).await;
    reader.begin(&partition("t", 0), Position::Earliest);
    let next = async || reader.next().await;
    assert_eq!(values(next, 1).await, ["1"]);
    let refused = broker.fault(Fault::error(Api::OffsetForLeaderEpoch, Answer(9)).times(2));
    broker.move_leader("t", 0, 3).unwrap();
    write(&broker, 0, &["2"]).await;
    assert_eq!(values(next, 1).await, ["2"]);
    assert_eq!(refused.hits(), 2);
}

#[tokio::test]
async fn a_session_holds_all_partitions_and_goes_on_through_whatever_ends_it() {
    let broker = DevBroker::builder().topic("t", 20).start().await.unwrap();
    let reader = reader(&broker, StartPolicy::Earliest).await;
    for number in 0..20 {
        reader.begin(&partition("t", number), Position::Earliest);
    }
    // The long poll of the third step holds all of them.
    let holds_all = |broker: &DevBroker, steps: i32| {
        let sessions = broker.fetch_sessions();
        let session = sessions.last();
        session.is_some_and(|one| one.partitions.len() == 20 && one.epoch >= steps && one.by_id)
    };
    write(&broker, 7, &["1", "2"]).await;
    let next = async || reader.next().await;
    assert_eq!(values(next, 2).await, ["1", "2"]);
    within(broker.wait_until(|broker| holds_all(broker, 3))).await;
    let first = broker.fetch_sessions().remove(0).id;

    broker.forget_fetch_sessions(1);
    write(&broker, 3, &["3"]).await;
    assert_eq!(values(next, 1).await, ["3"]);
    within(broker.wait_until(|broker| holds_all(broker, 1))).await;
    let second = broker.fetch_sessions().remove(0).id;
    assert_ne!(first, second);

    broker.fault(Fault::drop_after_apply(Api::Fetch).once());
    write(&broker, 4, &["4"]).await;
    assert_eq!(values(next, 1).await, ["4"]);
    within(broker.wait_until(|broker| holds_all(broker, 1))).await;
    let sessions = broker.fetch_sessions();
    assert_eq!(sessions.len(), 1, "the one that was lost is closed");
    assert_ne!(sessions[0].id, second);
}

#[tokio::test]
async fn a_partition_that_is_paused_is_not_held_by_the_session() {
    let broker = broker("t", 2).await;
    let reader = reader(&broker, StartPolicy::Earliest).await;
    let [first, second] = [0, 1].map(|number| partition("t", number));
    reader.begin(&first, Position::Earliest);
    reader.begin(&second, Position::Earliest);
    let holds = async |count: usize| {
        let holds = |broker: &DevBroker| {
            let sessions = broker.fetch_sessions();
            sessions.len() == 1 && sessions[0].partitions.len() == count
        };
        within(broker.wait_until(holds)).await;
    };
    holds(2).await;
    reader.pause(&first);
    holds(1).await;
    reader.resume(&first);
    holds(2).await;
}

#[tokio::test]
async fn a_partition_that_is_begun_again_at_its_end_is_told_where_it_ends_though_nothing_is_new() {
    let broker = broker("t", 2).await;
    for number in 0..2 {
        write(&broker, number, &["a"]).await;
    }
    let reader = reader(&broker, StartPolicy::Earliest).await;
    for number in 0..2 {
        reader.begin(&partition("t", number), Position::Earliest);
    }
    values(async || reader.next().await, 2).await;
    let lags = || {
        let progress = reader.progress();
        progress.iter().map(|one| one.lag).collect::<Vec<_>>()
    };
    // Polls that wait at the broker belong to a session which has nothing new to tell after them.
    let fetches = broker.requests(Api::Fetch);
    within(broker.wait_until(|broker| broker.requests(Api::Fetch) >= fetches + 2)).await;
    reader.end(&partition("t", 0));
    reader.begin(&partition("t", 0), Position::Offset(1));
    within(broker.wait_until(|_| lags() == [Some(0); 2])).await;
}

#[tokio::test]
async fn a_broker_without_room_for_sessions_is_read_from_in_full() {
    let builder = DevBroker::builder().fetch_sessions(0).topic("t", 2);
    let broker = builder.start().await.unwrap();
    let reader = reader(&broker, StartPolicy::Earliest).await;
    for number in 0..2 {
        reader.begin(&partition("t", number), Position::Earliest);
        write(&broker, number, &["1", "2"]).await;
    }
    assert_eq!(values(async || reader.next().await, 4).await.len(), 4);
    assert!(broker.fetch_sessions().is_empty());
}

/// Reads partition 0, which broker 1 leads, from rack b, where broker 2 is.
async fn nearby(broker: &DevBroker) -> Reader {
    let config = FetchConfig {
        rack: Some(Arc::from("b")),
        ..FetchConfig::default()
    };
    let reader = reader_with(broker, config, StartPolicy::Latest).await;
    reader.begin(&partition("t", 0), Position::Earliest);
    reader
}

/// Waits until a broker reads for somebody.
async fn reads_at(broker: &DevBroker, id: i32) {
    let at = |broker: &DevBroker| broker.fetch_sessions().iter().any(|one| one.broker == id);
    within(broker.wait_until(at)).await;
}

#[tokio::test]
async fn a_reader_is_served_by_the_follower_of_its_rack_until_that_is_down() {
    let broker = three().start().await.unwrap();
    write(&broker, 0, &["1", "2"]).await;
    // The leader has nothing to give to whoever is sent elsewhere.
    let reader = nearby(&broker).await;
    let next = async || reader.next().await;
    assert_eq!(values(next, 2).await, ["1", "2"]);
    reads_at(&broker, 2).await;
    let at_leader = broker.fault(Fault::hold(Api::Fetch).broker(1));
    write(&broker, 0, &["3"]).await;
    assert_eq!(values(next, 1).await, ["3"]);
    assert_eq!(at_leader.hits(), 0);
    at_leader.remove();
    broker.stop_broker(2).await;
    write(&broker, 0, &["4"]).await;
    assert_eq!(values(next, 1).await, ["4"]);
}

#[tokio::test]
async fn a_follower_that_is_behind_hands_the_reader_back_to_the_leader_and_no_offset_is_reset() {
    let broker = three().start().await.unwrap();
    write(&broker, 0, &["1", "2", "3"]).await;
    let reader = nearby(&broker).await;
    let next = async || reader.next().await;
    assert_eq!(values(next, 3).await.len(), 3);
    reads_at(&broker, 2).await;
    assert!(broker.hold_back_replica("t", 0, 2, Some(1)));
    write(&broker, 0, &["4"]).await;
    match event(next).await {
        Event::Records(batch) => assert_eq!(batch.records[0].offset, 3),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_follower_that_refuses_hands_the_reader_back_to_the_leader() {
    let broker = three().start().await.unwrap();
    write(&broker, 0, &["1"]).await;
    let refused = Fault::error(Api::Fetch, Answer::KAFKA_STORAGE_ERROR).broker(2);
    let refused = broker.fault(refused);
    let reader = nearby(&broker).await;
    let next = async || reader.next().await;
    // Though the leader holds it for the one to be read from.
    assert_eq!(values(next, 1).await, ["1"]);
    for value in ["2", "3"] {
        write(&broker, 0, &[value]).await;
        assert_eq!(values(next, 1).await, [value]);
    }
    assert_eq!(refused.hits(), 1);
}

#[tokio::test]
async fn a_follower_that_metadata_call_down_is_passed_by_though_the_leader_sends_there() {
    let broker = three().start().await.unwrap();
    broker.call_replicas_offline(2);
    write(&broker, 0, &["1"]).await;
    let reader = nearby(&broker).await;
    let next = async || reader.next().await;
    for value in ["1", "2", "3"] {
        assert_eq!(values(next, 1).await, [value]);
        let following = value.parse::<u32>().unwrap() + 1;
        write(&broker, 0, &[&following.to_string()]).await;
    }
}

#[tokio::test]
async fn a_broker_that_does_not_answer_holds_up_only_what_it_leads() {
    let broker = three().start().await.unwrap();
    for number in 0..3 {
        write(&broker, number, &["1"]).await;
    }
    let held = broker.fault(Fault::hold(Api::Fetch).broker(2));
    let reader = reader(&broker, StartPolicy::Earliest).await;
    for number in 0..3 {
        reader.begin(&partition("t", number), Position::Earliest);
    }
    let next = async || reader.next().await;
    assert_eq!(values(next, 2).await, ["1", "1"]);
    for value in ["2", "3", "4"] {
        for number in [0, 2] {
            write(&broker, number, &[value]).await;
        }
        assert_eq!(values(next, 2).await, [value, value]);
    }
    assert_eq!(reader.position(&partition("t", 1)), Some(0));
    held.remove();
    assert_eq!(values(next, 1).await, ["1"]);
}

#[tokio::test]
async fn a_partition_that_fails_holds_up_no_other_of_its_broker() {
    let broker = broker("t", 2).await;
    for number in 0..2 {
        write(&broker, number, &["1"]).await;
    }
    let failing = Fault::error(Api::Fetch, Answer::KAFKA_STORAGE_ERROR).partition(1);
    let failing = broker.fault(failing);
    let reader = reader(&broker, StartPolicy::Earliest).await;
    for number in 0..2 {
        reader.begin(&partition("t", number), Position::Earliest);
    }
    let next = async || reader.next().await;
    assert_eq!(values(next, 1).await, ["1"]);
    for value in ["2", "3", "4"] {
        write(&broker, 0, &[value]).await;
        assert_eq!(values(next, 1).await, [value]);
    }
    assert!(failing.hits() > 1);
    failing.remove();
    assert_eq!(values(next, 1).await, ["1"]);
}
