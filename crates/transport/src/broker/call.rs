//! One request on its way: queued, sent, answered, given up.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, timeout_at};

use super::Broker;
use super::connection::{Connection, Ending};
use crate::error::{ErrorKind, Target, TransportError};
use crate::hooks::{Requested, Throttled};
use crate::wire::{EngineError, Request};

/// A request whose kind does not matter, as the task sees it.
pub(super) trait Job: Send {
    /// Whether nobody waits for it any more, or nobody may: it must not be sent.
    fn is_gone(&self) -> bool;

    /// Ends it with this error, before it was sent.
    fn fail(self: Box<Self>, error: &TransportError);

    /// Sends it over the connection and delivers the answer; tells if the connection is to be closed.
    fn fly(self: Box<Self>, connection: Arc<Connection>) -> Flight;
}

/// A request in flight. What it yields ends the connection.
pub(super) type Flight = Pin<Box<dyn Future<Output = Option<Ending>> + Send>>;

/// Who has the request: decided once, by whoever is first.
#[derive(Debug, Default)]
struct Custody(AtomicU8);

impl Custody {
    const QUEUED: u8 = 0;
    const SENT: u8 = 1;
    const TAKEN_BACK: u8 = 2;

    fn become_or_be(&self, wanted: u8) -> bool {
        match self
            .0
            .compare_exchange(Self::QUEUED, wanted, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => true,
            Err(found) => found == wanted,
        }
    }

    fn is_taken_back(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::TAKEN_BACK
    }
}

/// The task's end of a request.
pub(super) struct Call<R: Request> {
    request: R,
    given: Duration,
    deadline: Instant,
    custody: Arc<Custody>,
    answer: oneshot::Sender<Result<R::Response, TransportError>>,
}

impl<R: Request> Call<R> {
    pub(super) fn new(request: R, deadline: Instant, broker: Broker) -> (Self, Pending<R>) {
        let (answer, answered) = oneshot::channel();
        let custody = Arc::new(Custody::default());
        let given = deadline.saturating_duration_since(Instant::now());
        let call = Self {
            request,
            given,
            deadline,
            custody: Arc::clone(&custody),
            answer,
        };
        let pending = Pending {
            answered,
            custody,
            given,
            deadline: Box::pin(tokio::time::sleep_until(deadline)),
            broker,
        };
        (call, pending)
    }
}

impl<R: Request> Job for Call<R> {
    fn is_gone(&self) -> bool {
        self.custody.is_taken_back() || self.answer.is_closed()
    }

    fn fail(self: Box<Self>, error: &TransportError) {
        // Nobody listening any more is as good as told.
        let _ = self.answer.send(Err(error.during(R::API.operation())));
    }

    fn fly(self: Box<Self>, connection: Arc<Connection>) -> Flight {
        Box::pin(async move {
            let Self {
                request,
                given,
                deadline,
                custody,
                answer,
            } = *self;
            if !custody.become_or_be(Custody::SENT) {
                return None;
            }
            let error = |kind| {
                let target = Target::broker(connection.address());
                TransportError::new(R::API.operation(), target, kind)
            };
            let begun = Instant::now();
            let mut answer_bytes = 0;
            let exchange = timeout_at(deadline, async {
                tokio::select! {
                    biased;
                    response = connection.engine().request(&request) => response.map_err(Some),
                    () = connection.ended() => Err(None),
                }
            });
            let (result, ending) = match exchange.await {
                Ok(Ok(answer)) => {
                    connection.has_answered();
                    answer_bytes = answer.bytes;
                    if !answer.throttle.is_zero() {
                        rest(&connection, R::API.name(), answer.throttle);
                    }
                    (Ok(answer.response), None)
                }
                Ok(Err(None | Some(EngineError::Lost(_)))) => {
                    let ending = connection.ending();
                    (Err(error(ending.kind(true))), Some(ending))
                }
                Ok(Err(Some(EngineError::NoCommonVersion { theirs }))) => {
                    let kind = ErrorKind::UnsupportedVersion {
                        api: R::API.name(),
                        ours: R::VERSIONS.to_string().into(),
                        theirs: theirs.map_or("none".into(), |range| range.to_string().into()),
                    };
                    (Err(error(kind)), None)
                }
                Ok(Err(Some(EngineError::Unencodable(why)))) => {
                    let reason = why.to_string().into();
                    (Err(error(ErrorKind::Unencodable { reason })), None)
                }
                Ok(Err(Some(EngineError::Malformed(reason)))) => {
                    let kind = ErrorKind::Malformed {
                        reason: reason.into(),
                    };
                    let reason = "the broker sent a malformed answer to another request";
                    (Err(error(kind)), Some(Ending::Closed(reason)))
                }
                Ok(Err(Some(EngineError::VersionsRefused(_)))) => {
                    (Err(error(ErrorKind::Closed)), None)
                }
                Err(_elapsed) => {
                    let kind = ErrorKind::TimedOut {
                        after: given,
                        sent: true,
                    };
                    let reason = "another request was not answered within its deadline";
                    (Err(error(kind)), Some(Ending::Closed(reason)))
                }
            };
            connection.hooks().tell(|hooks| {
                hooks.requested(&Requested {
                    broker: connection.address(),
                    purpose: connection.purpose(),
                    api: R::API.name(),
                    took: begun.elapsed(),
                    answer_bytes,
                    outcome: result.as_ref().map(drop),
                });
            });
            let _ = answer.send(result);
            ending
        })
    }
}

/// Does as the broker asks.
fn rest(connection: &Connection, api: &'static str, asked: Duration) {
    let time = connection.rest(asked);
    connection.hooks().tell(|hooks| {
        hooks.throttled(&Throttled {
            broker: connection.address(),
            purpose: connection.purpose(),
            api,
            time,
        });
    });
}

/// The answer to a request, to come.
#[derive(Debug)]
pub(crate) struct Pending<R: Request> {
    answered: oneshot::Receiver<Result<R::Response, TransportError>>,
    custody: Arc<Custody>,
    given: Duration,
    deadline: Pin<Box<Sleep>>,
    /// Keeps the connection open until the answer is there.
    broker: Broker,
}

impl<R: Request> Pending<R> {
    fn error(&self, kind: ErrorKind) -> TransportError {
        TransportError::new(
            R::API.operation(),
            Target::broker(self.broker.address()),
            kind,
        )
    }
}

impl<R: Request> Future for Pending<R> {
    type Output = Result<R::Response, TransportError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(answer) = Pin::new(&mut self.answered).poll(context) {
            return Poll::Ready(answer.unwrap_or_else(|_| {
                Err(self.error(ErrorKind::ConnectionLost {
                    reason: "the connection's task has ended".into(),
                    sent: !self.custody.become_or_be(Custody::TAKEN_BACK),
                }))
            }));
        }
        if self.deadline.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        let sent = !self.custody.become_or_be(Custody::TAKEN_BACK);
        Poll::Ready(Err(self.error(ErrorKind::TimedOut {
            after: self.given,
            sent,
        })))
    }
}

impl<R: Request> Drop for Pending<R> {
    fn drop(&mut self) {
        self.custody.become_or_be(Custody::TAKEN_BACK);
    }
}
