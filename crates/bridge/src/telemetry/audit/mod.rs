//! The audit trail: what an operator wants to be able to prove later.
//!
//! Every event goes to the log under the target `audit`, and, where the settings name a file, into that
//! file as a line of JSON that carries the SHA-256 of the line before it: a line that was altered, taken
//! out or put in breaks the chain from there on. (Lines cut off at the end do not; ship the file away.)
//! `event` says what is written, `chain` makes the lines, `file` keeps them, `writer` is the thread
//! that waits for the disk, so that nobody else does, and `check` reads a trail back.

mod chain;
mod check;
mod event;
mod file;
mod writer;

use std::{
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, SyncSender, TrySendError},
    },
    time::Duration,
};

use tokio::sync::oneshot;

pub use check::{TrailFault, WholeTrail, check_files};
pub use event::AuditEvent;
pub use file::AuditFileError;

use crate::{clock::WallClock, settings};
use file::{Limits, Trail};
use writer::{Message, Writer};

/// Events that wait for the disk at most; those beyond are counted in the file and found in the log.
const QUEUE: usize = 8_192;

/// Where audited events go. Cheap to clone; all clones are one trail.
#[derive(Clone, Default)]
pub struct Audit(Option<Arc<Sink>>);

struct Sink {
    clock: Arc<dyn WallClock>,
    to_writer: SyncSender<Message>,
    state: Arc<SinkState>,
}

/// What the writer and those who write share.
#[derive(Debug, Default)]
struct SinkState {
    /// Why the file cannot be written, while it cannot.
    fault: Mutex<Option<String>>,
    /// Events that are in the log and not in the file, not told there yet.
    missed: std::sync::atomic::AtomicU64,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit")
            .field("fault", &self.fault())
            .finish_non_exhaustive()
    }
}

impl Audit {
    /// The log alone.
    #[must_use]
    pub fn log_only() -> Self {
        Self::default()
    }

    /// The log, and the file that the settings name, if they do.
    ///
    /// # Errors
    /// [`AuditFileError`] where the file cannot be written or is no audit trail.
    pub fn from_settings(
        settings: &settings::Audit,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, AuditFileError> {
        let Some(path) = &settings.file else {
            return Ok(Self::log_only());
        };
        let limits = Limits {
            rotate_bytes: u64::try_from(settings.rotate_bytes).unwrap_or(u64::MAX),
            keep: settings.keep,
        };
        Self::open(path, limits, clock)
    }

    fn open(
        path: &Path,
        limits: Limits,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, AuditFileError> {
        let trail = Trail::open(path, limits)?;
        let state = Arc::new(SinkState::default());
        let (to_writer, messages) = mpsc::sync_channel(QUEUE);
        let writer = Writer::new(trail, messages, Arc::clone(&state));
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| AuditFileError::new(path, "start the thread that writes", source))?;
        Ok(Self(Some(Arc::new(Sink {
            clock,
            to_writer,
            state,
        }))))
    }

    /// Logs the event, and hands it to the file. Never waits.
    pub fn record(&self, event: &AuditEvent<'_>) {
        event.log();
        let Some(sink) = &self.0 else { return };
        let fields = event.fields();
        let message = Message::Event {
            at_ms: sink.clock.unix_ms(),
            name: event.name(),
            fields,
        };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            sink.to_writer.try_send(message)
        {
            sink.state.miss(1);
        }
    }

    /// Why the file cannot be written, while it cannot.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.0.as_ref().and_then(|sink| sink.state.fault())
    }

    /// Writes what was recorded so far and ends the file. What takes longer than `patience` is left
    /// to the thread; what is recorded later is in the log alone.
    pub async fn close(&self, patience: Duration) {
        let Some(sink) = &self.0 else { return };
        let (done, written) = oneshot::channel();
        let to_writer = sink.to_writer.clone();
        let ending = async move {
            // The queue may be full: the writer makes room for this as it does for anybody.
            let told = tokio::task::spawn_blocking(move || to_writer.send(Message::End(done)));
            if matches!(told.await, Ok(Ok(()))) {
                // An error means that the thread is gone, and nothing is left to wait for.
                let _ = written.await;
            }
        };
        if tokio::time::timeout(patience, ending).await.is_err() {
            tracing::warn!("the audit trail was not written to its end in time");
        }
    }
}

impl SinkState {
    fn fault(&self) -> Option<String> {
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_fault(&self, fault: Option<String>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn miss(&self, events: u64) {
        self.missed
            .fetch_add(events, std::sync::atomic::Ordering::Relaxed);
    }

    fn take_missed(&self) -> u64 {
        self.missed.swap(0, std::sync::atomic::Ordering::Relaxed)
    }
}

#[cfg(test)]
mod restart_tests;
#[cfg(test)]
mod tests;
