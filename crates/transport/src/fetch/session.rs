//! Fetch sessions (KIP-227): a broker remembers what it was asked for, and is told only what changes.
//!
//! One session per broker. The first request is full: it names every partition, and the broker's answer may give the
//! session an id. Those after it are steps: they name the partitions that were added or are read from elsewhere now, and
//! those to be forgotten; the broker reads all it holds and leaves out of its answer what has nothing new. Both sides
//! count the steps. Whatever puts in doubt that both hold the same (an error, a lost answer, an answer about what was
//! not asked for) begins a new session, with a full request that closes the old one. A broker with as many sessions as
//! it wants gives none: then each request is full, as without sessions.
//!
//! What is asked for at a time is all the session holds: a partition that is paused, or whose buffer is full, is
//! forgotten until it is wanted again.

use std::collections::BTreeMap;

use crate::{
    error::ErrorCode,
    record::TopicPartition,
    wire::{FetchPartition, TopicId},
};

/// What a session holds of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// `None` where the broker has told of none: then the request has to go by names.
    pub(super) topic_id: Option<TopicId>,
    pub(super) partition: FetchPartition,
}

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) session_id: i32,
    /// 0 in a full request.
    pub(super) epoch: i32,
    /// Whether topics go by their ids, which all of them have then.
    pub(super) by_id: bool,
    /// To be named, in this order.
    pub(super) send: Vec<(TopicPartition, Held)>,
    /// To be forgotten, with the id they were held by.
    pub(super) forget: Vec<(TopicPartition, Option<TopicId>)>,
    /// To be forgotten by the old id where they go by ids: they are sent by another.
    pub(super) replace: Vec<(TopicPartition, Option<TopicId>)>,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was a full request: what it is silent about was not answered.
    Full,
    /// What it is silent about has nothing new.
    Step,
}

/// The broker refused the request; it is to be made anew, in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) code: ErrorCode,
    /// A full request was refused: another one may be as well.
    pub(super) was_full: bool,
}

/// The session with one broker, between and during requests, of which there is one at a time.
#[derive(Debug, Default)]
pub(super) struct FetchSession {
    /// 0 for none.
    id: i32,
    /// The step to be made, or under way; 0 for a full request.
    epoch: i32,
    by_id: bool,
    partitions: BTreeMap<TopicPartition, Held>,
}

const FULL: i32 = 0;

impl FetchSession {
    /// What to send, so that exactly this is asked for.
    pub(super) fn ask(&mut self, wanted: Vec<(TopicPartition, Held)>) -> Step {
        let by_id = wanted.iter().all(|(_, held)| held.topic_id.is_some());
        // A session goes by names or by ids from its beginning.
        if by_id != self.by_id {
            self.epoch = FULL;
        }
        self.by_id = by_id;
        let mut step = Step {
            session_id: self.id,
            epoch: self.epoch,
            by_id,
            send: Vec::new(),
            forget: Vec::new(),
            replace: Vec::new(),
        };
        let before = std::mem::take(&mut self.partitions);
        self.partitions = wanted.iter().cloned().collect();
        if self.epoch == FULL {
            step.send = wanted;
            return step;
        }
        for (name, held) in &before {
            match self.partitions.get(name) {
                None => step.forget.push((name.clone(), held.topic_id)),
                Some(now) if now.topic_id != held.topic_id => {
                    step.replace.push((name.clone(), held.topic_id));
                }
                Some(_) => {}
            }
        }
        step.send = wanted;
        step.send
            .retain(|(name, held)| before.get(name) != Some(held));
        step
    }

    /// The answer to the request under way: its error, its session, the partitions it names, and whether it names others
    /// besides that cannot be told.
    pub(super) fn answered<'a>(
        &mut self,
        error: Option<ErrorCode>,
        session_id: i32,
        named: impl IntoIterator<Item = &'a TopicPartition>,
        strangers: bool,
    ) -> Result<Taken, Refused> {
        let was_full = self.epoch == FULL;
        if let Some(code) = error {
            if code == ErrorCode::FetchSessionIdNotFound {
                self.id = 0;
            }
            self.epoch = FULL;
            return Err(Refused { code, was_full });
        }
        let mut count = 0;
        let mut strangers = strangers;
        for name in named {
            count += 1;
            strangers |= !self.partitions.contains_key(name);
        }
        let omits = was_full && count < self.partitions.len();
        let differs = !was_full && session_id != 0 && session_id != self.id;
        if was_full || session_id == 0 {
            self.id = session_id;
        }
        self.epoch = if strangers || omits || differs || self.id == 0 {
            FULL
        } else {
            self.epoch.checked_add(1).unwrap_or(1)
        };
        Ok(if was_full { Taken::Full } else { Taken::Step })
    }

    /// Whether the broker was told of the partition, and may be silent about it.
    pub(super) fn holds(&self, partition: &TopicPartition) -> bool {
        self.partitions.contains_key(partition)
    }

    /// Has the next request ask for everything, so that the broker says everything.
    pub(super) fn begin_anew(&mut self) {
        self.epoch = FULL;
    }

    /// The request, or its answer, was lost: the broker may have made the step or not.
    pub(super) fn failed(&mut self) {
        self.epoch = FULL;
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
