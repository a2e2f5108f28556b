//! Round-robin: all partitions of all topics dealt out one by one, as Java's `RoundRobinAssignor`.

use std::collections::BTreeMap;

use super::{Assignment, Member, in_order, nothing, topics_of};

/// Goes round the members in order, past those that do not want the topic; the next partition begins behind the one
/// that got the last.
pub(super) fn divide(members: &[Member], partitions: &BTreeMap<String, i32>) -> Assignment {
    let mut assignment = nothing(members);
    let in_order = in_order(members);
    let mut turn = 0;
    for topic in topics_of(members) {
        for partition in 0..partitions.get(topic).copied().unwrap_or(0) {
            let from_turn = in_order[turn..].iter().chain(&in_order[..turn]);
            // Somebody wants the topic, or it would not be among those of the members.
            let Some((skipped, taker)) = from_turn.enumerate().find(|(_, one)| one.wants(topic))
            else {
                break;
            };
            turn = (turn + skipped + 1) % in_order.len();
            if let Some(topics) = assignment.get_mut(&taker.id) {
                topics.entry(topic.to_owned()).or_default().push(partition);
            }
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
    fn members_of_the_same_topics_get_every_other_partition_across_topics() {
        // The first example in the documentation of Java's RoundRobinAssignor.
        let members = [
            member("C0", None, &["t0", "t1"]),
            member("C1", None, &["t0", "t1"]),
        ];
        let assignment = divide(&members, &counts(&[("t0", 3), ("t1", 3)]));
        assert_eq!(
            (of(&assignment, "C0", "t0"), of(&assignment, "C0", "t1")),
            (vec![0, 2], vec![1])
        );
        assert_eq!(
            (of(&assignment, "C1", "t0"), of(&assignment, "C1", "t1")),
            (vec![1], vec![0, 2])
        );
    }

    #[test]
    fn members_that_do_not_want_a_topic_are_passed_over() {
        // The second example there.
        let members = [
            member("C0", None, &["t0"]),
            member("C1", None, &["t0", "t1"]),
            member("C2", None, &["t0", "t1", "t2"]),
        ];
        let assignment = divide(&members, &counts(&[("t0", 1), ("t1", 2), ("t2", 3)]));
        assert_eq!(of(&assignment, "C0", "t0"), [0]);
        assert_eq!(of(&assignment, "C1", "t1"), [0]);
        assert_eq!(of(&assignment, "C2", "t1"), [1]);
        assert_eq!(of(&assignment, "C2", "t2"), [0, 1, 2]);
    }

    #[test]
    fn static_members_come_first_in_the_order_of_their_instances() {
        let members = [
            member("a", None, &["t"]),
            member("z", Some("1"), &["t"]),
            member("b", Some("2"), &["t"]),
        ];
        let assignment = divide(&members, &counts(&[("t", 4)]));
        assert_eq!(of(&assignment, "z", "t"), [0, 3]);
        assert_eq!(of(&assignment, "b", "t"), [1]);
        assert_eq!(of(&assignment, "a", "t"), [2]);
    }

    /// The rule in other words: a ring of members that is turned by one at a time.
    fn model(members: &[Member], partitions: &BTreeMap<String, i32>) -> Vec<(String, String, i32)> {
        let mut ring: std::collections::VecDeque<&Member> = in_order(members).into();
        let mut given = Vec::new();
        for (topic, count) in partitions {
            if !members.iter().any(|member| member.wants(topic)) {
                continue;
            }
            for partition in 0..*count {
                while !ring[0].wants(topic) {
                    ring.rotate_left(1);
                }
                given.push((ring[0].id.clone(), topic.clone(), partition));
                ring.rotate_left(1);
            }
        }
        given.sort();
        given
    }

    proptest! {
        #[test]
        fn partitions_go_round_as_in_a_ring_that_is_turned_by_hand(
            wants in prop::collection::vec((prop::collection::btree_set(0..4_u8, 0..4), prop::option::of(0..100_u8)), 1..8),
            sizes in prop::collection::vec(0..20_i32, 4)
        ) {
            let members: Vec<_> = (0..).zip(&wants).map(|(at, (wants, instance)): (u32, _)| Member {
                id: format!("m{}", at * 7 % 10),
                instance_id: instance.map(|instance| format!("i{instance}-{at}")),
                topics: wants.iter().map(|topic| format!("t{topic}")).collect(),
                owned: BTreeMap::new(),
                generation: -1,
            }).collect();
            let partitions: BTreeMap<_, _> = (0..).zip(sizes).map(|(at, size): (u32, _)| (format!("t{at}"), size)).collect();
            let mut given: Vec<_> = divide(&members, &partitions).into_iter()
                .flat_map(|(id, topics)| topics.into_iter().map(move |(topic, numbers)| (id.clone(), topic, numbers)))
                .flat_map(|(id, topic, numbers)| numbers.into_iter().map(move |number| (id.clone(), topic.clone(), number)))
                .collect();
            given.sort();
            prop_assert_eq!(given, model(&members, &partitions));
        }

        #[test]
        fn members_that_want_the_same_get_shares_that_differ_by_one_at_most(
            members in 1..8_usize, sizes in prop::collection::vec(0..20_i32, 4)
        ) {
            let members: Vec<_> = (0..members).map(|at| member(&format!("m{at}"), None, &["t0", "t1", "t2", "t3"])).collect();
            let partitions: BTreeMap<_, _> = (0..).zip(sizes).map(|(at, size): (u32, _)| (format!("t{at}"), size)).collect();
            let shares: Vec<usize> = divide(&members, &partitions).values()
                .map(|topics| topics.values().map(Vec::len).sum()).collect();
            prop_assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }
}
