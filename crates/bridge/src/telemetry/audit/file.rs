//! The trail on disk: one file that grows, older ones beside it as `NAME.1`, `NAME.2`, … in the order
//! they were filled. Files are never renamed twice nor written again once they are full.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::chain::Chain;
use crate::state::private;

/// No line of ours is longer; a file that ends in a longer one is none of ours.
pub(super) const LONGEST_LINE_BYTES: u64 = 256 << 10;

/// When a file is full, and how many full ones are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) rotate_bytes: u64,
    pub(super) keep: u32,
}

/// The audit trail's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("audit trail {path:?}: cannot {doing}: {source}")]
pub struct AuditFileError {
    path: PathBuf,
    doing: &'static str,
    source: io::Error,
}

impl AuditFileError {
    pub(super) fn new(path: &Path, doing: &'static str, source: io::Error) -> Self {
        Self {
            path: path.to_owned(),
            doing,
            source,
        }
    }
}

/// The open trail, locked against a second writer.
#[derive(Debug)]
pub(super) struct Trail {
    path: PathBuf,
    limits: Limits,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    length: u64,
    chain: Chain,
}

impl Trail {
    pub(super) fn open(path: &Path, limits: Limits) -> Result<Self, AuditFileError> {
        let open = open(path)?;
        Ok(Self {
            path: path.to_owned(),
            limits,
            open: Some(open),
        })
    }

    /// Writes one line, in a new file where this one is full.
    pub(super) fn append(
        &mut self,
        at_ms: u64,
        event: &str,
        fields: &Value,
    ) -> Result<(), AuditFileError> {
        // Taken while it is in doubt: after a failure the file is opened, and its end read, anew.
        let mut open = match self.open.take() {
            Some(open) => open,
            None => open(&self.path)?,
        };
        let (mut line, mut next) = open.chain.line(at_ms, event, fields.clone());
        let bytes = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if open.length > 0 && open.length.saturating_add(bytes) > self.limits.rotate_bytes {
            let chain = open.chain;
            self.rotate(open)?;
            open = Open {
                chain,
                ..create(&self.path)?
            };
            (line, next) = open.chain.line(at_ms, event, fields.clone());
        }
        open.file
            .write_all(&line)
            .map_err(|source| AuditFileError::new(&self.path, "write", source))?;
        open.length += bytes;
        open.chain = next;
        self.open = Some(open);
        Ok(())
    }

    /// What was written is on disk when this returns.
    pub(super) fn sync(&mut self) -> Result<(), AuditFileError> {
        match &self.open {
            Some(open) => open
                .file
                .sync_data()
                .map_err(|source| AuditFileError::new(&self.path, "sync", source)),
            None => Ok(()),
        }
    }

    fn rotate(&self, full: Open) -> Result<(), AuditFileError> {
        let fault = |doing| move |source| AuditFileError::new(&self.path, doing, source);
        full.file.sync_data().map_err(fault("sync"))?;
        let older = older(&self.path).map_err(fault("list the older files of"))?;
        let number = older.last().map_or(1, |(number, _)| number + 1);
        fs::rename(&self.path, numbered(&self.path, number)).map_err(fault("rename"))?;
        drop(full);
        let kept_from = (number + 1).saturating_sub(u64::from(self.limits.keep));
        for (_, path) in older.iter().filter(|(number, _)| *number < kept_from) {
            fs::remove_file(path).map_err(fault("remove an older file of"))?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<Open, AuditFileError> {
    let fault = |doing| move |source| AuditFileError::new(path, doing, source);
    let mut file = private()
        .read(true)
        .append(true)
        .create(true)
        .open(path)
        .map_err(fault("open"))?;
    let metadata = file.metadata().map_err(fault("open"))?;
    if !metadata.is_file() {
        return Err(fault("use")(io::Error::other("not a regular file")));
    }
    others_kept_out(&metadata).map_err(fault("use"))?;
    locked(&file).map_err(fault("lock"))?;
    let (line, torn) = last_line(&mut file, metadata.len()).map_err(fault("read the end of"))?;
    let mut length = metadata.len();
    if torn {
        // The last line was cut short by a crash. It stays as it is, and the next follows from it.
        file.write_all(b"\n").map_err(fault("write"))?;
        length += 1;
    }
    let line = match line {
        Some(line) => Some(line),
        // Only just rotated: the chain goes on from the newest of the full files.
        None => last_of_older(path).map_err(fault("read the newest older file of"))?,
    };
    Ok(Open {
        file,
        length,
        chain: line.map_or_else(Chain::new, |line| Chain::behind(&line)),
    })
}

fn create(path: &Path) -> Result<Open, AuditFileError> {
    let fault = |doing| move |source| AuditFileError::new(path, doing, source);
    let file = private()
        .read(true)
        .append(true)
        .create_new(true)
        .open(path)
        .map_err(fault("make"))?;
    locked(&file).map_err(fault("lock"))?;
    Ok(Open {
        file,
        length: 0,
        chain: Chain::new(),
    })
}

fn locked(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(io::Error::other("another process writes to it")),
        Err(TryLockError::Error(source)) => Err(source),
    }
}

#[cfg(unix)]
fn others_kept_out(metadata: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "mode {mode:04o} lets others at the trail; chmod 600 it"
        )))
    }
}

#[cfg(not(unix))]
fn others_kept_out(_metadata: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

/// The last line without its line end, and whether that is missing; `None` of an empty file.
fn last_line(file: &mut File, length: u64) -> io::Result<(Option<Vec<u8>>, bool)> {
    if length == 0 {
        return Ok((None, false));
    }
    let window = length.min(LONGEST_LINE_BYTES + 2);
    file.seek(SeekFrom::Start(length - window))?;
    let mut tail = Vec::new();
    file.take(window).read_to_end(&mut tail)?;
    let torn = tail.last() != Some(&b'\n');
    if !torn {
        tail.pop();
    }
    match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => Ok((Some(tail.split_off(at + 1)), torn)),
        None if window == length => Ok((Some(tail), torn)),
        None => Err(io::Error::other(
            "its last line is longer than any of an audit trail",
        )),
    }
}

fn last_of_older(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some((_, newest)) = older(path)?.pop() else {
        return Ok(None);
    };
    let mut file = File::open(newest)?;
    let length = file.metadata()?.len();
    Ok(last_line(&mut file, length)?.0)
}

/// The full files beside `path`, oldest first.
pub(super) fn older(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let number = entry
            .file_name()
            .to_str()
            .and_then(|other| other.strip_prefix(&*name)?.strip_prefix('.')?.parse().ok());
        if let Some(number) = number {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{number}"));
    path.with_file_name(name)
}
