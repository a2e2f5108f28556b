//! What was done about dead letters: a line for each step, on disk before the next one is taken.
//!
//! Nothing in a Kafka topic can be marked or deleted singly, so what was redriven or discarded is written
//! down beside it, in the state folder's `dead-letter-journal.ndjson`. [`Ledger`] knows what the lines come
//! to; [`Journal`] keeps them. A redrive is written down whole before it is sent: whether it arrived can
//! then be looked up after a crash, and if it did not, the same bytes go again, which count once.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::entry::Position;
use crate::state::{Line, StateDir, StateError};

/// The file in the state folder.
pub const JOURNAL_FILE: &str = "dead-letter-journal.ndjson";
/// What the file may take; beyond it nothing more is redriven.
const MOST_BYTES: u64 = 1 << 30;

/// A record, and the group it is put back for: `group/topic/partition/offset`, as the key of its dead letter, and the
/// topic's id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    text: String,
    topic_id: String,
}

impl Key {
    /// The record at this place of `topic`, for this group; of a topic without an id.
    #[must_use]
    pub fn new(group: &str, topic: &str, at: Position) -> Self {
        Self {
            text: format!("{group}/{topic}/{}/{}", at.partition, at.offset),
            topic_id: String::new(),
        }
    }

    /// The same of the topic with this id, in hex: one that was made again has other records at its offsets, and so
    /// has another cluster. Empty where the cluster tells none.
    #[must_use]
    pub fn of_topic(self, topic_id: &str) -> Self {
        Self {
            topic_id: topic_id.to_owned(),
            ..self
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The id of the topic, in hex; empty where the cluster told none, or an old line of the journal does not.
    #[must_use]
    pub fn topic_id(&self) -> &str {
        &self.topic_id
    }
}

/// A redrive that was signed, and may have been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRedrive {
    /// What is put back, and for whom.
    pub key: Key,
    /// How often it was redriven, this time included.
    pub count: u8,
    /// The dead letter it is for.
    pub letter: Position,
    /// The topic it goes to.
    pub topic: String,
    /// Where the original was first.
    pub origin: Position,
    /// Where the partition ended before it was sent: it is not in the log before that.
    pub log_end: i64,
    /// Until when it may be sent, Unix milliseconds.
    pub expires_ms: i64,
    /// The value of its `cm-redrive`, nonce and all.
    pub header: Vec<u8>,
    /// When it was signed, Unix milliseconds.
    pub at_ms: i64,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A redrive was signed; it is sent only after this is on disk.
    Signed(SignedRedrive),
    /// It is in the log, at this offset where that is known.
    Acknowledged {
        /// Of which.
        key: Key,
        /// Its count.
        count: u8,
        /// Its offset.
        offset: Option<i64>,
    },
    /// It is certainly not in the log, and will not come.
    NotWritten {
        /// Of which.
        key: Key,
        /// Its count.
        count: u8,
    },
    /// A record of the dead-letter topic is dealt with.
    Discarded {
        /// The topic's id in hex: one that was made again has others at its offsets.
        topic_id: String,
        /// Which record.
        at: Position,
    },
}

/// What was done about a record, for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It was put back, and Kafka has it.
    Redriven {
        /// Which time.
        count: u8,
        /// Where, if that is known.
        offset: Option<i64>,
    },
    /// It was put back, and nobody knows yet whether Kafka has it.
    Unknown(SignedRedrive),
}

/// What all lines come to.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    redriven: HashMap<Key, (u8, Option<i64>)>,
    /// In the order they were signed, which is that of their nonces.
    unknown: Vec<SignedRedrive>,
    discarded: HashSet<(String, Position)>,
}

impl Ledger {
    /// Takes note of one step.
    pub fn note(&mut self, step: Step) {
        match step {
            Step::Signed(signed) => self.unknown.push(signed),
            Step::Acknowledged { key, count, offset } => {
                self.settle(&key, count);
                let last = self.redriven.entry(key).or_insert((count, offset));
                if count >= last.0 {
                    *last = (count, offset);
                }
            }
            Step::NotWritten { key, count } => self.settle(&key, count),
            Step::Discarded { topic_id, at } => {
                self.discarded.insert((topic_id, at));
            }
        }
    }

    fn settle(&mut self, key: &Key, count: u8) {
        self.unknown
            .retain(|signed| (&signed.key, signed.count) != (key, count));
    }

    /// What was done about this record for this group, last.
    #[must_use]
    pub fn done(&self, key: &Key) -> Option<Done> {
        if let Some(signed) = self.unknown.iter().find(|signed| signed.key == *key) {
            return Some(Done::Unknown(signed.clone()));
        }
        let (count, offset) = *self.redriven.get(key)?;
        Some(Done::Redriven { count, offset })
    }

    /// The redrives of which nobody knows whether they are in the log, in the order they were signed.
    #[must_use]
    pub fn unknown(&self) -> &[SignedRedrive] {
        &self.unknown
    }

    /// Whether this record of the dead-letter topic is dealt with.
    #[must_use]
    pub fn is_discarded(&self, topic_id: &str, at: Position) -> bool {
        self.discarded.contains(&(topic_id.to_owned(), at))
    }

    fn of(content: &[u8]) -> Self {
        let mut ledger = Self::default();
        let text = String::from_utf8_lossy(content);
        // A line that a crash cut short was not on disk yet: what it tells had not been done.
        for step in text.lines().filter_map(Step::parse) {
            ledger.note(step);
        }
        ledger
    }
}

/// The lines on disk, and what they come to.
#[derive(Debug)]
pub struct Journal {
    state: Arc<StateDir>,
    ledger: Ledger,
}

impl Journal {
    /// Reads the journal of a state folder that is held.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(state: Arc<StateDir>) -> Result<Self, StateError> {
        let most = usize::try_from(MOST_BYTES).unwrap_or(usize::MAX);
        let content = state.read(JOURNAL_FILE, most)?.unwrap_or_default();
        Ok(Self {
            ledger: Ledger::of(&content),
            state,
        })
    }

    /// What the journal in this folder comes to, for who only looks: the folder need not be held, nor be there.
    ///
    /// # Errors
    /// What is wrong with the file, in words.
    pub fn glance(folder: &Path) -> Result<Ledger, String> {
        let path = folder.join(JOURNAL_FILE);
        let read = File::open(&path).and_then(|file| {
            let mut content = Vec::new();
            // It may grow meanwhile.
            file.take(MOST_BYTES).read_to_end(&mut content)?;
            Ok(content)
        });
        let content = match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(format!("{}: {error}", path.display())),
            Ok(content) => content,
        };
        Ok(Ledger::of(&content))
    }

    /// What was done so far.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Writes a step down; it is on disk when this returns.
    ///
    /// # Errors
    /// It is not on disk, and is not taken note of.
    pub async fn write(&mut self, step: Step) -> Result<(), StateError> {
        let (state, line) = (Arc::clone(&self.state), Line::of(&step.to_json()));
        let written = cybermesh_transport::host::spawn_blocking(move || {
            state.append(JOURNAL_FILE, &line, MOST_BYTES)
        });
        match written.await {
            Ok(written) => written?,
            Err(_cancelled) => {
                return Err(StateError::Io {
                    path: self.state.path().join(JOURNAL_FILE),
                    doing: "write",
                    source: io::Error::other("the runtime is shutting down"),
                });
            }
        }
        self.ledger.note(step);
        Ok(())
    }
}

/// Reads these bytes as a journal; each step is the same when it is written and read again.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(bytes: &[u8]) {
    for line in String::from_utf8_lossy(bytes).lines() {
        if let Some(step) = Step::parse(line) {
            assert_eq!(Step::parse(&step.to_json().to_string()), Some(step));
        }
    }
    drop(Ledger::of(bytes));
}

impl Step {
    fn to_json(&self) -> Value {
        match self {
            Self::Signed(signed) => json!({
                "did": "signed", "at_ms": signed.at_ms, "key": signed.key.as_str(), "count": signed.count,
                "dead_letter": signed.letter.to_string(), "topic": signed.topic,
                "origin": signed.origin.to_string(), "log_end": signed.log_end,
                "expires_ms": signed.expires_ms, "header": hex::encode(&signed.header),
                "topic_id": signed.key.topic_id(),
            }),
            Self::Acknowledged { key, count, offset } => json!({
                "did": "acknowledged", "key": key.as_str(), "count": count, "offset": offset,
                "topic_id": key.topic_id(),
            }),
            Self::NotWritten { key, count } => json!({
                "did": "not-written", "key": key.as_str(), "count": count, "topic_id": key.topic_id(),
            }),
            Self::Discarded { topic_id, at } => json!({
                "did": "discarded", "topic_id": topic_id, "dead_letter": at.to_string(),
            }),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let position = |name: &str| value[name].as_str()?.parse().ok();
        let key = || {
            Some(Key {
                text: text("key")?,
                // Lines of before it was written down.
                topic_id: text("topic_id").unwrap_or_default(),
            })
        };
        let count = || u8::try_from(value["count"].as_u64()?).ok();
        Some(match value["did"].as_str()? {
            "signed" => Self::Signed(SignedRedrive {
                key: key()?,
                count: count()?,
                letter: position("dead_letter")?,
                topic: text("topic")?,
                origin: position("origin")?,
                log_end: value["log_end"].as_i64()?,
                expires_ms: value["expires_ms"].as_i64()?,
                header: hex::decode(value["header"].as_str()?).ok()?,
                at_ms: value["at_ms"].as_i64()?,
            }),
            "acknowledged" => Self::Acknowledged {
                key: key()?,
                count: count()?,
                offset: value["offset"].as_i64(),
            },
            "not-written" => Self::NotWritten {
                key: key()?,
                count: count()?,
            },
            "discarded" => Self::Discarded {
                topic_id: text("topic_id")?,
                at: position("dead_letter")?,
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Position {
        Position {
            partition: 0,
            offset,
        }
    }

    fn key(offset: i64) -> Key {
        Key::new("backend", "ai.anomalies.v1", at(offset))
    }

    fn signed(offset: i64, count: u8) -> SignedRedrive {
        SignedRedrive {
            key: key(offset),
            count,
            letter: at(3),
            topic: "ai.anomalies.v1".to_owned(),
            origin: at(offset),
            log_end: 90,
            expires_ms: 1_760_003_600_000,
            header: vec![1, 0xff],
            at_ms: 1_760_000_000_000,
        }
    }

    fn acknowledged(offset: i64, count: u8) -> Step {
        Step::Acknowledged {
            key: key(offset),
            count,
            offset: Some(99),
        }
    }

    async fn journal(folder: &tempfile::TempDir) -> Journal {
        Journal::open(Arc::new(StateDir::open(folder.path()).unwrap())).unwrap()
    }

    #[tokio::test]
    async fn what_was_written_is_known_after_a_restart_and_without_holding_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = journal(&folder).await;
        journal.write(Step::Signed(signed(1, 1))).await.unwrap();
        journal.write(acknowledged(1, 1)).await.unwrap();
        journal.write(Step::Signed(signed(2, 3))).await.unwrap();
        let topic_id = "ab".to_owned();
        let discarded = Step::Discarded {
            topic_id,
            at: at(7),
        };
        journal.write(discarded).await.unwrap();
        let glanced = Journal::glance(folder.path()).unwrap();
        drop(journal);
        let opened = self::journal(&folder).await;
        for ledger in [&glanced, opened.ledger()] {
            let redriven = Done::Redriven {
                count: 1,
                offset: Some(99),
            };
            assert_eq!(ledger.done(&key(1)), Some(redriven));
            assert_eq!(ledger.done(&key(2)), Some(Done::Unknown(signed(2, 3))));
            assert_eq!(ledger.done(&key(3)), None);
            assert_eq!(ledger.unknown(), [signed(2, 3)]);
            assert!(ledger.is_discarded("ab", at(7)));
            assert!(!ledger.is_discarded("ab", at(8)));
            assert!(!ledger.is_discarded("cd", at(7)), "a topic made again");
        }
    }

    #[tokio::test]
    async fn what_was_done_is_told_of_the_topic_with_the_same_id_alone() {
        let folder = tempfile::tempdir().unwrap();
        let old =
            r#"{"did":"acknowledged","key":"backend/ai.anomalies.v1/0/5","count":1,"offset":9}"#;
        std::fs::write(folder.path().join(JOURNAL_FILE), format!("{old}\n")).unwrap();
        let mut journal = journal(&folder).await;
        let of = |offset: i64, id: &str| key(offset).of_topic(id);
        for step in [
            Step::Signed(SignedRedrive {
                key: of(1, "ab"),
                ..signed(1, 1)
            }),
            Step::Acknowledged {
                key: of(1, "ab"),
                count: 1,
                offset: None,
            },
            Step::Signed(SignedRedrive {
                key: of(2, "ab"),
                ..signed(2, 1)
            }),
            Step::Signed(SignedRedrive {
                key: of(3, "ab"),
                ..signed(3, 1)
            }),
            // Of the other topic: the first is none of its business.
            Step::NotWritten {
                key: of(2, "cd"),
                count: 1,
            },
            Step::NotWritten {
                key: of(3, "ab"),
                count: 1,
            },
        ] {
            journal.write(step).await.unwrap();
        }
        let glanced = Journal::glance(folder.path()).unwrap();
        for ledger in [&glanced, journal.ledger()] {
            let is_done = |offset, id| ledger.done(&of(offset, id)).is_some();
            assert!(is_done(1, "ab") && is_done(2, "ab") && !is_done(3, "ab"));
            assert!(!is_done(1, "cd") && !is_done(1, "") && !is_done(2, "cd"));
            assert!(is_done(5, "") && !is_done(5, "ab"), "an old line");
        }
    }

    #[test]
    fn what_was_certainly_not_written_may_be_signed_anew() {
        let mut ledger = Ledger::default();
        ledger.note(Step::Signed(signed(1, 1)));
        let (key, count) = (key(1), 1);
        ledger.note(Step::NotWritten { key, count });
        assert_eq!(ledger.done(&self::key(1)), None);
        assert!(ledger.unknown().is_empty());
    }

    #[test]
    fn the_last_of_several_redrives_of_a_record_counts() {
        let mut ledger = Ledger::default();
        for count in [1, 2] {
            ledger.note(Step::Signed(signed(1, count)));
            ledger.note(acknowledged(1, count));
        }
        assert!(matches!(
            ledger.done(&key(1)),
            Some(Done::Redriven { count: 2, .. })
        ));
        ledger.note(Step::Signed(signed(1, 3)));
        assert_eq!(ledger.done(&key(1)), Some(Done::Unknown(signed(1, 3))));
    }

    #[tokio::test]
    async fn a_line_that_a_crash_cut_short_tells_nothing_and_spoils_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = journal(&folder).await;
        first.write(Step::Signed(signed(1, 1))).await.unwrap();
        drop(first);
        let path = folder.path().join(JOURNAL_FILE);
        let whole = std::fs::read_to_string(&path).unwrap();
        let cut = format!("{whole}{}", &whole[..whole.len() / 2]);
        std::fs::write(&path, cut).unwrap();
        let mut second = journal(&folder).await;
        assert_eq!(second.ledger().unknown(), [signed(1, 1)]);
        second.write(acknowledged(1, 1)).await.unwrap();
        drop(second);
        assert!(journal(&folder).await.ledger().unknown().is_empty());
    }
}
