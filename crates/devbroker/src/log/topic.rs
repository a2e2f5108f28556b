//! A topic: its identity, its settings and its partitions.

use uuid::Uuid;

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
    pub(crate) fn new(partitions: usize, settings: TopicSettings) -> Self {
        Self {
            id: Uuid::new_v4(),
            settings,
            partitions: (0..partitions).map(|_| PartitionLog::default()).collect(),
        }
    }

    /// Gives it more partitions; never fewer.
    pub(crate) fn grow(&mut self, partitions: usize) {
        while self.partitions.len() < partitions {
            self.partitions.push(PartitionLog::default());
        }
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
