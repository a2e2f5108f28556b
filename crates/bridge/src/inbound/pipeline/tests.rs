//! The whole way in on paused time: every row of the promise, with a group, a judge and a
//! dead-letter topic that do what the test says.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::rejection::{DecodeFault, Disposition, EnvelopeFault, Reason, Rejection};
use cybermesh_contracts::sign::PublicKey;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::{
    Parts, Pipeline, PipelineConfig, PipelineEnd, Request, ResumeRequest, StopRequest,
    SubscriberReport,
};
use crate::clock::{PLAUSIBLE_FROM_MS, WallClock};
use crate::handler::{Context, HandlerError, Verdict};
use crate::inbound::attempts::RetryPolicy;
use crate::inbound::burial::Burial;
use crate::inbound::effect::Judged;
use crate::inbound::group::{
    Assignment, Commit, CommitError, Fetched, Group, GroupCommand, GroupEvent,
};
use crate::inbound::guard::GuardPolicy;
use crate::inbound::guard::burials::BurialRate;
use crate::inbound::judge::{Believed, Bury, Handle, Judge, JudgeOrder, Order, OrderStore};
use crate::inbound::origin::{Origin, TopicPartition};
use crate::inbound::pause::Pause;
use crate::settings::{OnExhausted, OnHang};
use crate::telemetry::{Condition, Exposition, Health, Metrics};

pub(super) const TOPIC: &str = "control.commits.v1";
/// What our clock must have reached to admit messages from the future.
const FUTURE_MS: i64 = PLAUSIBLE_FROM_MS as i64 + 1_000_000;
const FOREVER: Duration = Duration::from_secs(100_000);

pub(super) fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

/// Believes every value but `bad`; `stale` is stale. Withdrawn trust believes nothing.
struct FakeJudge {
    trusted: AtomicBool,
    keys: AtomicBool,
}

impl Judge for FakeJudge {
    type Message = String;
    type Trust = (bool, bool);

    fn trust(&self) -> Arc<(bool, bool)> {
        let read = |flag: &AtomicBool| flag.load(Ordering::SeqCst);
        Arc::new((read(&self.trusted), read(&self.keys)))
    }

    fn has_keys(&self, trust: &(bool, bool), _kind: Kind) -> bool {
        trust.1
    }

    fn judge(&self, _: &(bool, bool), _: Kind, origin: &Origin, wall_ms: i64) -> Judged<String> {
        let value = origin.value.as_deref().unwrap_or_default();
        match std::str::from_utf8(value).unwrap_or("bad") {
            "bad" => Err(Rejection::new(Reason::Decode(DecodeFault::NullValue), None)),
            "stale" => Err(Rejection::new(
                Reason::Stale {
                    field: "timestamp",
                    age_ms: 2,
                    max_age_ms: 1,
                },
                None,
            )),
            "bomb" => panic!("a fault of ours"),
            // Signed by this key at a time that our clock says lies ahead until it goes on by 1000 s.
            future if future.starts_with("future by ") && wall_ms < FUTURE_MS => {
                let key = future.rsplit(' ').next().unwrap().parse().unwrap();
                Err(Rejection::new(
                    Reason::Future {
                        field: "timestamp",
                        ahead_ms: u64::try_from(FUTURE_MS - wall_ms).unwrap(),
                        tolerance_ms: 0,
                    },
                    Some(PublicKey([key; 32])),
                ))
            }
            badly if badly.starts_with("badly enveloped by ") => {
                let key = badly.rsplit(' ').next().unwrap().parse().unwrap();
                Err(Rejection::new(
                    Reason::EnvelopeInvalid {
                        id: "signer".into(),
                        fault: EnvelopeFault::Signature,
                    },
                    Some(PublicKey([key; 32])),
                ))
            }
            other => Ok(other.to_owned()),
        }
    }

    fn recheck(&self, trust: &(bool, bool), _: &String) -> Result<(), Rejection> {
        if trust.0 {
            Ok(())
        } else {
            Err(Rejection::new(Reason::UnknownKey, None))
        }
    }
}

impl Believed for String {
    /// `… by 7` is signed by key 7.
    fn signer(&self) -> Option<PublicKey> {
        let (_, key) = self.split_once(" by ")?;
        Some(PublicKey([key.parse().ok()?; 32]))
    }

    fn is_enveloped(&self) -> bool {
        self.starts_with("enveloped")
    }

    fn redrive(&self) -> Option<cybermesh_contracts::redrive::Terms> {
        None
    }
}

struct FakeOrder;

impl JudgeOrder<String> for FakeOrder {
    fn judge(&mut self, _: i64, _: usize, message: &String) -> Order {
        match message.as_str() {
            "copy" => Order::Duplicate,
            "replay" => Order::Replay,
            _ => Order::Passes,
        }
    }

    fn pass_over(&mut self, _: i64, _: usize) {}

    fn log_begins_again(&mut self) {}

    fn resumed(&mut self, _: i64) {}

    fn committed(&mut self, _: i64, _: i64) {}
}

impl OrderStore<String> for FakeOrder {
    fn open(&mut self, _: &Assignment) -> Box<dyn JudgeOrder<String>> {
        Box::new(FakeOrder)
    }

    fn close(&mut self, _: TopicPartition, _: Box<dyn JudgeOrder<String>>) {}
}

/// Does what the message says, and tells when it starts and when it is dropped.
struct FakeHandler {
    calls: mpsc::UnboundedSender<Call>,
    /// Messages called `gate` wait for this.
    gate: Arc<tokio::sync::Semaphore>,
}

#[derive(Debug, PartialEq, Eq)]
enum Call {
    Started(i64, u32),
    Dropped(i64),
}

struct TellDropped(i64, mpsc::UnboundedSender<Call>);

impl Drop for TellDropped {
    fn drop(&mut self) {
        let _ = self.1.send(Call::Dropped(self.0));
    }
}

impl Handle<String> for FakeHandler {
    fn call(
        &self,
        _: Kind,
        message: String,
        context: Context,
    ) -> BoxFuture<'static, Result<Verdict, HandlerError>> {
        self.calls
            .send(Call::Started(context.offset(), context.attempt()))
            .unwrap();
        let (calls, gate) = (self.calls.clone(), Arc::clone(&self.gate));
        assert_ne!(message, "panic at call", "as the message says");
        Box::pin(async move {
            match message.split(" by ").next().unwrap_or_default() {
                "skip" => Ok(Verdict::skip("not ours")),
                "retry once" if context.attempt() == 1 => {
                    Ok(Verdict::retry_after(Duration::from_secs(3)))
                }
                "retriable" => Err(HandlerError::retriable("downstream is away")),
                "permanent" => Err(HandlerError::permanent("cannot be")),
                "reject" => Ok(Verdict::reject("will not be")),
                "panic" => panic!("as the message says"),
                "hang" => {
                    let _tell = TellDropped(context.offset(), calls);
                    std::future::pending().await
                }
                "gate" => {
                    gate.acquire().await.unwrap().forget();
                    Ok(Verdict::Done)
                }
                _ => Ok(Verdict::Done),
            }
        })
    }
}

/// Acknowledges dead letters while it is open.
struct FakeGrave {
    open: AtomicBool,
    buried: mpsc::UnboundedSender<(Arc<Burial>, bool)>,
}

impl Bury for FakeGrave {
    fn bury(&self, burial: Arc<Burial>) -> BoxFuture<'static, Result<(), String>> {
        let open = self.open.load(Ordering::SeqCst);
        self.buried.send((burial, open)).unwrap();
        Box::pin(async move { open.then_some(()).ok_or_else(|| "no such topic".to_owned()) })
    }
}

#[derive(Debug)]
struct FakeClock(AtomicU64);

impl WallClock for FakeClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

struct Rig {
    events: mpsc::Sender<GroupEvent>,
    commands: mpsc::UnboundedReceiver<GroupCommand>,
    requests: mpsc::Sender<Request>,
    calls: mpsc::UnboundedReceiver<Call>,
    buried: mpsc::UnboundedReceiver<(Arc<Burial>, bool)>,
    judge: Arc<FakeJudge>,
    grave: Arc<FakeGrave>,
    clock: Arc<FakeClock>,
    gate: Arc<tokio::sync::Semaphore>,
    health: Health,
    metrics: Metrics,
    exposition: Exposition,
    task: tokio::task::JoinHandle<PipelineEnd>,
    next_offset: HashMap<i32, i64>,
}

impl Rig {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    fn start_with(change: impl FnOnce(&mut PipelineConfig)) -> Self {
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
            buried: buried_in,
        });
        let clock = Arc::new(FakeClock(AtomicU64::new(PLAUSIBLE_FROM_MS)));
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let (health, exposition) = (Health::new(), Exposition::new().unwrap());
        let metrics = exposition.metrics();
        let parts = Parts {
            judge: Arc::clone(&judge),
            handlers: Arc::new(FakeHandler {
                calls: calls_in,
                gate: Arc::clone(&gate),
            }),
            dead_letters: Arc::clone(&grave) as Arc<dyn Bury>,
            clock: Arc::clone(&clock) as Arc<dyn WallClock>,
            orders: Box::new(FakeOrder),
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
            health,
            metrics,
            exposition,
            task,
            next_offset: HashMap::new(),
        }
    }

    async fn assign(&mut self, partitions: &[i32]) {
        let assignments = partitions
            .iter()
            .map(|partition| Assignment {
                partition: tp(*partition),
                committed: None,
            })
            .collect();
        self.events
            .send(GroupEvent::Assigned(assignments))
            .await
            .unwrap();
        for partition in partitions {
            self.next_offset.insert(*partition, 0);
            let begun = self
                .command(|command| matches!(command, GroupCommand::Begin(begun) if *begun == tp(*partition)))
                .await;
            assert!(matches!(begun, GroupCommand::Begin(_)));
        }
    }

    /// Delivers records, each `(key, value)`, in one event.
    async fn deliver(&mut self, partition: i32, messages: &[(&str, &str)]) {
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

    async fn command(&mut self, wanted: impl Fn(&GroupCommand) -> bool) -> GroupCommand {
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

    /// Waits for a commit, acknowledges it, and gives its offset of this partition.
    async fn committed(&mut self, partition: i32) -> i64 {
        loop {
            let command = self
                .command(|command| matches!(command, GroupCommand::Commit(..)))
                .await;
            let GroupCommand::Commit(offsets, reply) = command else {
                unreachable!()
            };
            reply.send(Ok(())).unwrap();
            if let Some(offset) = offset_of(&offsets, partition) {
                return offset;
            }
        }
    }

    async fn committed_up_to(&mut self, partition: i32, wanted: i64) {
        loop {
            let offset = self.committed(partition).await;
            assert!(offset <= wanted, "committed {offset}, wanted {wanted}");
            if offset == wanted {
                return;
            }
        }
    }

    async fn call(&mut self) -> Call {
        timeout(FOREVER, self.calls.recv())
            .await
            .expect("a handler is called")
            .unwrap()
    }

    async fn burial(&mut self) -> (Arc<Burial>, bool) {
        timeout(FOREVER, self.buried.recv())
            .await
            .expect("something is buried")
            .unwrap()
    }

    /// Lets the pipeline do everything it can do without time passing or news from outside.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    async fn stop_within(self, deadline: Duration) -> (SubscriberReport, Vec<(Commit, bool)>) {
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

fn offset_of(offsets: &[Commit], partition: i32) -> Option<i64> {
    offsets
        .iter()
        .find(|commit| commit.partition == tp(partition))
        .map(|commit| commit.offset)
}

#[tokio::test(start_paused = true)]
async fn a_handled_message_is_committed_after_its_handler_ended() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "gate")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!matches!(
        rig.commands.try_recv(),
        Ok(GroupCommand::Commit(..))
    ));
    rig.gate.add_permits(1);
    rig.committed_up_to(0, 1).await;
    assert_eq!(rig.metrics.receive_counts().messages_processed, 1);
}

#[tokio::test(start_paused = true)]
async fn skip_is_counted_and_done() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "skip")]).await;
    rig.committed_up_to(0, 1).await;
    assert!(
        rig.exposition
            .text()
            .unwrap()
            .contains(r#"bridge_skipped_total{reason="handler""#)
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_as_long_as_the_handler_asked_while_other_lanes_go_on() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    let before = Instant::now();
    rig.deliver(0, &[("a", "retry once"), ("a", "behind"), ("b", "beside")])
        .await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    assert_eq!(rig.call().await, Call::Started(2, 1));
    assert_eq!(rig.call().await, Call::Started(0, 2));
    assert!(before.elapsed() >= Duration::from_secs(3));
    assert_eq!(rig.call().await, Call::Started(1, 1));
    rig.committed_up_to(0, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_retriable_error_is_tried_as_often_as_allowed_and_then_buried() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "retriable")]).await;
    for attempt in 1..=3 {
        assert_eq!(rig.call().await, Call::Started(0, attempt));
    }
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::AttemptsExhausted);
    assert_eq!(
        (burial.attempts, &*burial.reason),
        (3, "downstream is away")
    );
    rig.committed_up_to(0, 1).await;
    assert_eq!(rig.metrics.receive_counts().messages_failed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_and_a_reject_are_buried_at_once() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "permanent"), ("b", "reject")]).await;
    for _ in 0..2 {
        let (burial, _) = rig.burial().await;
        assert_eq!(burial.disposition, Disposition::HandlerRejected);
        assert_eq!(burial.attempts, 1);
    }
    rig.committed_up_to(0, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_caught_retried_and_buried_by_its_name() {
    for message in ["panic", "panic at call"] {
        let mut rig = Rig::start();
        rig.assign(&[0]).await;
        rig.deliver(0, &[("a", message), ("b", "fine")]).await;
        let (burial, _) = rig.burial().await;
        assert_eq!(burial.disposition, Disposition::HandlerPanic);
        assert_eq!(burial.attempts, 3);
        rig.committed_up_to(0, 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_over_its_deadline_is_cancelled_and_counts_as_retriable() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    let before = Instant::now();
    rig.deliver(0, &[("a", "hang")]).await;
    for attempt in 1..=3 {
        assert_eq!(rig.call().await, Call::Started(0, attempt));
        assert_eq!(rig.call().await, Call::Dropped(0));
    }
    assert!(before.elapsed() >= Duration::from_secs(180));
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::AttemptsExhausted);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_verify_is_buried_and_never_handled() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "bad"), ("a", "fine")]).await;
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::Decode);
    assert_eq!(rig.call().await, Call::Started(1, 1));
    rig.committed_up_to(0, 2).await;
    assert!(rig.calls.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_verifier_that_panics_costs_the_record_and_not_the_partition() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "bomb"), ("a", "fine")]).await;
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::Decode);
    rig.committed_up_to(0, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_and_a_stale_message_are_skipped_and_an_old_one_is_buried() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "copy"), ("a", "stale"), ("a", "replay")])
        .await;
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::Replay);
    rig.committed_up_to(0, 3).await;
    assert!(rig.calls.try_recv().is_err());
    assert!(rig.buried.try_recv().is_err());
    let text = rig.exposition.text().unwrap();
    assert!(
        text.contains(r#"bridge_skipped_total{reason="duplicate""#),
        "{text}"
    );
    assert!(
        text.contains(r#"bridge_skipped_total{reason="stale""#),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn while_dead_letters_fail_the_partition_pauses_and_nothing_is_committed() {
    let mut rig = Rig::start();
    rig.assign(&[0, 1]).await;
    rig.grave.open.store(false, Ordering::SeqCst);
    rig.deliver(0, &[("a", "bad")]).await;
    assert!(!rig.burial().await.1);
    rig.command(|command| matches!(command, GroupCommand::Pause(paused) if *paused == tp(0)))
        .await;
    rig.deliver(0, &[("a", "fine")]).await;
    rig.deliver(1, &[("a", "fine")]).await;
    assert_eq!(rig.committed(1).await, 1);
    assert_eq!(rig.call().await, Call::Started(0, 1));
    assert!(rig.calls.try_recv().is_err());
    let conditions: Vec<_> = rig
        .health
        .conditions()
        .into_iter()
        .map(|(c, _)| c)
        .collect();
    assert!(
        conditions.contains(&Condition::DeadLetters),
        "{conditions:?}"
    );

    assert!(!rig.burial().await.1);
    rig.grave.open.store(true, Ordering::SeqCst);
    assert!(rig.burial().await.1);
    rig.command(|command| matches!(command, GroupCommand::Resume(resumed) if *resumed == tp(0)))
        .await;
    rig.committed_up_to(0, 2).await;
    assert!(rig.health.is_ready());
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_message_pauses_its_partition_where_the_settings_say_so() {
    let mut rig = Rig::start_with(|config| config.retry.on_exhausted = OnExhausted::Pause);
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "retriable")]).await;
    for attempt in 1..=3 {
        assert_eq!(rig.call().await, Call::Started(0, attempt));
    }
    rig.command(|command| matches!(command, GroupCommand::Pause(_)))
        .await;
    rig.settle().await;
    assert!(!rig.health.is_ready());
    assert!(rig.buried.try_recv().is_err());
    let (report, commits) = rig.stop_within(Duration::from_secs(30)).await;
    assert_eq!(report.left.len(), 1);
    assert!(commits.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_key_is_withdrawn_between_attempts_is_not_handled_again() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "retriable")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.judge.trusted.store(false, Ordering::SeqCst);
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::UnknownKey);
    assert_eq!(burial.attempts, 1);
    rig.committed_up_to(0, 1).await;
    assert!(rig.calls.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_kind_whose_last_key_is_withdrawn_pauses_and_judges_nothing() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.judge.keys.store(false, Ordering::SeqCst);
    rig.deliver(0, &[("a", "bad"), ("a", "fine")]).await;
    rig.command(|command| matches!(command, GroupCommand::Pause(_)))
        .await;
    assert!(rig.buried.try_recv().is_err());
    assert!(
        rig.health
            .conditions()
            .iter()
            .any(|(condition, _)| *condition == Condition::KindWithoutKeys(Kind::Commit))
    );
    rig.judge.keys.store(true, Ordering::SeqCst);
    rig.committed_up_to(0, 2).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_judged_by_a_clock_that_cannot_be_believed() {
    let mut rig = Rig::start();
    rig.clock.0.store(0, Ordering::SeqCst);
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "bad"), ("a", "fine")]).await;
    rig.command(|command| matches!(command, GroupCommand::Pause(_)))
        .await;
    assert!(rig.buried.try_recv().is_err());
    assert!(!rig.health.is_ready());
    rig.clock.0.store(PLAUSIBLE_FROM_MS, Ordering::SeqCst);
    rig.committed_up_to(0, 2).await;
    assert!(rig.health.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_revoke_waits_for_running_handlers_commits_and_then_releases() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "gate"), ("a", "never started")])
        .await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    rig.settle().await;
    rig.gate.add_permits(1);
    assert_eq!(rig.committed(0).await, 1);
    rig.command(
        |command| matches!(command, GroupCommand::Release(released) if *released == [tp(0)]),
    )
    .await;
    assert!(rig.calls.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_revoke_in_the_middle_of_a_retry_commits_nothing_for_it() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("a", "retriable"), ("b", "fine")])
        .await;
    for _ in 0..3 {
        rig.call().await;
    }
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    let before = Instant::now();
    assert_eq!(rig.committed(0).await, 1);
    rig.command(|command| matches!(command, GroupCommand::Release(_)))
        .await;
    assert!(before.elapsed() < Duration::from_secs(1));
    rig.settle().await;
    assert!(rig.calls.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_revoke_cancels_what_does_not_end_in_time_and_commits_only_what_is_done() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "hang"), ("c", "fine")])
        .await;
    for _ in 0..3 {
        rig.call().await;
    }
    let before = Instant::now();
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    assert_eq!(rig.committed(0).await, 1);
    rig.command(|command| matches!(command, GroupCommand::Release(_)))
        .await;
    assert!(before.elapsed() >= Duration::from_secs(30));
    assert_eq!(rig.call().await, Call::Dropped(1));
}

#[tokio::test(start_paused = true)]
async fn a_last_attempt_that_a_revoke_cancels_is_not_buried() {
    let mut rig = Rig::start_with(|config| {
        config.retry.attempts = NonZeroU32::MIN;
        config.revoke_timeout = Duration::from_secs(10);
    });
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "hang")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    assert_eq!(rig.call().await, Call::Dropped(0));
    rig.command(|command| matches!(command, GroupCommand::Release(_)))
        .await;
    rig.settle().await;
    assert!(rig.buried.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_ends_after_the_last_commit_of_its_partition_changes_nothing() {
    let mut rig = Rig::start_with(|config| config.retry.attempts = NonZeroU32::MIN);
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "hang")]).await;
    rig.call().await;
    rig.call().await;
    rig.grave.open.store(false, Ordering::SeqCst);
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    let command = rig
        .command(|command| matches!(command, GroupCommand::Commit(..)))
        .await;
    let GroupCommand::Commit(offsets, reply) = command else {
        unreachable!()
    };
    assert_eq!(offset_of(&offsets, 0), Some(1));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(rig.buried.try_recv().is_err());
    reply.send(Ok(())).unwrap();
    rig.command(|command| matches!(command, GroupCommand::Release(_)))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_session_makes_the_process_unready_until_it_is_assigned_again() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.settle().await;
    assert!(rig.health.is_ready());
    rig.events
        .send(GroupEvent::Lost(vec![tp(0)]))
        .await
        .unwrap();
    rig.settle().await;
    assert!(!rig.health.is_ready());
    rig.assign(&[0]).await;
    rig.settle().await;
    assert!(rig.health.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_release_follows_a_commit_that_failed_too() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine")]).await;
    rig.call().await;
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    let command = rig
        .command(|command| matches!(command, GroupCommand::Commit(..)))
        .await;
    let GroupCommand::Commit(_, reply) = command else {
        unreachable!()
    };
    reply
        .send(Err(CommitError("coordinator is gone".into())))
        .unwrap();
    rig.command(|command| matches!(command, GroupCommand::Release(_)))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_failed_is_made_again() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine")]).await;
    let command = rig
        .command(|command| matches!(command, GroupCommand::Commit(..)))
        .await;
    let GroupCommand::Commit(_, reply) = command else {
        unreachable!()
    };
    reply
        .send(Err(CommitError("coordinator is loading".into())))
        .unwrap();
    assert_eq!(rig.committed(0).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_partition_is_dropped_without_a_commit_and_delivered_again_later() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "hang"), ("b", "fine")]).await;
    rig.call().await;
    rig.call().await;
    rig.events
        .send(GroupEvent::Lost(vec![tp(0)]))
        .await
        .unwrap();
    assert_eq!(rig.call().await, Call::Dropped(0));
    tokio::time::sleep(Duration::from_secs(5)).await;
    while let Ok(command) = rig.commands.try_recv() {
        assert!(!matches!(
            command,
            GroupCommand::Commit(..) | GroupCommand::Release(_)
        ));
    }
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "fine")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    assert_eq!(rig.call().await, Call::Started(1, 1));
    rig.committed_up_to(0, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_last_commit_answered_after_its_partition_was_lost_and_came_back_takes_nothing_away() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine")]).await;
    rig.call().await;
    rig.events
        .send(GroupEvent::Revoked(vec![tp(0)]))
        .await
        .unwrap();
    let command = rig
        .command(|command| matches!(command, GroupCommand::Commit(..)))
        .await;
    let GroupCommand::Commit(_, reply) = command else {
        unreachable!()
    };
    rig.events
        .send(GroupEvent::Lost(vec![tp(0)]))
        .await
        .unwrap();
    rig.assign(&[0]).await;
    reply
        .send(Err(CommitError("no answer within 10 s".into())))
        .unwrap();
    rig.settle().await;
    rig.deliver(0, &[("a", "fine")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.committed_up_to(0, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_whose_log_begins_again_below_what_was_committed_is_handled_from_there() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("a", "fine"), ("b", "hang")])
        .await;
    for offset in 0..3 {
        let Call::Started(started, 1) = rig.call().await else {
            panic!("offset {offset}")
        };
        assert!((0..3).contains(&started));
    }
    rig.committed_up_to(0, 2).await;
    rig.events
        .send(GroupEvent::Reset {
            partition: tp(0),
            to: 0,
        })
        .await
        .unwrap();
    assert_eq!(rig.call().await, Call::Dropped(2));
    rig.next_offset.insert(0, 0);
    rig.deliver(0, &[("a", "gate")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.gate.add_permits(1);
    assert_eq!(rig.committed(0).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_skips_what_is_gone_leaves_what_is_in_flight_alone() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "gate")]).await;
    assert_eq!(rig.call().await, Call::Started(0, 1));
    rig.events
        .send(GroupEvent::Reset {
            partition: tp(0),
            to: 7,
        })
        .await
        .unwrap();
    rig.settle().await;
    rig.gate.add_permits(1);
    rig.next_offset.insert(0, 7);
    rig.deliver(0, &[("b", "fine")]).await;
    assert_eq!(rig.call().await, Call::Started(7, 1));
    rig.committed_up_to(0, 8).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_former_assignment_counts_for_nothing() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.grave.open.store(false, Ordering::SeqCst);
    rig.deliver(0, &[("a", "bad")]).await;
    rig.burial().await;
    rig.events
        .send(GroupEvent::Lost(vec![tp(0)]))
        .await
        .unwrap();
    rig.grave.open.store(true, Ordering::SeqCst);
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "gate"), ("b", "fine")]).await;
    rig.call().await;
    rig.call().await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    while let Ok(command) = rig.commands.try_recv() {
        assert!(!matches!(command, GroupCommand::Commit(..)));
    }
    assert!(rig.buried.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn fetching_pauses_at_the_bound_and_one_stuck_lane_does_not_starve_other_partitions() {
    let mut rig = Rig::start();
    rig.assign(&[0, 1]).await;
    let stuck: Vec<_> = std::iter::repeat_n(("stuck", "gate"), 50).collect();
    rig.deliver(0, &stuck).await;
    rig.command(|command| matches!(command, GroupCommand::Pause(paused) if *paused == tp(0)))
        .await;
    let fine: Vec<_> = std::iter::repeat_n(("other", "fine"), 50).collect();
    rig.deliver(1, &fine).await;
    rig.committed_up_to(1, 50).await;
    rig.gate.add_permits(50);
    rig.command(|command| matches!(command, GroupCommand::Resume(resumed) if *resumed == tp(0)))
        .await;
    rig.committed_up_to(0, 50).await;
}

#[tokio::test(start_paused = true)]
async fn an_orderly_stop_finishes_what_runs_commits_and_leaves_last() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "gate"), ("b", "reject"), ("a", "never started")])
        .await;
    rig.call().await;
    rig.call().await;
    let gate = Arc::clone(&rig.gate);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        gate.add_permits(1);
    });
    let (report, commits) = rig.stop_within(Duration::from_secs(30)).await;
    assert!(report.committed && report.left_group);
    assert_eq!(report.unfinished(), 1);
    assert_eq!(report.left[0].watermark, 2);
    let (last, after_leaving) = commits.last().unwrap();
    assert_eq!(last.offset, 2);
    assert!(!after_leaving);
}

#[tokio::test(start_paused = true)]
async fn a_stop_cancels_what_does_not_end_before_its_deadline() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "hang")]).await;
    rig.call().await;
    let before = Instant::now();
    let (report, commits) = rig.stop_within(Duration::from_secs(10)).await;
    assert!(before.elapsed() <= Duration::from_secs(10));
    assert_eq!(report.unfinished(), 1);
    assert!(commits.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_group_that_does_not_answer_does_not_hold_up_a_stop() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine")]).await;
    rig.call().await;
    let (reply, report) = oneshot::channel();
    let deadline = Instant::now() + Duration::from_secs(10);
    rig.requests
        .send(Request::Stop(StopRequest { deadline, reply }))
        .await
        .unwrap();
    let report = report.await.unwrap();
    assert!(Instant::now() <= deadline + Duration::from_millis(1));
    assert!(!report.committed && !report.left_group);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_is_dropped_cancels_its_handlers() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "hang")]).await;
    rig.call().await;
    drop(rig.requests);
    assert!(matches!(rig.task.await.unwrap(), PipelineEnd::Abandoned));
    assert_eq!(rig.calls.recv().await, Some(Call::Dropped(0)));
}

#[tokio::test(start_paused = true)]
async fn a_stretch_that_cannot_be_read_is_buried_and_passed() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    let unreadable = Origin {
        topic: TOPIC.into(),
        partition: 0,
        offset: 4,
        timestamp_ms: 0,
        append_time_ms: None,
        key: None,
        value: None,
        headers: Vec::new(),
        unreadable: Some("the batch's checksum does not fit its content".into()),
    };
    let fetched = Fetched {
        partition: tp(0),
        records: vec![Arc::new(unreadable)],
        end: 9,
        high_watermark: 9,
    };
    rig.events.send(GroupEvent::Fetched(fetched)).await.unwrap();
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::Decode);
    rig.committed_up_to(0, 9).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_may_not_be_read_makes_the_process_unready() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    let refused = GroupEvent::Refused(tp(0), "not authorised".into());
    rig.events.send(refused).await.unwrap();
    rig.settle().await;
    assert!(!rig.health.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_group_that_ended_ends_the_pipeline_and_says_why() {
    let rig = Rig::start();
    rig.events
        .send(GroupEvent::Ended("not authorised".into()))
        .await
        .unwrap();
    match rig.task.await.unwrap() {
        PipelineEnd::GroupEnded(reason) => assert_eq!(reason, "not authorised"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_garbage_is_summed_up_committed_and_counted_message_by_message() {
    let mut rig = Rig::start_with(|config| {
        config.guard = GuardPolicy::On(BurialRate {
            per_second: 0,
            burst: 3,
        });
    });
    rig.assign(&[0]).await;
    rig.deliver(0, &[("", "bad"); 100]).await;
    for offset in 0..3 {
        assert_eq!(rig.burial().await.0.offsets(), [offset]);
    }
    let (summary, _) = rig.burial().await;
    assert_eq!(summary.offsets(), (3..100).collect::<Vec<i64>>());
    rig.committed_up_to(0, 100).await;
    assert!(rig.health.is_ready(), "garbage pauses nothing");
    let text = rig.exposition.text().unwrap();
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line("bridge_rejected_total").ends_with(" 100"), "{text}");
    assert!(line("bridge_dlq_requests_total").ends_with(" 4"), "{text}");
    assert_eq!(rig.metrics.receive_counts().messages_failed, 100);
}

impl Rig {
    fn reason_for(&self, wanted: &Condition) -> Option<String> {
        let conditions = self.health.conditions().into_iter();
        conditions
            .filter(|(condition, _)| condition == wanted)
            .map(|(_, detail)| detail)
            .next()
    }

    async fn resume(&self, partition: i32) -> Option<Vec<Pause>> {
        let (reply, answer) = oneshot::channel();
        let partition = tp(partition);
        let request = Request::Resume(ResumeRequest { partition, reply });
        self.requests.send(request).await.unwrap();
        answer.await.unwrap()
    }

    /// Twenty messages of three signers fail for good.
    async fn let_all_fail(&mut self) {
        for offset in 0..20 {
            let message = format!("permanent by {}", offset % 3);
            self.deliver(0, &[(&format!("lane {offset}"), &message)])
                .await;
            assert_eq!(self.call().await, Call::Started(offset, 1));
            self.settle().await;
        }
    }
}

fn paused(partition: i32) -> Condition {
    Condition::PartitionPaused {
        topic: TOPIC.to_owned(),
        partition,
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_authentic_messages_fail_the_partition_pauses_unready_and_tries_until_one_passes()
{
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.let_all_fail().await;
    let reason = rig.reason_for(&paused(0)).unwrap();
    assert!(reason.contains("handlers-fail"), "{reason}");
    rig.committed_up_to(0, 19).await;

    let before = Instant::now();
    rig.deliver(0, &[("a", "fine"), ("a", "behind")]).await;
    assert_eq!(rig.call().await, Call::Started(19, 1));
    assert!(before.elapsed() >= Duration::from_secs(28));
    assert_eq!(rig.call().await, Call::Started(20, 1));
    assert_eq!(rig.call().await, Call::Started(19, 1), "never given up");
    rig.settle().await;
    assert_eq!(rig.reason_for(&paused(0)), None);
}

#[tokio::test(start_paused = true)]
async fn a_paused_partition_goes_on_by_command_and_one_that_is_not_held_does_not() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.let_all_fail().await;
    assert_eq!(rig.resume(1).await, None);
    assert_eq!(rig.resume(0).await, Some(vec![Pause::Failing]));
    rig.settle().await;
    assert!(rig.health.is_ready());
    assert_eq!(rig.call().await, Call::Started(19, 1));
    rig.committed_up_to(0, 20).await;
    assert_eq!(rig.resume(0).await, Some(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn messages_of_two_signers_from_the_future_pause_until_our_clock_has_caught_up() {
    let mut rig = Rig::start();
    rig.assign(&[0, 1]).await;
    rig.deliver(0, &[("a", "future by 1"), ("a", "future by 2"), ("a", "x")])
        .await;
    let (burial, _) = rig.burial().await;
    assert_eq!(burial.disposition, Disposition::Future);
    rig.settle().await;
    assert!(rig.reason_for(&Condition::Clock).is_some());
    assert!(
        rig.reason_for(&paused(1)).is_some(),
        "it is one clock for all"
    );
    assert!(rig.calls.try_recv().is_err() && rig.buried.try_recv().is_err());
    let caught_up = u64::try_from(FUTURE_MS).unwrap();
    rig.clock.0.store(caught_up, Ordering::SeqCst);
    assert_eq!(rig.call().await, Call::Started(1, 1));
    rig.committed_up_to(0, 3).await;
    assert!(rig.health.is_ready());
    assert_eq!(rig.metrics.receive_counts().messages_received, 3);
}

#[tokio::test(start_paused = true)]
async fn an_operator_who_says_that_our_clock_is_right_has_the_future_buried() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "future by 1"), ("a", "future by 2"), ("a", "x")])
        .await;
    rig.burial().await;
    rig.settle().await;
    assert_eq!(rig.resume(0).await, Some(vec![Pause::Clock]));
    let (burial, _) = rig.burial().await;
    assert_eq!(
        (burial.origin.offset, burial.disposition),
        (1, Disposition::Future)
    );
    rig.committed_up_to(0, 3).await;
}

#[tokio::test(start_paused = true)]
async fn an_append_time_more_than_a_day_ahead_pauses_before_anything_is_judged_by_our_clock() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    let ahead = i64::try_from(PLAUSIBLE_FROM_MS).unwrap() + 2 * 86_400_000;
    let origin = Origin {
        topic: TOPIC.into(),
        partition: 0,
        offset: 0,
        timestamp_ms: ahead,
        append_time_ms: Some(ahead),
        key: None,
        value: Some(Bytes::from_static(b"bad")),
        headers: Vec::new(),
        unreadable: None,
    };
    let fetched = Fetched {
        partition: tp(0),
        records: vec![Arc::new(origin)],
        end: 1,
        high_watermark: 1,
    };
    rig.events.send(GroupEvent::Fetched(fetched)).await.unwrap();
    rig.settle().await;
    assert!(rig.reason_for(&Condition::Clock).is_some());
    assert!(rig.buried.try_recv().is_err());
    let caught_up = u64::try_from(ahead).unwrap();
    rig.clock.0.store(caught_up, Ordering::SeqCst);
    rig.committed_up_to(0, 1).await;
}

#[tokio::test(start_paused = true)]
async fn envelopes_that_fail_for_three_signers_make_the_process_unready_and_pause_nothing() {
    let mut rig = Rig::start();
    rig.assign(&[0]).await;
    for key in 1..=3 {
        assert_eq!(rig.reason_for(&Condition::Audience), None);
        let message = format!("badly enveloped by {key}");
        rig.deliver(0, &[("", &message)]).await;
        rig.burial().await;
        rig.settle().await;
    }
    assert!(rig.reason_for(&Condition::Audience).is_some());
    assert_eq!(rig.reason_for(&paused(0)), None);
    rig.deliver(0, &[("", "enveloped")]).await;
    rig.committed_up_to(0, 4).await;
    assert!(rig.health.is_ready());
}

fn hung() -> Condition {
    Condition::Hung {
        topic: TOPIC.to_owned(),
        partition: 0,
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_holds_everything_up_makes_the_process_unready_by_its_name() {
    let mut rig = Rig::start_with(|config| config.handler_timeout = Duration::from_secs(3600));
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "gate"), ("c", "fine")])
        .await;
    rig.committed_up_to(0, 1).await;
    tokio::time::sleep(Duration::from_secs(297)).await;
    assert!(rig.health.is_ready());
    tokio::time::sleep(Duration::from_secs(4)).await;
    let detail = rig.reason_for(&hung()).unwrap();
    assert!(detail.contains("control.commits.v1"), "{detail}");
    assert!(
        detail.contains("offset 1 ") && detail.contains("300 s"),
        "{detail}"
    );
    rig.gate.add_permits(1);
    rig.committed_up_to(0, 3).await;
    assert!(rig.health.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_paused_for_a_known_reason_does_not_count_as_hung() {
    let mut rig = Rig::start_with(|config| config.retry.on_exhausted = OnExhausted::Pause);
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "retriable")]).await;
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert!(rig.reason_for(&paused(0)).is_some());
    assert_eq!(rig.reason_for(&hung()), None);
}

#[tokio::test(start_paused = true)]
async fn where_the_settings_say_so_a_hung_member_commits_what_is_done_and_leaves_its_group() {
    let mut rig = Rig::start_with(|config| {
        config.handler_timeout = Duration::from_secs(3600);
        config.on_hang = OnHang::Leave;
    });
    rig.assign(&[0]).await;
    rig.deliver(0, &[("a", "fine"), ("b", "hang"), ("c", "fine")])
        .await;
    rig.committed_up_to(0, 1).await;
    let left = rig
        .command(|command| matches!(command, GroupCommand::Leave(_)))
        .await;
    let GroupCommand::Leave(reply) = left else {
        unreachable!()
    };
    reply.send(()).unwrap();
    match rig.task.await.unwrap() {
        PipelineEnd::Hung(reason, report) => {
            assert!(reason.contains("offset 1 "), "{reason}");
            assert!(report.left_group && report.committed);
            assert_eq!((report.left[0].watermark, report.unfinished()), (1, 1));
        }
        other => panic!("{other:?}"),
    }
    assert!(!rig.health.is_ready());
}
