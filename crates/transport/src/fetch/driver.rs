//! The task that asks leaders for what the state wants: one request at a time per broker.

mod requests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;

use super::{
    Shared,
    state::{Chunk, CutOff, Incarnation, Wanted},
};
use crate::{
    broker::Broker,
    cluster::{Client, Generation},
    config::Address,
    consumer::{Event, FetchConfig, Position, StartPolicy},
    error::{Class, ErrorCode, ErrorKind, Operation, Target, TransportError},
    record::TopicPartition,
    route::{Route, Routes},
    wire::FetchedPartition,
};

pub(super) async fn run(
    client: Client,
    config: FetchConfig,
    start: StartPolicy,
    shared: Arc<Shared>,
) {
    let mut driver = Driver {
        client,
        config,
        start,
        shared: Arc::clone(&shared),
        routes: Routes::default(),
        brokers: HashMap::new(),
        busy: HashSet::new(),
        turns: HashMap::new(),
        happenings: FuturesUnordered::new(),
    };
    loop {
        let wakeup = driver.step();
        tokio::select! {
            Some(happened) = driver.happenings.next() => driver.take_in(happened),
            () = shared.work.notified() => {}
            () = sleep_until(wakeup) => {}
        }
    }
}

async fn sleep_until(wakeup: Option<Instant>) {
    match wakeup {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// A partition's leader, and the epoch it leads in.
#[derive(Debug, Clone)]
struct Led {
    address: Address,
    epoch: i32,
}

/// A partition that a request is for.
struct Asked {
    partition: TopicPartition,
    incarnation: Incarnation,
    offset: i64,
    /// The epoch its leader is known to lead in, and by which view: the partitions of one request may be known by
    /// different ones.
    leader_epoch: i32,
    by: Generation,
}

enum Happened {
    Routed {
        partition: TopicPartition,
        found: Result<Led, TransportError>,
        /// The view that this is by.
        by: Generation,
    },
    Resolved {
        partition: TopicPartition,
        incarnation: Incarnation,
        by: Generation,
        offset: Result<i64, TransportError>,
    },
    Fetched {
        address: Address,
        asked: Vec<Asked>,
        answer: Result<Vec<Answered>, TransportError>,
    },
}

type Answered = (TopicPartition, FetchedPartition);

struct Driver {
    client: Client,
    config: FetchConfig,
    start: StartPolicy,
    shared: Arc<Shared>,
    routes: Routes<Led>,
    /// Connections of our own: a long poll would hold up whoever shared them.
    brokers: HashMap<Address, Broker>,
    busy: HashSet<Address>,
    /// How many fetches each broker was sent: the others are no reason to pass a partition over.
    turns: HashMap<Address, usize>,
    happenings: FuturesUnordered<Pin<Box<dyn Future<Output = Happened> + Send>>>,
}

impl Driver {
    /// Asks for all that can be asked for now; gives the time to look again.
    fn step(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        state.make_room();
        let mut wakeup = state.next_wakeup(now);
        let mut fetches: BTreeMap<String, (Address, Vec<Asked>)> = BTreeMap::new();
        for (partition, incarnation, wanted) in state.wanted(now) {
            let (led, by) = match self.routes.get(&partition) {
                Some(Route::Known { leader, by }) => (leader.clone(), *by),
                Some(Route::Asking) => continue,
                Some(Route::Unknown { ask_at }) if *ask_at > now => {
                    wakeup = Some(wakeup.map_or(*ask_at, |at| at.min(*ask_at)));
                    continue;
                }
                Some(Route::Unknown { .. }) | None => {
                    self.find_leader(partition);
                    continue;
                }
            };
            match wanted {
                Wanted::Resolve(position) => {
                    state.asking(&partition);
                    self.resolve(partition, incarnation, position, &led, by);
                }
                Wanted::Fetch(offset) if !self.busy.contains(&led.address) => {
                    let (_, asked) = fetches
                        .entry(led.address.to_string())
                        .or_insert_with(|| (led.address, Vec::new()));
                    asked.push(Asked {
                        partition,
                        incarnation,
                        offset,
                        leader_epoch: led.epoch,
                        by,
                    });
                }
                Wanted::Fetch(_) => {}
            }
        }
        for (address, asked) in fetches.into_values() {
            for one in &asked {
                state.asking(&one.partition);
            }
            self.fetch(address, asked);
        }
        wakeup
    }

    fn take_in(&mut self, happened: Happened) {
        let now = Instant::now();
        match happened {
            Happened::Routed {
                partition,
                found: Ok(led),
                by,
            } => self.routes.found(partition, led, by),
            Happened::Routed {
                partition,
                found: Err(error),
                by,
            } => {
                self.routes.not_found(now, partition, by);
                self.shared.change(|state| state.tell(Event::Failed(error)));
            }
            Happened::Resolved {
                partition,
                incarnation,
                offset: Ok(offset),
                ..
            } => {
                self.shared
                    .change(|state| state.resolved(&partition, incarnation, offset));
            }
            Happened::Resolved {
                partition,
                incarnation,
                by,
                offset: Err(error),
            } => {
                self.failed(now, &partition, incarnation, by, error);
            }
            Happened::Fetched {
                address,
                asked,
                answer,
            } => {
                self.busy.remove(&address);
                self.fetched(now, asked, answer);
            }
        }
    }

    fn fetched(
        &mut self,
        now: Instant,
        asked: Vec<Asked>,
        answer: Result<Vec<Answered>, TransportError>,
    ) {
        let mut answers: HashMap<TopicPartition, FetchedPartition> = match answer {
            Ok(answers) => answers.into_iter().collect(),
            Err(error) => {
                let shared = Arc::clone(&self.shared);
                shared.change(|state| {
                    for one in &asked {
                        self.routes.misled(&one.partition, one.by);
                        state.failed(now, &one.partition, one.incarnation);
                    }
                    state.tell(Event::Failed(error));
                });
                return;
            }
        };
        let frame_bytes: usize = answers.values().map(|answer| answer.records.len()).sum();
        for one in asked {
            let Asked {
                partition,
                incarnation,
                by,
                ..
            } = one;
            let Some(answer) = answers.remove(&partition) else {
                self.shared
                    .change(|state| state.failed(now, &partition, incarnation));
                continue;
            };
            let Some(code) = ErrorCode::from_code(answer.error_code) else {
                let chunk = Chunk {
                    records: apart(answer.records, frame_bytes),
                    aborted: answer
                        .aborted
                        .iter()
                        .map(|one| (one.producer_id, one.first_offset))
                        .collect(),
                    high_watermark: answer.high_watermark,
                    last_stable_offset: answer.last_stable_offset,
                    log_start_offset: answer.log_start_offset,
                };
                self.shared.change(|state| {
                    let fetched = state.fetched(now, &partition, incarnation, chunk);
                    if let Err(CutOff { offset }) = fetched {
                        let reason = format!("bytes but no whole batch at offset {offset}");
                        let kind = ErrorKind::Malformed {
                            reason: reason.into(),
                        };
                        let target = target_of(&partition);
                        let error = TransportError::new(Operation::Fetch, target, kind);
                        state.tell(Event::Failed(error));
                    }
                });
                continue;
            };
            let error = TransportError::code(Operation::Fetch, target_of(&partition), code);
            if code == ErrorCode::OffsetOutOfRange {
                let reset_to = match self.start {
                    StartPolicy::Earliest => Some(Position::Earliest),
                    StartPolicy::Latest => Some(Position::Latest),
                    StartPolicy::None => None,
                };
                let halted = Event::Failed(error);
                self.shared.change(|state| {
                    state.out_of_range(now, &partition, incarnation, reset_to, halted)
                });
            } else {
                self.failed(now, &partition, incarnation, by, error);
            }
        }
    }

    fn failed(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
        incarnation: Incarnation,
        by: Generation,
        error: TransportError,
    ) {
        let halts = error.class() == Class::Fatal;
        // The leader being elsewhere is everyday life and found out at once; it is not news.
        let moved = matches!(
            error.error_code(),
            Some(
                ErrorCode::NotLeaderOrFollower
                    | ErrorCode::LeaderNotAvailable
                    | ErrorCode::FencedLeaderEpoch
                    | ErrorCode::UnknownLeaderEpoch
                    | ErrorCode::OffsetNotAvailable
            )
        );
        self.routes.misled(partition, by);
        self.shared.change(|state| {
            if halts {
                state.halted(now, partition, incarnation, Event::Failed(error));
            } else {
                state.failed(now, partition, incarnation);
                if !moved {
                    state.tell(Event::Failed(error));
                }
            }
        });
    }
}

/// Records lie in the frame they came in, and keep all of it in memory. A small part of a large one gets memory of
/// its own, so that what is held is never more than a few times what is counted.
fn apart(records: Bytes, frame_bytes: usize) -> Bytes {
    if records.len() < frame_bytes / 4 {
        Bytes::copy_from_slice(&records)
    } else {
        records
    }
}

fn target_of(partition: &TopicPartition) -> Target {
    Target::default().partition(Arc::clone(&partition.topic), partition.partition)
}
