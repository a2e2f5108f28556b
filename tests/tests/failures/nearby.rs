//! Reading from the follower of one's rack (KIP-392).

use std::sync::Arc;

use cybermesh_tests::Stage;
use cybermesh_tests::cluster::Broker;
use cybermesh_tests::log::now_ms;
use cybermesh_tests::proxy::{Conduct, Proxy};
use cybermesh_transport::admin::NewTopic;
use cybermesh_transport::{
    Admin, Client, Event, FetchConfig, Position, Producer, ProducerConfig, Reader, Record,
    StartPolicy, TopicPartition,
};

use crate::load::{client_config, within};

crate::failures! {
    a_reader_reads_from_the_follower_of_its_rack_while_the_leader_is_up_and_from_the_leader_when_that_is_silent,
}

/// A way to each broker that can be shut, in the order of their ids.
async fn ways(stage: &Stage) -> (String, Vec<Proxy>) {
    let Broker::Kafka(kafka) = stage.cluster().broker() else {
        panic!("no cluster of brokers")
    };
    let mut ways = Vec::new();
    for (listen, upstream) in kafka.proxy.split(',').zip(kafka.behind_proxy.split(',')) {
        ways.push(Proxy::start(listen, upstream).await);
    }
    (kafka.proxy.clone(), ways)
}

async fn write(producer: &Producer, topic: &str, value: &'static str) {
    let record = Record {
        value: Some(value.into()),
        timestamp_ms: now_ms(),
        ..Record::default()
    };
    let room = within(producer.reserve(topic, 0, record.size_bound())).await;
    let sent = room.expect("room").append(record);
    within(sent).await.expect("a record in the log");
}

/// The value of the next record; that a broker is silent meanwhile is told and no reason to stop.
async fn next(reader: &Reader) -> String {
    loop {
        match within(reader.next()).await.expect("not ended") {
            Event::Records(batch) if batch.records.is_empty() => {}
            Event::Records(batch) => {
                assert_eq!(batch.records.len(), 1);
                let value = batch.records[0].value.as_ref().expect("a value").to_vec();
                return String::from_utf8(value).expect("text");
            }
            Event::Failed(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn a_reader_reads_from_the_follower_of_its_rack_while_the_leader_is_up_and_from_the_leader_when_that_is_silent(
    stage: Stage,
) {
    let client = Client::connect(client_config(&stage)).await;
    let client = client.expect("a client");
    let topic = stage.own("nearby");
    let made = NewTopic::new(topic.as_str())
        .partitions(1)
        .replication_factor(3);
    let made = Admin::new(client.clone()).create_topic(made).await;
    let leader = made.expect("a topic").partitions()[0].leader;
    let leader = leader.expect("a leader").broker_id;
    let follower = leader % 3 + 1;
    let producer = Producer::new(client, ProducerConfig::default());
    write(&producer, &topic, "1").await;

    let (bootstrap, ways) = ways(&stage).await;
    let way = |id: i32| &ways[usize::try_from(id - 1).expect("an id from 1")];
    let config = stage.client_config_at(&bootstrap);
    let config = config.request_timeout(std::time::Duration::from_secs(5));
    let config = config.connect_timeout(std::time::Duration::from_secs(5));
    let reader = Reader::new(
        Client::connect(config).await.expect("a client"),
        FetchConfig {
            rack: Some(Arc::from(format!("r{follower}"))),
            ..FetchConfig::default()
        },
        StartPolicy::None,
    );
    reader.begin(&TopicPartition::new(topic.as_str(), 0), Position::Earliest);
    assert_eq!(next(&reader).await, "1");
    // The leader is up and is written to; it cannot be read from.
    way(leader).conduct(Conduct::Silence);
    for value in ["2", "3", "4"] {
        write(&producer, &topic, value).await;
        assert_eq!(next(&reader).await, value);
    }
    way(leader).conduct(Conduct::Pass);
    way(follower).conduct(Conduct::Silence);
    for value in ["5", "6"] {
        write(&producer, &topic, value).await;
        assert_eq!(next(&reader).await, value);
    }
}
