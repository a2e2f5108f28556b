//! A judge, an order, a handler, a dead-letter topic and a clock that do what the test says.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::rejection::{DecodeFault, EnvelopeFault, Reason, Rejection};
use cybermesh_contracts::sign::PublicKey;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use crate::clock::{PLAUSIBLE_FROM_MS, WallClock};
use crate::handler::{Context, HandlerError, Verdict};
use crate::inbound::burial::Burial;
use crate::inbound::effect::Judged;
use crate::inbound::group::{Assignment, TopicId};
use crate::inbound::judge::{
    Believed, Bury, Handle, Judge, JudgeOrder, Kept, Opening, Order, OrderStore,
};
use crate::inbound::origin::{Origin, TopicPartition};

pub(in super::super) const TOPIC: &str = "control.commits.v1";
/// What our clock must have reached to admit messages from the future.
pub(super) const FUTURE_MS: i64 = PLAUSIBLE_FROM_MS as i64 + 1_000_000;
pub(super) const FOREVER: Duration = Duration::from_secs(100_000);

pub(in super::super) fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

/// Believes every value but `bad`; `stale` is stale. Withdrawn trust believes nothing.
pub(super) struct FakeJudge {
    pub(super) trusted: AtomicBool,
    pub(super) keys: AtomicBool,
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
            "withdrawn" => Err(Rejection::new(Reason::UnknownKey, None)),
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

    /// Of an unknown key it is always said that it was known until lately.
    fn formerly_trusted(
        &self,
        _: Kind,
        _: &Origin,
        rejection: &Rejection,
        _: i64,
    ) -> Option<Arc<str>> {
        matches!(rejection.reason(), Reason::UnknownKey).then(|| "former".into())
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

/// Tells what it is told.
#[derive(Clone)]
pub(super) struct FakeOrder {
    /// Whether partitions wait until the test answers [`OrderCall::Opened`].
    pub(super) is_read_back: bool,
    pub(super) told: mpsc::UnboundedSender<OrderCall>,
}

impl FakeOrder {
    fn tell(&self, call: OrderCall) {
        // A test that does not look has dropped the other end.
        let _ = self.told.send(call);
    }
}

/// What the order of a partition was told, beside what it judged.
#[derive(Debug)]
pub(super) enum OrderCall {
    Opened(i32, oneshot::Sender<Result<(), String>>),
    LogBeginsAgain,
    Committed(i64),
    Closed(i32),
}

impl JudgeOrder<String> for FakeOrder {
    fn judge(&mut self, _: i64, _: usize, message: &String) -> Order {
        match message.as_str() {
            "copy" => Order::Duplicate,
            "replay" => Order::Replay,
            _ => Order::Passes,
        }
    }

    fn pass_over(&mut self, _: i64, _: usize) {}

    fn log_begins_again(&mut self, _: Option<TopicId>) {
        self.tell(OrderCall::LogBeginsAgain);
    }

    fn committed(&mut self, watermark: i64, _: i64) {
        self.tell(OrderCall::Committed(watermark));
    }
}

impl OrderStore<String> for FakeOrder {
    fn open(&mut self, _: Kind, assignment: &Assignment) -> Opening<String> {
        let order: Box<dyn JudgeOrder<String>> = Box::new(self.clone());
        if !self.is_read_back {
            return Opening::Known(order);
        }
        let (answer, read) = oneshot::channel();
        self.tell(OrderCall::Opened(assignment.partition.partition, answer));
        Opening::ToBeRead(Box::pin(async move {
            read.await.expect("an answer").map(|()| order)
        }))
    }

    fn keeps_copies(&self) -> bool {
        false
    }

    fn keep(&mut self, _: Kept) -> bool {
        false
    }

    fn close(&mut self, partition: TopicPartition, _: Box<dyn JudgeOrder<String>>) {
        self.tell(OrderCall::Closed(partition.partition));
    }
}

/// Does what the message says, and tells when it starts and when it is dropped.
pub(super) struct FakeHandler {
    pub(super) calls: mpsc::UnboundedSender<Call>,
    /// Messages called `gate` wait for this.
    pub(super) gate: Arc<tokio::sync::Semaphore>,
    /// Messages called `block` hold their thread until this says something.
    pub(super) block: Arc<Mutex<std::sync::mpsc::Receiver<()>>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    Started(i64, u32),
    Dropped(i64),
}

struct TellDropped(i64, mpsc::UnboundedSender<Call>);

impl Drop for TellDropped {
    fn drop(&mut self) {
        let _ = self.1.send(Call::Dropped(self.0));
    }
}

/// Panics when it is dropped.
struct PanicDropped;

impl Drop for PanicDropped {
    fn drop(&mut self) {
        panic!("as the message says");
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
        let (calls, gate, block) = (
            self.calls.clone(),
            Arc::clone(&self.gate),
            Arc::clone(&self.block),
        );
        assert_ne!(message, "panic at call", "as the message says");
        Box::pin(async move {
            match message.split(" by ").next().unwrap_or_default() {
                "skip" => Ok(Verdict::skip("not ours")),
                "retry once" if context.attempt() == 1 => {
                    Ok(Verdict::retry_after(Duration::from_secs(3)))
                }
                "retry later" => Ok(Verdict::retry_after(Duration::from_secs(600))),
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
                "gate, then permanent" => {
                    gate.acquire().await.unwrap().forget();
                    Err(HandlerError::permanent("cannot be"))
                }
                "block" => {
                    block.lock().unwrap().recv().unwrap();
                    Ok(Verdict::Done)
                }
                "panic when dropped" => {
                    let _panics = PanicDropped;
                    std::future::pending().await
                }
                _ => Ok(Verdict::Done),
            }
        })
    }
}

/// Acknowledges dead letters while it is open.
pub(super) struct FakeGrave {
    pub(super) open: AtomicBool,
    /// While this holds, writing one panics.
    pub(super) panics: AtomicBool,
    /// A permit lets one answer out.
    pub(super) answers: Arc<tokio::sync::Semaphore>,
    pub(super) buried: mpsc::UnboundedSender<(Arc<Burial>, bool)>,
}

impl Bury for FakeGrave {
    fn bury(&self, burial: Arc<Burial>) -> BoxFuture<'static, Result<(), String>> {
        let open = self.open.load(Ordering::SeqCst);
        self.buried.send((burial, open)).unwrap();
        let (panics, answers) = (
            self.panics.load(Ordering::SeqCst),
            Arc::clone(&self.answers),
        );
        Box::pin(async move {
            answers.acquire().await.unwrap().forget();
            assert!(!panics, "a fault of ours");
            open.then_some(()).ok_or_else(|| "no such topic".to_owned())
        })
    }
}

#[derive(Debug)]
pub(super) struct FakeClock(pub(super) AtomicU64);

impl WallClock for FakeClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
