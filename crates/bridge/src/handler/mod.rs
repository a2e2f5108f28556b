//! What a service writes: one handler per kind, and what it may answer.
//!
//! A [`Handler`] is given a [`Verified`] message and its [`Context`] and answers a [`Verdict`] or
//! a [`HandlerError`]. Closures that return a future are handlers too:
//!
//! ```
//! use cybermesh_bridge::handler::{Context, Handler, HandlerError, Verdict};
//! use cybermesh_contracts::message::Anomaly;
//! use cybermesh_contracts::verify::Verified;
//!
//! fn anomalies() -> impl Handler<Anomaly> {
//!     |message: Verified<Anomaly>, context: Context| async move {
//!         if context.attempt() > 3 {
//!             return Ok(Verdict::reject("the case store does not take it"));
//!         }
//!         store(message.message()).await?;
//!         Ok(Verdict::Done)
//!     }
//! }
//!
//! async fn store(_anomaly: &Anomaly) -> Result<(), HandlerError> {
//!     Err(HandlerError::retriable("case store is restarting"))
//! }
//! # let _ = anomalies();
//! ```
//!
//! # What a handler may rely on
//! - Nothing unverified reaches it: a `Verified` is made by the verifier alone.
//! - Messages of one lane (topic, partition, key) come one at a time, in log order; messages of
//!   other lanes come at the same time.
//! - It may see a message again: after its own retry verdict, its deadline or a cancellation,
//!   after a crash or a lost session, and by redrive. Its effects should bear that.
//!
//! # What is asked of it
//! - It must not block its thread; blocking work belongs on `tokio::task::spawn_blocking`, which
//!   a deadline can no longer cancel.
//! - It must bear being dropped at any await: that is how a deadline, a rebalance or a stop ends it.
//! - A panic is caught and counts as a retriable error.

mod context;
mod registry;
mod verdict;

use std::future::Future;

use cybermesh_contracts::verify::Verified;

pub use context::Context;
pub use registry::{Handled, Handlers, HandlersError};
pub use verdict::{HandlerError, MAX_RETRY_AFTER, Severity, Verdict};

/// Handles the verified messages of one kind.
pub trait Handler<M>: Send + Sync + 'static {
    /// Handles one message.
    ///
    /// # Errors
    /// A retriable error is tried again in place, with backoff, up to the attempts that the
    /// settings allow; a permanent one sends the message to the dead-letter topic.
    fn handle(
        &self,
        message: Verified<M>,
        context: Context,
    ) -> impl Future<Output = Result<Verdict, HandlerError>> + Send;
}

impl<M, F, Fut> Handler<M> for F
where
    F: Fn(Verified<M>, Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Verdict, HandlerError>> + Send,
{
    fn handle(
        &self,
        message: Verified<M>,
        context: Context,
    ) -> impl Future<Output = Result<Verdict, HandlerError>> + Send {
        self(message, context)
    }
}
