//! What is known about the order of each partition's messages, and how it outlives this process.
//!
//! [`store`] is where a partition's [`order`] comes from when it is assigned and goes to when it is given up: from this
//! process's memory where the partition left it, else from the state that stands beside the committed offset
//! ([`sealing`]) or its copy in the state folder ([`copies`]), with the ring read back from the [`log`], also where our clock is behind what is read ([`ahead`]). Where that
//! leaves less known than there should be, an alarm says so.

mod ahead;
pub(crate) mod copies;
mod log;
mod order;
mod sealing;
mod store;

use std::sync::Arc;

use cybermesh_contracts::replay::Snapshot;
use cybermesh_transport::{Client, IsolationLevel, host};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::verify::ContractJudge;
pub use copies::forget_copy;
pub use sealing::StateSigning;
pub(crate) use sealing::{Room, Sealed, Sealing};
pub(crate) use store::{Orders, Source};

/// Copies that may wait to be written.
const WAITING: usize = 1024;

/// The orders of a subscriber, and the task that writes their copies, where there is a state folder.
pub(crate) fn orders(
    source: Source,
    client: Client,
    isolation: IsolationLevel,
    judge: Arc<ContractJudge>,
) -> (Orders, Option<JoinHandle<()>>) {
    let (copies, writing) = match &source.state {
        None => (None, None),
        Some(state) => {
            let (copies, waiting) = mpsc::channel(WAITING);
            let (state, sealing) = (Arc::clone(state), Arc::clone(&source.sealing));
            let metrics = source.metrics.clone();
            let most_bytes = Snapshot::MOST_TEXT_BYTES;
            let writing = copies::write(state, sealing, metrics, most_bytes, waiting);
            let writing = host::spawn(writing);
            (Some(copies), Some(writing))
        }
    };
    let log = log::FetchedLog {
        client,
        isolation,
        judge,
    };
    (Orders::new(source, Arc::new(log), copies), writing)
}

#[cfg(test)]
mod tests;
