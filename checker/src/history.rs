//! A history as a file: one event a line.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::Event;

/// An event and when it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since the history began; for people, the order of the entries is what counts.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Events in the order they happened: an event stands behind everything that it was caused by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    entries: Vec<Entry>,
}

/// A history that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line is no event.
    #[error("line {line} is no event: {source}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

impl History {
    /// A history without events.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what happened last.
    pub fn push(&mut self, at_ms: u64, event: Event) {
        self.entries.push(Entry { at_ms, event });
    }

    /// What happened, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Reads lines of JSON; empty ones are passed over.
    ///
    /// # Errors
    /// [`HistoryError`]: what cannot be read, or is no event.
    pub fn from_lines(lines: impl BufRead) -> Result<Self, HistoryError> {
        let mut history = Self::new();
        for (index, line) in lines.lines().enumerate() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let entry = serde_json::from_str(&line).map_err(|source| HistoryError::Line {
                line: index + 1,
                source,
            })?;
            history.entries.push(entry);
        }
        Ok(history)
    }

    /// Writes lines of JSON.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_lines(&self, mut to: impl Write) -> io::Result<()> {
        for entry in &self.entries {
            serde_json::to_writer(&mut to, entry)?;
            to.write_all(b"\n")?;
        }
        to.flush()
    }
}

impl FromIterator<Event> for History {
    /// Events a millisecond apart.
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        let entries = (0..).zip(events);
        let entries = entries.map(|(at_ms, event)| Entry { at_ms, event });
        Self {
            entries: entries.collect(),
        }
    }
}
