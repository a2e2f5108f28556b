//! Ten thousand records at a time, both ways between Kafka's own producer and consumer and ours, in every codec; and
//! transactions, which we read but never write.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::process::Stdio;

use bytes::Bytes;
use cybermesh_tests::{Stage, console, java};
use cybermesh_transport::producer::partition_for_key;
use cybermesh_transport::{
    Compression, Event, FetchConfig, FetchedRecord, Header, IsolationLevel, Position, Producer,
    ProducerConfig, Reader, Record, StartPolicy, TimestampType, TopicPartition,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::{assert_same_logged, headers, text, within};

cybermesh_tests::scenarios! {
    both: [],
    kafka_only: [
        kafkas_consumer_reads_ten_thousand_of_our_records_in_every_codec:
            "what is tried is how we get on with Kafka's own programs and broker together",
        we_read_ten_thousand_records_of_kafkas_producer_in_every_codec:
            "what is tried is how we get on with Kafka's own programs and broker together",
        a_keyed_record_goes_to_the_partition_that_kafkas_producer_takes:
            "what is tried is how we get on with Kafka's own programs and broker together",
        of_kafkas_transactions_only_the_committed_are_read_unless_all_is_asked_for:
            "the built-in broker has no transactions",
    ],
}

const MANY: usize = 10_000;
const PARTITIONS: i32 = 3;

/// The records of `java/WriteMany.java`: null, empty and repeated keys, null values, no headers, headers that repeat,
/// are null, are empty.
fn numbered(number: usize) -> Record {
    let header = |name: &str, value: Option<String>| Header {
        name: name.to_owned(),
        value: value.map(Bytes::from),
    };
    let some = |value: &str| Some(value.to_owned());
    let own = || Some(number.to_string());
    Record {
        key: match number % 7 {
            0 => None,
            1 => Some(Bytes::new()),
            _ => Some(format!("key-{}", number % 97).into()),
        },
        value: (!number.is_multiple_of(11))
            .then(|| format!("value {number}, ").repeat(1 + number % 5).into()),
        headers: match number % 3 {
            0 => vec![],
            1 => vec![
                header("h", own()),
                header("n", None),
                header("h", own()),
                header("", some("")),
            ],
            _ => vec![
                header("z", some("1")),
                header("a", some("2")),
                header("z", None),
                header("z", some("1")),
            ],
        },
        timestamp_ms: 1_700_000_000_000 + i64::try_from(number).unwrap(),
    }
}

/// What was written where.
type Places = BTreeMap<(i32, i64), Record>;

async fn kafkas_consumer_reads_ten_thousand_of_our_records_in_every_codec(stage: Stage) {
    let topic = stage.own("ours-by-the-thousands");
    stage.make_topic(&topic, PARTITIONS).await;
    let mut places = Places::new();
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
    ] {
        let config = ProducerConfig {
            compression,
            ..ProducerConfig::default()
        };
        let producer = Producer::new(stage.client().await, config);
        let mut deliveries = Vec::new();
        for number in 0..MANY {
            deliveries.push(
                within(producer.send(&topic, numbered(number)))
                    .await
                    .unwrap(),
            );
        }
        for (number, delivery) in deliveries.into_iter().enumerate() {
            let appended = within(delivery).await.unwrap();
            let place = (appended.partition, appended.offset.unwrap());
            assert!(
                places.insert(place, numbered(number)).is_none(),
                "{place:?}"
            );
        }
    }

    let mut left = places.len();
    let read = console::read_until(&stage, &topic, |_| {
        left -= 1;
        left == 0
    });
    for logged in within(read).await {
        let place = (logged.partition, logged.offset);
        let sent = places.remove(&place);
        assert_same_logged(&logged, &sent.unwrap_or_else(|| panic!("{place:?}")));
    }
    assert!(places.is_empty());
}

async fn we_read_ten_thousand_records_of_kafkas_producer_in_every_codec(stage: Stage) {
    let topic = stage.own("theirs-by-the-thousands");
    stage.make_topic(&topic, PARTITIONS).await;
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    let mut places = written_by_kafka(&stage, &topic, MANY, &codecs).await;
    assert_eq!(places.len(), codecs.len() * MANY);

    let (reader, began) = read_from_the_start(&stage, &topic, FetchConfig::default()).await;
    assert_eq!(began, PARTITIONS);
    while !places.is_empty() {
        for (partition, came) in next_records(&reader).await {
            let place = (partition, came.offset);
            let sent = places.remove(&place);
            let sent = sent.unwrap_or_else(|| panic!("{place:?} was never written, or came twice"));
            let what = (&came.key, &came.value, headers(&came.headers));
            assert_eq!(what, (&sent.key, &sent.value, headers(&sent.headers)));
            let when = (came.timestamp_ms, came.timestamp_type);
            assert_eq!(when, (sent.timestamp_ms, TimestampType::CreateTime));
        }
    }
}

async fn a_keyed_record_goes_to_the_partition_that_kafkas_producer_takes(stage: Stage) {
    let topic = stage.own("by-key");
    stage.make_topic(&topic, 24).await;
    let theirs = written_by_kafka(&stage, &topic, 1000, &["none"]).await;
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    let mut keys = 0;
    for ((partition, _), record) in theirs {
        let Some(key) = record.key.clone() else {
            continue;
        };
        keys += 1;
        let ours = within(producer.send(&topic, record)).await.unwrap();
        let appended = within(ours).await.unwrap();
        let computed = partition_for_key(&key, NonZeroU32::new(24).unwrap());
        assert_eq!(
            (appended.partition, computed),
            (partition, partition),
            "{key:?}"
        );
    }
    assert!(keys > 800, "{keys}");
}

async fn of_kafkas_transactions_only_the_committed_are_read_unless_all_is_asked_for(stage: Stage) {
    let topic = stage.own("transactions");
    stage.make_topic(&topic, 1).await;
    let rounds = 100;
    let mut program = java::program(&stage, "WriteTransactions", &[&topic, &rounds.to_string()])
        .stdin(Stdio::piped())
        // Nobody reads it, and a full pipe would hold it up.
        .stderr(Stdio::null())
        .spawn()
        .expect("java");
    let mut said = BufReader::new(program.stdout.take().unwrap()).lines();
    let open = within(said.next_line()).await.unwrap();
    assert_eq!(open.as_deref(), Some("open"));

    let uncommitted = FetchConfig {
        isolation: IsolationLevel::ReadUncommitted,
        ..FetchConfig::default()
    };
    let (all, _) = read_from_the_start(&stage, &topic, uncommitted).await;
    let all = values(&all, rounds * 100 + 20).await;
    for (number, value) in all.iter().enumerate() {
        assert!(
            value.ends_with(&format!(" {number}")),
            "{value} at {number}"
        );
    }
    let wanted: Vec<&String> = all
        .iter()
        .filter(|value| !value.starts_with("aborted"))
        .collect();
    let ended = &wanted[..wanted.len() - 20];

    // The open transaction holds back all that is behind its beginning.
    let (committed, _) = read_from_the_start(&stage, &topic, FetchConfig::default()).await;
    let first = values(&committed, ended.len()).await;
    assert_eq!(first.iter().collect::<Vec<_>>(), ended);
    let more = tokio::time::timeout(std::time::Duration::from_secs(2), next_records(&committed));
    assert!(more.await.is_err(), "what is not decided was read");

    drop(program.stdin.take());
    assert_eq!(
        values(&committed, 20).await.iter().collect::<Vec<_>>(),
        &wanted[ended.len()..]
    );
    assert!(within(program.wait()).await.unwrap().success());
}

/// Has Kafka's producer write numbered records in each codec; where each of them is.
async fn written_by_kafka(stage: &Stage, topic: &str, count: usize, codecs: &[&str]) -> Places {
    let count_text = count.to_string();
    let arguments = [&[topic, &count_text], codecs].concat();
    let told = within(java::run_program(stage, "WriteMany", &arguments)).await;
    told.lines()
        .map(|line| {
            let mut words = line.split(' ');
            let number = words.next().unwrap().parse().unwrap();
            let partition = words.next().unwrap().parse().unwrap();
            let offset = words.next().unwrap().parse().unwrap();
            ((partition, offset), numbered(number))
        })
        .collect()
}

/// A reader of all partitions of a topic, and how many those are.
async fn read_from_the_start(stage: &Stage, topic: &str, config: FetchConfig) -> (Reader, i32) {
    let client = stage.client().await;
    let partitions = client.topic(topic).await.unwrap().partitions().len();
    let reader = Reader::new(client, config, StartPolicy::None);
    let partitions = i32::try_from(partitions).unwrap();
    for partition in 0..partitions {
        reader.begin(&TopicPartition::new(topic, partition), Position::Earliest);
    }
    (reader, partitions)
}

async fn next_records(reader: &Reader) -> Vec<(i32, FetchedRecord)> {
    match within(reader.next())
        .await
        .expect("the reader has not ended")
    {
        Event::Records(batch) => {
            let partition = batch.partition.partition;
            batch
                .records
                .into_iter()
                .map(|record| (partition, record))
                .collect()
        }
        other => panic!("{other:?}"),
    }
}

/// The values of the next `count` records.
async fn values(reader: &Reader, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    while values.len() < count {
        let came = next_records(reader).await;
        values.extend(came.iter().map(|(_, record)| text(record.value.as_ref())));
    }
    assert_eq!(values.len(), count);
    values
}
