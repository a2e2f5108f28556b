//! One broker for one purpose: a connection that is dialled when needed, its requests, its death.
//!
//! [`Broker`] is a handle to a task that owns the connection. Requests leave in the order of
//! [`Broker::submit`]; many may be in flight. A connection on which a request passed its deadline is suspect
//! (its answers can no longer be trusted to come) and is closed; the next request dials anew, by the schedule
//! of the configuration. The task never retries a request: whether to ask again is the caller's decision.

mod call;
mod connection;
mod task;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

pub(crate) use call::Pending;
pub(crate) use connection::{Connection, Ending, Fate, Stream, Watched, Wire};

use call::{Call, Job};

pub(crate) use crate::hooks::Purpose;

use crate::config::{Address, ClientConfig};
use crate::error::{ErrorKind, Target, TransportError};
use crate::wire::Request;

/// More than this many requests waiting for one broker mean that something is wrong here, not there.
const MOST_WAITING: usize = 4096;

/// A broker for one purpose. Cheap to clone; the connection closes when the last clone and the last
/// unanswered request are gone.
#[derive(Debug, Clone)]
pub(crate) struct Broker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    address: Address,
    jobs: mpsc::Sender<Box<dyn Job>>,
    _task: AbortOnDropHandle<()>,
}

impl Broker {
    /// A broker that is dialled at its first request. Must be called within a Tokio runtime.
    pub(crate) fn new(address: Address, purpose: Purpose, config: Arc<ClientConfig>) -> Self {
        let (jobs, queue) = mpsc::channel(MOST_WAITING);
        let task = crate::host::spawn(task::run(address.clone(), purpose, config, queue));
        Self(Arc::new(Shared {
            address,
            jobs,
            _task: AbortOnDropHandle::new(task),
        }))
    }

    pub(crate) fn address(&self) -> &Address {
        &self.0.address
    }

    /// Queues a request behind those submitted before and returns its answer to come.
    ///
    /// Dropping the answer takes the request back if it has not left yet, and else only forgets the answer.
    pub(crate) fn submit<R: Request>(&self, request: R, deadline: Instant) -> Pending<R> {
        let (call, pending) = Call::new(request, deadline, self.clone());
        if let Err(refused) = self.0.jobs.try_send(Box::new(call)) {
            let kind = match &refused {
                mpsc::error::TrySendError::Full(_) => ErrorKind::Busy {
                    limit: MOST_WAITING,
                },
                mpsc::error::TrySendError::Closed(_) => ErrorKind::Closed,
            };
            let error =
                TransportError::new(R::API.operation(), Target::broker(self.address()), kind);
            refused.into_inner().fail(&error);
        }
        pending
    }

    /// Sends a request and waits for its answer; `deadline` includes the dialling, if that is needed.
    ///
    /// # Errors
    /// Connecting failed, the connection was lost, or the deadline passed. Error codes within the response
    /// are the caller's to look at.
    pub(crate) async fn request<R: Request>(
        &self,
        request: R,
        deadline: Instant,
    ) -> Result<R::Response, TransportError> {
        self.submit(request, deadline).await
    }
}
