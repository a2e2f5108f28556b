//! The task that asks leaders for what the state wants: one request at a time per broker.

mod requests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;

use super::{
    Shared,
    session::{FetchSession, Taken},
    state::{Chunk, CutOff, Incarnation, LeaderView, Wanted},
};
use crate::{
    broker::Broker,
    cluster::{Client, Generation},
    config::Address,
    consumer::{Event, FetchConfig, StartPolicy},
    error::{Class, ErrorCode, ErrorKind, Operation, Target, TransportError},
    record::TopicPartition,
    route::{Route, Routes},
    wire::{EpochEnd, FetchResponse, FetchedPartition, TopicId},
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
        for (partition, incarnation, _) in state.wanted(now) {
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
                                // The leader knows a replica that we do not: it would send us there again.
                                state.leave_follower(&partition);
                                self.routes.misled(&partition, by);
                                self.find_leader(partition);
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
                        partition,
                        incarnation,
                        offset: next.offset,
                        leader_epoch: led.view.epoch,
                        by,
                        last_epoch: next.last_epoch.filter(|_| whom == Whom::Leader),
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

    fn validated(
        &mut self,
        partition: &TopicPartition,
        incarnation: Incarnation,
        leader_epoch: i32,
        end: Option<EpochEnd>,
    ) {
        let start = self.start;
        self.shared
            .change(|state| state.validated(partition, incarnation, leader_epoch, end, start));
    }

    fn fetched(
        &mut self,
        now: Instant,
        address: &Address,
        asked: Vec<Asked>,
        answer: Result<FetchResponse, TransportError>,
    ) {
        let session = self.sessions.entry(address.clone()).or_default();
        let response = match answer {
            Ok(response) => response,
            Err(error) => {
                session.failed();
                return self.all_failed(now, &asked, error);
            }
        };
        let code = ErrorCode::from_code(response.error_code);
        let session_id = response.session_id;
        let (mut answers, strangers) = by_partition(response, &asked);
        let taken = match session.answered(code, session_id, answers.keys(), strangers) {
            Ok(taken) => taken,
            Err(refused) => {
                let error =
                    TransportError::code(Operation::Fetch, Target::broker(address), refused.code);
                if refused.was_full || !is_about_sessions(refused.code) {
                    return self.all_failed(now, &asked, error);
                }
                // The broker has forgotten the session, or another is at its end of it: a full request mends it.
                tracing::debug!(%error, "beginning a new fetch session");
                return self.shared.change(|state| {
                    for one in &asked {
                        state.unanswered(&one.partition, one.incarnation);
                    }
                });
            }
        };
        let frame_bytes: usize = answers
            .values()
            .map(|(_, answer)| answer.records.len())
            .sum();
        for one in asked {
            match (answers.remove(&one.partition), taken) {
                (Some(answer), _) => self.answered(now, one, answer, frame_bytes),
                (None, Taken::Step) => self
                    .shared
                    .change(|state| state.unchanged(&one.partition, one.incarnation)),
                (None, Taken::Full) => self
                    .shared
                    .change(|state| state.failed(now, &one.partition, one.incarnation)),
            }
        }
    }

    /// None of these was answered.
    fn all_failed(&mut self, now: Instant, asked: &[Asked], error: TransportError) {
        let shared = Arc::clone(&self.shared);
        shared.change(|state| {
            for one in asked {
                match one.whom {
                    Whom::Leader => self.routes.misled(&one.partition, one.by),
                    // Who leads is not in question.
                    Whom::Follower => state.leave_follower(&one.partition),
                }
                state.failed(now, &one.partition, one.incarnation);
            }
            state.tell(Event::Failed(error));
        });
    }

    fn answered(
        &mut self,
        now: Instant,
        one: Asked,
        (topic_id, answer): (TopicId, FetchedPartition),
        frame_bytes: usize,
    ) {
        let Asked {
            partition,
            incarnation,
            by,
            whom,
            leader_epoch,
            ..
        } = one;
        if let Some(code) = ErrorCode::from_code(answer.error_code) {
            return self.refused(now, &partition, incarnation, by, whom, code);
        }
        match (answer.diverging, whom) {
            (None, _) => {}
            (Some(end), Whom::Leader) => {
                return self.validated(&partition, incarnation, leader_epoch, Some(end));
            }
            (Some(_), Whom::Follower) => {
                return self.shared.change(|state| {
                    state.leave_follower(&partition);
                    state.failed(now, &partition, incarnation);
                });
            }
        }
        let preferred = answer.preferred_read_replica;
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
            topic_id: Some(topic_id).filter(|id| *id != TopicId::default()),
            leader_epoch,
        };
        let until = now + self.client.config().metadata_max_age;
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
            if preferred >= 0 && whom == Whom::Leader {
                state.prefer(&partition, incarnation, preferred, until);
            }
        });
    }

    fn refused(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
        incarnation: Incarnation,
        by: Generation,
        whom: Whom,
        code: ErrorCode,
    ) {
        let error = TransportError::code(Operation::Fetch, target_of(partition), code);
        if code == ErrorCode::OffsetOutOfRange && whom == Whom::Follower {
            // It is behind, or has less of the past than the leader, who says what is so.
            return self.shared.change(|state| {
                state.leave_follower(partition);
                state.failed(now, partition, incarnation);
            });
        }
        if code == ErrorCode::OffsetOutOfRange {
            let (halted, reset_to) = (Event::Failed(error), self.start.position());
            return self
                .shared
                .change(|state| state.out_of_range(now, partition, incarnation, reset_to, halted));
        }
        self.shared.change(|state| {
            if matches!(
                code,
                ErrorCode::UnknownTopicId | ErrorCode::InconsistentTopicId
            ) {
                state.disowned(partition, incarnation);
            }
            if whom == Whom::Follower {
                state.leave_follower(partition);
            }
        });
        self.failed(now, partition, incarnation, by, error);
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
                    | ErrorCode::UnknownTopicId
                    | ErrorCode::InconsistentTopicId
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

/// A look-up that depends on what the caller does next is made again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

fn is_about_sessions(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::FetchSessionIdNotFound
            | ErrorCode::InvalidFetchSessionEpoch
            | ErrorCode::FetchSessionTopicIdError
    )
}

/// Answers by the names that were asked for, with the topic id each goes by, all zero for none.
type Answers = HashMap<TopicPartition, (TopicId, FetchedPartition)>;

/// The answers, and whether there are others that were not asked for.
fn by_partition(response: FetchResponse, asked: &[Asked]) -> (Answers, bool) {
    let no_id = TopicId::default();
    let mut answers = HashMap::new();
    let mut strangers = false;
    for topic in response.topics {
        let known = asked.iter().find(|one| match topic.id == no_id {
            true => *one.partition.topic == *topic.name,
            false => one.topic_id == Some(topic.id),
        });
        let Some(known) = known else {
            strangers = true;
            continue;
        };
        for answer in topic.partitions {
            let name = Arc::clone(&known.partition.topic);
            let name = TopicPartition::new(name, answer.partition);
            answers.insert(name, (topic.id, answer));
        }
    }
    (answers, strangers)
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
