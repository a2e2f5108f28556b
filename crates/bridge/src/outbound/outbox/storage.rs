//! Where the outbox's file is: made, opened, set aside.

use std::{
    fmt, fs, io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{StorageBackend, backends::FileBackend};

use crate::state::{StateDir, private};

/// The outbox's file in the state folder.
pub(super) const FILE: &str = "outbox.redb";
/// What a file is called that could not be read; the time follows, Unix milliseconds.
const SET_ASIDE: &str = "outbox.redb.corrupt-";

/// Gives the bytes under the outbox, again after each failure.
pub(crate) trait Storage: fmt::Debug + Send + Sync {
    /// The file, empty where there was none.
    fn open(&mut self) -> io::Result<Medium>;
    /// Moves a file out of the way that cannot be read; says where to.
    fn set_aside(&mut self, unix_ms: u64) -> io::Result<String>;
    /// The files that were set aside and are still there.
    fn set_asides(&self) -> Vec<String>;
}

/// What a database stands on.
#[derive(Debug)]
pub(crate) struct Medium {
    bytes: Box<dyn StorageBackend>,
    /// Let go of after the bytes: whoever gets the folder's lock next opens the same file.
    _folder: Option<Arc<StateDir>>,
}

impl Medium {
    /// Bytes that no folder's lock keeps others out of.
    #[cfg(test)]
    pub(crate) fn of(bytes: impl StorageBackend) -> Self {
        Self {
            bytes: Box::new(bytes),
            _folder: None,
        }
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.bytes.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.bytes.close()
    }

    fn try_lock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, redb::BackendError> {
        self.bytes.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), redb::BackendError> {
        self.bytes.unlock_range(start, end)
    }
}

/// The file in a state folder, whose lock keeps other processes out.
#[derive(Debug)]
pub(crate) struct InStateDir(pub(crate) Arc<StateDir>);

impl InStateDir {
    fn path(&self) -> PathBuf {
        self.0.path().join(FILE)
    }
}

impl Storage for InStateDir {
    fn open(&mut self) -> io::Result<Medium> {
        let path = self.path();
        let is_new = !path.exists();
        let file = private()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        if is_new {
            // What is told as kept must be found again: the folder has to know the file.
            sync_folder(self.0.path())?;
        }
        let backend = FileBackend::new(file).map_err(io::Error::other)?;
        let bytes: Box<dyn StorageBackend> = Box::new(backend);
        #[cfg(feature = "simulation")]
        let bytes = super::unsynced::of_process(bytes, path);
        Ok(Medium {
            bytes,
            _folder: Some(Arc::clone(&self.0)),
        })
    }

    fn set_aside(&mut self, unix_ms: u64) -> io::Result<String> {
        // Of the same millisecond, or by a clock that stands, there may be one already.
        let name = (unix_ms..=u64::MAX)
            .map(|number| format!("{SET_ASIDE}{number}"))
            .find(|name| !self.0.path().join(name).exists())
            .ok_or_else(|| io::Error::other("there is no name left"))?;
        fs::rename(self.path(), self.0.path().join(&name))?;
        sync_folder(self.0.path())?;
        Ok(name)
    }

    fn set_asides(&self) -> Vec<String> {
        let Ok(folder) = fs::read_dir(self.0.path()) else {
            return Vec::new();
        };
        let mut names: Vec<String> = folder
            .filter_map(|file| file.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(SET_ASIDE))
            .collect();
        names.sort_unstable();
        names
    }
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_set_aside_replaces_none_of_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDir::open(folder.path()).unwrap());
        let mut storage = InStateDir(state);
        for content in ["first", "second"] {
            fs::write(storage.path(), content).unwrap();
            storage.set_aside(0).unwrap();
        }
        let content = |name: &String| fs::read_to_string(folder.path().join(name)).unwrap();
        let aside: Vec<String> = storage.set_asides().iter().map(content).collect();
        assert_eq!(aside, ["first", "second"]);
    }
}
