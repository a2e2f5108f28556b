//! What a process takes for its machine.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cybermesh_transport::host::{FileStep, Machine, Process, Stream};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::dice::Dice;
use crate::net::Network;
use crate::recorder::Recorder;

/// How a process's disk fails.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    full: AtomicBool,
    fails_to_sync: AtomicBool,
    /// The process crashes at its next step, which is left half done.
    tears: AtomicBool,
    /// What stood in a file before it was replaced and its folder not yet synced.
    before: Mutex<BTreeMap<PathBuf, Option<Vec<u8>>>>,
}

impl Disk {
    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    pub(crate) fn fail_next_sync(&self) {
        self.fails_to_sync.store(true, Ordering::Relaxed);
    }

    pub(crate) fn tear_next_step(&self) {
        self.tears.store(true, Ordering::Relaxed);
    }

    pub(crate) fn heal(&self) {
        self.full.store(false, Ordering::Relaxed);
        self.fails_to_sync.store(false, Ordering::Relaxed);
        self.tears.store(false, Ordering::Relaxed);
    }
}

pub(crate) struct SimMachine {
    pub(crate) name: String,
    pub(crate) network: Network,
    pub(crate) dice: Dice,
    pub(crate) disk: Arc<Disk>,
    pub(crate) recorder: Recorder,
    /// The bug that is to be there.
    pub(crate) bug: Option<Arc<str>>,
}

impl Machine for SimMachine {
    fn connect(&self, _host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let connecting = self.network.clone().connect(self.name.clone(), port);
        connecting
            .map(|end| end.map(|end| Box::new(end) as Box<dyn Stream>))
            .boxed()
    }

    fn work_takes(&self) -> Duration {
        self.dice.ms(0..=2)
    }

    fn fill(&self, chance: &mut [u8]) {
        self.dice.fill(chance);
    }

    fn file(&self, step: FileStep, path: &Path) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.recorder
            .note(format_args!("{} {step:?} {name}", self.name));
        if step == FileStep::Write && self.disk.full.load(Ordering::Relaxed) {
            self.recorder.count("disk full");
            return Err(io::ErrorKind::StorageFull.into());
        }
        if step == FileStep::Sync && self.disk.fails_to_sync.swap(false, Ordering::Relaxed) {
            self.recorder.count("failed fsync");
            return Err(io::Error::other("the disk does not answer"));
        }
        let before = self.disk.before.lock();
        let mut before = before.unwrap_or_else(PoisonError::into_inner);
        if step == FileStep::Write {
            before.insert(path.to_owned(), fs::read(path).ok());
        }
        if step != FileStep::Write && self.disk.tears.swap(false, Ordering::Relaxed) {
            self.recorder.count("torn write");
            match step {
                // Half of what was not synced is there.
                FileStep::Sync => {
                    let fresh = path.with_file_name(format!("{name}.new"));
                    if let Ok(written) = fs::read(&fresh) {
                        fs::write(&fresh, &written[..written.len() / 2])?;
                    }
                }
                // The name of what was renamed may be lost with its folder.
                FileStep::SyncFolder => match before.remove(path).flatten() {
                    Some(content) => fs::write(path, content)?,
                    None => fs::remove_file(path)?,
                },
                FileStep::Write | FileStep::Rename => {}
            }
            // None of what comes after happens.
            if let Some(process) = Process::current() {
                process.kill();
            }
            return Err(io::Error::other("the machine is gone"));
        }
        Ok(())
    }

    fn bug(&self, name: &str) -> bool {
        let is_there = self.bug.as_deref() == Some(name);
        if is_there {
            self.recorder.count("occasions of the bug");
        }
        is_there
    }
}
