//! What happened, as it is seen: a history for the checker, and the deeds done meanwhile.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cybermesh_checker::{Event, History};
use cybermesh_tests::log::now_ms;

/// Everything that is written down during a run.
#[derive(Debug)]
pub(crate) struct Diary {
    begun: Instant,
    begun_unix_ms: i64,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    events: Vec<(u64, Event)>,
    deeds: BTreeMap<&'static str, usize>,
}

impl Diary {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            begun_unix_ms: now_ms(),
            pages: Mutex::default(),
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The same of a moment by the clock on the wall; 0 before the run.
    pub(crate) fn at_unix_ms(&self, unix_ms: i64) -> u64 {
        u64::try_from(unix_ms - self.begun_unix_ms).unwrap_or(0)
    }

    /// It happened now.
    pub(crate) fn note(&self, event: Event) {
        let at = self.now();
        self.pages().events.push((at, event));
    }

    /// It happened then.
    pub(crate) fn note_at(&self, at_ms: u64, event: Event) {
        self.pages().events.push((at_ms, event));
    }

    /// Something was done to those at work. Says so, with the time.
    pub(crate) fn deed(&self, what: &'static str, whom: &str) {
        let at = self.now();
        *self.pages().deeds.entry(what).or_default() += 1;
        println!(
            "{:>7.1} s  {what} {whom}",
            std::time::Duration::from_millis(at).as_secs_f64()
        );
    }

    pub(crate) fn deeds(&self) -> BTreeMap<&'static str, usize> {
        self.pages().deeds.clone()
    }

    /// Everything in the order of its time; what has the same time, in the order it was noted.
    pub(crate) fn history(&self) -> History {
        let mut events = self.pages().events.clone();
        events.sort_by_key(|(at, _)| *at);
        let mut history = History::new();
        for (at, event) in events {
            history.push(at, event);
        }
        history
    }
}
