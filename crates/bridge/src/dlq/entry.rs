//! One record of the dead-letter topic, read and judged by itself.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use cybermesh_contracts::RecordView;
use cybermesh_contracts::dead_letter::{DeadLetter, DeadLetterFault};
use cybermesh_transport::FetchedRecord;

use super::desk::Desk;

/// A place in a topic's partition, written `PARTITION@OFFSET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The partition, from 0.
    pub partition: i32,
    /// The offset, from 0.
    pub offset: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}@{}", self.partition, self.offset))
    }
}

/// Text that is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no position; give PARTITION@OFFSET, such as 0@17")]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (partition, offset) = text.split_once('@').ok_or(NoPosition)?;
        let partition = partition.parse().map_err(|_| NoPosition)?;
        let offset = offset.parse().map_err(|_| NoPosition)?;
        if partition < 0 || offset < 0 {
            return Err(NoPosition);
        }
        Ok(Self { partition, offset })
    }
}

/// Who wrote a dead letter, as far as that can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// A key of the trust store that may sign dead letters; its name there.
    Signed(Arc<str>),
    /// Anybody who may write to the topic: it carries no signature.
    Unsigned,
    /// Not who it says: it carries a signature that does not count.
    Forged(DeadLetterFault),
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed(id) => f.write_str(id),
            Self::Unsigned => f.write_str("unsigned"),
            Self::Forged(fault) => write!(f, "forged: {fault}"),
        }
    }
}

/// A record of the dead-letter topic.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it is.
    pub at: Position,
    /// Its timestamp, Unix milliseconds.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// What it says, and who wrote it; or why it is no dead letter.
    pub read: Result<Letter, DeadLetterFault>,
    /// The record itself.
    pub record: FetchedRecord,
}

/// A dead letter, and whether it may be believed.
#[derive(Debug, Clone)]
pub struct Letter {
    /// What it says.
    pub letter: DeadLetter,
    /// Who wrote it.
    pub standing: Standing,
}

impl Entry {
    /// Reads a record of the dead-letter topic.
    pub(super) fn of(desk: &Desk, partition: i32, record: FetchedRecord) -> Self {
        let headers = header_views(&record);
        let view = RecordView {
            partition: Some(partition),
            offset: record.offset,
            key: record.key.as_deref(),
            headers: &headers,
            timestamp_ms: record.timestamp_ms,
            ..RecordView::new(desk.topic(), record.value.as_deref())
        };
        let read = DeadLetter::parse(&view).map(|letter| {
            let standing = match letter.verify(desk.trust(), desk.audiences()) {
                Ok(key) => Standing::Signed(Arc::clone(key.shared_id())),
                Err(DeadLetterFault::NotSigned) => Standing::Unsigned,
                Err(fault) => Standing::Forged(fault),
            };
            Letter { letter, standing }
        });
        Self {
            at: Position {
                partition,
                offset: record.offset,
            },
            timestamp_ms: record.timestamp_ms,
            key: record.key.clone(),
            read,
            record,
        }
    }

    /// The dead letter, where it is one.
    #[must_use]
    pub fn letter(&self) -> Option<&DeadLetter> {
        self.read.as_ref().ok().map(|read| &read.letter)
    }
}

/// The headers of a record as the contract sees them.
pub(super) fn header_views(record: &FetchedRecord) -> Vec<(&str, Option<&[u8]>)> {
    record
        .headers
        .iter()
        .map(|header| (header.name.as_str(), header.value.as_deref()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        let position = Position {
            partition: 3,
            offset: 41,
        };
        assert_eq!(position.to_string().parse(), Ok(position));
        for text in [
            "", "3", "@", "3@", "@4", "-1@4", "3@-4", "3@4@5", "a@4", "3@4 ",
        ] {
            assert_eq!(text.parse::<Position>(), Err(NoPosition), "{text}");
        }
    }
}
