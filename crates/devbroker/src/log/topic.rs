//! A topic: its identity, its settings and its partitions.

use uuid::Uuid;

use super::leadership::Leadership;
use super::partition::PartitionLog;
use super::settings::TopicSettings;

/// Kafka's limit on the length of a topic name.
const MAX_NAME_BYTES: usize = 249;

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) settings: TopicSettings,
    pub(crate) partitions: Vec<PartitionLog>,
}

impl Topic {
    pub(crate) fn new(id: Uuid, settings: TopicSettings) -> Self {
        Self {
            id,
            settings,
            partitions: Vec::new(),
        }
    }

    /// Gives it more partitions, never fewer; `replicas` says which brokers hold one.
    pub(crate) fn grow(&mut self, partitions: usize, replicas: impl Fn(usize) -> Vec<i32>) {
        for index in self.partitions.len()..partitions {
            let leadership = Leadership::new(replicas(index));
            self.partitions.push(PartitionLog::new(leadership));
        }
    }

    /// How many brokers hold its partitions.
    pub(crate) fn replication(&self) -> usize {
        let first = self.partitions.first();
        first.map_or(1, |log| log.leadership().replicas().len())
    }

    pub(crate) fn partition(&self, index: i32) -> Option<&PartitionLog> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    pub(crate) fn partition_mut(
        &mut self,
        index: i32,
    ) -> Option<(&TopicSettings, &mut PartitionLog)> {
        let log = self.partitions.get_mut(usize::try_from(index).ok()?)?;
        Some((&self.settings, log))
    }
}

/// Whether Kafka allows a topic of this name.
pub(crate) fn name_is_legal(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && name.len() <= MAX_NAME_BYTES
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}
