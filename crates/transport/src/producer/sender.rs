//! The task of a producer: looks up leaders, asks the gate, carries requests, and sleeps until there is more to do.
//!
//! All decisions about a batch are the queue's. Requests are submitted in the order in which queues hand out their
//! attempts, and a broker's connection keeps that order.

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;

use super::{
    Admission, AttemptId, AttemptOutcome, Gate, Permit,
    queue::{Answer, Attempt},
    shared::{Shared, State},
};
use crate::{
    broker::{Broker, Purpose},
    cluster::{Client, Generation},
    error::{Class, ErrorCode, ErrorKind, Operation, Target, TransportError},
    record::TopicPartition,
    route::{Route, Routes},
    wire::{InitProducerIdRequest, ProducePartition, ProduceRequest, ProducedPartition},
};

/// How long after a failed request for a producer id the next one waits.
const ID_RETRY_AFTER: Duration = Duration::from_millis(250);
/// A request gets at least this long, though its batches may be about to expire: one that times out takes its
/// connection, and all that is on it, down.
const SHORTEST_REQUEST: Duration = Duration::from_secs(1);

/// Runs until the producer is closed or orphaned and nothing is left to settle.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut sender = Sender {
        gate: Arc::clone(&shared.config().gate),
        client: shared.client().clone(),
        shared,
        producer_id: ProducerId::None {
            ask_at: Instant::now(),
        },
        routes: Routes::default(),
        closed_until: None,
        events: FuturesUnordered::new(),
    };
    while let Some(wakeup) = sender.step() {
        let shared = Arc::clone(&sender.shared);
        tokio::select! {
            Some(event) = sender.events.next() => sender.take_in(event),
            () = shared.wake.notified() => {}
            () = sleep_until(wakeup) => {}
        }
    }
}

impl Drop for Sender {
    /// However the task ends, with its runtime or by a panic: nobody must wait for what it will not do.
    fn drop(&mut self) {
        self.shared.close();
        self.shared.abandon();
    }
}

async fn sleep_until(wakeup: Option<Instant>) {
    match wakeup {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[derive(Debug, Clone, Copy)]
enum ProducerId {
    None { ask_at: Instant },
    Asking,
    Known(i64),
}

type Event = Pin<Box<dyn Future<Output = Happened> + Send>>;

enum Happened {
    Produced {
        sent: Vec<(TopicPartition, AttemptId)>,
        by: Generation,
        broker: Broker,
        answer: Produced,
    },
    Routed {
        partition: TopicPartition,
        found: Result<(Broker, Generation), TransportError>,
    },
    Identified(Result<i64, TransportError>),
}

type Produced = Result<Vec<(String, Vec<ProducedPartition>)>, TransportError>;

struct Sender {
    shared: Arc<Shared>,
    client: Client,
    gate: Arc<dyn Gate>,
    producer_id: ProducerId,
    routes: Routes<Broker>,
    /// The gate said to come back then.
    closed_until: Option<Instant>,
    events: FuturesUnordered<Event>,
}

impl Sender {
    /// Does all that can be done now; gives the time to look again, or `None` when all is over.
    fn step(&mut self) -> Option<Option<Instant>> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let now = Instant::now();
        self.closed_until = self.closed_until.filter(|until| *until > now);
        state
            .queues
            .values_mut()
            .for_each(|queue| queue.advance(now));
        self.ask_for_id(now, &state);
        self.ask_for_routes(now, &state);
        while self.send_round(now, &mut state) {}
        shared.settle(&mut state);
        (!state.is_over()).then(|| self.next_wakeup(now, &state))
    }

    fn id(&self) -> Option<i64> {
        match self.producer_id {
            ProducerId::Known(id) => Some(id),
            ProducerId::None { .. } | ProducerId::Asking => None,
        }
    }

    fn ask_for_id(&mut self, now: Instant, state: &State) {
        let id = self.id();
        if !state.queues.values().any(|queue| queue.wants_id(id)) {
            return;
        }
        let due = match self.producer_id {
            ProducerId::None { ask_at } => ask_at <= now,
            ProducerId::Asking => false,
            // It is spent for a partition that cannot go on with it.
            ProducerId::Known(_) => true,
        };
        if due && let Some(admitted) = self.admit(now) {
            self.producer_id = ProducerId::Asking;
            let client = self.client.clone();
            self.events.push(Box::pin(async move {
                let answer = ask_for_producer_id(&client).await;
                admitted.record(answer.as_ref().err());
                Happened::Identified(answer)
            }));
        }
    }

    fn ask_for_routes(&mut self, now: Instant, state: &State) {
        let id = self.id();
        for (partition, queue) in &state.queues {
            let due = match self.routes.get(partition) {
                None => true,
                Some(Route::Unknown { ask_at }) => *ask_at <= now,
                Some(Route::Asking | Route::Known { .. }) => false,
            };
            if !due || !queue.is_ready(now) || queue.wants_id(id) {
                continue;
            }
            let Some(admitted) = self.admit(now) else {
                return;
            };
            let misled_by = self.routes.ask(partition);
            let (client, partition) = (self.client.clone(), partition.clone());
            self.events.push(Box::pin(async move {
                let found = find_leader(&client, &partition, misled_by).await;
                match &found {
                    // What was known already took no broker to answer, and says nothing about one.
                    Ok(_) => drop(admitted),
                    Err(error) => admitted.record(Some(error)),
                }
                Happened::Routed { partition, found }
            }));
        }
    }

    /// Sends at most one request to each broker; whether any was sent.
    fn send_round(&mut self, now: Instant, state: &mut State) -> bool {
        let id = self.id();
        let mut by_broker: BTreeMap<String, (Broker, Generation, Vec<TopicPartition>)> =
            BTreeMap::new();
        for (partition, queue) in &state.queues {
            if let Some(Route::Known { leader: broker, by }) = self.routes.get(partition)
                && queue.is_ready(now)
                && !queue.wants_id(id)
            {
                let entry = by_broker
                    .entry(broker.address().to_string())
                    .or_insert_with(|| (broker.clone(), *by, Vec::new()));
                entry.2.push(partition.clone());
            }
        }
        let mut sent_any = false;
        for (broker, by, partitions) in by_broker.into_values() {
            let Some(admitted) = self.admit(now) else {
                return sent_any;
            };
            let mut attempts = Vec::new();
            for partition in partitions {
                if let Some(attempt) = state
                    .queues
                    .get_mut(&partition)
                    .and_then(|queue| queue.poll(now, id))
                {
                    attempts.push((partition, attempt));
                }
            }
            if !attempts.is_empty() {
                sent_any = true;
                self.send(now, broker, by, attempts, admitted);
            }
        }
        sent_any
    }

    fn send(
        &mut self,
        now: Instant,
        broker: Broker,
        by: Generation,
        attempts: Vec<(TopicPartition, Attempt)>,
        admitted: Admitted,
    ) {
        let latest = attempts
            .iter()
            .map(|(_, attempt)| attempt.deadline)
            .max()
            .unwrap_or(now);
        let deadline = latest
            .max(now + SHORTEST_REQUEST)
            .min(self.client.request_deadline());
        // The broker is to say that it ran out of time before we stop listening.
        let patience = deadline.saturating_duration_since(now).mul_f32(0.8);
        let mut topics: BTreeMap<String, Vec<ProducePartition>> = BTreeMap::new();
        let mut sent = Vec::with_capacity(attempts.len());
        for (partition, attempt) in attempts {
            let produce = ProducePartition {
                partition: partition.partition,
                batch: attempt.bytes,
            };
            topics
                .entry(partition.topic.to_string())
                .or_default()
                .push(produce);
            sent.push((partition, attempt.id));
        }
        let request = ProduceRequest {
            timeout_ms: i32::try_from(patience.as_millis()).unwrap_or(i32::MAX),
            topics: topics.into_iter().collect(),
        };
        // Submitting is what fixes the order on the connection; waiting comes after.
        let pending = broker.submit(request, deadline);
        self.events.push(Box::pin(async move {
            let answer = pending.await;
            admitted.record(answer.as_ref().err());
            Happened::Produced {
                sent,
                by,
                broker,
                answer,
            }
        }));
    }

    fn admit(&mut self, now: Instant) -> Option<Admitted> {
        if self.closed_until.is_some() {
            return None;
        }
        match self.gate.admit(now) {
            Admission::Admitted(permit) => Some(Admitted(Some((Arc::clone(&self.gate), permit)))),
            Admission::Wait(time) => {
                // A gate that says "now" and "not now" at once must not keep us spinning.
                self.closed_until = Some(now + time.max(Duration::from_millis(1)));
                None
            }
        }
    }

    fn take_in(&mut self, happened: Happened) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let now = Instant::now();
        match happened {
            Happened::Produced {
                sent,
                by,
                broker,
                answer,
            } => self.produced(now, &mut state, sent, by, &broker, answer),
            Happened::Routed {
                partition,
                found: Ok((broker, by)),
            } => self.routes.found(partition, broker, by),
            Happened::Routed {
                partition,
                found: Err(error),
            } => {
                if let Some(queue) = state.queues.get_mut(&partition) {
                    if error.class() == Class::Fatal {
                        queue.refuse_unsent(&error);
                    } else {
                        queue.hindered(&error);
                    }
                }
                self.routes.not_found(now, partition);
            }
            Happened::Identified(Ok(id)) => self.producer_id = ProducerId::Known(id),
            Happened::Identified(Err(error)) => {
                self.producer_id = ProducerId::None {
                    ask_at: now + ID_RETRY_AFTER,
                };
                for queue in state
                    .queues
                    .values_mut()
                    .filter(|queue| queue.wants_id(None))
                {
                    if error.class() == Class::Fatal {
                        queue.refuse_unsent(&error);
                    } else {
                        queue.hindered(&error);
                    }
                }
            }
        }
        shared.settle(&mut state);
    }

    fn produced(
        &mut self,
        now: Instant,
        state: &mut State,
        sent: Vec<(TopicPartition, AttemptId)>,
        by: Generation,
        broker: &Broker,
        answer: Produced,
    ) {
        let mut answers: HashMap<(String, i32), ProducedPartition> = HashMap::new();
        let failure = match answer {
            Ok(topics) => {
                for (topic, partitions) in topics {
                    answers.extend(
                        partitions
                            .into_iter()
                            .map(|answer| ((topic.clone(), answer.partition), answer)),
                    );
                }
                None
            }
            Err(error) => Some(error),
        };
        for (partition, attempt) in sent {
            let target = Target::broker(broker.address())
                .partition(partition.topic.clone(), partition.partition);
            let answer = match (
                &failure,
                answers.remove(&(partition.topic.to_string(), partition.partition)),
            ) {
                (Some(error), _) => Answer::Failed(error.about(target)),
                (None, Some(answer)) => understand(answer, target),
                (None, None) => {
                    let kind = ErrorKind::Malformed {
                        reason: "the answer leaves a partition out".into(),
                    };
                    Answer::Failed(TransportError::new(Operation::Produce, target, kind))
                }
            };
            if points_elsewhere(&answer) {
                self.routes.misled(&partition, by);
            }
            if let Some(queue) = state.queues.get_mut(&partition) {
                queue.answered(now, attempt, answer);
            }
        }
    }

    fn next_wakeup(&self, now: Instant, state: &State) -> Option<Instant> {
        let id = self.id();
        let mut earliest: Option<Instant> = None;
        let mut consider = |at: Option<Instant>| {
            earliest = earliest.into_iter().chain(at).min();
        };
        for (partition, queue) in &state.queues {
            consider(queue.next_deadline());
            let Some(send_at) = queue.next_send() else {
                continue;
            };
            // What hinders it decides; an answer that is on its way wakes us by itself.
            consider(if queue.wants_id(id) {
                match self.producer_id {
                    ProducerId::None { ask_at } => self.closed_until.max(Some(ask_at)),
                    ProducerId::Asking => None,
                    ProducerId::Known(_) => self.closed_until,
                }
            } else {
                match self.routes.get(partition) {
                    Some(Route::Asking) => None,
                    Some(Route::Unknown { ask_at }) => {
                        self.closed_until.max(Some(*ask_at)).max(Some(send_at))
                    }
                    Some(Route::Known { .. }) | None => self.closed_until.max(Some(send_at)),
                }
            });
        }
        // Nothing in the past may be waited for in a circle: whatever is due was done, or is hindered.
        earliest.map(|at| at.max(now + Duration::from_millis(1)))
    }
}

/// An attempt the gate let through; it hears of the outcome exactly once, whatever becomes of the task.
struct Admitted(Option<(Arc<dyn Gate>, Permit)>);

impl Admitted {
    fn record(mut self, error: Option<&TransportError>) {
        let outcome = match error {
            Some(error) if error.is_unreachable() => AttemptOutcome::Unreachable,
            Some(error) if matches!(error.kind(), ErrorKind::Busy { .. } | ErrorKind::Closed) => {
                AttemptOutcome::Abandoned
            }
            Some(_) | None => AttemptOutcome::Answered,
        };
        if let Some((gate, permit)) = self.0.take() {
            gate.record(Instant::now(), permit, outcome);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some((gate, permit)) = self.0.take() {
            gate.record(Instant::now(), permit, AttemptOutcome::Abandoned);
        }
    }
}

fn understand(answer: ProducedPartition, target: Target) -> Answer {
    let known = |number: i64| (number >= 0).then_some(number);
    match ErrorCode::from_code(answer.error_code) {
        None | Some(ErrorCode::DuplicateSequenceNumber) => Answer::Written {
            base_offset: known(answer.base_offset),
            log_append_time_ms: known(answer.log_append_time_ms),
        },
        Some(code) => {
            let named = answer
                .record_errors
                .iter()
                .filter_map(|(index, _)| usize::try_from(*index).ok());
            let kind = ErrorKind::Code {
                code,
                message: answer.error_message.map(Into::into),
            };
            Answer::Refused {
                code,
                records: named.collect(),
                error: TransportError::new(Operation::Produce, target, kind),
            }
        }
    }
}

/// Whether the answer says that another broker may be the right one.
fn points_elsewhere(answer: &Answer) -> bool {
    match answer {
        Answer::Written { .. } => false,
        Answer::Failed(_) => true,
        Answer::Refused { code, .. } => matches!(
            code,
            ErrorCode::UnknownTopicOrPartition
                | ErrorCode::LeaderNotAvailable
                | ErrorCode::NotLeaderOrFollower
                | ErrorCode::ReplicaNotAvailable
                | ErrorCode::KafkaStorageError
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::UnknownLeaderEpoch
                | ErrorCode::UnknownTopicId
        ),
    }
}

async fn ask_for_producer_id(client: &Client) -> Result<i64, TransportError> {
    let answer = client.ask_any(InitProducerIdRequest).await?;
    match ErrorCode::from_code(answer.error_code) {
        // A negative id would mean none, and with it no protection from duplicates.
        None if answer.producer_id < 0 => Err(TransportError::new(
            Operation::InitProducerId,
            Target::default(),
            ErrorKind::Malformed {
                reason: "a producer id is negative".into(),
            },
        )),
        None => Ok(answer.producer_id),
        Some(code) => Err(TransportError::code(
            Operation::InitProducerId,
            Target::default(),
            code,
        )),
    }
}

async fn find_leader(
    client: &Client,
    partition: &TopicPartition,
    misled_by: Option<Generation>,
) -> Result<(Broker, Generation), TransportError> {
    if let Some(misled_by) = misled_by {
        client.refresh(misled_by).await?;
    }
    let (_, broker) = client
        .leader_broker(&partition.topic, partition.partition, Purpose::Produce)
        .await?;
    Ok((broker, client.generation()))
}
