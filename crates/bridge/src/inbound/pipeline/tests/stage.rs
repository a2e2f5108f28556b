//! A pipeline over stand-ins, on paused time.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cybermesh_contracts::kind::Kind;
use cybermesh_transport::Position;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::stand_ins::{
    Call, FOREVER, FakeClock, FakeGrave, FakeHandler, FakeJudge, FakeOrder, OrderCall, TOPIC, tp,
};
use crate::clock::{PLAUSIBLE_FROM_MS, WallClock};
use crate::inbound::attempts::RetryPolicy;
use crate::inbound::burial::Burial;
use crate::inbound::group::{
    Assignment, Commit, CommitError, Fetched, Group, GroupCommand, GroupEvent, Life,
};
use crate::inbound::guard::GuardPolicy;
use crate::inbound::guard::burials::BurialRate;
use crate::inbound::judge::Bury;
use crate::inbound::origin::Origin;
use crate::inbound::pause::Pause;
use crate::inbound::pipeline::{
    Parts, Pipeline, PipelineConfig, PipelineEnd, Request, ResumeRequest, StopRequest,
    SubscriberReport,
};
use crate::settings::OnHang;
use crate::telemetry::{Condition, Exposition, Health, Metrics};

pub(super) struct Rig {
    pub(super) events: mpsc::Sender<GroupEvent>,
    pub(super) commands: mpsc::UnboundedReceiver<GroupCommand>,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) calls: mpsc::UnboundedReceiver<Call>,
    pub(super) buried: mpsc::UnboundedReceiver<(Arc<Burial>, bool)>,
    pub(super) judge: Arc<FakeJudge>,
    pub(super) grave: Arc<FakeGrave>,
    pub(super) clock: Arc<FakeClock>,
    pub(super) gate: Arc<Semaphore>,
    /// Ends what `block` waits for.
    pub(super) unblock: std::sync::mpsc::Sender<()>,
    pub(super) orders: mpsc::UnboundedReceiver<OrderCall>,
    pub(super) health: Health,
    pub(super) metrics: Metrics,
    pub(super) exposition: Exposition,
    pub(super) task: tokio::task::JoinHandle<PipelineEnd>,
    pub(super) next_offset: HashMap<i32, i64>,
}

impl Rig {
    pub(super) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// One whose partitions wait for their orders until the test says so.
    pub(super) fn start_reading_back() -> Self {
        Self::start_over(true, |_| {})
    }

    pub(super) fn start_with(change: impl FnOnce(&mut PipelineConfig)) -> Self {
        Self::start_over(false, change)
    }

    fn start_over(is_read_back: bool, change: impl FnOnce(&mut PipelineConfig)) -> Self {
        let mut config = PipelineConfig {
            kinds: HashMap::from([(Arc::from(TOPIC), Kind::Commit)]),
            max_inflight: 8,
            max_inflight_bytes: 1 << 20,
            retry: RetryPolicy {
                attempts: NonZeroU32::new(3).unwrap(),
                ..RetryPolicy::default()
            },
            handler_timeout: Duration::from_secs(60),
            revoke_timeout: Duration::from_secs(30),
            commit_interval: Duration::from_secs(1),
            workers: NonZeroUsize::new(2).unwrap(),
            guard: GuardPolicy::On(BurialRate::default()),
            try_every: Duration::from_secs(30),
            hang_after: Duration::from_secs(300),
            on_hang: OnHang::Report,
        };
        change(&mut config);
        let (events, group_events) = mpsc::channel(16);
        let (group_commands, commands) = mpsc::unbounded_channel();
        let (requests, asked) = mpsc::channel(1);
        let (calls_in, calls) = mpsc::unbounded_channel();
        let (buried_in, buried) = mpsc::unbounded_channel();
        let judge = Arc::new(FakeJudge {
            trusted: AtomicBool::new(true),
            keys: AtomicBool::new(true),
        });
        let grave = Arc::new(FakeGrave {
            open: AtomicBool::new(true),
            panics: AtomicBool::new(false),
            answers: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            buried: buried_in,
        });
        let clock = Arc::new(FakeClock(AtomicU64::new(PLAUSIBLE_FROM_MS)));
        let gate = Arc::new(Semaphore::new(0));
        let (unblock, block) = std::sync::mpsc::channel();
        let (told, orders) = mpsc::unbounded_channel();
        let (health, exposition) = (Health::new(), Exposition::new().unwrap());
        let metrics = exposition.metrics();
        let parts = Parts {
            judge: Arc::clone(&judge),
            handlers: Arc::new(FakeHandler {
                calls: calls_in,
                gate: Arc::clone(&gate),
                block: Arc::new(Mutex::new(block)),
            }),
            dead_letters: Arc::clone(&grave) as Arc<dyn Bury>,
            clock: Arc::clone(&clock) as Arc<dyn WallClock>,
            orders: Box::new(FakeOrder { is_read_back, told }),
            metrics: metrics.clone(),
            health: health.clone(),
        };
        let group = Group {
            events: group_events,
            commands: group_commands,
        };
        let task = tokio::spawn(Pipeline::new(config, parts, group).run(asked));
        Self {
            events,
            commands,
            requests,
            calls,
            buried,
            judge,
            grave,
            clock,
            gate,
            unblock,
            orders,
            health,
            metrics,
            exposition,
            task,
            next_offset: HashMap::new(),
        }
    }

    pub(super) async fn assign(&mut self, partitions: &[i32]) {
        let partitions: Vec<_> = partitions
            .iter()
            .map(|partition| (*partition, None))
            .collect();
        self.assign_all(partitions).await;
    }

    /// Assigns a partition of which everything below this offset was committed.
    pub(super) async fn assign_at(&mut self, partition: i32, committed: i64) {
        self.assign_all(vec![(partition, Some(committed))]).await;
    }

    /// Tells that these are ours, each with what was committed.
    pub(super) async fn tell_assigned(&self, partitions: &[(i32, Option<i64>)]) {
        let assignments = partitions
            .iter()
            .map(|(partition, committed)| Assignment {
                partition: tp(*partition),
                committed: committed.map(|offset| (offset, String::new())),
                start: Some(Position::Earliest),
                topic_id: None,
                life: Life(1),
            })
            .collect();
        self.events
            .send(GroupEvent::Assigned(assignments))
            .await
            .unwrap();
    }

    async fn assign_all(&mut self, partitions: Vec<(i32, Option<i64>)>) {
        self.tell_assigned(&partitions).await;
        for (partition, committed) in partitions {
            self.next_offset.insert(partition, committed.unwrap_or(0));
            let begun = self
                .command(|command| matches!(command, GroupCommand::Begin(begun) if *begun == tp(partition)))
                .await;
            assert!(matches!(begun, GroupCommand::Begin(_)));
        }
    }

    /// Tells that reading goes on elsewhere, in the life that begins with it.
    pub(super) async fn reset(&self, partition: i32, to: i64, life: u64) {
        let (partition, life) = (tp(partition), Life(life));
        let reset = GroupEvent::Reset {
            partition,
            to,
            topic_id: None,
            life,
        };
        self.events.send(reset).await.unwrap();
    }

    /// What an order is told next.
    pub(super) async fn told(&mut self) -> OrderCall {
        timeout(FOREVER, self.orders.recv())
            .await
            .expect("an order is told something")
            .unwrap()
    }

    /// What the orders of all partitions were told since this was asked.
    pub(super) fn order_was_told(&mut self) -> Vec<OrderCall> {
        std::iter::from_fn(|| self.orders.try_recv().ok()).collect()
    }

    /// Whether an order was told, since this was asked, that its log begins again.
    pub(super) fn log_began_again(&mut self) -> bool {
        let mut told = self.order_was_told().into_iter();
        told.any(|call| matches!(call, OrderCall::LogBeginsAgain))
    }

    /// The lines of the exposition that begin like this.
    pub(super) fn shown(&self, name: &str) -> Vec<String> {
        let text = self.exposition.text().unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.map(str::to_owned).collect()
    }

    /// Delivers records, each `(key, value)`, in one event.
    pub(super) async fn deliver(&mut self, partition: i32, messages: &[(&str, &str)]) {
        let next = self.next_offset.get_mut(&partition).unwrap();
        let start = *next;
        *next += i64::try_from(messages.len()).unwrap();
        let (end, records) = (
            *next,
            messages
                .iter()
                .zip(start..)
                .map(|((key, value), offset)| {
                    Arc::new(Origin {
                        topic: TOPIC.into(),
                        partition,
                        offset,
                        timestamp_ms: 0,
                        append_time_ms: None,
                        key: (!key.is_empty()).then(|| Bytes::copy_from_slice(key.as_bytes())),
                        value: Some(Bytes::copy_from_slice(value.as_bytes())),
                        headers: Vec::new(),
                        unreadable: None,
                    })
                })
                .collect(),
        );
        let fetched = Fetched {
            partition: tp(partition),
            records,
            end,
            high_watermark: end,
        };
        self.events
            .send(GroupEvent::Fetched(fetched))
            .await
            .unwrap();
    }

    pub(super) async fn command(&mut self, wanted: impl Fn(&GroupCommand) -> bool) -> GroupCommand {
        timeout(FOREVER, async {
            loop {
                let command = self.commands.recv().await.expect("the pipeline is alive");
                if wanted(&command) {
                    return command;
                }
            }
        })
        .await
        .expect("the command comes")
    }

    /// Waits for a commit and gives its offset of this partition, and the answer it waits for.
    pub(super) async fn commit(
        &mut self,
        partition: i32,
    ) -> (Option<i64>, oneshot::Sender<Result<(), CommitError>>) {
        let command = self
            .command(|command| matches!(command, GroupCommand::Commit(..)))
            .await;
        let GroupCommand::Commit(offsets, reply) = command else {
            unreachable!()
        };
        (offset_of(&offsets, partition), reply)
    }

    /// Waits for a commit, acknowledges it, and gives its offset of this partition.
    pub(super) async fn committed(&mut self, partition: i32) -> i64 {
        loop {
            let (offset, reply) = self.commit(partition).await;
            reply.send(Ok(())).unwrap();
            if let Some(offset) = offset {
                return offset;
            }
        }
    }

    /// Fails where anything was asked to be committed that nobody waited for.
    pub(super) fn nothing_is_committed(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            assert!(!matches!(command, GroupCommand::Commit(..)), "{command:?}");
        }
    }

    pub(super) async fn committed_up_to(&mut self, partition: i32, wanted: i64) {
        loop {
            let offset = self.committed(partition).await;
            assert!(offset <= wanted, "committed {offset}, wanted {wanted}");
            if offset == wanted {
                return;
            }
        }
    }

    pub(super) async fn call(&mut self) -> Call {
        timeout(FOREVER, self.calls.recv())
            .await
            .expect("a handler is called")
            .unwrap()
    }

    pub(super) async fn burial(&mut self) -> (Arc<Burial>, bool) {
        timeout(FOREVER, self.buried.recv())
            .await
            .expect("something is buried")
            .unwrap()
    }

    /// Lets the pipeline do everything it can do without time passing or news from outside.
    pub(super) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Asks for a stop, and gives what its report will come by.
    pub(super) async fn ask_to_stop(
        &self,
        deadline: Duration,
    ) -> oneshot::Receiver<SubscriberReport> {
        let (reply, report) = oneshot::channel();
        let deadline = Instant::now() + deadline;
        self.requests
            .send(Request::Stop(StopRequest { deadline, reply }))
            .await
            .unwrap();
        report
    }

    pub(super) async fn stop_within(
        self,
        deadline: Duration,
    ) -> (SubscriberReport, Vec<(Commit, bool)>) {
        let (reply, mut report) = oneshot::channel();
        let deadline = Instant::now() + deadline;
        self.requests
            .send(Request::Stop(StopRequest { deadline, reply }))
            .await
            .unwrap();
        let mut commands = self.commands;
        let mut commits = Vec::new();
        let mut left = false;
        let report = timeout(FOREVER, async {
            loop {
                tokio::select! {
                    command = commands.recv() => match command {
                        Some(GroupCommand::Commit(offsets, reply)) => {
                            commits.extend(offsets.into_iter().map(|offset| (offset, left)));
                            let _ = reply.send(Ok(()));
                        }
                        Some(GroupCommand::Leave(reply)) => { left = true; let _ = reply.send(()); }
                        _ => {}
                    },
                    report = &mut report => return report.unwrap(),
                }
            }
        })
        .await
        .expect("it stops");
        assert!(matches!(self.task.await.unwrap(), PipelineEnd::Stopped));
        (report, commits)
    }
}

pub(super) fn offset_of(offsets: &[Commit], partition: i32) -> Option<i64> {
    offsets
        .iter()
        .find(|commit| commit.partition == tp(partition))
        .map(|commit| commit.offset)
}

impl Rig {
    pub(super) fn reason_for(&self, wanted: &Condition) -> Option<String> {
        let conditions = self.health.conditions().into_iter();
        conditions
            .filter(|(condition, _)| condition == wanted)
            .map(|(_, detail)| detail)
            .next()
    }

    pub(super) async fn resume(&self, partition: i32) -> Option<Vec<Pause>> {
        let (reply, answer) = oneshot::channel();
        let partition = tp(partition);
        let request = Request::Resume(ResumeRequest { partition, reply });
        self.requests.send(request).await.unwrap();
        answer.await.unwrap()
    }

    /// Twenty messages of three signers fail for good.
    pub(super) async fn let_all_fail(&mut self) {
        for offset in 0..20 {
            let message = format!("permanent by {}", offset % 3);
            self.deliver(0, &[(&format!("lane {offset}"), &message)])
                .await;
            assert_eq!(self.call().await, Call::Started(offset, 1));
            self.settle().await;
        }
    }
}

pub(super) fn paused(partition: i32) -> Condition {
    Condition::PartitionPaused {
        topic: TOPIC.to_owned(),
        partition,
    }
}

pub(super) fn hung() -> Condition {
    Condition::Hung {
        topic: TOPIC.to_owned(),
        partition: 0,
    }
}
