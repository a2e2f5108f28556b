//! What makes the process unready.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Pipeline;
use crate::inbound::judge::Judge;
use crate::inbound::origin::TopicPartition;
use crate::inbound::pause::Pause;
use crate::telemetry::Condition;

/// Why a partition waits whose messages' order is being found out.
const REPLAY_STATE: &str = "replay-state";
/// Why a partition waits of which too much is done and cannot be committed.
const COMMITS: &str = "commits";

impl<J: Judge> Pipeline<J> {
    /// Looks for partitions in which work is in flight and nothing gets done.
    pub(super) fn look_for_hangs(&mut self, now: Instant) {
        for held in self.held.values_mut() {
            let is_working = !held.closing && held.flow.pauses().next().is_none();
            let under_way = held.flow.under_way().filter(|_| is_working);
            held.hung_at = held.hang.look(under_way, now);
        }
    }

    /// Raises what holds now, clears what held and does not any more.
    pub(super) fn report_health(&mut self) {
        let mut holds = BTreeMap::new();
        for (partition, held) in &self.held {
            let (topic, number) = (partition.topic.to_string(), partition.partition);
            let guarded = held.flow.pauses().any(Pause::is_flood_guards);
            held.gauges.flood_guard_paused(guarded);
            let mut reasons: Vec<&str> = Vec::new();
            for pause in held.flow.pauses() {
                reasons.push(pause.as_str());
                let detail = format!("{partition}: {}", pause.as_str());
                match pause {
                    Pause::Clock => holds.insert(Condition::Clock, detail),
                    Pause::NoKeys => holds.insert(Condition::KindWithoutKeys(held.kind), detail),
                    Pause::DeadLetters => holds.insert(Condition::DeadLetters, detail),
                    Pause::Exhausted | Pause::Refused | Pause::FormerHandler | Pause::Failing => {
                        None
                    }
                };
            }
            if held.is_uncommitted && held.flow.waits_for_commits() {
                reasons.push(COMMITS);
            }
            if !reasons.is_empty() {
                let paused = Condition::PartitionPaused {
                    topic: topic.clone(),
                    partition: number,
                };
                holds.insert(paused, reasons.join(", "));
            }
            if let Some(offset) = held.hung_at {
                let hung = Condition::Hung {
                    topic,
                    partition: number,
                };
                holds.insert(
                    hung,
                    hung_in_words(partition, offset, self.config.hang_after),
                );
            }
        }
        for (partition, opened) in &self.opening {
            let Some(reason) = &opened.reason else {
                continue;
            };
            let paused = Condition::PartitionPaused {
                topic: partition.topic.to_string(),
                partition: partition.partition,
            };
            holds.insert(paused, format!("{REPLAY_STATE}: {reason}"));
        }
        if self.faults.is_on() && self.faults.audience.is_doubted() {
            let detail = "messages of several keys are authentic and none of their envelopes holds; \
                is the audience, or the topic, the one they are made for?";
            holds.insert(Condition::Audience, detail.to_owned());
        }
        if !self.assigned {
            let detail = if self.was_assigned {
                "the partitions were lost and are not assigned again yet"
            } else {
                "no partitions are assigned yet"
            };
            holds.insert(Condition::Unassigned, detail.to_owned());
        }
        for condition in self.raised.keys() {
            if !holds.contains_key(condition) {
                self.health.clear(condition);
            }
        }
        for (condition, detail) in &holds {
            if self.raised.get(condition) == Some(detail) {
                continue;
            }
            if *condition == Condition::Unassigned && !self.was_assigned {
                self.health.await_end_of(condition.clone(), detail);
            } else {
                self.health.raise(condition.clone(), detail);
            }
        }
        self.raised = holds;
    }
}

/// Names the message that hangs.
pub(super) fn hung_in_words(partition: &TopicPartition, offset: i64, after: Duration) -> String {
    let seconds = after.as_secs();
    format!("{partition}: the message at offset {offset} has held everything up for {seconds} s")
}
