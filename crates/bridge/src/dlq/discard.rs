//! Dead letters that are dealt with without being put back: hidden, or deleted with all before them.
//!
//! Kafka deletes the oldest records of a partition, never single ones. So a discarded dead letter is written
//! down as such; and what is older than a point can be deleted for good, for everybody.

use std::collections::BTreeMap;

use cybermesh_contracts::kind::Kind;
use cybermesh_transport::admin::DeleteUpTo;
use cybermesh_transport::{Admin, ErrorCode, OffsetSpec, TopicPartition, TransportError};

use super::desk::Desk;
use super::entry::{Entry, Position, Standing};
use super::journal::{Done, Key, Ledger};
use cybermesh_contracts::dead_letter::Content;

/// The ids of topics, in hex: the journal tells of those with the same id alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topics {
    dead_letters: String,
    messages: BTreeMap<String, String>,
}

impl Topics {
    /// Asks for the ids of the dead-letter topic and of those that carry a kind.
    ///
    /// # Errors
    /// There is no dead-letter topic, or the cluster cannot be asked.
    pub async fn of(desk: &Desk) -> Result<Self, TransportError> {
        let mut messages = BTreeMap::new();
        for kind in Kind::ALL {
            let topic = desk.settings().topics.of(kind);
            let id = match desk.id_of(topic).await {
                // Who may not know of a topic put nothing back into it.
                Err(error) if error.error_code() == Some(ErrorCode::TopicAuthorizationFailed) => {
                    String::new()
                }
                id => id?,
            };
            messages.insert(topic.to_owned(), id);
        }
        Ok(Self {
            dead_letters: desk.topic_id().await?,
            messages,
        })
    }

    /// The id of the dead-letter topic.
    #[must_use]
    pub fn dead_letters(&self) -> &str {
        &self.dead_letters
    }

    fn id_of(&self, topic: &str) -> &str {
        self.messages.get(topic).map_or("", String::as_str)
    }
}

/// Whether a record of the dead-letter topic still waits for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does.
    Open,
    /// It was put back.
    Redriven,
    /// It was put back, and nobody knows yet whether Kafka has it.
    Unknown,
    /// An operator has dealt with it.
    Discarded,
}

impl State {
    /// What the journal says of `entry`, by the ids of the dead-letter topic and of its message's.
    #[must_use]
    pub fn of(entry: &Entry, topics: &Topics, ledger: &Ledger) -> Self {
        if ledger.is_discarded(&topics.dead_letters, entry.at) {
            return Self::Discarded;
        }
        let letter = match &entry.read {
            Ok(read) if !matches!(read.standing, Standing::Forged(_)) => &read.letter,
            // What it says of itself is anybody's word.
            _ => return Self::Open,
        };
        let origin = letter.origin();
        let (Some(partition), Some(first), Some(group)) =
            (origin.partition, origin.offset, letter.group())
        else {
            return Self::Open;
        };
        let last = match letter.content() {
            Content::Reference(reference) => reference.last_offset.unwrap_or(first),
            Content::Copy(_) => first,
        };
        let topic_id = topics.id_of(&origin.topic);
        let mut states = (first..=last).map(|offset| {
            let at = Position { partition, offset };
            match ledger.done(&Key::new(group, &origin.topic, at).of_topic(topic_id)) {
                Some(Done::Unknown(_)) => Self::Unknown,
                Some(Done::Redriven { count, .. }) if count > letter.redrive_count() => {
                    Self::Redriven
                }
                Some(Done::Redriven { .. }) | None => Self::Open,
            }
        });
        match states.next() {
            // Ends at the first that is not: a range is as long as whoever wrote it says.
            Some(state) if state != Self::Open && states.all(|other| other == state) => state,
            _ => Self::Open,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Redriven => "redriven",
            Self::Unknown => "unknown",
            Self::Discarded => "discarded",
        }
    }

    /// Whether nobody need look at it any more.
    #[must_use]
    pub const fn is_dealt_with(self) -> bool {
        matches!(self, Self::Redriven | Self::Discarded)
    }
}

/// Up to where dead letters are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// This record of the dead-letter topic, which stays, in its partition alone.
    Record(Position),
    /// In every partition the first record of this time or a later one, Unix milliseconds by the records'
    /// timestamps; all that are there now where none is as late.
    Time(i64),
}

/// Offsets of a partition that are to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Of which partition.
    pub partition: TopicPartition,
    /// The first that is there now.
    pub first: i64,
    /// The first that stays.
    pub before: i64,
}

/// What would be deleted.
///
/// # Errors
/// The cluster could not be asked.
pub async fn deletions(desk: &Desk, before: Before) -> Result<Vec<Deletion>, TransportError> {
    let client = desk.client();
    let partitions: Vec<_> = match before {
        Before::Record(at) => vec![TopicPartition::new(desk.topic(), at.partition)],
        Before::Time(_) => (0..client.partition_count(desk.topic()).await?)
            .map(|partition| TopicPartition::new(desk.topic(), partition))
            .collect(),
    };
    let ask = async |spec: OffsetSpec| {
        let wanted = partitions.iter().map(|partition| (partition.clone(), spec));
        client.list_offsets(desk.isolation(), wanted).await
    };
    let (firsts, ends) = (
        ask(OffsetSpec::Earliest).await?,
        ask(OffsetSpec::Latest).await?,
    );
    let stays = match before {
        Before::Time(ms) => ask(OffsetSpec::AtTime(ms.max(0))).await?,
        Before::Record(_) => ends.clone(),
    };
    let offset = |found: &std::collections::BTreeMap<TopicPartition, _>, partition| {
        let found: Option<&Option<cybermesh_transport::consumer::FoundOffset>> =
            found.get(partition);
        found.copied().flatten().map(|found| found.offset)
    };
    let deletions = partitions.iter().filter_map(|partition| {
        let (first, end) = (offset(&firsts, partition)?, offset(&ends, partition)?);
        let before = match before {
            Before::Record(at) => at.offset.min(end),
            Before::Time(_) => offset(&stays, partition).unwrap_or(end),
        };
        (first < before).then(|| Deletion {
            partition: partition.clone(),
            first,
            before,
        })
    });
    Ok(deletions.collect())
}

/// Deletes them for good; gives back the first offset that is there now.
///
/// # Errors
/// As [`Admin::delete_records`].
pub async fn delete(desk: &Desk, deletion: &Deletion) -> Result<i64, TransportError> {
    let up_to = DeleteUpTo::Offset(deletion.before);
    Admin::new(desk.client().clone())
        .delete_records(&deletion.partition, up_to)
        .await
}
