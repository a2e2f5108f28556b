//! What happened, in order: the history that is judged, and the trace that has to be the same again.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cybermesh_checker::{Event, History, Outcome};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// Written by everyone; clones write the same.
#[derive(Clone)]
pub(crate) struct Recorder(Arc<Mutex<Records>>);

struct Records {
    begun: Instant,
    folder: String,
    history: History,
    hash: Sha256,
    /// Kept where somebody wants to read it.
    lines: Option<Vec<String>>,
    counts: BTreeMap<&'static str, u64>,
    /// Messages that are sent and tried again, by process.
    open: BTreeMap<String, u64>,
    /// Ids of messages that lie on a disk, or did.
    spooled: Vec<String>,
    ended: bool,
}

/// What was recorded.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) history: History,
    pub(crate) hash: String,
    pub(crate) lines: Vec<String>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

impl Recorder {
    /// Must be called within the runtime whose time it tells.
    /// `folder` has another name in each run, and is left out.
    pub(crate) fn new(keeps_lines: bool, folder: &Path) -> Self {
        Self(Arc::new(Mutex::new(Records {
            begun: Instant::now(),
            folder: folder.to_string_lossy().into_owned(),
            history: History::new(),
            hash: Sha256::new(),
            lines: keeps_lines.then(Vec::new),
            counts: BTreeMap::new(),
            open: BTreeMap::new(),
            spooled: Vec::new(),
            ended: false,
        })))
    }

    /// Milliseconds since the run began.
    pub(crate) fn now_ms(&self) -> u64 {
        let elapsed = self.lock().begun.elapsed();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    /// Something for the checker.
    pub(crate) fn event(&self, event: Event) {
        self.note(format_args!("{event:?}"));
        let at_ms = self.now_ms();
        let mut records = self.lock();
        match &event {
            Event::SendEnded {
                id,
                outcome: Outcome::Spooled { .. },
                ..
            } => records.spooled.push(id.clone()),
            Event::Crashed { process } | Event::Stopped { process, .. } => {
                records.open.remove(process);
            }
            _ => {}
        }
        // What happens after the end was read is not judged.
        if !records.ended {
            records.ended = matches!(event, Event::End { .. });
            records.history.push(at_ms, event);
        }
    }

    /// A process has a message in hand.
    pub(crate) fn takes_in_hand(&self, process: &str) {
        let mut records = self.lock();
        *records.open.entry(process.to_owned()).or_default() += 1;
    }

    /// It has done with it.
    pub(crate) fn lets_go(&self, process: &str) {
        let mut records = self.lock();
        let open = records.open.entry(process.to_owned()).or_default();
        *open = open.saturating_sub(1);
    }

    /// Ids of messages that lie on a disk, or did.
    pub(crate) fn spooled(&self) -> Vec<String> {
        self.lock().spooled.clone()
    }

    /// Whether somebody has a message in hand.
    pub(crate) fn has_open_sends(&self) -> bool {
        self.lock().open.values().any(|open| *open > 0)
    }

    /// Something for the trace alone.
    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        let mut line = format!("{:>8} {what}", self.now_ms());
        let mut records = self.lock();
        if line.contains(&records.folder) {
            line = line.replace(&records.folder, "…");
        }
        records.hash.update(line.as_bytes());
        records.hash.update(b"\n");
        if let Some(lines) = &mut records.lines {
            lines.push(line);
        }
    }

    /// Counts one of these.
    pub(crate) fn count(&self, what: &'static str) {
        *self.lock().counts.entry(what).or_default() += 1;
    }

    /// What was recorded so far; nothing is left.
    pub(crate) fn take(&self) -> Recorded {
        let mut records = self.lock();
        let hash = std::mem::take(&mut records.hash);
        Recorded {
            history: std::mem::take(&mut records.history),
            hash: hex::encode(hash.finalize()),
            lines: records.lines.take().unwrap_or_default(),
            counts: std::mem::take(&mut records.counts),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
