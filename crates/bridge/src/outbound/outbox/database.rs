//! The outbox's tables, one transaction at a time.
//!
//! What cannot be read is not thrown away: a file goes aside as a whole, an entry into a table of its own.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

use redb::{
    Database as Redb, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend,
    StorageError, TableDefinition,
};

use super::{
    entry::Entry,
    storage::{Medium, Storage},
};

/// By place.
const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
/// Entries that could not be read, by place.
const UNREADABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("unreadable");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
/// The place after the highest that ever was on disk.
const NEXT_PLACE: &str = "next-place";
/// What the database may keep of its file in memory, in bytes.
const CACHE_BYTES: usize = 8 << 20;
/// From when on an empty file is made small again, in bytes.
const WORTH_SHRINKING: u64 = 16 << 20;

/// Something to be done to the entries.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Put {
        place: u64,
        bytes: Vec<u8>,
    },
    /// In the place of another.
    Replace {
        place: u64,
        bytes: Vec<u8>,
    },
    Remove {
        place: u64,
    },
}

impl Change {
    /// What it adds to a transaction.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Put { bytes, .. } | Self::Replace { bytes, .. } => bytes.len(),
            Self::Remove { .. } => size_of::<u64>(),
        }
    }
}

/// Why the disk did not do as it was told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskFault {
    /// No room is left (`ENOSPC`, or a quota).
    #[error("the disk is full: {0}")]
    Full(String),
    /// The file system can only be read (`EROFS`).
    #[error("the file system is read-only: {0}")]
    ReadOnly(String),
    /// Anything else that the system says of reading or writing.
    #[error("{0}")]
    Io(String),
    /// The file's content cannot be right.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// The writer has ended.
    #[error("the outbox is closed")]
    Closed,
}

impl DiskFault {
    fn of_io(error: &io::Error) -> Self {
        let text = error.to_string();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(text),
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(text),
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged(text),
            _ => Self::Io(text),
        }
    }
}

impl From<redb::Error> for DiskFault {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => Self::of_io(&error),
            error @ (redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }) => Self::Damaged(error.to_string()),
            error => Self::Io(error.to_string()),
        }
    }
}

/// What was found on disk.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) entries: Vec<(u64, Entry, usize)>,
    /// Places of entries that could not be read.
    pub(crate) unreadable: Vec<u64>,
    pub(crate) next_place: u64,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Database {
    redb: Redb,
    /// What was put since it was made small last, in bytes.
    grown_by: u64,
}

/// How much of a file is checked when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// Each page of it.
    All,
    /// What a crash may have left undone.
    AfterCrash,
}

impl Database {
    /// Opens, repairs after a crash, and reads everything.
    pub(super) fn open(storage: &mut dyn Storage) -> Result<(Self, Found), DiskFault> {
        let medium = storage.open().map_err(|error| DiskFault::of_io(&error))?;
        guarded(|| {
            let database = Self::over(medium, Check::All)?;
            let found = database.read_all()?;
            Ok((database, found))
        })
    }

    /// Opens again what was read before.
    pub(super) fn reopen(storage: &mut dyn Storage) -> Result<Self, DiskFault> {
        let medium = storage.open().map_err(|error| DiskFault::of_io(&error))?;
        guarded(|| Self::over(medium, Check::AfterCrash))
    }

    fn over(medium: Medium, check: Check) -> Result<Self, DiskFault> {
        let grown_by = medium.len().map_err(|error| DiskFault::of_io(&error))?;
        let redb = Redb::builder()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(check == Check::All)
            .create_with_backend(medium)
            .map_err(redb::Error::from)?;
        Ok(Self { redb, grown_by })
    }

    fn read_all(&self) -> Result<Found, DiskFault> {
        let mut found = Found {
            next_place: 1,
            ..Found::default()
        };
        let mut unreadable = Vec::new();
        let reading = self.redb.begin_read().map_err(redb::Error::from)?;
        match reading.open_table(ENTRIES) {
            Ok(table) => {
                for row in table.iter().map_err(storage)? {
                    let (place, bytes) = row.map_err(storage)?;
                    let (place, bytes) = (place.value(), bytes.value());
                    found.next_place = found.next_place.max(place.saturating_add(1));
                    match Entry::decode(place, bytes) {
                        Ok(entry) => found
                            .entries
                            .push((place, without_body(entry), bytes.len())),
                        Err(error) => {
                            tracing::error!(place, %error, "an entry of the outbox cannot be read, and is set aside in its file");
                            unreadable.push((place, bytes.to_vec()));
                        }
                    }
                }
                let numbers = reading.open_table(NUMBERS).map_err(redb::Error::from)?;
                let next = numbers.get(NEXT_PLACE).map_err(storage)?;
                found.next_place = found.next_place.max(next.map_or(1, |next| next.value()));
            }
            Err(redb::TableError::TableDoesNotExist(_)) => {}
            Err(error) => return Err(redb::Error::from(error).into()),
        }
        drop(reading);
        found.unreadable = unreadable.iter().map(|(place, _)| *place).collect();
        if !unreadable.is_empty() {
            self.keep_unreadable(unreadable)?;
        }
        Ok(found)
    }

    fn keep_unreadable(&self, unreadable: Vec<(u64, Vec<u8>)>) -> Result<(), DiskFault> {
        let writing = self.redb.begin_write().map_err(redb::Error::from)?;
        {
            let mut aside = writing.open_table(UNREADABLE).map_err(redb::Error::from)?;
            let mut entries = writing.open_table(ENTRIES).map_err(redb::Error::from)?;
            for (place, bytes) in unreadable {
                aside.insert(place, bytes.as_slice()).map_err(storage)?;
                entries.remove(place).map_err(storage)?;
            }
        }
        writing.commit().map_err(redb::Error::from)?;
        Ok(())
    }

    /// Does all of it or nothing; it is on disk when this returns.
    pub(super) fn apply<'a>(
        &mut self,
        changes: impl Iterator<Item = &'a Change>,
    ) -> Result<(), DiskFault> {
        guarded(|| {
            let writing = self.redb.begin_write().map_err(redb::Error::from)?;
            let is_empty = {
                let mut entries = writing.open_table(ENTRIES).map_err(redb::Error::from)?;
                let mut numbers = writing.open_table(NUMBERS).map_err(redb::Error::from)?;
                let before = numbers.get(NEXT_PLACE).map_err(storage)?;
                let before = before.map_or(1, |next| next.value());
                let mut next = before;
                for change in changes {
                    match change {
                        Change::Put { place, bytes } | Change::Replace { place, bytes } => {
                            next = next.max(place.saturating_add(1));
                            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                            self.grown_by = self.grown_by.saturating_add(length);
                            entries.insert(place, bytes.as_slice()).map_err(storage)?;
                        }
                        Change::Remove { place } => {
                            entries.remove(place).map_err(storage)?;
                        }
                    }
                }
                if next > before {
                    numbers.insert(NEXT_PLACE, next).map_err(storage)?;
                }
                entries.is_empty().map_err(storage)?
            };
            writing.commit().map_err(redb::Error::from)?;
            if is_empty {
                self.shrink()?;
            }
            Ok(())
        })
    }

    /// Gives back what a long outage took.
    fn shrink(&mut self) -> Result<(), DiskFault> {
        if self.grown_by < WORTH_SHRINKING {
            return Ok(());
        }
        self.grown_by = 0;
        let compacted = self.redb.compact();
        compacted
            .map_err(|error| redb::Error::from(error).into())
            .map(drop)
    }

    /// The entries at these places; `None` where there is none, or none that can be read.
    pub(super) fn read(&self, places: &[u64]) -> Result<Vec<Option<Entry>>, DiskFault> {
        guarded(|| {
            let reading = self.redb.begin_read().map_err(redb::Error::from)?;
            let table = match reading.open_table(ENTRIES) {
                Ok(table) => table,
                Err(redb::TableError::TableDoesNotExist(_)) => {
                    return Ok(vec![None; places.len()]);
                }
                Err(error) => return Err(redb::Error::from(error).into()),
            };
            places
                .iter()
                .map(|place| {
                    let bytes = table.get(place).map_err(storage)?;
                    Ok(bytes.and_then(|bytes| Entry::decode(*place, bytes.value()).ok()))
                })
                .collect()
        })
    }
}

fn storage(error: StorageError) -> DiskFault {
    redb::Error::from(error).into()
}

/// A file of any content must not take the process down with it.
fn guarded<T>(work: impl FnOnce() -> Result<T, DiskFault>) -> Result<T, DiskFault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(DiskFault::Damaged(
            "what it says of itself cannot be".to_owned(),
        ))
    })
}

/// What is kept of an entry in memory needs no payload.
fn without_body(mut entry: Entry) -> Entry {
    entry.headers = Vec::new();
    entry.body = match entry.body {
        super::entry::Body::Draft(_) => super::entry::Body::Draft(Vec::new()),
        super::entry::Body::Signed {
            signing,
            timestamp_ms,
            ..
        } => super::entry::Body::Signed {
            signing,
            timestamp_ms,
            headers: Vec::new(),
            value: Vec::new(),
        },
    };
    entry
}
