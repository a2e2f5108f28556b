//! The state folder: what has to survive a restart, held by one process at a time.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use cybermesh_transport::host::{self, FileStep};

const LOCK: &str = "lock";

/// The folder, locked for as long as this value lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process holds it.
    #[error("state folder {path:?} is in use by another process")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file there has grown as large as it may.
    #[error("{path:?} would take more than {most_bytes} bytes")]
    Full {
        /// The file.
        path: PathBuf,
        /// What it may take.
        most_bytes: u64,
    },
    /// It cannot be made, read or written.
    #[error("state folder {path:?}: cannot {doing}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl StateDir {
    /// Opens the folder, making it (mode 0700) where it is missing, and takes its lock.
    ///
    /// # Errors
    /// [`StateError::InUse`] where another process has it, else what the file system says.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StateError> {
        let path = path.into();
        make_private(&path).map_err(|source| StateError::Io {
            path: path.clone(),
            doing: "make it",
            source,
        })?;
        let lock_path = path.join(LOCK);
        let fault = |doing, source| StateError::Io {
            path: lock_path.clone(),
            doing,
            source,
        };
        let lock = private()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|e| fault("open", e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateError::InUse { path }),
            Err(TryLockError::Error(source)) => Err(fault("lock", source)),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content of `name`, at most `most` bytes of it and one more, so that too much is seen; `None` where there is no such file.
    pub(crate) fn read(
        &self,
        name: impl AsRef<Path>,
        most: usize,
    ) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.path.join(name);
        let fault = |source| StateError::Io {
            path: path.clone(),
            doing: "read",
            source,
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault(error)),
        };
        let mut content = Vec::new();
        let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        file.take(bound).read_to_end(&mut content).map_err(fault)?;
        Ok(Some(content))
    }

    /// Makes a folder (mode 0700) where it is missing.
    pub(crate) fn make_folder(&self, name: &Path) -> Result<(), StateError> {
        let path = self.path.join(name);
        make_private(&path).map_err(|source| StateError::Io {
            path,
            doing: "make it",
            source,
        })
    }

    /// Takes a file away; answers whether there was one.
    pub(crate) fn remove(&self, name: &Path) -> Result<bool, StateError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => {
                let doing = "remove";
                return Err(StateError::Io {
                    path,
                    doing,
                    source,
                });
            }
        }
        let folder = path.parent().unwrap_or(&self.path);
        sync_folder(folder).map_err(|source| StateError::Io {
            path: folder.to_owned(),
            doing: "sync",
            source,
        })?;
        Ok(true)
    }

    /// Gives a file another name, over one that has it.
    pub(crate) fn rename(&self, name: &Path, other: &Path) -> Result<(), StateError> {
        let path = self.path.join(name);
        fs::rename(&path, self.path.join(other)).map_err(|source| StateError::Io {
            path,
            doing: "rename",
            source,
        })
    }

    /// Replaces `name` so that a crash leaves either the old content or the new, and the new is on
    /// disk when this returns.
    pub(crate) fn replace(&self, name: impl AsRef<Path>, content: &[u8]) -> Result<(), StateError> {
        let path = self.path.join(name);
        let mut fresh = path.clone().into_os_string();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        let fault = |doing, source| StateError::Io {
            path: path.clone(),
            doing,
            source,
        };
        let mut file = private()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&fresh)
            .map_err(|error| fault("write", error))?;
        host::file(FileStep::Write, &path)
            .and_then(|()| file.write_all(content))
            .map_err(|error| fault("write", error))?;
        host::file(FileStep::Sync, &path)
            .and_then(|()| file.sync_all())
            .map_err(|error| fault("sync", error))?;
        host::file(FileStep::Rename, &path)
            .and_then(|()| fs::rename(&fresh, &path))
            .map_err(|error| fault("replace", error))?;
        let folder = path.parent().unwrap_or(&self.path);
        host::file(FileStep::SyncFolder, &path)
            .and_then(|()| sync_folder(folder))
            .map_err(|error| fault("sync the folder of", error))
    }
}

/// One line of text, without a line's end in it.
#[derive(Debug)]
pub(crate) struct Line(String);

impl Line {
    /// JSON has no line's end but where it is asked for.
    pub(crate) fn of(value: &serde_json::Value) -> Self {
        Self(value.to_string())
    }
}

impl StateDir {
    /// Appends a line to `name`, which takes at most `most_bytes`; it is on disk when this returns. A
    /// last line without an end is ended first. One caller at a time.
    pub(crate) fn append(
        &self,
        name: &str,
        line: &Line,
        most_bytes: u64,
    ) -> Result<(), StateError> {
        let path = self.path.join(name);
        let fault = |doing, source| StateError::Io {
            path: path.clone(),
            doing,
            source,
        };
        let mut file = private()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(|error| fault("open", error))?;
        let length = file.metadata().map_err(|error| fault("read", error))?.len();
        let mut text = String::with_capacity(line.0.len() + 2);
        if length > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))
                .and_then(|_| file.read_exact(&mut last))
                .map_err(|error| fault("read", error))?;
            if last != [b'\n'] {
                text.push('\n');
            }
        }
        text.push_str(&line.0);
        text.push('\n');
        let added = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if length.saturating_add(added) > most_bytes {
            return Err(StateError::Full { path, most_bytes });
        }
        file.write_all(text.as_bytes())
            .map_err(|error| fault("write", error))?;
        file.sync_all().map_err(|error| fault("sync", error))?;
        if length == 0 {
            sync_folder(&self.path).map_err(|error| fault("sync the folder of", error))?;
        }
        Ok(())
    }
}

#[cfg(unix)]
pub(crate) fn private() -> fs::OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    options.mode(0o600);
    options
}

#[cfg(not(unix))]
pub(crate) fn private() -> fs::OpenOptions {
    fs::OpenOptions::new()
}

#[cfg(unix)]
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

#[cfg(not(unix))]
fn make_private(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// A renamed file is durable once its folder is.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_until_the_first_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateDir::open(folder.path().join("state")).unwrap();
        assert!(matches!(
            StateDir::open(first.path()),
            Err(StateError::InUse { .. })
        ));
        let path = first.path().to_owned();
        drop(first);
        StateDir::open(path).unwrap();
    }

    #[test]
    fn what_was_replaced_is_read_back_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        assert_eq!(state.read("nonces", 10).unwrap(), None);
        state.replace("nonces", b"first").unwrap();
        state.replace("nonces", b"second and long").unwrap();
        assert_eq!(
            state.read("nonces", 100).unwrap().unwrap(),
            b"second and long"
        );
        assert_eq!(state.read("nonces", 5).unwrap().unwrap(), b"second");
        assert!(!folder.path().join("nonces.new").exists());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_what_is_kept() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path().join("state")).unwrap();
        state.replace("nonces", b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(state.path()) & 0o077, 0);
        assert_eq!(mode(&state.path().join("nonces")) & 0o077, 0);
    }
}
