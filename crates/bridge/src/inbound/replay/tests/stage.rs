//! A group's commit, a log, and processes that come and go.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cybermesh_contracts::message::{CommitDraft, Draft, Stamp};
use cybermesh_contracts::sign::{Ed25519Signer, Signer};
use cybermesh_contracts::trust::{Right, TrustedKey};
use cybermesh_contracts::verify::test_util::verified;
use futures_util::future::BoxFuture;

use super::super::copies;
use super::super::log::{Extent, Log, ReadTo, Wanted};
use super::super::*;
use crate::clock::WallClock;
use crate::inbound::group::{Assignment, Commit, Life, TopicId};
use crate::inbound::judge::{JudgeOrder, Kept, Opening, Order, OrderStore};
use crate::state::StateDir;
use crate::telemetry::{Exposition, Metrics};
use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::Message;
use cybermesh_contracts::replay::{Budget, Handled, ReadBack, RingLimits, Snapshot};
use cybermesh_contracts::trust::TrustStore;
use cybermesh_contracts::verify::Verified;
use cybermesh_transport::{Position, TopicPartition};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::watch;

pub(super) const NOW_MS: u64 = 1_800_000_000_000;
pub(super) const TOPIC_ID: TopicId = [9; 16];
const RING: u16 = 16;
pub(super) const BYTES: usize = 300;

pub(super) type Opened = Box<dyn JudgeOrder<Verified<Message>>>;

/// A message of this height, signed so many seconds after the first.
pub(super) fn message(height: i64, later_s: u64) -> Verified<Message> {
    signed(&Ed25519Signer::from_seed(&[1; 32]), height, later_s)
}

pub(super) fn signed(signer: &Ed25519Signer, height: i64, later_s: u64) -> Verified<Message> {
    let draft = CommitDraft::builder(height, [7; 32], [8; 32]).build();
    let stamp = Stamp {
        now_ms: NOW_MS + later_s * 1_000,
        nonce: None,
    };
    verified(&Draft::Commit(draft.unwrap()), signer, stamp).unwrap()
}

/// What a partition's log holds, and what the group has committed.
pub(super) struct World {
    pub(super) log: Arc<FakeLog>,
    pub(super) committed: Option<(i64, String)>,
    pub(super) group: &'static str,
    pub(super) cluster_id: &'static str,
    pub(super) partition: TopicPartition,
    pub(super) topic_id: TopicId,
    pub(super) trust: TrustStore,
    pub(super) signer: Option<Ed25519Signer>,
    pub(super) state: Option<Arc<StateDir>>,
    pub(super) start: Position,
}

#[derive(Default)]
pub(super) struct FakeLog {
    pub(super) records: Mutex<Vec<Verified<Message>>>,
    pub(super) start: Mutex<i64>,
    pub(super) away: Mutex<bool>,
    /// Partitions whose leader does not answer.
    pub(super) silent: Mutex<Vec<i32>>,
}

impl Log for FakeLog {
    fn topic_id<'a>(&'a self, _: &'a TopicPartition) -> BoxFuture<'a, Result<TopicId, String>> {
        Box::pin(async { Ok(TOPIC_ID) })
    }

    fn extent<'a>(
        &'a self,
        partition: &'a TopicPartition,
    ) -> BoxFuture<'a, Result<Extent, String>> {
        if self.silent.lock().unwrap().contains(&partition.partition) {
            return Box::pin(std::future::pending());
        }
        let extent = Extent {
            start: *self.start.lock().unwrap(),
            end: i64::try_from(self.records.lock().unwrap().len()).unwrap(),
        };
        let is_away = *self.away.lock().unwrap();
        Box::pin(async move {
            (!is_away)
                .then_some(extent)
                .ok_or_else(|| "away".to_owned())
        })
    }

    fn read_back<'a>(
        &'a self,
        wanted: Wanted<'a>,
        ring: &'a mut ReadBack,
    ) -> BoxFuture<'a, Result<ReadTo, String>> {
        let records = self.records.lock().unwrap();
        let start = wanted.extent.start;
        for (offset, record) in (0..).zip(records.iter()) {
            if offset >= start && (offset < wanted.to || ring.asks_for_the_next(start)) {
                let timestamp_ms = i64::try_from(NOW_MS).unwrap();
                ring.record(offset, BYTES, timestamp_ms, Some(record.replay_claims()));
            }
        }
        let read = ReadTo {
            log_start: start,
            now_ms: wanted.now_ms,
        };
        Box::pin(async move { Ok(read) })
    }
}

#[derive(Debug)]
struct Clock(AtomicU64);

impl WallClock for Clock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A process that holds the partition, or has held it.
pub(super) struct Process {
    orders: Orders,
    sealing: Arc<Sealing>,
    metrics: Metrics,
    exposition: Exposition,
    pub(super) order: Option<Opened>,
    position: i64,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            log: Arc::default(),
            committed: None,
            group: "g",
            cluster_id: "c",
            partition: TopicPartition::new("control.commits.v1", 0),
            topic_id: TOPIC_ID,
            trust: TrustStore::default(),
            signer: None,
            state: None,
            start: Position::Earliest,
        }
    }

    /// The trust store names this key for replay states.
    pub(super) fn demanding(mut self, signer: &Ed25519Signer) -> Self {
        let rights = [Right::ReplayState];
        let key = TrustedKey::new("states", signer.public_key(), rights).unwrap();
        self.trust = TrustStore::of([key]).unwrap();
        self
    }

    pub(super) fn append(&self, record: Verified<Message>) -> i64 {
        let mut records = self.log.records.lock().unwrap();
        records.push(record);
        i64::try_from(records.len()).unwrap() - 1
    }

    pub(super) fn process(&self) -> Process {
        let exposition = Exposition::new().unwrap();
        let metrics = exposition.metrics();
        let signer = self.signer.clone().map(Arc::new);
        let signing = StateSigning {
            signer: Box::new(move || signer.clone().map(|signer| signer as Arc<dyn Signer>)),
        };
        let (group, cluster_id) = (self.group.to_owned(), self.cluster_id.to_owned());
        let sealing = Arc::new(Sealing::new(group, cluster_id, signing, metrics.clone()));
        let source = Source {
            limits: RingLimits::new(RING).unwrap(),
            max_age: Duration::from_secs(7 * 86_400),
            metrics: metrics.clone(),
            clock: Arc::new(Clock(AtomicU64::new(NOW_MS + 3_600_000))),
            trust: watch::Sender::new(Arc::new(self.trust.clone())).subscribe(),
            sealing: Arc::clone(&sealing),
            state: self.state.clone(),
        };
        let log = Arc::clone(&self.log) as Arc<dyn Log>;
        Process {
            orders: Orders::new(source, log, None),
            sealing,
            metrics,
            exposition,
            order: None,
            position: 0,
        }
    }

    pub(super) fn assignment(&self) -> Assignment {
        Assignment {
            partition: self.partition.clone(),
            committed: self.committed.clone(),
            start: Some(match &self.committed {
                Some((offset, _)) => Position::Offset(*offset),
                None => self.start,
            }),
            topic_id: Some(self.topic_id),
            life: Life::default(),
        }
    }
}

impl Process {
    /// It is assigned the partition.
    pub(super) async fn opens(&mut self, world: &World) -> Result<(), String> {
        let assignment = world.assignment();
        let order = match self.orders.open(Kind::Commit, &assignment) {
            Opening::Known(order) => order,
            Opening::ToBeRead(reading) => reading.await?,
        };
        self.position = assignment.committed.map_or(0, |(offset, _)| offset);
        self.order = Some(order);
        Ok(())
    }

    /// It is assigned others, and looks for what is known of them.
    pub(super) fn opens_others(
        &mut self,
        world: &World,
        partitions: impl IntoIterator<Item = i32>,
    ) -> Vec<tokio::task::JoinHandle<()>> {
        let opened = partitions.into_iter().filter_map(|partition| {
            let mut assignment = world.assignment();
            assignment.partition.partition = partition;
            match self.orders.open(Kind::Commit, &assignment) {
                Opening::Known(_) => None,
                Opening::ToBeRead(reading) => Some(tokio::spawn(async { drop(reading.await) })),
            }
        });
        opened.collect()
    }

    /// A new process is assigned the partition.
    pub(super) async fn started(world: &World) -> Self {
        let mut process = world.process();
        process.opens(world).await.unwrap();
        process
    }

    /// Judges the log from where it stands to its end; the verdicts in order.
    pub(super) fn reads(&mut self, world: &World) -> Vec<Order> {
        let records = world.log.records.lock().unwrap();
        let from = usize::try_from(self.position).unwrap();
        let order = self.order.as_mut().unwrap();
        let mut verdicts = Vec::new();
        for record in records.get(from..).unwrap_or_default() {
            verdicts.push(order.judge(self.position, BYTES, record));
            self.position += 1;
        }
        verdicts
    }

    /// Everything below `watermark` is done and committed.
    pub(super) async fn commits(&mut self, world: &mut World, watermark: i64) {
        let order = self.order.as_mut().unwrap();
        let commit = Commit {
            partition: world.partition.clone(),
            offset: watermark,
            state: order.state(watermark),
            life: Life::default(),
        };
        let sealed = self.sealing.request(&mut VecDeque::from([commit])).await;
        self.sealing.stand(&sealed);
        order.committed(watermark, i64::try_from(NOW_MS).unwrap());
        world.committed = Some((watermark, sealed[0].text.clone()));
    }

    /// Its copy is written to the state folder, with what is done beyond the watermark.
    pub(super) async fn keeps(&self, world: &World, done: impl Fn(i64) -> bool) {
        let order = self.order.as_ref().unwrap();
        let offset = world.committed.as_ref().unwrap().0;
        let (copies, waiting) = mpsc::channel(1);
        let copy = Kept {
            partition: world.partition.clone(),
            offset,
            state: order.state(offset).unwrap(),
            handled: order.handled_from(offset, &done),
        };
        copies.try_send(copy).unwrap();
        drop(copies);
        let state = world.state.clone().unwrap();
        copies::write(
            state,
            Arc::clone(&self.sealing),
            self.metrics.clone(),
            Snapshot::MOST_TEXT_BYTES,
            waiting,
        )
        .await;
    }

    /// The partition goes; what is done beyond its watermark is said to it.
    pub(super) fn gives_up(&mut self, world: &World, handled: Handled) {
        let mut order = self.order.take().unwrap();
        order.given_up(handled);
        self.orders.close(world.partition.clone(), order);
    }

    /// What an operator's tool would commit of `offset`.
    pub(super) fn nothing_settled(&self, world: &World, offset: i64) -> String {
        let binding = self
            .sealing
            .binding(world.partition.partition, TOPIC_ID, offset);
        let state = Snapshot::nothing_settled(offset);
        state.seal(&binding, Budget::COMMIT, None).unwrap().unwrap()
    }

    /// The lines of the exposition that begin like this, without that beginning.
    pub(super) fn shown(&self, name: &str) -> String {
        let text = self.exposition.text().unwrap();
        text.lines()
            .filter_map(|line| line.strip_prefix(name))
            .collect()
    }

    pub(super) fn alarms(&self) -> String {
        self.shown("bridge_replay_state_alarms_total")
    }

    pub(super) fn started_from(&self) -> String {
        self.shown("bridge_replay_starts_total")
    }
}

/// A world in which `count` messages, one a second, were accepted and everything below `watermark` committed.
pub(super) async fn after(count: i64, watermark: i64, mut world: World) -> (World, Process) {
    for height in 0..count {
        world.append(message(height, height.unsigned_abs()));
    }
    let mut process = Process::started(&world).await;
    let verdicts = process.reads(&world);
    assert!(verdicts.iter().all(|verdict| *verdict == Order::Passes));
    process.commits(&mut world, watermark).await;
    (world, process)
}
