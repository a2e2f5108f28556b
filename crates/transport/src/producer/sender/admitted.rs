//! The gate's leave to make one attempt.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    error::{ErrorKind, TransportError},
    producer::{AttemptOutcome, Gate, Permit},
};

/// An attempt the gate let through; it hears of the outcome exactly once, whatever becomes of the task.
pub(super) struct Admitted(Option<(Arc<dyn Gate>, Permit)>);

impl Admitted {
    pub(super) fn new(gate: Arc<dyn Gate>, permit: Permit) -> Self {
        Self(Some((gate, permit)))
    }

    pub(super) fn record(mut self, error: Option<&TransportError>) {
        let outcome = match error {
            Some(error) if error.is_unreachable() => AttemptOutcome::Unreachable,
            Some(error) if matches!(error.kind(), ErrorKind::Busy { .. } | ErrorKind::Closed) => {
                AttemptOutcome::Abandoned
            }
            Some(_) | None => AttemptOutcome::Answered,
        };
        if let Some((gate, permit)) = self.0.take() {
            gate.record(Instant::now(), permit, outcome);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some((gate, permit)) = self.0.take() {
            gate.record(Instant::now(), permit, AttemptOutcome::Abandoned);
        }
    }
}
