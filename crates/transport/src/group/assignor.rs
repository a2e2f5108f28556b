//! Range assignment: each topic's partitions in a row, divided by the members in order.
//!
//! The order and the division are those of Java's `RangeAssignor`, so that a group of both kinds of members gets the
//! same whoever leads it. Racks are not weighed.

use std::collections::{BTreeMap, BTreeSet};

/// A member and what it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: String,
    /// Static members come first, in the order of these (KIP-345).
    pub(super) instance_id: Option<String>,
    pub(super) topics: Vec<String>,
}

/// What each member gets, by member id: partitions by topic.
pub(super) type Assignment = BTreeMap<String, BTreeMap<String, Vec<i32>>>;

/// Divides the topics, of which each has so many partitions, among the members. Topics without a count are left out.
pub(super) fn range(members: &[Member], partitions: &BTreeMap<String, i32>) -> Assignment {
    let mut assignment: Assignment = members
        .iter()
        .map(|member| (member.id.clone(), BTreeMap::new()))
        .collect();
    let mut in_order: Vec<&Member> = members.iter().collect();
    in_order.sort_by_key(|member| {
        (
            member.instance_id.is_none(),
            &member.instance_id,
            &member.id,
        )
    });
    let topics: BTreeSet<&String> = members.iter().flat_map(|member| &member.topics).collect();
    for topic in topics {
        let Some(&count) = partitions.get(topic) else {
            continue;
        };
        let takers: Vec<&Member> = in_order
            .iter()
            .copied()
            .filter(|member| member.topics.contains(topic))
            .collect();
        let Ok(takers_count) = i32::try_from(takers.len()) else {
            continue;
        };
        let (each, mut extra) = (count / takers_count, count % takers_count);
        let mut next = 0;
        for member in takers {
            let end = next + each + i32::from(extra > 0);
            extra -= i32::from(extra > 0);
            if end > next
                && let Some(topics) = assignment.get_mut(&member.id)
            {
                topics.insert(topic.clone(), (next..end).collect());
            }
            next = end;
        }
    }
    assignment
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(id: &str, instance_id: Option<&str>, topics: &[&str]) -> Member {
        Member {
            id: id.into(),
            instance_id: instance_id.map(Into::into),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        }
    }

    fn counts(topics: &[(&str, i32)]) -> BTreeMap<String, i32> {
        topics
            .iter()
            .map(|(topic, count)| ((*topic).to_owned(), *count))
            .collect()
    }

    fn of(assignment: &Assignment, member: &str, topic: &str) -> Vec<i32> {
        assignment[member].get(topic).cloned().unwrap_or_default()
    }

    #[test]
    fn the_first_members_get_one_more_of_each_topic() {
        // The example in the documentation of Java's RangeAssignor.
        let members = [
            member("C0", None, &["t0", "t1"]),
            member("C1", None, &["t0", "t1"]),
        ];
        let assignment = range(&members, &counts(&[("t0", 3), ("t1", 3)]));
        assert_eq!(
            (of(&assignment, "C0", "t0"), of(&assignment, "C0", "t1")),
            (vec![0, 1], vec![0, 1])
        );
        assert_eq!(
            (of(&assignment, "C1", "t0"), of(&assignment, "C1", "t1")),
            (vec![2], vec![2])
        );
    }

    #[test]
    fn static_members_come_first_in_the_order_of_their_instances() {
        let members = [
            member("a", None, &["t"]),
            member("z", Some("1"), &["t"]),
            member("b", Some("2"), &["t"]),
        ];
        let assignment = range(&members, &counts(&[("t", 3)]));
        assert_eq!(of(&assignment, "z", "t"), [0]);
        assert_eq!(of(&assignment, "b", "t"), [1]);
        assert_eq!(of(&assignment, "a", "t"), [2]);
    }

    #[test]
    fn more_members_than_partitions_leave_some_without() {
        let members = [
            member("a", None, &["t"]),
            member("b", None, &["t"]),
            member("c", None, &["other"]),
        ];
        let assignment = range(&members, &counts(&[("t", 1)]));
        assert_eq!(of(&assignment, "a", "t"), [0]);
        assert!(assignment["b"].is_empty() && assignment["c"].is_empty());
    }

    proptest! {
        #[test]
        fn each_partition_goes_to_one_member_that_wants_it_in_contiguous_even_shares(
            wants in prop::collection::vec(prop::collection::btree_set(0..4_u8, 0..4), 1..8),
            sizes in prop::collection::vec(0..20_i32, 4)
        ) {
            let members: Vec<_> = (0..).zip(&wants).map(|(at, wants): (u32, _)| Member {
                id: format!("m{at}"),
                instance_id: None,
                topics: wants.iter().map(|topic| format!("t{topic}")).collect(),
            }).collect();
            let partitions: BTreeMap<_, _> = (0..).zip(sizes).map(|(at, size): (u32, _)| (format!("t{at}"), size)).collect();
            let assignment = range(&members, &partitions);
            for (topic, count) in &partitions {
                let shares: Vec<Vec<i32>> = members.iter().filter(|member| member.topics.contains(topic))
                    .map(|member| of(&assignment, &member.id, topic)).collect();
                let given: Vec<i32> = shares.concat();
                prop_assert!(shares.is_empty() || given == (0..*count).collect::<Vec<_>>());
                let sizes: Vec<_> = shares.iter().map(Vec::len).collect();
                prop_assert!(sizes.windows(2).all(|pair| pair[0] == pair[1] || pair[0] == pair[1] + 1));
                prop_assert!(sizes.first().unwrap_or(&0) - sizes.last().unwrap_or(&0) <= 1);
            }
            for member in &members {
                prop_assert!(assignment[&member.id].keys().all(|topic| member.topics.contains(topic)));
            }
        }
    }
}
