//! The outbox: what cannot be sent now is kept on disk, and sent in order when it can.
//!
//! `entry` is one message and its form on disk. `storage` finds the file, `database` has its tables, `store` is the one
//! writer. `index` knows what there is and in which order it goes: a state machine. `way_in` takes in what a sender or
//! the transport could not get rid of; `drain` sends it, a `turn` at a time. `file` is for looking at an outbox that no process has open.

mod database;
mod drain;
pub(crate) mod entry;
mod file;
mod index;
mod storage;
mod store;
mod turn;
#[cfg(feature = "simulation")]
mod unsynced;
mod way_in;

#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, watch};

pub use database::DiskFault;
pub(super) use drain::run;
pub use entry::{Body, Entry, NoEntry};
pub use file::{Listed, OutboxFile};
pub(super) use index::Way;
pub use index::WhenFull;
pub(crate) use storage::{InStateDir, Storage};
pub use store::Sync;
pub(crate) use way_in::HoldWhatIsKept;
pub(super) use way_in::{Keeping, Request, is_kept};

use index::{Arrival, Bounds, Held, Index};
use store::Store;

use crate::{
    clock::WallClock,
    settings::Outbox as OutboxSettings,
    telemetry::{Health, Left, Metrics},
};

/// Why a message was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotKept {
    /// The outbox holds as much as it may.
    #[error("it holds {bytes} of at most {limit} bytes (CYBERMESH_OUTBOX_BYTES)")]
    Full {
        /// What it holds.
        bytes: u64,
        /// What it may hold.
        limit: u64,
    },
    /// The disk did not take it.
    #[error(transparent)]
    Disk(DiskFault),
}

/// What is in an outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboxStatus {
    /// Messages that wait.
    pub entries: usize,
    /// What they take, in bytes as counted against `CYBERMESH_OUTBOX_BYTES`.
    pub bytes: u64,
    /// The sequence of the first of them.
    pub first: Option<u64>,
    /// The sequence that the next message gets: whatever waits now has a lower one.
    pub next: u64,
    /// How often something was tried and did not get through since the process began.
    pub failures: u64,
}

/// The outbox of one process.
#[derive(Debug)]
pub(crate) struct Outbox {
    index: Mutex<Index>,
    store: Store,
    /// For the drain: something arrived, or may go.
    changed: Notify,
    status: watch::Sender<OutboxStatus>,
    /// Held while room for many entries is taken.
    reserving: tokio::sync::Mutex<()>,
    age: Duration,
    clock: Arc<dyn WallClock>,
    metrics: Metrics,
}

impl Outbox {
    /// Opens the file and reads what an earlier process left. Blocks.
    pub(crate) fn open(
        storage: Box<dyn Storage>,
        settings: &OutboxSettings,
        clock: Arc<dyn WallClock>,
        metrics: Metrics,
        health: Health,
    ) -> Result<Self, DiskFault> {
        let (store, found) = Store::open(storage, settings.sync, health, Arc::clone(&clock))?;
        let bounds = Bounds {
            bytes: u64::try_from(settings.bytes).unwrap_or(u64::MAX),
            when_full: settings.when_full,
        };
        let mut index = Index::new(bounds, found.next_place);
        for (place, entry, bytes) in &found.entries {
            index.found(*place, &arrival(entry, *bytes));
        }
        if index.len() > 0 {
            tracing::info!(
                entries = index.len(),
                bytes = index.bytes(),
                "the outbox holds messages of an earlier process"
            );
        }
        let outbox = Self {
            index: Mutex::new(index),
            store,
            changed: Notify::new(),
            status: watch::Sender::default(),
            reserving: tokio::sync::Mutex::new(()),
            age: settings.age,
            clock,
            metrics,
        };
        outbox.show(&outbox.lock());
        Ok(outbox)
    }

    /// What is in it, now and whenever that changes.
    pub(crate) fn status(&self) -> watch::Receiver<OutboxStatus> {
        self.status.subscribe()
    }

    /// Ends once all that was taken in is on disk, as far as the disk takes it.
    pub(super) async fn close(&self) {
        self.store.close().await;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what is there now to metrics, and to whoever waits for it to change.
    fn show(&self, index: &Index) {
        let (entries, bytes) = (index.len(), index.bytes());
        self.metrics.spool().set(entries, bytes, index.oldest_ms());
        self.status.send_modify(|status| {
            *status = OutboxStatus {
                entries,
                bytes,
                first: index.first(),
                next: index.next_place(),
                failures: status.failures,
            }
        });
    }

    /// Counts and names what leaves unsent, or without its being known. Never more than one line for a topic and kind at a time.
    fn tell_lost(&self, lost: &[(u64, Held)], how: Left) {
        let mut counts = std::collections::BTreeMap::<_, usize>::new();
        for (_, held) in lost {
            // Whatever made it go.
            let how = if held.is_in_doubt() {
                Left::Unknown
            } else {
                how
            };
            self.metrics.unspooled(&held.topic, held.kind, how);
            *counts
                .entry((Arc::clone(&held.topic), held.kind.as_str(), how.as_str()))
                .or_default() += 1;
        }
        for ((topic, kind, left), count) in counts {
            let said = if left == Left::Unknown.as_str() {
                "messages left the outbox, and nobody knows whether they were sent"
            } else {
                "messages left the outbox unsent"
            };
            tracing::error!(topic = %topic, kind, count, how = left, cause = how.as_str(), "{said}");
        }
    }
}

fn arrival(entry: &Entry, bytes: usize) -> Arrival<'_> {
    Arrival {
        kind: entry.kind,
        topic: &entry.topic,
        key: entry.key.as_deref(),
        partition: entry.partition,
        doubtful: match entry.body {
            Body::Signed { signing, .. } => Some(signing),
            Body::Draft(_) => None,
        },
        bytes,
        accepted_at_ms: entry.accepted_at_ms,
        accepted_at: None,
    }
}
