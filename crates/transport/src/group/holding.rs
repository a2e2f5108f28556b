//! What a member holds of its group's partitions, between being given one and having given it up.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::TopicPartition;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// Given, and where to begin is not known yet: the caller has not heard of it.
    ToStart,
    /// The caller's.
    Held,
    /// The caller was asked to drain and release it.
    GivenUp,
}

/// The partitions of one member.
#[derive(Debug, Default)]
pub(super) struct Holding(BTreeMap<TopicPartition, Hold>);

impl Holding {
    /// Whether the caller has it, even if it is draining it.
    pub(super) fn has(&self, partition: &TopicPartition) -> bool {
        matches!(self.0.get(partition), Some(Hold::Held | Hold::GivenUp))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the caller is draining anything.
    pub(super) fn gives_up(&self) -> bool {
        self.0.values().any(|hold| *hold == Hold::GivenUp)
    }

    fn of(&self, wanted: Hold) -> impl Iterator<Item = TopicPartition> {
        let all = self.0.iter();
        all.filter(move |(_, hold)| **hold == wanted)
            .map(|(partition, _)| partition.clone())
    }

    /// What is to be kept through a rebalance.
    pub(super) fn kept(&self) -> Vec<TopicPartition> {
        let all = self.0.iter();
        all.filter(|(_, hold)| **hold != Hold::GivenUp)
            .map(|(partition, _)| partition.clone())
            .collect()
    }

    /// What was given and not yet started.
    pub(super) fn to_start(&self) -> Vec<TopicPartition> {
        self.of(Hold::ToStart).collect()
    }

    /// Everything, what is being drained too.
    pub(super) fn all(&self) -> impl Iterator<Item = &TopicPartition> {
        self.0.keys()
    }

    /// Whether there is anything of a topic, even if it is being drained.
    pub(super) fn has_topic(&self, topic: &str) -> bool {
        self.0.keys().any(|partition| *partition.topic == *topic)
    }

    /// From now on exactly these: those that are new are to be started, and what the caller has besides is to be given
    /// up and returned.
    pub(super) fn assign(&mut self, assigned: Vec<TopicPartition>) -> Vec<TopicPartition> {
        let given_up = self.keep_only(&assigned);
        for partition in assigned {
            self.0.entry(partition).or_insert(Hold::ToStart);
        }
        given_up
    }

    /// From now on nothing but these; what the caller has besides is to be given up and returned.
    pub(super) fn keep_only(&mut self, wanted: &[TopicPartition]) -> Vec<TopicPartition> {
        let wanted: BTreeSet<&TopicPartition> = wanted.iter().collect();
        self.0
            .retain(|partition, hold| *hold != Hold::ToStart || wanted.contains(partition));
        let beyond = self.of(Hold::Held);
        let given_up: Vec<TopicPartition> = beyond
            .filter(|partition| !wanted.contains(partition))
            .collect();
        for partition in &given_up {
            self.0.insert(partition.clone(), Hold::GivenUp);
        }
        given_up
    }

    /// Everything is to be given up; what the caller has of it is returned.
    pub(super) fn give_up_all(&mut self) -> Vec<TopicPartition> {
        self.assign(Vec::new())
    }

    /// The caller hears of this one; whether it still is to be started.
    pub(super) fn start(&mut self, partition: &TopicPartition) -> bool {
        match self.0.get_mut(partition) {
            Some(hold @ Hold::ToStart) => {
                *hold = Hold::Held;
                true
            }
            _ => false,
        }
    }

    pub(super) fn release(&mut self, partitions: &[TopicPartition]) {
        self.0
            .retain(|partition, hold| *hold == Hold::ToStart || !partitions.contains(partition));
    }

    /// Nothing is held any more; what the caller had is returned.
    pub(super) fn lose(&mut self) -> Vec<TopicPartition> {
        let all = std::mem::take(&mut self.0).into_iter();
        all.filter(|(_, hold)| *hold != Hold::ToStart)
            .map(|(partition, _)| partition)
            .collect()
    }
}
