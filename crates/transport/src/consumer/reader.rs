//! Reading without a group.

use super::{Event, FetchConfig, Position, Progress, StartPolicy};
use crate::{
    cluster::Client,
    fetch::{FetchState, Fetcher},
    record::TopicPartition,
};

/// Reads partitions of the caller's choice, and commits nothing.
#[derive(Debug)]
pub struct Reader(Fetcher);

impl Reader {
    /// A reader that reads nothing yet. `start` is where it goes on when an offset is out of range.
    pub fn new(client: Client, config: FetchConfig, start: StartPolicy) -> Self {
        let state = FetchState::unrestricted(config.clone());
        Self(Fetcher::new(client, config, start, state))
    }

    /// What happens next. Dropping the future loses nothing. One caller at a time may wait here.
    pub async fn next(&self) -> Option<Event> {
        self.0.next().await
    }

    /// Begins to read a partition, or goes on in it from another position.
    pub fn begin(&self, partition: &TopicPartition, position: Position) {
        self.0.begin(partition, position);
    }

    /// Reads a partition no more.
    pub fn end(&self, partition: &TopicPartition) {
        self.0.end(partition);
    }

    /// Delivers and fetches nothing more of a partition until it is resumed.
    pub fn pause(&self, partition: &TopicPartition) {
        self.0.pause(partition);
    }

    /// Ends a pause.
    pub fn resume(&self, partition: &TopicPartition) {
        self.0.resume(partition);
    }

    /// The offset after the last record delivered; for a partition begun at its end, the end, once that is known.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.0.position(partition)
    }

    /// How far each partition that is being read was read and goes, as [`Consumer::progress`](super::Consumer).
    pub fn progress(&self) -> Vec<Progress> {
        self.0.progress()
    }
}
