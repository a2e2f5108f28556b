//! Who gets which partition: the rules a group's leader divides by.
//!
//! Range and round-robin divide as Java's assignor of the same name does, in the same order of members, so that a group
//! of both kinds of members gets the same whoever leads it. Cooperative-sticky goes by the same claims and the same rule
//! of balance as Java's, so that either leaves alone what the other has divided. Racks are not weighed.

mod cooperative_sticky;
mod range;
mod round_robin;

use std::collections::{BTreeMap, BTreeSet};

/// How a group divides its partitions; it takes the first in its members' order of preference that all of them know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Assignor {
    /// Each topic's partitions in a row, in even shares: partitions of the same number stay together across topics.
    #[default]
    Range,
    /// The partitions of all topics dealt out one by one: even over all topics together.
    RoundRobin,
    /// Even over all topics together, and whoever holds a partition keeps it as far as that allows; what moves is first
    /// given up by one member and then taken by another, while all go on with what they keep (KIP-429).
    CooperativeSticky,
}

impl Assignor {
    const ALL: [Self; 3] = [Self::Range, Self::RoundRobin, Self::CooperativeSticky];

    /// The name members know it by, as in Java's `partition.assignment.strategy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// Whether members may keep their partitions through a rebalance.
    pub const fn is_cooperative(self) -> bool {
        matches!(self, Self::CooperativeSticky)
    }

    /// Divides the topics, of which each has so many partitions, among the members. Topics without a count are left
    /// out.
    pub(super) fn divide(
        self,
        members: &[Member],
        partitions: &BTreeMap<String, i32>,
    ) -> Assignment {
        match self {
            Self::Range => range::divide(members, partitions),
            Self::RoundRobin => round_robin::divide(members, partitions),
            Self::CooperativeSticky => cooperative_sticky::divide(members, partitions),
        }
    }
}

impl std::fmt::Display for Assignor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Assignor {
    type Err = UnknownAssignor;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|known| known.name() == name);
        known.ok_or(UnknownAssignor)
    }
}

/// The name is of no assignor there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown assignor; accepted are range, roundrobin and cooperative-sticky")]
pub struct UnknownAssignor;

/// A member and what it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: String,
    /// Static members come first, in the order of these (KIP-345).
    pub(super) instance_id: Option<String>,
    pub(super) topics: Vec<String>,
    /// What it says it holds, partitions by topic.
    pub(super) owned: BTreeMap<String, Vec<i32>>,
    /// The generation it holds that in; −1 in none.
    pub(super) generation: i32,
}

impl Member {
    fn wants(&self, topic: &str) -> bool {
        self.topics.iter().any(|wanted| wanted == topic)
    }
}

/// What each member gets, by member id: partitions by topic.
pub(super) type Assignment = BTreeMap<String, BTreeMap<String, Vec<i32>>>;

/// Nothing for anybody yet.
fn nothing(members: &[Member]) -> Assignment {
    let ids = members.iter().map(|member| member.id.clone());
    ids.map(|id| (id, BTreeMap::new())).collect()
}

fn in_order(members: &[Member]) -> Vec<&Member> {
    let mut in_order: Vec<&Member> = members.iter().collect();
    in_order.sort_by_key(|member| {
        let is_dynamic = member.instance_id.is_none();
        (is_dynamic, &member.instance_id, &member.id)
    });
    in_order
}

fn topics_of<'a>(members: impl IntoIterator<Item = &'a Member>) -> BTreeSet<&'a str> {
    let topics = members.into_iter().flat_map(|member| &member.topics);
    topics.map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn member(id: &str, instance_id: Option<&str>, topics: &[&str]) -> Member {
        Member {
            id: id.into(),
            instance_id: instance_id.map(Into::into),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            owned: BTreeMap::new(),
            generation: -1,
        }
    }

    pub(super) fn counts(topics: &[(&str, i32)]) -> BTreeMap<String, i32> {
        topics
            .iter()
            .map(|(topic, count)| ((*topic).to_owned(), *count))
            .collect()
    }

    pub(super) fn of(assignment: &Assignment, member: &str, topic: &str) -> Vec<i32> {
        assignment[member].get(topic).cloned().unwrap_or_default()
    }

    #[test]
    fn an_assignor_goes_by_the_name_java_gives_it() {
        for (assignor, name) in [
            (Assignor::Range, "range"),
            (Assignor::RoundRobin, "roundrobin"),
            (Assignor::CooperativeSticky, "cooperative-sticky"),
        ] {
            assert_eq!(
                (assignor.to_string().as_str(), name.parse()),
                (name, Ok(assignor))
            );
        }
        assert_eq!("sticky".parse::<Assignor>(), Err(UnknownAssignor));
    }
}
