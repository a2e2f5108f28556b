//! What readers are told besides records: sessions, replicas nearby, logs that were cut.

#![expect(clippy::unwrap_used, reason = "a failed arrangement fails the test")]

mod support;

use cybermesh_devbroker::{Api, DevBroker, ErrorCode, Fault};
use kafka_protocol::messages as m;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::records::RecordBatchDecoder;
use support::{Client, NOT_IDEMPOTENT, batch, produce_request, produced, str_bytes};

const VERSION: i16 = 17;

async fn three() -> DevBroker {
    let builder = DevBroker::builder().brokers(3).racks(["a", "b", "c"]);
    builder.topic("t", 2).start().await.unwrap()
}

async fn connect(broker: &DevBroker, id: i32) -> Client {
    let address = broker.address_of(id).unwrap();
    Client::over(tokio::net::TcpStream::connect(address).await.unwrap())
}

/// Writes each value in a batch of its own.
async fn write(broker: &DevBroker, partition: i32, values: &[&str]) {
    let leader = broker.leader("t", partition).unwrap().broker.unwrap();
    let mut client = connect(broker, leader).await;
    for value in values {
        let request = produce_request("t", partition, batch(NOT_IDEMPOTENT, &[value]));
        assert_eq!(produced(&client.ask(9, &request).await).0, 0);
    }
}

fn at(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20)
}

fn request(broker: &DevBroker, partitions: Vec<FetchPartition>) -> m::FetchRequest {
    let topic = FetchTopic::default()
        .with_topic_id(broker.topic_id("t").unwrap())
        .with_partitions(partitions);
    m::FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

async fn fetch(client: &mut Client, request: &m::FetchRequest) -> Vec<PartitionData> {
    let response = client.ask(VERSION, request).await;
    let topics = response.responses.into_iter();
    topics.flat_map(|topic| topic.partitions).collect()
}

fn values(data: &PartitionData) -> Vec<String> {
    let mut records = data.records.clone().unwrap();
    let sets = RecordBatchDecoder::decode_all(&mut records).unwrap();
    let values = sets.into_iter().flat_map(|set| set.records);
    let text = |value: Option<bytes::Bytes>| String::from_utf8(value.unwrap().to_vec()).unwrap();
    values.map(|record| text(record.value)).collect()
}

#[tokio::test]
async fn a_reader_is_sent_to_the_replica_of_its_rack_that_has_what_it_asks_for() {
    let broker = three().await;
    write(&broker, 0, &["1", "2"]).await;
    let mut leader = connect(&broker, 1).await;
    for (rack, offset, sent_to) in [
        ("b", 1, 2),
        ("a", 1, -1),
        ("z", 1, -1),
        ("", 1, -1),
        ("b", 2, -1),
    ] {
        broker.hold_back_replica("t", 0, 2, Some(1));
        let asked = request(&broker, vec![at(0, offset)]).with_rack_id(str_bytes(rack));
        let data = fetch(&mut leader, &asked).await.remove(0);
        assert_eq!(data.preferred_read_replica.0, sent_to, "{rack} {offset}");
        let expected: &[&str] = if sent_to < 0 && offset == 1 {
            &["2"]
        } else {
            &[]
        };
        assert_eq!(values(&data), expected, "{rack} {offset}");
    }
    let mut follower = connect(&broker, 2).await;
    let data = fetch(&mut follower, &request(&broker, vec![at(0, 0)])).await;
    assert_eq!(
        (values(&data[0]), data[0].high_watermark),
        (vec!["1".to_owned()], 1)
    );
    let data = fetch(&mut follower, &request(&broker, vec![at(0, 2)])).await;
    assert_eq!(data[0].error_code, ErrorCode::OFFSET_OUT_OF_RANGE.0);
    broker.hold_back_replica("t", 0, 2, None);
    let data = fetch(&mut follower, &request(&broker, vec![at(0, 0)])).await;
    assert_eq!(values(&data[0]), ["1", "2"]);
}

#[tokio::test]
async fn after_an_unclean_election_readers_are_told_where_their_records_end() {
    let broker = three().await;
    write(&broker, 0, &["1", "2", "3"]).await;
    assert_eq!(broker.elect_unclean("t", 0, 2, 1), Some(1));
    // Where that is beyond the end too.
    let asked = at(0, 3).with_last_fetched_epoch(0);
    let mut leader = connect(&broker, 2).await;
    let data = fetch(&mut leader, &request(&broker, vec![asked]))
        .await
        .remove(0);
    let told = (
        data.error_code,
        data.diverging_epoch.epoch,
        data.diverging_epoch.end_offset,
    );
    assert_eq!(told, (0, 0, 1));
    write(&broker, 0, &["new 2", "new 3", "new 4"]).await;
    let log: Vec<_> = broker.partition_log("t", 0).values();
    assert_eq!(
        log,
        ["1", "new 2", "new 3", "new 4"].map(|text| text.as_bytes().to_vec())
    );
    for (offset, last_epoch, told) in [
        (3, 0, Some((0, 1))),
        (1, 0, None),
        (4, 1, None),
        (4, -1, None),
    ] {
        let asked = at(0, offset).with_last_fetched_epoch(last_epoch);
        let data = fetch(&mut leader, &request(&broker, vec![asked]))
            .await
            .remove(0);
        assert_eq!(data.error_code, 0);
        let diverging = data.diverging_epoch;
        let diverging =
            (diverging.end_offset >= 0).then_some((diverging.epoch, diverging.end_offset));
        assert_eq!(diverging, told, "{offset} {last_epoch}");
    }
    // An epoch nobody knows of.
    let asked = at(0, 1).with_last_fetched_epoch(7);
    let data = fetch(&mut leader, &request(&broker, vec![asked])).await;
    assert_eq!(data[0].error_code, ErrorCode::OFFSET_OUT_OF_RANGE.0);
    assert_eq!(broker.elect_unclean("t", 0, 9, 0), None);
}

#[tokio::test]
async fn a_producer_goes_on_after_what_is_left_of_its_batches() {
    let broker = three().await;
    let send = async |sequence: i32, id: i32| {
        let producer = support::Producer {
            id: 7,
            epoch: 0,
            sequence,
        };
        let request = produce_request("t", 0, batch(producer, &["x"]));
        produced(&connect(&broker, id).await.ask(9, &request).await)
    };
    for sequence in 0..3 {
        assert_eq!(send(sequence, 1).await, (0, i64::from(sequence)));
    }
    broker.elect_unclean("t", 0, 2, 1);
    assert_eq!(send(0, 2).await, (0, 0), "known, a duplicate");
    assert_eq!(
        send(3, 2).await.0,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER.0
    );
    assert_eq!(send(1, 2).await, (0, 1));
}

#[tokio::test]
async fn in_a_session_only_what_changes_is_said_by_either_side() {
    let broker = three().await;
    write(&broker, 0, &["1"]).await;
    let mut client = connect(&broker, 1).await;
    let full = request(&broker, vec![at(0, 0), at(1, 0)]).with_session_epoch(0);
    let response = client.ask(VERSION, &full).await;
    let id = response.session_id;
    assert_ne!(id, 0);
    assert_eq!(response.responses[0].partitions.len(), 2);
    // What a step does not name is read on, and hit by faults that name it.
    let step = |epoch: i32, partitions: Vec<FetchPartition>| {
        let step = request(&broker, partitions);
        let step = step.with_session_id(id).with_session_epoch(epoch);
        match step.topics[0].partitions.is_empty() {
            true => step.with_topics(vec![]),
            false => step,
        }
    };
    let data = fetch(&mut client, &step(1, vec![at(0, 1)])).await;
    assert!(data.is_empty());
    let refused = Fault::error(Api::Fetch, ErrorCode::KAFKA_STORAGE_ERROR);
    broker.fault(refused.topic("t").partition(0).once());
    let data = fetch(&mut client, &step(2, vec![])).await;
    let told: Vec<_> = data
        .iter()
        .map(|data| (data.partition_index, data.error_code))
        .collect();
    assert_eq!(told, [(0, ErrorCode::KAFKA_STORAGE_ERROR.0)]);
    let session = broker.fetch_sessions().remove(0);
    assert_eq!((session.id, session.epoch, session.by_id), (id, 3, true));
    assert_eq!(session.partitions.len(), 2);
    // A broker that restarts knows it no more.
    broker.stop_broker(1).await;
    broker.start_broker(1).await.unwrap();
    let mut client = connect(&broker, 1).await;
    let response = client.ask(VERSION, &step(3, vec![])).await;
    assert_eq!(response.error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0);
}

#[tokio::test]
async fn a_topic_made_again_is_not_known_by_its_old_id() {
    let broker = three().await;
    write(&broker, 0, &["1"]).await;
    let old = request(&broker, vec![at(0, 0)]);
    assert!(broker.renew_topic("t"));
    let mut client = connect(&broker, 1).await;
    let data = fetch(&mut client, &old).await;
    assert_eq!(data[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID.0);
}
