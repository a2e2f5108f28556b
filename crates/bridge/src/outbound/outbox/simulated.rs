//! A disk that crashes, tears what was not synced, fills up, turns read-only or breaks, when told to.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redb::StorageBackend;

use super::storage::{Medium, Storage};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The file may not grow.
    Full,
    ReadOnly,
    Broken,
    /// Writing works, syncing does not.
    Sync,
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::Full => io::ErrorKind::StorageFull.into(),
            Self::ReadOnly => io::ErrorKind::ReadOnlyFilesystem.into(),
            Self::Broken | Self::Sync => io::Error::other("input/output error"),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// What survives a crash.
    synced: Vec<u8>,
    /// What a process sees.
    seen: Vec<u8>,
    /// Since the last sync, in order.
    pending: Vec<Step>,
    fault: Option<Fault>,
    syncs: u64,
    /// Operations until the power goes.
    power: Option<u64>,
    set_asides: Vec<String>,
    /// Syncs of writes with these bytes wait.
    stalls: Option<&'static [u8]>,
    /// A sync has waited.
    stalled: bool,
}

impl State {
    fn is_to_stall(&self) -> bool {
        let has = |step: &Step, bytes: &[u8]| match step {
            Step::Length(_) => false,
            Step::Write(_, written) => written.windows(bytes.len()).any(|window| window == bytes),
        };
        self.stalls
            .is_some_and(|bytes| self.pending.iter().any(|step| has(step, bytes)))
    }
}

#[derive(Debug, Clone)]
enum Step {
    Length(usize),
    Write(usize, Vec<u8>),
}

/// The disk, which outlives the processes that use it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

impl Disk {
    pub(crate) fn fail(&self, fault: Option<Fault>) {
        self.lock().fault = fault;
    }

    /// Lets syncs of writes that have these bytes wait, or go on.
    pub(crate) fn stall(&self, stalls: Option<&'static [u8]>) {
        self.lock().stalls = stalls;
    }

    /// Whether a sync has waited.
    pub(crate) fn has_stalled(&self) -> bool {
        self.lock().stalled
    }

    /// How often it was synced.
    pub(crate) fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// After so many operations none succeeds any more, until [`restart`](Self::restart).
    pub(crate) fn lose_power_after(&self, operations: u64) {
        self.lock().power = Some(operations);
    }

    /// Power is back: of what was not synced those steps are there that `kept` says, of each write as much as it says,
    /// in 512ths.
    pub(crate) fn restart(&self, mut kept: impl FnMut() -> u16) {
        let mut state = self.lock();
        let mut left = state.synced.clone();
        for step in std::mem::take(&mut state.pending) {
            let share = usize::from(kept() % 1024);
            match step {
                Step::Length(length) if share >= 512 => left.resize(length, 0),
                Step::Length(_) => {}
                Step::Write(offset, bytes) => {
                    let torn = bytes.len() * share.min(512) / 512;
                    write(&mut left, offset, bytes.get(..torn).unwrap_or_default());
                }
            }
        }
        state.seen = left.clone();
        state.synced = left;
        state.power = None;
        state.fault = None;
    }

    /// Puts bytes where the file was.
    pub(crate) fn overwrite(&self, offset: usize, bytes: &[u8]) {
        let mut state = self.lock();
        write(&mut state.seen, offset, bytes);
        write(&mut state.synced, offset, bytes);
    }

    /// Where these bytes are in the file.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<usize> {
        let state = self.lock();
        state
            .seen
            .windows(bytes.len())
            .position(|window| window == bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, where this operation succeeds.
    fn operate(&self, is_write: bool) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if let Some(power) = &mut state.power {
            match power.checked_sub(1) {
                Some(left) => *power = left,
                None => return Err(io::Error::other("no power")),
            }
        }
        match state.fault {
            Some(fault @ Fault::Broken) => Err(fault.error()),
            Some(fault @ Fault::ReadOnly) if is_write => Err(fault.error()),
            _ => Ok(state),
        }
    }
}

fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("a small file")
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.operate(false)?.seen.len()).expect("a small file"))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.operate(false)?;
        let range = index(offset)..index(offset) + out.len();
        let bytes = state.seen.get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.operate(true)?;
        let len = index(len);
        if len > state.seen.len()
            && let Some(fault @ Fault::Full) = state.fault
        {
            return Err(fault.error());
        }
        state.seen.resize(len, 0);
        state.pending.push(Step::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        while self.lock().is_to_stall() {
            self.lock().stalled = true;
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut state = self.operate(true)?;
        if let Some(fault @ Fault::Sync) = state.fault {
            return Err(fault.error());
        }
        state.synced = state.seen.clone();
        state.pending.clear();
        state.syncs += 1;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.operate(true)?;
        write(&mut state.seen, index(offset), data);
        state
            .pending
            .push(Step::Write(index(offset), data.to_vec()));
        Ok(())
    }
}

impl Storage for Disk {
    fn open(&mut self) -> io::Result<Medium> {
        drop(self.operate(false)?);
        Ok(Medium::of(self.clone()))
    }

    fn set_aside(&mut self, unix_ms: u64) -> io::Result<String> {
        let mut state = self.operate(true)?;
        let name = format!("corrupt-{unix_ms}");
        state.seen.clear();
        state.synced.clear();
        state.pending.clear();
        state.set_asides.push(name.clone());
        Ok(name)
    }

    fn set_asides(&self) -> Vec<String> {
        self.lock().set_asides.clone()
    }
}
