//! Bridges on a stage, and records put into its topics behind their backs.

use std::time::Duration;

use cybermesh_bridge::bridge::Bridge;
use cybermesh_bridge::handler::Handlers;
use cybermesh_bridge::settings::{Loader, Settings};
use cybermesh_transport::consumer::{FetchConfig, Position, Reader, StartPolicy};
use cybermesh_transport::{
    Class, Compression, Event, Producer, ProducerConfig, Record, TopicPartition,
};

use crate::stage::{Role, Stage};

/// Longer than an orderly end takes, on a busy machine too.
const STOP_WITHIN: Duration = Duration::from_secs(30);

impl Stage {
    /// The settings of a process on this stage, with `more` besides.
    ///
    /// # Panics
    /// When they are refused.
    pub fn settings(&self, role: Role, more: &[(&str, &str)]) -> Settings {
        let more = more
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment = self.environment(role).into_iter().chain(more);
        Loader::default()
            .environment(environment)
            .load()
            .expect("settings")
    }

    /// A running bridge that receives with `handlers`.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn bridge(&self, role: Role, handlers: Handlers) -> Bridge {
        self.bridge_with(role, handlers, &[]).await
    }

    /// The same with settings besides.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn bridge_with(
        &self,
        role: Role,
        handlers: Handlers,
        more: &[(&str, &str)],
    ) -> Bridge {
        let builder = Bridge::builder(self.settings(role, more)).handlers(handlers);
        builder.start().await.expect("a bridge")
    }

    /// A running bridge that sends alone.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn sender(&self, role: Role) -> Bridge {
        let builder = Bridge::builder(self.settings(role, &[])).receives([]);
        builder.start().await.expect("a bridge that sends")
    }

    /// Stops a bridge in order.
    ///
    /// # Panics
    /// When it leaves something behind.
    pub async fn stop(&self, bridge: Bridge) {
        let report = bridge.stop(STOP_WITHIN).await;
        assert!(report.is_clean(), "{report:?}");
    }

    /// Appends records to the first partition of `topic`, as they are and in this order.
    ///
    /// # Panics
    /// When they are not acknowledged.
    pub async fn put(&self, topic: &str, records: Vec<Record>) {
        // Uncompressed, so that a large record is as large on its way as it is.
        let config = ProducerConfig {
            compression: Compression::None,
            ..ProducerConfig::default()
        };
        let producer = Producer::new(self.client().await, config);
        let mut deliveries = Vec::new();
        for record in records {
            let room = producer
                .reserve(topic, 0, record.size_bound())
                .await
                .expect("room in the buffer");
            deliveries.push(room.append(record));
        }
        for delivery in deliveries {
            delivery.await.expect("a record in the log");
        }
    }

    /// Waits until there are so many dead letters.
    ///
    /// # Panics
    /// When they cannot be read.
    pub async fn dead_letters(&self, count: usize) {
        let reader = Reader::new(
            self.client().await,
            FetchConfig::default(),
            StartPolicy::Earliest,
        );
        reader.begin(
            &TopicPartition::new(self.dead_letter_topic(), 0),
            Position::Earliest,
        );
        let mut read = 0;
        while read < count {
            match reader.next().await.expect("a reader") {
                Event::Records(batch) => read += batch.records.len(),
                Event::Failed(error) if error.class() != Class::Fatal => {}
                other => panic!("reading dead letters: {other:?}"),
            }
        }
    }
}
