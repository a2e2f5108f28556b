//! Copies: whether what a dead letter is about stood in its partition before.
//!
//! What is buried before its order was asked for, since its key was not believed just then, may be a copy of
//! something handled long ago: whoever knows of a wrong trust file could write it. A receiver that takes a
//! redrive does not ask for the message's own order any more; so it is asked for here, of the log itself. A
//! topic keeps messages as long as they may be old, and what was too old when it was buried is refused for that.

use std::collections::HashMap;

use cybermesh_contracts::rejection::Disposition;
use cybermesh_transport::TopicPartition;

use super::desk::Desk;
use super::entry::Position;
use super::original::value_hash;
use super::reader::{ReadError, Scan, partition_exists};

/// The hash of a value, shortened: there may be millions.
type Short = [u8; 16];

/// Where values first stood.
#[derive(Debug, Default)]
pub(super) struct Copies(HashMap<TopicPartition, OfPartition>);

#[derive(Debug, Default)]
struct OfPartition {
    /// The values that are asked about, and where each was seen first.
    first: HashMap<Short, Option<i64>>,
    /// The last place that is asked about.
    last: i64,
}

/// Whether the order of what is buried so was never judged, though it is put back in bulk.
pub(super) const fn is_before_order(disposition: Disposition) -> bool {
    matches!(
        disposition,
        Disposition::UnknownKey
            | Disposition::KeyNotAuthorised
            | Disposition::KeyExpired
            | Disposition::Future
    )
}

impl Copies {
    /// Will be asked about a record whose value has this SHA-256.
    pub(super) fn ask(&mut self, topic: &str, at: Position, hash: &[u8; 32]) {
        let partition = TopicPartition::new(topic, at.partition);
        let asked = self.0.entry(partition).or_default();
        asked.first.entry(short(hash)).or_insert(None);
        asked.last = asked.last.max(at.offset);
    }

    /// Reads the partitions that are asked about, each up to the last record in question.
    pub(super) async fn look(&mut self, desk: &Desk) -> Result<(), ReadError> {
        for (partition, asked) in &mut self.0 {
            let topic = &partition.topic;
            if !partition_exists(desk, topic, partition.partition).await? {
                continue;
            }
            let from = vec![(partition.clone(), 0)];
            let until = asked.last.saturating_add(1);
            let mut scan = Scan::of(desk, topic, from, Some(until)).await?;
            while let Some((_, record)) = scan.next().await? {
                let hash = value_hash(record.value.as_deref());
                if let Some(first @ None) = asked.first.get_mut(&short(&hash)) {
                    *first = Some(record.offset);
                }
            }
        }
        Ok(())
    }

    /// Where the same value stood before.
    pub(super) fn earlier(&self, topic: &str, at: Position, hash: &[u8; 32]) -> Option<Position> {
        let partition = TopicPartition::new(topic, at.partition);
        let first = *self.0.get(&partition)?.first.get(&short(hash))?;
        let offset = first.filter(|first| *first < at.offset)?;
        Some(Position { offset, ..at })
    }
}

fn short(hash: &[u8; 32]) -> Short {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *hash;
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}
