//! How a message that is on its way ends, and that it is counted once, also where its caller went away.

use std::{sync::Arc, time::Duration};

use cybermesh_contracts::{kind::Kind, message::Draft};
use cybermesh_transport::{
    Appended, Delivery, DeliveryError, ErrorCode, Written, producer::GiveUp,
};
use tokio::time::{Instant, timeout_at};

use super::{
    append::{Addressed, Pending},
    failed::is_topics_fault,
    options::SendOptions,
    publisher::Inner,
    receipt::{Invalid, NotSent, Receipt, SendError, TooLarge, Unknown},
};

impl Inner {
    /// Waits for the end, counts it, and buries the draft where its topic refused it.
    pub(super) async fn settle(
        self: &Arc<Self>,
        pending: Pending,
        draft: &Draft,
        options: &SendOptions,
    ) -> Result<Receipt, SendError> {
        let Pending { to, delivery } = pending;
        let deadline = (to.patience.until, to.patience.whole);
        let mut waiting = Waiting {
            publisher: self,
            to: &to,
            delivery: Some(delivery),
        };
        let error = match waiting.until(deadline).await {
            Ok(Appended {
                partition, offset, ..
            }) => {
                return Ok(Receipt::Logged {
                    topic: Arc::clone(&to.topic),
                    partition,
                    offset,
                });
            }
            Err(Unsettled::Late(deadline)) => {
                return Err(SendError::Unknown(Unknown::DeadlinePassed(deadline)));
            }
            Err(Unsettled::GivenUp(error)) => error,
        };
        // With an outbox, what was given up would go there, until the cluster is well again.
        if is_topics_fault(&error) {
            // In a task of its own: a caller that goes away, or whose deadline passes, only stops waiting.
            let burying = {
                let (publisher, error) = (Arc::clone(self), error.clone());
                let (to, draft, options) = (to.clone(), draft.clone(), options.clone());
                self.under_way
                    .spawn(async move { publisher.bury(&to, &draft, &options, &error).await })
            };
            drop(timeout_at(deadline.0, burying).await);
        }
        Err(verdict(error, to.value_bytes))
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

enum Unsettled {
    GivenUp(DeliveryError),
    Late(Duration),
}

/// Somebody waits for a delivery. Where they stop waiting, a task goes on for the sake of the count.
struct Waiting<'a> {
    publisher: &'a Arc<Inner>,
    to: &'a Addressed,
    delivery: Option<Delivery>,
}

impl Waiting<'_> {
    async fn until(&mut self, (until, whole): (Instant, Duration)) -> Result<Appended, Unsettled> {
        let Some(delivery) = &mut self.delivery else {
            return Err(Unsettled::Late(Duration::ZERO));
        };
        let outcome = timeout_at(until, delivery)
            .await
            .map_err(|_| Unsettled::Late(whole))?;
        self.delivery = None;
        self.publisher.count(self.to, &outcome);
        outcome.map_err(Unsettled::GivenUp)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let (Some(delivery), Ok(runtime)) =
            (self.delivery.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let (publisher, to) = (Arc::clone(self.publisher), self.to.clone());
        let under_way = publisher.under_way.clone();
        under_way.spawn_on(
            async move {
                let outcome = delivery.await;
                publisher.count(&to, &outcome);
            },
            &runtime,
        );
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
