//! A member's share of its group's partitions, where the coordinator divides: what it is to have, by topic ids, and how
//! it gets there from what it has: it gives up first, and takes when that is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::holding::Holding;
use crate::{
    record::TopicPartition,
    wire::{PartitionsById, TopicId},
};

/// What one member has and is to have.
#[derive(Debug, Default)]
pub(super) struct Share {
    holding: Holding,
    /// What the coordinator said last that is to be held.
    target: PartitionsById,
    names: BTreeMap<TopicId, Arc<str>>,
    /// Under which id the partitions of a topic are held: a topic that is made again has another.
    held_under: BTreeMap<Arc<str>, TopicId>,
}

impl Share {
    pub(super) fn holding(&self) -> &Holding {
        &self.holding
    }

    pub(super) fn holding_mut(&mut self) -> &mut Holding {
        &mut self.holding
    }

    /// From now on this is to be held, and only what is needed for it is remembered.
    pub(super) fn aim_at(&mut self, assignment: PartitionsById) {
        self.target = assignment;
        let Self { target, names, .. } = self;
        names.retain(|id, _| target.iter().any(|(wanted, _)| wanted == id));
    }

    /// Topics that are to be held and have no name yet.
    pub(super) fn nameless(&self) -> impl Iterator<Item = TopicId> {
        let ids = self.target.iter().map(|(id, _)| *id);
        ids.filter(|id| !self.names.contains_key(id))
    }

    pub(super) fn is_named(&self) -> bool {
        self.nameless().next().is_none()
    }

    /// Names of topics, of which those are kept that are to be held.
    pub(super) fn name(&mut self, names: Vec<(TopicId, Arc<str>)>) {
        let Self {
            target,
            names: known,
            ..
        } = self;
        let wanted: BTreeSet<&TopicId> = target.iter().map(|(id, _)| id).collect();
        let is_wanted = |id: &TopicId| wanted.contains(id);
        known.extend(names.into_iter().filter(|(id, _)| is_wanted(id)));
    }

    /// Gives up what is not to be held; unless anything is being given up, takes what is. What the caller is to be asked
    /// to drain is returned.
    pub(super) fn reconcile(&mut self) -> Vec<TopicPartition> {
        let revoked = self.holding.keep_only(&self.wanted());
        if !self.holding.gives_up() {
            self.take_what_is_wanted();
        }
        revoked
    }

    fn take_what_is_wanted(&mut self) {
        let holding = &self.holding;
        self.held_under.retain(|name, _| holding.has_topic(name));
        for (id, _) in &self.target {
            if let Some(name) = self.names.get(id) {
                self.held_under.entry(Arc::clone(name)).or_insert(*id);
            }
        }
        // Of a topic that was made again the old partitions may be gone only now.
        self.holding.assign(self.wanted());
    }

    /// What is to be held of the target, as far as names are known. Of a topic that was made again nothing is, while
    /// partitions of the old one are held.
    fn wanted(&self) -> Vec<TopicPartition> {
        let named = self.target.iter().filter_map(|(id, partitions)| {
            let name = self.names.get(id)?;
            let is_same = self.held_under.get(name).is_none_or(|held| held == id);
            is_same.then_some((name, partitions))
        });
        let each = named.flat_map(|(name, partitions)| {
            let real = partitions.iter().filter(|partition| **partition >= 0);
            real.map(|partition| TopicPartition::new(Arc::clone(name), *partition))
        });
        each.collect()
    }

    /// All that is held, what is being given up too.
    pub(super) fn owned(&self) -> PartitionsById {
        let mut owned: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
        for one in self.holding.all() {
            if let Some(id) = self.held_under.get(&one.topic) {
                owned.entry(*id).or_default().push(one.partition);
            }
        }
        owned.into_iter().collect()
    }

    /// Nothing is held, or to be held, any more; what the caller had is returned.
    pub(super) fn lose(&mut self) -> Vec<TopicPartition> {
        std::mem::take(self).holding.lose()
    }
}
