//! What tests hear of the log: the level of each event.

use std::sync::{Arc, Mutex};

use tracing::{
    Event, Level, Metadata,
    span::{Attributes, Id, Record},
};

/// Writes down the level of every event.
#[derive(Debug, Clone, Default)]
pub(super) struct Levels(Arc<Mutex<Vec<Level>>>);

impl Levels {
    /// The levels of all events so far, the first first.
    pub(super) fn told(&self) -> Vec<Level> {
        self.0.lock().unwrap().clone()
    }
}

impl tracing::Subscriber for Levels {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(*event.metadata().level());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
