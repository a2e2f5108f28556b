//! What tells one state of a file from another without reading it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::settings::source::reason;

/// A file's state when it was looked at; taken before it is read, so that a change in between is seen
/// as one the next time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    path: PathBuf,
    state: Option<(SystemTime, u64, u64)>,
}

impl Stamp {
    pub(crate) fn of(path: &Path) -> Self {
        let state = fs::metadata(path)
            .and_then(|metadata| Ok((metadata.modified()?, metadata.len(), inode(&metadata))));
        if let Err(error) = &state
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(path = %path.display(), reason = reason(error), "cannot be looked at");
        }
        Self {
            path: path.to_owned(),
            state: state.ok(),
        }
    }

    /// Its state now.
    pub(crate) fn again(&self) -> Self {
        Self::of(&self.path)
    }

    /// Whether the file is as it was.
    pub(crate) fn still_holds(&self) -> bool {
        *self == self.again()
    }
}

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_metadata: &fs::Metadata) -> u64 {
    0
}
