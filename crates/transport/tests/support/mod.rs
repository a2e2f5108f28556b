//! A broker of this process, a client of it, and records that are told apart by their values.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::time::Duration;

use cybermesh_devbroker::DevBroker;
use cybermesh_transport::{
    Address, Client, ClientConfig, Delivery, Event, Producer, ProducerConfig, Record, Security,
    TopicPartition, producer::FixedSchedule,
};

/// Long enough for anything that is to happen; nothing waits for it to pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn broker(topic: &str, partitions: usize) -> DevBroker {
    DevBroker::builder()
        .topic(topic, partitions)
        .start()
        .await
        .unwrap()
}

pub(crate) async fn client(broker: &DevBroker) -> Client {
    client_at(&broker.bootstrap()).await
}

pub(crate) async fn client_at(bootstrap: &str) -> Client {
    let bootstrap = Address::parse_list(bootstrap).unwrap();
    Client::connect(ClientConfig::new(bootstrap, Security::Plaintext))
        .await
        .unwrap()
}

/// Sends each record in a batch of its own, at once, and resends quickly.
pub(crate) fn eager(resends: u32) -> ProducerConfig {
    ProducerConfig {
        linger: Duration::ZERO,
        batch_bytes: 1,
        schedule: std::sync::Arc::new(FixedSchedule {
            delay: Duration::from_millis(20),
            resends,
        }),
        ..ProducerConfig::default()
    }
}

pub(crate) fn record(value: &str) -> Record {
    Record {
        value: Some(value.to_owned().into()),
        timestamp_ms: 1_700_000_000_000,
        ..Record::default()
    }
}

pub(crate) async fn send(
    producer: &Producer,
    topic: &str,
    partition: i32,
    value: &str,
) -> Delivery {
    let record = record(value);
    producer
        .reserve(topic, partition, record.size_bound())
        .await
        .unwrap()
        .append(record)
}

pub(crate) fn partition(topic: &str, number: i32) -> TopicPartition {
    TopicPartition::new(topic, number)
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("nothing happened for 30 s")
}

/// Values in the log of a partition, in order.
pub(crate) fn logged(broker: &DevBroker, topic: &str, partition: i32) -> Vec<String> {
    let values = broker.partition_log(topic, partition).values();
    values
        .iter()
        .map(|value| String::from_utf8(value.to_vec()).unwrap())
        .collect()
}

/// Values of the next `count` records, whatever comes between.
pub(crate) async fn values(next: impl AsyncFn() -> Option<Event>, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    while values.len() < count {
        if let Some(Event::Records(batch)) = within(next()).await {
            values.extend(batch.records.iter().map(|record| {
                String::from_utf8(record.value.as_ref().expect("a value").to_vec()).unwrap()
            }));
        }
    }
    values
}
