//! Partitions whose log was cut behind messages that are not done.
//!
//! What lies before the cut is in the log as ever, and nobody reads it once more: it is finished before reading goes on
//! from the cut. Until then nothing is committed, and what is fetched waits; fetching pauses.

use std::sync::Arc;

use super::{Held, Pipeline};
use crate::inbound::group::{Life, TopicId};
use crate::inbound::judge::{Believed, Judge};
use crate::inbound::origin::{Origin, TopicPartition};

/// Where a log was cut, and what was fetched since.
pub(super) struct Cut {
    to: i64,
    topic_id: Option<TopicId>,
    life: Life,
    records: Vec<Arc<Origin>>,
    /// Where what was fetched ends.
    end: i64,
}

impl Cut {
    pub(super) fn fetched(&mut self, records: Vec<Arc<Origin>>, end: i64) {
        self.records.extend(records);
        self.end = self.end.max(end);
    }

    /// It was cut once more, or is read from further on.
    fn again(&mut self, to: i64, topic_id: Option<TopicId>, life: Life) {
        self.records.retain(|record| record.offset < to);
        (self.to, self.end) = (self.to.min(to), to);
        (self.topic_id, self.life) = (topic_id.or(self.topic_id), life);
    }
}

impl<M: Believed> Held<M> {
    /// Reading goes on from `to`. Answers whether that has to wait for what lies before it.
    pub(super) fn cut(&mut self, to: i64, topic_id: Option<TopicId>, life: Life) -> bool {
        if let Some(cut) = &mut self.cut {
            cut.again(to, topic_id, life);
        } else if (self.flow.watermark() + 1..self.flow.position()).contains(&to) {
            self.cut = Some(Cut {
                to,
                topic_id,
                life,
                records: Vec::new(),
                end: to,
            });
        } else {
            return false;
        }
        self.flow.cut(to);
        true
    }
}

impl<J: Judge> Pipeline<J> {
    /// Reads on where logs were cut and what lies before that is done.
    pub(super) fn go_on_after_cuts(&mut self) {
        let is_through = |held: &Held<J::Message>| {
            let cut = held.cut.as_ref();
            cut.is_some_and(|cut| held.flow.watermark() >= cut.to)
                && !held.closing
                && !held.flow.is_draining()
        };
        let held = self.held.iter_mut().filter(|(_, held)| is_through(held));
        let through: Vec<(TopicPartition, Cut)> = held
            .filter_map(|(partition, held)| Some((partition.clone(), held.cut.take()?)))
            .collect();
        for (partition, cut) in through {
            tracing::error!(%partition, to = cut.to,
                "the log begins again below what was read; what was accepted before will not pass again");
            self.begin_again(partition.clone(), cut.to, cut.topic_id, cut.life);
            if let Some(held) = self.held.get_mut(&partition) {
                held.flow.fetched(cut.records, cut.end);
            }
        }
    }
}
