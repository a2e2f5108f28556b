//! Reading partitions: positions, long polls, and what is fetched but not yet delivered.
//!
//! `state` knows for each partition where it is read next and what waits to be delivered; it decides and holds no
//! socket. `session` knows what each broker remembers of what it was asked for. `driver` is the task that asks the leaders, one request at a time per broker and connections of its own.
//! [`Fetcher`] is both together, with what callers do to them.

mod driver;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod session;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

pub(crate) use state::{FetchState, Tenure};

use crate::{
    cluster::Client,
    config::finite,
    consumer::{Event, FetchConfig, Position, Progress, StartPolicy},
    hooks::{BatchRead, HooksInUse},
    record::TopicPartition,
    wire::TopicId,
};

/// What callers, the driver and a group's task share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<FetchState>,
    /// For the driver: there may be more to fetch.
    work: Notify,
    /// For the caller: there may be something to deliver.
    ready: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, FetchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which of its assignments the caller speaks of when it speaks of this partition.
    pub(crate) fn tenure(&self, partition: &TopicPartition) -> Option<Tenure> {
        self.lock().tenure(partition)
    }

    /// Whether the caller speaks of a topic that was deleted and made again when it speaks of this partition.
    pub(crate) fn is_recreated(&self, partition: &TopicPartition) -> bool {
        self.lock().is_recreated(partition)
    }

    /// The topic that the offsets of this partition are of, where brokers go by its id.
    pub(crate) fn topic_id(&self, partition: &TopicPartition) -> Option<TopicId> {
        self.lock().topic_id(partition)
    }

    /// The leader epoch of the record before an offset, where known.
    pub(crate) fn leader_epoch(&self, partition: &TopicPartition, offset: i64) -> Option<i32> {
        self.lock().leader_epoch(partition, offset)
    }

    /// What the caller speaks of when it speaks of this partition; `None` while a reset of it is on its way.
    pub(crate) fn said_of(&self, partition: &TopicPartition) -> Option<Tenure> {
        self.lock().said_of(partition)
    }

    /// Whether what was said of this partition is not about what is read now.
    pub(crate) fn is_void(&self, partition: &TopicPartition, said: Option<Tenure>) -> bool {
        self.lock().is_void(partition, said)
    }

    /// Whether the topic was made again since the partition was assigned.
    pub(crate) fn was_recreated(&self, partition: &TopicPartition) -> bool {
        self.lock().was_recreated(partition)
    }

    /// Changes the state, and has both sides look at it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut FetchState) -> T) -> T {
        let outcome = change(&mut self.lock());
        self.work.notify_one();
        self.ready.notify_one();
        outcome
    }
}

/// Reads partitions. Stops when dropped.
#[derive(Debug)]
pub(crate) struct Fetcher {
    shared: Arc<Shared>,
    hooks: HooksInUse,
    _driver: AbortOnDropHandle<()>,
}

impl Fetcher {
    pub(crate) fn new(
        client: Client,
        config: FetchConfig,
        start: StartPolicy,
        state: FetchState,
    ) -> Self {
        let config = FetchConfig {
            max_wait: finite(config.max_wait),
            ..config
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            work: Notify::new(),
            ready: Notify::new(),
        });
        let hooks = client.config().hooks.clone();
        let driver = crate::host::spawn(driver::run(client, config, start, Arc::clone(&shared)));
        Self {
            shared,
            hooks,
            _driver: AbortOnDropHandle::new(driver),
        }
    }

    fn tell(&self, event: &Event) {
        if let Event::Records(batch) = event {
            self.hooks.tell(|hooks| {
                hooks.batch_read(&BatchRead {
                    partition: &batch.partition,
                    records: batch.records.len(),
                    next_offset: batch.next_offset,
                });
            });
        }
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// The next event; `None` after the last one. Dropping the future loses nothing.
    pub(crate) async fn next(&self) -> Option<Event> {
        loop {
            let ready = self.shared.ready.notified();
            {
                let mut state = self.shared.lock();
                if let Some(event) = state.take_event() {
                    drop(state);
                    // Room has been made.
                    self.shared.work.notify_one();
                    self.tell(&event);
                    return Some(event);
                }
                if state.has_ended() {
                    return None;
                }
            }
            ready.await;
        }
    }

    pub(crate) fn begin(&self, partition: &TopicPartition, position: Position) {
        self.shared.change(|state| state.begin(partition, position));
    }

    pub(crate) fn pause(&self, partition: &TopicPartition) {
        self.shared
            .change(|state| state.set_paused(partition, true));
    }

    pub(crate) fn resume(&self, partition: &TopicPartition) {
        self.shared
            .change(|state| state.set_paused(partition, false));
    }

    pub(crate) fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.lock().position(partition)
    }

    pub(crate) fn said_of(&self, partition: &TopicPartition) -> Option<Tenure> {
        self.shared.said_of(partition)
    }

    pub(crate) fn progress(&self) -> Vec<Progress> {
        self.shared.lock().progress()
    }

    pub(crate) fn end(&self, partition: &TopicPartition) {
        self.shared
            .change(|state| state.drop_partitions(std::slice::from_ref(partition)));
    }
}
