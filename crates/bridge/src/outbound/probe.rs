//! Asks a cluster that did not answer whether it is back, where nobody has anything to send.
//!
//! A half-open breaker tries the cluster with the work there is, the oldest first. A process that has none would
//! never hear of the cluster's return: it stays unready, so it is given no work. So whoever has work is left a
//! moment to go first, and after that metadata is asked for.

use std::time::Duration;

use cybermesh_transport::{
    Client, ErrorKind, TransportError,
    producer::{Admission, AttemptOutcome, Gate},
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::gate::ClusterGate;

/// How long whoever has something to send may go first.
const FIRST_COME: Duration = Duration::from_secs(1);

/// Probes until `closing`.
pub(super) async fn run(gate: ClusterGate, client: Client, closing: CancellationToken) {
    let mut changes = gate.subscribe();
    loop {
        let due = async {
            match gate.probe_from(Instant::now()) {
                Some(from) => sleep_until(from + FIRST_COME).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = closing.cancelled() => return,
            changed = changes.changed() => match changed {
                Ok(()) => continue,
                Err(_gone) => return,
            },
            () = due => {}
        }
        let Admission::Admitted(permit) = gate.admit(Instant::now()) else {
            continue;
        };
        let outcome = tokio::select! {
            () = closing.cancelled() => AttemptOutcome::Abandoned,
            asked = client.ask_anew() => said_by(asked.as_ref().err()),
        };
        gate.record(Instant::now(), permit, outcome);
    }
}

/// Any answer is an answer, an unwelcome one too.
fn said_by(error: Option<&TransportError>) -> AttemptOutcome {
    match error {
        Some(error) if error.is_unreachable() => AttemptOutcome::Unreachable,
        Some(error) if matches!(error.kind(), ErrorKind::Closed) => AttemptOutcome::Abandoned,
        Some(_) | None => AttemptOutcome::Answered,
    }
}
