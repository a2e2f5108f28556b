//! Records that are told apart, and how they are sent and read back.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use cybermesh_tests::Stage;
use cybermesh_tests::log::{LoggedRecord, now_ms};
use cybermesh_transport::{
    Delivery, Event, FetchConfig, FetchedRecord, Header, Position, Producer, Reader, Record,
    StartPolicy, TopicPartition,
};

/// Longer than anything takes that is waited for, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks at what tells no event.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("nothing happened for 90 s")
}

/// Waits until it is so.
pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    within(async {
        while !is_so().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
    .await;
}

pub(crate) fn record(value: impl Into<Bytes>) -> Record {
    Record {
        value: Some(value.into()),
        timestamp_ms: now_ms(),
        ..Record::default()
    }
}

pub(crate) async fn send(
    producer: &Producer,
    topic: &str,
    partition: i32,
    record: Record,
) -> Delivery {
    let room = producer.reserve(topic, partition, record.size_bound());
    within(room)
        .await
        .expect("room in the buffer")
        .append(record)
}

/// Sends `numbers` as text to each partition.
pub(crate) async fn send_numbers(
    producer: &Producer,
    topic: &str,
    partitions: i32,
    numbers: std::ops::Range<u32>,
) {
    let mut deliveries = Vec::new();
    for number in numbers {
        for partition in 0..partitions {
            let record = record(number.to_string());
            deliveries.push(send(producer, topic, partition, record).await);
        }
    }
    for delivery in deliveries {
        within(delivery).await.expect("a record in the log");
    }
}

pub(crate) fn text(value: Option<&Bytes>) -> String {
    String::from_utf8(value.expect("a value").to_vec()).expect("text")
}

/// The first `count` records of each partition, in order.
pub(crate) async fn read(
    stage: &Stage,
    topic: &str,
    partitions: i32,
    count: usize,
) -> BTreeMap<i32, Vec<FetchedRecord>> {
    let reader = Reader::new(
        stage.client().await,
        FetchConfig::default(),
        StartPolicy::None,
    );
    let mut read: BTreeMap<i32, Vec<FetchedRecord>> = BTreeMap::new();
    for partition in 0..partitions {
        reader.begin(&TopicPartition::new(topic, partition), Position::Earliest);
        read.insert(partition, Vec::new());
    }
    while read.values().any(|records| records.len() < count) {
        match within(reader.next())
            .await
            .expect("the reader has not ended")
        {
            Event::Records(batch) => read
                .entry(batch.partition.partition)
                .or_default()
                .extend(batch.records),
            other => panic!("{other:?}"),
        }
    }
    read
}

pub(crate) fn texts(records: &[FetchedRecord]) -> Vec<String> {
    records
        .iter()
        .map(|record| text(record.value.as_ref()))
        .collect()
}

pub(crate) fn headers(record: &[Header]) -> Vec<(String, Option<Bytes>)> {
    record
        .iter()
        .map(|header| (header.name.clone(), header.value.clone()))
        .collect()
}

/// Records with everything that is easily lost: null and empty keys and values, headers that repeat,
/// are null, are empty, stand in no order; and one that is worth compressing.
pub(crate) fn peculiar() -> Vec<Record> {
    let header = |name: &str, value: Option<&'static str>| Header {
        name: name.to_owned(),
        value: value.map(Bytes::from),
    };
    let record = |key: Option<&'static str>, value: Option<&'static [u8]>, headers| Record {
        key: key.map(Bytes::from),
        value: value.map(Bytes::from_static),
        headers,
        timestamp_ms: 1_700_000_000_000,
    };
    vec![
        record(None, Some(b"without a key"), vec![]),
        record(Some("without a value"), None, vec![]),
        record(None, None, vec![header("alone", Some("x"))]),
        record(Some(""), Some(b""), vec![header("", Some(""))]),
        record(Some("binary"), Some(b"\x00\xff\x1d\x1e\x1f\\\n"), vec![]),
        record(
            Some("headers"),
            Some(b"in order"),
            vec![
                header("z", Some("1")),
                header("a", None),
                header("z", Some("2")),
                header("z", Some("1")),
                header("a", None),
                header("b", Some("")),
            ],
        ),
        Record {
            value: Some(b"again and again ".repeat(8000).into()),
            ..record(Some("large"), None, vec![])
        },
    ]
}

/// Whether what was read, or stands in the log, is what was sent.
pub(crate) fn assert_same_logged(logged: &LoggedRecord, sent: &Record) {
    let what = (&logged.key, &logged.value, &logged.headers);
    assert_eq!(what, (&sent.key, &sent.value, &headers(&sent.headers)));
}
