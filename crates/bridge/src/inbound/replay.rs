//! What is known about the order of each partition's messages.
//!
//! [`OrderStore`] is where a partition's state comes from when it is assigned and goes to when it
//! is given up. [`MemoryOrders`] keeps it in this process: a partition that comes back finds its
//! ring and settled values again, a restart begins with neither. Where that leaves less known than
//! there should be, an alarm says so.

use std::collections::HashMap;
use std::time::Duration;

use cybermesh_contracts::message::Message;
use cybermesh_contracts::replay::{PartitionReplay, RingLimits, StateRefused};
use cybermesh_contracts::verify::Verified;

use super::group::Assignment;
use super::judge::{JudgeOrder, Order, OrderStore};
use super::origin::TopicPartition;
use crate::telemetry::{Metrics, ReplayAlarm};

/// The order of messages in this process's memory: a ring and an entry for each signer, for every
/// partition that was ever assigned.
pub(crate) struct MemoryOrders {
    limits: RingLimits,
    max_age: Duration,
    metrics: Metrics,
    given_up: HashMap<TopicPartition, Box<dyn JudgeOrder<Verified<Message>>>>,
}

impl MemoryOrders {
    pub(crate) fn new(limits: RingLimits, max_age: Duration, metrics: Metrics) -> Self {
        Self {
            limits,
            max_age,
            metrics,
            given_up: HashMap::new(),
        }
    }
}

impl OrderStore<Verified<Message>> for MemoryOrders {
    fn open(&mut self, assignment: &Assignment) -> Box<dyn JudgeOrder<Verified<Message>>> {
        let partition = &assignment.partition;
        let committed = assignment.committed.as_ref().map(|(offset, _)| *offset);
        if let Some(mut order) = self.given_up.remove(partition) {
            if let Some(committed) = committed {
                order.resumed(committed);
            }
            return order;
        }
        let start = committed.unwrap_or(0);
        let order = RingOrder {
            partition: partition.clone(),
            replay: PartitionReplay::at_start_of_log(self.limits, start),
            max_age: self.max_age,
            metrics: self.metrics.clone(),
        };
        match &assignment.committed {
            Some((1.., stored)) if stored.is_empty() => order.is_unknown(StateRefused::Missing),
            // No version of a state is known to this process.
            Some((1.., _)) => order.is_unknown(StateRefused::Malformed),
            // Nothing was accepted below the log's first offset.
            Some(_) | None => {}
        }
        Box::new(order)
    }

    fn close(&mut self, partition: TopicPartition, order: Box<dyn JudgeOrder<Verified<Message>>>) {
        self.given_up.insert(partition, order);
    }
}

struct RingOrder {
    partition: TopicPartition,
    replay: PartitionReplay,
    max_age: Duration,
    metrics: Metrics,
}

impl RingOrder {
    /// Messages were accepted of which nothing is known here.
    fn is_unknown(&self, why: StateRefused) {
        let (partition, at) = (&self.partition, self.replay.judged_position());
        self.metrics.replay_state_alarm(why.into());
        tracing::warn!(%partition, at, reason = %why,
            "what was accepted before is not known; copies of it may pass once more");
    }
}

impl JudgeOrder<Verified<Message>> for RingOrder {
    fn judge(&mut self, offset: i64, record_bytes: usize, message: &Verified<Message>) -> Order {
        use cybermesh_contracts::replay::Judgement;
        match self
            .replay
            .judge(offset, record_bytes, message.replay_claims())
        {
            Judgement::Accepted | Judgement::Redelivered => Order::Passes,
            Judgement::Duplicate => Order::Duplicate,
            Judgement::Replay => Order::Replay,
        }
    }

    fn pass_over(&mut self, offset: i64, record_bytes: usize) {
        self.replay.pass_over(offset, record_bytes);
    }

    fn resumed(&mut self, committed: i64) {
        if committed > self.replay.judged_position() {
            // Somebody else read on meanwhile.
            self.is_unknown(StateRefused::Missing);
        }
        self.replay.committed(committed);
    }

    fn log_begins_again(&mut self) {
        self.metrics.replay_state_alarm(ReplayAlarm::LogBeganAgain);
        self.replay.topic_recreated();
    }

    fn committed(&mut self, watermark: i64, wall_ms: i64) {
        self.replay.committed(watermark);
        let max_age_ms = u64::try_from(self.max_age.as_millis()).unwrap_or(u64::MAX);
        if let Ok(now_ms) = u64::try_from(wall_ms) {
            self.replay.forget_stale(now_ms, max_age_ms);
        }
    }
}

#[cfg(test)]
mod alarm_tests;
#[cfg(test)]
mod tests;
