//! What makes the process unready.

use std::collections::BTreeMap;

use super::Pipeline;
use crate::inbound::judge::Judge;
use crate::inbound::pause::Pause;
use crate::telemetry::Condition;

impl<J: Judge> Pipeline<J> {
    /// Raises what holds now, clears what held and does not any more.
    pub(super) fn report_health(&mut self) {
        let mut holds = BTreeMap::new();
        for (partition, held) in &self.held {
            for pause in held.flow.pauses() {
                let detail = format!("{partition}: {}", pause.as_str());
                match pause {
                    Pause::Clock => holds.insert(Condition::Clock, detail.clone()),
                    Pause::NoKeys => {
                        holds.insert(Condition::KindWithoutKeys(held.kind), detail.clone())
                    }
                    Pause::DeadLetters => holds.insert(Condition::DeadLetters, detail.clone()),
                    Pause::Exhausted | Pause::Refused | Pause::FormerHandler => None,
                };
                let paused = Condition::PartitionPaused {
                    topic: partition.topic.to_string(),
                    partition: partition.partition,
                };
                holds.insert(paused, detail);
            }
        }
        if !self.assigned {
            holds.insert(
                Condition::Unassigned,
                if self.was_assigned {
                    "the partitions were lost and are not assigned again yet".to_owned()
                } else {
                    "no partitions are assigned yet".to_owned()
                },
            );
        }
        self.raised.retain(|condition| {
            let still = holds.contains_key(condition);
            if !still {
                self.health.clear(condition);
            }
            still
        });
        for (condition, detail) in holds {
            if self.raised.insert(condition.clone()) {
                if condition == Condition::Unassigned && !self.was_assigned {
                    self.health.await_end_of(condition, detail);
                } else {
                    self.health.raise(condition, detail);
                }
            }
        }
    }
}
