//! What the pipeline needs to know and cannot decide by the order of the log.

use futures_util::future::BoxFuture;

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::redrive::Terms;
use cybermesh_contracts::rejection::Rejection;
use cybermesh_contracts::replay::Handled;
use cybermesh_contracts::sign::PublicKey;

use super::burial::Burial;
use super::effect::Judged;
use super::group::{Assignment, State, TopicId};
use super::origin::{Origin, TopicPartition};
use crate::handler::{Context, HandlerError, Verdict};
use crate::settings::VerifyMode;

/// What the order of the log says about an authentic message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// New, or delivered again at its own offset.
    Passes,
    /// Authentic and in its place, and handled before its partition was opened: not to be handled again.
    HandledBefore,
    /// An exact copy at another offset.
    Duplicate,
    /// An old one brought back.
    Replay,
}

/// Judges authentic messages of one partition in offset order.
pub(crate) trait JudgeOrder<M>: Send {
    /// Judges the next message; `record_bytes` is what it weighs in the ring.
    fn judge(&mut self, offset: i64, record_bytes: usize, message: &M) -> Order;
    /// Passes over a record that was rejected before its order was asked for.
    fn pass_over(&mut self, offset: i64, record_bytes: usize);
    /// The log begins again below what was judged: all that was accepted is settled. The topic has
    /// this id now, where it is known.
    fn log_begins_again(&mut self, topic_id: Option<TopicId>);
    /// The watermark that was committed, and when.
    fn committed(&mut self, watermark: i64, wall_ms: i64);
    /// The topic that this is the order of, where its id is known.
    fn topic_id(&self) -> Option<TopicId> {
        None
    }
    /// What belongs to a commit of `watermark`; nothing where it could not be bound to its topic.
    fn state(&self, _watermark: i64) -> Option<State> {
        None
    }
    /// What was handled at or above `watermark`; `is_done` says of an offset whether it is done.
    fn handled_from(&self, _watermark: i64, _is_done: &dyn Fn(i64) -> bool) -> Handled {
        Handled::default()
    }
    /// The partition goes, and this much of it was handled: should it come back, not once more.
    fn given_up(&mut self, _handled: Handled) {}
    /// The partition came back with the commit that it went with: it is read again from there on.
    fn comes_back(&mut self, _committed: i64) {}
}

/// A message that is believed, as far as its burial asks.
pub(crate) trait Believed: Clone + Send + Sync + 'static {
    /// Whose signature it carries.
    fn signer(&self) -> Option<PublicKey>;
    /// What its redrive says, where it was redriven.
    fn redrive(&self) -> Option<Terms>;
    /// Whether it came in an envelope that holds.
    fn is_enveloped(&self) -> bool;
}

/// Judges whether a record may be believed.
pub(crate) trait Judge: Send + Sync + 'static {
    /// What is made of a record that is believed.
    type Message: Believed;
    /// Who is trusted, as of one moment.
    type Trust: Send + Sync + 'static;

    /// Who is trusted now.
    fn trust(&self) -> std::sync::Arc<Self::Trust>;
    /// Whether anybody is trusted to sign this kind.
    fn has_keys(&self, trust: &Self::Trust, kind: Kind) -> bool;
    /// Judges a record; costs processor time and belongs on a worker.
    fn judge(
        &self,
        trust: &Self::Trust,
        kind: Kind,
        origin: &Origin,
        wall_ms: i64,
    ) -> Judged<Self::Message>;
    /// How signatures of this kind are verified.
    fn mode(&self, _kind: Kind) -> VerifyMode {
        VerifyMode::Strict
    }
    /// Judges several records of a kind whose mode is [`VerifyMode::Batch`]; in their order.
    fn judge_batch(
        &self,
        trust: &Self::Trust,
        kind: Kind,
        origins: &[&Origin],
        wall_ms: i64,
    ) -> Vec<Judged<Self::Message>> {
        let each = origins.iter();
        each.map(|origin| self.judge(trust, kind, origin, wall_ms))
            .collect()
    }
    /// The name of the key by which a rejected record was to be believed until lately, where it
    /// verifies under the trust of that time.
    fn formerly_trusted(
        &self,
        _kind: Kind,
        _origin: &Origin,
        _rejection: &Rejection,
        _wall_ms: i64,
    ) -> Option<std::sync::Arc<str>> {
        None
    }
    /// Whether what was believed under an earlier trust still is.
    fn recheck(&self, trust: &Self::Trust, message: &Self::Message) -> Result<(), Rejection>;
}

/// How the order of a partition's messages is come by.
pub(crate) enum Opening<M> {
    /// It is known.
    Known(Box<dyn JudgeOrder<M>>),
    /// It has to be found out; dropping this takes nothing back. What goes wrong may go right later.
    ToBeRead(BoxFuture<'static, Result<Box<dyn JudgeOrder<M>>, String>>),
}

/// What is kept of a partition beside its commit.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) partition: TopicPartition,
    /// The committed offset that this belongs to.
    pub(crate) offset: i64,
    pub(crate) state: State,
    pub(crate) handled: Handled,
}

/// Keeps what is known about the order of each partition's messages.
pub(crate) trait OrderStore<M>: Send + 'static {
    /// The state of a partition that was assigned; nothing of it is handled before that is there.
    fn open(&mut self, kind: Kind, assignment: &Assignment) -> Opening<M>;
    /// A partition is gone; its state may be wanted again.
    fn close(&mut self, partition: TopicPartition, order: Box<dyn JudgeOrder<M>>);
    /// Whether copies of states are kept where they outlive the process.
    fn keeps_copies(&self) -> bool;
    /// Has one kept; answers whether it will be.
    fn keep(&mut self, copy: Kept) -> bool;
}

/// Calls the handler of a kind.
pub(crate) trait Handle<M>: Send + Sync + 'static {
    /// Calls it once.
    fn call(
        &self,
        kind: Kind,
        message: M,
        context: Context,
    ) -> BoxFuture<'static, Result<Verdict, HandlerError>>;
}

/// Writes dead letters.
pub(crate) trait Bury: Send + Sync + 'static {
    /// Writes one and waits until it is acknowledged. Dropping the future loses nothing but the answer.
    fn bury(&self, burial: std::sync::Arc<Burial>) -> BoxFuture<'static, Result<(), String>>;
}
