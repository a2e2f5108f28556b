//! Range: each topic's partitions in a row, divided by the members in order, as Java's `RangeAssignor`.

use std::collections::BTreeMap;

use super::{Assignment, Member, in_order, nothing, topics_of};

pub(super) fn divide(members: &[Member], partitions: &BTreeMap<String, i32>) -> Assignment {
    let mut assignment = nothing(members);
    let in_order = in_order(members);
    for topic in topics_of(members) {
        let Some(&count) = partitions.get(topic) else {
            continue;
        };
        let takers: Vec<&Member> = in_order
            .iter()
            .copied()
            .filter(|member| member.wants(topic))
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
                topics.insert(topic.to_owned(), (next..end).collect());
            }
            next = end;
        }
    }
    assignment
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{counts, member, of};
    use super::*;

    #[test]
    fn the_first_members_get_one_more_of_each_topic() {
        // The example in the documentation of Java's RangeAssignor.
        let members = [
            member("C0", None, &["t0", "t1"]),
            member("C1", None, &["t0", "t1"]),
        ];
        let assignment = divide(&members, &counts(&[("t0", 3), ("t1", 3)]));
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
        let assignment = divide(&members, &counts(&[("t", 3)]));
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
        let assignment = divide(&members, &counts(&[("t", 1)]));
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
                owned: BTreeMap::new(),
                generation: -1,
            }).collect();
            let partitions: BTreeMap<_, _> = (0..).zip(sizes).map(|(at, size): (u32, _)| (format!("t{at}"), size)).collect();
            let assignment = divide(&members, &partitions);
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
