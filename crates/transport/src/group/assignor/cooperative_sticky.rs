//! Cooperative-sticky: balanced, and whoever holds a partition keeps it as far as balance allows, as Java's
//! `CooperativeStickyAssignor` (KIP-429).
//!
//! A partition that moves is in nobody's assignment as long as a member says that it holds it: that one gives it up and
//! joins again, and the next division hands it out. Of two that claim the same partition the one of the higher
//! generation is believed, and neither if they are equal (KIP-792). Where all want the same, shares differ by one at most;
//! where they do not, no chain of members that hand partitions on could make a share smaller that is at least two larger
//! than another.

use std::collections::{BTreeMap, BTreeSet};

use super::{Assignment, Member, in_order, nothing, topics_of};

/// A partition by number and topic: members keep those of low numbers.
type Slot<'a> = (i32, &'a str);

pub(super) fn divide(members: &[Member], partitions: &BTreeMap<String, i32>) -> Assignment {
    let mut division = Division::new(members, partitions);
    division.hand_out();
    division.balance();
    let mut assignment = nothing(members);
    for (member, share) in division.members.iter().zip(&division.shares) {
        let Some(topics) = assignment.get_mut(&member.id) else {
            continue;
        };
        for &slot in share {
            // What somebody else still claims waits until it is given up.
            if division.claimed.contains(&slot) && !division.is_kept_by(slot, &member.id) {
                continue;
            }
            let (number, topic) = slot;
            topics.entry(topic.to_owned()).or_default().push(number);
        }
    }
    assignment
}

struct Division<'a> {
    members: Vec<&'a Member>,
    /// Every partition of the topics that somebody wants.
    slots: BTreeSet<Slot<'a>>,
    /// Those that any member says it holds.
    claimed: BTreeSet<Slot<'a>>,
    /// The members that are believed to hold one, and still want its topic.
    holders: BTreeMap<Slot<'a>, usize>,
    /// By topic: who wants it.
    takers: BTreeMap<&'a str, Vec<usize>>,
    /// By member.
    shares: Vec<BTreeSet<Slot<'a>>>,
}

impl<'a> Division<'a> {
    /// Each partition with whoever is believed to hold it.
    fn new(members: &'a [Member], partitions: &BTreeMap<String, i32>) -> Self {
        let members = in_order(members);
        let topics = topics_of(members.iter().copied());
        let count = |topic: &str| partitions.get(topic).copied().unwrap_or(0);
        let slots: BTreeSet<Slot<'a>> = topics
            .iter()
            .flat_map(|&topic| (0..count(topic)).map(move |number| (number, topic)))
            .collect();
        let takers = topics
            .into_iter()
            .map(|topic| {
                let wanting = members.iter().enumerate();
                let wanting = wanting.filter(|(_, member)| member.wants(topic));
                (topic, wanting.map(|(index, _)| index).collect())
            })
            .collect();
        let mut division = Self {
            shares: vec![BTreeSet::new(); members.len()],
            members,
            slots,
            claimed: BTreeSet::new(),
            holders: BTreeMap::new(),
            takers,
        };
        for (slot, holder) in division.believed_claims() {
            division.claimed.insert(slot);
            if let Some(holder) = holder
                && division.members[holder].wants(slot.1)
            {
                division.holders.insert(slot, holder);
                division.shares[holder].insert(slot);
            }
        }
        division
    }

    /// Who is believed of those that claim a partition; nobody where two do in the same generation.
    fn believed_claims(&self) -> BTreeMap<Slot<'a>, Option<usize>> {
        let mut claims: BTreeMap<Slot<'a>, (i32, Option<usize>)> = BTreeMap::new();
        for (index, member) in self.members.iter().enumerate() {
            let owned: BTreeSet<Slot<'a>> = member
                .owned
                .iter()
                .flat_map(|(topic, numbers)| numbers.iter().map(|number| (*number, topic.as_str())))
                .collect();
            for slot in owned.intersection(&self.slots) {
                claims
                    .entry(*slot)
                    .and_modify(|(generation, holder)| match member.generation {
                        ours if ours > *generation => (*generation, *holder) = (ours, Some(index)),
                        ours if ours == *generation => *holder = None,
                        _ => {}
                    })
                    .or_insert((member.generation, Some(index)));
            }
        }
        let holders = claims.into_iter();
        holders.map(|(slot, (_, holder))| (slot, holder)).collect()
    }

    fn is_kept_by(&self, slot: Slot<'a>, id: &str) -> bool {
        let holder = self.holders.get(&slot);
        holder.is_some_and(|holder| self.members[*holder].id == id)
    }

    fn load(&self, member: usize) -> usize {
        self.shares[member].len()
    }

    /// What nobody is believed to hold goes, one by one, to whoever has the least of those that want it.
    fn hand_out(&mut self) {
        let free = self.slots.iter().copied();
        let mut free: Vec<Slot<'a>> = free
            .filter(|slot| !self.holders.contains_key(slot))
            .collect();
        free.sort_by_key(|(number, topic)| (*topic, *number));
        for slot in free {
            let takers = self.takers[slot.1].iter().copied();
            if let Some(taker) = takers.min_by_key(|taker| (self.load(*taker), *taker)) {
                self.shares[taker].insert(slot);
            }
        }
    }

    /// Moves partitions from those that have much to those that have little, rather such that nobody gives up for it,
    /// and through others where the one wants nothing of what the other has. Each time the sum of the squares of all
    /// shares gets smaller, so this ends; when it does that sum is the least there is, and so the division that follows
    /// when all has been given up finds nothing to move any more.
    fn balance(&mut self) {
        while let Some(path) = self.path(Moved::Free).or_else(|| self.path(Moved::Any)) {
            for (from, to) in path.iter().zip(&path[1..]) {
                let movable = self.movable(*from, Moved::Any);
                let movable = movable.filter(|(_, topic)| self.members[*to].wants(topic));
                let chosen = movable.max_by_key(|slot| {
                    let holder = self.holders.get(slot);
                    (holder == Some(to), holder != Some(from), *slot)
                });
                if let Some(slot) = chosen {
                    self.shares[*from].remove(&slot);
                    self.shares[*to].insert(slot);
                }
            }
        }
    }

    fn movable(&self, from: usize, moved: Moved) -> impl Iterator<Item = Slot<'a>> {
        let share = self.shares[from].iter().copied();
        share.filter(move |slot| moved == Moved::Any || self.holders.get(slot) != Some(&from))
    }

    /// Members of which each could take a partition from the one before, and the last has at least two less than the
    /// first: from one that has as much as possible to one that has as little as possible, the shortest way.
    fn path(&self, moved: Moved) -> Option<Vec<usize>> {
        let mut by_load: Vec<usize> = (0..self.members.len()).collect();
        by_load.sort_by_key(|member| (std::cmp::Reverse(self.load(*member)), *member));
        by_load.into_iter().find_map(|from| {
            let reached = self.reach(from, moved);
            let (to, _) = *reached.iter().min_by_key(|(to, _)| self.load(*to))?;
            if self.load(from) < self.load(to) + 2 {
                return None;
            }
            let mut path = vec![to];
            let mut at = to;
            while at != from {
                (_, at) = *reached.iter().find(|(member, _)| *member == at)?;
                path.push(at);
            }
            path.reverse();
            Some(path)
        })
    }

    /// All that a partition could get to from this member, nearest first, each with the one before it.
    fn reach(&self, from: usize, moved: Moved) -> Vec<(usize, usize)> {
        let mut reached = vec![(from, from)];
        let mut seen = BTreeSet::from([from]);
        let mut offered: BTreeSet<&str> = BTreeSet::new();
        let mut next = 0;
        while let Some(&(at, _)) = reached.get(next) {
            for (_, topic) in self.movable(at, moved) {
                // Whoever wants it has been reached when the topic was met first.
                if !offered.insert(topic) {
                    continue;
                }
                for &taker in &self.takers[topic] {
                    if seen.insert(taker) {
                        reached.push((taker, at));
                    }
                }
            }
            next += 1;
        }
        reached
    }
}

/// Which partitions may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    /// Only those whose holder does not keep them anyway.
    Free,
    Any,
}

#[cfg(test)]
#[path = "cooperative_sticky_tests.rs"]
mod tests;
