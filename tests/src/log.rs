//! What is in the log of a partition, by a word other than our client's: over the built-in broker
//! its own view, over Apache Kafka the console consumer's.

use bytes::Bytes;
use cybermesh_transport::{Producer, ProducerConfig, Record};

use crate::cluster::Broker;
use crate::console;
use crate::stage::Stage;

/// A record as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers in order.
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl LoggedRecord {
    /// The value of the first header of that name, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }
}

impl Stage {
    /// All records of a topic of one partition, by offset. Over Apache Kafka that appends a record
    /// behind them, to know where they end.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn log(&self, topic: &str) -> Vec<LoggedRecord> {
        if let Broker::Devbroker(broker) = self.cluster().broker() {
            let log = broker.log(topic);
            let records = log.records().iter().map(|record| LoggedRecord {
                partition: record.partition,
                offset: record.offset,
                key: record.key.clone(),
                value: record.value.clone(),
                headers: record.headers.clone(),
            });
            return records.collect();
        }
        let mark = Bytes::from(uuid::Uuid::new_v4().to_string());
        let producer = Producer::new(self.client().await, ProducerConfig::default());
        append(&producer, topic, mark.clone())
            .await
            .await
            .expect("a record at the end");
        let mut records =
            console::read_until(self, topic, |record| record.value.as_ref() == Some(&mark)).await;
        records.pop();
        records
    }
}

/// Appends a record without a key to the first partition of `topic`.
///
/// # Panics
/// When there is no room for it.
pub async fn append(
    producer: &Producer,
    topic: &str,
    value: Bytes,
) -> cybermesh_transport::Delivery {
    let record = Record {
        key: None,
        value: Some(value),
        headers: Vec::new(),
        timestamp_ms: now_ms(),
    };
    let room = producer
        .reserve(topic, 0, record.size_bound())
        .await
        .expect("room in the buffer");
    room.append(record)
}

/// Milliseconds since 1970.
///
/// # Panics
/// When the clock stands before that.
pub fn now_ms() -> i64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a clock after 1970");
    i64::try_from(now.as_millis()).expect("a clock before the end of time")
}
