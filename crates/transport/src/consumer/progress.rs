//! How far a partition was read, and how far it goes.

use tokio::time::Instant;

use crate::record::TopicPartition;

/// A partition that is being read, as of its last fetch; a paused one is not fetched, so its ends stay as they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Which partition.
    pub partition: TopicPartition,
    /// The offset after the last record delivered; `None` while it is being looked up.
    pub position: Option<i64>,
    /// Offsets between the position and the end of what may be read: the last stable offset when reading what is
    /// committed, else the high watermark. Not all of them need be records. `None` before the first fetch.
    pub lag: Option<i64>,
    /// The offset after the last record that all in-sync replicas have.
    pub high_watermark: Option<i64>,
    /// The offset before which all transactions have ended.
    pub last_stable_offset: Option<i64>,
    /// The oldest offset there is.
    pub log_start_offset: Option<i64>,
    /// Since when the last stable offset has stood still below the high watermark, as seen in fetches; `None` where it
    /// does not. A transaction that stays open hides everything behind it from readers of what is committed.
    pub held_back_since: Option<Instant>,
}
