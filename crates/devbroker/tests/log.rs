//! Producing and fetching over a connection.

#![expect(clippy::unwrap_used, reason = "a failed arrangement fails the test")]

mod support;

use std::io::Write as _;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use cybermesh_devbroker::{
    Api, DevBroker, ErrorCode, Fault, TimestampType, TopicSpec, TransactionEnd,
};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    FetchRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest,
};
use support::{Client, NOT_IDEMPOTENT, Producer, batch, produce_request, produced, topic_name};

async fn broker() -> DevBroker {
    DevBroker::builder().topic("t", 2).start().await.unwrap()
}

fn fetch_request(offset: i64, max_bytes: i32) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(max_bytes);
    let topic = FetchTopic::default()
        .with_topic(topic_name("t"))
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_bytes(max_bytes)
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_topics(vec![topic])
}

fn init_producer_id() -> InitProducerIdRequest {
    InitProducerIdRequest::default().with_transactional_id(None)
}

async fn fetch(client: &mut Client, request: &FetchRequest) -> PartitionData {
    let mut response = client.ask(12, request).await;
    response.responses.remove(0).partitions.remove(0)
}

/// The batch with its records compressed otherwise, and so with another checksum.
fn recompressed(batch: &Bytes, codec: u8, body: &[u8]) -> Bytes {
    let mut out = BytesMut::from(&batch[..61]);
    out[22] = (out[22] & !7) | codec;
    out.put_slice(body);
    let length = u32::try_from(out.len() - 12).unwrap();
    out[8..12].copy_from_slice(&length.to_be_bytes());
    let checksum = crc32c::crc32c(&out[21..]);
    out[17..21].copy_from_slice(&checksum.to_be_bytes());
    out.freeze()
}

async fn produce(client: &mut Client, batch: Bytes) -> (i16, i64) {
    produced(&client.ask(9, &produce_request("t", 0, batch)).await)
}

#[tokio::test]
async fn what_is_produced_is_in_the_log_and_comes_back_byte_for_byte() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    assert_eq!(
        produce(&mut client, batch(NOT_IDEMPOTENT, &["a"])).await,
        (0, 0)
    );
    let sent = batch(NOT_IDEMPOTENT, &["b", "c"]);
    assert_eq!(produce(&mut client, sent.clone()).await, (0, 1));

    let log = broker.partition_log("t", 0);
    assert_eq!(log.values(), ["a", "b", "c"]);
    let last = &log.records()[2];
    assert_eq!((last.offset, last.batch_offset, last.partition), (2, 1, 0));
    assert_eq!(last.timestamp_ms, 1_700_000_000_001);
    assert_eq!(last.headers, [("h".to_owned(), None)]);
    assert_eq!(last.producer, None);

    let fetched = fetch(&mut client, &fetch_request(2, 1 << 20)).await;
    let records = fetched.records.unwrap();
    assert_eq!(
        &records[16..],
        &sent[16..],
        "only offset and leader epoch differ"
    );
    assert_eq!(records[..8], 1_i64.to_be_bytes());
    assert_eq!((fetched.high_watermark, fetched.log_start_offset), (3, 0));
}

#[tokio::test]
async fn a_batch_sent_again_is_in_the_log_once_and_gets_its_old_offset() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    let init = client.ask(4, &init_producer_id()).await;
    let at = |epoch, sequence| Producer {
        id: init.producer_id.0,
        epoch,
        sequence,
    };
    for sequence in 0..6 {
        let sent = produce(&mut client, batch(at(0, sequence), &["x"])).await;
        assert_eq!(sent, (0, sequence.into()));
    }
    assert_eq!(
        produce(&mut client, batch(at(0, 5), &["other"])).await,
        (0, 5)
    );
    assert_eq!(produce(&mut client, batch(at(0, 1), &["x"])).await, (0, 1));
    let out_of_order = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER.0;
    // The sixth batch back is forgotten; another count of records is another batch; a gap.
    assert_eq!(
        produce(&mut client, batch(at(0, 0), &["x"])).await.0,
        out_of_order
    );
    assert_eq!(
        produce(&mut client, batch(at(0, 5), &["x", "y"])).await.0,
        out_of_order
    );
    assert_eq!(
        produce(&mut client, batch(at(0, 7), &["x"])).await.0,
        out_of_order
    );
    // A newer epoch starts at 0 and ends the older one.
    assert_eq!(
        produce(&mut client, batch(at(1, 1), &["x"])).await.0,
        out_of_order
    );
    assert_eq!(
        produce(&mut client, batch(at(1, 0), &["new"])).await,
        (0, 6)
    );
    assert_eq!(
        produce(&mut client, batch(at(0, 6), &["x"])).await.0,
        ErrorCode::INVALID_PRODUCER_EPOCH.0
    );
    let log = broker.log("t");
    assert_eq!(log.values(), ["x", "x", "x", "x", "x", "x", "new"]);
    let stamps: Vec<i32> = log
        .records()
        .iter()
        .map(|record| record.producer.unwrap().sequence)
        .collect();
    assert_eq!(stamps, [0, 1, 2, 3, 4, 5, 0]);
}

#[tokio::test]
async fn two_producers_never_get_the_same_id() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    let first = client.ask(4, &init_producer_id()).await;
    let again = init_producer_id()
        .with_producer_id(first.producer_id)
        .with_producer_epoch(0);
    let second = client.ask(4, &again).await;
    assert_ne!(first.producer_id, second.producer_id);
}

#[tokio::test]
async fn a_broken_an_oversized_and_a_homeless_batch_are_refused_each_with_its_code() {
    let broker = DevBroker::builder()
        .topic_with(TopicSpec::new("t", 1).config("max.message.bytes", "200"))
        .start()
        .await
        .unwrap();
    let mut client = Client::connect(&broker).await;
    let good = batch(NOT_IDEMPOTENT, &["a"]);

    let mut flipped = good.to_vec();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let corrupt = produce(&mut client, flipped.into()).await;
    assert_eq!(corrupt.0, ErrorCode::CORRUPT_MESSAGE.0);

    let long = "x".repeat(200);
    let oversized = produce(&mut client, batch(NOT_IDEMPOTENT, &[&long])).await;
    assert_eq!(oversized.0, ErrorCode::MESSAGE_TOO_LARGE.0);

    let two = [good.clone(), good.clone()].concat();
    let two = produce(&mut client, two.into()).await;
    assert_eq!(two.0, ErrorCode::INVALID_RECORD.0);

    for (topic, partition) in [("t", 1), ("nowhere", 0), ("t", -1)] {
        let request = produce_request(topic, partition, good.clone());
        let code = produced(&client.ask(9, &request).await).0;
        assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    }
    assert!(broker.log("t").is_empty());
}

#[tokio::test]
async fn every_codec_is_read() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    let plain = batch(NOT_IDEMPOTENT, &["compressed"]);
    let body = &plain[61..];

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(body).unwrap();
    let raw = snap::raw::Encoder::new().compress_vec(body).unwrap();
    let mut xerial = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    xerial.extend(u32::try_from(raw.len()).unwrap().to_be_bytes());
    xerial.extend(&raw);
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(body).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(body, ruzstd::encoding::CompressionLevel::Fastest);
    let bodies = [
        (1, gzip.finish().unwrap()),
        (2, raw),
        (2, xerial),
        (3, lz4.finish().unwrap()),
        (4, zstd),
    ];
    for (codec, body) in &bodies {
        let sent = recompressed(&plain, *codec, body);
        assert_eq!(produce(&mut client, sent).await.0, 0, "codec {codec}");
    }
    assert_eq!(broker.log("t").values(), ["compressed"; 5]);
    let garbage = recompressed(&plain, 2, b"not snappy");
    assert_eq!(
        produce(&mut client, garbage).await.0,
        ErrorCode::INVALID_RECORD.0
    );
}

#[tokio::test]
async fn log_append_time_replaces_the_producers_time_and_keeps_the_checksum_valid() {
    let broker = DevBroker::builder()
        .topic_with(TopicSpec::new("t", 1).timestamps(TimestampType::LogAppendTime))
        .start()
        .await
        .unwrap();
    let mut client = Client::connect(&broker).await;
    broker.shift_clock(3_600_000);
    let response = client
        .ask(9, &produce_request("t", 0, batch(NOT_IDEMPOTENT, &["a"])))
        .await;
    let told = response.responses[0].partition_responses[0].log_append_time_ms;
    let log = broker.log("t");
    let record = &log.records()[0];
    assert_eq!(record.timestamp_type, TimestampType::LogAppendTime);
    assert_eq!(record.timestamp_ms, told);
    let fetched = fetch(&mut client, &fetch_request(0, 1 << 20)).await;
    let records = fetched.records.unwrap();
    let checksum = u32::from_be_bytes(records[17..21].try_into().unwrap());
    assert_eq!(checksum, crc32c::crc32c(&records[21..]));
}

#[tokio::test]
async fn a_create_time_more_than_an_hour_ahead_is_refused() {
    let broker = broker().await;
    broker.shift_clock(-i64::from(i32::MAX) * 1000);
    let mut client = Client::connect(&broker).await;
    let refused = produce(&mut client, batch(NOT_IDEMPOTENT, &["a"])).await;
    assert_eq!(refused.0, ErrorCode::INVALID_TIMESTAMP.0);
}

#[tokio::test]
async fn the_first_batch_comes_whole_and_the_next_is_cut_at_the_limit() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    let one = batch(NOT_IDEMPOTENT, &["a"]);
    for _ in 0..2 {
        produce(&mut client, one.clone()).await;
    }
    let size = i32::try_from(one.len()).unwrap();
    let length = |data: PartitionData| i32::try_from(data.records.unwrap().len()).unwrap();
    assert_eq!(length(fetch(&mut client, &fetch_request(0, 1)).await), size);
    assert_eq!(
        length(fetch(&mut client, &fetch_request(0, size + 5)).await),
        size + 5
    );
    assert_eq!(
        length(fetch(&mut client, &fetch_request(0, 3 * size)).await),
        2 * size
    );
}

#[tokio::test]
async fn a_fetch_waits_for_data_and_is_answered_when_it_arrives() {
    let broker = broker().await;
    let mut reader = Client::connect(&broker).await;
    let request = fetch_request(0, 1 << 20).with_max_wait_ms(60_000);
    reader.send(12, &request).await.unwrap();
    broker
        .wait_until(|broker| broker.requests(Api::Fetch) == 1)
        .await;
    let mut writer = Client::connect(&broker).await;
    produce(&mut writer, batch(NOT_IDEMPOTENT, &["late"])).await;
    let response = reader.receive::<FetchRequest>(12).await.unwrap();
    let records = response.responses[0].partitions[0].records.as_ref();
    assert!(!records.unwrap().is_empty());
}

#[tokio::test]
async fn a_fetch_without_data_ends_after_its_wait() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    let request = fetch_request(0, 1 << 20).with_max_wait_ms(50);
    let before = std::time::Instant::now();
    let data = fetch(&mut client, &request).await;
    assert!(before.elapsed() >= Duration::from_millis(50));
    assert_eq!((data.error_code, data.records.unwrap().len()), (0, 0));
}

#[tokio::test]
async fn offsets_outside_the_log_are_out_of_range_and_its_ends_are_told() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    for _ in 0..3 {
        produce(&mut client, batch(NOT_IDEMPOTENT, &["a", "b"])).await;
    }
    broker.delete_records_before("t", 0, 3);
    for offset in [0, 2, 7, -1] {
        let data = fetch(&mut client, &fetch_request(offset, 1 << 20)).await;
        assert_eq!(
            data.error_code,
            ErrorCode::OFFSET_OUT_OF_RANGE.0,
            "{offset}"
        );
    }
    assert_eq!(broker.log("t").values(), ["b", "a", "b"]);
    for (timestamp, offset) in [(-2, 3), (-1, 6), (1_700_000_000_001, 3), (i64::MAX, -1)] {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(0)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(topic_name("t"))
            .with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_topics(vec![topic]);
        let response = client.ask(7, &request).await;
        let found = &response.topics[0].partitions[0];
        assert_eq!((found.error_code, found.offset), (0, offset), "{timestamp}");
    }
}

#[tokio::test]
async fn a_topic_is_served_by_its_id() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    let metadata = client
        .ask(12, &MetadataRequest::default().with_topics(None))
        .await;
    assert_eq!(
        metadata.cluster_id.as_deref(),
        Some(broker.cluster_id().as_str())
    );
    let id = metadata.topics[0].topic_id;
    assert_eq!(broker.topic_id("t"), Some(id));
    let mut request = produce_request("", 1, batch(NOT_IDEMPOTENT, &["a"]));
    request.topic_data[0].topic_id = id;
    assert_eq!(produced(&client.ask(13, &request).await), (0, 0));
    let mut request = fetch_request(0, 1 << 20);
    request.topics[0].topic_id = id;
    request.topics[0].partitions[0].partition = 1;
    let response = client.ask(17, &request).await;
    assert_eq!(response.responses[0].partitions[0].high_watermark, 1);
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_in_the_log_once() {
    let broker = broker()
        .await
        .with_fault(Fault::drop_after_apply(Api::Produce).topic("t").once());
    let producer = Producer {
        id: 7,
        epoch: 0,
        sequence: 0,
    };
    let request = produce_request("t", 0, batch(producer, &["a"]));
    let mut client = Client::connect(&broker).await;
    assert!(client.try_ask(9, &request).await.is_err());
    let mut client = Client::connect(&broker).await;
    assert_eq!(produced(&client.ask(9, &request).await), (0, 0));
    assert_eq!(broker.log("t").values(), ["a"]);
}

#[tokio::test]
async fn unchecked_bytes_are_handed_out_as_they_are() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    let garbage = Bytes::from(vec![0xff; 100]);
    assert_eq!(broker.append_unchecked("t", 0, &garbage, 4), Some(0));
    let fetched = fetch(&mut client, &fetch_request(0, 1 << 20)).await;
    assert_eq!(fetched.records.unwrap()[16..], garbage[16..]);
    assert_eq!(fetched.high_watermark, 5);
    assert!(broker.log("t").is_empty());
}

#[tokio::test]
async fn a_compacted_topic_names_the_records_that_have_no_key() {
    let compacted = TopicSpec::new("t", 1).config("cleanup.policy", "compact");
    let broker = DevBroker::builder().topic_with(compacted);
    let broker = broker.start().await.unwrap();
    let mut client = Client::connect(&broker).await;
    let keyed = batch(NOT_IDEMPOTENT, &["a", "b", "c"]);
    assert_eq!(produce(&mut client, keyed).await, (0, 0));
    let mixed = support::batch_of(
        NOT_IDEMPOTENT,
        &[Some("k"), None, Some("k"), None].map(|key| (key, "v")),
    );
    let response = client.ask(9, &produce_request("t", 0, mixed)).await;
    let told = &response.responses[0].partition_responses[0];
    assert_eq!(told.error_code, ErrorCode::INVALID_RECORD.0);
    let blamed: Vec<i32> = told.record_errors.iter().map(|e| e.batch_index).collect();
    assert_eq!(blamed, [1, 3]);
    assert_eq!(broker.log("t").len(), 3);
}

#[tokio::test]
async fn a_record_from_the_far_future_is_named() {
    let broker = broker().await;
    broker.shift_clock(-7_300_000_000_000);
    let mut client = Client::connect(&broker).await;
    let request = produce_request("t", 0, batch(NOT_IDEMPOTENT, &["a", "b"]));
    let response = client.ask(9, &request).await;
    let told = &response.responses[0].partition_responses[0];
    assert_eq!(told.error_code, ErrorCode::INVALID_TIMESTAMP.0);
    let blamed: Vec<i32> = told.record_errors.iter().map(|e| e.batch_index).collect();
    assert_eq!(blamed, [0, 1]);
}

/// A batch whose attributes say that it belongs to a transaction.
fn transactional(producer_id: i64, values: &[&str]) -> Bytes {
    let producer = Producer {
        id: producer_id,
        epoch: 0,
        sequence: 0,
    };
    let mut bytes = BytesMut::from(batch(producer, values).as_ref());
    bytes[22] |= 0x10;
    let checksum = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    bytes.freeze()
}

#[tokio::test]
async fn readers_of_committed_records_stop_before_the_first_open_transaction() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    produce(&mut client, batch(NOT_IDEMPOTENT, &["plain"])).await;
    broker.append_unchecked("t", 0, &transactional(7, &["a", "b"]), 1);
    broker.append_unchecked("t", 0, &transactional(8, &["c"]), 0);
    let committed = fetch_request(0, 1 << 20).with_isolation_level(1);
    let data = fetch(&mut client, &committed).await;
    assert_eq!((data.high_watermark, data.last_stable_offset), (4, 1));
    let plain = batch(NOT_IDEMPOTENT, &["plain"]).len();
    assert_eq!(data.records.unwrap().len(), plain);
    let all = fetch(&mut client, &fetch_request(0, 1 << 20)).await;
    assert!(all.records.unwrap().len() > plain);
    broker.end_transaction("t", 0, 7, 0, TransactionEnd::Commit);
    let data = fetch(&mut client, &committed).await;
    assert_eq!((data.high_watermark, data.last_stable_offset), (5, 3));
}

#[tokio::test]
async fn an_aborted_transaction_is_told_to_those_who_read_over_it() {
    let broker = broker().await;
    let mut client = Client::connect(&broker).await;
    broker.append_unchecked("t", 0, &transactional(7, &["a", "b"]), 1);
    let marker = broker.end_transaction("t", 0, 7, 0, TransactionEnd::Abort);
    assert_eq!(marker, Some(2));
    broker.append_unchecked("t", 0, &transactional(8, &["c"]), 0);
    broker.end_transaction("t", 0, 8, 0, TransactionEnd::Commit);
    for (from, told) in [(0, vec![(7, 0)]), (2, vec![(7, 0)]), (3, vec![])] {
        let request = fetch_request(from, 1 << 20).with_isolation_level(1);
        let data = fetch(&mut client, &request).await;
        assert_eq!(data.last_stable_offset, 5);
        let aborted = data.aborted_transactions.unwrap();
        let aborted: Vec<(i64, i64)> = aborted
            .iter()
            .map(|aborted| (aborted.producer_id.0, aborted.first_offset))
            .collect();
        assert_eq!(aborted, told, "from {from}");
    }
}
