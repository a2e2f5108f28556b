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
pub(crate) struct Medium(pub(crate) Box<dyn StorageBackend>);

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, redb::BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), redb::BackendError> {
        self.0.unlock_range(start, end)
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
        #[cfg(feature = "simulation")]
        if let Some(process) = cybermesh_transport::host::Process::current() {
            let unsynced = super::unsynced::Unsynced::new(backend, path, process);
            return Ok(Medium(Box::new(unsynced)));
        }
        Ok(Medium(Box::new(backend)))
    }

    fn set_aside(&mut self, unix_ms: u64) -> io::Result<String> {
        let name = format!("{SET_ASIDE}{unix_ms}");
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
