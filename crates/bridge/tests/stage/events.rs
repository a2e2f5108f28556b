//! What is logged, written down.
#![expect(clippy::unwrap_used, reason = "the stage is part of tests")]

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Every event of the process and the fields of every span, whichever thread it comes from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<(Level, String)>>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Events {
    /// Written down from now on, for the whole process: one test to a binary.
    pub(crate) fn listen() -> Self {
        let events = Self::default();
        tracing::subscriber::set_global_default(events.clone()).unwrap();
        events
    }

    #[allow(dead_code, reason = "one of the two tests counts, the other reads")]
    pub(crate) fn lines(&self) -> Vec<(Level, String)> {
        self.0.lock().unwrap().clone()
    }

    #[allow(dead_code, reason = "one of the two tests counts, the other reads")]
    /// Takes what was written down so far.
    pub(crate) fn take(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn write(&self, metadata: &Metadata<'_>, fields: impl FnOnce(&mut Line<'_>)) {
        let mut line = metadata.target().to_owned();
        fields(&mut Line(&mut line));
        self.0.lock().unwrap().push((*metadata.level(), line));
    }
}

impl Subscriber for Events {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        // Spans say nothing by themselves at any level; what they carry may still not be content.
        let mut line = span.metadata().target().to_owned();
        span.record(&mut Line(&mut line));
        self.0.lock().unwrap().push((Level::TRACE, line));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.write(event.metadata(), |line| event.record(line));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
