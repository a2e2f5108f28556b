//! What consumers did, and whether it keeps the promise of at least once.
//!
//! A history is a sequence of [`Event`]s in the order they happened. Consumers append theirs to a
//! file, whole lines at a time, so that one that is killed has said all it did; what the test sees
//! (commits, the log's end) goes into the same file after it was seen. [`judge`] then says what
//! breaks the promise:
//!
//! - an offset below a commit whose record nobody had finished when the commit was seen,
//! - a record of the log that nobody ever finished,
//! - something finished that the log does not hold.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A consumer is there.
    Started {
        /// Which.
        consumer: String,
    },
    /// A handler was given a record.
    Handling {
        /// Whose handler.
        consumer: String,
        /// The record's partition.
        partition: i32,
        /// The record's offset.
        offset: i64,
    },
    /// A handler has done what it does, and is about to say so.
    Handled {
        /// Whose handler.
        consumer: String,
        /// The record's partition.
        partition: i32,
        /// The record's offset.
        offset: i64,
    },
    /// The group's committed offset was seen: all below it is done.
    Committed {
        /// The partition.
        partition: i32,
        /// The offset of the next record to be read.
        offset: i64,
    },
    /// A consumer has ended in order.
    Stopped {
        /// Which.
        consumer: String,
    },
}

/// What the log held when all was over: each partition's records, by offset.
pub type Log = BTreeSet<(i32, i64)>;

/// A breach of the promise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Breach {
    /// Committed over, and not finished by then.
    CommittedUnhandled {
        /// The record's partition.
        partition: i32,
        /// The record's offset.
        offset: i64,
        /// The commit that covers it.
        committed: i64,
    },
    /// In the log, and never finished.
    Lost {
        /// The record's partition.
        partition: i32,
        /// The record's offset.
        offset: i64,
    },
    /// Finished, and not in the log.
    Invented {
        /// The record's partition.
        partition: i32,
        /// The record's offset.
        offset: i64,
    },
}

/// Everything in `events` that breaks the promise for `log`; nothing where it was kept.
pub fn judge(events: &[Event], log: &Log) -> BTreeSet<Breach> {
    let mut handled = Log::new();
    let mut breaches = BTreeSet::new();
    for event in events {
        match *event {
            Event::Handled {
                partition, offset, ..
            } => {
                handled.insert((partition, offset));
            }
            Event::Committed {
                partition,
                offset: committed,
            } => {
                let covered = log.range((partition, i64::MIN)..(partition, committed));
                breaches.extend(covered.filter(|record| !handled.contains(record)).map(
                    |&(partition, offset)| Breach::CommittedUnhandled {
                        partition,
                        offset,
                        committed,
                    },
                ));
            }
            Event::Started { .. } | Event::Handling { .. } | Event::Stopped { .. } => {}
        }
    }
    breaches.extend(
        log.difference(&handled)
            .map(|&(partition, offset)| Breach::Lost { partition, offset }),
    );
    breaches.extend(
        handled
            .difference(log)
            .map(|&(partition, offset)| Breach::Invented { partition, offset }),
    );
    breaches
}

/// The end of a history's file to write at.
#[derive(Debug)]
pub struct Scribe {
    file: File,
}

impl Scribe {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: OpenOptions::new().append(true).create(true).open(path)?,
        })
    }

    /// Appends one event. It is in the file when this returns, even if the process is killed then.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        // One write of one line in append mode: lines of several processes do not mix.
        let written = self.file.write(&line)?;
        if written == line.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }
}

/// Reads a history. A last line without its end is being written, or was when its process was killed: it is not in
/// the history yet.
///
/// # Errors
/// What the system says, or that a line is no event.
pub fn read(path: &Path) -> io::Result<Vec<Event>> {
    let text = std::fs::read_to_string(path)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).map_err(io::Error::from))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_being_written_is_not_read_yet() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let event = serde_json::to_string(&handled("a", 1)).unwrap();
        std::fs::write(file.path(), format!("{event}\n{}", &event[..9])).unwrap();
        assert_eq!(read(file.path()).unwrap(), [handled("a", 1)]);
        std::fs::write(file.path(), &event[..9]).unwrap();
        assert_eq!(read(file.path()).unwrap(), []);
    }

    fn handled(consumer: &str, offset: i64) -> Event {
        Event::Handled {
            consumer: consumer.to_owned(),
            partition: 0,
            offset,
        }
    }

    fn committed(offset: i64) -> Event {
        Event::Committed {
            partition: 0,
            offset,
        }
    }

    fn log(end: i64) -> Log {
        (0..end).map(|offset| (0, offset)).collect()
    }

    #[test]
    fn all_handled_before_it_is_committed_is_no_breach() {
        let history = [
            handled("a", 0),
            handled("a", 1),
            committed(2),
            handled("a", 2),
            committed(3),
        ];
        assert!(judge(&history, &log(3)).is_empty());
    }

    #[test]
    fn a_record_handled_again_after_a_kill_is_no_breach() {
        let history = [
            handled("a", 0),
            handled("a", 1),
            committed(1),
            handled("b", 1),
            handled("b", 2),
            committed(3),
        ];
        assert!(judge(&history, &log(3)).is_empty());
    }

    #[test]
    fn a_commit_before_the_handler_is_a_breach() {
        let history = [handled("a", 0), committed(2), handled("a", 1)];
        let expected = Breach::CommittedUnhandled {
            partition: 0,
            offset: 1,
            committed: 2,
        };
        assert_eq!(judge(&history, &log(2)), BTreeSet::from([expected]));
    }

    #[test]
    fn a_record_that_was_committed_over_and_never_handled_is_lost_besides() {
        let history = [committed(1), handled("b", 1), committed(2)];
        let breaches = judge(&history, &log(2));
        assert!(breaches.contains(&Breach::Lost {
            partition: 0,
            offset: 0
        }));
        assert!(breaches.contains(&Breach::CommittedUnhandled {
            partition: 0,
            offset: 0,
            committed: 1
        }));
    }

    #[test]
    fn a_record_that_was_only_begun_is_lost() {
        let begun = Event::Handling {
            consumer: "a".to_owned(),
            partition: 0,
            offset: 0,
        };
        assert_eq!(
            judge(&[begun], &log(1)),
            BTreeSet::from([Breach::Lost {
                partition: 0,
                offset: 0
            }])
        );
    }

    #[test]
    fn a_commit_of_one_partition_says_nothing_of_another() {
        let log = Log::from([(0, 0), (1, 0)]);
        let other = Event::Handled {
            consumer: "a".to_owned(),
            partition: 1,
            offset: 0,
        };
        assert!(judge(&[handled("a", 0), committed(1), other], &log).is_empty());
    }

    #[test]
    fn offsets_that_the_log_does_not_hold_need_no_handler() {
        let log = Log::from([(0, 0), (0, 5)]);
        assert!(judge(&[handled("a", 0), handled("a", 5), committed(9)], &log).is_empty());
    }

    #[test]
    fn something_handled_that_is_not_in_the_log_is_a_breach() {
        assert_eq!(
            judge(&[handled("a", 7)], &log(0)),
            BTreeSet::from([Breach::Invented {
                partition: 0,
                offset: 7
            }])
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        let events = [
            Event::Started {
                consumer: "a".to_owned(),
            },
            handled("a", 3),
            committed(4),
        ];
        let mut scribe = Scribe::open(&path).unwrap();
        events.iter().for_each(|event| scribe.write(event).unwrap());
        assert_eq!(read(&path).unwrap(), events);
    }
}
