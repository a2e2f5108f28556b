//! Writing records: idempotent, in order, acknowledged by all in-sync replicas.
//!
//! A caller sends ([`Producer::send`]) and awaits the [`Delivery`]; or, where the partition must be known before the
//! record is made, reserves room ([`Producer::reserve`]) and appends ([`Reservation::append`]). `partitioner` chooses the
//! partition. Behind that, `queue` decides for each partition what is sent when, under which sequence, and what each answer means; `batch`
//! is what it keeps; `sender` is the task that looks up leaders, asks the [`Gate`] and carries requests; `outcome`,
//! `config`, `stats` and `pulse` are what callers see of it.

mod batch;
mod config;
mod outcome;
mod partitioner;
mod pulse;
mod queue;
mod sender;
mod shared;
mod stats;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::Instant,
};

pub use config::{
    Admission, AttemptOutcome, FixedSchedule, Gate, HoldPolicy, NeverHold, OpenGate, Permit,
    ProducerConfig, ResendSchedule,
};
pub use outcome::{Appended, DeliveryError, GiveUp, Written};
pub use partitioner::partition_for_key;
pub use pulse::Pulse;
use queue::AttemptId;
use shared::Shared;
pub use stats::ProducerStats;

use crate::{
    cluster::Client,
    error::{ErrorKind, Operation, Target, TransportError},
    record::{Record, TopicPartition},
};

/// What a record takes of memory beside its bytes until it is settled: its place in a batch, and the way its owner is
/// told. Measured 200 to 260 bytes.
const BESIDE_ITS_BYTES: usize = 256;

/// Writes records. Cheap to clone; clones share buffer, connections and sequences.
///
/// When the last clone and the last [`Reservation`] are gone, what was appended is still delivered, or given up at its
/// deadline, as long as the runtime lives.
#[derive(Debug, Clone)]
pub struct Producer(Arc<Handle>);

/// Tells the task when nobody can append any more.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.orphan();
    }
}

/// What [`Producer::close`] left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Records given up at the deadline; their deliveries tell which may have been written.
    pub abandoned: usize,
}

impl Producer {
    /// A producer on this client's cluster. Sends nothing before the first record; needs a Tokio runtime.
    pub fn new(client: Client, config: ProducerConfig) -> Self {
        let (turns, seen) = pulse::Turns::new();
        let shared = Arc::new(Shared::new(client, config, seen));
        crate::host::spawn(sender::run(Arc::clone(&shared), turns));
        Self(Arc::new(Handle { shared }))
    }

    /// Waits for room for one record of at most `bytes` ([`Record::size_bound`]). Dropping the future, or the
    /// reservation, is harmless.
    ///
    /// # Errors
    /// The topic or the partition is not known, `bytes` is more than the whole buffer, or the producer is closed.
    pub async fn reserve(
        &self,
        topic: &str,
        partition: i32,
        bytes: usize,
    ) -> Result<Reservation, TransportError> {
        let topic = self.0.shared.client().topic(topic).await?;
        let partitions = topic.partition_count();
        let partition = TopicPartition::new(Arc::clone(topic.shared_name()), partition);
        if !(0..partitions).contains(&partition.partition) {
            return Err(about(&partition, ErrorKind::NoSuchPartition { partitions }));
        }
        self.reserve_in(partition, bytes).await
    }

    /// Chooses the record's partition (by its key as every Kafka client does, see [`partition_for_key`]; without a key
    /// the same one for a batch's worth of bytes), waits for room and appends. Dropping the future before it is ready
    /// sends nothing; dropping the delivery cancels nothing.
    ///
    /// Records of one partition keep the order in which these futures complete.
    ///
    /// # Errors
    /// The topic is not known, the record is larger than the whole buffer, or the producer is closed.
    pub async fn send(&self, topic: &str, record: Record) -> Result<Delivery, TransportError> {
        let topic = self.0.shared.client().topic(topic).await?;
        let partition = self.0.shared.choose(&topic, &record);
        let partition = TopicPartition::new(Arc::clone(topic.shared_name()), partition);
        let room = self.reserve_in(partition, record.size_bound()).await?;
        Ok(room.append(record))
    }

    /// The partition for the next record without a key, which takes `bytes`: for callers who must know it before they
    /// make the record. Those of [`send`](Self::send) without a key go there too.
    ///
    /// # Errors
    /// The topic is not known.
    pub async fn partition_without_key(
        &self,
        topic: &str,
        bytes: usize,
    ) -> Result<i32, TransportError> {
        let topic = self.0.shared.client().topic(topic).await?;
        Ok(self.0.shared.stay(&topic, bytes))
    }

    async fn reserve_in(
        &self,
        partition: TopicPartition,
        bytes: usize,
    ) -> Result<Reservation, TransportError> {
        let shared = &self.0.shared;
        let limit = shared.config().buffer_bytes;
        let taken = bytes.saturating_add(BESIDE_ITS_BYTES).min(limit);
        let permits = u32::try_from(taken)
            .ok()
            .filter(|_| bytes <= limit)
            .ok_or_else(|| {
                let reason =
                    format!("a record of {bytes} bytes does not fit the buffer of {limit}");
                let reason = reason.into();
                about(&partition, ErrorKind::Unencodable { reason })
            })?;
        let room = shared
            .room()
            .acquire_many_owned(permits)
            .await
            .map_err(|_| about(&partition, ErrorKind::Closed))?;
        Ok(Reservation {
            producer: Arc::clone(&self.0),
            partition,
            bytes,
            room,
        })
    }

    /// Ends the hold of a partition ([`HoldPolicy`]): what is appended from now on is sent. Nothing happens where it is
    /// not held.
    pub fn resume(&self, topic: &str, partition: i32) {
        self.0.shared.resume(&TopicPartition::new(topic, partition));
    }

    /// What it is doing at the moment, and whether someone else writes under its id.
    pub fn stats(&self) -> ProducerStats {
        self.0.shared.stats()
    }

    /// Asks its task for a sign of life, and waits for it: for ever, where the task hangs. Whether any broker
    /// answers makes no difference.
    pub async fn pulse(&self) -> Pulse {
        let shared = &self.0.shared;
        let mut seen = shared.turns().clone();
        seen.mark_unchanged();
        shared.wake.notify_one();
        pulse::next_turn(seen).await
    }

    /// Sends what was appended so far without lingering, and waits until all of it is settled one way or the other.
    pub async fn flush(&self) {
        self.0.shared.flush().await;
    }

    /// Takes nothing more in, sends what is there, and gives up at `deadline` what is not settled by then.
    pub async fn close(&self, deadline: Instant) -> Closed {
        self.0.shared.close();
        // Whether all was settled in time shows in what is left to abandon.
        let _ = tokio::time::timeout_at(deadline, self.0.shared.flush()).await;
        Closed {
            abandoned: self.0.shared.abandon(),
        }
    }
}

fn about(partition: &TopicPartition, kind: ErrorKind) -> TransportError {
    let target = Target::default().partition(partition.topic.clone(), partition.partition);
    TransportError::new(Operation::Produce, target, kind)
}

/// Room for one record in the buffer of a producer.
#[derive(Debug)]
pub struct Reservation {
    producer: Arc<Handle>,
    partition: TopicPartition,
    bytes: usize,
    room: OwnedSemaphorePermit,
}

impl Reservation {
    /// Puts a record behind all those appended to its partition before. Does not wait, so that a caller can, under a
    /// lock of its own, number, sign and append in one order.
    ///
    /// A record larger than the reservation, and any after the producer was closed, is given up at once.
    pub fn append(self, record: Record) -> Delivery {
        self.append_with(record, None)
    }

    /// As [`append`](Self::append), to be given up at `deadline`, or after
    /// [`delivery_timeout`](ProducerConfig::delivery_timeout) if that is sooner. A request that is on its way by then
    /// is waited for, at most a second longer.
    pub fn append_until(self, record: Record, deadline: Instant) -> Delivery {
        self.append_with(record, Some(deadline))
    }

    fn append_with(self, record: Record, deadline: Option<Instant>) -> Delivery {
        let (done, outcome) = oneshot::channel();
        let token = shared::Token::new(done, self.room);
        self.producer
            .shared
            .append(self.partition, record, self.bytes, deadline, token);
        Delivery { outcome }
    }

    /// The partition the room is for.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }
}

/// The end of a record's way, to come. Dropping it cancels nothing.
#[derive(Debug)]
pub struct Delivery {
    outcome: oneshot::Receiver<Result<Appended, DeliveryError>>,
}

impl Future for Delivery {
    type Output = Result<Appended, DeliveryError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome).poll(context).map(|outcome| {
            outcome.unwrap_or_else(|_| {
                // The runtime shut down under the task; nobody knows how far it was.
                Err(DeliveryError {
                    written: Written::Unknown,
                    reason: GiveUp::Closed,
                    resends: 0,
                    error: TransportError::new(
                        Operation::Produce,
                        Target::default(),
                        ErrorKind::Closed,
                    ),
                })
            })
        })
    }
}
