//! Which broker leads a partition, and when to ask again.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{cluster::Generation, record::TopicPartition};

/// How long after a failed look-up the next one waits.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// A partition's leader, as far as known.
#[derive(Debug, Clone)]
pub(crate) enum Route<L> {
    /// Being looked up.
    Asking,
    /// Could not be found out; to be asked again at this time.
    Unknown { ask_at: Instant },
    /// This one, by this view of the cluster.
    Known { leader: L, by: Generation },
}

/// The leaders of all partitions written to, or read.
#[derive(Debug)]
pub(crate) struct Routes<L> {
    routes: HashMap<TopicPartition, Route<L>>,
    /// The view that named the wrong leader or none, for partitions whose next look-up needs a later one.
    misled_by: HashMap<TopicPartition, Generation>,
}

impl<L> Default for Routes<L> {
    fn default() -> Self {
        Self {
            routes: HashMap::new(),
            misled_by: HashMap::new(),
        }
    }
}

impl<L> Routes<L> {
    pub(crate) fn get(&self, partition: &TopicPartition) -> Option<&Route<L>> {
        self.routes.get(partition)
    }

    /// A look-up begins; with the view that is known to be wrong, if one is.
    pub(crate) fn ask(&mut self, partition: &TopicPartition) -> Option<Generation> {
        self.routes.insert(partition.clone(), Route::Asking);
        self.misled_by.get(partition).copied()
    }

    pub(crate) fn found(&mut self, partition: TopicPartition, leader: L, by: Generation) {
        self.misled_by.remove(&partition);
        self.routes.insert(partition, Route::Known { leader, by });
    }

    /// No leader is known by the view `by`: the next look-up needs a later one.
    pub(crate) fn not_found(&mut self, now: Instant, partition: TopicPartition, by: Generation) {
        self.misled_by.insert(partition.clone(), by);
        self.routes.insert(
            partition,
            Route::Unknown {
                ask_at: now + RETRY_AFTER,
            },
        );
    }

    /// The broker is not the leader, or cannot be reached: the next attempt needs a later view than `by`.
    pub(crate) fn misled(&mut self, partition: &TopicPartition, by: Generation) {
        if let Some(Route::Known { by: current, .. }) = self.routes.get(partition)
            && *current == by
        {
            self.routes.remove(partition);
            self.misled_by.insert(partition.clone(), by);
        }
    }
}
