//! The thread that waits for the disk.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{QUEUE, SinkState, file::Trail};

/// How long a file that cannot be written is left alone, and how long what was written may be
/// on its way to the disk.
const PAUSE: Duration = Duration::from_secs(1);
/// With nothing to do, anything is soon enough.
const IDLE: Duration = Duration::from_secs(3_600);

/// What the thread is told.
pub(super) enum Message {
    /// Write this.
    Event {
        at_ms: u64,
        name: &'static str,
        fields: Value,
    },
    /// Write what is left, answer, and end.
    End(oneshot::Sender<()>),
}

struct Line {
    at_ms: u64,
    name: &'static str,
    fields: Value,
}

/// Writes line by line. While the file cannot be written, as many wait as the queue holds; beyond
/// that they are counted, and the count is the first thing written afterwards.
pub(super) struct Writer {
    trail: Trail,
    messages: Receiver<Message>,
    state: Arc<SinkState>,
    waiting: VecDeque<Line>,
    /// When the file may be tried again after a failure.
    again_at: Option<Instant>,
    /// Since when something is written and perhaps not on the disk.
    unsynced_since: Option<Instant>,
}

impl Writer {
    pub(super) fn new(trail: Trail, messages: Receiver<Message>, state: Arc<SinkState>) -> Self {
        Self {
            trail,
            messages,
            state,
            waiting: VecDeque::new(),
            again_at: None,
            unsynced_since: None,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let resting = self.again_at.is_none() && self.unsynced_since.is_none();
            let wait = if resting { IDLE } else { PAUSE };
            match self.messages.recv_timeout(wait) {
                Ok(Message::Event {
                    at_ms,
                    name,
                    fields,
                }) if self.waiting.len() < QUEUE => self.waiting.push_back(Line {
                    at_ms,
                    name,
                    fields,
                }),
                Ok(Message::Event { .. }) => self.state.miss(1),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::End(done)) => {
                    self.again_at = None;
                    self.write();
                    self.sync();
                    // Whoever asked may open the file next.
                    drop(self.trail);
                    // And may have lost patience.
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.again_at = None;
                    self.write();
                    return self.sync();
                }
            }
            if self.again_at.is_none_or(|at| at <= Instant::now()) {
                self.write();
            }
            if self
                .unsynced_since
                .is_some_and(|since| since.elapsed() >= PAUSE)
            {
                self.sync();
            }
        }
    }

    fn write(&mut self) {
        let missed = self.state.take_missed();
        if missed > 0 {
            let at_ms = self.waiting.front().map_or(0, |line| line.at_ms);
            let told = self
                .trail
                .append(at_ms, "missed", &json!({ "events": missed }));
            if let Err(error) = told {
                self.state.miss(missed);
                return self.failed(&error.to_string());
            }
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        while let Some(line) = self.waiting.pop_front() {
            if let Err(error) = self.trail.append(line.at_ms, line.name, &line.fields) {
                self.waiting.push_front(line);
                return self.failed(&error.to_string());
            }
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        self.again_at = None;
        if self.state.fault().is_some() {
            tracing::info!("the audit trail is written again");
            self.state.set_fault(None);
        }
    }

    fn sync(&mut self) {
        self.unsynced_since = None;
        if let Err(error) = self.trail.sync() {
            self.failed(&error.to_string());
        }
    }

    fn failed(&mut self, reason: &str) {
        self.again_at = Some(Instant::now() + PAUSE);
        if self.state.fault().is_none() {
            tracing::error!(
                reason,
                "the audit trail cannot be written; its events are in the log"
            );
        }
        self.state.set_fault(Some(reason.to_owned()));
    }
}
