//! Lanes: which message may be handled now.
//!
//! A lane keeps order: the messages of one key within one partition; those without a key share
//! one lane. The head of a lane is ready, being handled, waiting for its next attempt or being
//! buried; what stands behind it waits until the head has left. Lanes go on beside each other, the
//! oldest ready message first, since the oldest is what holds the watermark.

use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use cybermesh_transport::host;
use tokio::time::Instant;

/// The messages of one partition between replay check and the end of their handling.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    entries: HashMap<i64, Entry<T>>,
    lanes: HashMap<Option<Bytes>, VecDeque<i64>>,
    ready: BTreeSet<i64>,
    timers: BTreeSet<(Instant, i64)>,
    draining: bool,
}

#[derive(Debug)]
struct Entry<T> {
    lane: Option<Bytes>,
    item: T,
    attempts: u32,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Behind another message of its lane, or ready.
    Queued,
    Running,
    Waiting(Instant),
    Burying,
    Held,
}

/// A message whose handler is to be called now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Start<T> {
    pub(crate) offset: i64,
    /// From 1.
    pub(crate) attempt: u32,
    pub(crate) item: T,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            lanes: HashMap::new(),
            ready: BTreeSet::new(),
            timers: BTreeSet::new(),
            draining: false,
        }
    }
}

impl<T: Clone> Lanes<T> {
    /// Takes a message up, behind those of its lane. Messages come in offset order.
    pub(crate) fn push(&mut self, offset: i64, lane: Option<Bytes>, item: T) {
        if self.draining || self.entries.contains_key(&offset) {
            return;
        }
        let queue = self.lanes.entry(lane.clone()).or_default();
        queue.push_back(offset);
        if queue.len() == 1 || host::bug("lane-overtakes") {
            self.ready.insert(offset);
        }
        self.entries.insert(
            offset,
            Entry {
                lane,
                item,
                attempts: 0,
                phase: Phase::Queued,
            },
        );
    }

    /// The next message to be handled at `now`, which counts as running from here on.
    pub(crate) fn start(&mut self, now: Instant) -> Option<Start<T>> {
        while let Some((due, offset)) = self.timers.first().copied().filter(|(due, _)| *due <= now)
        {
            self.timers.remove(&(due, offset));
            if let Some(entry) = self.entries.get_mut(&offset) {
                entry.phase = Phase::Queued;
                self.ready.insert(offset);
            }
        }
        let offset = self.ready.pop_first()?;
        self.run(offset)
    }

    fn run(&mut self, offset: i64) -> Option<Start<T>> {
        let entry = self.entries.get_mut(&offset)?;
        entry.phase = Phase::Running;
        entry.attempts = entry.attempts.saturating_add(1);
        Some(Start {
            offset,
            attempt: entry.attempts,
            item: entry.item.clone(),
        })
    }

    /// The next message behind offset `after`, or else from the first, that heads its lane, is not
    /// being handled and is `wanted`, whether its time has come or not; it counts as running from
    /// here on.
    pub(crate) fn start_any(
        &mut self,
        after: i64,
        wanted: impl Fn(i64) -> bool,
    ) -> Option<Start<T>> {
        let heads = || {
            let waiting = self.timers.iter().map(|(_, offset)| *offset);
            let heads = self.ready.iter().copied().chain(waiting);
            heads.filter(|offset| wanted(*offset))
        };
        let behind = heads().filter(|offset| *offset > after).min();
        let offset = behind.or_else(|| heads().min())?;
        let entry = self.entries.get(&offset)?;
        if let Phase::Waiting(due) = entry.phase {
            self.timers.remove(&(due, offset));
        }
        self.ready.remove(&offset);
        self.run(offset)
    }

    /// A running message goes back to the head of its lane as if it had not been tried; while
    /// draining it is forgotten instead.
    pub(crate) fn put_back(&mut self, offset: i64) {
        if self.draining {
            self.forget(offset);
        } else if let Some(entry) = self.entries.get_mut(&offset)
            && entry.phase == Phase::Running
        {
            entry.phase = Phase::Queued;
            entry.attempts = entry.attempts.saturating_sub(1);
            self.ready.insert(offset);
        }
    }

    /// Messages that are held may be tried again, with all their attempts.
    pub(crate) fn release_held(&mut self) {
        for (offset, entry) in &mut self.entries {
            if entry.phase == Phase::Held {
                entry.phase = Phase::Queued;
                entry.attempts = 0;
                self.ready.insert(*offset);
            }
        }
    }

    /// A running message is to be tried again; while draining it is forgotten instead, for
    /// whoever reads the partition next.
    pub(crate) fn retry(&mut self, offset: i64, at: Instant) {
        if self.draining {
            self.forget(offset);
            return;
        }
        if let Some(entry) = self.entries.get_mut(&offset)
            && entry.phase == Phase::Running
        {
            entry.phase = Phase::Waiting(at);
            self.timers.insert((at, offset));
        }
    }

    /// A running message is on its way to the dead-letter topic; its lane waits for it.
    pub(crate) fn bury(&mut self, offset: i64) {
        if let Some(entry) = self.entries.get_mut(&offset)
            && entry.phase == Phase::Running
        {
            entry.phase = Phase::Burying;
        }
    }

    /// A running message is neither tried again nor given up; its lane stands still. While
    /// draining it is forgotten instead.
    pub(crate) fn hold(&mut self, offset: i64) {
        if self.draining {
            self.forget(offset);
        } else if let Some(entry) = self.entries.get_mut(&offset)
            && entry.phase == Phase::Running
        {
            entry.phase = Phase::Held;
        }
    }

    /// A message has ended and its lane goes on. Answers whether it was known.
    pub(crate) fn finish(&mut self, offset: i64) -> bool {
        self.forget(offset)
    }

    /// The attempt at this message that is under way, 0 where it is not here; `None` while it waits for its next.
    pub(crate) fn attempt_under_way(&self, offset: i64) -> Option<u32> {
        match self.entries.get(&offset) {
            None => Some(0),
            Some(entry) if matches!(entry.phase, Phase::Waiting(_)) => None,
            Some(entry) => Some(entry.attempts),
        }
    }

    /// Whether a handler of this message is running.
    pub(crate) fn is_running(&self, offset: i64) -> bool {
        self.entries
            .get(&offset)
            .is_some_and(|entry| entry.phase == Phase::Running)
    }

    /// Starts no more: everything but what runs or is being buried is forgotten.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.ready.clear();
        self.timers.clear();
        self.entries
            .retain(|_, entry| matches!(entry.phase, Phase::Running | Phase::Burying));
        // Nobody follows those that are left.
        self.lanes.clear();
    }

    /// When the next waiting message becomes ready.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Whether nothing is left here.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many handlers are running.
    #[cfg(test)]
    pub(crate) fn running(&self) -> usize {
        self.entries
            .values()
            .filter(|entry| entry.phase == Phase::Running)
            .count()
    }

    fn forget(&mut self, offset: i64) -> bool {
        let Some(entry) = self.entries.remove(&offset) else {
            return false;
        };
        self.ready.remove(&offset);
        if let Phase::Waiting(due) = entry.phase {
            self.timers.remove(&(due, offset));
        }
        if let Some(queue) = self.lanes.get_mut(&entry.lane) {
            queue.retain(|queued| *queued != offset);
            match queue.front() {
                None => {
                    self.lanes.remove(&entry.lane);
                }
                Some(head)
                    if self
                        .entries
                        .get(head)
                        .is_some_and(|entry| entry.phase == Phase::Queued) =>
                {
                    self.ready.insert(*head);
                }
                Some(_) => {}
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
