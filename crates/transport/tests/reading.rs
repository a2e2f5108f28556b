//! Reading without a group: positions, long polls, pauses, faults.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use cybermesh_devbroker::{Api, ErrorCode as Answer, Fault};
use cybermesh_transport::{
    Class, Compression, ErrorCode, Event, FetchConfig, Header, IsolationLevel, OffsetSpec,
    Position, Producer, ProducerConfig, Reader, Record, StartPolicy,
};
use support::*;

async fn filled(partitions: usize, count: usize) -> cybermesh_devbroker::DevBroker {
    let broker = broker("t", partitions).await;
    let producer = Producer::new(client(&broker).await, ProducerConfig::default());
    for number in 0..count {
        for partition in 0..partitions {
            drop(
                send(
                    &producer,
                    "t",
                    i32::try_from(partition).unwrap(),
                    &format!("{number}"),
                )
                .await,
            );
        }
    }
    within(producer.flush()).await;
    broker
}

async fn reader(broker: &cybermesh_devbroker::DevBroker, start: StartPolicy) -> Reader {
    Reader::new(client(broker).await, FetchConfig::default(), start)
}

#[tokio::test]
async fn a_record_comes_back_as_it_was_written_through_every_codec() {
    let broker = broker("t", 1).await;
    let client = client(&broker).await;
    let sent = Record {
        key: Some("key".into()),
        value: None,
        headers: vec![
            Header::new("a", "1"),
            Header {
                name: "a".into(),
                value: None,
            },
            Header::new("", ""),
        ],
        timestamp_ms: 1_700_000_000_123,
    };
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
    ] {
        let producer = Producer::new(
            client.clone(),
            ProducerConfig {
                compression,
                ..ProducerConfig::default()
            },
        );
        let room = within(producer.reserve("t", 0, sent.size_bound()))
            .await
            .unwrap();
        within(room.append(sent.clone())).await.unwrap();
    }
    let reader = reader(&broker, StartPolicy::Earliest).await;
    reader.begin(&partition("t", 0), Position::Earliest);
    let mut seen = 0;
    while seen < 4 {
        let Some(Event::Records(batch)) = within(reader.next()).await else {
            continue;
        };
        for record in batch.records {
            assert_eq!(
                (record.offset, record.timestamp_ms),
                (seen, sent.timestamp_ms)
            );
            assert_eq!(
                (record.key, record.value, record.headers),
                (sent.key.clone(), sent.value.clone(), sent.headers.clone())
            );
            seen += 1;
        }
    }
}

#[tokio::test]
async fn a_reader_at_the_end_gets_what_comes_after() {
    let broker = filled(1, 3).await;
    let reader = reader(&broker, StartPolicy::Earliest).await;
    reader.begin(&partition("t", 0), Position::Latest);
    let producer = Producer::new(client(&broker).await, ProducerConfig::default());
    // The position is known once the first fetch waits at the broker.
    within(broker.wait_until(|broker| broker.requests(Api::Fetch) > 0)).await;
    assert_eq!(reader.position(&partition("t", 0)), Some(3));
    within(send(&producer, "t", 0, "new").await).await.unwrap();
    assert_eq!(values(async || reader.next().await, 1).await, ["new"]);
}

#[tokio::test]
async fn all_partitions_are_read_in_their_order() {
    let broker = filled(3, 50).await;
    let reader = reader(&broker, StartPolicy::Earliest).await;
    for number in 0..3 {
        reader.begin(&partition("t", number), Position::Offset(10));
    }
    let mut next = [10_i64; 3];
    while next.iter().sum::<i64>() < 150 {
        let Some(Event::Records(batch)) = within(reader.next()).await else {
            continue;
        };
        let next = &mut next[usize::try_from(batch.partition.partition).unwrap()];
        for record in &batch.records {
            assert_eq!(record.offset, *next);
            *next += 1;
        }
        assert_eq!(
            (
                batch.next_offset,
                batch.high_watermark,
                batch.log_start_offset
            ),
            (*next, 50, 0)
        );
    }
}

#[tokio::test]
async fn an_offset_out_of_range_follows_the_start_policy() {
    let broker = filled(1, 5).await;
    broker.delete_records_before("t", 0, 2);
    let from_start = reader(&broker, StartPolicy::Earliest).await;
    from_start.begin(&partition("t", 0), Position::Offset(0));
    assert!(matches!(
        within(from_start.next()).await,
        Some(Event::Reset { from: 0, to: 2, .. })
    ));
    assert_eq!(
        values(async || from_start.next().await, 3).await,
        ["2", "3", "4"]
    );
    let nowhere = reader(&broker, StartPolicy::None).await;
    nowhere.begin(&partition("t", 0), Position::Offset(99));
    match within(nowhere.next()).await {
        Some(Event::Failed(error)) => {
            assert_eq!(error.error_code(), Some(ErrorCode::OffsetOutOfRange))
        }
        other => panic!("{other:?}"),
    }
    nowhere.begin(&partition("t", 0), Position::Offset(4));
    assert_eq!(values(async || nowhere.next().await, 1).await, ["4"]);
}

#[tokio::test]
async fn lost_connections_and_moved_leaders_lose_nothing_and_repeat_nothing() {
    let broker = filled(1, 30).await;
    broker.fault(Fault::drop_before_apply(Api::Fetch).once());
    broker.fault(
        Fault::error(Api::Fetch, Answer::NOT_LEADER_OR_FOLLOWER)
            .skip(1)
            .times(2),
    );
    broker.fault(Fault::drop_after_apply(Api::Fetch).skip(4).once());
    let reader = Reader::new(
        client(&broker).await,
        FetchConfig {
            partition_max_bytes: 100,
            max_records: 7,
            ..FetchConfig::default()
        },
        StartPolicy::Earliest,
    );
    reader.begin(&partition("t", 0), Position::Earliest);
    let expected: Vec<_> = (0..30).map(|number| number.to_string()).collect();
    assert_eq!(values(async || reader.next().await, 30).await, expected);
}

#[tokio::test]
async fn a_topic_that_may_not_be_read_is_told_and_stands() {
    let broker = filled(1, 1).await;
    broker.fault(Fault::error(Api::Fetch, Answer::TOPIC_AUTHORIZATION_FAILED).once());
    let reader = reader(&broker, StartPolicy::Earliest).await;
    reader.begin(&partition("t", 0), Position::Earliest);
    match within(reader.next()).await {
        Some(Event::Failed(error)) => {
            assert_eq!(error.class(), Class::Fatal);
            assert_eq!(error.target().topic_name(), Some("t"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(broker.requests(Api::Fetch), 1);
}

#[tokio::test]
async fn nothing_comes_of_a_paused_partition_while_others_go_on() {
    let broker = filled(2, 2).await;
    let reader = reader(&broker, StartPolicy::Earliest).await;
    reader.begin(&partition("t", 0), Position::Earliest);
    reader.pause(&partition("t", 0));
    reader.begin(&partition("t", 1), Position::Earliest);
    let Some(Event::Records(batch)) = within(reader.next()).await else {
        panic!("no records")
    };
    assert_eq!((batch.partition.partition, batch.records.len()), (1, 2));
    reader.resume(&partition("t", 0));
    let Some(Event::Records(batch)) = within(reader.next()).await else {
        panic!("no records")
    };
    assert_eq!((batch.partition.partition, batch.records.len()), (0, 2));
}

#[tokio::test]
async fn every_move_of_a_leader_is_looked_up_for_the_partition_it_happens_to() {
    let broker = filled(2, 1).await;
    let reader = reader(&broker, StartPolicy::Earliest).await;
    for number in 0..2 {
        reader.begin(&partition("t", number), Position::Earliest);
    }
    values(async || reader.next().await, 2).await;
    // The partitions of one request are known by different views of the cluster from here on.
    for code in [
        Answer::NOT_LEADER_OR_FOLLOWER,
        Answer::FENCED_LEADER_EPOCH,
        Answer::UNKNOWN_LEADER_EPOCH,
    ] {
        let looked_up = broker.requests(Api::Metadata);
        broker.fault(Fault::error(Api::Fetch, code).partition(1).once());
        within(broker.wait_until(|broker| broker.requests(Api::Metadata) > looked_up)).await;
    }
}

#[tokio::test]
async fn progress_tells_lag_and_both_ends() {
    let broker = filled(1, 10).await;
    let config = FetchConfig {
        max_records: 4,
        ..FetchConfig::default()
    };
    let reader = Reader::new(client(&broker).await, config, StartPolicy::Earliest);
    reader.begin(&partition("t", 0), Position::Offset(1));
    values(async || reader.next().await, 4).await;
    let progress = reader.progress().remove(0);
    assert_eq!(
        (progress.position, progress.lag, progress.high_watermark),
        (Some(5), Some(5), Some(10))
    );
    assert_eq!(
        (progress.last_stable_offset, progress.log_start_offset),
        (Some(10), Some(0))
    );
}

#[tokio::test]
async fn offsets_are_looked_up_again_where_the_leader_has_moved() {
    let broker = filled(2, 3).await;
    let client = client(&broker).await;
    let moved = Fault::error(Api::ListOffsets, Answer::NOT_LEADER_OR_FOLLOWER);
    broker.fault(moved.partition(1).times(2));
    let wanted = (0..2).map(|number| (partition("t", number), OffsetSpec::Latest));
    let found = within(client.list_offsets(IsolationLevel::ReadCommitted, wanted))
        .await
        .unwrap();
    let offsets: Vec<_> = found.values().map(|found| found.unwrap().offset).collect();
    assert_eq!(offsets, [3, 3]);
    // Only what is still open is asked for again.
    assert_eq!(broker.requests(Api::ListOffsets), 3);
}

#[tokio::test]
async fn an_offset_that_cannot_be_looked_up_is_an_error_that_names_the_partition() {
    let broker = filled(1, 3).await;
    let client = client(&broker).await;
    let look_up = async |partition, spec| {
        let wanted = [(partition, spec)];
        let found = client.list_offsets(IsolationLevel::ReadCommitted, wanted);
        within(found).await.unwrap_err()
    };
    let error = look_up(partition("t", 1), OffsetSpec::Latest).await;
    assert_eq!(error.class(), Class::Fatal);
    assert_eq!(error.target().partition_index(), Some(1));
    let error = look_up(partition("nosuch", 0), OffsetSpec::Earliest).await;
    assert_eq!(error.error_code(), Some(ErrorCode::UnknownTopicOrPartition));
    let error = look_up(partition("t", 0), OffsetSpec::AtTime(-2)).await;
    assert_eq!(error.class(), Class::Fatal);
}
