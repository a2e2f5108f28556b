//! Groups that the coordinator divides, on virtual time.

use proptest::prelude::*;

use super::*;

const TIMES: Times = Times {
    session_timeout: Duration::from_secs(45),
    heartbeat_interval: Duration::from_secs(5),
};
const REBALANCE: Duration = Duration::from_secs(60);
const T: Uuid = Uuid::from_u128(7);
const U: Uuid = Uuid::from_u128(8);

struct Bench {
    group: ConsumerGroup,
    topics: Topics,
    now: Instant,
}

fn places(topic: Uuid, numbers: impl IntoIterator<Item = i32>) -> BTreeSet<Place> {
    numbers.into_iter().map(|number| (topic, number)).collect()
}

impl Bench {
    fn new(partitions: i32) -> Self {
        Self {
            group: ConsumerGroup::default(),
            topics: [("t".to_owned(), (T, partitions))].into(),
            now: Instant::now(),
        }
    }

    fn beat(&mut self, beat: Beat) -> Result<Beaten, ErrorCode> {
        self.group.beat(self.now, TIMES, &self.topics, beat)
    }

    fn join(&mut self, id: &str) -> Beaten {
        self.beat(joining(id)).unwrap()
    }

    fn says(&mut self, id: &str, epoch: i32, owned: &BTreeSet<Place>) -> Result<Beaten, ErrorCode> {
        self.beat(Beat {
            owned: Some(owned.clone()),
            ..saying(id, epoch)
        })
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.group.handle_timeout(self.now);
    }
}

fn joining(id: &str) -> Beat {
    Beat {
        rebalance_timeout: Some(REBALANCE),
        names: Some(["t".to_owned()].into()),
        owned: Some(BTreeSet::new()),
        ..saying(id, 0)
    }
}

fn saying(id: &str, epoch: i32) -> Beat {
    Beat {
        member_id: id.into(),
        epoch,
        ..Beat::default()
    }
}

#[test]
fn a_second_member_gets_what_the_first_has_said_to_have_given_up() {
    let mut bench = Bench::new(4);
    let first = bench.join("a");
    let all = places(T, 0..4);
    assert_eq!((first.epoch, first.assignment), (1, Some(all.clone())));
    assert_eq!(bench.says("a", 1, &all).unwrap().assignment, None);
    let second = bench.join("b");
    assert_eq!(
        (second.epoch, second.assignment),
        (2, Some(BTreeSet::new()))
    );
    assert_eq!(bench.group.state(), GroupState::Reconciling);
    // The first is told what it may keep, and stays in its epoch until it has no more than that.
    let told = bench.beat(saying("a", 1)).unwrap();
    let kept = told.assignment.expect("less than before");
    assert_eq!((told.epoch, kept.len()), (1, 2));
    assert_eq!(bench.says("a", 1, &all).unwrap().epoch, 1);
    assert_eq!(bench.beat(saying("b", 2)).unwrap().assignment, None);
    assert_eq!(bench.says("a", 1, &kept).unwrap().epoch, 2);
    let given = bench
        .beat(saying("b", 2))
        .unwrap()
        .assignment
        .expect("the rest");
    assert_eq!(given, &all - &kept);
    assert_eq!(bench.group.state(), GroupState::Stable);
    // Whoever says all hears all.
    let full = Beat {
        owned: Some(given.clone()),
        epoch: 2,
        ..joining("b")
    };
    assert_eq!(bench.beat(full).unwrap().assignment, Some(given));
}

#[test]
fn an_epoch_is_fenced_unless_it_may_be_that_the_answer_with_the_next_was_lost() {
    let mut bench = Bench::new(2);
    let all = places(T, 0..2);
    bench.join("a");
    bench.says("a", 1, &all).unwrap();
    assert_eq!(
        bench.says("a", 2, &all),
        Err(ErrorCode::FENCED_MEMBER_EPOCH)
    );
    assert_eq!(bench.says("z", 1, &all), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    bench.topics.insert("t".into(), (T, 3));
    assert_eq!(bench.says("a", 1, &all).unwrap().epoch, 2);
    assert_eq!(bench.says("a", 1, &all).unwrap().epoch, 2, "it was lost");
    assert_eq!(
        bench.beat(saying("a", 1)),
        Err(ErrorCode::FENCED_MEMBER_EPOCH)
    );
    assert_eq!(
        bench.says("a", 1, &places(T, 0..9)),
        Err(ErrorCode::FENCED_MEMBER_EPOCH)
    );
    bench.topics.insert("t".into(), (T, 4));
    bench.says("a", 2, &all).unwrap();
    assert_eq!(
        bench.says("a", 1, &all),
        Err(ErrorCode::FENCED_MEMBER_EPOCH)
    );
    // A member that is counted does not join.
    assert_eq!(
        bench.beat(joining("a")),
        Err(ErrorCode::FENCED_MEMBER_EPOCH)
    );
    assert_eq!(bench.group.check_epoch_of("a", 3), Ok(()));
    assert_eq!(
        bench.group.check_epoch_of("a", 2),
        Err(ErrorCode::STALE_MEMBER_EPOCH)
    );
    assert_eq!(
        bench.group.check_epoch_of("z", 3),
        Err(ErrorCode::UNKNOWN_MEMBER_ID)
    );
}

#[test]
fn who_is_silent_or_drains_for_too_long_is_out() {
    let mut bench = Bench::new(2);
    bench.join("a");
    bench.now += Duration::from_secs(40);
    bench.join("b");
    assert_eq!(
        bench.group.next_deadline(),
        Some(bench.now + Duration::from_secs(5))
    );
    bench.pass(Duration::from_secs(5));
    assert_eq!(
        bench.beat(saying("a", 1)),
        Err(ErrorCode::UNKNOWN_MEMBER_ID)
    );
    let all = bench
        .beat(saying("b", 2))
        .unwrap()
        .assignment
        .expect("all of it");
    assert_eq!(all, places(T, 0..2));
    bench.says("b", 3, &all).unwrap();

    bench.join("c");
    bench.says("b", 3, &all).unwrap();
    let mut waited = Duration::ZERO;
    while waited < REBALANCE {
        let step = Duration::from_secs(20);
        assert_eq!(bench.says("b", 3, &all).unwrap().epoch, 3);
        bench.beat(saying("c", 4)).unwrap();
        bench.pass(step);
        waited += step;
    }
    assert_eq!(bench.says("b", 3, &all), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    assert_eq!(bench.beat(saying("c", 4)).unwrap().assignment, Some(all));
}

#[test]
fn a_static_members_name_is_free_when_it_has_left_and_its_place_is_kept() {
    let mut bench = Bench::new(2);
    let named = |id: &str, epoch| Beat {
        instance_id: Some("one".into()),
        epoch,
        ..joining(id)
    };
    let all = places(T, 0..2);
    assert_eq!(
        bench.beat(named("a", 0)).unwrap().assignment,
        Some(all.clone())
    );
    assert_eq!(
        bench.beat(named("b", 0)),
        Err(ErrorCode::UNRELEASED_INSTANCE_ID)
    );
    assert_eq!(
        bench.beat(named("b", 1)),
        Err(ErrorCode::FENCED_INSTANCE_ID)
    );
    assert_eq!(bench.beat(named("a", -2)).unwrap().epoch, -2);
    let epoch = bench.group.epoch();
    let back = bench.beat(named("b", 0)).unwrap();
    assert_eq!((back.epoch, back.assignment), (epoch, Some(all)));
    assert_eq!(
        bench.beat(named("a", 1)),
        Err(ErrorCode::FENCED_INSTANCE_ID)
    );
    // One that does not come back loses its place.
    bench.beat(named("b", -2)).unwrap();
    bench.pass(TIMES.session_timeout);
    assert!(bench.group.is_empty());
}

#[test]
fn range_deals_stretches_of_each_topic_and_uniform_as_few_moves_as_can_be() {
    let both: BTreeSet<String> = ["t".to_owned(), "u".to_owned()].into();
    let one: BTreeSet<String> = ["u".to_owned()].into();
    let topics: Topics = [("t".to_owned(), (T, 3)), ("u".to_owned(), (U, 4))].into();
    let members = BTreeMap::from([("a", &both), ("b", &both), ("c", &one)]);
    let shares = Assignor::Range.divide(&members, &topics, &BTreeMap::new());
    assert_eq!(shares["a"], &places(T, 0..2) | &places(U, 0..2));
    assert_eq!(shares["b"], &places(T, 2..3) | &places(U, 2..3));
    assert_eq!(shares["c"], places(U, 3..4));

    // Shares that are even stay as they are, however they came about.
    let before = BTreeMap::from([
        ("a".to_owned(), &places(T, 0..1) | &places(U, 2..4)),
        ("b".to_owned(), &places(T, 1..3) | &places(U, 0..2)),
    ]);
    let two = BTreeMap::from([("a", &both), ("b", &both)]);
    assert_eq!(Assignor::Uniform.divide(&two, &topics, &before), before);

    let before = BTreeMap::from([("a".to_owned(), &places(T, 0..3) | &places(U, 0..4))]);
    let shares = Assignor::Uniform.divide(&members, &topics, &before);
    let counts: Vec<usize> = shares.values().map(BTreeSet::len).collect();
    assert_eq!(counts.iter().sum::<usize>(), 7);
    assert!(
        counts.iter().all(|count| (2..=3).contains(count)),
        "{counts:?}"
    );
    assert!(shares["a"].is_subset(&before["a"]));
    assert!(shares["c"].iter().all(|(topic, _)| *topic == U));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Members that always say the truth, some of it late: nothing is two members' at once, and in the end each is
    /// somebody's.
    #[test]
    fn nothing_is_two_members_and_in_the_end_each_is_somebodys(
        steps in prop::collection::vec((0..5_u8, 0..5_usize), 1..120),
        partitions in 1..12,
    ) {
        let mut bench = Bench::new(partitions);
        // By id: its epoch, and what it works on.
        let mut members: BTreeMap<String, (i32, BTreeSet<Place>)> = BTreeMap::new();
        let mut asked: BTreeMap<String, BTreeSet<Place>> = BTreeMap::new();
        let ids = ["a", "b", "c", "d", "e"];
        let settling = (0..60).map(|turn| (2, turn % ids.len()));
        let count = steps.len();
        for (at, (step, who)) in steps.into_iter().chain(settling).enumerate() {
            let id = ids[who];
            match (step, members.contains_key(id)) {
                (0, false) if at < count => {
                    let answer = bench.join(id);
                    members.insert(id.into(), (answer.epoch, BTreeSet::new()));
                    asked.insert(id.into(), answer.assignment.unwrap());
                }
                (1, true) if at < count => {
                    bench.beat(saying(id, LEAVES)).unwrap();
                    members.remove(id);
                }
                (_, true) => {
                    let (epoch, works_on) = members.get_mut(id).unwrap();
                    // Half of the time it has done what it was asked to before it says anything.
                    if step >= 2 {
                        works_on.clone_from(&asked[id]);
                    }
                    let owned = works_on.clone();
                    let answer = bench.says(id, *epoch, &owned).unwrap();
                    members.get_mut(id).unwrap().0 = answer.epoch;
                    if let Some(assignment) = answer.assignment {
                        asked.insert(id.into(), assignment);
                    }
                }
                _ => {}
            }
            let mut seen = BTreeSet::new();
            for place in members.values().flat_map(|(_, works_on)| works_on) {
                prop_assert!(seen.insert(*place), "{place:?} is two members'");
            }
        }
        let owned: usize = members.values().map(|(_, works_on)| works_on.len()).sum();
        let wanted = if members.is_empty() { 0 } else { usize::try_from(partitions).unwrap() };
        prop_assert_eq!(owned, wanted);
        if !members.is_empty() {
            prop_assert_eq!(bench.group.state(), GroupState::Stable);
            let counts = members.values().map(|(_, works_on)| works_on.len());
            let (least, most) = (counts.clone().min(), counts.max());
            prop_assert!(most.unwrap() - least.unwrap() <= 1);
        }
    }
}
