//! Who writes while brokers fail, and notes what it is told of each record.

use super::*;

/// Sends a record to each partition at each tick.
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) topic: String,
    pub(super) seen: Arc<Seen>,
}

impl Writer {
    pub(super) async fn run(
        self,
        mut stopped: watch::Receiver<Stopped>,
    ) -> BTreeMap<Numbered, Told> {
        let config = ProducerConfig {
            schedule: Arc::new(FixedSchedule {
                delay: Duration::from_millis(250),
                resends: u32::MAX,
            }),
            ..ProducerConfig::default()
        };
        let producer = Producer::new(self.client.clone(), config);
        let mut told = BTreeMap::new();
        let mut deliveries = FuturesUnordered::new();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 0;
        loop {
            tokio::select! {
                () = told_to_stop(&mut stopped) => break,
                Some((record, outcome)) = deliveries.next() => self.take(&mut told, record, outcome),
                _ = ticks.tick() => {
                    for partition in 0..self.seen.partitions() {
                        let record = (partition, number);
                        deliveries.extend(self.send(&producer, record).await);
                    }
                    number += 1;
                }
            }
        }
        while let Some((record, outcome)) = within(deliveries.next()).await {
            self.take(&mut told, record, outcome);
        }
        told
    }

    /// Nothing is sent while there is no such topic.
    async fn send(
        &self,
        producer: &Producer,
        record: Numbered,
    ) -> Option<impl Future<Output = (Numbered, Outcome)> + use<>> {
        let delivery = append(producer, &self.topic, record.0, record.1.to_string()).await?;
        let mut sent = self
            .seen
            .sent
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sent.insert(record, Instant::now());
        Some(async move { (record, delivery.await) })
    }

    fn take(&self, told: &mut BTreeMap<Numbered, Told>, record: Numbered, outcome: Outcome) {
        let outcome = match outcome {
            Ok(appended) => {
                self.seen.note(&self.seen.written, record);
                Told::Appended(appended.offset)
            }
            Err(error) => match error.written() {
                Written::No => Told::NotWritten,
                Written::Unknown => Told::Unknown,
            },
        };
        told.insert(record, outcome);
    }
}

async fn told_to_stop(stopped: &mut watch::Receiver<Stopped>) {
    // Who would tell it being gone is as good.
    let _ = stopped.wait_for(|what| *what >= Stopped::Writing).await;
}

type Outcome = Result<cybermesh_transport::Appended, cybermesh_transport::DeliveryError>;

/// `None` where there is no such topic.
pub(super) async fn append(
    producer: &Producer,
    topic: &str,
    partition: i32,
    value: String,
) -> Option<Delivery> {
    let record = Record {
        value: Some(Bytes::from(value)),
        timestamp_ms: now_ms(),
        ..Record::default()
    };
    let room = producer.reserve(topic, partition, record.size_bound());
    match within(room).await {
        Ok(room) => Some(room.append(record)),
        Err(error) if error.error_code() == Some(ErrorCode::UnknownTopicOrPartition) => None,
        Err(error) => panic!("no room in the buffer: {error}"),
    }
}
