//! The order of one partition's messages while this process has it.

use std::time::Duration;

use cybermesh_contracts::message::Message;
use cybermesh_contracts::replay::{Handled, Judgement, PartitionReplay};
use cybermesh_contracts::verify::Verified;
use cybermesh_transport::{TopicPartition, host};

use crate::inbound::group::{State, TopicId};
use crate::inbound::judge::{JudgeOrder, Order};
use crate::telemetry::{Metrics, ReplayAlarm};

pub(super) struct RingOrder {
    pub(super) partition: TopicPartition,
    /// The topic that this is the order of, where its id is known: zeros for a broker that gives none.
    pub(super) topic_id: Option<TopicId>,
    pub(super) replay: PartitionReplay,
    /// Handled beyond the committed offset before the partition came here.
    pub(super) handled: Handled,
    pub(super) max_age: Duration,
    pub(super) metrics: Metrics,
}

impl JudgeOrder<Verified<Message>> for RingOrder {
    fn judge(&mut self, offset: i64, record_bytes: usize, message: &Verified<Message>) -> Order {
        let claims = message.replay_claims();
        match self.replay.judge(offset, record_bytes, claims) {
            Judgement::Accepted | Judgement::Redelivered
                if self.handled.contains(offset, claims) =>
            {
                Order::HandledBefore
            }
            Judgement::Accepted | Judgement::Redelivered => Order::Passes,
            Judgement::Duplicate | Judgement::Replay if host::bug("copy-passes") => Order::Passes,
            Judgement::Duplicate => Order::Duplicate,
            Judgement::Replay => Order::Replay,
        }
    }

    fn pass_over(&mut self, offset: i64, record_bytes: usize) {
        self.replay.pass_over(offset, record_bytes);
    }

    fn log_begins_again(&mut self, topic_id: Option<TopicId>) {
        self.metrics.replay_state_alarm(ReplayAlarm::LogBeganAgain);
        let partition = &self.partition;
        tracing::warn!(%partition, "the log begins again; what was handled before will not pass again");
        self.replay.read_again(0, &self.handled);
        self.replay.topic_recreated();
        self.handled = Handled::default();
        self.topic_id = topic_id;
    }

    fn committed(&mut self, watermark: i64, wall_ms: i64) {
        self.replay.committed(watermark);
        self.handled.forget_below(watermark);
        let max_age_ms = u64::try_from(self.max_age.as_millis()).unwrap_or(u64::MAX);
        if let Ok(now_ms) = u64::try_from(wall_ms) {
            self.replay.forget_stale(now_ms, max_age_ms);
        }
    }

    fn topic_id(&self) -> Option<TopicId> {
        self.topic_id
    }

    fn state(&self, watermark: i64) -> Option<State> {
        Some(State {
            snapshot: self.replay.checkpoint(watermark),
            topic_id: self.topic_id?,
        })
    }

    fn handled_from(&self, watermark: i64, is_done: &dyn Fn(i64) -> bool) -> Handled {
        let mut before = self.handled.clone();
        before.forget_below(watermark);
        before.and(self.replay.handled_from(watermark, is_done))
    }

    fn given_up(&mut self, handled: Handled) {
        self.handled = handled;
    }

    fn comes_back(&mut self, committed: i64) {
        self.replay.read_again(committed, &self.handled);
    }
}
