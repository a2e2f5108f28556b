//! The task of a producer: looks up leaders, asks the gate, carries requests, and sleeps until there is more to do.
//!
//! All decisions about a batch are the queue's. Requests are submitted in the order in which queues hand out their
//! attempts, and a broker's connection keeps that order. [`requests`] writes them and reads their answers, [`clocks`]
//! knows whose time an answer tells, [`admitted`] is the gate's leave to make one.

mod admitted;
mod clocks;
mod requests;

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{sync::watch, time::Instant};

use super::{
    Admission, AttemptId, Gate,
    pulse::Turns,
    shared::{Shared, State},
};
use crate::{
    broker::Broker,
    cluster::{Client, Generation},
    config::finite,
    error::{Class, TransportError},
    record::TopicPartition,
    route::{Route, Routes},
    wire::ProducedPartition,
};
use admitted::Admitted;
use clocks::{Clocks, Told};
use requests::{ask_for_producer_id, find_leader, tell};

/// How long after a failed request for a producer id the next one waits.
const ID_RETRY_AFTER: Duration = Duration::from_millis(250);
/// A request gets at least this long, though its batches may be about to expire: one that times out takes its
/// connection, and all that is on it, down.
const SHORTEST_REQUEST: Duration = Duration::from_secs(1);

/// Runs until the producer is closed or orphaned and nothing is left to settle.
pub(super) async fn run(shared: Arc<Shared>, turns: Turns) {
    let mut sender = Sender {
        gate: Arc::clone(&shared.config().gate),
        client: shared.client().clone(),
        shared,
        producer_id: ProducerId::None {
            ask_at: Instant::now(),
        },
        routes: Routes::default(),
        clocks: Clocks::default(),
        closed_until: None,
        events: FuturesUnordered::new(),
    };
    let mut changes = sender.gate.changes();
    while let Some(wakeup) = sender.step() {
        turns.next();
        let shared = Arc::clone(&sender.shared);
        tokio::select! {
            Some(event) = sender.events.next() => sender.take_in(event),
            () = shared.wake.notified() => {}
            () = changed(&mut changes) => sender.closed_until = None,
            () = sleep_until(wakeup) => {}
        }
    }
    turns.end();
}

impl Drop for Sender {
    /// However the task ends, with its runtime or by a panic: nobody must wait for what it will not do.
    fn drop(&mut self) {
        self.shared.close();
        self.shared.abandon();
    }
}

/// Ends when the gate's answer may be another one.
async fn changed(changes: &mut Option<watch::Receiver<u64>>) {
    if let Some(receiver) = changes
        && receiver.changed().await.is_err()
    {
        *changes = None;
    }
    if changes.is_none() {
        std::future::pending().await
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
        sent: Vec<SentBatch>,
        by: Generation,
        broker: Broker,
        answer: Produced,
        told: Vec<Told>,
        /// Where that broker could not be reached: the others may say what that means.
        doubted: Option<Admitted>,
    },
    /// The gate was told whether any broker answers.
    Doubted,
    Routed {
        partition: TopicPartition,
        found: Result<Broker, TransportError>,
        /// The view that this is by.
        by: Generation,
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
    clocks: Clocks,
    /// The gate said to come back then.
    closed_until: Option<Instant>,
    events: FuturesUnordered<Event>,
}

/// A batch in a request.
#[derive(Debug)]
struct SentBatch {
    partition: TopicPartition,
    attempt: AttemptId,
    records: usize,
    bytes: usize,
}

/// What is ready for one broker.
struct ToBroker {
    broker: Broker,
    by: Generation,
    /// Each with the age of its oldest batch.
    partitions: Vec<(Option<Instant>, TopicPartition)>,
}

impl ToBroker {
    /// Since when the oldest of all its batches waits.
    fn waiting_since(&self) -> Option<Instant> {
        self.partitions.iter().filter_map(|(since, _)| *since).min()
    }
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
        let unknown = |partition: &TopicPartition| match self.routes.get(partition) {
            None => true,
            Some(Route::Unknown { ask_at }) => *ask_at <= now,
            Some(Route::Asking | Route::Known { .. }) => false,
        };
        let mut asking: Vec<(Option<Instant>, &TopicPartition)> = state
            .queues
            .iter()
            .filter(|(partition, queue)| {
                unknown(partition) && queue.is_ready(now) && !queue.wants_id(id)
            })
            .map(|(partition, queue)| (queue.waiting_since(), partition))
            .collect();
        // A gate that admits one attempt at a time is to get the oldest.
        asking.sort_unstable();
        for (_, partition) in asking {
            let Some(admitted) = self.admit(now) else {
                return;
            };
            let misled_by = self.routes.ask(partition);
            let (client, partition) = (self.client.clone(), partition.clone());
            self.events.push(Box::pin(async move {
                let found = find_leader(&client, &partition, misled_by).await;
                let by = client.generation();
                match &found {
                    // What was known already took no broker to answer, and says nothing about one.
                    Ok(_) => drop(admitted),
                    Err(error) => admitted.record(Some(error)),
                }
                Happened::Routed {
                    partition,
                    found,
                    by,
                }
            }));
        }
    }

    /// Sends at most one request to each broker, with as many partitions' batches as it may hold; whether any was sent.
    fn send_round(&mut self, now: Instant, state: &mut State) -> bool {
        let id = self.id();
        let mut by_broker: BTreeMap<String, ToBroker> = BTreeMap::new();
        for (partition, queue) in &state.queues {
            if let Some(Route::Known { leader: broker, by }) = self.routes.get(partition)
                && queue.is_ready(now)
                && !queue.wants_id(id)
            {
                let to = by_broker
                    .entry(broker.address().to_string())
                    .or_insert_with(|| ToBroker {
                        broker: broker.clone(),
                        by: *by,
                        partitions: Vec::new(),
                    });
                to.partitions
                    .push((queue.waiting_since(), partition.clone()));
            }
        }
        let mut requests: Vec<ToBroker> = by_broker.into_values().collect();
        // A gate that admits one attempt at a time is to get the oldest batch.
        requests.sort_by_key(ToBroker::waiting_since);
        let mut sent_any = false;
        for ToBroker {
            broker,
            by,
            mut partitions,
        } in requests
        {
            let Some(admitted) = self.admit(now) else {
                return sent_any;
            };
            // Also where not all of them fit.
            partitions.sort_by_key(|(since, _)| *since);
            let mut attempts = Vec::new();
            let mut room = self.shared.config().max_request_bytes;
            for (_, partition) in partitions {
                let Some(queue) = state.queues.get_mut(&partition) else {
                    continue;
                };
                if !attempts.is_empty() && queue.next_bytes() > room {
                    continue;
                }
                if let Some(attempt) = queue.poll(now, id) {
                    room = room.saturating_sub(attempt.bytes.len());
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

    fn admit(&mut self, now: Instant) -> Option<Admitted> {
        if self.closed_until.is_some() {
            return None;
        }
        match self.gate.admit(now) {
            Admission::Admitted(permit) => Some(Admitted::new(Arc::clone(&self.gate), permit)),
            Admission::Wait(time) => {
                // A gate that says "now" and "not now" at once must not keep us spinning.
                self.closed_until = Some(now + finite(time.max(Duration::from_millis(1))));
                None
            }
        }
    }

    fn take_in(&mut self, happened: Happened) {
        let shared = Arc::clone(&self.shared);
        let now = Instant::now();
        match happened {
            Happened::Produced {
                sent,
                by,
                broker,
                answer,
                told,
                doubted,
            } => {
                self.clocks.told(told);
                let answers = self.understand(sent, &broker, answer);
                // Before anything is locked: a hook may ask the producer.
                tell(&self.client.config().hooks, &answers);
                self.produced(now, &mut shared.lock(), by, answers);
                self.doubt(doubted);
            }
            Happened::Doubted => {}
            Happened::Routed {
                partition,
                found: Ok(broker),
                by,
            } => self.routes.found(partition, broker, by),
            Happened::Routed {
                partition,
                found: Err(error),
                by,
            } => {
                if let Some(queue) = shared.lock().queues.get_mut(&partition) {
                    if error.class() == Class::Fatal {
                        queue.refuse_unsent(&error);
                    } else {
                        queue.hindered(&error);
                    }
                }
                self.routes.not_found(now, partition, by);
            }
            Happened::Identified(Ok(id)) => self.producer_id = ProducerId::Known(id),
            Happened::Identified(Err(error)) => {
                self.producer_id = ProducerId::None {
                    ask_at: now + ID_RETRY_AFTER,
                };
                for queue in shared
                    .lock()
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
        shared.settle(&mut shared.lock());
    }

    /// A broker could not be reached: whether any answers is found out beside the work.
    fn doubt(&mut self, doubted: Option<Admitted>) {
        let Some(admitted) = doubted else {
            return;
        };
        let client = self.client.clone();
        self.events.push(Box::pin(async move {
            let asked = client.ask_anew().await;
            admitted.record(asked.as_ref().err());
            Happened::Doubted
        }));
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
