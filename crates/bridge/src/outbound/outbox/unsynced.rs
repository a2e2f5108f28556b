//! A file under a simulation: what was not synced is with the system, and a crash takes it, or leaves some of it.

use std::{
    io,
    ops::Bound,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use cybermesh_transport::host::{FileStep, Process};
use redb::{BackendError, StorageBackend};
use sha2::{Digest, Sha256};

/// The file as the process has it that this is called in, if that only seems to have a machine.
pub(super) fn of_process(file: Box<dyn StorageBackend>, path: PathBuf) -> Box<dyn StorageBackend> {
    match Process::current() {
        Some(process) => Box::new(Unsynced::new(file, path, process)),
        None => file,
    }
}

/// The file, and what the system has of it.
#[derive(Debug)]
pub(super) struct Unsynced {
    file: Box<dyn StorageBackend>,
    path: PathBuf,
    process: Process,
    unsynced: Mutex<Vec<Step>>,
}

#[derive(Debug, Clone)]
enum Step {
    Length(u64),
    Write(u64, Vec<u8>),
}

impl Step {
    /// Whether the system had brought this to the disk by itself when the process ended: as good as chance, and the same
    /// each time.
    fn is_there_after_a_crash(&self) -> bool {
        let mut digest = Sha256::new();
        match self {
            Self::Length(length) => digest.update(length.to_be_bytes()),
            Self::Write(at, bytes) => {
                digest.update(at.to_be_bytes());
                digest.update(bytes);
            }
        }
        digest.finalize()[0] & 1 == 1
    }
}

impl Unsynced {
    fn new(file: Box<dyn StorageBackend>, path: PathBuf, process: Process) -> Self {
        Self {
            file,
            path,
            process,
            unsynced: Mutex::default(),
        }
    }

    fn steps(&self) -> MutexGuard<'_, Vec<Step>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody does anything after their end.
    fn alive(&self, step: FileStep) -> io::Result<()> {
        if self.process.is_dead() {
            return Err(io::Error::other("the process has ended"));
        }
        self.process.file(step, &self.path)
    }

    fn bring(&self, step: &Step) -> io::Result<()> {
        match step {
            Step::Length(length) => self.file.set_len(*length),
            Step::Write(at, bytes) => {
                let end = at + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                if self.file.len()? < end {
                    self.file.set_len(end)?;
                }
                self.file.write(*at, bytes)
            }
        }
    }

    fn some_of_it(&self) {
        let steps = std::mem::take(&mut *self.steps());
        for step in steps.iter().filter(|step| step.is_there_after_a_crash()) {
            // What cannot be brought is lost like the rest.
            let _ = self.bring(step);
        }
    }
}

impl Drop for Unsynced {
    fn drop(&mut self) {
        self.some_of_it();
    }
}

impl StorageBackend for Unsynced {
    fn len(&self) -> io::Result<u64> {
        let mut length = self.file.len()?;
        for step in self.steps().iter() {
            match step {
                Step::Length(set) => length = *set,
                Step::Write(at, bytes) => {
                    let end = at + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    length = length.max(end);
                }
            }
        }
        Ok(length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.fill(0);
        let of = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let there = self.file.len()?.saturating_sub(offset).min(of(out.len()));
        let there = usize::try_from(there).unwrap_or(0);
        self.file.read(offset, &mut out[..there])?;
        for step in self.steps().iter() {
            match step {
                Step::Length(length) => {
                    let kept = length.saturating_sub(offset).min(of(out.len()));
                    out[usize::try_from(kept).unwrap_or(0)..].fill(0);
                }
                Step::Write(at, bytes) => {
                    for (to, byte) in (*at..).zip(bytes) {
                        let to = to
                            .checked_sub(offset)
                            .and_then(|to| usize::try_from(to).ok());
                        if let Some(to) = to.and_then(|to| out.get_mut(to)) {
                            *to = *byte;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.alive(FileStep::Write)?;
        self.steps().push(Step::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if let Err(error) = self.alive(FileStep::Sync) {
            self.some_of_it();
            return Err(error);
        }
        let steps = std::mem::take(&mut *self.steps());
        steps.iter().try_for_each(|step| self.bring(step))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.alive(FileStep::Write)?;
        self.steps().push(Step::Write(offset, data.to_vec()));
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}
