//! The way out, as callers see it.
//!
//! Each `send` walks its own message through the stages of the module `append` and waits for
//! its `outcome`. What sends share is small: a bucket per kind, the gate, the
//! nonces, one lock per partition.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use cybermesh_contracts::{
    kind::Kind,
    message::{AnomalyDraft, Draft, EvidenceDraft, PolicyDraft},
};
use cybermesh_transport::{Client, Producer, host};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    gate::ClusterGate,
    limit::TokenBucket,
    nonces::Nonces,
    options::SendOptions,
    outbox::{self, Outbox, OutboxStatus, Request},
    probe,
    receipt::{Receipt, SendError, Unknown},
    retry::RetrySchedule,
};
use crate::{
    clock::WallClock,
    dlq::DeadLetters,
    keys::SigningKey,
    settings::{Limits, Settings},
    telemetry::{Health, Metrics, SendCounts},
};

/// Time that sends are given to take note of how they ended, however late it is.
const COUNTING: Duration = Duration::from_millis(200);
/// Time that the outbox is given to take in what could not be sent, however late it is.
const SPOOLING: Duration = Duration::from_secs(2);

/// Sends drafts of any kind. Cheap to clone; all clones are one publisher.
#[derive(Debug, Clone)]
pub struct Publisher(Arc<Inner>);

/// A message that has its place in its partition. Dropping this takes nothing back.
#[derive(Debug)]
#[must_use = "whether it was written is told by its receipt"]
pub struct Enqueued(JoinHandle<Result<Receipt, SendError>>);

impl Enqueued {
    /// Waits until Kafka has the message.
    ///
    /// # Errors
    /// As [`Publisher::send`].
    pub async fn receipt(self) -> Result<Receipt, SendError> {
        self.0
            .await
            .unwrap_or(Err(SendError::Unknown(Unknown::RuntimeEnded)))
    }
}

/// What a publisher is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) client: Client,
    pub(crate) producer: Producer,
    pub(crate) gate: ClusterGate,
    pub(crate) signer: Option<SigningKey>,
    pub(crate) nonces: Nonces,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    /// The kinds that may be sent.
    pub(crate) kinds: Vec<Kind>,
    /// Where drafts go that their topic refuses.
    pub(crate) dead_letters: Option<DeadLetters>,
    /// Where messages go that cannot be sent now.
    pub(crate) outbox: Option<Arc<Outbox>>,
    /// What the producer's buffer holds, in bytes.
    pub(crate) buffer_bytes: usize,
    /// Decides the jitter of the outbox's attempts.
    pub(crate) seed: u64,
}

/// Held from a message's nonce to its append.
pub(super) type QueueLock = Arc<tokio::sync::Mutex<()>>;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) parts: Parts,
    pub(super) outbox: Option<Arc<Outbox>>,
    pub(super) topics: HashMap<Kind, Arc<str>>,
    /// Of each kind; none where there is no limit.
    pub(super) limits: HashMap<Kind, Mutex<Option<TokenBucket>>>,
    /// Taken from the nonce to the append, so that each partition's queue is in nonce order.
    pub(super) queues: Mutex<BTreeMap<(Arc<str>, i32), QueueLock>>,
    pub(super) audience: String,
    pub(super) envelope: bool,
    pub(super) patience: Duration,
    /// Whether the clock was found implausible last.
    pub(super) clock_doubted: AtomicBool,
    pub(super) closing: CancellationToken,
    /// Sends under way, and outcomes still to be counted for callers that went away.
    pub(super) under_way: TaskTracker,
}

impl Drop for Inner {
    /// Also without [`Publisher::close`] nothing is asked for any more.
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// Lets nothing but a real wait interrupt `append`: a task that runs out of its turn is woken last in, first out,
/// and so would its messages go.
async fn in_order<T>(append: impl Future<Output = T>) -> T {
    tokio::task::coop::unconstrained(append).await
}

/// What a closed publisher left behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PublisherReport {
    /// Messages acknowledged while closing.
    pub logged: u64,
    /// Messages that were not, each of whose callers was told whether it may have been written.
    pub failed: u64,
    /// Messages taken into the outbox while closing.
    pub spooled: u64,
    /// Of the failed, the ones that were on their way at the deadline.
    pub abandoned: u64,
}

impl Publisher {
    pub(crate) fn new(settings: &Settings, parts: Parts) -> Self {
        let parts = Parts {
            metrics: parts.metrics.in_cluster(&parts.client),
            ..parts
        };
        let bucket = |kind| {
            let bucket = settings.limits.of(kind).map(TokenBucket::new);
            (kind, Mutex::new(bucket))
        };
        let (closing, under_way) = (CancellationToken::new(), TaskTracker::new());
        host::spawn(under_way.track_future(probe::run(
            parts.gate.clone(),
            parts.client.clone(),
            closing.clone(),
        )));
        let outbox = parts.outbox.clone();
        let (gate, seed) = (parts.gate.clone(), parts.seed);
        let inner = Arc::new(Inner {
            parts,
            outbox: outbox.clone(),
            topics: Kind::ALL
                .into_iter()
                .map(|kind| (kind, Arc::from(settings.topics.of(kind))))
                .collect(),
            limits: Kind::ALL.into_iter().map(bucket).collect(),
            queues: Mutex::default(),
            audience: settings.node.audience.clone(),
            envelope: settings.node.envelope,
            patience: settings.send.deadline,
            clock_doubted: AtomicBool::new(false),
            closing: closing.clone(),
            under_way,
        });
        if let Some(outbox) = outbox.filter(|_| inner.parts.signer.is_some()) {
            let pace = RetrySchedule::new(settings.send.backoff, u32::MAX, seed);
            let publisher = Arc::downgrade(&inner);
            let draining = outbox::run(publisher, outbox, gate, pace, closing);
            host::spawn(inner.under_way.track_future(draining));
        }
        Self(inner)
    }

    /// Sends an anomaly. See [`send`](Self::send).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_anomaly(&self, draft: AnomalyDraft) -> Result<Receipt, SendError> {
        self.send(draft).await
    }

    /// Sends evidence. See [`send`](Self::send).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_evidence(&self, draft: EvidenceDraft) -> Result<Receipt, SendError> {
        self.send(draft).await
    }

    /// Sends a policy. See [`send`](Self::send).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_policy(&self, draft: PolicyDraft) -> Result<Receipt, SendError> {
        self.send(draft).await
    }

    /// Sends a draft of any kind and waits until Kafka has it.
    ///
    /// # Errors
    /// [`SendError`], which says whether the message may be in the log all the same. Cancelling is
    /// safe at any point: a message already handed to the transport goes on by itself, and its
    /// outcome is counted.
    ///
    /// Sends take their places in the order in which they are first polled, as long as none of them
    /// has to wait for its partition's number, a nonce on disk, or the rate limit.
    pub async fn send(&self, draft: impl Into<Draft>) -> Result<Receipt, SendError> {
        self.send_with(draft, SendOptions::default()).await
    }

    /// As [`send`](Self::send), with a key, headers, a trace or a deadline of the caller's.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_with(
        &self,
        draft: impl Into<Draft>,
        options: SendOptions,
    ) -> Result<Receipt, SendError> {
        let draft = draft.into();
        let request = Arc::new(Request { draft, options });
        let _under_way = self.0.under_way.token();
        let since = Instant::now();
        match in_order(Inner::append(&self.0, &request, since)).await {
            Ok(begun) => Inner::settle(&self.0, begun, &request, since).await,
            Err(error) => {
                let kind = request.draft.kind();
                self.0.count_failure(kind, &error, since);
                Err(error)
            }
        }
    }

    /// Gives a draft its place behind all those enqueued before it in its partition, and returns; what comes of
    /// it is told by [`Enqueued::receipt`].
    ///
    /// # Errors
    /// [`SendError`]: it has no place, and is certainly not written.
    pub async fn enqueue(&self, draft: impl Into<Draft>) -> Result<Enqueued, SendError> {
        let (draft, options) = (draft.into(), SendOptions::default());
        let request = Arc::new(Request { draft, options });
        // Whoever enqueues without end leaves others their turn: before the message has its place, as nothing may be
        // waited for behind that. A caller that goes away would leave without what tells of its receipt.
        tokio::task::coop::consume_budget().await;
        let token = self.0.under_way.token();
        let since = Instant::now();
        match in_order(Inner::append(&self.0, &request, since)).await {
            Ok(begun) => {
                let inner = Arc::clone(&self.0);
                // In a task of its own, so that the outcome is counted whether anybody asks or not.
                let enqueued = Enqueued(host::spawn(async move {
                    let _under_way = token;
                    Inner::settle(&inner, begun, &request, since).await
                }));
                Ok(enqueued)
            }
            Err(error) => {
                let kind = request.draft.kind();
                self.0.count_failure(kind, &error, since);
                Err(error)
            }
        }
    }

    /// Sends what was handed over so far without lingering, and waits until all of it is settled.
    pub async fn flush(&self) {
        self.0.parts.producer.flush().await;
    }

    /// These limits hold from now on. What waits for a token keeps the moment it was given.
    pub fn set_limits(&self, limits: &Limits) {
        for (kind, bucket) in &self.0.limits {
            let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
            *bucket = limits.of(*kind).map(|limit| match bucket.as_ref() {
                Some(before) => before.with_limit(limit),
                None => TokenBucket::new(limit),
            });
        }
    }

    /// Takes nothing more in; what waits for room is refused as [`SendError::Closed`], what is on
    /// its way is finished until `deadline` and given up then. A second call finds nothing left.
    pub async fn close(&self, deadline: Instant) -> PublisherReport {
        let before = self.metrics();
        let spooled_before = self.0.parts.metrics.spooled_count();
        self.0.closing.cancel();
        self.0.under_way.close();
        let closed = self.0.parts.producer.close(deadline).await;
        // All deliveries are settled now. What is left of each send is to count it, to write it to the outbox, and a
        // dead letter at most, which need not be waited for.
        let ending = match &self.0.outbox {
            Some(_) => SPOOLING,
            None => COUNTING,
        };
        let until = deadline.max(Instant::now() + ending);
        let _ = tokio::time::timeout_at(until, self.0.under_way.wait()).await;
        if let Some(outbox) = &self.0.outbox {
            let _ = tokio::time::timeout_at(until, outbox.close()).await;
        }
        let after = self.metrics();
        let failed = after.messages_failed - before.messages_failed;
        PublisherReport {
            logged: after.messages_sent - before.messages_sent,
            failed,
            spooled: self.0.parts.metrics.spooled_count() - spooled_before,
            // What the outbox has is not left.
            abandoned: u64::try_from(closed.abandoned)
                .unwrap_or(u64::MAX)
                .min(failed),
        }
    }

    /// What waits in the outbox, now and whenever that changes; `None` without an outbox.
    #[must_use]
    pub fn outbox(&self) -> Option<watch::Receiver<OutboxStatus>> {
        self.0.outbox.as_ref().map(|outbox| outbox.status())
    }

    /// The specification's counts.
    #[must_use]
    pub fn metrics(&self) -> SendCounts {
        self.0.parts.metrics.send_counts()
    }
}
