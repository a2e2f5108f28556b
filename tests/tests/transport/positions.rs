//! Where reading begins, and where it goes on when a position is out of range.

use cybermesh_tests::Stage;
use cybermesh_transport::{
    Class, Consumer, ConsumerConfig, ErrorCode, ErrorKind, Event, FetchConfig, IsolationLevel,
    OffsetSpec, Position, Producer, ProducerConfig, Reader, Record, ResetCause, StartPolicy,
    TopicPartition,
};

use crate::support::{record, send, send_numbers, texts, until, within};

cybermesh_tests::scenarios! {
    both: [
        a_group_that_has_committed_nothing_starts_by_its_policy,
        a_position_out_of_range_goes_on_by_the_policy,
        a_reader_that_is_paused_and_sought_reads_on_from_there,
        offsets_are_found_by_time_and_at_both_ends,
        what_was_fetched_of_a_paused_partition_does_not_keep_another_from_being_read,
    ],
}

/// A topic of one partition with the records 0, 1, 2, and a producer for more.
async fn three_records(stage: &Stage) -> (String, TopicPartition, Producer) {
    let topic = stage.own("positions");
    stage.make_topic(&topic, 1).await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    send_numbers(&producer, &topic, 1, 0..3).await;
    let partition = TopicPartition::new(topic.as_str(), 0);
    (topic, partition, producer)
}

/// The values of the next records.
async fn next_texts(next: impl AsyncFn() -> Option<Event>) -> Vec<String> {
    loop {
        match within(next()).await.expect("not ended") {
            Event::Records(batch) if batch.records.is_empty() => {}
            Event::Records(batch) => return texts(&batch.records),
            other => panic!("{other:?}"),
        }
    }
}

async fn a_group_that_has_committed_nothing_starts_by_its_policy(stage: Stage) {
    let (topic, partition, producer) = three_records(&stage).await;
    for (start, expected) in [
        (StartPolicy::Earliest, Some(Position::Earliest)),
        (StartPolicy::Latest, Some(Position::Latest)),
        (StartPolicy::None, None),
    ] {
        let group = stage.own(&format!("{start:?}"));
        let config = ConsumerConfig {
            start,
            ..ConsumerConfig::new(group, [topic.as_str()])
        };
        let consumer = Consumer::join(stage.client().await, config).await.unwrap();
        let assigned = loop {
            match within(consumer.next()).await {
                Some(Event::Assigned { partitions, .. }) => break partitions,
                Some(Event::Failed(error)) if error.class() == Class::Retriable => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(assigned.len(), 1);
        assert_eq!(
            (&assigned[0].committed, assigned[0].start),
            (&None, expected)
        );
        match start {
            StartPolicy::Earliest => {
                consumer.begin(&partition, Position::Earliest);
                assert_eq!(next_texts(async || consumer.next().await).await[0], "0");
            }
            StartPolicy::Latest => {
                consumer.begin(&partition, Position::Latest);
                until(async || consumer.position(&partition) == Some(3)).await;
                let newest = send(&producer, &topic, 0, record("newest")).await;
                assert_eq!(within(newest).await.unwrap().offset, Some(3));
                assert_eq!(next_texts(async || consumer.next().await).await, ["newest"]);
            }
            StartPolicy::None => {
                match within(consumer.next()).await {
                    Some(Event::Failed(error)) => {
                        assert_eq!(error.kind(), &ErrorKind::NoOffset);
                        assert_eq!(error.target().partition_index(), Some(0));
                    }
                    other => panic!("{other:?}"),
                }
                consumer.begin(&partition, Position::Offset(2));
                assert_eq!(next_texts(async || consumer.next().await).await[0], "2");
            }
        }
    }
}

async fn a_position_out_of_range_goes_on_by_the_policy(stage: Stage) {
    let (topic, partition, producer) = three_records(&stage).await;
    let reader = |client, start| Reader::new(client, FetchConfig::default(), start);
    for (start, to) in [(StartPolicy::Earliest, 0), (StartPolicy::Latest, 3)] {
        let reader = reader(stage.client().await, start);
        reader.begin(&partition, Position::Offset(100));
        match within(reader.next()).await {
            Some(Event::Reset {
                partition: reset,
                from: 100,
                to: there,
                cause: ResetCause::OutOfRange,
            }) => assert_eq!((reset, there), (partition.clone(), to)),
            other => panic!("{other:?}"),
        }
        if start == StartPolicy::Earliest {
            assert_eq!(next_texts(async || reader.next().await).await[0], "0");
        }
    }

    let reader = reader(stage.client().await, StartPolicy::None);
    reader.begin(&partition, Position::Offset(100));
    match within(reader.next()).await {
        Some(Event::Failed(error)) => {
            assert_eq!(error.error_code(), Some(ErrorCode::OffsetOutOfRange));
            assert_eq!(error.target().topic_name(), Some(topic.as_str()));
        }
        other => panic!("{other:?}"),
    }
    // It stands where it is, until it is sought.
    send_numbers(&producer, &topic, 1, 3..4).await;
    reader.begin(&partition, Position::Offset(3));
    assert_eq!(next_texts(async || reader.next().await).await, ["3"]);
}

async fn a_reader_that_is_paused_and_sought_reads_on_from_there(stage: Stage) {
    let (topic, partition, producer) = three_records(&stage).await;
    let reader = Reader::new(
        stage.client().await,
        FetchConfig::default(),
        StartPolicy::Earliest,
    );
    reader.begin(&partition, Position::Latest);
    until(async || reader.position(&partition) == Some(3)).await;
    reader.pause(&partition);
    send_numbers(&producer, &topic, 1, 3..5).await;
    reader.begin(&partition, Position::Offset(1));
    reader.resume(&partition);
    let mut came = Vec::new();
    while came.len() < 4 {
        came.extend(next_texts(async || reader.next().await).await);
    }
    assert_eq!(came, ["1", "2", "3", "4"]);
}

async fn offsets_are_found_by_time_and_at_both_ends(stage: Stage) {
    let topic = stage.own("times");
    stage.make_topic(&topic, 2).await;
    let client = stage.client().await;
    let producer = Producer::new(client.clone(), ProducerConfig::default());
    for timestamp_ms in [1_700_000_000_000, 1_700_000_010_000, 1_700_000_020_000] {
        let record = Record {
            timestamp_ms,
            ..record("x")
        };
        // Each in a batch of its own, as far as the broker looks.
        within(send(&producer, &topic, 0, record).await)
            .await
            .unwrap();
    }
    let partitions = [0, 1].map(|number| TopicPartition::new(topic.as_str(), number));
    for (spec, expected) in [
        (OffsetSpec::Earliest, [Some((0, None)), Some((0, None))]),
        (OffsetSpec::Latest, [Some((3, None)), Some((0, None))]),
        (
            OffsetSpec::AtTime(1_700_000_000_001),
            [Some((1, Some(1_700_000_010_000))), None],
        ),
        (OffsetSpec::AtTime(1_700_000_020_001), [None, None]),
    ] {
        let wanted = partitions.clone().map(|partition| (partition, spec));
        let found = within(client.list_offsets(IsolationLevel::ReadCommitted, wanted))
            .await
            .unwrap();
        let found = partitions
            .clone()
            .map(|partition| found[&partition].map(|found| (found.offset, found.timestamp_ms)));
        assert_eq!(found, expected, "{spec:?}");
    }
}

async fn what_was_fetched_of_a_paused_partition_does_not_keep_another_from_being_read(
    stage: Stage,
) {
    let topic = stage.own("pausing");
    stage.make_topic(&topic, 2).await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    send_numbers(&producer, &topic, 2, 0..20).await;
    let config = FetchConfig {
        // Full with the first answer.
        buffer_bytes: 1,
        max_records: 1,
        ..FetchConfig::default()
    };
    let reader = Reader::new(stage.client().await, config, StartPolicy::None);
    let [paused, other] = [0, 1].map(|number| TopicPartition::new(topic.as_str(), number));
    reader.begin(&paused, Position::Earliest);
    assert_eq!(next_texts(async || reader.next().await).await, ["0"]);
    reader.pause(&paused);
    reader.begin(&other, Position::Earliest);
    for number in 0..20_u32 {
        let expected = [number.to_string()];
        assert_eq!(next_texts(async || reader.next().await).await, expected);
    }
    reader.resume(&paused);
    for number in 1..20_u32 {
        let expected = [number.to_string()];
        assert_eq!(next_texts(async || reader.next().await).await, expected);
    }
}
