//! The task that asks leaders for what the state wants: one request at a time per broker.

mod answers;
mod requests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;

use super::{
    Shared,
    session::FetchSession,
    state::{Incarnation, LeaderView, Wanted},
};
use crate::{
    broker::Broker,
    cluster::{Client, Generation},
    config::Address,
    consumer::{Event, FetchConfig, StartPolicy},
    error::{ErrorCode, ErrorKind, TransportError},
    record::TopicPartition,
    route::{Route, Routes},
    wire::{EpochEnd, FetchResponse, TopicId},
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
        sessions: HashMap::new(),
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

/// A partition's leader, and what is known of it.
#[derive(Debug, Clone)]
struct Led {
    address: Address,
    broker_id: i32,
    view: LeaderView,
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
    /// The epoch of the last record before, where the one asked is to say whether that is still in the log.
    last_epoch: Option<i32>,
    /// Whether the leader may send us to a replica nearby.
    may_be_sent_on: bool,
    /// Whether it was answered since it was begun: a session is silent about what has nothing new.
    knows_its_end: bool,
    topic_id: Option<TopicId>,
    whom: Whom,
}

/// Who is asked for records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    Leader,
    /// The replica the leader has sent us to (KIP-392). It may be behind: what it does not have need not be gone.
    Follower,
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
    Validated {
        partition: TopicPartition,
        incarnation: Incarnation,
        by: Generation,
        leader_epoch: i32,
        end: Result<EpochEnd, TransportError>,
    },
    Fetched {
        address: Address,
        asked: Vec<Asked>,
        answer: Result<FetchResponse, TransportError>,
    },
}

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
    /// What each broker remembers of what it was asked for.
    sessions: HashMap<Address, FetchSession>,
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
        for (partition, incarnation) in state.wanted(now) {
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
            match state.meets(now, &partition, led.view) {
                Some(Wanted::Resolve(position)) => {
                    state.asking(&partition);
                    self.resolve(partition, incarnation, position, &led, by);
                }
                Some(Wanted::Validate(epoch)) => {
                    state.asking(&partition);
                    self.validate(partition, incarnation, epoch, &led, by);
                }
                Some(Wanted::Fetch(next)) => {
                    let (address, whom) = match next.replica {
                        None => (led.address, Whom::Leader),
                        Some(id) => match self.replica(&partition, id) {
                            Some(address) => (address, Whom::Follower),
                            None => {
                                // The leader knows a replica that we do not.
                                if state.miss_follower(now, &partition) {
                                    self.routes.misled(&partition, by);
                                    self.find_leader(partition);
                                } else {
                                    // The leader itself can be asked at once.
                                    wakeup = Some(now);
                                }
                                continue;
                            }
                        },
                    };
                    if self.busy.contains(&address) {
                        continue;
                    }
                    let (_, asked) = fetches
                        .entry(address.to_string())
                        .or_insert_with(|| (address, Vec::new()));
                    asked.push(Asked {
                        knows_its_end: state.knows_its_end(&partition),
                        partition,
                        incarnation,
                        offset: next.offset,
                        leader_epoch: led.view.epoch,
                        by,
                        last_epoch: next.last_epoch.filter(|_| whom == Whom::Leader),
                        may_be_sent_on: next.may_be_sent_on,
                        topic_id: next.topic_id.or(led.view.topic_id),
                        whom,
                    });
                }
                None => {
                    let look_at = now + LOOK_AGAIN;
                    wakeup = Some(wakeup.map_or(look_at, |at| at.min(look_at)));
                }
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
            Happened::Validated {
                partition,
                incarnation,
                by,
                leader_epoch,
                end,
            } => match end {
                Ok(end) => self.validated(&partition, incarnation, leader_epoch, Some(end)),
                // Brokers before Kafka 2.3 cannot be asked: Java goes on there too.
                Err(error)
                    if matches!(error.kind(), ErrorKind::UnsupportedVersion { .. })
                        || error.error_code() == Some(ErrorCode::UnsupportedVersion) =>
                {
                    self.validated(&partition, incarnation, leader_epoch, None);
                }
                Err(error) => self.failed(now, &partition, incarnation, by, error),
            },
            Happened::Fetched {
                address,
                asked,
                answer,
            } => {
                self.busy.remove(&address);
                self.fetched(now, &address, asked, answer);
            }
        }
    }
}

/// A look-up that depends on what the caller does next is made again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
