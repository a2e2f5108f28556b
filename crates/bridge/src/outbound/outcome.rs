//! How a message that is on its way ends, and that it is counted once, also where its caller went away.

use std::{sync::Arc, time::Duration};

use cybermesh_contracts::{kind::Kind, message::Draft};
use cybermesh_transport::{
    Appended, Delivery, DeliveryError, ErrorCode, Written, producer::GiveUp,
};
use tokio::time::{Instant, timeout_at};

use super::{
    append::Pending,
    failed::{FailedDraft, is_topics_fault},
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
        let Pending {
            kind,
            topic,
            partition,
            key,
            value_bytes,
            begun,
            begun_unix_ms,
            delivery,
        } = pending;
        let counted = Counted {
            kind,
            topic: Arc::clone(&topic),
            value_bytes,
            begun,
        };
        let mut waiting = Waiting {
            publisher: self,
            counted,
            delivery: Some(delivery),
        };
        let error = match waiting
            .until(
                options
                    .deadline
                    .map(|deadline| (begun + deadline, deadline)),
            )
            .await
        {
            Ok(Appended {
                partition, offset, ..
            }) => {
                return Ok(Receipt::Logged {
                    topic,
                    partition,
                    offset,
                });
            }
            Err(Unsettled::Late(deadline)) => {
                return Err(SendError::Unknown(Unknown::DeadlinePassed(deadline)));
            }
            Err(Unsettled::GivenUp(error)) => error,
        };
        // With an outbox, what was given up would go there instead, for the cluster to be well again.
        if let (Some(failed), true) = (&self.parts.failed, is_topics_fault(&error)) {
            let reason = error.to_string();
            let draft = FailedDraft {
                topic: &topic,
                partition,
                key: &key,
                headers: &options.headers,
                draft,
                attempts: error.resends() + 1,
                first_failed_at_ms: begun_unix_ms,
                reason: &reason,
            };
            failed.bury(draft).await;
        }
        Err(verdict(error, value_bytes))
    }

    /// Counts a message that never reached the transport.
    pub(super) fn count_failure(&self, kind: Kind, error: &SendError, begun: Instant) {
        self.parts
            .metrics
            .send_failed(&self.topics[&kind], kind, error.as_str(), begun.elapsed());
    }

    fn count(&self, counted: &Counted, outcome: &Result<Appended, DeliveryError>) {
        let took = counted.begun.elapsed();
        match outcome {
            Ok(_) => {
                self.parts
                    .metrics
                    .sent(&counted.topic, counted.kind, counted.value_bytes, took)
            }
            Err(error) => {
                let name = verdict(error.clone(), counted.value_bytes).as_str();
                self.parts
                    .metrics
                    .send_failed(&counted.topic, counted.kind, name, took);
            }
        }
    }
}

/// What is known of a message for counting it.
#[derive(Debug, Clone)]
struct Counted {
    kind: Kind,
    topic: Arc<str>,
    value_bytes: usize,
    begun: Instant,
}

enum Unsettled {
    GivenUp(DeliveryError),
    Late(Duration),
}

/// Somebody waits for a delivery. Where they stop waiting, a task goes on for the sake of the count.
struct Waiting<'a> {
    publisher: &'a Arc<Inner>,
    counted: Counted,
    delivery: Option<Delivery>,
}

impl Waiting<'_> {
    async fn until(
        &mut self,
        deadline: Option<(Instant, Duration)>,
    ) -> Result<Appended, Unsettled> {
        let Some(delivery) = &mut self.delivery else {
            return Err(Unsettled::Late(Duration::ZERO));
        };
        let outcome = match deadline {
            None => delivery.await,
            Some((until, whole)) => timeout_at(until, delivery)
                .await
                .map_err(|_| Unsettled::Late(whole))?,
        };
        self.delivery = None;
        self.publisher.count(&self.counted, &outcome);
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
        let (publisher, counted) = (Arc::clone(self.publisher), self.counted.clone());
        let tracker = publisher.under_way.clone();
        tracker.spawn_on(
            async move {
                let outcome = delivery.await;
                publisher.count(&counted, &outcome);
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
