//! Divisions by hand, and groups of members that do what they are told, through joins, leaves and false claims.

use proptest::prelude::*;

use super::super::tests::{counts, member, of};
use super::*;

fn holding(id: &str, generation: i32, topics: &[&str], owned: &[(&str, &[i32])]) -> Member {
    Member {
        owned: owned
            .iter()
            .map(|(topic, numbers)| ((*topic).to_owned(), numbers.to_vec()))
            .collect(),
        generation,
        ..member(id, None, topics)
    }
}

#[test]
fn a_member_that_joins_gets_nothing_until_the_others_have_given_up_its_share() {
    let topics = counts(&[("t", 4)]);
    let first = divide(
        &[
            holding("a", 5, &["t"], &[("t", &[0, 1, 2, 3])]),
            member("b", None, &["t"]),
        ],
        &topics,
    );
    assert_eq!(of(&first, "a", "t"), [0, 1]);
    assert!(first["b"].is_empty());
    let second = divide(
        &[
            holding("a", 6, &["t"], &[("t", &[0, 1])]),
            holding("b", 6, &["t"], &[]),
        ],
        &topics,
    );
    assert_eq!(of(&second, "a", "t"), [0, 1]);
    assert_eq!(of(&second, "b", "t"), [2, 3]);
}

#[test]
fn of_two_that_claim_a_partition_the_one_of_the_higher_generation_keeps_it() {
    let claim: &[(&str, &[i32])] = &[("t", &[0])];
    for (a, b, expected) in [(7, 6, ["a"]), (6, 7, ["b"])] {
        let members = [
            holding("a", a, &["t"], claim),
            holding("b", b, &["t"], claim),
        ];
        let given = divide(&members, &counts(&[("t", 1)]));
        let keeps = ["a", "b"].map(|id| (id, of(&given, id, "t")));
        let keeps: Vec<_> = keeps.iter().filter(|one| !one.1.is_empty()).collect();
        assert_eq!(keeps.iter().map(|one| one.0).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn what_two_claim_in_the_same_generation_is_given_to_nobody_until_both_have_given_it_up() {
    let claim: &[(&str, &[i32])] = &[("t", &[0])];
    let both = [
        holding("a", 6, &["t"], claim),
        holding("b", 6, &["t"], claim),
        holding("c", 5, &["t"], claim),
    ];
    let given = divide(&both, &counts(&[("t", 1)]));
    assert!(given.values().all(BTreeMap::is_empty), "{given:?}");
}

#[test]
fn the_claim_of_a_lower_generation_counts_where_nobody_else_has_one() {
    let members = [
        holding("a", 6, &["t"], &[("t", &[0])]),
        holding("b", 2, &["t"], &[("t", &[1])]),
    ];
    let given = divide(&members, &counts(&[("t", 2)]));
    assert_eq!(of(&given, "a", "t"), [0]);
    assert_eq!(of(&given, "b", "t"), [1]);
}

#[test]
fn a_topic_that_a_member_no_longer_wants_waits_until_it_has_given_it_up() {
    let members = [
        holding("a", 6, &["u"], &[("t", &[0, 1])]),
        member("b", None, &["t", "u"]),
    ];
    let given = divide(&members, &counts(&[("t", 2), ("u", 1)]));
    assert_eq!(of(&given, "a", "u"), [0]);
    assert!(given["b"].is_empty(), "{given:?}");
}

#[test]
fn claims_of_what_does_not_exist_come_to_nothing() {
    let members = [holding("a", 6, &["t"], &[("t", &[0, 9]), ("gone", &[0])])];
    let given = divide(&members, &counts(&[("t", 1)]));
    assert_eq!(of(&given, "a", "t"), [0]);
    assert_eq!(given["a"].len(), 1);
}

/// A group whose members do as they are told.
#[derive(Debug, Clone)]
struct Group {
    members: Vec<Member>,
    partitions: BTreeMap<String, i32>,
    generation: i32,
}

type Owners = BTreeMap<(String, i32), String>;

impl Group {
    /// One rebalance; whether anybody has to give something up, and so to join again.
    fn rebalance(&mut self) -> bool {
        self.generation += 1;
        let given = divide(&self.members, &self.partitions);
        let before = self.owners();
        let mut gives_up = false;
        for member in &mut self.members {
            let mine = &given[&member.id];
            gives_up |= member.owned.iter().any(|(topic, numbers)| {
                let kept = mine.get(topic);
                numbers
                    .iter()
                    .any(|number| !kept.is_some_and(|kept| kept.contains(number)))
            });
            member.owned.clone_from(mine);
            member.generation = self.generation;
        }
        for (partition, owner) in self.owners() {
            let former = before.get(&partition);
            assert!(
                former.is_none_or(|former| *former == owner),
                "{partition:?} went from {former:?} to {owner} at once"
            );
        }
        gives_up
    }

    /// Rebalances until nobody has to join again; how often that took.
    fn settle(&mut self) -> usize {
        let mut rounds = 1;
        while self.rebalance() {
            rounds += 1;
            assert!(rounds < 10, "no end of rebalances: {self:?}");
        }
        rounds
    }

    /// Who has what; panics where two have the same.
    fn owners(&self) -> Owners {
        let mut owners = Owners::new();
        for member in &self.members {
            for (topic, numbers) in &member.owned {
                for number in numbers {
                    let other = owners.insert((topic.clone(), *number), member.id.clone());
                    assert_eq!(other, None, "{topic}/{number} has two owners");
                }
            }
        }
        owners
    }

    fn load(member: &Member) -> usize {
        member.owned.values().map(Vec::len).sum()
    }

    /// Every partition that somebody wants.
    fn wanted(&self) -> BTreeSet<(String, i32)> {
        let wanted = self.partitions.iter();
        wanted
            .filter(|(topic, _)| self.members.iter().any(|member| member.wants(topic)))
            .flat_map(|(topic, count)| (0..*count).map(|number| (topic.clone(), number)))
            .collect()
    }

    fn assert_whole_and_balanced(&self) {
        let owners = self.owners();
        assert_eq!(
            owners.keys().cloned().collect::<BTreeSet<_>>(),
            self.wanted()
        );
        for poor in &self.members {
            for rich in &self.members {
                let has_what_it_wants = rich.owned.keys().any(|topic| poor.wants(topic));
                let gap = Self::load(rich).saturating_sub(Self::load(poor));
                assert!(
                    !has_what_it_wants || gap <= 1,
                    "{} and {}",
                    poor.id,
                    rich.id
                );
            }
        }
        for member in &self.members {
            assert!(member.owned.keys().all(|topic| member.wants(topic)));
        }
    }
}

#[derive(Debug, Clone)]
enum Change {
    Join(BTreeSet<u8>),
    Leave(prop::sample::Index),
    Grow(u8),
}

fn change(same_topics: bool) -> impl Strategy<Value = Change> {
    let topics = prop::collection::btree_set(0..4_u8, 0..4);
    prop_oneof![
        3 => topics.prop_map(move |some| Change::Join(if same_topics { (0..4).collect() } else { some })),
        2 => any::<prop::sample::Index>().prop_map(Change::Leave),
        1 => (0..4_u8).prop_map(Change::Grow),
    ]
}

fn named(topics: &BTreeSet<u8>) -> Vec<String> {
    topics.iter().map(|topic| format!("t{topic}")).collect()
}

fn empty_group(sizes: &[i32]) -> Group {
    let partitions = (0..).zip(sizes);
    Group {
        members: Vec::new(),
        partitions: partitions
            .map(|(at, size): (u32, _)| (format!("t{at}"), *size))
            .collect(),
        generation: 0,
    }
}

impl Group {
    fn change(&mut self, at: usize, change: &Change) {
        match change {
            Change::Join(topics) => self.members.push(Member {
                topics: named(topics),
                ..member(&format!("m{}-{at}", at * 7 % 10), None, &[])
            }),
            Change::Leave(which) if !self.members.is_empty() => {
                self.members.remove(which.index(self.members.len()));
            }
            Change::Leave(_) => {}
            Change::Grow(topic) => {
                if let Some(count) = self.partitions.get_mut(&format!("t{topic}")) {
                    *count += 1;
                }
            }
        }
    }
}

/// What has to move where all want the same: whatever is beyond each one's share, when those with the most get the
/// larger shares.
fn least_given_up(loads: &[usize], partitions: usize) -> usize {
    let mut loads = loads.to_vec();
    loads.sort_unstable_by(|one, other| other.cmp(one));
    let (each, larger) = (partitions / loads.len(), partitions % loads.len());
    let over = loads.iter().enumerate();
    over.map(|(at, load)| load.saturating_sub(each + usize::from(at < larger)))
        .sum()
}

proptest! {
    #[test]
    fn whatever_comes_and_goes_no_more_than_two_rebalances_give_each_partition_to_one_member(
        sizes in prop::collection::vec(0..12_i32, 4),
        changes in prop::collection::vec((change(false), any::<bool>()), 1..25),
    ) {
        let mut group = empty_group(&sizes);
        for (at, (change, settles)) in changes.iter().enumerate() {
            group.change(at, change);
            if group.members.is_empty() {
                continue;
            }
            if *settles {
                prop_assert!(group.settle() <= 2);
                group.assert_whole_and_balanced();
                let before = group.owners();
                prop_assert!(!group.rebalance(), "nothing has changed");
                prop_assert_eq!(group.owners(), before);
            } else {
                // The next change comes before those that have to join again do.
                group.rebalance();
            }
        }
    }

    #[test]
    fn where_all_want_the_same_no_more_moves_than_has_to(
        sizes in prop::collection::vec(0..12_i32, 4), changes in prop::collection::vec(change(true), 1..20),
    ) {
        let mut group = empty_group(&sizes);
        for (at, change) in changes.iter().enumerate() {
            group.change(at, change);
            if group.members.is_empty() {
                continue;
            }
            let before = group.owners();
            let loads: Vec<usize> = group.members.iter().map(Group::load).collect();
            prop_assert!(group.settle() <= 2);
            group.assert_whole_and_balanced();
            let shares: Vec<usize> = group.members.iter().map(Group::load).collect();
            prop_assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
            let after = group.owners();
            let ids: BTreeSet<&String> = group.members.iter().map(|member| &member.id).collect();
            let moved = before.iter()
                .filter(|(partition, owner)| ids.contains(owner) && after[*partition] != **owner).count();
            prop_assert_eq!(moved, least_given_up(&loads, after.len()));
        }
    }

    #[test]
    fn false_claims_never_give_a_partition_to_two_nor_to_one_while_another_claims_it(
        size in 0..8_i32,
        claims in prop::collection::vec((prop::collection::vec(0..10_i32, 0..8), -1..4_i32, any::<bool>()), 1..6),
    ) {
        let members: Vec<Member> = claims.iter().enumerate().map(|(at, (owned, generation, wants))| {
            let topics: &[&str] = if *wants { &["t"] } else { &[] };
            holding(&format!("m{at}"), *generation, topics, &[("t", owned)])
        }).collect();
        let given = divide(&members, &counts(&[("t", size)]));
        let mut seen = BTreeSet::new();
        for one in &members {
            for number in of(&given, &one.id, "t") {
                prop_assert!(number < size && one.wants("t"));
                prop_assert!(seen.insert(number), "{number} is given twice");
                let claims = |other: &&Member| other.owned["t"].contains(&number);
                let others: Vec<&Member> = members.iter().filter(|other| other.id != one.id).filter(claims).collect();
                prop_assert!(others.is_empty()
                    || claims(&one) && others.iter().all(|other| other.generation < one.generation));
            }
        }
    }
}
