//! What callers and the sending task share: the queues, the room, and who waits for what.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch},
    time::Instant,
};

use super::{
    Appended, DeliveryError, GiveUp, ProducerConfig, ProducerStats, Written,
    partitioner::{Sticky, partition_for_key},
    pulse::Turn,
    queue::{Alarm, PartitionQueue, QueueSettings},
};
use crate::{
    cluster::{Client, TopicMetadata},
    config::finite,
    error::{ErrorKind, Operation, Target, TransportError},
    record::{Record, TopicPartition},
};

/// How the owner of a record is told, and the room it takes until then.
#[derive(Debug)]
pub(super) struct Token {
    done: oneshot::Sender<Result<Appended, DeliveryError>>,
    _room: OwnedSemaphorePermit,
    number: u64,
}

impl Token {
    pub(super) fn new(
        done: oneshot::Sender<Result<Appended, DeliveryError>>,
        room: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            done,
            _room: room,
            number: 0,
        }
    }
}

/// Queues by partition. The lock round it is held for moments only, never across an await.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) queues: BTreeMap<TopicPartition, PartitionQueue<Token>>,
    /// Numbers of the records that are not settled.
    unsettled: BTreeSet<u64>,
    next_number: u64,
    /// Nothing more is taken in.
    closed: bool,
    /// Nobody is left who could append.
    orphaned: bool,
    sequences_taken: u64,
    fences: u64,
}

impl State {
    /// Whether the task has nothing left to do, now and for ever.
    pub(super) fn is_over(&self) -> bool {
        (self.closed || self.orphaned) && self.unsettled.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    config: ProducerConfig,
    client: Client,
    state: Mutex<State>,
    room: Arc<Semaphore>,
    room_bytes: usize,
    sticky: Mutex<Sticky>,
    /// For the task: something was appended, or is to be looked at.
    pub(super) wake: Notify,
    /// For those who flush: something was settled.
    settled: Notify,
    /// How far the task is.
    turns: watch::Receiver<Turn>,
}

impl Shared {
    pub(super) fn new(
        client: Client,
        config: ProducerConfig,
        turns: watch::Receiver<Turn>,
    ) -> Self {
        let config = ProducerConfig {
            linger: finite(config.linger),
            delivery_timeout: finite(config.delivery_timeout),
            ..config
        };
        let room = config.buffer_bytes.min(Semaphore::MAX_PERMITS);
        Self {
            sticky: Mutex::new(Sticky::new(config.batch_bytes)),
            config,
            client,
            state: Mutex::default(),
            room: Arc::new(Semaphore::new(room)),
            room_bytes: room,
            wake: Notify::new(),
            settled: Notify::new(),
            turns,
        }
    }

    pub(super) fn turns(&self) -> &watch::Receiver<Turn> {
        &self.turns
    }

    pub(super) fn config(&self) -> &ProducerConfig {
        &self.config
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn room(&self) -> Arc<Semaphore> {
        Arc::clone(&self.room)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partition of a record.
    pub(super) fn choose(&self, topic: &TopicMetadata, record: &Record) -> i32 {
        let count = u32::try_from(topic.partition_count())
            .ok()
            .and_then(NonZeroU32::new);
        match (&record.key, count) {
            (Some(key), Some(count)) => partition_for_key(key, count),
            _ => self.stay(topic, record.size_bound()),
        }
    }

    /// The partition where records without a key go at present; `bytes` of it are used up.
    pub(super) fn stay(&self, topic: &TopicMetadata, bytes: usize) -> i32 {
        let partitions = topic.partitions().iter();
        let led: Vec<bool> = partitions.map(|one| one.leader.is_some()).collect();
        let mut sticky = self.sticky.lock().unwrap_or_else(PoisonError::into_inner);
        sticky.choose(topic.name(), &led, bytes)
    }

    pub(super) fn append(
        &self,
        partition: TopicPartition,
        record: Record,
        reserved: usize,
        deadline: Option<Instant>,
        mut token: Token,
    ) {
        let refuse = |reason, kind| {
            let target = Target::default().partition(partition.topic.clone(), partition.partition);
            let error = TransportError::new(Operation::Produce, target, kind);
            DeliveryError {
                written: Written::No,
                reason,
                resends: 0,
                error,
            }
        };
        let mut state = self.lock();
        let refusal = if state.closed {
            Some(refuse(GiveUp::Closed, ErrorKind::Closed))
        } else if record.size_bound() > reserved {
            let reason = format!(
                "the record may take {} bytes, {reserved} were reserved",
                record.size_bound()
            );
            Some(refuse(
                GiveUp::Unfit,
                ErrorKind::Unencodable {
                    reason: reason.into(),
                },
            ))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            drop(state);
            // Whoever dropped the delivery does not want to know.
            let _ = token.done.send(Err(refusal));
            return;
        }
        token.number = state.next_number;
        state.next_number += 1;
        state.unsettled.insert(token.number);
        let queue = state.queues.entry(partition.clone()).or_insert_with(|| {
            let settings = QueueSettings {
                linger: self.config.linger,
                batch_bytes: self.config.batch_bytes,
                max_in_flight: self.config.max_in_flight.clamp(1, 5),
                delivery_timeout: self.config.delivery_timeout,
                compression: self.config.compression,
                schedule: Arc::clone(&self.config.schedule),
                hold: Arc::clone(&self.config.hold),
            };
            PartitionQueue::new(partition, settings)
        });
        let now = Instant::now();
        let deadline = deadline.unwrap_or(now + self.config.delivery_timeout);
        queue.append_until(now, deadline, record, token);
        if queue.is_held() {
            // It is given up at once, and nothing wakes the task for that.
            self.settle(&mut state);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Passes on what queues have settled.
    pub(super) fn settle(&self, state: &mut State) {
        let mut any = false;
        for (partition, queue) in &mut state.queues {
            for (token, result) in queue.take_settled() {
                state.unsettled.remove(&token.number);
                // Whoever dropped the delivery does not want to know.
                let _ = token.done.send(result);
                any = true;
            }
            for alarm in queue.take_alarms() {
                match alarm {
                    Alarm::SequenceTaken { .. } => state.sequences_taken += 1,
                    Alarm::Fenced => state.fences += 1,
                    Alarm::Unprotected => {}
                }
                raise(partition, alarm);
            }
        }
        if any {
            self.settled.notify_waiters();
        }
    }

    pub(super) fn stats(&self) -> ProducerStats {
        let state = self.lock();
        let queues = || state.queues.values();
        ProducerStats {
            buffered_records: state.unsettled.len(),
            reserved_bytes: self
                .room_bytes
                .saturating_sub(self.room.available_permits()),
            batches_in_flight: queues().map(PartitionQueue::in_flight).sum(),
            resends: queues().map(PartitionQueue::resends).sum(),
            sequences_taken: state.sequences_taken,
            fences: state.fences,
            unprotected_partitions: queues().filter(|queue| queue.is_unprotected()).count(),
        }
    }

    pub(super) async fn flush(&self) {
        let before = {
            let mut state = self.lock();
            state.queues.values_mut().for_each(PartitionQueue::flush);
            state.next_number
        };
        self.wake.notify_one();
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            // Listening begins before looking, so that nothing is missed in between.
            settled.as_mut().enable();
            if self
                .lock()
                .unsettled
                .first()
                .is_none_or(|first| *first >= before)
            {
                return;
            }
            settled.await;
        }
    }

    pub(super) fn resume(&self, partition: &TopicPartition) {
        if let Some(queue) = self.lock().queues.get_mut(partition) {
            queue.resume();
        }
    }

    pub(super) fn close(&self) {
        self.room.close();
        self.lock().closed = true;
        self.wake.notify_one();
    }

    pub(super) fn abandon(&self) -> usize {
        let mut state = self.lock();
        let abandoned = state.unsettled.len();
        state.queues.values_mut().for_each(PartitionQueue::abandon);
        self.settle(&mut state);
        drop(state);
        self.wake.notify_one();
        abandoned
    }

    pub(super) fn orphan(&self) {
        let mut state = self.lock();
        state.orphaned = true;
        state.queues.values_mut().for_each(PartitionQueue::flush);
        drop(state);
        self.wake.notify_one();
    }
}

fn raise(partition: &TopicPartition, alarm: Alarm) {
    let (topic, partition) = (&*partition.topic, partition.partition);
    match alarm {
        Alarm::SequenceTaken { offset } => tracing::error!(
            topic,
            partition,
            offset,
            "someone else has written under this producer's id and sequence; going on under a new id"
        ),
        Alarm::Fenced => tracing::error!(
            topic,
            partition,
            "someone else has written under a later epoch of this producer's id; going on under a new one"
        ),
        Alarm::Unprotected => tracing::error!(
            topic,
            partition,
            "every new producer id was taken by someone else; going on without one, one batch at a time, until restart"
        ),
    }
}
