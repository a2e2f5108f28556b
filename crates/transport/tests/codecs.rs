//! Batches of every codec, as a broker reads them that shares no line with us.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use cybermesh_transport::{Compression, Header, Producer, ProducerConfig, Record};
use proptest::prelude::*;
use support::*;

type Content = (Option<Bytes>, Option<Bytes>, Vec<(String, Option<Bytes>)>);

fn blob() -> impl Strategy<Value = Option<Bytes>> {
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    let repeated = (any::<u8>(), 0..50_000_usize).prop_map(|(byte, len)| vec![byte; len]);
    prop::option::of(prop_oneof![4 => noise, 1 => repeated].prop_map(Bytes::from))
}

fn record_of_any_shape() -> impl Strategy<Value = Record> {
    let header = ("[a-z-]{0,8}", blob()).prop_map(|(name, value)| Header { name, value });
    (blob(), blob(), prop::collection::vec(header, 0..3)).prop_map(|(key, value, headers)| Record {
        key,
        value,
        headers,
        timestamp_ms: 1_700_000_000_000,
    })
}

fn content(record: &Record) -> Content {
    let headers = record.headers.iter();
    (
        record.key.clone(),
        record.value.clone(),
        headers
            .map(|header| (header.name.clone(), header.value.clone()))
            .collect(),
    )
}

/// What a broker has in its log of these records, sent in one batch.
async fn as_logged(records: Vec<Record>, compression: Compression) -> Vec<Content> {
    let broker = broker("t", 1).await;
    let config = ProducerConfig {
        linger: Duration::from_secs(3600),
        batch_bytes: usize::MAX,
        compression,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client(&broker).await, config);
    for record in records {
        let room = producer.reserve("t", 0, record.size_bound()).await.unwrap();
        drop(room.append(record));
    }
    within(producer.flush()).await;
    assert_eq!(broker.requests(cybermesh_devbroker::Api::Produce), 1);
    let log = broker.log("t");
    let logged = log.records().iter().map(|record| {
        (
            record.key.clone(),
            record.value.clone(),
            record.headers.clone(),
        )
    });
    logged.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_batch_of_every_codec_is_read_by_a_broker_as_it_was_written(
        records in prop::collection::vec(record_of_any_shape(), 1..12),
        compression in prop::sample::select(vec![
            Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4,
        ]),
    ) {
        let written: Vec<_> = records.iter().map(content).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let logged = runtime.block_on(as_logged(records, compression));
        prop_assert_eq!(logged, written);
    }
}
