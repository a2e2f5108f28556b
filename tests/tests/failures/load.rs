//! A producer and two members of a group at work, on a topic of which each partition has three replicas.

mod member;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cybermesh_tests::deliveries::{Breach, Numbered, Told, judge};
use cybermesh_tests::log::now_ms;
use cybermesh_tests::{Stage, console};
use cybermesh_transport::admin::NewTopic;
use cybermesh_transport::producer::FixedSchedule;
use cybermesh_transport::tls::TlsConfig;
use cybermesh_transport::{
    Admin, Class, Client, ClientConfig, Consumer, ConsumerConfig, Delivery, ErrorCode, Event,
    OffsetToCommit, Producer, ProducerConfig, Record, ResetCause, TopicPartition, Written,
};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::neighbour::Neighbour;
use member::Member;
use writer::{Writer, append};

/// Set, Kafka's own clients work beside ours, and their recovery is told too.
const BESIDE_KAFKAS_OWN: &str = "TESTS_BESIDE_KAFKAS_OWN";
/// How many partitions the topic has at first: each broker leads two.
pub(crate) const PARTITIONS: i32 = 6;
/// One record to each partition at each tick.
const TICK: Duration = Duration::from_millis(20);
/// Longer than a cluster takes to come back on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// A broker that is paused answers no request; how soon that is noticed is the deadline of one.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How soon members see that a topic has more partitions.
const METADATA_MAX_AGE: Duration = Duration::from_secs(5);
/// What may be resident more at the end than when all were at work: what the test itself keeps of each record included.
const GROWTH_BYTES: u64 = 96 << 20;

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future)
        .await
        .expect("nothing happened for two minutes")
}

/// A client's configuration that notices silence soon.
pub(crate) fn client_config(stage: &Stage) -> ClientConfig {
    client_config_at(stage, stage.cluster().bootstrap())
}

/// The same with these addresses.
fn client_config_at(stage: &Stage, bootstrap: &str) -> ClientConfig {
    stage
        .client_config_at(bootstrap)
        .request_timeout(REQUEST_TIMEOUT)
        .connect_timeout(REQUEST_TIMEOUT)
        .metadata_max_age(METADATA_MAX_AGE)
}

/// Those at work, and what is known of it so far.
pub(crate) struct Load {
    pub(crate) topic: String,
    client: Client,
    /// That of the writer, and those of the readers.
    clients: Vec<Client>,
    stop: watch::Sender<Stopped>,
    writing: JoinHandle<BTreeMap<Numbered, Told>>,
    reading: Vec<JoinHandle<Vec<Read>>>,
    seen: Arc<Seen>,
    neighbour: Option<Neighbour>,
    tasks_before: usize,
    resident_at_work: u64,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stopped {
    Nothing,
    /// Nothing more is sent; what is under way may still get into the log.
    Writing,
    /// Nothing more gets into the log.
    Growing,
}

/// A record that was read: its partition, offset and number.
type Read = (i32, i64, u64);

/// A moment from which recovery is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(Instant);

/// How long it took from a mark until each partition was written, and read, again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recovery {
    pub(crate) written: Duration,
    pub(crate) read: Duration,
}

/// When each record was sent, and for each partition how far that was acknowledged and read.
#[derive(Debug)]
struct Seen {
    /// How many partitions are written to.
    partitions: AtomicI32,
    /// Where the topic was made again: what was sent before this may have gone with the old one.
    made_again: Mutex<Option<Instant>>,
    /// A commit that is late for a topic which is made again would be taken for the new one by brokers before 4.3: the
    /// topic is deleted while nobody commits.
    commits_nothing: AtomicBool,
    sent: Mutex<BTreeMap<Numbered, Instant>>,
    written: watch::Sender<BTreeMap<i32, Instant>>,
    read: watch::Sender<BTreeMap<i32, Instant>>,
}

impl Seen {
    fn partitions(&self) -> i32 {
        self.partitions.load(Ordering::Relaxed)
    }

    /// Whether it may be gone with a topic that was made again.
    fn may_be_gone(&self, record: Numbered) -> bool {
        let made_again = self.made_again.lock();
        let made_again = *made_again.unwrap_or_else(PoisonError::into_inner);
        made_again.is_some_and(|at| self.sent_at(record) <= Some(at))
    }

    /// The partitions for which nothing newer is known.
    fn behind(&self, latest: &BTreeMap<i32, Instant>, since: Instant) -> Vec<i32> {
        let reached = |one: &i32| latest.get(one).is_some_and(|at| *at > since);
        (0..self.partitions()).filter(|one| !reached(one)).collect()
    }

    fn sent_at(&self, record: Numbered) -> Option<Instant> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.get(&record).copied()
    }

    fn note(&self, of: &watch::Sender<BTreeMap<i32, Instant>>, record: Numbered) {
        if let Some(sent_at) = self.sent_at(record) {
            of.send_modify(|latest| {
                let at = latest.entry(record.0).or_insert(sent_at);
                *at = sent_at.max(*at);
            });
        }
    }
}

impl Load {
    /// Makes a topic and sets them to work; all partitions are written and read when this returns.
    pub(crate) async fn start(stage: &Stage) -> Self {
        Self::start_with(stage, &[]).await
    }

    /// The same with configurations of the topic.
    pub(crate) async fn start_with(stage: &Stage, configs: &[(&str, &str)]) -> Self {
        Self::start_at(stage, stage.cluster().bootstrap(), configs).await
    }

    /// The same for clients that are given these addresses.
    pub(crate) async fn start_at(stage: &Stage, bootstrap: &str, configs: &[(&str, &str)]) -> Self {
        let tasks_before = alive_tasks();
        let client = Client::connect(client_config_at(stage, bootstrap)).await;
        let client = client.expect("a client");
        let topic = stage.own("failing");
        make_topic(&client, &topic, configs).await;
        let seen = Arc::new(Seen {
            partitions: AtomicI32::new(PARTITIONS),
            made_again: Mutex::default(),
            commits_nothing: AtomicBool::new(false),
            sent: Mutex::default(),
            written: watch::Sender::default(),
            read: watch::Sender::default(),
        });
        let (stop, stopped) = watch::channel(Stopped::Nothing);
        let writer = Writer {
            client: client.clone(),
            topic: topic.clone(),
            seen: Arc::clone(&seen),
        };
        let writing = tokio::spawn(writer.run(stopped));
        let mut clients = vec![client.clone()];
        let mut reading = Vec::new();
        for _ in 0..2 {
            let reader = Client::connect(client_config_at(stage, bootstrap)).await;
            let reader = reader.expect("a client");
            clients.push(reader.clone());
            let (seen, stopped) = (Arc::clone(&seen), stop.subscribe());
            let member = Member::join(reader, stage, &topic, seen, stopped).await;
            reading.push(tokio::spawn(member.run()));
        }
        let mut load = Self {
            topic,
            client,
            clients,
            stop,
            writing,
            reading,
            seen,
            neighbour: None,
            tasks_before,
            resident_at_work: 0,
        };
        load.recovery(Instant::now()).await;
        if std::env::var_os(BESIDE_KAFKAS_OWN).is_some() {
            let topic = stage.own("failing-beside");
            make_topic(&load.client, &topic, configs).await;
            load.neighbour = Some(Neighbour::start(stage, &topic).await);
        }
        load.resident_at_work = resident_bytes();
        load
    }

    /// The group that reads.
    pub(crate) fn group(stage: &Stage) -> String {
        stage.own("group")
    }

    /// The brokers that lead partitions, as the client is told now.
    pub(crate) async fn leaders(&self) -> BTreeMap<i32, i32> {
        let topic = self
            .client
            .refresh_topic(&self.topic)
            .await
            .expect("the topic");
        let led = topic.partitions().iter();
        led.filter_map(|one| Some((one.partition, one.leader?.broker_id)))
            .collect()
    }

    /// Waits until the partitions are led like this.
    pub(crate) async fn led_by(&self, leaders: &BTreeMap<i32, i32>) {
        within(async {
            let mut look = interval(Duration::from_millis(200));
            while self.leaders().await != *leaders {
                look.tick().await;
            }
        })
        .await;
    }

    /// Waits until the broker is in sync for every partition.
    pub(crate) async fn in_sync_again(&self, broker: i32) {
        within(async {
            let mut look = interval(Duration::from_millis(200));
            loop {
                look.tick().await;
                let Ok(topic) = self.client.refresh_topic(&self.topic).await else {
                    continue;
                };
                let mut partitions = topic.partitions().iter();
                if partitions.all(|one| one.in_sync.contains(&broker)) {
                    return;
                }
            }
        })
        .await;
    }

    /// Gives the topic more partitions, and writes to all of them from then on.
    pub(crate) async fn grow(&self, partitions: i32) {
        let admin = Admin::new(self.client.clone());
        let grown = within(admin.create_partitions(&self.topic, partitions)).await;
        grown.expect("more partitions");
        self.seen.partitions.store(partitions, Ordering::Relaxed);
    }

    /// Deletes the topic and makes it again; what is sent when this returns goes to the new one alone.
    pub(crate) async fn make_again(&mut self) {
        let admin = Admin::new(self.client.clone());
        self.seen.commits_nothing.store(true, Ordering::Relaxed);
        // Those that are under way are answered by then.
        let mark = self.mark().await;
        self.recovered("nobody commits", mark).await;
        let deleted = within(admin.delete_topic(&self.topic)).await;
        deleted.expect("a deleted topic");
        within(async {
            let mut look = interval(Duration::from_millis(200));
            while !is_made(&admin, &self.topic).await {
                look.tick().await;
            }
        })
        .await;
        // Brokers that lag behind the controller may take records for the old one: what was sent once all partitions
        // of the new one were written and read is past that.
        let mark = self.mark().await;
        self.recovered("topic made again", mark).await;
        let mut made_again = self.seen.made_again.lock();
        *made_again.as_deref_mut().expect("those at work") = Some(Instant::now());
        self.seen.commits_nothing.store(false, Ordering::Relaxed);
    }

    /// Has all clients at work show and trust others from now on.
    pub(crate) async fn exchange_tls(&self, tls: &TlsConfig) {
        for client in &self.clients {
            let exchanged = within(client.exchange_tls(tls.clone())).await;
            exchanged.expect("certificates that brokers accept");
        }
    }

    /// A moment from which recovery is counted: now.
    pub(crate) async fn mark(&mut self) -> Mark {
        if let Some(neighbour) = &mut self.neighbour {
            neighbour.mark().await;
        }
        Mark(Instant::now())
    }

    /// Waits until of each partition a record that was sent after the mark is acknowledged, and read; says how long
    /// that took, and how long Kafka's own clients took where they are at work too.
    pub(crate) async fn recovered(&mut self, what: &str, Mark(since): Mark) {
        let Recovery { written, read } = self.recovery(since).await;
        eprintln!(
            "{what}: every partition is written again after {written:.2?}, read after {read:.2?}"
        );
        if let Some(neighbour) = &mut self.neighbour {
            let Recovery { written, read } = neighbour.recovery().await;
            eprintln!("{what}: for Kafka's own clients {written:.2?} and {read:.2?}");
        }
    }

    async fn recovery(&self, since: Instant) -> Recovery {
        let all = |of: &watch::Sender<BTreeMap<i32, Instant>>| {
            let mut changes = of.subscribe();
            async move {
                let reached = changes.wait_for(|latest| self.seen.behind(latest, since).is_empty());
                let reached = timeout(PATIENCE, reached).await;
                reached.map(|reached| {
                    reached.expect("those at work");
                    since.elapsed()
                })
            }
        };
        let (written, read) = tokio::join!(all(&self.seen.written), all(&self.seen.read));
        if let (Ok(written), Ok(read)) = (written, read) {
            return Recovery { written, read };
        }
        panic!(
            "after two minutes partitions {:?} are not written and {:?} not read; {}",
            self.seen.behind(&self.seen.written.borrow(), since),
            self.seen.behind(&self.seen.read.borrow(), since),
            self.as_the_cluster_says().await,
        );
    }

    /// Who leads the partitions of the topic and of the groups' offsets, as far as brokers tell.
    async fn as_the_cluster_says(&self) -> String {
        let mut said = String::new();
        for topic in [&*self.topic, "__consumer_offsets"] {
            let topic = timeout(PATIENCE, self.client.refresh_topic(topic)).await;
            let Ok(Ok(topic)) = topic else {
                said.push_str("no broker tells more; ");
                continue;
            };
            for one in topic.partitions() {
                let leader = one.leader.as_ref().map(|leader| leader.broker_id);
                let partition = one.partition;
                let in_sync = &one.in_sync;
                let _ = write!(
                    said,
                    "{partition}: leader {leader:?}, in sync {in_sync:?}; "
                );
            }
        }
        said
    }

    /// Ends the work in order, and judges it. What was not acknowledged, by partition and number.
    pub(crate) async fn end(self, stage: &Stage) -> BTreeSet<Numbered> {
        let Self {
            topic,
            client,
            clients,
            stop,
            writing,
            reading,
            seen,
            neighbour,
            tasks_before,
            resident_at_work,
        } = self;
        drop(neighbour);
        stop.send_replace(Stopped::Writing);
        let told = within(writing).await.expect("the writer");
        stop.send_replace(Stopped::Growing);
        let mut read = Vec::new();
        for member in reading {
            read.extend(within(member).await.expect("a reader"));
        }
        let grown = resident_bytes().saturating_sub(resident_at_work);
        assert!(grown < GROWTH_BYTES, "{grown} bytes more are resident");
        let log = log(stage, &client, &topic, seen.partitions()).await;
        let may_be_gone = |record: &Numbered| seen.may_be_gone(*record);
        let mut breaches = judge(&told, &log);
        breaches.retain(|breach| match breach {
            Breach::Lost(record) | Breach::Misplaced(record) => !may_be_gone(record),
            _ => true,
        });
        assert_eq!(breaches, BTreeSet::new());
        let in_log = log.iter().flat_map(|(partition, records)| {
            records
                .iter()
                .map(|(offset, number)| (*partition, *offset, *number))
        });
        let (read, in_log): (BTreeSet<Read>, BTreeSet<Read>) =
            (read.into_iter().collect(), in_log.collect());
        let counts = |(partition, _, number): &&Read| !may_be_gone(&(*partition, *number));
        let not_there = read.difference(&in_log).filter(counts);
        let differ: Vec<_> = in_log.difference(&read).chain(not_there).collect();
        assert!(
            differ.is_empty(),
            "read, or in the log, but not both: {differ:?}"
        );
        let gone: BTreeSet<Numbered> = told.keys().copied().filter(may_be_gone).collect();
        let gone = |record: &Numbered| gone.contains(record);
        drop((client, clients, seen));
        within(async {
            let mut look = interval(Duration::from_millis(50));
            while alive_tasks() > tasks_before {
                look.tick().await;
            }
        })
        .await;
        let acknowledged = |told: &Told| matches!(told, Told::Appended(_));
        told.into_iter()
            .filter(|(record, told)| !acknowledged(told) && !gone(record))
            .map(|(record, _)| record)
            .collect()
    }
}

/// Makes the topic, unless the old one of its name is still being deleted.
async fn is_made(admin: &Admin, name: &str) -> bool {
    let topic = NewTopic::new(name)
        .partitions(PARTITIONS)
        .replication_factor(3);
    match admin.create_topic(topic).await {
        Ok(_) => true,
        Err(error) => {
            let still_there = error.error_code() == Some(ErrorCode::TopicAlreadyExists);
            assert!(still_there || error.class() == Class::Retriable, "{error}");
            false
        }
    }
}

async fn make_topic(client: &Client, name: &str, configs: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name)
        .partitions(PARTITIONS)
        .replication_factor(3);
    for (name, value) in configs {
        topic = topic.config(*name, *value);
    }
    let made = Admin::new(client.clone()).create_topic(topic).await;
    made.expect("a topic");
}

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("our own status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("a resident size") << 10
}

fn number(value: &Bytes) -> u64 {
    let text = std::str::from_utf8(value).expect("text");
    text.parse().expect("a number")
}

/// What Kafka's own consumer finds in the log: numbers with their offsets.
async fn log(
    stage: &Stage,
    client: &Client,
    topic: &str,
    partitions: i32,
) -> BTreeMap<i32, Vec<(i64, u64)>> {
    let mark = uuid::Uuid::new_v4().to_string();
    let producer = Producer::new(client.clone(), ProducerConfig::default());
    for partition in 0..partitions {
        let delivery = append(&producer, topic, partition, mark.clone()).await;
        let delivery = delivery.expect("the topic");
        within(delivery).await.expect("a record at the end");
    }
    let mut ends = 0;
    let records = console::read_until(stage, topic, |record| {
        ends += i32::from(record.value.as_deref() == Some(mark.as_bytes()));
        ends == partitions
    });
    let mut log = BTreeMap::new();
    for record in records.await {
        let value = record.value.expect("a value");
        if value != mark.as_bytes() {
            let of_partition: &mut Vec<_> = log.entry(record.partition).or_default();
            of_partition.push((record.offset, number(&value)));
        }
    }
    log
}
