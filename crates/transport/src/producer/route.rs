//! Which broker a partition's batches go to, and when to ask again.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{broker::Broker, cluster::Generation, record::TopicPartition};

/// How long after a failed look-up the next one waits.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// A partition's leader, as far as known.
#[derive(Debug, Clone)]
pub(super) enum Route {
    /// Being looked up.
    Asking,
    /// Could not be found out; to be asked again at this time.
    Unknown { ask_at: Instant },
    /// This broker, by this view of the cluster.
    Known { broker: Broker, by: Generation },
}

/// The leaders of all partitions written to.
#[derive(Debug, Default)]
pub(super) struct Routes {
    routes: HashMap<TopicPartition, Route>,
    /// The view that misled, for partitions whose next look-up needs a later one.
    misled_by: HashMap<TopicPartition, Generation>,
}

impl Routes {
    pub(super) fn get(&self, partition: &TopicPartition) -> Option<&Route> {
        self.routes.get(partition)
    }

    /// A look-up begins; with the view that is known to be wrong, if one is.
    pub(super) fn ask(&mut self, partition: &TopicPartition) -> Option<Generation> {
        self.routes.insert(partition.clone(), Route::Asking);
        self.misled_by.get(partition).copied()
    }

    pub(super) fn found(&mut self, partition: TopicPartition, broker: Broker, by: Generation) {
        self.misled_by.remove(&partition);
        self.routes.insert(partition, Route::Known { broker, by });
    }

    pub(super) fn not_found(&mut self, now: Instant, partition: TopicPartition) {
        self.routes.insert(
            partition,
            Route::Unknown {
                ask_at: now + RETRY_AFTER,
            },
        );
    }

    /// The broker is not the leader, or cannot be reached: the next attempt needs a later view than `by`.
    pub(super) fn misled(&mut self, partition: &TopicPartition, by: Generation) {
        if let Some(Route::Known { by: current, .. }) = self.routes.get(partition)
            && *current == by
        {
            self.routes.remove(partition);
            self.misled_by.insert(partition.clone(), by);
        }
    }
}
