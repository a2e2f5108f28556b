//! How a message that is on its way ends, and that it is counted once, also where its caller went away.

use std::{sync::Arc, time::Duration};

use cybermesh_contracts::kind::Kind;
use cybermesh_transport::{
    Appended, Delivery, DeliveryError, ErrorCode, Written, host, producer::GiveUp,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::{
    append::{Addressed, Begun, Patience, Pending, TakenBack, not_kept},
    failed::is_topics_fault,
    outbox::{Keeping, NotKept, Request, is_kept},
    publisher::Inner,
    receipt::{Invalid, NotSent, Receipt, SendError, TooLarge, Unknown},
};

/// What writing to the outbox may take in any case, however little of a caller's time is left.
const WRITING: Duration = Duration::from_secs(1);

impl Inner {
    /// Waits for the end, counts it, and buries the draft where its topic refused it.
    pub(super) async fn settle(
        self: &Arc<Self>,
        begun: Begun,
        request: &Arc<Request>,
        since: Instant,
    ) -> Result<Receipt, SendError> {
        let Pending { to, delivery } = match begun {
            Begun::Pending(pending) => pending,
            Begun::Spooling(keeping, patience) => {
                let kept = self.keep(keeping);
                return match spooled(patience, kept).await {
                    Ok(kept) => kept.map_err(|refusal| {
                        let error = not_kept("it could not be sent".to_owned(), refusal);
                        self.count_failure(request.draft.kind(), &error, since);
                        error
                    }),
                    Err(late) => Err(late),
                };
            }
        };
        if host::bug("acknowledged-early") {
            return Ok(Receipt::Logged {
                topic: Arc::clone(&to.topic),
                partition: to.partition,
                offset: None,
            });
        }
        let deadline = (to.patience.until, to.patience.whole);
        let mut waiting = Waiting {
            publisher: self,
            request,
            to: &to,
            delivery: Some(delivery),
        };
        let error = match waiting.until(deadline).await {
            Ok(End::Logged(Appended {
                partition, offset, ..
            })) => {
                return Ok(Receipt::Logged {
                    topic: Arc::clone(&to.topic),
                    partition,
                    offset,
                });
            }
            Ok(End::Keeping(error, kept)) => {
                return spooled(to.patience, kept)
                    .await?
                    .map_err(|refusal| unkept(error, refusal));
            }
            Ok(End::Refused(error)) => return Err(error),
            Err(late) => return Err(SendError::Unknown(Unknown::DeadlinePassed(late))),
            Ok(End::GivenUp(error)) => error,
        };
        if is_topics_fault(&error) {
            // In a task of its own: a caller that goes away, or whose deadline passes, only stops waiting.
            let burying = {
                let (publisher, error) = (Arc::clone(self), error.clone());
                let (to, request) = (to.clone(), Arc::clone(request));
                host::spawn(self.under_way.track_future(async move {
                    let headers = &request.options.headers;
                    publisher.bury(&to, &request.draft, headers, &error).await;
                }))
            };
            drop(timeout_at(deadline.0, burying).await);
        }
        Err(verdict(error, to.value_bytes))
    }

    /// Waits for the disk in a task of its own: a caller that goes away only stops waiting.
    fn keep(self: &Arc<Self>, keeping: Keeping) -> JoinHandle<Result<u64, NotKept>> {
        host::spawn(self.under_way.track_future(keeping.kept()))
    }

    /// The transport is done with a message: counts it, or gives it to the outbox.
    fn end(
        self: &Arc<Self>,
        to: &Addressed,
        request: &Request,
        outcome: Result<Appended, DeliveryError>,
    ) -> End {
        let (Some(outbox), Some(TakenBack { place, record })) = (&self.outbox, &to.kept) else {
            self.count(to, &outcome);
            return outcome.map_or_else(End::GivenUp, End::Logged);
        };
        let error = match outcome {
            Err(error) if is_kept(&error) => error,
            outcome => {
                outbox.settled(&to.topic, to.partition, &self.parts.producer);
                self.count(to, &outcome);
                return outcome.map_or_else(End::GivenUp, End::Logged);
            }
        };
        let entry = match error.written() {
            Written::Unknown => {
                request.to_signed(&to.topic, to.partition, record, *place, to.begun_unix_ms)
            }
            Written::No => {
                let partition = Some(to.partition);
                request.to_draft(&to.topic, partition, to.key.as_deref(), to.begun_unix_ms)
            }
        };
        let producer = &self.parts.producer;
        match outbox.take_back(*place, to.partition, &entry, producer) {
            Ok(keeping) => {
                let (publisher, to, counted) = (Arc::clone(self), to.clone(), error.clone());
                let kept = host::spawn(self.under_way.track_future(async move {
                    let kept = keeping.kept().await;
                    if kept.is_err() {
                        publisher.count(&to, &Err(counted));
                    }
                    kept
                }));
                End::Keeping(error, kept)
            }
            Err(refusal) => {
                self.count(to, &Err(error.clone()));
                End::Refused(unkept(error, refusal))
            }
        }
    }

    /// Counts a message that never reached the transport.
    pub(super) fn count_failure(&self, kind: Kind, error: &SendError, begun: Instant) {
        self.parts.metrics.send_failed(
            &self.topics[&kind],
            None,
            kind,
            error.as_str(),
            begun.elapsed(),
        );
    }

    fn count(&self, to: &Addressed, outcome: &Result<Appended, DeliveryError>) {
        let took = to.begun.elapsed();
        match outcome {
            Ok(_) => {
                self.parts
                    .metrics
                    .sent(&to.topic, to.partition, to.kind, to.value_bytes, took)
            }
            Err(error) => {
                let name = verdict(error.clone(), to.value_bytes).as_str();
                self.parts
                    .metrics
                    .send_failed(&to.topic, Some(to.partition), to.kind, name, took);
            }
        }
    }
}

/// How a message ended.
enum End {
    Logged(Appended),
    GivenUp(DeliveryError),
    /// Given up, and on its way to the disk.
    Keeping(DeliveryError, JoinHandle<Result<u64, NotKept>>),
    /// Given up, and not taken into the outbox either.
    Refused(SendError),
}

/// Waits until a message is on disk. A disk that hangs is not waited for for ever.
async fn spooled(
    patience: Patience,
    kept: JoinHandle<Result<u64, NotKept>>,
) -> Result<Result<Receipt, NotKept>, SendError> {
    let until = patience.until.max(Instant::now() + WRITING);
    match timeout_at(until, kept).await {
        Ok(Ok(kept)) => Ok(kept.map(|sequence| Receipt::Spooled { sequence })),
        Ok(Err(_gone)) => Err(SendError::Unknown(Unknown::RuntimeEnded)),
        Err(_) => Err(SendError::Unknown(Unknown::DeadlinePassed(patience.whole))),
    }
}

/// Given up, and not kept.
fn unkept(error: DeliveryError, refusal: NotKept) -> SendError {
    match error.written() {
        Written::Unknown => SendError::Unknown(Unknown::GivenUp(error)),
        Written::No => not_kept(error.to_string(), refusal),
    }
}

/// Somebody waits for a delivery. Where they stop waiting, a task goes on for the sake of the count, and the outbox.
struct Waiting<'a> {
    publisher: &'a Arc<Inner>,
    request: &'a Arc<Request>,
    to: &'a Addressed,
    delivery: Option<Delivery>,
}

impl Waiting<'_> {
    async fn until(&mut self, (until, whole): (Instant, Duration)) -> Result<End, Duration> {
        let Some(delivery) = &mut self.delivery else {
            return Err(Duration::ZERO);
        };
        let outcome = timeout_at(until, delivery).await.map_err(|_| whole)?;
        self.delivery = None;
        Ok(self.publisher.end(self.to, self.request, outcome))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let (Some(delivery), Ok(_runtime)) =
            (self.delivery.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let (publisher, to) = (Arc::clone(self.publisher), self.to.clone());
        let request = Arc::clone(self.request);
        let under_way = publisher.under_way.clone();
        host::spawn(under_way.track_future(async move {
            let outcome = delivery.await;
            // What is kept goes to the disk in a task of its own.
            drop(publisher.end(&to, &request, outcome));
        }));
    }
}

/// What the transport's answer means to a caller.
fn verdict(error: DeliveryError, value_bytes: usize) -> SendError {
    match (error.written(), error.reason(), error.error().error_code()) {
        (Written::Unknown, ..) => SendError::Unknown(Unknown::GivenUp(error)),
        (Written::No, _, Some(ErrorCode::MessageTooLarge)) => {
            SendError::TooLarge(TooLarge::Broker {
                bytes: value_bytes,
                error,
            })
        }
        (Written::No, GiveUp::Refused, Some(ErrorCode::InvalidRecord)) => {
            SendError::Invalid(Invalid::Refused(error))
        }
        (Written::No, ..) => SendError::NotSent(NotSent::GivenUp(error)),
    }
}
