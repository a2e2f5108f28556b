//! An outbox that no process has open: for people who look at it.

use std::sync::Arc;

use super::{
    Entry,
    database::{Change, Database, DiskFault, Found},
    storage::{FILE, InStateDir},
};
use crate::state::StateDir;

/// An outbox's file, and the state folder's lock with it.
#[derive(Debug)]
pub struct OutboxFile {
    database: Option<Database>,
    found: Found,
}

/// An entry, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its place.
    pub sequence: u64,
    /// Kind, state, topic, partition and key; no headers and no message.
    pub entry: Entry,
    /// What it takes, in bytes.
    pub bytes: usize,
}

impl OutboxFile {
    /// Opens the outbox in this folder; an empty one where there is none. Blocks.
    ///
    /// # Errors
    /// [`DiskFault`]; a damaged file is left as it is.
    pub fn open(state: Arc<StateDir>) -> Result<Self, DiskFault> {
        if !state.path().join(FILE).exists() {
            let found = Found::default();
            return Ok(Self {
                database: None,
                found,
            });
        }
        let (database, found) = Database::open(&mut InStateDir(state))?;
        Ok(Self {
            database: Some(database),
            found,
        })
    }

    /// What is in it, in order.
    pub fn entries(&self) -> impl Iterator<Item = Listed> + '_ {
        let listed = |(sequence, entry, bytes): &(u64, Entry, usize)| Listed {
            sequence: *sequence,
            entry: entry.clone(),
            bytes: *bytes,
        };
        self.found.entries.iter().map(listed)
    }

    /// How many entries could not be read and were set aside when it was opened.
    #[must_use]
    pub fn unreadable(&self) -> usize {
        self.found.unreadable.len()
    }

    /// One entry whole; `None` where there is none of this sequence.
    ///
    /// # Errors
    /// [`DiskFault`].
    pub fn entry(&self, sequence: u64) -> Result<Option<Entry>, DiskFault> {
        match &self.database {
            None => Ok(None),
            Some(database) => Ok(database.read(&[sequence])?.pop().flatten()),
        }
    }

    /// Takes entries out for good.
    ///
    /// # Errors
    /// [`DiskFault`]: all of them are still there.
    pub fn drop_entries(&mut self, sequences: &[u64]) -> Result<(), DiskFault> {
        let remove = |place: &u64| Change::Remove { place: *place };
        let changes: Vec<Change> = sequences.iter().map(remove).collect();
        if let Some(database) = &mut self.database {
            database.apply(changes.iter())?;
        }
        self.found
            .entries
            .retain(|(place, ..)| !sequences.contains(place));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateError;

    #[test]
    fn a_folder_is_free_only_after_its_outbox_is() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDir::open(folder.path()).unwrap());
        drop(Database::open(&mut InStateDir(Arc::clone(&state))).unwrap());

        let outbox = OutboxFile::open(state).unwrap();
        let other = StateDir::open(folder.path());
        assert!(matches!(other, Err(StateError::InUse { .. })), "{other:?}");

        drop(outbox);
        let other = Arc::new(StateDir::open(folder.path()).unwrap());
        OutboxFile::open(other).unwrap();
    }
}
