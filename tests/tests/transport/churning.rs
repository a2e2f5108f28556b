//! Ten members that come and go at random, and a ledger of who had what and when: nothing is lost, nothing that was
//! committed comes again, and no partition is two members' at once.
//!
//! The short form takes some seconds. `TESTS_CHURN_SECONDS` makes it longer, `TESTS_CHURN_SEED` repeats a run, and of
//! so many members that go as `TESTS_CHURN_DEATHS` says one dies: until its session is over, the group waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cybermesh_tests::{Over, Stage, java};
use cybermesh_transport::{
    Assignor, Class, Consumer, ConsumerConfig, Event, GroupProtocol, OffsetToCommit, Producer,
    ProducerConfig, TopicPartition,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::{record, send, until, within};

cybermesh_tests::scenarios! {
    both: [
        cooperative_members_that_come_and_go_lose_nothing_and_never_have_the_same_partition,
        eager_members_that_come_and_go_lose_nothing_and_never_have_the_same_partition,
    ],
}

/// Groups that their coordinator divides (KIP-848) are new in Kafka 4.0.
mod since_kafka_4 {
    use super::*;

    cybermesh_tests::scenarios! {
        both: [
            members_that_their_coordinator_divides_lose_nothing_and_never_have_the_same_partition,
        ],
    }
}

/// Set, ten of Kafka's own consumers come and go afterwards by the same schedule, to compare with.
const BESIDE_KAFKAS_OWN: &str = "TESTS_BESIDE_KAFKAS_OWN";
const PARTITIONS: i32 = 24;
const MEMBERS: usize = 10;
const SHORT_FORM: Duration = Duration::from_secs(8);
/// Of so many that go one dies.
const DEATHS: u64 = 20;
/// Between two commits of a member at work.
const COMMIT_EVERY: Duration = Duration::from_millis(250);

/// SplitMix64: enough to make up a schedule that can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Committed, then released or left.
    InOrder,
    /// Died, or was told that it is lost.
    Abrupt,
}

/// One member's time with a partition.
#[derive(Debug, Clone)]
struct Hold {
    member: usize,
    generation: i32,
    began: Instant,
    ended: Option<(Instant, End)>,
    /// The offset after the last record read.
    position: i64,
    /// The highest offset the coordinator acknowledged.
    committed: i64,
}

/// By partition: who had it, one after the other.
#[derive(Debug, Default)]
struct Ledger(Mutex<BTreeMap<i32, Vec<Hold>>>);

impl Ledger {
    fn change<T>(&self, partition: i32, change: impl FnOnce(&mut Vec<Hold>) -> T) -> T {
        change(self.0.lock().unwrap().entry(partition).or_default())
    }

    fn begins(&self, member: usize, partition: i32, generation: i32, start: i64) {
        self.change(partition, |holds| {
            for other in holds.iter() {
                let is_over = match other.ended {
                    Some((_, End::InOrder)) => true,
                    // Who was thrown out may not know it yet; its generation is over.
                    Some((_, End::Abrupt)) => other.generation < generation,
                    None => false,
                };
                assert!(
                    is_over,
                    "{partition} is two members': {other:?} and {member}"
                );
            }
            if let Some(before) = holds.last() {
                let possible = match before.ended {
                    Some((_, End::InOrder)) => before.position..=before.position,
                    // A commit may have been on its way.
                    _ => before.committed..=before.position,
                };
                assert!(
                    possible.contains(&start),
                    "{partition} goes on at {start} after {before:?}"
                );
            }
            holds.push(Hold {
                member,
                generation,
                began: Instant::now(),
                ended: None,
                position: start,
                committed: start,
            });
        });
    }

    fn with<T>(&self, member: usize, partition: i32, with: impl FnOnce(&mut Hold) -> T) -> T {
        self.change(partition, |holds| {
            let hold = holds.iter_mut().rev().find(|hold| hold.member == member);
            with(hold.expect("it has it"))
        })
    }

    fn ends(&self, member: usize, partition: i32, end: End) {
        self.with(member, partition, |hold| {
            assert_eq!(hold.ended, None);
            if end == End::InOrder {
                assert_eq!(
                    hold.committed, hold.position,
                    "committed to the end: {hold:?}"
                );
            }
            hold.ended = Some((Instant::now(), end));
        });
    }

    /// The highest offset that was acknowledged for each partition.
    fn committed(&self) -> BTreeMap<i32, i64> {
        let holds = self.0.lock().unwrap();
        let last = |(number, holds): (&i32, &Vec<Hold>)| Some((*number, holds.last()?.committed));
        holds.iter().filter_map(last).collect()
    }

    /// How long partitions had no owner between the first and the last they had: the longest time, and the share of
    /// all their time.
    fn without_owner(&self) -> (Duration, f64) {
        let (mut longest, mut without, mut all) = (Duration::ZERO, 0.0, 0.0);
        for holds in self.0.lock().unwrap().values() {
            let end = |hold: &Hold| hold.ended.map_or_else(Instant::now, |(at, _)| at);
            for pair in holds.windows(2) {
                let gap = pair[1].began.saturating_duration_since(end(&pair[0]));
                longest = longest.max(gap);
                without += gap.as_secs_f64();
            }
            if let (Some(first), Some(last)) = (holds.first(), holds.last()) {
                all += (end(last) - first.began).as_secs_f64();
            }
        }
        (longest, without / all)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Work,
    Leave,
    Die,
}

struct Member {
    order: watch::Sender<Order>,
    task: JoinHandle<()>,
}

struct Worker {
    number: usize,
    topic: String,
    consumer: Consumer,
    ledger: Arc<Ledger>,
    /// By where it is to be read next.
    held: BTreeMap<i32, i64>,
}

impl Worker {
    async fn run(mut self, mut order: watch::Receiver<Order>) {
        let mut commits = tokio::time::interval(COMMIT_EVERY);
        loop {
            let event = tokio::select! {
                event = self.consumer.next() => event,
                _ = commits.tick() => {
                    self.commit(None).await;
                    continue;
                }
                _ = order.changed() => break,
            };
            self.take(event.expect("a member")).await;
        }
        let ordered = *order.borrow();
        match ordered {
            Order::Die | Order::Work => self.end_all(End::Abrupt),
            Order::Leave => {
                let was_taken = self.commit(None).await;
                self.end_all(if was_taken { End::InOrder } else { End::Abrupt });
                let deadline = Instant::now() + Duration::from_secs(30);
                within(self.consumer.leave(deadline)).await.unwrap();
            }
        }
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Assigned {
                generation,
                partitions,
            } => {
                for one in partitions {
                    let number = one.partition.partition;
                    let start = one.committed.map_or(0, |committed| committed.offset);
                    self.ledger.begins(self.number, number, generation, start);
                    self.held.insert(number, start);
                    self.consumer
                        .begin(&one.partition, one.start.expect("by policy"));
                }
            }
            Event::Records(batch) => {
                let number = batch.partition.partition;
                let position = self.held.get_mut(&number).expect("records of what it has");
                for record in &batch.records {
                    assert_eq!(record.offset, *position, "of {number}");
                    *position += 1;
                }
                let position = *position;
                self.ledger
                    .with(self.number, number, |hold| hold.position = position);
            }
            Event::Revoked { partitions } => {
                let numbers: Vec<i32> = partitions.iter().map(|one| one.partition).collect();
                if self.commit(Some(&numbers)).await {
                    for number in numbers {
                        self.ledger.ends(self.number, number, End::InOrder);
                        self.held.remove(&number);
                    }
                }
                self.consumer.release(partitions);
            }
            // A member that is thrown out hears of it here.
            Event::Lost { .. } => self.end_all(End::Abrupt),
            Event::Failed(error) if error.class() == Class::Retriable => {}
            other => panic!("{other:?}"),
        }
    }

    /// Whether all was taken; it is not from one that was thrown out.
    async fn commit(&mut self, only: Option<&[i32]>) -> bool {
        let wanted = self.held.iter();
        let wanted: Vec<(i32, i64)> = wanted
            .filter(|(number, _)| only.is_none_or(|only| only.contains(number)))
            .map(|(number, offset)| (*number, *offset))
            .collect();
        let offsets = wanted.iter().map(|(number, offset)| OffsetToCommit {
            partition: TopicPartition::new(self.topic.as_str(), *number),
            offset: *offset,
            leader_epoch: None,
            metadata: String::new(),
        });
        let offsets: Vec<_> = offsets.collect();
        loop {
            match within(self.consumer.commit(offsets.clone())).await {
                Ok(()) => break,
                Err(error) if error.class() == Class::Fenced => return false,
                Err(error) => assert_eq!(error.class(), Class::Retriable, "{error}"),
            }
        }
        for (number, offset) in wanted {
            self.ledger
                .with(self.number, number, |hold| hold.committed = offset);
        }
        true
    }

    fn end_all(&mut self, end: End) {
        for (number, _) in std::mem::take(&mut self.held) {
            self.ledger.ends(self.number, number, end);
        }
    }
}

/// Sends to all partitions in turn until it is told to stop; how many went to each.
fn keep_sending(
    producer: Producer,
    topic: String,
) -> (mpsc::Sender<()>, JoinHandle<BTreeMap<i32, i64>>) {
    let (stop, mut stopped) = mpsc::channel(1);
    let task = tokio::spawn(async move {
        let mut sent = BTreeMap::new();
        let mut beats = tokio::time::interval(Duration::from_millis(20));
        loop {
            tokio::select! {
                _ = beats.tick() => {}
                _ = stopped.recv() => return sent,
            }
            let mut deliveries = Vec::new();
            for number in 0..PARTITIONS {
                let count = sent.entry(number).or_insert(0);
                deliveries.push(send(&producer, &topic, number, record(count.to_string())).await);
                *count += 1;
            }
            for delivery in deliveries {
                within(delivery).await.expect("a record in the log");
            }
        }
    });
    (stop, task)
}

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

#[expect(
    clippy::print_stderr,
    reason = "the seed repeats a run, and what was measured is for whoever asks for it"
)]
async fn churn(stage: Stage, protocol: GroupProtocol, assignor: Assignor) {
    let topic = stage.own("churning");
    stage.make_topic(&topic, PARTITIONS).await;
    let group = stage.own("group");
    let time = from_environment("TESTS_CHURN_SECONDS").map_or(SHORT_FORM, Duration::from_secs);
    let seed = from_environment("TESTS_CHURN_SEED").unwrap_or_else(rand_seed);
    let one_dies_of = from_environment("TESTS_CHURN_DEATHS").unwrap_or(DEATHS);
    eprintln!("the seed is {seed}");
    let mut dice = Dice(seed);
    let ledger = Arc::new(Ledger::default());
    let producer = Producer::new(stage.client().await, ProducerConfig::default());
    let (stop, sending) = keep_sending(producer, topic.clone());
    let mut members: [Option<Member>; MEMBERS] = std::array::from_fn(|_| None);
    let mut ending = Vec::new();
    let (mut joins, mut leaves, mut deaths) = (0, 0, 0);
    let start = async |number: usize| {
        let config = ConsumerConfig {
            // The shortest that brokers take.
            session_timeout: Duration::from_secs(6),
            heartbeat_interval: Duration::from_millis(300),
            assignors: vec![assignor],
            protocol,
            ..ConsumerConfig::new(group.as_str(), [topic.as_str()])
        };
        let worker = Worker {
            number,
            topic: topic.clone(),
            consumer: Consumer::join(stage.client().await, config).await.unwrap(),
            ledger: Arc::clone(&ledger),
            held: BTreeMap::new(),
        };
        let (order, ordered) = watch::channel(Order::Work);
        let task = tokio::spawn(worker.run(ordered));
        Member { order, task }
    };
    for member in &mut members[..MEMBERS / 2] {
        joins += 1;
        *member = Some(start(joins).await);
    }
    let end = Instant::now() + time;
    while Instant::now() < end {
        let pause = 50 + dice.below(700);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let at = usize::try_from(dice.below(MEMBERS as u64)).unwrap();
        let Some(member) = members[at].take() else {
            joins += 1;
            members[at] = Some(start(joins).await);
            continue;
        };
        let dies = one_dies_of > 0 && dice.below(one_dies_of) == 0;
        (deaths, leaves) = (deaths + u32::from(dies), leaves + u32::from(!dies));
        let order = if dies { Order::Die } else { Order::Leave };
        member.order.send_replace(order);
        ending.push(member.task);
    }
    if members.iter().all(Option::is_none) {
        joins += 1;
        members[0] = Some(start(joins).await);
    }
    stop.send(()).await.unwrap();
    let sent = within(sending).await.unwrap();
    until(async || ledger.committed() == sent).await;
    for member in members.into_iter().flatten() {
        member.order.send_replace(Order::Leave);
        ending.push(member.task);
    }
    for task in ending {
        within(task).await.unwrap();
    }
    let (longest, share) = ledger.without_owner();
    let records: i64 = sent.values().sum();
    eprintln!(
        "{protocol:?}, {assignor}: {joins} joins, {leaves} leaves and {deaths} deaths in {} s, {records} records; a partition was \
         without an owner for {:.0} ms at most, {:.2} % of the time",
        time.as_secs(),
        longest.as_secs_f64() * 1000.0,
        share * 100.0
    );
    let mut committed = stage.committed(&group, &topic, PARTITIONS).await;
    committed.sort_unstable();
    assert_eq!(committed.into_iter().collect::<BTreeMap<_, _>>(), sent);
    if std::env::var_os(BESIDE_KAFKAS_OWN).is_some() && stage.over() == Over::Kafka {
        let settings = of_kafkas_own(protocol, assignor);
        let [time, seed] = [time.as_secs(), seed].map(|number| number.to_string());
        let group = stage.own("group-of-kafkas-own");
        let mut arguments = vec![topic.as_str(), &group, &time, &seed];
        arguments.extend(&settings);
        let told = java::run_program(&stage, "ComeAndGo", &arguments).await;
        // What its logger says comes before.
        let told = told.lines().last().unwrap_or_default();
        let told: Vec<_> = told.split_whitespace().collect();
        let [joins, leaves, longest, share] = told[..] else {
            panic!("{told:?}");
        };
        eprintln!(
            "{protocol:?}, {assignor}, Kafka's own: {joins} joins, {leaves} leaves; a partition was without an owner for \
             {longest} ms at most, {share} % of the time"
        );
    }
}

/// What makes Kafka's consumers join as ours do.
fn of_kafkas_own(protocol: GroupProtocol, assignor: Assignor) -> Vec<&'static str> {
    let by = match (protocol, assignor) {
        (GroupProtocol::Classic, Assignor::CooperativeSticky) => {
            "partition.assignment.strategy=org.apache.kafka.clients.consumer.CooperativeStickyAssignor"
        }
        (GroupProtocol::Classic, _) => {
            "partition.assignment.strategy=org.apache.kafka.clients.consumer.RangeAssignor"
        }
        // Heartbeats and sessions are the broker's affair there.
        _ => return vec!["group.protocol=consumer"],
    };
    vec![by, "session.timeout.ms=6000", "heartbeat.interval.ms=300"]
}

fn rand_seed() -> u64 {
    u64::from(uuid::Uuid::new_v4().as_fields().0)
}

async fn cooperative_members_that_come_and_go_lose_nothing_and_never_have_the_same_partition(
    stage: Stage,
) {
    churn(stage, GroupProtocol::Classic, Assignor::CooperativeSticky).await;
}

async fn eager_members_that_come_and_go_lose_nothing_and_never_have_the_same_partition(
    stage: Stage,
) {
    churn(stage, GroupProtocol::Classic, Assignor::Range).await;
}

async fn members_that_their_coordinator_divides_lose_nothing_and_never_have_the_same_partition(
    stage: Stage,
) {
    // The assignor is of no meaning here.
    churn(stage, GroupProtocol::Consumer, Assignor::Range).await;
}
