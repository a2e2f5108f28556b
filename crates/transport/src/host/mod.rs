//! What the code takes of the machine it runs on: tasks, threads that may block, chance, connections, files.
//!
//! With the feature `simulation` a [`Process`] can stand in for the machine: its tasks can be ended all at
//! once as by a crash, what would block runs in place after a wait of the simulation's choice, chance comes
//! from a seed. Whatever does not run within a process has the machine, with the feature or without.

#[cfg(feature = "simulation")]
mod simulated;

#[cfg(feature = "simulation")]
pub use simulated::{Machine, Process, Stream};

use std::io;
use std::num::NonZeroUsize;
use std::path::Path;

use tokio::task::{AbortHandle, JoinHandle, JoinSet};

/// A step in the replacement of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileStep {
    /// Its new content is about to be written, beside the old one.
    Write,
    /// That is about to be brought to the disk.
    Sync,
    /// It is about to take the old one's place.
    Rename,
    /// The folder is about to be brought to the disk.
    SyncFolder,
}

/// Whether a simulated disk lets this step happen; a real one says so itself.
///
/// # Errors
/// What the simulated file system says.
pub fn file(step: FileStep, path: &Path) -> io::Result<()> {
    #[cfg(feature = "simulation")]
    if let Some(process) = Process::current() {
        return process.file(step, path);
    }
    let _ = (step, path);
    Ok(())
}

/// As [`tokio::spawn`].
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    #[cfg(feature = "simulation")]
    if let Some(process) = Process::current() {
        return process.spawn(future);
    }
    tokio::spawn(future)
}

/// As [`tokio::task::spawn_blocking`].
pub fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    #[cfg(feature = "simulation")]
    if let Some(process) = Process::current() {
        return process.spawn_blocking(work);
    }
    tokio::task::spawn_blocking(work)
}

/// As [`JoinSet::spawn_blocking`].
pub fn spawn_blocking_on<T: Send + 'static>(
    tasks: &mut JoinSet<T>,
    work: impl FnOnce() -> T + Send + 'static,
) -> AbortHandle {
    #[cfg(feature = "simulation")]
    if let Some(process) = Process::current() {
        return tasks.spawn(process.blocking(work));
    }
    tasks.spawn_blocking(work)
}

/// What a task that is spawned in other ways is wrapped in, so that it belongs to the process that spawns it.
pub fn bound<F: Future + Send>(future: F) -> impl Future<Output = F::Output> + Send {
    #[cfg(feature = "simulation")]
    let future = Process::bind(future);
    future
}

/// How many threads can work at once; one where the operating system does not say.
pub fn parallelism() -> NonZeroUsize {
    #[cfg(feature = "simulation")]
    if Process::current().is_some() {
        return NonZeroUsize::MIN.saturating_add(1);
    }
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Whether the bug of this name is to be there: put in on purpose, to see that it is found. Never without
/// `--cfg cybermesh_bugs`, which no dependency can ask for.
#[cfg(not(all(cybermesh_bugs, feature = "simulation")))]
pub const fn bug(_name: &str) -> bool {
    false
}

/// Whether the bug of this name is to be there: put in on purpose, to see that it is found.
#[cfg(all(cybermesh_bugs, feature = "simulation"))]
pub fn bug(name: &str) -> bool {
    Process::current().is_some_and(|process| process.bug(name))
}

/// As [`getrandom::fill`].
///
/// # Errors
/// Where the operating system has no randomness.
pub fn fill(chance: &mut [u8]) -> Result<(), getrandom::Error> {
    #[cfg(feature = "simulation")]
    if let Some(process) = Process::current() {
        process.fill(chance);
        return Ok(());
    }
    getrandom::fill(chance)
}

/// As [`getrandom::u32`].
///
/// # Errors
/// As [`fill`].
pub fn random_u32() -> Result<u32, getrandom::Error> {
    let mut bytes = [0; 4];
    fill(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// As [`getrandom::u64`].
///
/// # Errors
/// As [`fill`].
pub fn random_u64() -> Result<u64, getrandom::Error> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
